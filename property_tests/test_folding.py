"""Folding a long run's records loses no count, keeps whatever tells something, and stays small."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from written_runs import code_reading, fault, launch

from sbo_verify.harness.folding import (
    COUNTERS,
    KEPT_ALARMS,
    KEPT_FOOTPRINTS,
    KEPT_STALE,
    NAMED_VALUES,
    folder,
    gaps,
    is_odd,
    launches_in,
    thinned,
)
from sbo_verify.harness.tally import tally
from sbo_verify.record import Footprint, Launch, LaunchSum, LiveLaunch

SOUND, BROKEN = "full_wait-atom_release", "no_wait-relaxed"
fold = folder(lambda name: name == SOUND)


def one(row: str, index: int, what: str) -> Launch:
    """A launch that is quiet, stale, faulted or in doubt."""
    if what == "fault":
        return launch(row, observations=4, planned=9, index=index, fault=fault("launch hung"))
    changes = {"ahead_words": 3} if what == "ahead" else {}
    knobs = {"tile_bytes": 1 << index % 30, "noise": "store"}
    seconds = 0.001 * (1 + index % 7)
    stale = 2 if what == "stale" else 0
    kind = ("fresh", "tuned no_wait-relaxed", "tuned poll_volatile", "")[index % 4]
    named = {"index": index, "knobs": knobs, "environment": kind}
    return launch(row, stale, 100, elapsed_seconds=seconds, **named, **changes)


def kinds_of(record: Launch) -> str:
    return record.environment.partition(" ")[0]


def launches_of(records: Sequence[object]) -> list[Launch]:
    return [each for each in records if isinstance(each, Launch)]


kinds = st.lists(
    st.tuples(
        st.sampled_from([SOUND, BROKEN]), st.sampled_from(["quiet", "stale", "fault", "ahead"])
    ),
    max_size=60,
)


def made(shown: list[tuple[str, str]]) -> list[Launch]:
    count = dict.fromkeys([SOUND, BROKEN], 0)
    launches = []
    for row, what in shown:
        launches.append(one(row, count[row], what))
        count[row] += 1
    return launches


@given(kinds)
def test_a_folded_run_is_judged_as_the_run_is(shown: list[tuple[str, str]]) -> None:
    plain = made(shown)
    folded = launches_of(fold(plain))
    for row in (SOUND, BROKEN):
        was = tally([each for each in plain if each.row == row])
        now = tally([each for each in folded if each.row == row])
        assert (now.stale, now.observations, now.word) == (was.stale, was.observations, was.word)
        assert now.counted == was.counted
        assert now.notes == was.notes
        assert now.elapsed_seconds == pytest.approx(was.elapsed_seconds)
        assert now.seconds_to_first_stale == pytest.approx(was.seconds_to_first_stale)
    for kind in ("fresh", "tuned", ""):
        mine = [
            sum(e.observations for e in some if kinds_of(e) == kind) for some in (plain, folded)
        ]
        assert mine[0] == mine[1], kind
    assert gaps(folded) == gaps(plain) == []
    assert sum(map(launches_in, folded)) == len(plain)


@given(kinds, kinds, st.data())
def test_folding_what_was_folded_is_folding_at_once(
    shown: list[tuple[str, str]], more: list[tuple[str, str]], data: st.DataObject
) -> None:
    plain = made([*shown, *more])
    cut = data.draw(st.integers(0, len(plain)))
    by_parts = fold([*fold(plain[:cut]), *plain[cut:]])
    at_once = fold(plain)
    assert len(by_parts) == len(at_once)
    # Rows are in the order in which they came, sums of seconds in another.
    for each, other in zip(launches_of(by_parts), launches_of(at_once), strict=True):
        assert each.elapsed_seconds == pytest.approx(other.elapsed_seconds)
        whole = {item.name for item in fields(each)} - {"elapsed_seconds"}
        assert {n: getattr(each, n) for n in whole} == {n: getattr(other, n) for n in whole}


def test_every_figure_of_a_launch_is_added_or_names_it() -> None:
    """A counter that is new must be one that adds up, or be left out by name."""
    assert set(COUNTERS) - {"planted", "hand_overs", "drain_cycles"} == {
        "planned",
        "observations",
        "stale_tiles",
        "stale_words",
        "ahead_words",
        "overshoots",
        "elapsed_seconds",
    }


def test_what_tells_something_is_kept_whole() -> None:
    stale = [one(SOUND, index, "stale") for index in range(20)]
    odd = [one(SOUND, 20, "fault"), one(SOUND, 21, "ahead")]
    assert fold([*stale, *odd]) == [*stale, *odd]
    assert [is_odd(each) for each in [*stale[:1], *odd]] == [False, True, True]


def test_of_a_broken_row_the_first_stale_launches_are_kept() -> None:
    folded = launches_of(fold([one(BROKEN, index, "stale") for index in range(50)]))
    assert [each.index for each in folded[:KEPT_STALE]] == list(range(KEPT_STALE))
    sums = folded[KEPT_STALE:]
    assert {each.environment for each in sums} == {"fresh", "tuned", ""}
    assert all(isinstance(each, LaunchSum) for each in sums)
    assert sum(map(launches_in, sums)) == 50 - KEPT_STALE
    assert sum(each.stale_tiles for each in sums) == 2 * (50 - KEPT_STALE)
    assert all(sum(each.histogram) == each.stale_words for each in sums)


def test_an_alarm_in_every_launch_does_not_grow_for_ever() -> None:
    records = fold([one(SOUND, index, "stale") for index in range(KEPT_ALARMS + 500)])
    assert len(records) == KEPT_ALARMS + 3
    assert tally(launches_of(records)).stale == 2 * (KEPT_ALARMS + 500)


def test_a_sum_names_the_values_of_its_knobs() -> None:
    quiet = [replace(one(SOUND, index, "quiet"), environment="") for index in range(30)]
    (total,) = launches_of(fold(quiet))
    assert total.knobs["noise"] == ["store"]
    assert total.knobs["tile_bytes"] == [1 << index for index in range(NAMED_VALUES)]


def test_a_live_launch_with_stray_signals_is_kept_whole() -> None:
    plain = launch(SOUND)
    values = {item.name: getattr(plain, item.name) for item in fields(plain)}
    audit = {"slots_short": 0, "slots_over": 0, "slots_stray": 0}
    audit |= {"signal_lowest": 4, "signal_highest": 4}
    quiet = LiveLaunch(
        **values,
        producer="p",
        block_m=64,
        threshold=4,
        waited=9,
        rows=9,
        wrong_words=0,
        audit=audit,
    )
    assert not is_odd(quiet)
    for word in ("slots_short", "slots_over", "slots_stray"):
        assert is_odd(LiveLaunch(**(quiet.__dict__ | {"audit": audit | {word: 1}})))
    assert [type(each) for each in fold([quiet])] == [LaunchSum]


def test_readings_stay_and_come_first() -> None:
    reading = code_reading(SOUND)
    records = fold([one(SOUND, 0, "quiet"), reading, one(SOUND, 1, "quiet")])
    assert records[0] == reading
    assert [launches_in(each) for each in launches_of(records)] == [1, 1]
    assert [each.environment for each in launches_of(records)] == ["fresh", "tuned"]


def test_footprints_are_thinned_and_the_last_one_stays() -> None:
    made_up = [
        Footprint(process=1, launches=n, seconds=n, gpu_seconds=n, rss_bytes=1 << 20, raw_bytes=n)
        for n in range(1000)
    ]
    kept = thinned(made_up)
    assert len(kept) <= KEPT_FOOTPRINTS
    assert (kept[0], kept[-1]) == (made_up[0], made_up[-1])
    assert thinned(kept) == kept


def test_a_launch_that_is_missing_or_there_twice_is_noticed() -> None:
    whole = [one(SOUND, index, "stale") for index in range(4)]
    assert gaps(whole) == []
    assert gaps([*whole[:2], whole[3]]) == [f"{SOUND} (seed 7) has 3 launches up to index 3"]
    assert gaps([*whole, whole[2]]) == [
        f"{SOUND} (seed 7) has 5 launches up to index 3",
        f"{SOUND} (seed 7) has launch 2 twice",
    ]
    assert gaps([whole[0], whole[0], *whole[2:]]) == [f"{SOUND} (seed 7) has launch 0 twice"]
    folded = launches_of(fold([one(SOUND, index, "quiet") for index in (0, 1, 3)]))
    assert gaps(folded) == [f"{SOUND} (seed 7) has 3 launches up to index 3"]
