"""The knobs of a launch of the GEMM beside Combine Send: sizes, masks, SMs, noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, ClassVar

import numpy as np

from sbo_verify.device.combine_layout import BLOCK_K, MAX_ROUNDS
from sbo_verify.device.layout import NoiseKind, ReadOrder
from sbo_verify.harness.knob_set import KnobError, KnobSet
from sbo_verify.harness.knobs import MAX_TIMEOUT_MS, MIB, weighted
from sbo_verify.protocols.signal_publish.sites import FanOut, SignalPublish

N_MULTIPLE = 8
MOST_ELEMENTS = 1 << 30
# One thread reads a slot some hundred times slower than a whole CTA does.
LONE_READERS_SIZES = {"groups": 2, "m": 128, "n": 128}
LONE_READERS_ROUNDS = 100


class MaskKind(IntEnum):
    """How many rows of each group count."""

    FULL = 0
    MIXED = 1
    SPARSE = 2


@dataclass(frozen=True, kw_only=True)
class LiveKnobs(KnobSet):
    """One launch's environment. Units are in the names; delays are in cycles of the SM clock.

    groups, m, n, k    sizes of the GEMM; k is a multiple of 128, n one of 8
    mask               rows that count: full, mixed (0, 1, m or between), sparse (mostly 0 or 1)
    max_block_n        the widest tile, in columns
    gemm_sms           SMs of the GEMM; a foreign producer chooses its own
    consumers          CTAs of Combine Send, an SM each
    noise_sms          SMs that make noise
    prime_l1           the consumer reads the slot's old rows before it polls
    read_order         whether a slot is read from its first row or its last
    consumer_skew_cycles, delay_after_poll_cycles   as in the micro-kernel
    rounds_per_graph   rounds that are captured and launched as one CUDA graph; 0 for none
    timeout_ms         how long a thread waits before it gives up and leaves a record
    """

    RANGES: ClassVar[tuple[tuple[str, float, float], ...]] = (
        ("groups", 1, 4096),
        ("m", 1, 1 << 20),
        ("n", N_MULTIPLE, 1 << 20),
        ("k", BLOCK_K, 1 << 20),
        ("max_block_n", 32, 256),
        ("gemm_sms", 1, 1024),
        ("consumers", 1, 1024),
        ("noise_sms", 0, 1024),
        ("noise_bytes", 0, 64 * 1024 * MIB),
        ("consumer_skew_cycles", 0, 10_000_000),
        ("delay_after_poll_cycles", 0, 10_000_000),
        ("rounds", 1, MAX_ROUNDS),
        ("rounds_per_graph", 0, MAX_ROUNDS),
        ("timeout_ms", 1, MAX_TIMEOUT_MS),
    )
    IN_CHUNKS: ClassVar[tuple[str, ...]] = ("noise_bytes",)

    groups: int = 32
    m: int = 512
    n: int = 256
    k: int = 512
    mask: MaskKind = MaskKind.FULL
    max_block_n: int = 256
    gemm_sms: int = 76
    consumers: int = 32
    noise: NoiseKind = NoiseKind.STORE
    noise_sms: int = 20
    noise_bytes: int = 1024 * MIB
    prime_l1: bool = False
    read_order: ReadOrder = ReadOrder.TAIL_FIRST
    consumer_skew_cycles: int = 0
    delay_after_poll_cycles: int = 0
    rounds: int = 600
    rounds_per_graph: int = 20
    timeout_ms: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, multiple in (("n", N_MULTIPLE), ("k", BLOCK_K)):
            value = getattr(self, name)
            if value % multiple:
                message = f"knob {name} is {value}; it must be a multiple of {multiple}"
                raise KnobError(message)
        if self.groups * max(self.m * max(self.n, self.k), self.n * self.k) > MOST_ELEMENTS:
            message = (
                f"groups={self.groups} m={self.m} n={self.n} k={self.k} make a matrix of more than "
                f"{MOST_ELEMENTS} elements; choose smaller ones"
            )
            raise KnobError(message)


def draw_live(rng: np.random.Generator) -> LiveKnobs:
    """One random environment.

    The weights follow what showed stale tiles on an H200: many small tiles, many consumers, store
    noise over memory larger than L2.
    """
    groups, m, n = weighted(
        rng,
        {
            (32, 512, 256): 8,
            (1, 1024, 512): 1,
            (4, 128, 1024): 1,
            (8, 200, 384): 1,
            (32, 64, 512): 1,
            (16, 40, 136): 1,
            (2, 300, 2048): 1,
        },
    )
    noise = weighted(rng, {NoiseKind.STORE: 6, NoiseKind.ATOMIC: 3, NoiseKind.NONE: 2})
    quiet = noise is NoiseKind.NONE
    return LiveKnobs(
        groups=groups,
        m=m,
        n=n,
        k=weighted(rng, {128: 2, 512: 4, 1024: 1, 3072: 1}),
        mask=weighted(rng, {MaskKind.FULL: 5, MaskKind.MIXED: 3, MaskKind.SPARSE: 1}),
        max_block_n=weighted(rng, {256: 3, 128: 1}),
        gemm_sms=weighted(rng, {76: 4, 40: 3, 92: 1, 12: 1}),
        consumers=weighted(rng, {32: 5, 16: 1, 3: 1}),
        noise=noise,
        noise_sms=0 if quiet else weighted(rng, {20: 5, 24: 1, 8: 1}),
        noise_bytes=weighted(rng, {1024 * MIB: 4, 64 * MIB: 1}),
        prime_l1=bool(weighted(rng, {0: 1, 1: 1})),
        read_order=weighted(rng, {ReadOrder.TAIL_FIRST: 3, ReadOrder.HEAD_FIRST: 1}),
        consumer_skew_cycles=weighted(rng, {0: 6, 2000: 1, 10_000: 1}),
        delay_after_poll_cycles=weighted(rng, {0: 8, 500: 1}),
    )


def fit_live(
    knobs: LiveKnobs, variant: SignalPublish, sm_count: int, fixed: set[str], *, foreign: bool
) -> LiveKnobs:
    """Drawn knobs, bent to what variant and GPU can run; those named in `fixed` are left alone."""
    changes: dict[str, Any] = {}
    if variant.fan_out is FanOut.ALONE:
        changes = {
            name: min(getattr(knobs, name), most) for name, most in LONE_READERS_SIZES.items()
        }
        changes["rounds"] = LONE_READERS_ROUNDS
    if foreign:
        # Whether a stranger can be captured is not known.
        changes["rounds_per_graph"] = 0
    changes["noise_sms"] = min(knobs.noise_sms, max(0, sm_count - knobs.gemm_sms - knobs.consumers))
    return replace(knobs, **{name: at for name, at in changes.items() if name not in fixed})


def check_split(knobs: LiveKnobs, sm_count: int) -> None:
    """Raise `KnobError` unless GEMM, consumers and noise have an SM for each of their CTAs.

    Consumers and noise run before the producer does and hold their SMs until it has ended.
    """
    wanted = knobs.gemm_sms + knobs.consumers + knobs.noise_sms
    if wanted > sm_count:
        message = (
            f"gemm_sms={knobs.gemm_sms}, consumers={knobs.consumers} and noise_sms="
            f"{knobs.noise_sms} take {wanted} SMs of {sm_count}; all must run at once, one CTA to "
            "an SM: choose fewer"
        )
        raise KnobError(message)


def draw_masks(rng: np.random.Generator, knobs: LiveKnobs) -> list[int]:
    """Rows that count, for each group; at least one group has some."""
    if knobs.mask is MaskKind.FULL:
        return [knobs.m] * knobs.groups
    odds = {MaskKind.MIXED: (1, 1, 3, 3), MaskKind.SPARSE: (6, 6, 1, 1)}[knobs.mask]
    share = np.array(odds, dtype=np.float64) / sum(odds)
    kinds = rng.choice(4, size=knobs.groups, p=share)
    between = rng.integers(1, knobs.m + 1, size=knobs.groups)
    masks = [(0, 1, knobs.m, int(rows))[kind] for kind, rows in zip(kinds, between, strict=True)]
    if not any(masks):
        masks[int(rng.integers(knobs.groups))] = knobs.m
    return masks
