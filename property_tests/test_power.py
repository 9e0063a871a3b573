"""What a run could have seen: its score, what would stay hidden, and when its stress may end."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from written_findings import findings
from written_runs import launch, settings

from sbo_verify.harness.knobs import Knobs
from sbo_verify.harness.planted import exact_rate, plant
from sbo_verify.harness.power import (
    Sightings,
    by_source,
    consumers_sentence,
    gate_told,
    pooled,
    power_of,
    reach,
    reach_sentence,
    sentences,
    source_of,
    source_sentence,
    told,
)
from sbo_verify.harness.runner import Bench
from sbo_verify.protocol import Row
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.rates import (
    binomial_test,
    chance_of_a_sighting,
    lower_bound,
    observations_needed,
    upper_bound,
)
from sbo_verify.record import Launch, RowVerdict
from sbo_verify.report.markdown import markdown_text

SOUND = "full_wait-atom_release"
ALSO_SOUND = "poll_equal"
KILLED = "no_wait-relaxed"
ALIVE = "poll_volatile"
LUCKY = "read_wait-release"


def verdict(name: str, stale: int, observations: int) -> RowVerdict:
    row = SIGNAL_PUBLISH.row(name)
    return RowVerdict(
        row=name,
        variant=SIGNAL_PUBLISH.hash_of(row.variant),
        expected=row.expected.value,
        canary=row.canary,
        model=row.expected.value,
        model_source="computed",
        code="as declared",
        silicon="Sometimes" if stale else "Never",
        joint="sound",
        outcome="pass",
        stale=stale,
        observations=observations,
        bound=upper_bound(stale, observations),
        elapsed_seconds=1.0,
        rounds_per_second=1.0,
        seconds_to_first_stale=None,
        notes=[],
    )


VERDICTS = [
    verdict(SOUND, 0, 3 * 10**8),
    verdict(ALSO_SOUND, 0, 10**8),
    verdict(KILLED, 5, 1000),
    verdict(ALIVE, 0, 1000),
    verdict(LUCKY, 0, 1000),
]
LAUNCHES = [launch(SOUND, index=index) for index in range(60)] + [
    launch(ALSO_SOUND, index=index) for index in range(20)
]


# ---- the score, and what would stay hidden --------------------------------------------------


def test_the_score_is_killed_of_those_once_seen_killed() -> None:
    power = power_of(VERDICTS, LAUNCHES, {KILLED, ALIVE, "not part of this run"})
    assert (power.killed, power.killable, power.missed) == (1, 2, [ALIVE])
    assert power.score == 0.5
    assert power.score_bound == lower_bound(1, 2)
    # Nobody ever saw this one; a run that does has one more that can be killed.
    assert power_of(VERDICTS, LAUNCHES, {KILLED}).killable == 1
    assert power_of([verdict(LUCKY, 1, 9)], [], set()).killable == 1


def test_what_would_be_missed_is_said_of_the_sound_row_with_the_fewest_observations() -> None:
    power = power_of(VERDICTS, LAUNCHES, {KILLED})
    assert (power.row, power.observations, power.launches) == (ALSO_SOUND, 10**8, 20)
    assert power.rate is not None
    assert power.share is not None
    assert chance_of_a_sighting(power.rate, 10**8) == pytest.approx(0.95)
    assert chance_of_a_sighting(power.share, 20) == pytest.approx(0.95)


def test_the_power_is_told_with_what_was_missed() -> None:
    lines = sentences(power_of(VERDICTS, LAUNCHES, {KILLED, ALIVE}))
    assert lines == [
        (
            "mutation score 1 of 2 mutants once seen killed: a run like this finds more than 3% of "
            "such faults (95 %)"
        ),
        f"not killed: {ALIVE}",
        (
            "missed with more than 5% probability: a violation rarer than 3.0e-08 a hand-over "
            f"({ALSO_SOUND}, 100,000,000 hand-overs, the fewest of a sound variant), or one of "
            "fewer than 13.9% of the environments drawn (20 launches)"
        ),
    ]
    assert sentences(power_of([verdict(LUCKY, 0, 9)], [], set())) == []


def test_a_run_that_does_not_say_what_was_killable_is_told_no_power() -> None:
    names = [each.row for each in VERDICTS]
    assert told(settings(names), VERDICTS, LAUNCHES) == []
    recorded = replace(settings(names), killable=[KILLED])
    assert told(recorded, VERDICTS, LAUNCHES)[0].startswith("mutation score 1 of 1")
    assert gate_told(settings(names), VERDICTS, LAUNCHES, []) == []
    wanted = replace(settings(names), bound=1e-8)
    assert told(wanted, VERDICTS, LAUNCHES) == [reach_sentence(reach(VERDICTS, 1e-8))]


def test_each_kind_of_environment_is_weighed_by_the_mutants_that_it_killed() -> None:
    launches = [
        launch(SOUND, observations=900, environment="dense"),
        launch(ALSO_SOUND, observations=100, environment="fresh"),
        launch(KILLED, 2, environment="tuned for no_wait-relaxed"),
        launch(KILLED, environment="dense"),
        launch(ALIVE, 5, environment="dense"),
        launch(LUCKY, environment="dense"),
    ]
    found = by_source(VERDICTS, launches, {KILLED, ALIVE})
    assert [(each.source, each.killed, each.tried) for each in found] == [
        ("tuned", 1, 1),
        ("dense", 1, 2),
    ]
    assert [each.observed for each in found] == [0.0, 0.9]
    assert source_sentence(found) == (
        "by environment, of the mutants that had one and of sound hand-overs: tuned killed 1 of 1 "
        "and made 0%; dense killed 1 of 2 and made 90%"
    )
    assert by_source(VERDICTS, LAUNCHES, {KILLED}) == []


def test_a_report_says_what_the_run_could_have_seen() -> None:
    line = sentences(power_of(VERDICTS, LAUNCHES, {KILLED}))[0]
    text = markdown_text(replace(findings([launch(SOUND)]), power=[line]))
    assert line in text.replace("\\", "")
    assert line not in markdown_text(findings([launch(SOUND)]))


def test_a_gate_says_whose_stress_the_bound_ended_and_whose_the_budget() -> None:
    found = reach(VERDICTS, 1e-8)
    assert (found.reached, [row for row, _ in found.short]) == ([SOUND], [ALSO_SOUND])
    assert reach_sentence(found) == (
        "bound 1e-08 reached by 1 of 2 sound variants; ended by the budget: "
        f"{ALSO_SOUND} at 3.0e-08"
    )
    assert reach_sentence(reach(VERDICTS[:1], 1e-8)).endswith("reached by 1 of 1 sound variants")


def test_rows_with_the_same_ordering_words_share_a_bound_and_others_do_not() -> None:
    same, other = [("poll", ["LDG"])], [("poll", ["LDG", "CCTL"])]
    (pool,) = pooled(VERDICTS, {SOUND: same, ALSO_SOUND: same, KILLED: same})
    assert (pool.rows, pool.observations) == ([SOUND, ALSO_SOUND], 4 * 10**8)
    assert pool.bound == upper_bound(0, 4 * 10**8)
    assert len(pooled(VERDICTS, {SOUND: same, ALSO_SOUND: other})) == 2
    # One that was stale, and one whose machine code nobody read, has no part in it.
    stale = [verdict(SOUND, 1, 10), verdict(ALSO_SOUND, 0, 10)]
    assert [each.rows for each in pooled(stale, {SOUND: same, ALSO_SOUND: same})] == [[ALSO_SOUND]]
    assert pooled(VERDICTS, {}) == []


def test_times_to_detection_count_an_unseen_seed_as_later_than_any() -> None:
    seen = Sightings(row=KILLED, seconds=[float(n) for n in range(1, 21)], used=210.0)
    assert (seen.median, seen.late) == (10.5, 19.0)
    assert seen.kills_a_second == pytest.approx(20 / 210)
    few = Sightings(row=KILLED, seconds=[0.1, None, 0.3], used=2.4)
    assert (few.median, few.late) == (0.3, None)
    assert Sightings(row=KILLED, seconds=[None, None, 0.1], used=4.1).median is None


def test_a_launch_says_what_kind_of_environment_it_had() -> None:
    words = ["fresh", "tuned for poll_volatile", "dense", ""]
    found = [source_of(launch(SOUND, environment=word)) for word in words]
    assert found == ["fresh", "tuned", "dense", ""]


# ---- when a stress may end ------------------------------------------------------------------

ALPHA = 0.05
RUNS = 20_000
Stop = Callable[[int, int], bool]


def test_the_observations_needed_are_the_fewest_that_give_the_bound() -> None:
    for bound in (0.3, 1e-3, 1e-8):
        needed = observations_needed(bound)
        assert upper_bound(0, needed) <= bound < upper_bound(0, needed - 1)
    assert observations_needed(1e-8) == 299_573_226
    with pytest.raises(ValueError, match="give both between 0 and 1"):
        observations_needed(0.0)


def claimed(rate: float, wanted: float, look: Callable[[int, int], bool], seed: int) -> float:
    """The share of simulated stresses that claim a bound below `rate`, which is false.

    Launches of random size follow each other to ten times what the bound takes; after each,
    `look` says by (events, observations) whether to stop and claim `wanted`.
    """
    rng = np.random.default_rng(seed)
    needed = observations_needed(wanted)
    wrong = 0
    for _ in range(RUNS // 10):
        events = observations = 0
        while observations < 10 * needed:
            size = int(rng.integers(1, needed // 5))
            observations += size
            events += int(rng.binomial(size, rate))
            if look(events, observations):
                wrong += 1
                break
    return wrong / (RUNS // 10)


def test_looking_after_every_launch_costs_the_bound_nothing() -> None:
    """Claim at the first look with as many hand-overs as the bound takes and no event so far."""
    wanted = 1e-3
    needed = observations_needed(wanted)

    def rule(events: int, observations: int) -> bool:
        return events == 0 and observations >= needed

    error = claimed(wanted, wanted, rule, seed=1)
    assert error <= ALPHA + 4 * np.sqrt(ALPHA / (RUNS // 10))
    # It is no claim of nothing: what is ten times as rare is claimed to be rarer, most often.
    assert claimed(wanted / 10, wanted, rule, seed=2) > 0.7


def test_going_on_after_an_event_until_the_bound_looks_good_errs_more_often() -> None:
    """The fallacy that the rule avoids: taking the best of many looks."""
    wanted = 1e-3

    def peek(events: int, observations: int) -> bool:
        return events / observations < wanted and upper_bound(events, observations) <= wanted

    assert claimed(wanted, wanted, peek, seed=1) > 2 * ALPHA


@given(st.floats(1e-9, 0.5), st.integers(0, 10**9))
def test_the_chance_of_a_sighting_is_that_of_at_least_one_event(rate: float, n: int) -> None:
    chance = chance_of_a_sighting(rate, n)
    assert 0.0 <= chance <= 1.0
    assert chance >= chance_of_a_sighting(rate / 2, n)


def test_the_chance_of_a_sighting_refuses_what_cannot_be() -> None:
    assert chance_of_a_sighting(1.0, 0) == 0.0
    assert chance_of_a_sighting(1.0, 5) == 1.0
    assert chance_of_a_sighting(0.5, 2) == pytest.approx(0.75)
    with pytest.raises(ValueError, match="cannot be"):
        chance_of_a_sighting(1.5, 2)


# ---- planted violations ---------------------------------------------------------------------


@dataclass
class PlantedBench:
    """Hand-overs that are broken as the knobs say, of which a detector sees the share `sight`."""

    sight: float = 1.0
    sm_count: int = 132

    @property
    def gpu(self) -> PlantedBench:
        """The SM count stands on the GPU."""
        return self

    def launch_in(self, row: Row, seed: int, index: int, knobs: Knobs, environment: str) -> Launch:
        """One launch of the pairs that the knobs make."""
        assert environment == "planted"
        rng = np.random.default_rng([seed, index])
        size = 66 * knobs.ctas_per_sm * knobs.rounds
        planted = int(rng.binomial(size, exact_rate(knobs.plant_one_in)))
        seen = int(rng.binomial(planted, self.sight))
        return launch(row.name, seen, observations=size, planted=planted, index=index)


def planted(bench: PlantedBench, *asked: tuple[int, int, int]) -> list[Any]:
    row = SIGNAL_PUBLISH.row(SOUND)
    return list(plant(cast("Bench", bench), row, 5, asked))


def test_planted_violations_are_found_as_often_as_the_stated_power_says() -> None:
    for found in planted(PlantedBench(), (10_000, 30_000, 200), (10**6, 3 * 10**7, 50)):
        assert found.stale == found.planted > 0
        assert found.observed == found.repetitions * found.observations
        assert found.power == chance_of_a_sighting(found.rate, found.observations)
        assert found.p_value > 1e-4
        assert found.doubts == []
        assert json.loads(json.dumps(found.to_json()))["power"] == found.power


def test_a_detector_that_misses_half_is_found_out() -> None:
    (found,) = planted(PlantedBench(sight=0.3), (10_000, 10_000, 200))
    assert found.stale < found.planted
    assert found.p_value < 1e-4


def test_the_rate_is_the_one_that_32_bits_give() -> None:
    assert exact_rate(1) == 1.0
    assert exact_rate(10**8) == 43 / 2**32
    assert abs(exact_rate(10**8) / 1e-8 - 1) < 2e-3


def test_the_binomial_test_doubts_what_chance_does_not_explain() -> None:
    assert binomial_test(63, 100, 0.632) > 0.9
    assert binomial_test(30, 100, 0.632) < 1e-9
    with pytest.raises(ValueError, match=r"3 of 2 at probability 0\.5 cannot be"):
        binomial_test(3, 2, 0.5)


def test_what_several_consumers_observe_of_one_tile_is_one_hand_over() -> None:
    knobs = {"tile_bytes": 4096, "consumers": 3}
    made = launch(SOUND, observations=3_000, hand_overs=1_000, knobs=knobs)
    one = launch(SOUND, observations=3_000)
    verdicts = [verdict(SOUND, 0, 3_000)]
    assert consumers_sentence(verdicts, [made]) == (
        "several consumers read the same tile: 3,000 observations were of 1,000 hand-overs, and "
        "bounds are those of hand-overs"
    )
    assert consumers_sentence(verdicts, [one]) is None
    assert power_of(verdicts, [made], []).observations == 1_000
    assert power_of(verdicts, [made], []).rate == power_of([verdict(SOUND, 0, 1_000)], [], []).rate
    (pool,) = pooled(verdicts, {SOUND: [("site", ["WORD"])]}, [made])
    assert pool.bound == upper_bound(0, 1_000)
