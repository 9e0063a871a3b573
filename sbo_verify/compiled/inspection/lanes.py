"""Numbers for each of a CTA's possible `%tid.x`, and what PTX arithmetic makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

CTA_THREADS = 1024
WARP = 32

Numbers = npt.NDArray[np.int64]

TID: Numbers = np.arange(CTA_THREADS, dtype=np.int64)
_ARITHMETIC: dict[str, Callable[[Numbers, Numbers], Numbers]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "min": np.minimum,
    "max": np.maximum,
    "shl": lambda a, b: np.left_shift(a, np.clip(b, 0, 63)),
    "shr": lambda a, b: np.right_shift(a, np.clip(b, 0, 63)),
    "div": lambda a, b: np.where(b == 0, 0, a // np.where(b == 0, 1, b)),
    "rem": lambda a, b: np.where(b == 0, 0, a % np.where(b == 0, 1, b)),
}
_COMPARE: dict[str, Callable[[Numbers, Numbers], npt.NDArray[np.bool_]]] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "lo": np.less,
    "ls": np.less_equal,
    "hi": np.greater,
    "hs": np.greater_equal,
}
_LEAST = {"selp": 3, "shfl": 3}


@cache
def constant(number: int) -> Numbers:
    """The same number for all, as 64 bits hold it."""
    number = (number + (1 << 63)) % (1 << 64) - (1 << 63)
    return np.full(CTA_THREADS, number, dtype=np.int64)


def computed(  # noqa: C901, PLR0911 - one branch for each opcode
    head: str, words: Sequence[str], inputs: Sequence[Numbers]
) -> Numbers | None:
    """The result for every thread, None for what is not computed here."""
    if not inputs or len(inputs) < _LEAST.get(head, 1):
        return None
    signed = any(word in {"s32", "s64", "s16"} for word in words)
    wide = any(word in {"u64", "s64", "b64"} for word in words)
    result: Numbers | None = None
    if head == "setp":
        compare = _COMPARE.get(words[0]) if words else None
        if compare is None or len(inputs) != 2 or (len(words) > 2 and words[1] != "s32"):  # noqa: PLR2004 - two sides of a comparison
            return None
        a, b = (_wrapped(each, signed=signed, wide=wide) for each in inputs)
        kind = np.uint64 if wide and not signed else np.int64
        return compare(a.astype(kind), b.astype(kind)).astype(np.int64)
    if head in _ARITHMETIC and len(inputs) == 2 and "hi" not in words and "cc" not in words:  # noqa: PLR2004 - two operands
        a, b = (_wrapped(each, signed=signed, wide=wide) for each in inputs)
        result = _ARITHMETIC[head](a, b)
        if head in {"div", "rem"} and signed and bool((a < 0).any()):
            return None
        if "pred" in words:
            return result
    elif head in {"mov", "cvt", "cvta"} and len(inputs) == 1:
        result = inputs[0]
        if head == "cvt":
            return _converted(words, result)
    elif head == "not" and "pred" in words:
        return 1 - inputs[0]
    elif head == "selp":
        result = np.where(inputs[2] != 0, inputs[0], inputs[1])
    elif head == "shfl" and "idx" in words and bool((inputs[1] == inputs[1][0]).all()):
        lane = int(inputs[1][0])
        source = TID // WARP * WARP + lane
        whole = bool((inputs[2] == WARP - 1).all()) and 0 <= lane < WARP
        return inputs[0][source] if whole else None
    if result is None:
        return None
    return _wrapped(result, signed=signed, wide=wide or "wide" in words)


def _converted(words: Sequence[str], numbers: Numbers) -> Numbers | None:
    """`cvt` between integers: what is read is of the second type."""
    if len(words) != 2 or not {"u32", "s32", "u64", "s64"}.issuperset(words):  # noqa: PLR2004 - to and from
        return None
    for word in reversed(words):
        numbers = _wrapped(numbers, signed=word.startswith("s"), wide=word.endswith("64"))
    return numbers


def _wrapped(numbers: Numbers, *, signed: bool, wide: bool) -> Numbers:
    if wide:
        return numbers
    low = numbers & 0xFFFFFFFF
    return np.where(low >= 1 << 31, low - (1 << 32), low) if signed else low
