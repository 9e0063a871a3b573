"""The detection power of a run in one sentence, with the rows that it is computed from."""

from __future__ import annotations

from collections.abc import Sequence

from sbo_verify.harness.judgement import power_basis
from sbo_verify.record import RowVerdict
from sbo_verify.report.figures import counts_text, power_text


def power_told(verdicts: Sequence[RowVerdict], power: float | None) -> str:
    """The worst case, named: one rare canary or one row soon left makes the figure small."""
    basis = power_basis(verdicts)
    if basis is None:
        return "Detection power: not known, without counts of both a canary and a row never stale"
    canary, row = basis
    return (
        f"Detection power, worst case: {power_text(power)}, the probability that a violation as "
        f"frequent as the rarest canary, {canary.row} (lower bound of "
        f"{counts_text(canary.stale, canary.observations)}), is seen in the row never stale on the "
        f"fewest hand-overs, {row.row} ({counts_text(row.stale, row.observations)})"
    )
