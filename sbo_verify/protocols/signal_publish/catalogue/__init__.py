"""The catalogue of `signal_publish`: named variants with verdict, reason and source.

Three groups: the history of the public signal GEMM in order, real cases from other code, and
single-site mutants of the sound hand-over. Expected verdicts follow the PTX ISA, not the silicon.
A canary is a variant that an H200 shows as broken within two seconds under every seed tried; a
broken variant that shows more seldom is no canary, however often it was seen.
"""

from __future__ import annotations

from sbo_verify.protocols.signal_publish.catalogue.base import PUBLISHED, READBACK
from sbo_verify.protocols.signal_publish.catalogue.history import HISTORY
from sbo_verify.protocols.signal_publish.catalogue.mutants import MUTANTS
from sbo_verify.protocols.signal_publish.catalogue.real_cases import REAL_CASES
from sbo_verify.protocols.signal_publish.catalogue.sound import SOUND_SPELLINGS

ROWS = (*HISTORY, *REAL_CASES, *SOUND_SPELLINGS, *MUTANTS)

__all__ = [
    "HISTORY",
    "MUTANTS",
    "PUBLISHED",
    "READBACK",
    "REAL_CASES",
    "ROWS",
    "SOUND_SPELLINGS",
]
