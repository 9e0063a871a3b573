"""The report for programs: the records as they stand in the run's folder, and the sums of them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from sbo_verify.protocol import Row
from sbo_verify.report.costs import cost_of
from sbo_verify.report.outline import QUESTION, Findings, outline, rate_of
from sbo_verify.report.pages import pages

# Of an outline, what is neither a record nor a sum of them.
TOLD = (
    "opening",
    "headline",
    "reasons",
    "answer",
    "answer_by_joint",
    "how_sure",
    "cost_told",
    "by_luck",
    "notes",
    "not_tried",
    "closing",
)


def machine_text(findings: Findings) -> str:
    """Everything that the other forms show, in JSON with two spaces.

    `rates` has every row's stale tiles of hand-overs, `declared` its choices, reason and source,
    `sums` its launches summed by knob, offset and delay, `costs` microseconds and share as in the
    table of variants, `beside` what other commands recorded; `told` is the other forms' text made
    of all that, with the command that repeats each row.
    """
    details, beside = findings.details, findings.beside
    records = {
        "settings": findings.settings.to_json(),
        "model": [each.to_json() for each in findings.model_readings],
        "code": [each.to_json() for each in findings.code_readings],
        "launches": [each.to_json() for each in findings.launches],
        "torn_lines": list(findings.torn_lines),
        "verdicts": [each.to_json() for each in findings.verdicts],
        "summary": findings.summary.to_json(),
        "rates": {each.row: rate_of(each) for each in findings.verdicts},
        "declared": {name: _declared(row) for name, row in details.declared.items()},
        "sums": {name: asdict(digest) for name, digest in details.digests.items()},
        "wait_groups": details.wait_groups,
        "slot_waits": [asdict(each) for each in details.slot_waits],
        "costs": {each.row: cost_of(each.row, details, beside) for each in findings.verdicts},
        "beside": asdict(beside),
        "told": _told(findings),
    }
    return json.dumps(records, indent=2, allow_nan=False) + "\n"


def _told(findings: Findings) -> dict[str, Any]:
    report = outline(findings)
    texts = {name: getattr(report, name) for name in TOLD}
    return {
        "question": QUESTION,
        **texts,
        "repeat": {each.row: each.repeat for each in pages(findings)},
    }


def _declared(row: Row) -> dict[str, Any]:
    choices = {
        site: {"word": choice.word, "meaning": choice.meaning}
        for site, choice in row.variant.choices().items()
    }
    return {"choices": choices, "because": row.because, "source": row.source}
