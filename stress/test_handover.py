"""The gate: every variant of the catalogue under stress on a Hopper GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import pytest

from sbo_verify.harness.gate import Gate, launches_of, repeat_command
from sbo_verify.protocol import Row
from sbo_verify.verdict import Outcome

pytestmark = pytest.mark.silicon


def test_handover(
    gated_row: Row, gate: Gate, record_property: Callable[[str, object], None]
) -> None:
    """Sound rows stay Never, canaries are seen, other broken rows are reported."""
    verdict = gate.examine(gated_row)
    for name, value in asdict(verdict).items():
        record_property(name, value)
    repeat = repeat_command(gate.run, gated_row)
    record_property("seed", gate.plan.seed)
    record_property("repeat", repeat)
    if verdict.outcome == Outcome.PASS:
        return
    what = f"canary {gated_row.name}" if gated_row.canary else gated_row.name
    lines = [
        f"{verdict.outcome}: {what}: {verdict.joint}; "
        f"{verdict.stale:,} stale of {verdict.observations:,}",
        *verdict.notes,
        *(
            f"witness {witness}"
            for launch in launches_of(gate.run, gated_row)[:1]
            for witness in launch.witnesses[:3]
        ),
        f"repeat with: {repeat}",
    ]
    pytest.fail("\n".join(lines), pytrace=False)
