"""Runs producers beside a reader on the host: one launch, exactly repeatable, and a row's launches.

A launch is named by (row, seed, index), as the micro-kernel's are; its knobs, places and the random
numbers on the device follow from that name alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sbo_verify.device.geometry import Geometry
from sbo_verify.device.gpu import Gpu
from sbo_verify.device.host_build import build_host
from sbo_verify.device.host_launch import HostArena, HostKernel
from sbo_verify.device.layout import PLACE_ENTRY, Role
from sbo_verify.device.micro_kernel import Shot
from sbo_verify.harness.host_knobs import HostKnobs, draw_host, fit_host
from sbo_verify.harness.host_results import host_record
from sbo_verify.harness.knobs import KnobError, generator
from sbo_verify.harness.live_bench import variant_of
from sbo_verify.harness.runner import (
    HANG_FACTOR,
    HANG_FLOOR_SECONDS,
    NANOSECONDS_PER_MS,
    STATIC_SHARED_BYTES,
    UINT31,
    until_done,
)
from sbo_verify.protocol import Protocol, Row
from sbo_verify.record import Launch


@dataclass
class HostBench:
    """One process's GPU with its loaded kernels, and the pinned memory that both sides see."""

    protocol: Protocol
    gpu: Gpu
    worker: str = ""
    arena: HostArena = field(init=False)
    _kernels: dict[str, HostKernel] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.arena = HostArena(self.gpu)

    def kernel(self, row: Row) -> HostKernel:
        """The row's producers, built and loaded on first use."""
        variant = variant_of(row)
        key = self.protocol.hash_of(variant)
        if key not in self._kernels:
            artefact = build_host(variant)
            self._kernels[key] = HostKernel(self.arena, artefact, Geometry.of(variant))
        return self._kernels[key]

    def launch(
        self, row: Row, seed: int, index: int, fixed: dict[str, str] | None = None
    ) -> Launch:
        """Launch `index` of `row` under `seed`; `fixed` overrides drawn knobs by name.

        Raises `KnobError` or `GeometryError` for knobs that cannot be.
        """
        rng = generator(seed, row.name, index)
        knobs = decide_host(rng, row, self.gpu.sm_count, fixed or {})
        shot = shot_of(knobs, places(knobs, self.gpu.sm_count, rng), int(rng.integers(UINT31)))
        raw = self.kernel(row).read(
            shot, tail_first=knobs.tail_first, silent_round=knobs.silent_round
        )
        return host_record(
            raw,
            knobs=knobs,
            clock_khz=self.gpu.sm_clock_khz,
            name={
                "row": row.name,
                "variant": self.protocol.hash_of(row.variant),
                "seed": seed,
                "index": index,
                "worker": self.worker,
                "gpu": self.gpu.uuid,
            },
        )

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
        """Launches of one row, one after the other; ends as the micro-kernel's stress does."""
        return until_done(
            lambda index: self.launch(row, seed, index, fixed),
            seconds=seconds,
            observations=observations,
            until_stale=until_stale,
            first=first,
        )


def decide_host(
    rng: np.random.Generator, row: Row, sm_count: int, fixed: dict[str, str]
) -> HostKnobs:
    """The knobs of one launch: drawn, some fixed, the rest bent to what can run.

    Raises `KnobError` for what cannot be, `GeometryError` for tiles or CTAs that do not fit.
    """
    knobs = fit_host(draw_host(rng).with_values(fixed), sm_count, set(fixed))
    geometry = Geometry.of(variant_of(row))
    geometry.check_threads(knobs.threads, knobs.ctas_per_sm)
    geometry.dynamic_shared(knobs.tile_bytes, knobs.ctas_per_sm, STATIC_SHARED_BYTES)
    if knobs.plant_one_in and not row.sound:
        message = (
            f"knob plant_one_in is {knobs.plant_one_in}; for {row.name} it must be 0: faults are "
            "planted in sound variants"
        )
        raise KnobError(message)
    return knobs


def places(knobs: HostKnobs, sm_count: int, rng: np.random.Generator) -> npt.NDArray[np.void]:
    """What the CTAs of each SM do; those with neither pair nor noise leave at once."""
    entries = np.zeros(sm_count, dtype=PLACE_ENTRY.dtype())
    entries["role"] = Role.IDLE
    entries["first_pair"] = knobs.pairs
    order = rng.permutation(sm_count)
    producers = order[: knobs.producer_sms]
    entries["role"][producers] = Role.PRODUCER
    entries["first_pair"][producers] = np.arange(knobs.producer_sms) * knobs.ctas_per_sm
    noise = order[knobs.producer_sms : knobs.producer_sms + knobs.noise_sms]
    entries["role"][noise] = Role.NOISE
    return entries


def shot_of(knobs: HostKnobs, entries: npt.NDArray[np.void], device_seed: int) -> Shot:
    """One launch in numbers."""
    noisy = knobs.noise_sms > 0 and knobs.noise != 0
    return Shot(
        entries=entries,
        pairs=knobs.pairs,
        grid=len(entries) * knobs.ctas_per_sm,
        tile_bytes=knobs.tile_bytes,
        ring=knobs.ring,
        ctas_per_sm=knobs.ctas_per_sm,
        threads=knobs.threads,
        rounds=knobs.rounds,
        noise_bytes=knobs.noise_bytes if noisy else 0,
        values={
            "timeout_ns": knobs.timeout_ms * NANOSECONDS_PER_MS,
            "noise_kind": int(knobs.noise) if noisy else 0,
            "producer_skew_cycles": knobs.producer_skew_cycles,
            "delay_before_publish_cycles": knobs.delay_before_publish_cycles,
            "withheld_round": knobs.withheld_round,
            "doubled_round": knobs.doubled_round,
            "in_flight": knobs.in_flight,
            "warp_skew_cycles": knobs.warp_skew_cycles,
            "plant_one_in": knobs.plant_one_in,
            "plant_held": int(knobs.plant_held),
            "seed": device_seed,
        },
        limit_seconds=max(HANG_FLOOR_SECONDS, HANG_FACTOR * knobs.timeout_ms * 1e-3),
        pinned=True,
    )
