"""Exact statistics of rare events: bounds, reproducibility, detection power, conservation.

The bounds are exact for independent trials. Hand-overs of one launch share its noise and its
clocks, so they are not wholly independent: a bound speaks of the environments that were tried, and
is worth as much as the detection power that the canaries of the same run give it. Where several
consumers observe one hand-over, it is one trial: what they see of it is not independent at all.

Sources: Clopper and Pearson, Biometrika 26 (1934); Kirkham et al., OOPSLA 2020 (reproducibility).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

CONFIDENCE = 0.95


def upper_bound(events: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """One-sided upper Clopper-Pearson bound of a rate, between 0 and 1.

    The largest rate at which `events` or fewer in `trials` still has probability
    1 - `confidence`; 1.0 without trials. A trial is a hand-over, however many consumers observe it:
    counted once for each of them, the bound would be too low. Raises `ValueError` for impossible
    counts or a confidence outside (0, 1).
    """
    _check(events, trials, confidence)
    if events == trials:
        return 1.0
    return _beta_quantile(confidence, events + 1, trials - events)


def lower_bound(events: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """One-sided lower Clopper-Pearson bound of a rate, between 0 and 1.

    The smallest rate at which `events` or more in `trials` still has probability
    1 - `confidence`; 0.0 without events. Raises as `upper_bound` does.
    """
    _check(events, trials, confidence)
    if events == 0:
        return 0.0
    return _beta_quantile(1.0 - confidence, events, trials - events + 1)


def interval(events: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Two-sided Clopper-Pearson interval (lower, upper), half of the doubt on each side."""
    one_sided = (1.0 + confidence) / 2.0
    return lower_bound(events, trials, one_sided), upper_bound(events, trials, one_sided)


def observations_needed(bound: float, confidence: float = CONFIDENCE) -> int:
    """Hand-overs without an event after which the rate's upper bound is at most `bound`.

    The count depends on nothing that is observed, so that a stress may look at its counts after
    every launch, end at the first event or at this count, and still claim the bound, where there
    was none, with at most 1 - `confidence` error. Raises `ValueError` unless both lie between 0
    and 1.
    """
    if not 0.0 < bound < 1.0 or not 0.0 < confidence < 1.0:
        message = (
            f"a bound of {bound} with confidence {confidence} cannot be: give both between 0 and 1 "
            "(both excluded)"
        )
        raise ValueError(message)
    return math.ceil(math.log1p(-confidence) / math.log1p(-bound))


def chance_of_a_sighting(rate: float, observations: int) -> float:
    """Probability that at least one of `observations` hand-overs shows a violation of this rate.

    Raises `ValueError` for a rate outside 0 to 1 or a negative count.
    """
    if not 0.0 <= rate <= 1.0 or observations < 0:
        message = f"rate {rate} in {observations} observations cannot be: 0 to 1, and 0 or more"
        raise ValueError(message)
    if rate >= 1.0:
        return float(observations > 0)
    return -math.expm1(observations * math.log1p(-rate))


def reproducibility(sightings: float) -> float:
    """Probability 1 - e^-n that an outcome seen n times shows again in an equal run."""
    if sightings < 0:
        message = f"{sightings} sightings cannot be: give 0 or more"
        raise ValueError(message)
    return -math.expm1(-sightings)


def rate_needed(wanted: float, seconds: float) -> float:
    """Sightings a second that reach the reproducibility `wanted` within `seconds`.

    Raises `ValueError` unless 0 < `wanted` < 1 and `seconds` > 0.
    """
    if not 0.0 < wanted < 1.0 or seconds <= 0.0:
        message = (
            f"reproducibility {wanted} in {seconds} s cannot be: give a reproducibility between "
            "0 and 1 (both excluded) and more than 0 s"
        )
        raise ValueError(message)
    return math.ceil(-math.log1p(-wanted)) / seconds


def power(canaries: Iterable[tuple[int, int]], observations: int) -> float | None:
    """Probability that a violation as rare as the weakest canary would have been seen.

    `canaries` are (stale, observations) pairs of one run. Takes the least of their lower 95 %
    bounds as the rate, and returns the probability of at least one sighting in `observations`
    hand-overs; None without canaries, 0.0 when one of them was never seen. Raises `ValueError`
    for impossible counts.
    """
    if observations < 0:
        message = f"{observations} observations cannot be: give 0 or more"
        raise ValueError(message)
    weakest = min((lower_bound(stale, seen) for stale, seen in canaries), default=None)
    return None if weakest is None else chance_of_a_sighting(weakest, observations)


def imbalance(*, planned: int, observations: int, stale: int, faulted: bool) -> str | None:
    """What does not add up in the counts of one launch; None when they are conserved.

    Every hand-over that was planned must have been observed, unless a fault ended the launch;
    never can more be observed than were planned, nor more be stale than were observed.
    """
    if min(planned, observations, stale) < 0:
        counts = f"{planned:,} planned, {observations:,} observed, {stale:,} stale"
        return f"negative count among {counts}"
    if observations > planned:
        return f"{observations:,} hand-overs observed, only {planned:,} planned"
    if observations < planned and not faulted:
        return f"{observations:,} hand-overs observed of {planned:,} planned, and no fault recorded"
    if stale > observations:
        return f"{stale:,} stale tiles in {observations:,} observations"
    return None


def binomial_test(successes: int, trials: int, probability: float) -> float:
    """Exact two-sided test: how likely counts no likelier than `successes` are, between 0 and 1.

    Raises `ValueError` for impossible counts or a probability outside 0 to 1.
    """
    if not 0 <= successes <= trials or not 0.0 <= probability <= 1.0:
        message = f"{successes} of {trials} at probability {probability} cannot be"
        raise ValueError(message)
    from scipy.stats import binomtest  # noqa: PLC0415 - as below

    return float(binomtest(successes, trials, probability).pvalue)


def _check(events: int, trials: int, confidence: float) -> None:
    if not 0 <= events <= trials:
        message = f"{events} events in {trials} trials cannot be: give 0 <= events <= trials"
        raise ValueError(message)
    if not 0.0 < confidence < 1.0:
        message = f"confidence {confidence} cannot be: give a number between 0 and 1, as 0.95"
        raise ValueError(message)


def _beta_quantile(probability: float, a: int, b: int) -> float:
    """Quantile of the beta distribution: the inverse of its regularised incomplete integral."""
    # scipy takes half a second to import: `sbo-verify list` and `--help` must not pay for it.
    from scipy.special import betaincinv  # noqa: PLC0415 - see above

    return float(betaincinv(a, b, probability))
