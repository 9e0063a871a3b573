"""What the gate prints at the end of a pytest session: a line a row, the power, the reasons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sbo_verify.record import RowVerdict, Summary
from sbo_verify.report.power_told import power_told

REASONS_SHOWN = 12


def gate_lines(
    verdicts: Sequence[RowVerdict], summary: Summary, run: Path, power_lines: Sequence[str] = ()
) -> list[str]:
    """`run` is the folder of the run, whose report has the rest; `power_lines` stand as given."""
    rest = len(summary.reasons) - REASONS_SHOWN
    return [
        *(_row(verdict) for verdict in verdicts),
        power_told(verdicts, summary.power),
        *power_lines,
        *(f"because: {reason}" for reason in summary.reasons[:REASONS_SHOWN]),
        *([f"and {rest} more reasons in the report"] if rest > 0 else []),
        f"gate: {summary.outcome}; report: sbo-verify report {run}",
    ]


def _row(verdict: RowVerdict) -> str:
    bound = "" if verdict.bound is None else f", rate below {verdict.bound:.1e} at 95 %"
    return (
        f"{verdict.outcome:8s}{verdict.joint:28s}{verdict.row}: {verdict.stale:,} of "
        f"{verdict.observations:,}{bound}"
    )
