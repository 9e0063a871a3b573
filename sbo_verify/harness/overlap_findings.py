"""What the times of schedules say together: on how many problems overlap paid, and how much."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from sbo_verify.harness.overlap_benchmark import (
    IN_TURN,
    OVERLAPPED,
    RECEIVE_OVERLAPPED,
    SBO,
    SEND_OVERLAPPED,
    TBO,
    WHOLE_DEVICE,
    OverlapTime,
)

CONTENDERS = (OVERLAPPED, RECEIVE_OVERLAPPED, SEND_OVERLAPPED, SBO, TBO)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One schedule against another on all problems: shares of the other's time that it saves.

    `best_at` and `worst_at` are problems, experts and rows of each.
    """

    kind: str
    link_sms: int
    schedule: str
    variant: str
    against: str
    problems: int
    faster: int
    median: float
    best: float
    best_at: tuple[int, int]
    worst: float
    worst_at: tuple[int, int]


def findings_of(cells: Sequence[OverlapTime]) -> Iterator[Finding]:
    """Every overlap against one batch in turn, with the same link and without, and SBO to TBO."""
    names = {(cell.kind, cell.link_sms, cell.schedule, cell.variant) for cell in cells}
    for kind, link_sms, schedule, variant in sorted(names):
        if schedule not in CONTENDERS:
            continue
        mine = [
            cell
            for cell in cells
            if (cell.kind, cell.link_sms, cell.schedule, cell.variant)
            == (kind, link_sms, schedule, variant)
        ]
        for against in (IN_TURN, WHOLE_DEVICE, TBO):
            saved = [_saved(cell, against, cells) for cell in mine]
            by_problem = [
                (s, (c.experts, c.rows)) for s, c in zip(saved, mine, strict=True) if s is not None
            ]
            if not by_problem or against == schedule:
                continue
            best, worst = max(by_problem), min(by_problem)
            yield Finding(
                kind=kind,
                link_sms=link_sms,
                schedule=schedule,
                variant=variant,
                against=against,
                problems=len(by_problem),
                faster=sum(share > 0 for share, _ in by_problem),
                median=median(share for share, _ in by_problem),
                best=best[0],
                best_at=best[1],
                worst=worst[0],
                worst_at=worst[1],
            )


def _saved(cell: OverlapTime, against: str, cells: Sequence[OverlapTime]) -> float | None:
    """The share that a cell saves of what the other schedule takes for the same problem."""
    if against == IN_TURN:
        return cell.saves
    if against == WHOLE_DEVICE:
        return cell.saves_whole
    others = [
        other
        for other in cells
        if other.schedule == TBO
        and (other.kind, other.experts, other.rows, other.link_sms)
        == (cell.kind, cell.experts, cell.rows, cell.link_sms)
    ]
    if cell.schedule != SBO or not others:
        return None
    return 1 - cell.microseconds / others[0].microseconds
