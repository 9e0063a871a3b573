"""Arithmetic of machine code as PTX writes it, for what decides who executes what, and where.

Only what the analysis of values looks at is translated: thread numbers, predicates, addresses of
parameters. Everything else assigns an unknown value. An address is followed by its lower register.
Source of the words: CUDA Binary Utilities, "Instruction Set Reference"; of the tables of bits,
PTX ISA, "lop3".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sbo_verify.compiled.elf import KernelFacts
from sbo_verify.compiled.inspection.machine_logic import (
    FALSE,
    TRUE,
    BitWords,
    Lifted,
    NotFollowedError,
    PredicateWords,
    logic,
)
from sbo_verify.compiled.inspection.machine_names import Names
from sbo_verify.compiled.inspection.text import split_operands
from sbo_verify.compiled.sass import SassInstruction

# Assigns what is not followed. A word of PTX that orders nothing and whose value is never computed.
UNKNOWN = "match.any.sync.b32"
# Copies a register of each thread into one of the warp; PTX has them alike.
FROM_VECTOR = "mov.s32"
SHARED_MEMORY = "shared_memory"
# What a barrier makes of the predicates that threads bring, until B2R asks for it.
BARRIER_RESULT = "%barrier_result"

_REGISTER = re.compile(r"U?[RP](?:\d+|Z|T)")
PREDICATE = re.compile(r"!?U?P(?:\d+|T|R)(?:\.B\d)?")
_NUMBER = re.compile(r"-?(?:0x[0-9a-f]+|\d+)")
_CONSTANT = re.compile(r"(-?)c\[0x0\]\[((?:U?R\d+\+)?0x[0-9a-f]+|U?R\d+|U?RZ)\]")
_ADDRESS = re.compile(r"(?:g?desc\[[^\]]*\])?\[([^\]]*)\]")
_SPECIAL = {
    **{f"SR_TID.{each}": f"%tid.{each.lower()}" for each in "XYZ"},
    **{f"SR_CTAID.{each}": f"%ctaid.{each.lower()}" for each in "XYZ"},
    "SR_LANEID": "%laneid",
    "SR_CgaCtaId": "%cluster_ctarank",
}
# Where the driver puts the shape of a CTA, by where it puts the parameters.
_FIRST_LAYOUT = {0x0: "%ntid.x", 0x4: "%ntid.y", 0x8: "%ntid.z"}
_SHAPE = {
    **dict.fromkeys((0x160, 0x210), _FIRST_LAYOUT),
    0x380: {0x360: "%ntid.x", 0x364: "%ntid.y", 0x368: "%ntid.z"},
}
_COMPARE = {"EQ", "NE", "LT", "LE", "GT", "GE"}
# The window of a CTA's shared memory lies at this multiple of its rank in the cluster.
_WINDOW_SHIFT = "0x18"


@dataclass
class Translator:
    """The values of one function: `emit` collects the PTX of one instruction after the other.

    `window` is the only constant that shared memory is addressed from; None where there are several
    and objects in it cannot be told apart.
    """

    names: Names
    facts: KernelFacts
    window: str | None
    index: int = 0
    out: list[Lifted] = field(default_factory=list)

    def value(self, index: int, instruction: SassInstruction) -> list[Lifted]:
        """The PTX for an instruction that computes; it assigns all that the instruction does."""
        self.index, self.out = index, []
        written = set(self.names.accesses(index).writes)
        try:
            target, (mnemonic, inputs) = self._followed(instruction, written)
            self.out.append((mnemonic, (self.names.written(index, target), *inputs)))
            written.discard(target)
        except NotFollowedError:
            self.out = []
        self.out += self.unknown(index, written)
        return self.out

    def _followed(self, instruction: SassInstruction, written: set[str]) -> tuple[str, Lifted]:
        """The register whose value is followed, and what it holds."""
        root, *modifiers = instruction.words
        handler = _HANDLERS.get(root) or _HANDLERS.get(root.removeprefix("U"))
        operands = split_operands(instruction.operands)
        target = next((each for each in operands if each in written), "")
        if handler is None or not target or not handler.modifiers.issuperset(modifiers):
            raise NotFollowedError
        return target, handler.translate(self, instruction, operands, target)

    def unknown(self, index: int, registers: set[str]) -> Iterator[Lifted]:
        """An unknown value for each of some registers, which depends on all that is read."""
        reads = sorted(self.names.accesses(index).reads)
        inputs = tuple(self.names.read(index, each) for each in reads)
        if self.names.instruction(index).words[0] == "B2R":
            inputs = (*inputs, BARRIER_RESULT)
        for register in sorted(registers):
            yield UNKNOWN, (self.names.written(index, register), *inputs)

    def temporary(self, mnemonic: str, *inputs: str) -> str:
        """The name of an intermediate value."""
        name = f"%t{len(self.out)}_{self.index * 16:x}"
        self.out.append((mnemonic, (name, *inputs)))
        return name

    def source(self, text: str) -> str:
        """What an operand holds, as an operand of PTX."""
        text = text.removesuffix(".reuse").removesuffix(".64").removesuffix(".U32")
        if text in {"RZ", "URZ", "SRZ"}:
            return "0"
        if _NUMBER.fullmatch(text):
            return str(int(text, 0))
        if (match := _CONSTANT.fullmatch(text)) is not None:
            mnemonic, inputs = self.parameter(match[2], wide=False)
            found = self.temporary(mnemonic, *inputs)
            return self.temporary("sub.s32", "0", found) if match[1] else found
        if text.startswith("-"):
            return self.temporary("sub.s32", "0", self.source(text[1:]))
        if text.startswith("~"):
            return self.temporary("xor.b32", self.source(text[1:]), "-1")
        if _REGISTER.fullmatch(text) and text in self.names.accesses(self.index).reads:
            return self.names.read(self.index, text)
        raise NotFollowedError(text)

    def predicate(self, text: str) -> str:
        """The name of a predicate that is read, negated where it says so."""
        text = text.removesuffix(".reuse")
        name = text.removeprefix("!")
        if name in {"PT", "UPT"}:
            mnemonic, inputs = TRUE if name == text else FALSE
            return self.temporary(mnemonic, *inputs)
        if name not in self.names.accesses(self.index).reads:
            raise NotFollowedError(text)
        found = self.names.read(self.index, name)
        return found if name == text else self.temporary("not.pred", found)

    def parameter(self, place: str, *, wide: bool) -> Lifted:
        """A load from constant bank 0; a pointer is what is loaded whole, or has 8 bytes.

        What lies before the parameters is the driver's: descriptors and the shape of the launch.
        """
        bank, offset = self.facts.bank, self._offset(place)
        if bank in _SHAPE and not wide and (name := _SHAPE[bank].get(offset)) is not None:
            return "mov.u32", (name,)
        inside = bank is not None and offset >= bank
        pointer = inside and (wide or (offset - (bank or 0), 8) in self.facts.parameters)
        return "ld.param.u64" if pointer else "ld.param.u32", (f"[constants+{offset}]",)

    def _offset(self, place: str) -> int:
        """The offset in a constant bank: a number, and a register where that holds a known one."""
        offset = 0
        for part in place.split("+"):
            if _NUMBER.fullmatch(part):
                offset += int(part, 0)
            elif part not in {"RZ", "URZ"}:
                offset += self._number(part)
        return offset

    def _number(self, register: str) -> int:
        index = self.names.assigned_by(self.index, register)
        if index is not None and self.names.instruction(index).words[0] in {"MOV", "UMOV"}:
            held = split_operands(self.names.instruction(index).operands)[-1]
            if _NUMBER.fullmatch(held) or held in {"RZ", "URZ"}:
                return 0 if held in {"RZ", "URZ"} else int(held, 0)
        raise NotFollowedError(register)

    def address(self, operand: str) -> str:
        """An address operand with one register and a number, as PTX has it."""
        match = _ADDRESS.search(operand)
        if match is None:
            raise NotFollowedError(operand)
        registers, offset = [], 0
        for part in match[1].split("+"):
            text = part.strip()
            if _NUMBER.fullmatch(text):
                offset += int(text, 0)
            elif text.split(".")[0] not in {"RZ", "URZ"}:
                registers.append(self.source(text))
        if not registers:
            return f"[{offset}]"
        base, *others = registers
        for other in others:
            base = self.temporary("add.u64", base, other)
        return f"[{base}+{offset}]"


Translate = Callable[[Translator, SassInstruction, list[str], str], Lifted]


@dataclass(frozen=True, slots=True)
class Handler:
    """How an opcode is translated, and the only modifiers that it may have."""

    translate: Translate
    modifiers: frozenset[str]


def _move(t: Translator, i: SassInstruction, operands: list[str], target: str) -> Lifted:
    match = _CONSTANT.fullmatch(operands[-1])
    if match is not None and not match[1]:
        return t.parameter(match[2], wide="64" in i.words)
    if operands[0] != target:
        raise NotFollowedError
    return "mov.b32", (t.source(operands[-1]),)


def _special(_t: Translator, _i: SassInstruction, operands: list[str], _target: str) -> Lifted:
    name = operands[-1]
    if name in _SPECIAL:
        return "mov.u32", (_SPECIAL[name],)
    if name.startswith("SR_TID"):
        return UNKNOWN, ("%tid.y",)  # Packed: the CTA may have more than one dimension.
    raise NotFollowedError


def _sources(operands: list[str], target: str) -> list[str]:
    """Sources of an instruction: what stands behind its target and the carries beside it."""
    rest = operands[operands.index(target) + 1 :]
    return [each for each in rest if not PREDICATE.fullmatch(each)]


def _sum(t: Translator, terms: list[str]) -> Lifted:
    known = [each for each in map(t.source, terms) if each != "0"]
    if not known:
        return "mov.b32", ("0",)
    first, *others = known
    if not others:
        return "mov.b32", (first,)
    for each in others[:-1]:
        first = t.temporary("add.u32", first, each)
    return "add.u32", (first, others[-1])


def _add(t: Translator, _i: SassInstruction, operands: list[str], target: str) -> Lifted:
    return _sum(t, _sources(operands, target))


def _multiply_add(t: Translator, i: SassInstruction, operands: list[str], target: str) -> Lifted:
    a, b, c = _sources(operands, target)
    if (match := _CONSTANT.fullmatch(c)) is not None and {a, b} <= {"RZ", "URZ"}:
        return t.parameter(match[2], wide=False)
    left, right, base = t.source(a), t.source(b), t.source(c)
    wide = "WIDE" in i.words
    if "0" in {left, right}:
        return "mov.b32", (base,)
    kind = "u32" if "U32" in i.words or not wide else "s32"
    product_ = (
        left if right == "1" else t.temporary(f"mul.{'wide' if wide else 'lo'}.{kind}", left, right)
    )
    if base == "0":
        return "mov.b64" if wide else "mov.b32", (product_,)
    return "add.u64" if wide else "add.u32", (product_, base)


def _scaled_add(t: Translator, i: SassInstruction, operands: list[str], target: str) -> Lifted:
    a, b, *rest = _sources(operands, target)
    if "HI" in i.words:
        # The upper half of a 64-bit value that is shifted left: the lower one shifted right.
        if len(rest) != 2 or rest[0] not in {"RZ", "URZ"}:  # noqa: PLR2004 - upper half and shift
            raise NotFollowedError
        shifted = t.temporary("shr.u32", t.source(a), str(32 - int(rest[1], 0)))
        return "add.u32", (shifted, t.source(b))
    if len(rest) != 1:
        raise NotFollowedError
    if rest[0] == _WINDOW_SHIFT and t.window is not None and _is_window(t, a):
        return "mov.u32", (SHARED_MEMORY,)
    left, base = t.source(a), t.source(b)
    return "add.u32", (t.temporary("shl.b32", left, str(int(rest[0], 0))), base)


def _is_window(t: Translator, rank: str) -> bool:
    """Whether an operand is the CTA's rank in its cluster: what lies above is its shared memory."""
    found = t.names.assigned_by(t.index, rank.removesuffix(".reuse"))
    return found is not None and t.names.instruction(found).operands.endswith("SR_CgaCtaId")


def _shift(t: Translator, i: SassInstruction, operands: list[str], target: str) -> Lifted:
    low, count, high = _sources(operands, target)
    if "R" in i.words and low in {"RZ", "URZ"} and "HI" in i.words:
        kind = "s32" if "S32" in i.words else "u32"
        return f"shr.{kind}", (t.source(high), t.source(count))
    if "L" in i.words and high in {"RZ", "URZ"} and "HI" not in i.words and "U32" in i.words:
        return "shl.b32", (t.source(low), t.source(count))
    raise NotFollowedError


def _select(t: Translator, _i: SassInstruction, operands: list[str], _target: str) -> Lifted:
    _, a, b, chosen = operands
    yes, no = t.source(a), t.source(b)
    if chosen.startswith("!"):
        yes, no, chosen = no, yes, chosen[1:]
    return "selp.b32", (yes, no, t.predicate(chosen))


def _compare(t: Translator, i: SassInstruction, operands: list[str], target: str) -> Lifted:
    _, comparison, *words = i.words
    if comparison not in _COMPARE or operands[0] != target:
        raise NotFollowedError
    kind = "u32" if "U32" in words else "s32"
    a, b = t.source(operands[2]), t.source(operands[3])
    plain: Lifted = (f"setp.{comparison.lower()}.{kind}", (a, b))
    other = operands[4]
    if ("AND" in words and other in {"PT", "UPT"}) or ("OR" in words and other in {"!PT", "!UPT"}):
        return plain
    joined = "and" if "AND" in words else "or"
    found = t.temporary(plain[0], *plain[1])
    return f"{joined}.pred", (found, t.predicate(other))


def _predicate_logic(
    t: Translator, _i: SassInstruction, operands: list[str], target: str
) -> Lifted:
    if operands[0] != target:
        raise NotFollowedError
    fixed = {"PT": True, "UPT": True, "!PT": False, "!UPT": False}
    inputs = [fixed.get(each, each) for each in operands[2:5]]
    return logic(inputs, int(operands[5], 0), PredicateWords(t))


def _word_logic(t: Translator, _i: SassInstruction, operands: list[str], target: str) -> Lifted:
    table = int(operands[-2], 0)
    if operands[-1] not in {"!PT", "!UPT"}:
        raise NotFollowedError
    inputs = [False if each in {"RZ", "URZ"} else each for each in operands[-5:-2]]
    found = logic(inputs, table, BitWords(t))
    if not PREDICATE.fullmatch(operands[0]) or operands[0] in {"PT", "UPT"}:
        return found
    if operands[0] != target:
        raise NotFollowedError
    return "setp.ne.s32", (t.temporary(found[0], *found[1]), "0")


def _shuffle(t: Translator, i: SassInstruction, operands: list[str], target: str) -> Lifted:
    if "IDX" not in i.words or operands[0] != "PT" or operands[1] != target:
        raise NotFollowedError
    return "shfl.sync.idx.b32", tuple(t.source(each) for each in operands[2:5])


def _to_uniform(t: Translator, i: SassInstruction, operands: list[str], target: str) -> Lifted:
    if operands[0] != target or i.predicate:
        raise NotFollowedError
    return FROM_VECTOR, (t.source(operands[1]),)


def _handler(translate: Translate, modifiers: str = "") -> Handler:
    return Handler(translate, frozenset(modifiers.split()))


_HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(("MOV", "CS2R"), _handler(_move)),
    **dict.fromkeys(("LDC", "LDCU"), _handler(_move, "64")),
    "S2R": _handler(_special),
    "S2UR": _handler(_special),
    **dict.fromkeys(("IADD3", "VIADD", "IADD"), _handler(_add, "64")),
    "IMAD": _handler(_multiply_add, "MOV U32 IADD SHL WIDE"),
    "LEA": _handler(_scaled_add, "HI"),
    "SHF": _handler(_shift, "L R U32 S32 HI"),
    "SEL": _handler(_select),
    "ISETP": _handler(_compare, " ".join([*sorted(_COMPARE), "U32 AND OR"])),
    "PLOP3": _handler(_predicate_logic, "LUT"),
    "LOP3": _handler(_word_logic, "LUT"),
    "SHFL": _handler(_shuffle, "IDX"),
    "R2UR": _handler(_to_uniform),
}
