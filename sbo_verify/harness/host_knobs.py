"""The knobs of a launch with a reader on the host: producers, tiles, noise, faults."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from sbo_verify.device.geometry import FEWEST_THREADS, SM_THREADS
from sbo_verify.device.layout import NoiseKind
from sbo_verify.device.pinned_pool import PINNED_POOL_BYTES
from sbo_verify.harness.knob_set import CHUNK_BYTES, KnobError, KnobSet
from sbo_verify.harness.knobs import (
    KIB,
    MAX_PLANT_ONE_IN,
    MAX_ROUNDS,
    MAX_TIMEOUT_MS,
    MIB,
    NO_ROUND,
    weighted,
)
from sbo_verify.harness.runner import DRAWN_SHARED_BYTES

# What a drawn launch moves over the bus: a tenth of a second's worth, for one CPU thread to read.
DRAWN_BYTES = 192 * MIB
MOST_DRAWN_ROUNDS = 1500


@dataclass(frozen=True, kw_only=True)
class HostKnobs(KnobSet):
    """One launch's environment. Units are in the names; delays are in cycles of the SM clock.

    producer_sms    SMs whose CTAs hand tiles over to the host
    noise_sms       SMs that make noise, on memory of the GPU
    tile_bytes, ring, threads, ctas_per_sm, in_flight, rounds   as in the micro-kernel
    tail_first      the host reads the last line of every tile right behind its poll, before it
                    knows whose signal it saw; otherwise whole tiles, from the first word
    producer_skew_cycles, warp_skew_cycles, delay_before_publish_cycles   as in the micro-kernel
    plant_one_in, plant_held, withheld_round, doubled_round   as in the micro-kernel
    silent_round    from this round on the host neither reads nor acknowledges, or -1: an injected
                    fault
    timeout_ms      how long the host waits for a signal before it gives up and leaves a record; the
                    producers wait twice as long for the host
    """

    RANGES: ClassVar[tuple[tuple[str, float, float], ...]] = (
        ("producer_sms", 1, 1024),
        ("noise_sms", 0, 1024),
        ("noise_bytes", 0, 64 * 1024 * MIB),
        ("tile_bytes", CHUNK_BYTES, 227 * KIB),
        ("ring", 1, 1 << 20),
        ("threads", 128, 256),
        ("ctas_per_sm", 1, 8),
        ("in_flight", 1, 64),
        ("producer_skew_cycles", 0, 10_000_000),
        ("warp_skew_cycles", 0, 10_000_000),
        ("delay_before_publish_cycles", 0, 10_000_000),
        ("rounds", 1, MAX_ROUNDS),
        ("withheld_round", NO_ROUND, MAX_ROUNDS),
        ("doubled_round", NO_ROUND, MAX_ROUNDS),
        ("silent_round", NO_ROUND, MAX_ROUNDS),
        ("plant_one_in", 0, MAX_PLANT_ONE_IN),
        ("timeout_ms", 1, MAX_TIMEOUT_MS),
    )
    IN_CHUNKS: ClassVar[tuple[str, ...]] = ("tile_bytes", "noise_bytes")

    producer_sms: int = 32
    noise: NoiseKind = NoiseKind.STORE
    noise_sms: int = 32
    noise_bytes: int = 1024 * MIB
    tile_bytes: int = 16 * KIB
    ring: int = 8
    threads: int = 128
    ctas_per_sm: int = 1
    in_flight: int = 2
    tail_first: bool = True
    producer_skew_cycles: int = 0
    warp_skew_cycles: int = 0
    delay_before_publish_cycles: int = 0
    rounds: int = 200
    withheld_round: int = NO_ROUND
    doubled_round: int = NO_ROUND
    silent_round: int = NO_ROUND
    plant_one_in: int = 0
    plant_held: bool = False
    timeout_ms: int = 2000

    @property
    def pairs(self) -> int:
        """Producing CTAs, each a pair with the host."""
        return self.producer_sms * self.ctas_per_sm


def draw_host(rng: np.random.Generator) -> HostKnobs:
    """One random environment: from a few small tiles to as many large ones as fill the bus."""
    noise = weighted(rng, {NoiseKind.NONE: 2, NoiseKind.STORE: 2, NoiseKind.ATOMIC: 1})
    in_flight = weighted(rng, {1: 2, 2: 2, 4: 1})
    drawn = HostKnobs(
        producer_sms=weighted(rng, {8: 1, 32: 2, 64: 2, 96: 1}),
        noise=noise,
        noise_sms=0 if noise is NoiseKind.NONE else weighted(rng, {8: 1, 32: 1}),
        tile_bytes=weighted(rng, {1 * KIB: 1, 4 * KIB: 2, 16 * KIB: 2, 64 * KIB: 1}),
        ring=in_flight * weighted(rng, {1: 1, 2: 1, 4: 1}),
        threads=weighted(rng, {128: 1, 256: 1}),
        ctas_per_sm=weighted(rng, {1: 3, 2: 1}),
        in_flight=in_flight,
        tail_first=bool(weighted(rng, {1: 3, 0: 1})),
        producer_skew_cycles=weighted(rng, {0: 4, 10_000: 1}),
        warp_skew_cycles=weighted(rng, {0: 4, 2000: 1, 10_000: 1}),
        delay_before_publish_cycles=weighted(rng, {0: 8, 500: 1}),
    )
    return replace(drawn, rounds=_rounds_for(drawn))


def fit_host(knobs: HostKnobs, sm_count: int, fixed: set[str]) -> HostKnobs:
    """Drawn knobs, bent to what the GPU can run; those named in `fixed` are left alone.

    Raises `KnobError` where what is fixed does not fit onto the SMs or into pinned memory.
    """
    knobs = _fit_sm(knobs, fixed)
    changes: dict[str, Any] = {}
    if "noise_sms" not in fixed:
        changes["noise_sms"] = min(knobs.noise_sms, max(0, sm_count - knobs.producer_sms))
    if "ring" not in fixed:
        room = PINNED_POOL_BYTES // (knobs.pairs * knobs.tile_bytes)
        least = knobs.in_flight if "in_flight" in fixed else 1
        changes["ring"] = max(least, min(knobs.ring, room))
    if "in_flight" not in fixed:
        changes["in_flight"] = min(knobs.in_flight, changes.get("ring", knobs.ring))
    if "rounds" not in fixed:
        changes["rounds"] = _rounds_for(knobs)
    fitted = replace(knobs, **changes)
    _check(fitted, sm_count)
    return fitted


def _fit_sm(knobs: HostKnobs, fixed: set[str]) -> HostKnobs:
    """As many threads, CTAs and bytes as one SM holds, and the pool of tiles."""
    ctas, tile_bytes, threads = knobs.ctas_per_sm, knobs.tile_bytes, knobs.threads
    if "threads" not in fixed and ctas * threads > SM_THREADS:
        threads = FEWEST_THREADS
    while "ctas_per_sm" not in fixed and ctas > 1 and ctas * tile_bytes > DRAWN_SHARED_BYTES:
        ctas //= 2
    slots = knobs.ring if "ring" in fixed else knobs.in_flight if "in_flight" in fixed else 1
    slots *= knobs.producer_sms * ctas
    while "tile_bytes" not in fixed and (
        ctas * tile_bytes > DRAWN_SHARED_BYTES or slots * tile_bytes > PINNED_POOL_BYTES
    ):
        tile_bytes //= 2
    return replace(knobs, threads=threads, ctas_per_sm=ctas, tile_bytes=tile_bytes)


def _check(fitted: HostKnobs, sm_count: int) -> None:
    if fitted.ring < fitted.in_flight:
        message = (
            f"knob ring is {fitted.ring}; with {fitted.in_flight} rounds in flight it must be at "
            f"least {fitted.in_flight}"
        )
        raise KnobError(message)
    wanted = fitted.producer_sms + fitted.noise_sms
    if wanted > sm_count:
        message = (
            f"producer_sms={fitted.producer_sms} and noise_sms={fitted.noise_sms} take {wanted} "
            f"SMs of {sm_count}: choose fewer"
        )
        raise KnobError(message)
    size = fitted.pairs * fitted.ring * fitted.tile_bytes
    if size > PINNED_POOL_BYTES:
        message = (
            f"{fitted.pairs} producing CTAs with ring={fitted.ring} tiles of tile_bytes="
            f"{fitted.tile_bytes} take {size} bytes of pinned memory; allowed is "
            f"{PINNED_POOL_BYTES}"
        )
        raise KnobError(message)


def _rounds_for(knobs: HostKnobs) -> int:
    return max(1, min(MOST_DRAWN_ROUNDS, DRAWN_BYTES // (knobs.pairs * knobs.tile_bytes)))
