"""How far a GEMM's D is from the FP64 product of its inputs, beside another's on the same inputs.

Errors are measured on the rows that count, where the FP64 product is finite:
- norm-wise: the norm of D - X over the norm of X, X being the product;
- componentwise: the largest |D - X| over (|A| x |B|), the measure in which a sum of products has a
  bound that does not depend on cancellation (Higham, Accuracy and Stability of Numerical
  Algorithms, section 3.5), below 2^-126 over 2^-126, where numbers lie no closer;
- ulps: the largest |D - X| in units of bfloat16's last place at X, which has no
  bound where sums cancel, and what 99 % of the elements stay within.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np

from sbo_verify.device.gemm_inputs import (
    POISON,
    Inputs,
    bits_of,
    inputs_of_bytes,
    magnitude,
    product,
)
from sbo_verify.gemm import check_tensors, m_grouped_fp8_gemm_nt_masked, m_major
from sbo_verify.harness.numeric_inputs import Array, Case, Sizes, case
from sbo_verify.harness.producers import ProducerError, imported

# One and many blocks of K, widths that usual tiles do not divide, for tiles of 128 and of 64 rows.
SHAPES: tuple[Sizes, ...] = (
    (2, 512, 1344, 7168),
    (4, 256, 2112, 2048),
    (3, 256, 1088, 128),
    (4, 64, 1088, 1024),
)
OWN = "sbo_verify"
MANTISSA_BITS = 7
LEAST_EXPONENT = -126
LEAST_NORMAL = 2.0**LEAST_EXPONENT
# From here on bfloat16 rounds to infinity.
OVERFLOW = 2.0**128 - 2.0**119
# Half a unit in the last place, and what the tensor cores drop of each of the 128 products that are
# added before FP32 is: what lies some 2^-13 below the largest (DeepSeek-V3 report, section 3.3.2).
COMPONENTWISE_LIMIT = 2.0**-9 + 128 * 2.0**-13
Loaded = TypeVar("Loaded")


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Of one D. `misplaced`: elements that are finite where the product is not, or the reverse.

    `touched`: elements of rows that do not count which the GEMM has written.
    """

    norm_wise: float
    componentwise: float
    ulps: float
    ulps_of_99_percent: float
    misplaced: int
    touched: int


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One producer on one kind of inputs; `errors` is None where it refused, `refusal` says why.

    `differing`: elements of rows that count whose bits are not those of the first producer's D; two
    that are not a number are the same.
    """

    groups: int
    m: int
    n: int
    k: int
    masked: list[int]
    inputs: str
    producer: str
    errors: Errors | None
    differing: int
    refusal: str = ""


@dataclass(frozen=True)
class Reference:
    """The FP64 product, and that of the absolute values: [G, M, N] each."""

    product: Array
    magnitude: Array


@dataclass(frozen=True)
class Laboratory(Generic[Loaded]):
    """How a case comes to where it is computed, and what is computed of it there.

    A producer returns D's bits as uint16 [G, M, N], or raises `ProducerError`.
    """

    load: Callable[[Case], Loaded]
    reference: Callable[[Loaded], Reference]
    producers: dict[str, Callable[[Loaded], Array]]


def measured(
    laboratory: Laboratory[Loaded], shapes: Sequence[Sizes], kinds: Sequence[str], seed: int
) -> Iterator[Cell]:
    """Every producer on every kind of inputs in every shape, all on the same inputs."""
    for sizes in shapes:
        for kind in kinds:
            made = case(kind, sizes, seed)
            loaded = laboratory.load(made)
            reference = laboratory.reference(loaded)
            first = None
            for name, compute in laboratory.producers.items():
                try:
                    bits = compute(loaded)
                except ProducerError as error:
                    yield cell_of(made, name, None, refusal=str(error))
                    continue
                first = bits if first is None else first
                errors = errors_of(bits, reference, made.masked)
                yield cell_of(made, name, errors, differing(bits, first, made.masked))


def cell_of(
    made: Case, producer: str, errors: Errors | None, differing: int = 0, *, refusal: str = ""
) -> Cell:
    """The record of one producer on one case."""
    groups, m, n, k = made.sizes
    return Cell(
        groups=groups,
        m=m,
        n=n,
        k=k,
        masked=list(made.masked),
        inputs=made.kind,
        producer=producer,
        errors=errors,
        differing=differing,
        refusal=refusal,
    )


def differing(bits: Array, others: Array, masked: Sequence[int]) -> int:
    """Elements of rows that count which are not the same in two D of uint16 [G, M, N]."""
    counts = counting(bits, masked)
    mine, theirs = bits[counts], others[counts]
    neither = np.isnan(values_of(mine)) & np.isnan(values_of(theirs))
    return int(((mine != theirs) & ~neither).sum())


def counting(bits: Array, masked: Sequence[int]) -> Array:
    """Which rows of [G, M, N] count: [G, M]."""
    rows: Array = np.arange(bits.shape[1])[None, :] < np.array(masked)[:, None]
    return rows


def errors_of(bits: Array, reference: Reference, masked: Sequence[int]) -> Errors:
    """The errors of D, bfloat16 as uint16 [G, M, N]; D was POISON before the launch."""
    counts = counting(bits, masked)
    d, exact = values_of(bits[counts]), reference.product[counts]
    finite = np.abs(exact) < OVERFLOW
    both = finite & np.isfinite(d)
    error, exact = np.abs(d[both] - exact[both]), exact[both]
    scale = np.maximum(reference.magnitude[counts][both], LEAST_NORMAL)
    ulps = error / unit_in_the_last_place(exact)
    return Errors(
        norm_wise=_ratio(float(np.linalg.norm(error)), float(np.linalg.norm(exact))),
        componentwise=float((error / scale).max(initial=0.0)),
        ulps=float(ulps.max(initial=0.0)),
        ulps_of_99_percent=float(np.quantile(ulps, 0.99)) if ulps.size else 0.0,
        misplaced=int((finite != np.isfinite(d)).sum()),
        touched=int((bits[~counts] != bits_of_number(POISON)).sum()),
    )


def _ratio(error: float, size: float) -> float:
    return error / size if error else 0.0


def values_of(bits: Array) -> Array:
    """bfloat16 bit patterns as float64."""
    wide: Array = (bits.astype(np.uint32) << 16).view(np.float32)
    return wide.astype(np.float64)


def bits_of_number(number: float) -> int:
    """The bfloat16 pattern of a number that bfloat16 holds."""
    return int(np.array(number, dtype=np.float32).view(np.uint32)) >> 16


def unit_in_the_last_place(numbers: Array) -> Array:
    """Of bfloat16, at each of the finite numbers."""
    _, exponents = np.frexp(numbers)
    exponents = np.where(numbers == 0, LEAST_EXPONENT, exponents - 1)
    units: Array = np.ldexp(1.0, np.maximum(exponents, LEAST_EXPONENT) - MANTISSA_BITS)
    return units


# ---- what is asked of the figures ------------------------------------------------------------


def shortcomings(cells: Sequence[Cell]) -> list[str]:
    """What speaks against the GEMM: errors out of bounds, or greater than another's beside it.

    Greater by however little: who sums in the same order and the same formats errs the same. Where
    elements are not even finite where they must, nothing is compared.
    """
    found: list[str] = []
    mine = {_place(cell): cell.errors for cell in cells if cell.producer == OWN}
    for cell in cells:
        if cell.producer == OWN:
            complaints = _out_of_bounds(cell)
        else:
            complaints = _greater(mine.get(_place(cell)), cell)
        sizes, kind = _place(cell)
        found += [f"{'x'.join(map(str, sizes))}, {kind}: {what}" for what in complaints]
    return found


def _place(cell: Cell) -> tuple[Sizes, str]:
    return (cell.groups, cell.m, cell.n, cell.k), cell.inputs


def _out_of_bounds(cell: Cell) -> list[str]:
    errors = cell.errors
    if errors is None:
        return [f"refused: {cell.refusal}"]
    rules = [
        (
            errors.misplaced > 0,
            f"{errors.misplaced} elements are not finite where they must, or are",
        ),
        (errors.touched > 0, f"{errors.touched} elements of rows that do not count were written"),
        (
            errors.componentwise > COMPONENTWISE_LIMIT,
            f"componentwise error {errors.componentwise:.3g}, above {COMPONENTWISE_LIMIT:.3g}",
        ),
    ]
    return [what for wrong, what in rules if wrong]


def _greater(mine: Errors | None, other: Cell) -> list[str]:
    theirs = other.errors
    if mine is None or theirs is None or mine.misplaced or theirs.misplaced:
        return []
    pairs = (
        ("norm-wise error", mine.norm_wise, theirs.norm_wise),
        ("componentwise error", mine.componentwise, theirs.componentwise),
        ("error in ulps", mine.ulps, theirs.ulps),
        ("error in ulps of 99 %", mine.ulps_of_99_percent, theirs.ulps_of_99_percent),
    )
    return [
        f"{name} {own:.6g}, greater than {other.producer}'s {least:.6g}"
        for name, own, least in pairs
        if own > least
    ]


# ---- on the GPU -----------------------------------------------------------------------------


def gpu_laboratory(beside: str | None) -> Laboratory[Inputs]:
    """The project's GEMM, and the producer MODULE:FUNCTION beside it, on torch's current device.

    Raises `ProducerError` where there is no such function.
    """
    producers: dict[str, Callable[[Inputs], Array]] = {OWN: partial(_computed, _own)}
    if beside is not None:
        producers[beside] = partial(_computed, partial(_foreign, beside, imported(beside)))
    return Laboratory(_loaded, _referred, producers)


def _loaded(made: Case) -> Inputs:
    """On the GPU, A's scales M-major as tensor copies want them."""
    inputs = inputs_of_bytes((made.a, made.a_scales), (made.b, made.b_scales), made.masked)
    problem = check_tensors(inputs.a, inputs.b, inputs.d, inputs.masked_m, made.sizes[1])
    return Inputs(
        (inputs.a[0], m_major(inputs.a[1], problem)),
        inputs.b,
        inputs.d,
        inputs.masked_m,
        inputs.signal,
    )


def _referred(inputs: Inputs) -> Reference:
    return Reference(product(inputs).cpu().numpy(), magnitude(inputs).cpu().numpy())


def _computed(compute: Callable[[Inputs], object], inputs: Inputs) -> Array:
    inputs.d.fill_(POISON)
    compute(inputs)
    bits: Array = bits_of(inputs.d)
    return bits


def _own(inputs: Inputs) -> None:
    m_grouped_fp8_gemm_nt_masked(*_arguments(inputs))


def _foreign(name: str, function: Callable[..., Any], inputs: Inputs) -> None:
    """Called as the public interface has it, with no signal; whatever it raises is its refusal."""
    try:
        function(*_arguments(inputs), enable_overlap=False, signal=None)
    except Exception as error:
        message = f"producer {name} raised {type(error).__name__}: {error}"
        raise ProducerError(message) from error


def _arguments(inputs: Inputs) -> tuple[Any, Any, Any, Any, int]:
    return inputs.a, inputs.b, inputs.d, inputs.masked_m, int(inputs.d.shape[1])
