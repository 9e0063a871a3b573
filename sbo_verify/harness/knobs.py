"""The knobs of a launch: everything about the environment that is not the variant.

All randomness of a run flows from one seed: launch `index` of row `name` draws its knobs from a
generator seeded with (seed, name, index), so that any launch can be repeated alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, TypeVar

import numpy as np

from sbo_verify.device.geometry import MAX_CONSUMERS
from sbo_verify.device.layout import NoiseKind, ReadOrder
from sbo_verify.harness.knob_set import CHUNK_BYTES, KnobError, KnobSet
from sbo_verify.harness.placement import Spread

__all__ = ["KnobError", "Knobs", "draw", "draw_dense", "generator", "weighted"]

T = TypeVar("T")
KIB = 1024
MIB = 1024 * KIB
NO_ROUND = -1
NO_CONSUMER = -1
# How many CTAs of so many threads are put on an SM, and of tiles too large for many.
_CTAS = {128: {1: 1, 2: 1, 4: 2, 8: 3}, 256: {1: 1, 2: 2, 4: 3}}
_CTAS_OF_LARGE_TILES = {1: 1, 2: 3}
MAX_ROUNDS = 1_000_000
MAX_TIMEOUT_MS = 600_000
# The device draws with 32 bits: 1 in so many is met to half a percent.
MAX_PLANT_ONE_IN = 200_000_000


class TileMemory(IntEnum):
    """Where the tiles lie: in the GPU's memory, or in the host's, pinned, across the bus."""

    DEVICE = 0
    PINNED = 1


@dataclass(frozen=True, kw_only=True)
class Knobs(KnobSet):
    """One launch's environment. Units are in the names; delays are in cycles of the SM clock.

    noise_share     share of the SMs that make noise, 0 to 0.9
    ring            tile slots a pair rotates through
    threads         threads of a CTA, 128 or 256
    ctas_per_sm     CTAs of the kernel on one SM, each with its own pair
    spread          which SMs hand over to which, and where the noise is
    consumers       consumers of a pair, on SMs of their own, that poll one signal and read one tile
    memory          where the tiles lie; pinned memory is used only where it is asked for
    in_flight       rounds that a producer may be ahead of its slowest consumer
    prime_l1        the consumer reads the slot's old tile before it polls
    *_skew_cycles   upper bound of a random delay: before each round, and before the part of the
                    store that is a warp's own
    delay_*_cycles  fixed delay before the signal is sent, and between poll and read
    time_drain      measure how long producers wait for their stores; that delays what follows, so
                    that it is never drawn
    plant_one_in    one in so many hand-overs is broken at random, its signal sent before its tile
                    is stored, or 0 for none: an injected fault
    plant_held      the tile of such a hand-over is held back until its consumer has read the slot
    withheld_round  a round whose signal is never sent, or -1: an injected fault
    doubled_round   a round whose signal is sent twice, or -1: an injected fault
    absent_consumer a consumer of every pair that does not come, or -1: an injected fault
    timeout_ms      how long a thread waits before it gives up and leaves a record
    """

    RANGES: ClassVar[tuple[tuple[str, float, float], ...]] = (
        ("noise_share", 0.0, 0.9),
        ("noise_bytes", 0, 64 * 1024 * MIB),
        ("tile_bytes", CHUNK_BYTES, 227 * KIB),
        ("ring", 1, 1 << 20),
        ("threads", 128, 256),
        ("ctas_per_sm", 1, 8),
        ("consumers", 1, MAX_CONSUMERS),
        ("in_flight", 1, 64),
        ("producer_skew_cycles", 0, 10_000_000),
        ("consumer_skew_cycles", 0, 10_000_000),
        ("warp_skew_cycles", 0, 10_000_000),
        ("delay_before_publish_cycles", 0, 10_000_000),
        ("delay_after_poll_cycles", 0, 10_000_000),
        ("rounds", 1, MAX_ROUNDS),
        ("withheld_round", NO_ROUND, MAX_ROUNDS),
        ("doubled_round", NO_ROUND, MAX_ROUNDS),
        ("absent_consumer", NO_CONSUMER, MAX_CONSUMERS - 1),
        ("plant_one_in", 0, MAX_PLANT_ONE_IN),
        ("timeout_ms", 1, MAX_TIMEOUT_MS),
    )
    IN_CHUNKS: ClassVar[tuple[str, ...]] = ("tile_bytes", "noise_bytes")

    noise: NoiseKind = NoiseKind.STORE
    noise_share: float = 0.4
    noise_bytes: int = 1024 * MIB
    tile_bytes: int = 16 * KIB
    ring: int = 128
    threads: int = 256
    ctas_per_sm: int = 2
    spread: Spread = Spread.SCATTERED
    memory: TileMemory = TileMemory.DEVICE
    consumers: int = 1
    in_flight: int = 1
    prime_l1: bool = False
    read_order: ReadOrder = ReadOrder.TAIL_FIRST
    producer_skew_cycles: int = 0
    consumer_skew_cycles: int = 0
    warp_skew_cycles: int = 0
    time_drain: bool = False
    delay_before_publish_cycles: int = 0
    delay_after_poll_cycles: int = 0
    rounds: int = 2000
    withheld_round: int = NO_ROUND
    doubled_round: int = NO_ROUND
    absent_consumer: int = NO_CONSUMER
    plant_one_in: int = 0
    plant_held: bool = False
    timeout_ms: int = 1000


def generator(seed: int, name: str, index: int) -> np.random.Generator:
    """The random generator of one launch."""
    digest = hashlib.sha256(f"{seed}\n{name}\n{index}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def draw(rng: np.random.Generator) -> Knobs:
    """One random environment. Whole features are switched off at random (swarm testing).

    The weights follow what showed weak behaviour on an H200: store noise over memory larger than
    L2, many pairs at once, tiles of 4 to 64 KiB, reading from the tail, and a producer that is one
    round ahead: of one that is further ahead, the consumer never waits.
    """
    noise = weighted(
        rng, {NoiseKind.STORE: 6, NoiseKind.ATOMIC: 1, NoiseKind.LOAD_STORE: 1, NoiseKind.NONE: 2}
    )
    tile_bytes = weighted(rng, {1 * KIB: 1, 4 * KIB: 3, 16 * KIB: 5, 64 * KIB: 1})
    share = 0.0 if noise is NoiseKind.NONE else weighted(rng, {0.1: 1, 0.2: 2, 0.4: 3, 0.6: 1})
    threads = weighted(rng, {128: 1, 256: 1})
    return Knobs(
        noise=noise,
        noise_share=share,
        noise_bytes=weighted(rng, {32 * MIB: 1, 1024 * MIB: 4}),
        tile_bytes=tile_bytes,
        ring=weighted(rng, {2: 1, 16: 1, 128: 3}),
        threads=threads,
        ctas_per_sm=weighted(
            rng, _CTAS_OF_LARGE_TILES if tile_bytes > 16 * KIB else _CTAS[threads]
        ),
        spread=weighted(rng, {Spread.SCATTERED: 3, Spread.APART: 2, Spread.ONE_TPC: 1}),
        in_flight=weighted(rng, {1: 2, 2: 3}),
        prime_l1=bool(weighted(rng, {0: 1, 1: 1})),
        read_order=weighted(
            rng, {ReadOrder.TAIL_FIRST: 3, ReadOrder.HEAD_FIRST: 1, ReadOrder.ROTATED: 1}
        ),
        producer_skew_cycles=weighted(rng, {0: 6, 2000: 1, 10_000: 1}),
        consumer_skew_cycles=weighted(rng, {0: 6, 2000: 1, 10_000: 1}),
        warp_skew_cycles=weighted(rng, {0: 6, 2000: 1, 10_000: 1}),
        delay_before_publish_cycles=weighted(rng, {0: 8, 500: 1}),
        delay_after_poll_cycles=weighted(rng, {0: 8, 500: 1}),
        rounds=2000 if tile_bytes > 16 * KIB else 5000,
        # Drawn last: what stands above is drawn as before there were several.
        consumers=weighted(rng, {1: 12, 2: 2, 3: 1, 4: 1}),
    )


def draw_dense(rng: np.random.Generator) -> Knobs:
    """One random environment of those in which most hand-overs a second are observed.

    As many pairs as an SM holds, each other's noise, and long launches. Of the features that slow
    a hand-over down, those are left out that did not make an observation tell more.
    """
    noise = weighted(rng, {NoiseKind.NONE: 4, NoiseKind.STORE: 1})
    return Knobs(
        noise=noise,
        noise_share=0.0 if noise is NoiseKind.NONE else 0.1,
        tile_bytes=weighted(rng, {4 * KIB: 2, 8 * KIB: 3, 16 * KIB: 1}),
        ring=weighted(rng, {16: 1, 128: 2}),
        threads=128,
        ctas_per_sm=8,
        spread=weighted(rng, {Spread.SCATTERED: 1, Spread.APART: 1}),
        prime_l1=bool(weighted(rng, {0: 1, 1: 1})),
        read_order=weighted(rng, {ReadOrder.TAIL_FIRST: 3, ReadOrder.ROTATED: 1}),
        in_flight=2,
        rounds=20_000,
    )


def weighted(rng: np.random.Generator, weights: dict[T, int]) -> T:
    """One of the keys, drawn with its weight's share of all weights."""
    values = list(weights)
    odds = np.array(list(weights.values()), dtype=np.float64)
    return values[int(rng.choice(len(values), p=odds / odds.sum()))]
