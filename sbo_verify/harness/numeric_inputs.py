"""Inputs on which a product of scaled e4m3 matrices can go wrong, as bytes and scales on the host.

Every kind is drawn from a seed, for any sizes, and says what it is about. e4m3 values are drawn as
their bytes: sign, four bits of exponent, three of mantissa; 448 is the largest, 2^-9 the least, the
byte 0x7f is NaN and there is no infinity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import erf, sqrt
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Sizes = tuple[int, int, int, int]

BLOCK = 128
NAN, LARGEST, SIGN = 0x7F, 0x7E, 0x80
SUBNORMALS = 8  # bytes without a sign, zero among them
# The largest of 128 normal numbers, at about three deviations, is scaled to 448.
DEVIATION = 448.0 / 3.0
TABLE_BITS = 16


@dataclass(frozen=True)
class Case:
    """One problem: e4m3 bytes and float32 scales in the GEMM's layout, row-major.

    `a` [G, M, K], `a_scales` [G, M, K/128], `b` [G, N, K], `b_scales` [G, ceil(N/128), K/128]; the
    first `masked[g]` rows of group g count.
    """

    kind: str
    sizes: Sizes
    masked: tuple[int, ...]
    a: Array
    a_scales: Array
    b: Array
    b_scales: Array


Kind = Callable[[Case, np.random.Generator], Case]


def e4m3_values() -> Array:
    """The number of each of the 256 bytes, in float64."""
    byte = np.arange(256)
    exponent, mantissa = byte >> 3 & 15, byte & 7
    normal = np.ldexp(1.0 + mantissa / 8, exponent - 7)
    values = np.where(exponent == 0, np.ldexp(mantissa / 8, -6), normal)
    values[byte & NAN == NAN] = np.nan
    return np.where(byte & SIGN, -values, values)


def normal_bytes() -> Array:
    """Bytes as often as normal numbers round to them: an index of TABLE_BITS bits draws one."""
    positive = e4m3_values()[: LARGEST + 1]
    middles = (positive[1:] + positive[:-1]) / 2
    below = np.array([erf(middle / DEVIATION / sqrt(2)) for middle in middles])
    counts = np.rint(below * 2 ** (TABLE_BITS - 1)).astype(int)
    halves = np.repeat(np.arange(LARGEST + 1), np.diff([0, *counts, 2 ** (TABLE_BITS - 1)]))
    return np.concatenate([halves, halves | SIGN]).astype(np.uint8)


def case(kind: str, sizes: Sizes, seed: int, masked: Sequence[int] | None = None) -> Case:
    """Inputs of one kind; the same seed makes the same. Raises `KeyError` for an unknown kind.

    Without `masked`, groups are full, partial, empty and of one row by turns.
    """
    change, _ = KINDS[kind]
    order = list(KINDS).index(kind)
    made = np.random.Generator(np.random.Philox(key=[seed, order]))
    groups, m, n, k = sizes
    rows = masked or [(m, 2 * m // 3, 0, 1)[group % 4] for group in range(groups)]
    table = normal_bytes()

    def drawn(*shape: int) -> Any:  # noqa: ANN401 - numpy's own types for an index by an array
        return table[made.integers(0, 2**TABLE_BITS, shape, dtype=np.uint16)]

    def scales(*shape: int) -> Array:
        return np.exp2(made.uniform(-9, -7, shape)).astype(np.float32)

    plain = Case(
        kind,
        sizes,
        tuple(rows),
        a=drawn(groups, m, k),
        a_scales=scales(groups, m, k // BLOCK),
        b=drawn(groups, n, k),
        b_scales=scales(groups, -(-n // BLOCK), k // BLOCK),
    )
    return change(plain, made)


def _with_scales(c: Case, made: np.random.Generator, low: float, high: float) -> Case:
    """Scales that are no powers of two, between 2^low and 2^high."""
    a_scales, b_scales = (
        np.exp2(made.uniform(low, high, like.shape)).astype(np.float32)
        for like in (c.a_scales, c.b_scales)
    )
    return replace(c, a_scales=a_scales, b_scales=b_scales)


def _with_bytes(c: Case, draw: Callable[[Array], Array]) -> Case:
    return replace(c, a=draw(c.a), b=draw(c.b))


def _signed(made: np.random.Generator, below: int, like: Array) -> Array:
    """Bytes of both signs, below `below` without it."""
    drawn: Any = made.integers(0, 2 * below, like.shape, dtype=np.uint8)
    signed: Array = np.where(drawn < below, drawn, drawn - below | SIGN).astype(np.uint8)
    return signed


def _normal(c: Case, _: np.random.Generator) -> Case:
    return c


def _whole(c: Case, made: np.random.Generator) -> Case:
    """-2 to 2, and scales that are powers of two between 1/4 and 2: no sum is rounded."""
    whole = np.array([0xC0, 0xB8, 0, 0x38, 0x40], dtype=np.uint8)

    a_scales, b_scales = (
        np.exp2(made.integers(-2, 2, like.shape)).astype(np.float32)
        for like in (c.a_scales, c.b_scales)
    )
    drawn = _with_bytes(c, lambda like: whole[made.integers(0, 5, like.shape)])
    return replace(drawn, a_scales=a_scales, b_scales=b_scales)


def _every_value(c: Case, made: np.random.Generator) -> Case:
    return _with_bytes(c, lambda like: _signed(made, LARGEST + 1, like))


def _subnormal_values(c: Case, made: np.random.Generator) -> Case:
    return _with_bytes(c, lambda like: _signed(made, SUBNORMALS, like))


def _wide_scales(c: Case, made: np.random.Generator) -> Case:
    return _with_scales(c, made, -40, 40)


def _absorbed(c: Case, _: np.random.Generator) -> Case:
    """A product of 448 x 448 in every 128 of K, and 127 of 2^-16 to 2^-10 of it, all positive."""
    a, b = (0x40 | each & 0x1F for each in (c.a, c.b))
    a[..., 5::BLOCK] = LARGEST
    b[..., 5::BLOCK] = LARGEST
    return replace(c, a=a, b=b)


def _zeros(c: Case, made: np.random.Generator) -> Case:
    """Nine values of ten, one 128 of K in two, one row in eight, some scales; both signs."""

    def sparse(like: Array) -> Array:
        kept = made.random(like.shape, dtype=np.float32) < 0.1  # noqa: PLR2004 - as above
        thinned: Array = np.where(kept, like, like & SIGN)
        blocks = thinned.reshape(*like.shape[:-1], -1, BLOCK)
        blocks[..., ::2, :] &= SIGN
        thinned[:, ::8] &= SIGN
        return thinned

    a_scales = np.where(made.random(c.a_scales.shape) < 0.1, np.float32(0), c.a_scales)  # noqa: PLR2004 - some
    return replace(_with_bytes(c, sparse), a_scales=a_scales)


def _cancel_within(c: Case, _: np.random.Generator) -> Case:
    """Neighbours in K cancel, except the last two of every 128, which are a sixteenth as large."""
    a, b = c.a.copy(), c.b.copy()
    a[..., 1::2] = a[..., ::2] ^ SIGN
    b[..., 1::2] = b[..., ::2]
    for k in (BLOCK - 2, BLOCK - 1):
        a[..., k::BLOCK] = _sixteenth(c.a[..., k::BLOCK])
        b[..., k::BLOCK] = _sixteenth(c.b[..., k::BLOCK])
    return replace(c, a=a, b=b)


def _sixteenth(values: Array) -> Array:
    """Four less in the exponent, where it has them."""
    smaller: Array = np.where(values & NAN < 4 << 3, values, values - (4 << 3))
    return smaller.astype(np.uint8)


def _cancel_across(c: Case, _: np.random.Generator) -> Case:
    """The second half of K takes the first one back; the last 128 remain, a thousandth in size."""
    blocks = c.a_scales.shape[-1]
    half = (blocks - 1) // 2
    a, b, a_scales, b_scales = (each.copy() for each in (c.a, c.b, c.a_scales, c.b_scales))
    first, second = slice(0, half * BLOCK), slice(half * BLOCK, 2 * half * BLOCK)
    a[..., second], b[..., second] = a[..., first] ^ SIGN, b[..., first]
    for scales in (a_scales, b_scales):
        scales[..., half : 2 * half] = scales[..., :half]
        scales[..., 2 * half :] *= np.float32(2**-5)
    return replace(c, a=a, b=b, a_scales=a_scales, b_scales=b_scales)


def _huge_results(c: Case, made: np.random.Generator) -> Case:
    """Up to about 2^120, of 2^128 that bfloat16 and FP32 reach."""
    return _with_scales(c, made, 45, 47)


def _subnormal_scales(c: Case, made: np.random.Generator) -> Case:
    """Products of scales below FP32's normal numbers; results are normal again."""
    return _with_scales(c, made, -66, -64)


def _subnormal_results(c: Case, made: np.random.Generator) -> Case:
    """Below bfloat16's normal numbers, of e4m3's subnormals."""
    return _with_scales(_subnormal_values(c, made), made, -61, -59)


def _nan_values(c: Case, _: np.random.Generator) -> Case:
    """In a row of A that counts, in one that does not count, and in a row of B: a column of D."""
    a, b = c.a.copy(), c.b.copy()
    groups, m, k = a.shape
    for group in range(groups):
        for row in {c.masked[group] // 2, min(c.masked[group], m - 1)}:
            a[group, row, (7 * group) % k] = NAN
        b[group, 3 * group % b.shape[1], k - 1] = NAN | SIGN
    return replace(c, a=a, b=b)


def _infinite_scales(c: Case, _: np.random.Generator) -> Case:
    """Infinity, and NaN, as the scale of rows of A, and of 128 columns of D."""
    a_scales, b_scales = c.a_scales.copy(), c.b_scales.copy()
    groups, m, _blocks = a_scales.shape
    for group in range(groups):
        a_scales[group, c.masked[group] // 2, 0] = np.inf
        a_scales[group, c.masked[group] // 3, -1] = np.nan
        a_scales[group, min(c.masked[group], m - 1), 0] = -np.inf
    b_scales[0, b_scales.shape[1] // 2, -1] = np.inf
    return replace(c, a_scales=a_scales, b_scales=b_scales)


# Name, and what it is about.
KINDS: dict[str, tuple[Kind, str]] = {
    "normal": (_normal, "normal numbers, scaled as inference does it"),
    "whole": (_whole, "small whole numbers: only the last rounding remains"),
    "every_value": (_every_value, "every finite e4m3 number, each as often: 2^-9 to 448"),
    "subnormal_values": (_subnormal_values, "e4m3's subnormals and zeros alone"),
    "wide_scales": (_wide_scales, "scales between 2^-40 and 2^40"),
    "absorbed": (_absorbed, "one product of 448 x 448 in every 128 of K, the others small"),
    "zeros": (_zeros, "nine of ten values, half of K, rows and scales are zeros of both signs"),
    "cancel_within": (_cancel_within, "neighbours in K cancel, two small products of 128 remain"),
    "cancel_across": (_cancel_across, "the second half of K takes the first back"),
    "huge_results": (_huge_results, "results up to 2^120"),
    "subnormal_scales": (_subnormal_scales, "products of scales are FP32 subnormals"),
    "subnormal_results": (_subnormal_results, "results are bfloat16 subnormals"),
    "nan_values": (_nan_values, "NaN in rows of A, also where no row counts, and in a row of B"),
    "infinite_scales": (_infinite_scales, "infinity and NaN among the scales of A and of B"),
}
