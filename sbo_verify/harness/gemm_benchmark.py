"""The signal GEMM's time: plain, and with the signal of each variant, on shapes of MoE layers.

Beside it, in the same process and on the same inputs: what libraries make of the same product, and,
where one is named, a producer of the public library's interface. How far each product is from the
exact one is measured before it is timed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from statistics import median
from typing import Any

from sbo_verify.device.gemm_inputs import Inputs, random_inputs
from sbo_verify.device.gemm_layout import BLOCK_MS, BLOCK_NS, CLUSTERS, Shape, most_stages
from sbo_verify.device.kernel_timer import FLUSH_BYTES, KernelTimer, TimingError
from sbo_verify.device.library_products import (
    BLOCK_SCALES,
    LIBRARIES,
    exact_product,
    library_product,
    poisoned,
    refusals,
    relative_error,
)
from sbo_verify.gemm import (
    GemmArgumentError,
    Plan,
    Problem,
    check_tensors,
    chosen_variant,
    launch_plan,
    m_major,
    plan_for,
)
from sbo_verify.harness.gemm_limits import DATASHEET, Limits, Sizes, least_time
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
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
BROKEN = {row.name for row in SIGNAL_PUBLISH if not row.sound}
PLAIN, SIGNAL = "plain", "signal"
# bfloat16 rounds by 2^-9 at most; tensor cores that add all of K drop some more.
LARGEST_ERROR = 2.0**-6

Producer = Callable[..., Any]


@dataclass(frozen=True)
class Subject:
    """What is measured: a producer, its variant and kernel by name, and its launch.

    `error` launches it once and says how far its product is from the exact one. `tiles` is how many
    its kernel computes, `sms` on how many SMs; 0 where that is not known.
    """

    producer: str
    variant: str
    kernel: str
    launch: Callable[[], object]
    error: Callable[[], float]
    tiles: int = 0
    sms: int = 0


@dataclass(frozen=True, kw_only=True)
class GemmTime:
    """One cell: medians over repeats. `costs` is the share of the plain time that a signal adds.

    `of_limit` is the time that the datasheet's FP8 rate or memory bandwidth allows, over the
    measured; `of_measured_limit` the same by the rates of this run, None where none were measured;
    `bound` which of the two rates binds. `waves` is how often the fullest SM computes a tile.
    `relative_error` is that of D, by the norm, against an FP64 product; above LARGEST_ERROR, or not
    a number, the product is wrong.
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
    tiles: int
    waves: int
    microseconds: float
    repeats: list[float]
    costs: float | None
    bound: str
    of_limit: float
    of_measured_limit: float | None
    relative_error: float
    product_is_right: bool


@dataclass(frozen=True, kw_only=True)
class LoneTile:
    """What a signal adds to a kernel of one tile, the GPU being idle beside it: microseconds."""

    kernel: str
    k: int
    variant: str
    adds_microseconds: float


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


@dataclass(frozen=True, kw_only=True)
class GemmBenchmark:
    """What is measured on every shape: plain, each variant's signal, libraries, `beside`.

    What a library cannot compute is put into `left_out`, with its reason.
    """

    timer: KernelTimer
    variants: Sequence[str]
    beside: str | None
    seed: int
    limits: Limits
    left_out: dict[str, str] = field(default_factory=dict)

    def cells(self, shapes: Sequence[Sizes]) -> Iterator[GemmTime]:
        """Every shape, every group full.

        Raises `GemmArgumentError` for a producer that is not there, `TimingError` where the
        profiler saw no kernels or the own GEMM's product is wrong.
        """
        foreign = foreign_producer(self.beside) if self.beside else None
        for sizes in shapes:
            inputs = _full_groups(sizes, self.seed)
            subjects = [_own(sizes, inputs, variant) for variant in (PLAIN, *self.variants)]
            if foreign is not None and self.beside is not None:
                both = (PLAIN, SIGNAL)
                subjects += [_foreign(self.beside, foreign, sizes, inputs, v) for v in both]
            subjects += _libraries(inputs, self.left_out)
            yield from measured(self.timer, sizes, subjects, LAUNCHES, REPEATS, self.limits)

    def lone_tiles(self, shapes: Sequence[Sizes], variants: Sequence[str]) -> Iterator[LoneTile]:
        """For each tile of the shapes, what a variant's signal adds where it is the only one.

        Nothing hides that: not the next tile, and no other CTA's traffic slows it.
        """
        seen = set()
        for groups, m, n, k in shapes:
            shape = plan_for(Problem(groups, m, n, k, 0), m).shape
            if (shape.name(), k) in seen:
                continue
            seen.add((shape.name(), k))
            sizes = (1, shape.block_m, shape.block_n, k)
            inputs = _full_groups(sizes, self.seed)
            subjects = [_own(sizes, inputs, variant, shape) for variant in (PLAIN, *variants)]
            plain, *others = measured(self.timer, sizes, subjects, LAUNCHES, REPEATS)
            for cell in others:
                adds = cell.microseconds - plain.microseconds
                yield LoneTile(
                    kernel=shape.name(), k=k, variant=cell.variant, adds_microseconds=adds
                )


def sweep_gemm(timer: KernelTimer, shapes: Sequence[Sizes], seed: int) -> Iterator[GemmTime]:
    """Every shape with every tile and cluster, plain: what the heuristic chooses from."""
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


def measured(  # noqa: PLR0913, PLR0917 - what is measured, how often, and against what
    timer: KernelTimer,
    sizes: Sizes,
    subjects: Sequence[Subject],
    launches: int,
    repeats: int,
    limits: Limits | None = None,
) -> Iterator[GemmTime]:
    """The subjects' times, all of them in turn in each repeat, so that drift spoils no comparison.

    Raises `TimingError` where the own GEMM's product is wrong, its variant not being a broken one.
    """
    errors = [_right(subject, sizes) for subject in subjects]
    answers = [[each.launch() for _ in range(WARM_UP)][-1] for each in subjects]
    rounds = [
        timer.mean_microseconds([subject.launch for subject in subjects], launches)
        for _ in range(repeats)
    ]
    times = [list(found) for found in zip(*rounds, strict=True)]
    plain = {
        each.producer: median(found)
        for each, found in zip(subjects, times, strict=True)
        if each.variant == PLAIN
    }
    least, groups = least_time(sizes, limits or DATASHEET), sizes[0]
    for subject, error, answer, found in zip(subjects, errors, answers, times, strict=True):
        time = median(found)
        block_m, threshold = answer if isinstance(answer, tuple) else (0, 0)
        against = plain.get(subject.producer) if subject.variant != PLAIN else None
        yield GemmTime(
            groups=groups,
            m=sizes[1],
            n=sizes[2],
            k=sizes[3],
            producer=subject.producer,
            variant=subject.variant,
            kernel=subject.kernel,
            block_m=block_m,
            threshold=threshold,
            tiles=subject.tiles,
            waves=-(-subject.tiles // subject.sms) if subject.sms else 0,
            microseconds=time,
            repeats=found,
            costs=None if against is None else time / against - 1,
            bound=least.bound,
            of_limit=least_time(sizes).microseconds / time,
            of_measured_limit=None if limits is None else least.microseconds / time,
            relative_error=error,
            product_is_right=error <= LARGEST_ERROR,
        )


def _right(subject: Subject, sizes: Sizes) -> float:
    """The subject's error; `TimingError` where the own GEMM's makes its time worthless.

    What others make wrong is theirs, and stands in the record, as does what a broken variant makes
    wrong: a store that is not fenced sends what its stage held before.
    """
    error = subject.error()
    may_be_wrong = subject.producer != OWN or subject.variant in BROKEN
    if not may_be_wrong and not error <= LARGEST_ERROR:
        shape = "x".join(map(str, sizes))
        message = (
            f"{subject.producer}, {subject.variant}, on {shape}: its product is off by {error:.2g} "
            f"of its norm; at most {LARGEST_ERROR:.2g} is right"
        )
        raise TimingError(message)
    return error


def _full_groups(sizes: Sizes, seed: int) -> Inputs:
    """Random inputs with A's scales as copies want them, so that only the GEMM is launched."""
    inputs = random_inputs(sizes, [sizes[1]] * sizes[0], seed)
    problem = check_tensors(inputs.a, inputs.b, inputs.d, inputs.masked_m, sizes[1])
    return replace(inputs, a=(inputs.a[0], m_major(inputs.a[1], problem)))


def _own(sizes: Sizes, inputs: Inputs, variant: str, shape: Shape | None = None) -> Subject:
    problem = check_tensors(inputs.a, inputs.b, inputs.d, inputs.masked_m, sizes[1])
    chosen = NO_SIGNAL if variant == PLAIN else chosen_variant(variant)
    if shape is not None:
        stages = min(shape.stages, most_stages(shape.block_m, shape.block_n, chosen, problem.k))
        shape = replace(shape, stages=stages)
    return _planned(plan_for(problem, sizes[1], variant=chosen, shape=shape), inputs, variant)


def _planned(plan: Plan, inputs: Inputs, variant: str = PLAIN) -> Subject:
    signal = None if variant == PLAIN else inputs.signal

    def launch() -> tuple[int, int]:
        launch_plan(plan, inputs.a, inputs.b, inputs.d, inputs.masked_m, signal=signal)
        return plan.shape.block_m, plan.threshold

    tiles = plan.problem.groups * plan.slots * plan.threshold
    error = _error_of_d(inputs, launch)
    return Subject(OWN, variant, plan.shape.name(), launch, error, tiles, plan.num_sms)


def _foreign(name: str, producer: Producer, sizes: Sizes, inputs: Inputs, variant: str) -> Subject:
    """A producer called as the public interface has it."""
    overlap = variant != PLAIN
    signal = inputs.signal if overlap else None

    def launch() -> object:
        tensors = (inputs.a, inputs.b, inputs.d, inputs.masked_m, sizes[1])
        return producer(*tensors, enable_overlap=overlap, signal=signal)

    return Subject(name, variant, "", launch, _error_of_d(inputs, launch))


def _error_of_d(inputs: Inputs, launch: Callable[[], object]) -> Callable[[], float]:
    def error() -> float:
        d = poisoned(inputs)
        launch()
        return relative_error(d, exact_product(inputs, BLOCK_SCALES))

    return error


def _libraries(inputs: Inputs, left_out: dict[str, str]) -> list[Subject]:
    """The libraries that can compute this problem here."""
    found = []
    for library, scales in LIBRARIES:
        launch = library_product(library, scales, inputs)
        try:
            launch()
        except refusals() as refusal:
            (reason, *_) = str(refusal).splitlines() or [""]
            left_out[f"{library}, {scales}"] = f"{type(refusal).__name__}: {reason}"
            continue
        error = partial(_error_of_library, launch, inputs, scales)
        found.append(Subject(library, scales, "", launch, error))
    return found


def _error_of_library(launch: Callable[[], Any], inputs: Inputs, scales: str) -> float:
    return relative_error(launch(), exact_product(inputs, scales))
