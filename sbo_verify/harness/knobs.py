"""The knobs of a launch: everything about the environment that is not the variant.

All randomness of a run flows from one seed: launch `index` of row `name` draws its knobs from a
generator seeded with (seed, name, index), so that any launch can be repeated alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np

from sbo_verify.device.layout import NoiseKind, ReadOrder
from sbo_verify.harness.knob_set import CHUNK_BYTES, KnobError, KnobSet

__all__ = ["KnobError", "Knobs", "draw", "generator", "weighted"]

T = TypeVar("T")
KIB = 1024
MIB = 1024 * KIB
NO_ROUND = -1
MAX_ROUNDS = 1_000_000
MAX_TIMEOUT_MS = 600_000


@dataclass(frozen=True, kw_only=True)
class Knobs(KnobSet):
    """One launch's environment. Units are in the names; delays are in cycles of the SM clock.

    noise_share     share of the SMs that make noise, 0 to 0.9
    ring            tile slots a pair rotates through
    ctas_per_sm     CTAs of the kernel on one SM, each with its own pair
    prime_l1        the consumer reads the slot's old tile before it polls
    *_skew_cycles   upper bound of a random delay before each round
    delay_*_cycles  fixed delay before the signal is sent, and between poll and read
    withheld_round  a round whose signal is never sent, or -1: an injected fault
    doubled_round   a round whose signal is sent twice, or -1: an injected fault
    timeout_ms      how long a thread waits before it gives up and leaves a record
    """

    RANGES: ClassVar[tuple[tuple[str, float, float], ...]] = (
        ("noise_share", 0.0, 0.9),
        ("noise_bytes", 0, 64 * 1024 * MIB),
        ("tile_bytes", CHUNK_BYTES, 227 * KIB),
        ("ring", 1, 1 << 20),
        ("ctas_per_sm", 1, 8),
        ("producer_skew_cycles", 0, 10_000_000),
        ("consumer_skew_cycles", 0, 10_000_000),
        ("delay_before_publish_cycles", 0, 10_000_000),
        ("delay_after_poll_cycles", 0, 10_000_000),
        ("rounds", 1, MAX_ROUNDS),
        ("withheld_round", NO_ROUND, MAX_ROUNDS),
        ("doubled_round", NO_ROUND, MAX_ROUNDS),
        ("timeout_ms", 1, MAX_TIMEOUT_MS),
    )
    IN_CHUNKS: ClassVar[tuple[str, ...]] = ("tile_bytes", "noise_bytes")

    noise: NoiseKind = NoiseKind.STORE
    noise_share: float = 0.4
    noise_bytes: int = 1024 * MIB
    tile_bytes: int = 16 * KIB
    ring: int = 128
    ctas_per_sm: int = 2
    prime_l1: bool = False
    read_order: ReadOrder = ReadOrder.TAIL_FIRST
    producer_skew_cycles: int = 0
    consumer_skew_cycles: int = 0
    delay_before_publish_cycles: int = 0
    delay_after_poll_cycles: int = 0
    rounds: int = 2000
    withheld_round: int = NO_ROUND
    doubled_round: int = NO_ROUND
    timeout_ms: int = 4000


def generator(seed: int, name: str, index: int) -> np.random.Generator:
    """The random generator of one launch."""
    digest = hashlib.sha256(f"{seed}\n{name}\n{index}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def draw(rng: np.random.Generator) -> Knobs:
    """One random environment. Whole features are switched off at random (swarm testing).

    The weights follow what showed weak behaviour on an H200: store noise over memory larger than
    L2, tiles of 4 to 64 KiB, reading from the tail.
    """
    noise = weighted(
        rng, {NoiseKind.STORE: 6, NoiseKind.ATOMIC: 1, NoiseKind.LOAD_STORE: 1, NoiseKind.NONE: 2}
    )
    tile_bytes = weighted(rng, {4 * KIB: 3, 16 * KIB: 5, 64 * KIB: 1})
    share = 0.0 if noise is NoiseKind.NONE else weighted(rng, {0.2: 1, 0.4: 3, 0.6: 1})
    return Knobs(
        noise=noise,
        noise_share=share,
        noise_bytes=weighted(rng, {32 * MIB: 1, 1024 * MIB: 4}),
        tile_bytes=tile_bytes,
        ring=weighted(rng, {2: 1, 16: 1, 128: 3}),
        ctas_per_sm=weighted(rng, {1: 1, 2: 3, 4: 0 if tile_bytes > 16 * KIB else 2}),
        prime_l1=bool(weighted(rng, {0: 1, 1: 1})),
        read_order=weighted(
            rng, {ReadOrder.TAIL_FIRST: 3, ReadOrder.HEAD_FIRST: 1, ReadOrder.ROTATED: 1}
        ),
        producer_skew_cycles=weighted(rng, {0: 6, 2000: 1, 10_000: 1}),
        consumer_skew_cycles=weighted(rng, {0: 6, 2000: 1, 10_000: 1}),
        delay_before_publish_cycles=weighted(rng, {0: 8, 500: 1}),
        delay_after_poll_cycles=weighted(rng, {0: 8, 500: 1}),
        rounds=2000 if tile_bytes > 16 * KIB else 5000,
    )


def weighted(rng: np.random.Generator, weights: dict[T, int]) -> T:
    """One of the keys, drawn with its weight's share of all weights."""
    values = list(weights)
    odds = np.array(list(weights.values()), dtype=np.float64)
    return values[int(rng.choice(len(values), p=odds / odds.sum()))]
