"""The figures of two runs beside each other, and which of them changed: rates, times, costs.

All rows' rates are judged together, and so are their times and their costs.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from sbo_verify.harness.beside import Beside, Cost
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
from sbo_verify.record import Launch, LaunchSum

# Of the permutations: the same runs give the same answer every time.
SEED = 2016
# A time or a cost that is higher by less is said, and is not called worse.
TOLERANCE = 0.02
MICROSECONDS = 1e6


@dataclass(frozen=True, kw_only=True)
class Tested:
    """A figure on both sides and whether it changed.

    `before` and `after` are means over `samples`, of which there are so many on each side:
    launches, or shapes of a benchmark. `p` is adjusted for all rows together; it is None, and
    `changed` too, where the samples could not have shown a change (`why_not`).
    """

    before: float | None
    after: float | None
    samples: tuple[int, ...]
    p: float | None = None
    changed: bool | None = None
    why_not: str = ""

    def rose(self, tolerance: float = 0.0) -> bool:
        """Whether it surely changed upwards, and by more than a share of what it was."""
        if not self.changed or self.before is None or self.after is None:
            return False
        return self.after > self.before * (1.0 + tolerance)


def rates_compared(
    before: Sequence[Launch], after: Sequence[Launch], rows: Sequence[str], level: float
) -> list[Tested]:
    """The stale rate of every row."""
    earlier, later = _by_row(before), _by_row(after)
    pairs = [_rate_samples(earlier.get(row, []), later.get(row, [])) for row in rows]
    return _test_all(pairs, level)


def times_compared(
    before: Sequence[Launch], after: Sequence[Launch], rows: Sequence[str], level: float
) -> list[Tested]:
    """The GPU time of a round of every row, in microseconds.

    Processes that share a GPU slow each other down, so that as many must have shared it.
    """
    earlier, later = _by_row(before), _by_row(after)
    if len({each.worker for each in before}) != len({each.worker for each in after}):
        why = "other numbers of processes shared the GPU"
        return _test_all([([], [], why) for _ in rows], level)
    pairs = [_time_samples(earlier.get(row, []), later.get(row, [])) for row in rows]
    return _test_all(pairs, level)


def costs_compared(
    before: Beside, after: Beside, rows: Sequence[str], level: float
) -> list[Tested]:
    """The signal's cost in the GEMM, a share, where both runs had a benchmark beside them.

    The shapes that both measured are paired: a cost changed where their differences have one sign.
    """
    pairs = [(before.costs.get(row), after.costs.get(row)) for row in rows]
    differences = [_cost_differences(one, other) for one, other in pairs]
    p_values = [sign_flip_p(each) for each in differences]
    least = [2.0 ** (1 - len(each)) if each else 1.0 for each in differences]
    falls, shared = changed(p_values, least, level), adjusted(p_values, least, level)
    return [
        Tested(
            before=None if one is None else one.share,
            after=None if other is None else other.share,
            samples=tuple(0 if each is None else len(each.shapes) for each in (one, other)),
            p=p,
            changed=fell,
            why_not="" if fell is not None else "not measured twice, or for too few shapes",
        )
        for (one, other), p, fell in zip(pairs, shared, falls, strict=True)
    ]


def _by_row(launches: Iterable[Launch]) -> dict[str, list[Launch]]:
    found: dict[str, list[Launch]] = {}
    for launch in launches:
        found.setdefault(launch.row, []).append(launch)
    return found


# Both sides, and why they cannot be compared.
Pair = tuple[list[Sample], list[Sample], str]


def _rate_samples(before: Sequence[Launch], after: Sequence[Launch]) -> Pair:
    if any(isinstance(each, LaunchSum) for each in [*before, *after]):
        return [], [], "launches were added up, so that their environments are not known"
    sides = [
        [Count(each.stale_tiles, each.observations, *_origin(each)) for each in side]
        for side in (before, after)
    ]
    if any(each.events > each.trials for side in sides for each in side):
        return [], [], "the counts cannot be"
    return (*rates(sides[0], sides[1], SEED), "")


def _time_samples(before: Sequence[Launch], after: Sequence[Launch]) -> Pair:
    """Microseconds a round, of launches that ended well."""
    found = [
        [
            Sample(each.elapsed_seconds / each.knobs["rounds"] * MICROSECONDS, *_origin(each))
            for each in side
            if each.fault is None
            and not isinstance(each, LaunchSum)
            and isinstance(each.knobs.get("rounds"), int)
            and each.knobs["rounds"] > 0
            and each.elapsed_seconds > 0
        ]
        for side in (before, after)
    ]
    return found[0], found[1], ""


def _origin(launch: Launch) -> tuple[Hashable, Hashable]:
    """The knobs, and how they were drawn: the tuned ones of two commits need not be the same."""
    knobs = tuple(sorted((knob, str(value)) for knob, value in launch.knobs.items()))
    word = launch.environment
    return knobs, (word, knobs) if word.startswith("tuned") else word


def _test_all(pairs: Sequence[Pair], level: float) -> list[Tested]:
    p_values = [permutation_p(one, other, SEED + n) for n, (one, other, _) in enumerate(pairs)]
    least = [least_p(one, other) for one, other, _ in pairs]
    falls, shared = changed(p_values, least, level), adjusted(p_values, least, level)
    return [
        Tested(
            before=_mean(one),
            after=_mean(other),
            samples=(len(one), len(other)),
            p=p,
            changed=fell,
            why_not=why or ("" if fell is not None else _why_untested(one, other)),
        )
        for (one, other, why), p, fell in zip(pairs, shared, falls, strict=True)
    ]


def _mean(samples: Sequence[Sample]) -> float | None:
    return fmean(each.value for each in samples) if samples else None


def _why_untested(one: Sequence[Sample], other: Sequence[Sample]) -> str:
    if not one or not other:
        return "no launches of both runs to compare"
    if not any(each.value for each in [*one, *other]):
        return "no launch of either run showed a stale tile"
    if not {each.drawn for each in one} & {each.drawn for each in other}:
        return "the runs did not draw their knobs alike"
    return "too few launches, or too few that differ, to tell a change from noise"


def _cost_differences(before: Cost | None, after: Cost | None) -> list[float]:
    if before is None or after is None:
        return []
    earlier = {each.shape: each.costs for each in before.shapes}
    return [each.costs - earlier[each.shape] for each in after.shapes if each.shape in earlier]
