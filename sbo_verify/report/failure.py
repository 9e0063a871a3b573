"""What a failed test says of a row: its verdict, why, first witnesses, and how to repeat it."""

from __future__ import annotations

from collections.abc import Sequence

from sbo_verify.record import Launch, RowVerdict

WITNESSES = 3


def failure_text(verdict: RowVerdict, launches: Sequence[Launch], repeat: str) -> str:
    """`launches` may be those of other rows, too; witnesses are of the first that has some."""
    what = f"canary {verdict.row}" if verdict.canary else verdict.row
    counts = f"{verdict.stale:,} stale of {verdict.observations:,}"
    telling = [each for each in launches if each.row == verdict.row and each.witnesses]
    witnesses = telling[0].witnesses[:WITNESSES] if telling else []
    lines = [
        f"{verdict.outcome}: {what}: {verdict.joint}; {counts}",
        *verdict.notes,
        *(f"witness {each}" for each in witnesses),
        f"repeat with: {repeat}",
    ]
    return "\n".join(lines)
