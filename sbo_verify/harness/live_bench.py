"""Runs a producer beside Combine Send: one launch, exactly repeatable, and a row's launches.

A launch is named by (row, seed, index), as the micro-kernel's are; its knobs, masks and the random
numbers on the device follow from that name alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sbo_verify.device.combine_build import build_combine, combine_entry
from sbo_verify.device.combine_layout import slots_of
from sbo_verify.device.driver import Kernel
from sbo_verify.device.gpu import Gpu
from sbo_verify.device.live_rounds import LiveArena
from sbo_verify.device.live_shot import LiveShot
from sbo_verify.harness.knobs import generator
from sbo_verify.harness.live_knobs import (
    LiveKnobs,
    check_split,
    draw_live,
    draw_masks,
    fit_live,
)
from sbo_verify.harness.live_results import live_record
from sbo_verify.harness.producers import (
    Producer,
    announcement,
    foreign_producer,
    own_producer,
)
from sbo_verify.harness.runner import (
    HANG_FACTOR,
    HANG_FLOOR_SECONDS,
    NANOSECONDS_PER_MS,
    UINT31,
    until_done,
)
from sbo_verify.protocol import Protocol, Row
from sbo_verify.protocols.signal_publish.combine import FOREIGN
from sbo_verify.protocols.signal_publish.sites import SignalPublish, SourceFence, Store
from sbo_verify.record import Launch, LiveLaunch


@dataclass
class LiveBench:
    """One process's GPU with its memory and its loaded kernels.

    `producer` is the MODULE:FUNCTION behind the row of foreign producers, where one takes part.
    """

    protocol: Protocol
    gpu: Gpu
    worker: str = ""
    producer: str = ""
    arena: LiveArena = field(init=False)
    _kernels: dict[str, Kernel] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.arena = LiveArena(self.gpu)

    def kernel(self, row: Row) -> Kernel:
        """Combine Send with the row's consumer half, built and loaded on first use."""
        variant = variant_of(row)
        entry = combine_entry(variant)
        if entry not in self._kernels:
            self._kernels[entry] = self.arena.load(build_combine(variant).cubin, entry)
        return self._kernels[entry]

    def producer_of(self, row: Row, knobs: LiveKnobs) -> Producer:
        """Who computes and signals in this row; raises `ProducerError` where nobody can."""
        if row.name == FOREIGN:
            return foreign_producer(self.producer, max_block_n=knobs.max_block_n)
        return own_producer(row, num_sms=knobs.gemm_sms, max_block_n=knobs.max_block_n)

    def launch(
        self, row: Row, seed: int, index: int, fixed: dict[str, str] | None = None
    ) -> LiveLaunch:
        """Launch `index` of `row` under `seed`; `fixed` overrides drawn knobs by name.

        Raises `KnobError` for knobs that cannot be, `ProducerError` for a producer that cannot.
        """
        rng = generator(seed, row.name, index)
        knobs = decide(rng, row, self.gpu.sm_count, fixed or {})
        masks = draw_masks(rng, knobs)
        device_seed = int(rng.integers(UINT31))
        producer = self.producer_of(row, knobs)
        sizes = (knobs.groups, knobs.m, knobs.n, knobs.k)
        tensors = self.arena.tensors(sizes, masks, device_seed)
        expected_m = max(1, sum(masks) // len(masks))

        def produce() -> object:
            return producer.call(tensors, expected_m)

        returned = self.arena.once(produce)
        block_m, threshold = announcement(producer.name, returned)
        shot = shot_of(knobs, variant_of(row), (block_m, threshold), device_seed)
        raw = self.arena.run(shot, self.kernel(row), tensors, produce)
        return live_record(
            raw,
            knobs=knobs,
            planned=knobs.rounds * sum(1 for _ in slots_of(masks, knobs.m, block_m)),
            announced=(block_m, threshold),
            returned=returned,
            name=self._name(row, seed, index) | {"producer": producer.name},
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

    def _name(self, row: Row, seed: int, index: int) -> dict[str, Any]:
        return {
            "row": row.name,
            "variant": self.protocol.hash_of(row.variant),
            "seed": seed,
            "index": index,
            "worker": self.worker,
            "gpu": self.gpu.uuid,
        }


def decide(rng: np.random.Generator, row: Row, sm_count: int, fixed: dict[str, str]) -> LiveKnobs:
    """The knobs of one launch: drawn, some fixed, the rest bent to what can run.

    Raises `KnobError` where the SMs do not suffice for what is fixed.
    """
    drawn = draw_live(rng).with_values(fixed)
    foreign = row.name == FOREIGN
    knobs = fit_live(drawn, variant_of(row), sm_count, set(fixed), foreign=foreign)
    check_split(knobs, sm_count)
    return knobs


def _copies_unfenced(variant: SignalPublish) -> bool:
    return variant.store is not Store.GENERIC and variant.source_fence is SourceFence.NONE


def variant_of(row: Row) -> SignalPublish:
    """The row's variant, which the GEMM and Combine Send can run only of one protocol."""
    if not isinstance(row.variant, SignalPublish):
        message = f"{row.name} is no variant of signal_publish"
        raise TypeError(message)
    return row.variant


def shot_of(
    knobs: LiveKnobs, variant: SignalPublish, announced: tuple[int, int], device_seed: int
) -> LiveShot:
    """One launch in numbers, as its knobs, variant and announced (block_m, threshold) have it."""
    block_m, threshold = announced
    noisy = knobs.noise_sms > 0 and knobs.noise != 0
    return LiveShot(
        rounds=knobs.rounds,
        rounds_per_graph=knobs.rounds_per_graph,
        block_m=block_m,
        threshold=threshold,
        consumers=knobs.consumers,
        noise_ctas=knobs.noise_sms if noisy else 0,
        noise_bytes=knobs.noise_bytes if noisy else 0,
        values={
            "timeout_ns": knobs.timeout_ms * NANOSECONDS_PER_MS,
            "noise_kind": int(knobs.noise) if noisy else 0,
            "check": 1,
            # With no fence before it, the copy may take what the stage held before the tile was
            # written there: operands, and no round's name.
            "wrong_is_stale": int(_copies_unfenced(variant)),
            "prime_l1": int(knobs.prime_l1),
            "read_order": int(knobs.read_order),
            "consumer_skew_cycles": knobs.consumer_skew_cycles,
            "delay_after_poll_cycles": knobs.delay_after_poll_cycles,
            "seed": device_seed,
        },
        limit_seconds=max(HANG_FLOOR_SECONDS, HANG_FACTOR * knobs.timeout_ms * 1e-3),
    )
