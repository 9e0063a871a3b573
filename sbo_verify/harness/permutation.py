"""Did a rate change between two runs? A permutation test over launches, exact under its hypothesis.

Hand-overs of one launch share its environment, so that a test which counts them one by one
(Fisher's) takes noise for a change. Here launches are what is exchanged, each with its own rate.
The hypothesis: whether a launch belongs to one run or the other says nothing of its rate. Launches
with equal knobs are exchanged among themselves, all others among each other as far as their knobs
were drawn alike.

The statistic is the difference of the means over launches, divided by its standard error: so the
test stays near its level where the rates of the two runs do not spread alike, as those of short and
of long launches (Chung and Romano, Ann. Statist. 41, 2013). Drawn permutations end early where
nothing is to be found (Besag and Clifford, Biometrika 78, 1991: the p-value stays valid).

Of several tests, those that could not reach the level whatever was seen are set aside (Tarone,
Biometrics 46, 1990), and the others are judged together (Holm, Scand. J. Statist. 6, 1979): the
probability of one or more false changes is at most the level.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]

PERMUTATIONS = 19_999
CHUNK = 1000
# With so many permutations as extreme as what was seen, no more are needed.
ENOUGH = 30
# Equal statistics must compare equal after they were summed in another order.
TOLERANCE = 1e-9
# Of values up to 1, an error that rounding alone explains.
LEAST_ERROR = 1e-7
# Launches are thinned where one run's are longer by more than this factor.
MOST_LONGER = 2


@dataclass(frozen=True)
class Sample:
    """One launch: what it showed, its knobs, and how they were drawn."""

    value: float
    knobs: Hashable = None
    drawn: Hashable = None


@dataclass(frozen=True)
class Count:
    """One launch: `events` of `trials`, its knobs, and how they were drawn."""

    events: int
    trials: int
    knobs: Hashable = None
    drawn: Hashable = None


def rates(
    first: Sequence[Count], second: Sequence[Count], seed: int
) -> tuple[list[Sample], list[Sample]]:
    """The rates of two runs' launches, to be compared.

    Long launches spread less than short ones. Where the launches of one run are more than twice
    as long as the other's, they are thinned to the shorter length, and what is far shorter is left
    out: under the hypothesis all launches then have rates of one distribution.
    """
    sides = [[each for each in side if each.trials > 0] for side in (first, second)]
    if not all(sides):
        return [], []
    lengths = [float(np.median([each.trials for each in side])) for side in sides]
    length = None if max(lengths) <= MOST_LONGER * min(lengths) else int(min(lengths))
    rng = np.random.default_rng(seed)
    thinned = [[_thin(each, length, rng) for each in side] for side in sides]
    found = [[each for each in side if each is not None] for side in thinned]
    return found[0], found[1]


def _thin(count: Count, length: int | None, rng: np.random.Generator) -> Sample | None:
    if length is None or length / MOST_LONGER <= count.trials <= length:
        return Sample(count.events / count.trials, count.knobs, count.drawn)
    if count.trials < length:
        return None
    events = rng.hypergeometric(count.events, count.trials - count.events, length)
    return Sample(int(events) / length, count.knobs, count.drawn)


def permutation_p(
    first: Sequence[Sample], second: Sequence[Sample], seed: int, draws: int = PERMUTATIONS
) -> float:
    """Two-sided p-value, above 0 and at most 1; 1.0 where a side has no launch."""
    pooled = [*first, *second]
    if not first or not second or len({each.value for each in pooled}) == 1:
        return 1.0
    strata = _strata(pooled)
    order = np.argsort(strata, kind="stable")
    values = np.array([each.value for each in pooled], dtype=np.float64)[order]
    belongs = (np.arange(len(pooled)) < len(first))[order]
    # Strata stand one after the other, so that sorting by these keys permutes within each.
    ranks = strata[order].astype(np.float64)
    seen = _statistics(values, belongs[np.newaxis, :])[0]
    rng = np.random.default_rng(seed)
    extreme, drawn = 0, 0
    while drawn < draws and extreme < ENOUGH:
        size = min(CHUNK, draws - drawn)
        keys = ranks + rng.random((size, len(pooled)))
        found = _statistics(values, belongs[np.argsort(keys, axis=1)])
        extreme += int(np.count_nonzero(found >= seen * (1.0 - TOLERANCE)))
        drawn += size
    return (extreme + 1) / (drawn + 1)


def least_p(first: Sequence[Sample], second: Sequence[Sample], draws: int = PERMUTATIONS) -> float:
    """No p-value of these launches can be below this, whichever belonged to which run."""
    pooled = [*first, *second]
    if not first or not second or len({each.value for each in pooled}) == 1:
        return 1.0
    strata = _strata(pooled)
    ways = 1
    for stratum in np.unique(strata):
        inside = strata == stratum
        ways *= math.comb(int(inside.sum()), int(inside[: len(first)].sum()))
    least = 1 / ways
    if len(np.unique(strata)) == 1:
        least = max(least, _few_that_show(pooled, len(first)))
    return max(least, 1.0 / (draws + 1))


def _few_that_show(pooled: Sequence[Sample], first: int) -> float:
    """How probable it is that all launches that show anything fall to one side, by chance."""
    count, showing = len(pooled), sum(each.value > 0 for each in pooled)
    ways = math.comb(count, first)
    sides = [
        math.comb(count - showing, side - showing) / ways
        for side in (first, count - first)
        if showing <= side
    ]
    return min(sides, default=1 / ways)


def changed(p_values: Sequence[float], least: Sequence[float], level: float) -> list[bool | None]:
    """Which hypotheses fall at `level`, all of them together; None for those set aside.

    `least` are the smallest p-values that each could have had. Raises `ValueError` where the two
    have not one length.
    """
    if len(p_values) != len(least):
        message = f"{len(p_values)} p-values and {len(least)} least ones do not belong together"
        raise ValueError(message)
    tested = _testable(least, level)
    order = sorted(tested, key=lambda place: p_values[place])
    found: list[bool | None] = [None] * len(p_values)
    falling = True
    for rank, place in enumerate(order):
        falling = falling and p_values[place] * (len(order) - rank) <= level
        found[place] = falling
    return found


def adjusted(p_values: Sequence[float], least: Sequence[float], level: float) -> list[float | None]:
    """Holm's adjusted p-values, to be held against the level; None for those set aside."""
    tested = _testable(least, level)
    found: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(tested, key=lambda place: p_values[place])):
        highest = max(highest, min(1.0, p_values[place] * (len(tested) - rank)))
        found[place] = highest
    return found


def _testable(least: Sequence[float], level: float) -> list[int]:
    """The hypotheses that could fall although the level is shared among them (Tarone)."""
    for count in range(1, len(least) + 1):
        could = [place for place, each in enumerate(least) if each <= level / count]
        if len(could) <= count:
            return could
    return []


def _strata(samples: Sequence[Sample]) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Numbers of strata from 0: launches with equal knobs, and those whose knobs no other has.

    Of the latter, those that were drawn alike are one stratum.
    """
    alike = Counter((each.drawn, each.knobs) for each in samples)
    names = [
        (each.drawn, each.knobs) if alike[each.drawn, each.knobs] > 1 else (each.drawn,)
        for each in samples
    ]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], dtype=np.intp)


def _statistics(values: Floats, belongs: np.ndarray[Any, np.dtype[np.bool_]]) -> Floats:
    """The studentized difference of the two means, a row of `belongs` each.

    A side of one launch has no spread and lends none; where neither has any, the statistic is the
    difference over the smallest error that is told from none.
    """
    # In units of the largest, so that what counts as no error does not depend on the unit.
    scaled = values / np.abs(values).max()
    means, errors = [], []
    for member in (belongs, ~belongs):
        weight = member.astype(np.float64)
        count = weight.sum(axis=1)
        mean = (weight @ scaled) / count
        spread = np.maximum((weight @ (scaled * scaled)) / count - mean * mean, 0.0)
        means.append(mean)
        errors.append(np.where(count > 1, spread / np.maximum(count - 1, 1), 0.0))
    error = np.sqrt(errors[0] + errors[1])
    statistics: Floats = np.abs(means[0] - means[1]) / np.maximum(error, LEAST_ERROR)
    return statistics


def sign_flip_p(differences: Iterable[float]) -> float:
    """Exact two-sided p-value that paired differences have no common sign, by all sign flips.

    Meant for up to some twenty pairs; 1.0 without any.
    """
    found = np.array([each for each in differences if each != 0.0], dtype=np.float64)
    if not found.size:
        return 1.0
    signs = (np.arange(1 << found.size)[:, np.newaxis] >> np.arange(found.size)) & 1
    sums = np.abs((2 * signs - 1) @ found)
    return float(np.mean(sums >= abs(found.sum()) - TOLERANCE * np.abs(found).sum()))
