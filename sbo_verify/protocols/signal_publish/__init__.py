"""`signal_publish`: sites and choices, their instructions, and the catalogue."""

from __future__ import annotations

from sbo_verify.protocol import Protocol
from sbo_verify.protocols.signal_publish.catalogue import HISTORY, REAL_CASES, ROWS
from sbo_verify.protocols.signal_publish.questions import QUESTIONS
from sbo_verify.protocols.signal_publish.sites import SITES, SignalPublish, refusals
from sbo_verify.protocols.signal_publish.steps import steps

SIGNAL_PUBLISH = Protocol(
    name="signal_publish",
    summary="store a tile and add to a signal; poll the signal and read the tile",
    kernel="signal_publish.cuh",
    variant_type=SignalPublish,
    sites=SITES,
    rows=ROWS,
    refusals=refusals,
    steps=steps,
    questions=QUESTIONS,
    cases=tuple(row.name for row in (*HISTORY, *REAL_CASES)),
)
