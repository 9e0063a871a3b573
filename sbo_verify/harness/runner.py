"""Runs variants on a GPU: one launch, exactly repeatable, and a row's launches until a budget ends.

A launch is named by (row, seed, index); its knobs, its placement and the random numbers on the
device follow from that name alone. What the hardware does with it is what is being measured.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sbo_verify.device.build import Artefact, build
from sbo_verify.device.geometry import FEWEST_THREADS, SM_THREADS, THREADS, Geometry
from sbo_verify.device.gpu import Gpu
from sbo_verify.device.micro_kernel import TILE_POOL_BYTES, Arena, MicroKernel, Shot
from sbo_verify.device.pinned_pool import PINNED_POOL_BYTES
from sbo_verify.harness.environments import Environment, choose, kept
from sbo_verify.harness.knobs import (
    MAX_ROUNDS,
    NO_CONSUMER,
    KnobError,
    Knobs,
    TileMemory,
    generator,
)
from sbo_verify.harness.placement import Placement, misplaced, place
from sbo_verify.harness.results import launch_record
from sbo_verify.protocol import Protocol, Row
from sbo_verify.protocols.signal_publish.sites import SignalPublish
from sbo_verify.record import Launch

NANOSECONDS_PER_MS = 1_000_000
# Every wait in the kernel is bounded; a launch that outlives several bounds is hung.
HANG_FACTOR = 8
HANG_FLOOR_SECONDS = 30.0
LONE_READERS_TILE_BYTES = 512
LONE_READERS_ROUNDS = 4000
# Milliseconds pass in each round of a consumer that sees its signal late.
LATE_POLLS_ROUNDS = 200
# What the kernel declares itself, rounded up; the loaded kernel says it exactly.
STATIC_SHARED_BYTES = 1024
# What a launch moves over the bus to the host at most, if its rounds are not fixed.
PINNED_LAUNCH_BYTES = 1 << 31
UINT31 = 1 << 31
# Leaves room for what the kernel and the driver keep for themselves.
DRAWN_SHARED_BYTES = 200 * 1024


@dataclass
class Bench:
    """One process's GPU with its memory and its loaded kernels."""

    protocol: Protocol
    gpu: Gpu
    worker: str = ""
    tuned: Sequence[Environment] = field(default_factory=lambda: kept().environments)
    arena: Arena = field(init=False)
    _kernels: dict[str, MicroKernel] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.arena = Arena(self.gpu)

    def kernel(self, row: Row) -> MicroKernel:
        """The row's kernel, built and loaded on first use."""
        key = self.protocol.hash_of(row.variant)
        if key not in self._kernels:
            self._kernels[key] = self.load(build(self.protocol, row.variant), row)
        return self._kernels[key]

    def load(self, artefact: Artefact, row: Row) -> MicroKernel:
        """An artefact of this row on this GPU."""
        return MicroKernel(self.arena, artefact, geometry_of(row))

    def launch(
        self, row: Row, seed: int, index: int, fixed: dict[str, str] | None = None
    ) -> Launch:
        """Launch `index` of `row` under `seed`; `fixed` overrides drawn knobs by name."""
        rng = generator(seed, row.name, index)
        knobs, environment = choose(rng, row, self.tuned)
        knobs = knobs.with_values(fixed or {})
        name = {"seed": seed, "index": index, "environment": environment}
        return self._fire(row, rng, knobs, set(fixed or {}), name)

    def launch_in(
        self, row: Row, seed: int, index: int, knobs: Knobs, environment: str = ""
    ) -> Launch:
        """Launch `index` of `row` under `seed` with given knobs, bent to what the row can run.

        `environment` says in the record where they came from.
        """
        name = {"seed": seed, "index": index, "environment": environment}
        return self._fire(row, generator(seed, row.name, index), knobs, (), name)

    def shot(
        self, row: Row, seed: int, index: int, fixed: dict[str, str]
    ) -> tuple[MicroKernel, Shot]:
        """The kernel and the launch that `launch` would run, for a caller that runs it itself."""
        rng = generator(seed, row.name, index)
        knobs = choose(rng, row, self.tuned)[0].with_values(fixed)
        kernel, knobs, placement = self._decide(row, rng, knobs, set(fixed))
        return kernel, _shot(knobs, placement, int(rng.integers(UINT31)))

    def _fire(
        self,
        row: Row,
        rng: np.random.Generator,
        drawn: Knobs,
        fixed: Collection[str],
        name: dict[str, Any],
    ) -> Launch:
        kernel, knobs, placement = self._decide(row, rng, drawn, fixed)
        raw = kernel.run(_shot(knobs, placement, int(rng.integers(UINT31))))
        return launch_record(
            raw,
            knobs=knobs,
            planned=placement.pairs * knobs.rounds * knobs.consumers,
            misplaced=bool(misplaced(kernel.geometry, raw.pair_sms)),
            name={
                "row": row.name,
                "variant": self.protocol.hash_of(row.variant),
                "worker": self.worker,
                "gpu": self.gpu.uuid,
                **name,
            },
        )

    def _decide(
        self, row: Row, rng: np.random.Generator, drawn: Knobs, fixed: Collection[str]
    ) -> tuple[MicroKernel, Knobs, Placement]:
        kernel = self.kernel(row)
        knobs = fit(drawn, kernel.geometry, fixed)
        refuse_plant(row, knobs)
        refuse_absent(row, knobs)
        placement = self._place(kernel, knobs, rng)
        return kernel, fit_ring(knobs, placement.pairs, kernel.geometry, fixed), placement

    def stress(  # noqa: PLR0913 - what to run, and the three ways to end it
        self,
        row: Row,
        seed: int,
        *,
        seconds: float,
        fixed: dict[str, str] | None = None,
        observations: int = 0,
        until_stale: int = 0,
        first: int = 0,
    ) -> Iterator[Launch]:
        """Launches of one row, one after the other, from the index `first` on.

        Goes on until `seconds` of GPU time are used and `observations` hand-overs were seen; a
        fault ends it, and so do `until_stale` launches with a stale tile, where that is not 0.
        """
        return until_done(
            lambda index: self.launch(row, seed, index, fixed),
            seconds=seconds,
            observations=observations,
            until_stale=until_stale,
            first=first,
        )

    def _place(self, kernel: MicroKernel, knobs: Knobs, rng: np.random.Generator) -> Placement:
        dynamic = kernel.dynamic_shared(knobs.tile_bytes, knobs.ctas_per_sm)
        clustered = kernel.geometry.cluster > 1
        return place(
            kernel.geometry,
            sm_count=self.gpu.sm_count,
            resident_clusters=(
                kernel.resident_clusters(dynamic, knobs.threads) if clustered else 0
            ),
            ctas_per_sm=knobs.ctas_per_sm,
            noise_share=knobs.noise_share,
            rng=rng,
            spread=knobs.spread,
            consumers=knobs.consumers,
        )


def until_done(
    launch: Callable[[int], Launch],
    *,
    seconds: float,
    observations: int,
    until_stale: int = 0,
    first: int = 0,
) -> Iterator[Launch]:
    """Launch `first` and those after it, until one of the ends that `Bench.stress` names."""
    used, seen, sightings, index = 0.0, 0, 0, first
    while used < seconds or seen < observations:
        done = launch(index)
        yield done
        used += done.elapsed_seconds
        seen += done.tiles
        sightings += done.stale_tiles > 0
        index += 1
        if done.fault is not None or 0 < until_stale <= sightings:
            return


def geometry_of(row: Row) -> Geometry:
    """The row's launch geometry."""
    if not isinstance(row.variant, SignalPublish):
        message = f"{row.name} is no variant of signal_publish"
        raise TypeError(message)
    return Geometry.of(row.variant)


def fit(knobs: Knobs, geometry: Geometry, fixed: Collection[str] = ()) -> Knobs:
    """Drawn knobs, bent to what the variant can run; knobs named in `fixed` are left alone."""
    least = 2 if geometry.same_sm else 1
    ctas, tile_bytes, rounds = knobs.ctas_per_sm, knobs.tile_bytes, knobs.rounds
    threads = knobs.threads
    if "threads" not in fixed:
        if geometry.in_one_cta:
            threads = THREADS
        elif "ctas_per_sm" in fixed and ctas * threads > SM_THREADS:
            threads = FEWEST_THREADS
    if "ctas_per_sm" not in fixed:
        ctas = 1 if geometry.cluster > 1 else max(least, min(ctas, SM_THREADS // threads))
        while "tile_bytes" in fixed and ctas > least and tile_bytes > _room(geometry, ctas):
            ctas //= 2
    if "tile_bytes" not in fixed:
        # One thread reads a tile some twenty times slower than a whole group does.
        if geometry.reads_alone:
            tile_bytes = min(tile_bytes, LONE_READERS_TILE_BYTES)
        while tile_bytes > _room(geometry, ctas):
            tile_bytes //= 2
    if "rounds" not in fixed:
        rounds = min(rounds, _most_rounds(geometry))
    geometry.check_threads(threads, ctas)
    consumers = knobs.consumers if geometry.on_two_sms or "consumers" in fixed else 1
    geometry.check_consumers(consumers)
    return replace(
        knobs,
        threads=threads,
        ctas_per_sm=ctas,
        tile_bytes=tile_bytes,
        rounds=rounds,
        consumers=consumers,
    )


def _most_rounds(geometry: Geometry) -> int:
    if geometry.polls_late:
        return LATE_POLLS_ROUNDS
    return LONE_READERS_ROUNDS if geometry.reads_alone else MAX_ROUNDS


def fit_ring(knobs: Knobs, pairs: int, geometry: Geometry, fixed: Collection[str] = ()) -> Knobs:
    """Drawn knobs with a ring that holds the rounds in flight and fits into the pool of tiles.

    Of tiles in pinned memory no more rounds are left than `PINNED_LAUNCH_BYTES` hold.
    Raises `KnobError` where what is fixed leaves no such ring: a slot would be written again
    before it was read.
    """
    behind = 1 if geometry.deferred else 0
    ring, in_flight, rounds = knobs.ring, knobs.in_flight, knobs.rounds
    pinned = knobs.memory is TileMemory.PINNED
    if pinned and "rounds" not in fixed:
        rounds = max(1, min(rounds, PINNED_LAUNCH_BYTES // (pairs * knobs.tile_bytes)))
    if "ring" not in fixed:
        pool = PINNED_POOL_BYTES if pinned else TILE_POOL_BYTES
        room = pool // (pairs * knobs.tile_bytes)
        least = in_flight if "in_flight" in fixed else 1
        ring = max(least + behind, min(ring, room))
    if "in_flight" not in fixed:
        # A deferred signal is one round behind already.
        in_flight = max(1, min(in_flight, ring) - behind)
    if ring < in_flight + behind:
        message = (
            f"knob ring is {ring}; with {in_flight} rounds in flight this variant needs at least "
            f"{in_flight + behind}"
        )
        raise KnobError(message)
    return replace(knobs, ring=ring, in_flight=in_flight, rounds=rounds)


def refuse_plant(row: Row, knobs: Knobs) -> None:
    """Raise `KnobError` where a fault cannot be planted: no signal is sent, or it is unsound."""
    geometry = geometry_of(row)
    # A signal that waits for the next tile's store cannot come before its own.
    never = geometry.reads_back or (geometry.deferred and geometry.stages > 1)
    if knobs.plant_one_in and (not row.sound or never):
        message = (
            f"knob plant_one_in is {knobs.plant_one_in}; for {row.name} it must be 0: faults are "
            "planted in sound variants that send a signal"
        )
        raise KnobError(message)


def refuse_absent(row: Row, knobs: Knobs) -> None:
    """Raise `KnobError` where the consumer that is not to come is none of the launch's."""
    known = 0 if geometry_of(row).reads_back else knobs.consumers
    if knobs.absent_consumer >= known:
        message = (
            f"knob absent_consumer is {knobs.absent_consumer}; for {row.name} with "
            f"{knobs.consumers} consumer(s) allowed is {NO_CONSUMER} to {known - 1}"
        )
        raise KnobError(message)


def _room(geometry: Geometry, ctas_per_sm: int) -> int:
    return DRAWN_SHARED_BYTES // (geometry.buffers() * ctas_per_sm)


def refuse_unfit(row: Row, fixed: dict[str, str]) -> None:
    """Raise before anything is launched if `fixed` cannot be run by this row.

    `KnobError` for a knob, `GeometryError` for a tile or CTA count that does not fit.
    """
    knobs = Knobs().with_values(fixed)
    geometry = geometry_of(row)
    fitted = fit(knobs, geometry, set(fixed))
    geometry.check_ctas(fitted.ctas_per_sm)
    refuse_plant(row, knobs)
    refuse_absent(row, fitted)
    fit_ring(fitted, 1, geometry, set(fixed))
    geometry.dynamic_shared(fitted.tile_bytes, fitted.ctas_per_sm, STATIC_SHARED_BYTES)


def _shot(knobs: Knobs, placement: Placement, device_seed: int) -> Shot:
    timeout_ns = knobs.timeout_ms * NANOSECONDS_PER_MS
    noisy = placement.noise_sms > 0 and knobs.noise != 0
    return Shot(
        entries=placement.entries,
        pairs=placement.pairs,
        grid=placement.grid,
        tile_bytes=knobs.tile_bytes,
        ring=knobs.ring,
        ctas_per_sm=knobs.ctas_per_sm,
        threads=knobs.threads,
        rounds=knobs.rounds,
        noise_bytes=knobs.noise_bytes if noisy else 0,
        values={
            "timeout_ns": timeout_ns,
            "noise_kind": int(knobs.noise) if noisy else 0,
            "read_order": int(knobs.read_order),
            "prime_l1": int(knobs.prime_l1),
            "producer_skew_cycles": knobs.producer_skew_cycles,
            "consumer_skew_cycles": knobs.consumer_skew_cycles,
            "delay_before_publish_cycles": knobs.delay_before_publish_cycles,
            "delay_after_poll_cycles": knobs.delay_after_poll_cycles,
            "withheld_round": knobs.withheld_round,
            "doubled_round": knobs.doubled_round,
            "absent_consumer": knobs.absent_consumer,
            "in_flight": knobs.in_flight,
            "warp_skew_cycles": knobs.warp_skew_cycles,
            "time_drain": int(knobs.time_drain),
            "plant_one_in": knobs.plant_one_in,
            "plant_held": int(knobs.plant_held),
            "seed": device_seed,
        },
        limit_seconds=max(HANG_FLOOR_SECONDS, HANG_FACTOR * knobs.timeout_ms * 1e-3),
        consumers=knobs.consumers,
        pinned=knobs.memory is TileMemory.PINNED,
    )
