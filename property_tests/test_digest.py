"""What a report shows of a run's launches by environment: sums that can be checked by hand."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

import pytest
from fake_live_gpu import live_launch
from hypothesis import given
from hypothesis import strategies as st
from written_runs import launch, settings, witness

from sbo_verify.harness.digest import Details, details_of
from sbo_verify.harness.folding import added
from sbo_verify.harness.judgement import Evidence, judge_run
from sbo_verify.harness.results import empty_fault
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.rates import upper_bound
from sbo_verify.record import Launch
from sbo_verify.report.gallery import _drain_times

SOUND, CANARY, LUCKY = "full_wait-atom_release", "no_wait-relaxed", "read_wait-release"
ROWS = (SOUND, CANARY, LUCKY)


def details(
    launches: list[Launch], rows: tuple[str, ...] = ROWS, changed: str | None = None
) -> Details:
    """What is told of launches; the row `changed` is not the catalogue's of today."""
    asked = settings(rows)
    evidence = Evidence(
        protocol=SIGNAL_PUBLISH,
        settings=asked,
        code_readings=[],
        launches=launches,
        finished="2026-11-23T22:01:00+00:00",
    )
    verdicts, _ = judge_run(evidence)
    told = [replace(each, variant="0" * 12) if each.row == changed else each for each in verdicts]
    return details_of(SIGNAL_PUBLISH, asked, launches, told)


def quiet(row: str, tile: int, milliseconds: float, **knobs: Any) -> Launch:  # noqa: ANN401 - any knob
    """A launch of 1,000 rounds without noise or delays."""
    values = {"noise": "none", "tile_bytes": tile, "rounds": 1000, "producer_skew_cycles": 0}
    return launch(row, elapsed_seconds=milliseconds / 1000, knobs=values | knobs)


def test_rates_are_summed_by_the_value_of_a_knob() -> None:
    found = details(
        [
            launch(CANARY, stale=3, observations=100, knobs={"noise": "store", "ring": 2}),
            launch(CANARY, stale=0, observations=200, knobs={"noise": "store", "ring": 16}),
            launch(CANARY, stale=7, observations=300, knobs={"noise": "none", "ring": 2}),
        ]
    )
    shares = found.digests[CANARY].knobs
    told = {
        knob: [(s.value, s.launches, s.shown, s.stale, s.observations) for s in each]
        for knob, each in shares.items()
    }
    assert told == {
        "noise": [("none", 1, 1, 7, 300), ("store", 2, 1, 3, 300)],
        "ring": [("2", 2, 2, 10, 400), ("16", 1, 0, 0, 200)],
    }
    assert shares["ring"][1].bound == upper_bound(0, 200)
    assert found.digests[SOUND].knobs == {}


def test_how_the_knobs_were_drawn_is_shown_as_if_it_were_one() -> None:
    words = ["fresh", "tuned for poll_relaxed", "tuned for no_wait-relaxed"]
    launches = [launch(CANARY, stale=n, environment=word) for n, word in enumerate(words)]
    shares = details(launches).digests[CANARY].knobs["drawn"]
    assert [(each.value, each.launches, each.stale) for each in shares] == [
        ("fresh", 1, 0),
        ("tuned", 2, 3),
    ]


def test_a_knob_that_never_changed_or_injects_a_fault_explains_nothing() -> None:
    knobs = [{"noise": "store", "timeout_ms": n, "rounds": n, "withheld_round": n} for n in (1, 2)]
    found = details([launch(CANARY, stale=1, knobs=each) for each in knobs])
    assert found.digests[CANARY].knobs == {}


def test_histograms_are_added_tile_by_tile() -> None:
    sizes = [(4096, [4, 0]), (16384, [0, 8]), (4096, [0, 4]), (16384, [4, 4])]
    launches = [
        launch(CANARY, stale=sum(bins) // 4, histogram=bins, knobs={"tile_bytes": size})
        for size, bins in sizes
    ]
    offsets = details(launches).digests[CANARY].offsets
    assert [(each.tile_bytes, each.launches, each.counts) for each in offsets] == [
        (4096, 2, [4, 4]),
        (16384, 2, [4, 12]),
    ]


@given(st.lists(st.integers(0, 1 << 20), min_size=1, max_size=40))
def test_every_witness_stands_in_the_bin_of_its_delay(cycles: list[int]) -> None:
    seen = [witness() | {"cycles_since_signal": each} for each in cycles]
    delays = details([launch(CANARY, stale=1, witnesses=seen)]).digests[CANARY].delays
    assert sum(each.witnesses for each in delays) == len(cycles)
    for each in delays:
        inside = [c for c in cycles if each.from_cycles <= c < each.below_cycles]
        assert len(inside) == each.witnesses
    edges = [(each.from_cycles, each.below_cycles) for each in delays]
    assert all(first[1] == second[0] for first, second in pairwise(edges))


def test_a_rounds_time_is_the_median_of_quiet_launches_and_needs_three() -> None:
    launches = [quiet(SOUND, 4096, time) for time in (2.0, 9.0, 3.0)]
    launches += [quiet(SOUND, 16384, time) for time in (5.0, 6.0)]
    launches.append(quiet(SOUND, 4096, 100.0, noise="store"))
    launches.append(quiet(SOUND, 4096, 100.0, producer_skew_cycles=1))
    [time] = details(launches).digests[SOUND].rounds
    assert (time.tile_bytes, time.launches) == (4096, 3)
    assert time.microseconds == pytest.approx(3.0)


def timed(row: str, tile: int, cycles: int, **changed: Any) -> Launch:  # noqa: ANN401 - any field
    """A launch of 1,000 hand-overs, each of which waited so long for its store."""
    knobs = {"noise": "none", "tile_bytes": tile, "rounds": 1000, "time_drain": True}
    made = launch(row, observations=1000, drain_cycles=1000 * cycles, knobs=knobs)
    return replace(made, **changed)


def test_a_wait_is_the_median_of_the_launches_that_measured_it() -> None:
    launches = [timed(SOUND, 4096, cycles) for cycles in (200, 900, 300)]
    # Of a tile that two consumers read, the producer waited once.
    launches.append(timed(SOUND, 16384, 500, observations=2000, hand_overs=1000))
    launches.append(quiet(SOUND, 16384, 3.0))
    launches.append(timed(SOUND, 4096, 7, fault=asdict(empty_fault("launch hung"))))
    found = details(launches).digests[SOUND]
    assert [(each.tile_bytes, each.launches, each.cycles) for each in found.drains] == [
        (4096, 3, 300.0),
        (16384, 1, 500.0),
    ]
    # Reading the clock takes time of the round.
    assert found.rounds == []


def test_waits_are_drawn_where_they_were_measured() -> None:
    measured = [
        *(timed(SOUND, tile, cycles) for tile, cycles in ((1024, 110), (4096, 420))),
        *(timed(LUCKY, tile, cycles) for tile, cycles in ((1024, 100), (4096, 410))),
    ]
    [picture] = _drain_times(details(measured))
    assert picture.title.startswith("How long the producer waits, by the size of the tile")
    assert picture.svg.count(">full</text>") == picture.svg.count(">read</text>") == 1
    assert picture.figures == [
        "full: 1,024 bytes 110 cycles, 4,096 bytes 420 cycles",
        "read: 1,024 bytes 100 cycles, 4,096 bytes 410 cycles",
    ]
    assert _drain_times(details([quiet(SOUND, 4096, 1.0)] * 3)) == []


def test_launches_that_were_added_up_say_nothing_of_an_environment() -> None:
    quietly = [launch(SOUND, index=n, knobs={"noise": n, "rounds": 5}) for n in range(4)]
    summed = None
    for each in quietly:
        summed = added(summed, each)
    assert summed is not None
    found = details([summed])
    assert found.digests[SOUND].knobs == {}
    assert found.digests[SOUND].rounds == []


def test_slots_of_the_gemm_are_counted_by_their_size() -> None:
    row = SIGNAL_PUBLISH.row(SOUND)
    live = [
        live_launch(SIGNAL_PUBLISH, row, 0, observations=1_000, index=n, knobs={"n": columns})
        for n, columns in enumerate((128, 256, 128))
    ]
    waits = details([*live, launch(SOUND)]).slot_waits
    # Of 128 rows each, two bytes a value; 100 of a launch's slots were waited for.
    assert [(each.slot_bytes, each.launches, each.waited, each.slots) for each in waits] == [
        (32_768, 2, 200, 2_000),
        (65_536, 1, 100, 1_000),
    ]


def test_rows_that_differ_in_the_wait_alone_are_found() -> None:
    rows = tuple(row.name for row in SIGNAL_PUBLISH)
    groups = details([], rows).wait_groups
    assert groups[0] == {
        "none": "no_wait-relaxed",
        "read": "read_wait-relaxed",
        "full": "full_wait-relaxed",
    }
    assert {"read": LUCKY, "full": SOUND} in groups
    for group in groups:
        words = [SIGNAL_PUBLISH.row(row).variant.words() for row in group.values()]
        rest = [{site: word for site, word in each.items() if site != "drain"} for each in words]
        assert all(each == rest[0] for each in rest)


def test_a_row_that_has_changed_since_is_not_declared() -> None:
    found = details([launch(row) for row in ROWS], changed=SOUND)
    assert list(found.declared) == [CANARY, LUCKY]
