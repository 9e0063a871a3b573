"""What registers hold, as far as it matters: a number for each thread, or the buffer of an address.

A value is one of three. `Lanes`: a number for each of the CTA's 1,024 possible `%tid.x`, computed
from `%tid.x` and constants alone. `Term`: an expression of kernel parameters, special registers and
constants that a thread finds the same whenever it computes it. None: unknown. A register that
several instructions write, or that memory was loaded into, is unknown; unknown stays unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sbo_verify.compiled.inspection.text import Op

CTA_THREADS = 1024
WARP = 32
ALL_THREADS = (1 << CTA_THREADS) - 1

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Lanes:
    """One number for each `%tid.x`."""

    numbers: Numbers


@dataclass(frozen=True, slots=True)
class Term:
    """An expression that stays the same for a thread while the kernel runs."""

    text: str
    base: str = ""


Value = Lanes | Term | None

_TID = np.arange(CTA_THREADS, dtype=np.int64)
_NUMBER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|\d+)U?")
_ADDRESS = re.compile(r"\[\s*([%\w$'.]+|\d+)\s*(?:\+\s*(-?\w+))?\s*\]")
_STABLE_SPECIAL = (
    "%tid",
    "%ntid",
    "%ctaid",
    "%nctaid",
    "%laneid",
    "%warpid",
    "%cluster_",
    "%envreg",
)
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
# Compute the same whenever the operands are the same.
_PURE_OPCODES = """
    abs add and bfe bfi bfind brev clz cnot cvt cvta div lop3 mad mad24 mapa max min mov mul mul24
    neg not or popc prmt rem sad selp setp shf shl shr slct sub xor elect shfl isspacep
"""
_PURE = frozenset(_PURE_OPCODES.split())


def defined(op: Op) -> tuple[str, ...]:
    """The registers that an instruction writes."""
    head = op.mnemonic.split(".")[0]
    if not op.operands or head in {"st", "red", "bra", "bar", "barrier", "cp", "fence", "membar"}:
        if head in {"bar", "barrier"} and ".red" in op.mnemonic:
            return (op.operands[0],)
        return ()
    return tuple(
        name
        for name in re.split(r"[{},|()\s]+", op.operands[0])
        if name.startswith("%") or "'" in name or _is_name(name)
    )


def _is_name(word: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z_$][\w$']*", word)) and word != "_"


class Values:
    """The values of one function's registers, resolved on demand.

    `threads` bounds `%tid.x`. Registers with several definitions are unknown.
    """

    def __init__(self, ops: Sequence[Op], *, flat: bool) -> None:
        self.flat = flat
        self._definitions: dict[str, list[Op]] = {}
        for op in ops:
            for register in defined(op):
                self._definitions.setdefault(register, []).append(op)
        self._known: dict[str, Value] = {}

    def definition(self, register: str) -> Op | None:
        """The only instruction that writes `register`, executed by every thread that reads it."""
        found = self._definitions.get(register, [])
        return found[0] if len(found) == 1 and found[0].guard is None else None

    def definitions(self, register: str) -> Sequence[Op]:
        """All instructions that write `register`."""
        return self._definitions.get(register, [])

    def of(self, operand: str) -> Value:
        """What an operand holds."""
        operand = operand.strip()
        if _NUMBER.fullmatch(operand):
            return _constant(int(operand.removesuffix("U"), 0))
        if operand in self._known:
            return self._known[operand]
        self._known[operand] = None  # A register that is computed from itself is unknown.
        self._known[operand] = self._of_name(operand)
        return self._known[operand]

    def _of_name(self, name: str) -> Value:
        if name == "%tid.x":
            return Lanes(_TID)
        if name == "%laneid" and self.flat:
            return Lanes(_TID % WARP)
        if name.startswith(_STABLE_SPECIAL):
            return Term(name)
        if name not in self._definitions:
            # A variable's name: its address. Special registers that change are unknown.
            return None if name.startswith("%") else Term(name, base=name)
        op = self.definition(name)
        if op is not None:
            return self._computed(op, name)
        return self._common_buffer(name)

    def _common_buffer(self, name: str) -> Value:
        """A register with several definitions, all of them addresses in one buffer."""
        bases: set[str] = set()
        for op in self._definitions[name]:
            if name in op.operands[1:]:
                continue  # Moved on by a step: the buffer stays.
            value = self._computed(op, name)
            bases.add(value.base if isinstance(value, Term) else "")
        base = bases.pop() if len(bases) == 1 else ""
        return Term(f"?{name}", base) if base else None

    def _computed(self, op: Op, name: str) -> Value:  # noqa: PLR0911 - one return for each kind
        head, *words = op.mnemonic.split(".")
        if head == "ld":
            return self._parameter(op) if "param" in words or "const" in words else None
        if head not in _PURE or not op.operands:
            return None
        if "|" in op.operands[0] and head != "elect" and not op.operands[0].startswith(f"{name}|"):
            return None  # The second result is another value.
        if head == "elect":
            return (
                Term(f"elect({op.operands[-1]})")
                if op.operands[-1] in {"-1", "0xFFFFFFFF", "4294967295"}
                else None
            )
        inputs = [self.of(each) for each in op.operands[1:]]
        if any(each is None for each in inputs):
            return self._based(head, op, inputs)
        if all(isinstance(each, Lanes) for each in inputs):
            found = _lanes(
                head, words, [each.numbers for each in inputs if isinstance(each, Lanes)]
            )
            if found is not None:
                return Lanes(found)
        if head == "shfl":
            return None
        if head in {"mov", "cvta"} and isinstance(inputs[0], Term):
            return inputs[0]  # The same address, in whichever space it is written.
        text = ",".join(_text(each) for each in inputs)
        return Term(f"{op.mnemonic}({text})", _base(head, inputs))

    def _parameter(self, op: Op) -> Value:
        match = _ADDRESS.fullmatch(op.operands[1])
        if match is None or op.operands[0].startswith("{"):
            return None
        inner = self.of(match[1])
        if not isinstance(inner, Term):
            return None
        text = f"param {inner.text}+{match[2] or 0}"
        return Term(text, base=text if op.mnemonic.endswith("64") else "")

    def _based(self, head: str, op: Op, inputs: Sequence[Value]) -> Value:
        """An address with an unknown offset still belongs to its buffer; its text is unknown."""
        base = _base(head, inputs) if head in {"add", "mov", "cvta", "mad", "cvt"} else ""
        unknown = f"?{op.line}"
        return Term(unknown, base) if base else None

    def address(self, operand: str) -> Term | None:
        """The address operand `[register+offset]` as an expression with its base."""
        match = _ADDRESS.search(operand)
        if match is None:
            return None
        found = self.of(match[1])
        if isinstance(found, Lanes) or found is None:
            return None
        return Term(f"{found.text}+{match[2] or 0}", found.base)

    def register_of(self, operand: str) -> str:
        """The register that an address operand names."""
        match = _ADDRESS.search(operand)
        return match[1] if match else operand


def stable(value: Value) -> bool:
    """Whether the value is wholly known: an unknown offset makes an expression useless for that."""
    return isinstance(value, Lanes) or (isinstance(value, Term) and "?" not in value.text)


def _constant(number: int) -> Lanes:
    number = (number + (1 << 63)) % (1 << 64) - (1 << 63)
    return Lanes(np.full(CTA_THREADS, number, dtype=np.int64))


def _text(value: Value) -> str:
    if isinstance(value, Lanes):
        numbers = value.numbers
        same = bool((numbers == numbers[0]).all())
        return str(int(numbers[0])) if same else f"tid:{hash(numbers.tobytes())}"
    return value.text if value is not None else "?"


def _base(head: str, inputs: Sequence[Value]) -> str:
    """The buffer of a computed address: that of the only input that has one."""
    if head not in {"add", "sub", "mov", "cvta", "mad", "cvt", "or"}:
        return ""
    bases = {each.base for each in inputs if isinstance(each, Term) and each.base}
    return bases.pop() if len(bases) == 1 else ""


def _lanes(  # noqa: C901, PLR0911 - one branch for each opcode
    head: str, words: Sequence[str], inputs: Sequence[Numbers]
) -> Numbers | None:
    """The result for every thread, None for what is not computed here."""
    signed = any(word in {"s32", "s64", "s16"} for word in words)
    wide = any(word in {"u64", "s64", "b64"} for word in words)
    result: Numbers | None = None
    if head == "setp":
        compare = _COMPARE.get(words[0])
        if compare is None or len(inputs) != 2 or (len(words) > 2 and words[1] != "s32"):  # noqa: PLR2004 - two sides of a comparison
            return None
        a, b = (_wrapped(each, signed=signed, wide=wide) for each in inputs)
        return compare(a, b).astype(np.int64)
    if head in _ARITHMETIC and len(inputs) == 2 and "hi" not in words and "cc" not in words:  # noqa: PLR2004 - two operands
        a, b = (_wrapped(each, signed=signed, wide=wide) for each in inputs)
        result = _ARITHMETIC[head](a, b)
        if head in {"div", "rem"} and signed and bool((a < 0).any()):
            return None
        if "pred" in words:
            return result
    elif head in {"mov", "cvt", "cvta"} and len(inputs) == 1:
        result = inputs[0]
        if head == "cvt" and not {"u32", "s32", "u64", "s64"}.issuperset(words):
            return None
    elif head == "not" and "pred" in words:
        return 1 - inputs[0]
    elif head == "selp":
        result = np.where(inputs[2] != 0, inputs[0], inputs[1])
    elif head == "shfl" and "idx" in words and bool((inputs[1] == inputs[1][0]).all()):
        lane = int(inputs[1][0])
        source = _TID // WARP * WARP + lane
        whole = bool((inputs[2] == WARP - 1).all()) and 0 <= lane < WARP
        return inputs[0][source] if whole else None
    if result is None:
        return None
    return _wrapped(result, signed=signed, wide=wide or "wide" in words)


def _wrapped(numbers: Numbers, *, signed: bool, wide: bool) -> Numbers:
    if wide:
        return numbers
    low = numbers & 0xFFFFFFFF
    return np.where(low >= 1 << 31, low - (1 << 32), low) if signed else low
