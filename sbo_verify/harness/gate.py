"""The CI gate: one row examined by one worker, judged from what lies on disk.

The time of a gate is given for the whole gate and shared out over rows and workers, so that the
number of workers changes how fast it is cut up, not how long it takes nor how much each row sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sbo_verify.harness.judgement import Evidence, judge_run
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
from sbo_verify.record import Launch, RowVerdict
from sbo_verify.store import Run

# Shares of the time: sound rows earn their bound, canaries mostly end at their first stale tile,
# broken rows that are no canary are only reported.
SOUND_SHARE = 1.0
CANARY_SHARE = 0.25
BROKEN_SHARE = 0.5
# How much longer than its share a canary may stay unseen before the gate says unknown.
CANARY_PATIENCE = 8.0


def share_of(row: Row) -> float:
    """The row's share of the gate's time, relative to the other rows'."""
    if row.sound:
        return SOUND_SHARE
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
    """Seconds after which even an unseen canary's stress ends."""
    seconds = seconds_for(row, rows, budget_seconds, workers)
    return min(seconds * CANARY_PATIENCE, budget_seconds * workers) if row.canary else seconds


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
            stress_row(
                self.run,
                self.bench,
                row,
                self.plan,
                lambda _launch: None,
                seconds=longest_seconds_for(row, self.plan.rows, self.budget_seconds, self.workers),
                until_stale=row.canary,
                first=next_index(self.run, row),
            )
        return verdict_of(self.run, self.plan, row)


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
