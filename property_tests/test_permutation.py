"""The test behind `compare`: its error and its power, by simulation of runs with noise.

Null hypothesis of the simulations: both runs draw their launches' rates from one distribution.
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbo_verify.harness.permutation import (
    Count,
    Sample,
    adjusted,
    changed,
    least_p,
    permutation_p,
    rates,
    sign_flip_p,
)

LEVEL = 0.05
FAMILIES, ROWS, DRAWS = 150, 8, 599
# Three standard errors of a share of so many families at the level.
MOST_FALSE = LEVEL + 3 * math.sqrt(LEVEL * (1 - LEVEL) / FAMILIES)

values = st.lists(st.sampled_from([0.0, 0.0, 0.1, 0.4, 1.0]), min_size=1, max_size=4)


def samples(found: list[float]) -> list[Sample]:
    return [Sample(value) for value in found]


def statistic(one: list[float], other: list[float]) -> float:
    """Welch's statistic, written down once more."""
    largest = max(*one, *other)
    sides = [np.array(side) / largest for side in (one, other)]
    errors = [side.var(ddof=1) / len(side) if len(side) > 1 else 0.0 for side in sides]
    difference = abs(float(sides[0].mean() - sides[1].mean()))
    return difference / max(math.sqrt(sum(errors)), 1e-7)


def exact_p(one: list[float], other: list[float]) -> float:
    """By every way to deal the launches to two runs."""
    pooled = [*one, *other]
    if len(set(pooled)) == 1:
        return 1.0
    seen, found = statistic(one, other), []
    for chosen in combinations(range(len(pooled)), len(one)):
        first = [pooled[place] for place in chosen]
        second = [pooled[place] for place in range(len(pooled)) if place not in chosen]
        found.append(statistic(first, second))
    return sum(each >= seen * (1 - 1e-9) for each in found) / len(found)


@settings(max_examples=25)
@given(values, values)
def test_it_is_the_share_of_all_ways_to_deal_the_launches(
    one: list[float], other: list[float]
) -> None:
    wanted = exact_p(one, other)
    found = permutation_p(samples(one), samples(other), seed=1, draws=3999)
    # It stops early where the p-value is large, and is the less exact there.
    assert abs(found - wanted) < 0.01 + 6 * math.sqrt(wanted * (1 - wanted) / 1000)
    assert least_p(samples(one), samples(other), draws=3999) <= wanted + 1e-9


def noisy(rng: np.random.Generator, launches: int, rate: float, trials: int) -> list[Count]:
    """Launches whose rates spread over orders of magnitude, as environments make them."""
    spread = rng.beta(rate * 20, (1 - rate) * 20, launches)
    return [Count(int(rng.binomial(trials, each)), trials) for each in spread]


def as_if_independent(one: list[Count], other: list[Count]) -> bool:
    """What a test over hand-overs would say: two proportions, normal approximation."""
    stale = [sum(each.events for each in side) for side in (one, other)]
    seen = [sum(each.trials for each in side) for side in (one, other)]
    pooled = sum(stale) / sum(seen)
    error = math.sqrt(pooled * (1 - pooled) * (1 / seen[0] + 1 / seen[1]))
    return error > 0 and abs(stale[0] / seen[0] - stale[1] / seen[1]) / error > 1.96


def family(pairs: list[tuple[list[Sample], list[Sample]]], seed: int) -> list[bool | None]:
    p_values = [permutation_p(*pair, seed + place, DRAWS) for place, pair in enumerate(pairs)]
    return changed(p_values, [least_p(*pair, DRAWS) for pair in pairs], LEVEL)


def test_noise_is_not_taken_for_a_change_in_more_runs_than_the_level_says() -> None:
    rng = np.random.default_rng(1)
    false = fooled = tested = 0
    for number in range(FAMILIES):
        counts = [(noisy(rng, 14, 0.02, 50_000), noisy(rng, 10, 0.02, 50_000)) for _ in range(ROWS)]
        found = family([rates(*pair, number) for pair in counts], number)
        false += any(found)
        tested += sum(each is not None for each in found)
        fooled += any(as_if_independent(*pair) for pair in counts)
    assert tested == FAMILIES * ROWS
    assert false / FAMILIES <= MOST_FALSE
    # The noise is there: counted hand-over by hand-over, every run has changed.
    assert fooled / FAMILIES > 0.95


def test_launches_of_other_lengths_are_not_taken_for_a_change() -> None:
    rng = np.random.default_rng(2)
    false = unthinned = 0
    for number in range(FAMILIES):
        counts = [
            (
                [Count(int(rng.binomial(100_000, 1e-6)), 100_000) for _ in range(8)],
                [Count(int(rng.binomial(5_000_000, 1e-6)), 5_000_000) for _ in range(30)],
            )
            for _ in range(ROWS)
        ]
        false += any(family([rates(*pair, number) for pair in counts], number))
        plain = [
            tuple([Sample(each.events / each.trials) for each in side] for side in pair)
            for pair in counts[:2]
        ]
        unthinned += any(family([(pair[0], pair[1]) for pair in plain], number))
    assert false / FAMILIES <= MOST_FALSE
    # As they are, short launches that show nothing and long ones that do are two distributions.
    assert unthinned / FAMILIES > 0.2


def test_a_rate_ten_times_as_high_is_found() -> None:
    rng = np.random.default_rng(3)
    found = 0
    for number in range(30):
        pairs = [
            rates(noisy(rng, 24, 0.02, 50_000), noisy(rng, 24, 0.02, 50_000), number)
            for _ in range(ROWS - 1)
        ]
        pairs.append(rates(noisy(rng, 24, 0.02, 50_000), noisy(rng, 24, 0.2, 50_000), number))
        found += family(pairs, number)[-1] is True
    assert found >= 27


def test_launches_with_equal_knobs_are_held_against_each_other() -> None:
    """A change that drowns in the spread between environments shows within each of them."""
    environments = [10.0**power for power in np.linspace(-5, -1, 12)]
    before = [Sample(rate, number) for number, rate in enumerate(environments)]
    after = [Sample(rate * 1.5, number) for number, rate in enumerate(environments)]
    assert permutation_p(before, after, 1) < 0.05
    unpaired = [[Sample(each.value) for each in side] for side in (before, after)]
    assert permutation_p(unpaired[0], unpaired[1], 1) > 0.5


def test_launches_that_were_drawn_otherwise_are_not_exchanged() -> None:
    before = [Sample(0.001 * n, n, "fresh") for n in range(9)]
    after = [Sample(0.5 + 0.001 * n, n + 9, "dense") for n in range(9)]
    assert least_p(before, after) == 1.0
    assert permutation_p(before, after, 1) == 1.0
    # Beside launches that were drawn alike, they lend what they show to both deals.
    more = [Sample(0.001 * n, n + 90, "dense") for n in range(9)]
    assert permutation_p([*before, *more], after, 1) < 0.05


def test_without_launches_or_without_a_difference_nothing_is_said() -> None:
    assert permutation_p([], samples([1.0]), 1) == 1.0
    assert permutation_p(samples([0.5, 0.5]), samples([0.5]), 1) == 1.0
    assert least_p([], []) == 1.0
    assert rates([Count(0, 0)], [Count(1, 9)], 1) == ([], [])


def test_the_same_launches_and_seed_give_the_same_answer() -> None:
    rng = np.random.default_rng(4)
    pair = (noisy(rng, 9, 0.1, 1000), noisy(rng, 9, 0.1, 9000))
    answers = {permutation_p(*rates(*pair, 7), 7) for _ in range(3)}
    assert len(answers) == 1


def test_hypotheses_that_cannot_fall_do_not_burden_the_others() -> None:
    p_values, least = [0.02, 0.9, 1.0, 1.0, 1.0], [0.001, 0.01, 1.0, 1.0, 1.0]
    assert changed(p_values, least, LEVEL) == [True, False, None, None, None]
    assert adjusted(p_values, least, LEVEL) == [0.04, 0.9, None, None, None]
    # All five could have fallen: what one alone shows is not enough.
    assert changed(p_values, [0.001] * 5, LEVEL) == [False] * 5
    assert changed([], [], LEVEL) == []
    with pytest.raises(ValueError, match="1 p-values and 2 least ones"):
        changed([0.1], [0.1, 0.1], LEVEL)


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=12))
def test_rows_fall_as_in_holms_procedure(p_values: list[float]) -> None:
    found = changed(p_values, [0.0] * len(p_values), LEVEL)
    ranked = sorted(p_values)
    falls = 0
    while falls < len(ranked) and ranked[falls] <= LEVEL / (len(ranked) - falls):
        falls += 1
    assert sum(each is True for each in found) == falls
    shared = adjusted(p_values, [0.0] * len(p_values), LEVEL)
    assert [each is not None and each <= LEVEL for each in shared] == [e is True for e in found]


@given(st.lists(st.integers(-9, 9), max_size=8))
def test_signs_of_pairs_are_flipped_in_every_way(differences: list[int]) -> None:
    told = [each for each in differences if each]
    ways = [
        sum(each * (1 if (way >> n) & 1 else -1) for n, each in enumerate(told))
        for way in range(1 << len(told))
    ]
    wanted = sum(abs(way) >= abs(sum(told)) for way in ways) / len(ways)
    assert sign_flip_p(differences) == pytest.approx(wanted)


def test_ten_pairs_with_one_sign_are_as_rare_as_can_be() -> None:
    assert sign_flip_p([0.1] * 10) == 2 / 1024
    assert sign_flip_p([]) == 1.0
