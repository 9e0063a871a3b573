"""The GEMM's arithmetic on the host, and ways to get it wrong, for tests of what must notice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sbo_verify.device.gemm_inputs import POISON
from sbo_verify.harness.numeric_inputs import BLOCK, Array, Case, e4m3_values
from sbo_verify.harness.numerics import OWN, Laboratory, Reference, bits_of_number

OTHER = "other"
Rounding = Callable[[Array], Array]


def nearest(sums: Array) -> Array:
    """FP32 to bfloat16's bits, to nearest, ties to even; overflow becomes infinity."""
    wide = sums.astype(np.float32).view(np.uint32)
    rounded = (wide + 0x7FFF + (wide >> 16 & 1)) >> 16
    return np.where(np.isfinite(sums), rounded, wide >> 16 | np.isnan(sums)).astype(np.uint16)


def truncated(sums: Array) -> Array:
    """FP32 to bfloat16's bits, towards zero: twice the error."""
    return (sums.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def scaled_products(case: Case) -> list[tuple[Array, Array]]:
    """Of every 128 of K: the scales' products and the values' products, in FP32, [G, M, N] each."""
    table = e4m3_values()
    groups, m, n, k = case.sizes
    a = table[case.a].reshape(groups, m, -1, BLOCK)
    b = table[case.b].reshape(groups, n, -1, BLOCK)
    b_scales = np.repeat(case.b_scales, BLOCK, axis=1)[:, :n]
    return [
        (
            case.a_scales[:, :, None, block] * b_scales[:, None, :, block],
            np.einsum("gmk,gnk->gmn", a[:, :, block], b[:, :, block]).astype(np.float32),
        )
        for block in range(k // BLOCK)
    ]


def simulated(
    case: Case, *, rounding: Rounding = nearest, flushing: bool = False, narrow: bool = False
) -> Array:
    """D's bits: FP32 sums under the scales of every 128 of K, rounded once.

    `flushing`: FP32 subnormals count as zero. `narrow`: the sum is rounded in every step.
    """
    groups, m, n, _ = case.sizes
    sums = np.zeros((groups, m, n), dtype=np.float32)
    with np.errstate(all="ignore"):
        for scale, product in scaled_products(case):
            flushed = np.where(np.abs(scale) < np.finfo(np.float32).tiny, np.float32(0), scale)
            sums += (flushed if flushing else scale) * product
            if narrow:
                sums = (rounding(sums).astype(np.uint32) << 16).view(np.float32)
    d = np.full(sums.shape, bits_of_number(POISON), dtype=np.uint16)
    counts = np.arange(m)[None, :] < np.array(case.masked)[:, None]
    d[counts] = rounding(sums[counts])
    return d


def reference(case: Case) -> Reference:
    """The FP64 product of the dequantized inputs, and that of their absolute values."""
    table = e4m3_values()
    with np.errstate(all="ignore"):
        a = table[case.a] * np.repeat(case.a_scales, BLOCK, axis=2).astype(np.float64)
        scales = np.repeat(np.repeat(case.b_scales, BLOCK, axis=1), BLOCK, axis=2)
        b = table[case.b] * scales[:, : case.sizes[2]].astype(np.float64)
        return Reference(a @ b.transpose(0, 2, 1), np.abs(a) @ np.abs(b).transpose(0, 2, 1))


def laboratory(own: Callable[[Case], Array], **others: Callable[[Case], Array]) -> Laboratory[Case]:
    """Producers on the host; a case is loaded as it is."""
    return Laboratory(lambda case: case, reference, {OWN: own, **others})
