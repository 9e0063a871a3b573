"""The statistics against closed forms, the binomial sum itself, and simulated coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbo_verify.rates import (
    imbalance,
    interval,
    lower_bound,
    power,
    rate_needed,
    reproducibility,
    upper_bound,
)

TRIALS = st.integers(1, 10**12)
SMALL = st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
CONFIDENCES = st.floats(0.5, 0.999)


def at_most(events: int, trials: int, rate: float) -> float:
    """The binomial sum, term by term: shares nothing with the beta quantile under test."""
    return math.fsum(
        math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(events + 1)
    )


@given(TRIALS, CONFIDENCES)
def test_the_bound_for_none_seen_is_the_closed_form(trials: int, confidence: float) -> None:
    closed = -math.expm1(math.log1p(-confidence) / trials)
    assert upper_bound(0, trials, confidence) == pytest.approx(closed, rel=1e-9)
    assert lower_bound(0, trials, confidence) == 0.0


@given(TRIALS, CONFIDENCES)
def test_the_bound_for_all_seen_is_the_closed_form(trials: int, confidence: float) -> None:
    closed = math.exp(math.log1p(-confidence) / trials)
    assert lower_bound(trials, trials, confidence) == pytest.approx(closed, rel=1e-9)
    assert upper_bound(trials, trials, confidence) == 1.0


@given(SMALL, CONFIDENCES)
def test_at_the_bounds_the_tails_hold_exactly_the_doubt(
    counts: tuple[int, int], confidence: float
) -> None:
    events, trials = counts
    if events < trials:
        tail = at_most(events, trials, upper_bound(events, trials, confidence))
        assert tail == pytest.approx(1 - confidence, rel=1e-6)
    if events > 0:
        tail = 1 - at_most(events - 1, trials, lower_bound(events, trials, confidence))
        assert tail == pytest.approx(1 - confidence, rel=1e-6)


@given(SMALL, CONFIDENCES)
def test_the_two_sided_interval_splits_the_doubt_and_holds_the_estimate(
    counts: tuple[int, int], confidence: float
) -> None:
    events, trials = counts
    lower, upper = interval(events, trials, confidence)
    assert lower <= events / trials <= upper
    assert lower == lower_bound(events, trials, (1 + confidence) / 2)
    assert upper == upper_bound(events, trials, (1 + confidence) / 2)


@given(st.integers(0, 1000), st.integers(1, 1000))
def test_more_trials_with_no_more_events_tighten_the_bound(events: int, more: int) -> None:
    assert upper_bound(events, events + more + 1) < upper_bound(events, events + more)


def test_ten_million_observations_with_none_seen_give_three_in_ten_million() -> None:
    assert upper_bound(0, 10_000_000) == pytest.approx(2.9957e-7, rel=1e-4)


@pytest.mark.parametrize("rate", [0.0005, 0.01, 0.3, 0.9])
@pytest.mark.parametrize("trials", [20, 400])
def test_in_simulation_the_bounds_hold_as_often_as_they_say(rate: float, trials: int) -> None:
    # Null hypothesis: each bound holds in at least 95 % of draws. Of 4,000 draws the share has a
    # standard error of 0.0035; three of them are allowed for, and the seed fixes the answer.
    seen = np.random.default_rng(20261123).binomial(trials, rate, size=4000)
    held = {int(k): (lower_bound(k, trials), upper_bound(k, trials)) for k in set(seen.tolist())}
    below = np.mean([rate <= held[k][1] for k in seen.tolist()])
    above = np.mean([held[k][0] <= rate for k in seen.tolist()])
    assert below >= 0.95 - 0.0105
    assert above >= 0.95 - 0.0105


def test_the_simulation_would_notice_a_bound_that_is_only_an_estimate() -> None:
    seen = np.random.default_rng(20261123).binomial(400, 0.01, size=4000)
    assert np.mean([k / 400 >= 0.01 for k in seen.tolist()]) < 0.9


@pytest.mark.parametrize(("events", "trials"), [(-1, 4), (5, 4), (0, -1)])
def test_impossible_counts_are_refused(events: int, trials: int) -> None:
    with pytest.raises(ValueError, match=r"give 0 <= events <= trials"):
        upper_bound(events, trials)
    with pytest.raises(ValueError, match=r"give 0 <= events <= trials"):
        lower_bound(events, trials)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_a_confidence_outside_nought_and_one_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match=r"between 0 and 1, as 0\.95"):
        upper_bound(0, 4, confidence)


def test_without_trials_nothing_is_known() -> None:
    assert interval(0, 0) == (0.0, 1.0)


def test_three_sightings_reproduce_in_95_of_100_and_twelve_in_99999_of_100000() -> None:
    assert reproducibility(3) == pytest.approx(0.950, abs=5e-4)
    assert reproducibility(12) == pytest.approx(0.99999, abs=5e-6)
    assert reproducibility(0) == 0.0
    with pytest.raises(ValueError, match="give 0 or more"):
        reproducibility(-1)


def test_the_rate_needed_reaches_the_reproducibility_in_the_budget() -> None:
    assert rate_needed(0.95, 4.0) == 3 / 4.0
    assert rate_needed(0.99999, 64.0) == 12 / 64.0
    for wanted, seconds in ((0.0, 1.0), (1.0, 1.0), (0.9, 0.0)):
        with pytest.raises(ValueError, match="reproducibility between 0 and 1"):
            rate_needed(wanted, seconds)


@given(st.integers(1, 50), st.integers(0, 10**6))
def test_power_is_that_of_the_weakest_canary(stale: int, observations: int) -> None:
    strong, weak = (50, 50), (stale, 100_000)
    rate = lower_bound(*weak)
    closed = 1 - (1 - rate) ** observations
    assert power([strong, weak], observations) == pytest.approx(closed, rel=1e-6, abs=1e-9)


def test_power_of_a_canary_that_is_always_seen_follows_its_lower_bound() -> None:
    # n of n: the lower bound is 0.05^(1/n), and one more hand-over shows it that often.
    assert power([(3, 3)], 1) == pytest.approx(0.05 ** (1 / 3))


def test_power_in_no_observations_is_nought() -> None:
    assert power([(3, 3)], 0) == 0.0


def test_an_unseen_canary_gives_no_power_at_all() -> None:
    assert power([(10, 10), (0, 10**9)], 10**9) == 0.0


def test_without_canaries_the_power_is_not_known() -> None:
    assert power([], 10**9) is None


def test_power_refuses_impossible_counts() -> None:
    with pytest.raises(ValueError, match="give 0 or more"):
        power([(1, 2)], -1)
    with pytest.raises(ValueError, match="3 events in 2 trials"):
        power([(3, 2)], 5)


@given(st.integers(0, 10**9), st.data())
def test_counts_that_add_up_are_not_doubted(planned: int, data: st.DataObject) -> None:
    stale = data.draw(st.integers(0, planned))
    assert imbalance(planned=planned, observations=planned, stale=stale, faulted=False) is None
    short = data.draw(st.integers(stale, planned))
    assert imbalance(planned=planned, observations=short, stale=stale, faulted=True) is None


@pytest.mark.parametrize(
    ("planned", "observations", "stale", "faulted", "what"),
    [
        (10, 9, 0, False, "9 hand-overs observed of 10 planned, and no fault recorded"),
        (10, 11, 0, False, "11 hand-overs observed, only 10 planned"),
        (10, 11, 0, True, "11 hand-overs observed, only 10 planned"),
        (10, 10, 11, False, "11 stale tiles in 10 observations"),
        (10, 5, 6, True, "6 stale tiles in 5 observations"),
        (10, -1, 0, True, "negative count among 10 planned, -1 observed, 0 stale"),
    ],
)
def test_counts_that_do_not_add_up_are_named(
    *, planned: int, observations: int, stale: int, faulted: bool, what: str
) -> None:
    found = imbalance(planned=planned, observations=observations, stale=stale, faulted=faulted)
    assert found == what
