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

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sbo_verify.harness.judgement import Evidence, judge_run
from sbo_verify.harness.runner import geometry_of
from sbo_verify.harness.session import (
    Plan,
    ReadRow,
    StressBench,
    conforms,
    micro_reading,
    next_index,
    read_code,
    read_model,
    stress_row,
)
from sbo_verify.protocol import Row
from sbo_verify.rates import observations_needed
from sbo_verify.record import MICRO, Launch, RowVerdict
from sbo_verify.store import Run

# What the gate wants to say of a sound row's rate of stale hand-overs, at 95 %.
BOUND = 1e-8
# Launches that must see a mutant: a run that is repeated then sees it with 1 - e^-3, 95 %.
SIGHTINGS = 3
# Shares of the time: sound rows earn their bound, at a fifth of the speed where one cluster takes
# two SMs; mutants mostly end at their third sighting, and others that are broken are only reported.
SOUND_SHARE = 1.0
CLUSTER_FACTOR = 3.0
CANARY_SHARE = 0.1
BROKEN_SHARE = 0.15
# How much longer than its share a canary may stay unseen before the gate says unknown, and what a
# row may take of the time that others have left.
CANARY_PATIENCE = 20.0
PATIENCE = 2.0


def share_of(row: Row) -> float:
    """The row's share of the gate's time, relative to the other rows'."""
    if row.sound:
        return SOUND_SHARE * (CLUSTER_FACTOR if geometry_of(row).cluster > 1 else 1.0)
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
    row: Row,
    rows: Sequence[Row],
    launches: Sequence[Launch],
    budget_seconds: float,
    workers: int,
) -> float:
    """The row's seconds of what the launches made so far have left to it and the rows not begun.

    Never more than `longest_seconds_for`; a canary has all of that, and ends where it is seen.
    """
    longest = longest_seconds_for(row, rows, budget_seconds, workers)
    if row.canary:
        return longest
    begun = {each.row for each in launches if each.row != row.name}
    waiting = [each for each in rows if each.name not in begun]
    used = sum(each.elapsed_seconds for each in launches)
    left = max(budget_seconds - used / workers, 0.0)
    return min(seconds_for(row, waiting, left, workers), longest)


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
                row, self.plan.rows, launches, self.budget_seconds, self.workers
            ),
            until_stale=sightings_wanted(row, self.plan.kernel),
            enough=observations_wanted(row, self.plan.kernel, launches),
            first=next_index(self.run, row),
        )


def sightings_wanted(row: Row, kernel: str) -> int:
    """Launches with a stale tile that end a row's stress; 0 where none does."""
    if kernel == MICRO:
        return 1 if row.sound else SIGHTINGS
    return 1 if row.canary else 0


def observations_wanted(row: Row, kernel: str, launches: Sequence[Launch]) -> int:
    """Hand-overs that a sound row still needs for the wanted bound; 0 where no count ends it.

    The GEMM hands over too slowly for that bound, and takes the time it is given.
    """
    if kernel != MICRO or not row.sound:
        return 0
    seen = sum(each.observations for each in launches if each.row == row.name)
    return max(1, observations_needed(BOUND) - seen)


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
