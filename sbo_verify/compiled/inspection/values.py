"""What registers hold, as far as it matters: a number for each thread, or the buffer of an address.

A value is one of three. `Lanes`: a number for each of the CTA's 1,024 possible `%tid.x`, computed
from `%tid.x` and constants alone. `Term`: an expression of kernel parameters, special registers and
constants that a thread finds the same whenever it computes it. None: unknown. A register that
several instructions write, or that memory was loaded into, is unknown; unknown stays unknown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from sbo_verify.compiled.inspection.lanes import CTA_THREADS, TID, WARP, Numbers, computed, constant
from sbo_verify.compiled.inspection.text import Op

ALL_THREADS = (1 << CTA_THREADS) - 1


@dataclass(frozen=True, eq=False)
class Lanes:
    """One number for each `%tid.x`."""

    numbers: Numbers


@dataclass(frozen=True, slots=True)
class Term:
    """An expression that stays the same for a thread while the kernel runs.

    `base` is the buffer that it points into; `root` and `offset` split off what constants add.
    """

    text: str
    base: str = ""
    root: str = ""
    offset: int = 0


Value = Lanes | Term | None

# Words in an expression that is not the same for all threads of a CTA.
PER_THREAD = ("tid", "laneid", "warpid", "elect", "shfl", "?")
LONGEST_TEXT = 200
_PENDING = Term("pending")
_ABSENT = Term("absent")
_NUMBER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|\d+)U?")
_BITS = re.compile(r"[usbf](8|16|32|64)$")
_REGISTER = re.compile(r"[%A-Za-z_$][\w$.']*")
_ADDRESS = re.compile(r"\[\s*([%\w$'.]+|\d+)\s*(?:\+\s*(-?(?:0[xX][0-9a-fA-F]+|\d+)))?\s*\]")
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
# Compute the same whenever the operands are the same.
_PURE_OPCODES = """
    abs add and bfe bfi bfind brev clz cnot cvt cvta div lop3 mad mad24 mapa max min mov mul mul24
    neg not or popc prmt rem sad selp setp shf shl shr slct sub xor elect shfl isspacep
"""
_PURE = frozenset(_PURE_OPCODES.split())


_WRITES_NONE = {"st", "red", "bra", "brx", "bar", "barrier", "cp", "fence", "membar"}


def defined(op: Op) -> tuple[str, ...]:
    """The registers that an instruction writes."""
    return _defined(op.mnemonic, op.operands[0]) if op.operands else ()


@lru_cache(maxsize=1 << 16)
def _defined(mnemonic: str, operand: str) -> tuple[str, ...]:
    head = mnemonic.split(".", maxsplit=1)[0]
    if head in _WRITES_NONE:
        return (operand,) if head in {"bar", "barrier"} and ".red" in mnemonic else ()
    return tuple(
        name
        for name in re.split(r"[{},|()\s]+", operand)
        if name.startswith("%") or "'" in name or _is_name(name)
    )


def _is_name(word: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z_$][\w$']*", word)) and word != "_"


class Values:
    """The values of one function's registers, resolved on demand.

    `threads` bounds `%tid.x`. Registers with several definitions are unknown.
    """

    def __init__(self, ops: Sequence[Op], *, flat: bool, entry: bool = True) -> None:
        self.flat = flat
        self.entry = entry
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
            return Lanes(constant(_number(operand.removesuffix("U"))))
        if operand not in self._known:
            self._resolve(operand)
        return self._known[operand]

    def _resolve(self, operand: str) -> None:
        """Resolve what a register is computed from first; long chains must not recurse."""
        pending = [operand]
        while pending:
            name = pending[-1]
            if name in self._known:
                if self._known[name] is _PENDING:
                    self._known[name] = None  # A register computed from itself is unknown.
                    self._known[name] = self._of_name(name)
                pending.pop()
                continue
            self._known[name] = _PENDING
            pending += [
                word
                for op in self._definitions.get(name, [])
                for each in op.operands[1:]
                for word in _REGISTER.findall(each)
                if word not in self._known
            ]

    def _peek(self, operand: str) -> Value:
        """What an operand of a register's definition holds; unknown while it is being resolved."""
        found = self._known.get(operand.strip(), _ABSENT)
        return None if found is _PENDING else self.of(operand)

    def _of_name(self, name: str) -> Value:
        if name == "%tid.x":
            return Lanes(TID)
        if name == "%laneid" and self.flat:
            return Lanes(TID % WARP)
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

    def _computed(self, op: Op, name: str) -> Value:
        head, *words = op.mnemonic.split(".")
        if head == "ld":
            return self._parameter(op, name) if "param" in words or "const" in words else None
        if head not in _PURE or not op.operands:
            return None
        inputs = [self._peek(each) for each in op.operands[1:]]
        if head == "elect":
            whole = len(inputs) == 1 and uniform(inputs[0]) in {-1, 0xFFFFFFFF}
            return Term("elect(-1)") if whole else None
        second = "|" in op.operands[0] and not op.operands[0].startswith(f"{name}|")
        if second or not inputs:
            return None  # The second result is another value.
        if any(each is None for each in inputs):
            return self._based(head, op, inputs)
        return self._combined(op, inputs)

    def _combined(self, op: Op, inputs: Sequence[Value]) -> Value:
        """What known inputs are made into."""
        head, *words = op.mnemonic.split(".")
        if all(isinstance(each, Lanes) for each in inputs):
            found = computed(
                head, words, [each.numbers for each in inputs if isinstance(each, Lanes)]
            )
            if found is not None:
                return Lanes(found)
        if head == "shfl":
            return None
        if head in {"mov", "cvta"} and isinstance(inputs[0], Term):
            return inputs[0]  # The same address, in whichever space it is written.
        if head == "add" and (found_sum := _moved(inputs)) is not None:
            return found_sum
        text = _shortened(",".join(_text(each) for each in inputs))
        return Term(f"{op.mnemonic}({text})", _base(head, inputs))

    def _parameter(self, op: Op, name: str) -> Value:
        """A kernel parameter, or one of several that a vector load takes together."""
        match = _ADDRESS.fullmatch(op.operands[1]) if len(op.operands) > 1 else None
        inner = self._peek(match[1]) if match is not None else None
        if match is None or not isinstance(inner, Term):
            return None
        bits = _BITS.search(op.mnemonic)
        names = op.operands[0].strip("{}").replace(" ", "").split(",")
        if name not in names or bits is None:
            return None
        step = names.index(name) * int(bits[1]) // 8
        # What a function is called with may be another value for each thread.
        of = "param" if self.entry else "param of each tid"
        text = f"{of} {_plus(inner, _number(match[2] or '0') + step).text}"
        return Term(text, base=text if bits[1] == "64" else "")

    def _based(self, head: str, op: Op, inputs: Sequence[Value]) -> Value:
        """An address with an unknown offset still belongs to its buffer; its text is unknown."""
        base = _base(head, inputs) if head in {"add", "mov", "cvta", "mad", "cvt"} else ""
        unknown = f"?{op.line}"
        pointer = any(
            value is None and self._loaded(operand)
            for operand, value in zip(op.operands[1:], inputs, strict=True)
        )
        return Term(unknown, base) if base and not pointer else None

    def _loaded(self, operand: str) -> bool:
        """Whether 64 bits are loaded from memory: it may be they that are the address."""
        op = self.definition(operand.strip())
        return op is not None and op.mnemonic.startswith("ld.") and op.mnemonic.endswith("64")

    def address(self, operand: str) -> Term | None:
        """The address operand `[register+offset]` as an expression with its base."""
        match = _ADDRESS.search(operand)
        if match is None:
            return None
        found = self.of(match[1])
        if isinstance(found, Lanes) or found is None:
            return None
        return _plus(found, _number(match[2] or "0"))

    def register_of(self, operand: str) -> str:
        """The register that an address operand names."""
        match = _ADDRESS.search(operand)
        return match[1] if match else operand


def _moved(inputs: Sequence[Value]) -> Term | None:
    """The sum of an expression and a constant."""
    for one, other in (inputs, inputs[::-1]) if len(inputs) == 2 else ():  # noqa: PLR2004 - a sum
        if isinstance(one, Term) and isinstance(other, Lanes) and stable(one):
            numbers = other.numbers
            if bool((numbers == numbers[0]).all()):
                return _plus(one, int(numbers[0]))
    return None


def _plus(term: Term, step: int) -> Term:
    root, offset = term.root or term.text, term.offset + step
    return Term(f"{root}+{offset}" if offset else root, term.base, root, offset)


def uniform(value: Value) -> int | None:
    """The number that all threads find, None where they may differ."""
    if not isinstance(value, Lanes):
        return None
    first = int(value.numbers[0])
    return first if bool((value.numbers == first).all()) else None


def stable(value: Value) -> bool:
    """Whether the value is wholly known: an unknown offset makes an expression useless for that."""
    return isinstance(value, Lanes) or (isinstance(value, Term) and "?" not in value.text)


def _number(text: str) -> int:
    """An integer of PTX: hexadecimal, octal behind a 0, or decimal."""
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-")
    octal = digits.startswith("0") and not {"8", "9", "x", "X"}.intersection(digits)
    return sign * int(digits, 16 if digits[:2] in {"0x", "0X"} else 8 if octal else 10)


def _shortened(text: str) -> str:
    """An expression by its digest where it is long: sums of sums would double with each step.

    The words that say whether threads differ in it are kept.
    """
    if len(text) <= LONGEST_TEXT:
        return text
    kept = " ".join(word for word in (*PER_THREAD, "cluster_cta") if word in text)
    return f"#{sha256(text.encode()).hexdigest()[:32]} {kept}"


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
