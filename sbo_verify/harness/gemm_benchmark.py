"""The signal GEMM's time: plain, and with the signal of each variant, on shapes of MoE layers.

A producer of the public library's interface can be measured beside it, in the same process and with
the same inputs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from sbo_verify.device.gemm_inputs import Inputs, random_inputs
from sbo_verify.device.kernel_timer import FLUSH_BYTES, KernelTimer
from sbo_verify.gemm import chosen_variant, m_grouped_fp8_gemm_nt_masked, m_major
from sbo_verify.gemm.arguments import GemmArgumentError, check_tensors
from sbo_verify.gemm.plan import plan_for
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
WARM_UP = 3
PLAIN = "plain"
# Datasheet of the H200: dense FP8, and device memory.
FP8_OPERATIONS_PER_SECOND = 1.979e15
BYTES_PER_SECOND = 4.8e12

Producer = Callable[..., Any]


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


def method() -> dict[str, int]:
    """How the figures are made, for their record."""
    return {"launches": LAUNCHES, "repeats": REPEATS, "overwritten_before_each": FLUSH_BYTES}


def benchmark_gemm(
    shapes: Sequence[tuple[int, int, int, int]],
    variants: Sequence[str],
    beside: str | None,
    seed: int,
) -> Iterator[GemmTime]:
    """Every shape, every group full: plain, with each variant's signal, and the producer beside."""
    timer = KernelTimer()
    foreign = foreign_producer(beside) if beside else None
    for shape in shapes:
        inputs = random_inputs(shape, [shape[1]] * shape[0], seed)
        problem = check_tensors(inputs.a, inputs.b, inputs.d, inputs.masked_m, shape[1])
        inputs = Inputs(
            (inputs.a[0], m_major(inputs.a[1], problem)),
            inputs.b,
            inputs.d,
            inputs.masked_m,
            inputs.signal,
        )
        yield from _times(timer, shape, inputs, ("sbo_verify", variants, _own))
        if foreign is not None and beside is not None:
            yield from _times(timer, shape, inputs, (beside, ["signal"], _public(foreign)))


def _own(inputs: Inputs, expected_m: int, variant: str) -> tuple[int, int]:
    overlap = variant != PLAIN
    return m_grouped_fp8_gemm_nt_masked(
        inputs.a,
        inputs.b,
        inputs.d,
        inputs.masked_m,
        expected_m,
        enable_overlap=overlap,
        signal=inputs.signal if overlap else None,
        check_inputs=False,
        **({"variant": variant} if overlap else {}),  # type: ignore[arg-type]
    )


def _public(producer: Producer) -> Producer:
    """A producer with the public interface, called as `_own`."""

    def call(inputs: Inputs, expected_m: int, variant: str) -> object:
        overlap = variant != PLAIN
        return producer(
            inputs.a,
            inputs.b,
            inputs.d,
            inputs.masked_m,
            expected_m,
            enable_overlap=overlap,
            signal=inputs.signal if overlap else None,
        )

    return call


def _times(
    timer: KernelTimer,
    shape: tuple[int, int, int, int],
    inputs: Inputs,
    subject: tuple[str, Sequence[str], Producer],
) -> Iterator[GemmTime]:
    name, variants, call = subject
    groups, m, n, k = shape
    plain = None
    for variant in (PLAIN, *variants):

        def launch(variant: str = variant) -> object:
            return call(inputs, m, variant)

        answers = [launch() for _ in range(WARM_UP)]
        repeats = [timer.mean_microseconds(launch, LAUNCHES) for _ in range(REPEATS)]
        time = median(repeats)
        plain = time if plain is None else plain
        block_m, threshold = answers[0] if isinstance(answers[0], tuple) else (0, 0)
        yield GemmTime(
            groups=groups,
            m=m,
            n=n,
            k=k,
            producer=name,
            variant=variant,
            kernel=_kernel_of(shape, inputs, variant) if name == "sbo_verify" else "",
            block_m=block_m,
            threshold=threshold,
            microseconds=time,
            repeats=repeats,
            costs=None if variant == PLAIN else time / plain - 1,
            of_limit=limit_microseconds(shape) / time,
        )


def _kernel_of(shape: tuple[int, int, int, int], inputs: Inputs, variant: str) -> str:
    problem = check_tensors(inputs.a, inputs.b, inputs.d, inputs.masked_m, shape[1])
    chosen = NO_SIGNAL if variant == PLAIN else chosen_variant(variant)
    return plan_for(problem, shape[1], variant=chosen).shape.name()


def limit_microseconds(shape: tuple[int, int, int, int]) -> float:
    """The least time by the datasheet: operations, or bytes read and written once."""
    groups, m, n, k = shape
    operations = 2 * groups * m * n * k / FP8_OPERATIONS_PER_SECOND
    moved = groups * (m * k + n * k + 2 * m * n) / BYTES_PER_SECOND
    return 1e6 * max(operations, moved)
