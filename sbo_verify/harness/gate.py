"""The CI gate: one row examined by one worker, judged from what lies on disk.

The time of a gate is given for the whole gate and shared out over rows and workers, so that the
number of workers changes how fast it is cut up, not how long it takes nor how much each row sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sbo_verify.harness.judgement import Evidence, judge_run
from sbo_verify.harness.runner import Bench
from sbo_verify.harness.session import Plan, conforms, read_code, stress_row
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


@dataclass
class Gate:
    """One worker's half of the gate."""

    run: Run
    bench: Bench
    plan: Plan
    budget_seconds: float
    workers: int

    def examine(self, row: Row) -> RowVerdict:
        """Read the row's code, stress it, and judge all that this run has recorded of it.

        Records that another worker left of this row before it died count too.
        """
        reading = read_code(self.run, self.plan.protocol, [row], lambda _row: None)[row.name]
        if conforms(reading):
            seconds = seconds_for(row, self.plan.rows, self.budget_seconds, self.workers)
            stress_row(
                self.run,
                self.bench,
                row,
                self.plan,
                lambda _launch: None,
                seconds=seconds * (CANARY_PATIENCE if row.canary else 1.0),
                until_stale=row.canary,
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
        )
    )
    return verdicts[0]


def repeat_command(run: Run, row: Row) -> str:
    """The one command that repeats what was seen of this row."""
    seed = run.settings.seed
    telling = [each for each in launches_of(run, row) if each.stale_tiles or each.fault]
    if telling:
        return f"sbo-verify replay {row.name} --seed {seed} --index {telling[0].index}"
    return f"pytest stress/ --seed {seed} --variants {row.name} --require-gpu"
