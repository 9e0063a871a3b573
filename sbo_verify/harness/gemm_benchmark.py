"""The signal GEMM's time: plain, and with the signal of each variant, on shapes of MoE layers.

A producer of the public library's interface can be measured beside it, in the same process and with
the same inputs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from statistics import median
from typing import Any

from sbo_verify.device.gemm_inputs import Inputs, random_inputs
from sbo_verify.device.gemm_layout import BLOCK_MS, BLOCK_NS, CLUSTERS, Shape, most_stages
from sbo_verify.device.kernel_timer import FLUSH_BYTES, KernelTimer
from sbo_verify.gemm import (
    GemmArgumentError,
    Plan,
    check_tensors,
    chosen_variant,
    launch_plan,
    m_major,
    plan_for,
)
from sbo_verify.protocols.signal_publish.gemm import NO_SIGNAL

# Groups, rows of each, n, k: a decode batch spread over fewer and more local experts.
SHAPES: tuple[tuple[int, int, int, int], ...] = (
    (1, 1024, 4096, 7168),
    (1, 1024, 7168, 2048),
    (2, 512, 4096, 7168),
    (2, 512, 7168, 2048),
    (4, 256, 4096, 7168),
    (4, 256, 7168, 2048),
    (16, 64, 4096, 7168),
    (16, 64, 7168, 2048),
    (16, 32, 4096, 7168),
    (16, 32, 7168, 2048),
)
LAUNCHES = 30
REPEATS = 3
SWEEP_LAUNCHES = 10
WARM_UP = 3
OWN = "sbo_verify"
PLAIN, SIGNAL = "plain", "signal"
# Datasheet of the H200: dense FP8, and device memory.
FP8_OPERATIONS_PER_SECOND = 1.979e15
BYTES_PER_SECOND = 4.8e12

Sizes = tuple[int, int, int, int]
Producer = Callable[..., Any]


@dataclass(frozen=True)
class Subject:
    """What is measured: a producer, its variant and kernel by name, and its launch."""

    producer: str
    variant: str
    kernel: str
    launch: Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class GemmTime:
    """One cell: medians over repeats. `costs` is the share of the plain time that a signal adds.

    `of_limit` is the time that the datasheet's FP8 rate or memory bandwidth allows, over the
    measured.
    """

    groups: int
    m: int
    n: int
    k: int
    producer: str
    variant: str
    kernel: str
    block_m: int
    threshold: int
    microseconds: float
    repeats: list[float]
    costs: float | None
    of_limit: float


def foreign_producer(name: str) -> Producer:
    """The callable that `module:function` names.

    Raises `GemmArgumentError` when there is none.
    """
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        message = f"no producer {name!r}: {error}; allowed is module:function"
        raise GemmArgumentError(message) from error
    if not callable(found):
        message = f"{name} is {type(found).__name__}; allowed is a function"
        raise GemmArgumentError(message)
    producer: Producer = found
    return producer


def method(*, sweep: bool) -> dict[str, int]:
    """How the figures are made, for their record."""
    launches, repeats = (SWEEP_LAUNCHES, 1) if sweep else (LAUNCHES, REPEATS)
    return {"launches": launches, "repeats": repeats, "bytes_overwritten_before_each": FLUSH_BYTES}


def benchmark_gemm(
    shapes: Sequence[Sizes], variants: Sequence[str], beside: str | None, seed: int
) -> Iterator[GemmTime]:
    """Every shape, every group full: plain, with each variant's signal, and the producer beside.

    Raises `GemmArgumentError` for a producer that is not there, `TimingError` where the profiler
    saw no kernels.
    """
    foreign = foreign_producer(beside) if beside else None
    timer = KernelTimer()
    for sizes in shapes:
        inputs = _full_groups(sizes, seed)
        subjects = [_own(sizes, inputs, variant) for variant in (PLAIN, *variants)]
        if foreign is not None and beside is not None:
            subjects += [_foreign(beside, foreign, sizes, inputs, v) for v in (PLAIN, SIGNAL)]
        yield from measured(timer, sizes, subjects, LAUNCHES, REPEATS)


def sweep_gemm(shapes: Sequence[Sizes], seed: int) -> Iterator[GemmTime]:
    """Every shape with every tile and cluster, plain: what the heuristic chooses from."""
    timer = KernelTimer()
    for sizes in shapes:
        inputs = _full_groups(sizes, seed)
        problem = check_tensors(inputs.a, inputs.b, inputs.d, inputs.masked_m, sizes[1])
        subjects = []
        for block_m, block_n, cluster in product(BLOCK_MS, BLOCK_NS, CLUSTERS):
            stages = most_stages(block_m, block_n, NO_SIGNAL, problem.k)
            shape = Shape(block_m, block_n, stages, cluster)
            plan = plan_for(problem, sizes[1], shape=shape)
            subjects.append(_planned(plan, inputs))
        yield from measured(timer, sizes, subjects, SWEEP_LAUNCHES, 1)


def measured(
    timer: KernelTimer, sizes: Sizes, subjects: Sequence[Subject], launches: int, repeats: int
) -> Iterator[GemmTime]:
    """The subjects' times, all of them once in each repeat, so that drift spoils no comparison."""
    answers = [[each.launch() for _ in range(WARM_UP)][-1] for each in subjects]
    times: list[list[float]] = [[] for _ in subjects]
    for _ in range(repeats):
        for subject, found in zip(subjects, times, strict=True):
            found.append(timer.mean_microseconds(subject.launch, launches))
    plain = {
        each.producer: median(found)
        for each, found in zip(subjects, times, strict=True)
        if each.variant == PLAIN
    }
    groups, m, n, k = sizes
    for subject, answer, found in zip(subjects, answers, times, strict=True):
        time = median(found)
        block_m, threshold = answer if isinstance(answer, tuple) else (0, 0)
        yield GemmTime(
            groups=groups,
            m=m,
            n=n,
            k=k,
            producer=subject.producer,
            variant=subject.variant,
            kernel=subject.kernel,
            block_m=block_m,
            threshold=threshold,
            microseconds=time,
            repeats=found,
            costs=None if subject.variant == PLAIN else time / plain[subject.producer] - 1,
            of_limit=limit_microseconds(sizes) / time,
        )


def _full_groups(sizes: Sizes, seed: int) -> Inputs:
    """Random inputs with A's scales as copies want them, so that only the GEMM is launched."""
    inputs = random_inputs(sizes, [sizes[1]] * sizes[0], seed)
    problem = check_tensors(inputs.a, inputs.b, inputs.d, inputs.masked_m, sizes[1])
    return replace(inputs, a=(inputs.a[0], m_major(inputs.a[1], problem)))


def _own(sizes: Sizes, inputs: Inputs, variant: str) -> Subject:
    problem = check_tensors(inputs.a, inputs.b, inputs.d, inputs.masked_m, sizes[1])
    chosen = NO_SIGNAL if variant == PLAIN else chosen_variant(variant)
    return _planned(plan_for(problem, sizes[1], variant=chosen), inputs, variant)


def _planned(plan: Plan, inputs: Inputs, variant: str = PLAIN) -> Subject:
    signal = None if variant == PLAIN else inputs.signal

    def launch() -> tuple[int, int]:
        launch_plan(plan, inputs.a, inputs.b, inputs.d, inputs.masked_m, signal=signal)
        return plan.shape.block_m, plan.threshold

    return Subject(OWN, variant, plan.shape.name(), launch)


def _foreign(name: str, producer: Producer, sizes: Sizes, inputs: Inputs, variant: str) -> Subject:
    """A producer called as the public interface has it."""
    overlap = variant != PLAIN
    signal = inputs.signal if overlap else None

    def launch() -> object:
        tensors = (inputs.a, inputs.b, inputs.d, inputs.masked_m, sizes[1])
        return producer(*tensors, enable_overlap=overlap, signal=signal)

    return Subject(name, variant, "", launch)


def limit_microseconds(sizes: Sizes) -> float:
    """The least time by the datasheet: operations, or bytes read and written once."""
    groups, m, n, k = sizes
    operations = 2 * groups * m * n * k / FP8_OPERATIONS_PER_SECOND
    moved = groups * (m * k + n * k + 2 * m * n) / BYTES_PER_SECOND
    return 1e6 * max(operations, moved)
