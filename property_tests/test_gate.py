"""The gate's half of one worker: how time is shared, and what it makes of what a row showed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from fake_bench import FakeBench
from hypothesis import given
from hypothesis import strategies as st
from written_runs import code_reading, fault, launch, settings

from sbo_verify.device.micro_kernel import GpuLostError, LaunchFailedError, LaunchHungError
from sbo_verify.harness import gate as gating
from sbo_verify.harness.gate import (
    BOUND,
    CANARY_PATIENCE,
    PATIENCE,
    Gate,
    begun_early,
    has_shown,
    launches_of,
    longest_seconds_for,
    observations_wanted,
    seconds_for,
    seconds_left_for,
    sightings_wanted,
    takes_long,
    verdict_of,
)
from sbo_verify.harness.runner import Bench
from sbo_verify.harness.session import Plan, ReadRow
from sbo_verify.protocol import Protocol, Row
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.rates import upper_bound
from sbo_verify.record import GEMM, MICRO, CodeReading, Launch
from sbo_verify.store import Run

SOUND = "full_wait-atom_release"
CANARY = "no_wait-relaxed"
LUCKY = "read_wait-release"
ROWS = (SOUND, CANARY, LUCKY)

some_rows = st.lists(st.sampled_from(SIGNAL_PUBLISH.rows), min_size=1, unique_by=lambda r: r.name)
budgets = st.floats(min_value=0.1, max_value=1e5)
worker_counts = st.integers(min_value=1, max_value=64)


def plan_of(rows: Sequence[Row]) -> Plan:
    """A gate's plan over some rows."""
    return Plan(protocol=SIGNAL_PUBLISH, rows=rows, seed=7, seconds=100.0, bound=BOUND)


def gate_of(
    folder: Path, answers: dict[str, Sequence[Launch | Exception]]
) -> tuple[Gate, FakeBench]:
    """A gate over three rows, in which the bench answers as told."""
    plan = plan_of([SIGNAL_PUBLISH.row(name) for name in ROWS])
    bench = FakeBench(SIGNAL_PUBLISH, worker="gw1", answers=answers)
    run = Run.create(folder, settings(ROWS))
    made = Gate(run=run, bench=cast("Bench", bench), plan=plan, budget_seconds=100.0, workers=4)
    return made, bench


def examined(folder: Path, name: str, *answers: Launch | Exception) -> tuple[str, str, str]:
    """Silicon word, joint word and outcome of one row that shows `answers`."""
    gate, _ = gate_of(folder, {name: answers})
    verdict = gate.examine(SIGNAL_PUBLISH.row(name))
    assert (verdict.row, verdict.model_source, verdict.code) == (name, "computed", "as declared")
    return verdict.silicon, verdict.joint, verdict.outcome


# ---- time -----------------------------------------------------------------------------------


@given(some_rows, budgets, worker_counts)
def test_the_shares_of_all_rows_add_up_to_what_the_workers_have(
    rows: list[Row], budget: float, workers: int
) -> None:
    shares = [seconds_for(row, rows, budget, workers) for row in rows]
    assert min(shares) > 0
    assert math.isclose(sum(shares), budget * workers)


@given(some_rows, budgets, worker_counts)
def test_how_much_a_row_is_stressed_does_not_depend_on_the_number_of_workers(
    rows: list[Row], budget: float, workers: int
) -> None:
    """Workers take turns on a GPU, so that each second of theirs is a part of one."""
    for row in rows:
        alone = seconds_for(row, rows, budget, 1)
        assert math.isclose(seconds_for(row, rows, budget, workers) / workers, alone)


@given(some_rows, budgets, worker_counts)
def test_a_row_may_go_on_beyond_its_share_and_never_beyond_the_budget(
    rows: list[Row], budget: float, workers: int
) -> None:
    for row in rows:
        share = seconds_for(row, rows, budget, workers)
        longest = longest_seconds_for(row, rows, budget, workers)
        assert share <= longest * (1 + 1e-9)
        assert longest <= share * (CANARY_PATIENCE if row.canary else PATIENCE) * (1 + 1e-9)
        assert longest <= budget * workers * (1 + 1e-9)


@given(some_rows, budgets, worker_counts, st.data())
def test_what_some_rows_leave_of_their_time_goes_to_those_after_them(
    rows: list[Row], budget: float, workers: int, data: st.DataObject
) -> None:
    """However long each row really takes of what it is given, no more is given than there is."""
    rows = [row for row in rows if not row.canary]
    launches: list[Launch] = []
    for row in rows:
        given_seconds = seconds_left_for(
            row, plan_of(rows), launches, budget_seconds=budget, workers=workers
        )
        longest = longest_seconds_for(row, rows, budget, workers)
        assert given_seconds <= longest * (1 + 1e-9)
        used = given_seconds * data.draw(st.sampled_from([0.1, 0.5, 1.0]))
        assert used > 0 or budget * workers <= sum(each.elapsed_seconds for each in launches)
        launches.append(launch(row.name, elapsed_seconds=used))
    assert sum(each.elapsed_seconds for each in launches) <= budget * workers * (1 + 1e-9)


def left(row: Row, rows: list[Row], *launches: Launch) -> float:
    """Seconds left for `row` of a gate with 4 workers and 30 s, so that 120 are shared."""
    return seconds_left_for(row, plan_of(rows), launches, budget_seconds=30.0, workers=4)


def test_time_that_is_left_is_shared_by_those_who_wait() -> None:
    rows = [SIGNAL_PUBLISH.row(name) for name in (SOUND, "poll_equal", "same_sm")]
    assert left(rows[0], rows) == 40.0
    # One that ended early leaves its time; one that is under way is owed the rest of its share.
    done = launch(SOUND, observations=10**9, elapsed_seconds=10.0)
    assert left(rows[1], rows, done) == 55.0
    assert left(rows[1], rows, launch(SOUND, elapsed_seconds=10.0)) == 40.0
    assert left(rows[1], rows, launch(SOUND, stale=1, elapsed_seconds=10.0)) == 55.0
    # What others have overdrawn is not all taken from the last.
    assert left(rows[1], rows, launch(SOUND, elapsed_seconds=119.0)) == 20.0
    # What it has used itself, under a worker that died, is no longer there.
    assert left(rows[1], rows, launch("poll_equal", elapsed_seconds=30.0)) == 30.0


@pytest.mark.parametrize("workers", [1, 3, 8, 16])
def test_every_row_has_time_however_the_workers_take_turns(workers: int) -> None:
    """Each row uses all it is given, and tells of it launch by launch."""
    rows, budget = list(SIGNAL_PUBLISH.rows), 60.0
    given_seconds: dict[str, float] = {}
    told: list[Launch] = []
    queue = list(rows)
    busy: list[list[Launch]] = []
    while queue or busy:
        while queue and len(busy) < workers:
            row = queue.pop(0)
            seconds = seconds_left_for(
                row, plan_of(rows), told, budget_seconds=budget, workers=workers
            )
            given_seconds[row.name] = seconds if not row.canary else 0.1
            piece = launch(row.name, elapsed_seconds=given_seconds[row.name] / 10)
            busy.append([piece] * 10)
        told.extend(pieces.pop() for pieces in busy)
        busy = [pieces for pieces in busy if pieces]
    for row in rows:
        share = seconds_for(row, rows, budget, workers)
        assert row.canary or given_seconds[row.name] >= share / 2
    assert sum(given_seconds.values()) <= 1.1 * budget * workers


def test_what_takes_long_begins_early_and_far_apart() -> None:
    numbers = list(range(362))
    long = [361, 5, 6, 200, 360]
    ordered = begun_early(numbers, long.__contains__)
    places = sorted(ordered.index(each) for each in long)
    assert all(b - a > 11 for a, b in itertools.pairwise(places))
    assert places[0] == 0
    assert places[-1] < len(numbers) / 2
    assert [each for each in ordered if each not in long] == [n for n in numbers if n not in long]
    assert begun_early(numbers, lambda _: False) == numbers
    assert begun_early([1, 2], lambda _: True) == [1, 2]


def test_rows_with_more_than_a_share_take_long() -> None:
    long = [row.name for row in SIGNAL_PUBLISH if takes_long(row)]
    assert "full_wait-release_by_cluster_peer" in long
    assert "poll_one_thread-reads_alone" in long
    assert "full_wait-release_sys" in long
    assert SOUND not in long
    assert CANARY not in long


def test_a_sound_row_ends_with_the_observations_that_its_bound_takes() -> None:
    sound, canary = SIGNAL_PUBLISH.row(SOUND), SIGNAL_PUBLISH.row(CANARY)
    plan = plan_of([sound, canary])
    needed = observations_wanted(sound, plan, [])
    assert upper_bound(0, needed) <= BOUND < upper_bound(0, needed - 1)
    seen = [launch(SOUND, observations=10**8), launch(CANARY, observations=10**8)]
    assert observations_wanted(sound, plan, seen) == needed - 10**8
    # Consumers of one tile are one hand-over.
    read_by_two = replace(seen[0], hand_overs=5 * 10**7)
    assert observations_wanted(sound, plan, [read_by_two]) == needed - 5 * 10**7
    assert not has_shown(
        sound, plan, [replace(seen[0], observations=needed, hand_overs=needed - 1)]
    )
    assert has_shown(sound, plan, [replace(seen[0], observations=needed)])
    assert observations_wanted(canary, plan, seen) == 0
    assert observations_wanted(sound, replace(plan, bound=0.0), seen) == 0
    assert sightings_wanted(sound, MICRO) == 1
    assert (
        sightings_wanted(canary, MICRO) == sightings_wanted(SIGNAL_PUBLISH.row(LUCKY), MICRO) == 3
    )
    assert [sightings_wanted(row, GEMM) for row in (sound, canary)] == [0, 1]


def test_a_row_is_stressed_for_its_time_and_a_canary_until_it_is_seen(tmp_path: Path) -> None:
    gate, bench = gate_of(tmp_path, {})
    for row in gate.plan.rows:
        gate.examine(row)
    assert [name for name, _ in bench.asked] == list(ROWS)
    for name, how in bench.asked:
        row = SIGNAL_PUBLISH.row(name)
        assert 0 < how["seconds"] <= longest_seconds_for(row, gate.plan.rows, 100.0, 4)
        assert how["until_stale"] == sightings_wanted(row, MICRO)
        assert how["seed"] == 7


def test_a_sound_row_is_launched_no_more_once_it_has_its_bound(tmp_path: Path) -> None:
    launches = [launch(SOUND, index=index, observations=160_000_000) for index in range(4)]
    gate, _ = gate_of(tmp_path, {SOUND: launches})
    verdict = gate.examine(SIGNAL_PUBLISH.row(SOUND))
    assert verdict.observations == 320_000_000
    assert verdict.bound is not None
    assert verdict.bound <= BOUND


# ---- verdicts -------------------------------------------------------------------------------


def test_a_sound_row_that_is_never_stale_passes(tmp_path: Path) -> None:
    launches = [launch(SOUND, index=index) for index in range(3)]
    assert examined(tmp_path, SOUND, *launches) == ("Never", "sound", "pass")


def test_a_sound_row_with_one_stale_tile_is_an_alarm_and_fails(tmp_path: Path) -> None:
    launches = [launch(SOUND), launch(SOUND, stale=1, index=1), launch(SOUND, index=2)]
    assert examined(tmp_path, SOUND, *launches) == (
        "Sometimes",
        "ALARM: forbidden but seen",
        "fail",
    )


def test_an_unseen_canary_is_unknown_and_a_seen_one_passes(tmp_path: Path) -> None:
    assert examined(tmp_path, CANARY, launch(CANARY)) == (
        "Never",
        "broken, works by luck here",
        "unknown",
    )
    assert examined(tmp_path, CANARY, launch(CANARY, stale=9)) == (
        "Sometimes",
        "broken, shown",
        "pass",
    )


@pytest.mark.parametrize(
    ("shown", "silicon"),
    [
        (launch(LUCKY), "Never"),
        (launch(LUCKY, stale=4), "Sometimes"),
        (launch(LUCKY, stale=10, observations=10), "Always"),
        (
            launch(LUCKY, observations=4, planned=9, fault=fault("threshold never reached")),
            "threshold never reached",
        ),
        (
            launch(LUCKY, observations=4, planned=9, fault=fault("signal overshot")),
            "signal overshot",
        ),
    ],
)
def test_a_broken_row_that_is_no_canary_passes_whatever_it_shows(
    shown: Launch, silicon: str, tmp_path: Path
) -> None:
    word, _, outcome = examined(tmp_path, LUCKY, shown)
    assert (word, outcome) == (silicon, "pass")


def test_a_sound_row_that_hangs_is_unknown(tmp_path: Path) -> None:
    hung = launch(SOUND, observations=4, planned=9, fault=fault("threshold never reached"))
    assert examined(tmp_path, SOUND, hung)[2] == "unknown"


def test_a_row_without_any_launch_is_unknown(tmp_path: Path) -> None:
    word, _, outcome = examined(tmp_path, SOUND)
    assert (word, outcome) == ("did not run", "unknown")


def test_code_that_is_not_as_declared_is_never_launched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def differing(
        run: Run,
        _protocol: Protocol,
        rows: Iterable[Row],
        _on_row: Callable[[Row], None],
        _read: ReadRow,
    ) -> dict[str, CodeReading]:
        readings = {
            row.name: code_reading(row.name, verdict="differs", differences=["a difference"])
            for row in rows
        }
        for reading in readings.values():
            run.append(reading)
        return readings

    monkeypatch.setattr(gating, "read_code", differing)
    gate, bench = gate_of(tmp_path, {})
    verdict = gate.examine(SIGNAL_PUBLISH.row(SOUND))
    assert bench.asked == []
    assert (verdict.code, verdict.outcome) == ("differs", "fail")


# ---- what others left -----------------------------------------------------------------------


def test_a_stale_tile_that_a_dead_worker_recorded_still_counts(tmp_path: Path) -> None:
    gate, _ = gate_of(tmp_path, {SOUND: [launch(SOUND, worker="gw1")]})
    gate.run.append(launch(SOUND, stale=1, worker="gw0"))
    verdict = gate.examine(SIGNAL_PUBLISH.row(SOUND))
    assert (verdict.joint, verdict.outcome) == ("ALARM: forbidden but seen", "fail")
    assert (verdict.stale, verdict.observations) == (1, 2_000_000)
    workers = [each.worker for each in launches_of(gate.run, SIGNAL_PUBLISH.row(SOUND))]
    assert workers == ["gw0", "gw1"]


def test_what_other_rows_showed_is_not_held_against_a_row(tmp_path: Path) -> None:
    gate, _ = gate_of(tmp_path, {})
    gate.run.append(launch(CANARY, ahead_words=5))
    gate.run.append(code_reading(LUCKY, verdict="differs"))
    assert gate.examine(SIGNAL_PUBLISH.row(SOUND)).outcome == "pass"


@pytest.mark.parametrize("error", [LaunchHungError("no end"), LaunchFailedError("bad address")])
def test_a_lost_gpu_leaves_a_fault_record_and_is_raised(
    error: GpuLostError, tmp_path: Path
) -> None:
    gate, _ = gate_of(tmp_path, {SOUND: [launch(SOUND), error]})
    row = SIGNAL_PUBLISH.row(SOUND)
    with pytest.raises(type(error)):
        gate.examine(row)
    good, lost = launches_of(gate.run, row)
    assert good.fault is None
    assert lost.fault is not None
    assert lost.fault["what"] == error.what
    assert (lost.index, lost.worker, lost.gpu, lost.observations) == (1, "gw1", "GPU-0", 0)
    # The worker that replaces this one finds it.
    again = verdict_of(gate.run, gate.plan, row)
    assert (again.silicon, again.outcome) == ("unreliable", "unknown")
