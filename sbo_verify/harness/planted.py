"""Planted violations: is a violation of a given rate found as often as it should be?

A sound producer is broken once in so many hand-overs at random (knob `plant_one_in`), its tile held
back until its consumer has read the slot, so that every planted violation can be seen. A repetition
is a stress of a fixed number of hand-overs; it finds the violation when it counts a stale tile. How
many repetitions should find it is known exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sbo_verify.harness.knobs import Knobs
from sbo_verify.harness.runner import Bench
from sbo_verify.protocol import Row
from sbo_verify.rates import binomial_test, chance_of_a_sighting
from sbo_verify.record import Launch

# The densest environment in which no noise slows what is measured.
KNOBS = Knobs(
    noise_share=0.0,
    tile_bytes=4096,
    ring=32,
    threads=128,
    ctas_per_sm=8,
    in_flight=2,
    plant_held=True,
)
MOST_ROUNDS = 20_000
WORD = 1 << 32


@dataclass(frozen=True, kw_only=True)
class Planted:
    """Repetitions of one stress with violations planted at one rate.

    `rate` is the rate that the device's 32-bit draw really has; `observations` those of one
    repetition. `found` of the `repetitions` saw a stale tile. Over all of them, `stale` tiles were
    counted of `planted` violations: equal, unless the detector misses or invents some. `doubts`
    name launches that ended in a fault or did not observe what was planned.
    """

    row: str
    rate: float
    observations: int
    repetitions: int
    found: int
    planted: int
    stale: int
    observed: int
    seconds: float
    doubts: list[str]

    @property
    def power(self) -> float:
        """The stated power: the probability that one repetition finds the violation."""
        return chance_of_a_sighting(self.rate, self.observations)

    @property
    def p_value(self) -> float:
        """How likely it is to be at least as far from the stated power by chance."""
        return binomial_test(self.found, self.repetitions, self.power)

    def to_json(self) -> dict[str, Any]:
        """Plain values, what was worked out of them too."""
        return {**asdict(self), "power": self.power, "p_value": self.p_value}


def exact_rate(one_in: int) -> float:
    """The share of 32-bit words that are multiples of `one_in`."""
    return -(-WORD // one_in) / WORD


def plant(
    bench: Bench, row: Row, seed: int, asked: Sequence[tuple[int, int, int]]
) -> Iterator[Planted]:
    """For each (one in, hand-overs of a repetition, repetitions): what was found.

    The hand-overs are rounded up to whole rounds of all pairs.
    """
    index = 0
    for one_in, wanted, repetitions in asked:
        done: list[list[Launch]] = []
        for _ in range(repetitions):
            launches = _repetition(bench, row, seed, index, (one_in, wanted))
            index += len(launches)
            done.append(launches)
        yield _result(row, one_in, done)


def _repetition(
    bench: Bench, row: Row, seed: int, index: int, asked: tuple[int, int]
) -> list[Launch]:
    one_in, wanted = asked
    knobs = replace(KNOBS, plant_one_in=one_in)
    # The pairs follow from the knobs; the placement leaves none of the SMs out.
    pairs = bench.gpu.sm_count // 2 * knobs.ctas_per_sm
    rounds_left = -(-wanted // pairs)
    launches: list[Launch] = []
    while rounds_left > 0:
        rounds = min(rounds_left, MOST_ROUNDS)
        fixed = replace(knobs, rounds=rounds)
        launches.append(bench.launch_in(row, seed, index + len(launches), fixed, "planted"))
        rounds_left -= rounds
    return launches


def _result(row: Row, one_in: int, done: Sequence[Sequence[Launch]]) -> Planted:
    every = [launch for launches in done for launch in launches]
    observed = {sum(each.observations for each in launches) for launches in done}
    doubts = [
        f"launch {each.index}: {each.fault['what'] if each.fault else 'not all was observed'}"
        for each in every
        if each.fault is not None or each.observations != each.planned
    ]
    return Planted(
        row=row.name,
        rate=exact_rate(one_in),
        observations=min(observed),
        repetitions=len(done),
        found=sum(any(each.stale_tiles for each in launches) for launches in done),
        planted=sum(each.planted for each in every),
        stale=sum(each.stale_tiles for each in every),
        observed=sum(each.observations for each in every),
        seconds=sum(each.elapsed_seconds for each in every),
        doubts=doubts,
    )
