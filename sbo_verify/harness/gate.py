"""The CI gate: one row examined by one worker, judged from what lies on disk.

The time of a gate is given for the whole gate and shared out over rows and workers, so that the
number of workers changes how fast it is cut up, not how long it takes nor how much each row sees.

A row's stress is sequential: it looks at its counts after every launch and ends as soon as they
show what they are to show. A sound row is done with as many hand-overs as the wanted bound takes
without a stale tile, a number that nothing observed changes, or with its first stale tile, which
no later launch takes back; so looking costs the bound nothing. A mutant is done once several
launches have seen it. What is left of a row's time goes to those after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from sbo_verify.harness.judgement import Evidence, judge_run
from sbo_verify.harness.runner import geometry_of
from sbo_verify.harness.session import (
    Plan,
    ReadRow,
    StressBench,
    conforms,
    enough_for,
    micro_reading,
    next_index,
    read_code,
    read_model,
    stress_row,
)
from sbo_verify.protocol import Row
from sbo_verify.protocols.signal_publish.sites import SignalScope
from sbo_verify.record import MICRO, Launch, RowVerdict
from sbo_verify.store import Run

T = TypeVar("T")
# What the gate wants to say of a sound row's rate of stale hand-overs, at 95 %. The GEMM hands over
# too slowly for it, and takes the time it is given.
BOUND = 1e-8
# Launches that must see a mutant: a run that is repeated then sees it with 1 - e^-3, 95 %.
SIGHTINGS = 3
# Shares of the time: sound rows earn their bound, and have more of it where they are slow, one
# cluster having two SMs, one thread reading a tile alone, or a release including the host; mutants
# mostly end at their third sighting, and others that are broken are only reported.
SOUND_SHARE = 1.0
CLUSTER_FACTOR = 5.0
LONE_READER_FACTOR = 2.0
SYSTEM_SCOPE_FACTOR = 1.5
CANARY_SHARE = 0.1
BROKEN_SHARE = 0.3
# How much longer than its share a canary may stay unseen before the gate says unknown, and what a
# row may take of the time that others have left.
CANARY_PATIENCE = 20.0
PATIENCE = 2.0
# What a row has of its share at least, however long others took.
LEAST_SHARE = 0.5


def share_of(row: Row) -> float:
    """The row's share of the gate's time, relative to the other rows'."""
    if row.sound:
        geometry = geometry_of(row)
        if geometry.cluster > 1:
            return SOUND_SHARE * CLUSTER_FACTOR
        if geometry.reads_alone and not geometry.reads_back:
            return SOUND_SHARE * LONE_READER_FACTOR
        to_system = row.variant.choices()["publish_scope"] is SignalScope.SYS
        return SOUND_SHARE * (SYSTEM_SCOPE_FACTOR if to_system else 1.0)
    return CANARY_SHARE if row.canary else BROKEN_SHARE


def seconds_for(row: Row, rows: Sequence[Row], budget_seconds: float, workers: int) -> float:
    """Seconds of launches for one row, when `workers` share `budget_seconds` of wall time.

    Workers on one GPU take turns, so a row's launches take `workers` times as long.
    """
    total = sum(share_of(each) for each in rows)
    return budget_seconds * workers * share_of(row) / total


def longest_seconds_for(
    row: Row, rows: Sequence[Row], budget_seconds: float, workers: int
) -> float:
    """Seconds after which a row's stress ends, whatever others have left and it has not shown."""
    seconds = seconds_for(row, rows, budget_seconds, workers)
    patience = CANARY_PATIENCE if row.canary else PATIENCE
    return min(seconds * patience, budget_seconds * workers)


def seconds_left_for(
    row: Row, plan: Plan, launches: Sequence[Launch], *, budget_seconds: float, workers: int
) -> float:
    """The row's seconds of what is left to it and to the rows that are not begun.

    Left is what the launches made so far have not used and rows that are begun are still owed.
    Never more than `longest_seconds_for`, nor less than half of the row's own share. A canary has
    all the time there is, and ends where it is seen.
    """
    rows = plan.rows
    longest = longest_seconds_for(row, rows, budget_seconds, workers)
    if row.canary:
        return longest
    made: dict[str, list[Launch]] = {}
    for launch in launches:
        made.setdefault(launch.row, []).append(launch)
    used = {name: sum(each.elapsed_seconds for each in group) for name, group in made.items()}
    owed = sum(
        max(seconds_for(each, rows, budget_seconds, workers) - used[each.name], 0.0)
        for each in rows
        if each != row and each.name in made and not has_shown(each, plan, made[each.name])
    )
    waiting = [each for each in rows if each == row or each.name not in made]
    left = max(budget_seconds - (sum(used.values()) + owed) / workers, 0.0)
    least = LEAST_SHARE * seconds_for(row, rows, budget_seconds, workers)
    return min(max(seconds_for(row, waiting, left, workers), least), longest)


def takes_long(row: Row) -> bool:
    """Whether a row has more than a usual sound row's share: no gate should end on it."""
    return share_of(row) > SOUND_SHARE


def begun_early(items: Sequence[T], is_long: Callable[[T], bool]) -> list[T]:
    """The items with the long ones spread over the first half, the others in their order.

    One that came last would be waited for by all; side by side they would share the GPU's time
    among themselves alone, which tests of other kinds leave partly unused.
    """
    long = [each for each in items if is_long(each)]
    ordered = [each for each in items if not is_long(each)]
    apart = 1 + len(ordered) // (2 * len(long)) if long else 1
    for place, each in enumerate(long):
        ordered.insert(place * apart, each)
    return ordered


def has_shown(row: Row, plan: Plan, launches: Sequence[Launch]) -> bool:
    """Whether these launches of a row show what they are to show, so that it needs no more time."""
    sightings = sum(each.stale_tiles > 0 for each in launches)
    seen = sum(each.tiles for each in launches)
    enough = enough_for(row, plan)
    return 0 < sightings_wanted(row, plan.kernel) <= sightings or 0 < enough <= seen


@dataclass
class Gate:
    """One worker's half of the gate."""

    run: Run
    bench: StressBench
    plan: Plan
    budget_seconds: float
    workers: int
    read: ReadRow = micro_reading

    def examine(self, row: Row) -> RowVerdict:
        """Model, code and silicon of one row, and the verdict on all that this run has of it.

        Records that another worker left of this row before it died count too, and its launches are
        not launched again.
        """
        read_model(self.run, self.plan.protocol, [row], lambda _row: None)
        readings = read_code(self.run, self.plan.protocol, [row], lambda _row: None, self.read)
        reading = readings[row.name]
        if conforms(reading):
            self._stress(row)
        return verdict_of(self.run, self.plan, row)

    def _stress(self, row: Row) -> None:
        launches = self.run.launches()
        stress_row(
            self.run,
            self.bench,
            row,
            self.plan,
            lambda _launch: None,
            seconds=seconds_left_for(
                row,
                self.plan,
                launches,
                budget_seconds=self.budget_seconds,
                workers=self.workers,
            ),
            until_stale=sightings_wanted(row, self.plan.kernel),
            enough=observations_wanted(row, self.plan, launches),
            first=next_index(self.run, row),
        )


def sightings_wanted(row: Row, kernel: str) -> int:
    """Launches with a stale tile that end a row's stress; 0 where none does."""
    if kernel == MICRO:
        return 1 if row.sound else SIGHTINGS
    return 1 if row.canary else 0


def observations_wanted(row: Row, plan: Plan, launches: Sequence[Launch]) -> int:
    """Hand-overs that a sound row still needs for the wanted bound; 0 where no count ends it."""
    seen = sum(each.tiles for each in launches if each.row == row.name)
    enough = enough_for(row, plan)
    return max(1, enough - seen) if enough else 0


def launches_of(run: Run, row: Row) -> list[Launch]:
    """The row's launches in this run, whichever worker made them."""
    return [launch for launch in run.launches() if launch.row == row.name]


def verdict_of(run: Run, plan: Plan, row: Row) -> RowVerdict:
    """The verdict on one row alone."""
    evidence = Evidence.of_run(plan.protocol, run, interrupted=False)
    verdicts, _ = judge_run(
        replace(
            evidence,
            settings=replace(run.settings, rows=[row.name]),
            code_readings=[each for each in evidence.code_readings if each.row == row.name],
            launches=[each for each in evidence.launches if each.row == row.name],
            model_answers={
                name: answer for name, answer in evidence.model_answers.items() if name == row.name
            },
        )
    )
    return verdicts[0]
