"""Machine code of anybody's cubin as functions of PTX, so that one analysis judges both.

Each instruction becomes the PTX that it stands for, under its address in place of a line: registers
under names that hold one value, ordering words put together, predicates as guards. What the words
do on the chip NVIDIA does not document; what they stand for is in `compiled.lowering`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sbo_verify.compiled.elf import KernelFacts, embedded_ptx, kernel_facts, read_elf
from sbo_verify.compiled.inspection.machine_flow import MachineFlow, flow_of
from sbo_verify.compiled.inspection.machine_names import Names
from sbo_verify.compiled.inspection.machine_ops import Lifter, label_of
from sbo_verify.compiled.inspection.machine_values import (
    SHARED_MEMORY,
    UNKNOWN,
    Translator,
)
from sbo_verify.compiled.inspection.machine_warps import settled
from sbo_verify.compiled.inspection.machine_words import put_together
from sbo_verify.compiled.inspection.text import Function, Mark, Module, Op, split_operands
from sbo_verify.compiled.nvdisasm import Disassembly, disassemble_with_registers
from sbo_verify.compiled.sass import SassError, SassFunction, SassInstruction
from sbo_verify.compiled.sass_registers import Access

_ENDS = {"EXIT", "RET", "KILL"}
_JUMPS = {"BRX", "BRXU", "JMX", "JMXU", "JMP"}
_ALWAYS = {"", "@PT", "@UPT"}
_NEVER = {"@!PT", "@!UPT"}
_WINDOW_SHIFT = "0x18"


class Address(int):
    """An address in a function, which is printed as one, and the instruction that stands there.

    `parts` are the words elsewhere that belong to it.
    """

    instruction: SassInstruction | None = None
    parts: tuple[SassInstruction, ...] = ()

    @classmethod
    def of(cls, instruction: SassInstruction, parts: Iterable[SassInstruction]) -> Address:
        """The address of an instruction."""
        address = cls(instruction.address)
        address.instruction = instruction
        address.parts = tuple(parts)
        return address

    def __str__(self) -> str:
        return f"{int(self):#06x}"

    __repr__ = __str__


@dataclass
class MachineModule(Module):
    """The functions of a cubin, whose lines are addresses.

    `sections` has where each function's code begins in the cubin, `ptx` the text that the cubin was
    made from, where it has that, `refused` the functions that cannot be read, and why.
    """

    target: str = ""
    sections: dict[str, int] = field(default_factory=dict)
    ptx: str | None = None
    refused: dict[str, str] = field(default_factory=dict)

    def machine_code(self, op: Op) -> SassInstruction | None:
        """The instruction of the cubin that stands for `op`."""
        return op.line.instruction if isinstance(op.line, Address) else None

    def parts(self, op: Op) -> tuple[SassInstruction, ...]:
        """The other words of what `op` stands for, such as the MEMBAR of a release."""
        return op.line.parts if isinstance(op.line, Address) else ()


def read_cubin(content: bytes, base: int = 0) -> MachineModule:
    """The functions of a cubin that begins at byte `base` of the file it was found in.

    Raises `ContainerError` for a file that is cut short, `DisassemblerError` where nvdisasm is
    missing or refuses it, `SassError` for a listing that cannot be read.
    """
    elf = read_elf(content, base)
    facts = {
        name: kernel_facts(elf, name)
        for each in elf.sections
        if (name := each.name.removeprefix(".text.")) != each.name
    }
    if not facts:
        return MachineModule([], {})
    module = module_of(disassemble_with_registers(content), facts)
    module.ptx = embedded_ptx(elf)
    module.sections = {
        each.name.removeprefix(".text."): each.offset
        for each in elf.sections
        if each.name.startswith(".text.")
    }
    return module


def module_of(code: Disassembly, facts: dict[str, KernelFacts]) -> MachineModule:
    """The functions of a disassembly as PTX; those that cannot be read stand in `refused`."""
    module = MachineModule([], {}, frozenset({SHARED_MEMORY}), code.listing.target)
    numbers: dict[str, int] = {}
    for name, function in code.listing.functions.items():
        known = facts.get(name, KernelFacts())
        try:
            lifted = _Function(function, code.registers.get(name, {}), known).body(numbers)
        except SassError as error:
            module.refused[name] = str(error)
            continue
        body = Function(name, known.bank is not None, Address(0), lifted, known.threads)
        body.machine_code = True
        module.functions.append(body)
    module.files = {number: file for file, number in numbers.items()}
    return module


class _Function:
    """One function on its way to PTX."""

    def __init__(
        self, function: SassFunction, accesses: dict[int, Access], facts: KernelFacts
    ) -> None:
        self._function = function
        self._flow = flow_of(function)
        self._names = Names(
            function, accesses, self._flow.successors, self._flow.clobbered(accesses)
        )
        window = _window(function, self._names)
        blocks = list(_blocks(self._flow))
        words = put_together(self._names, blocks, self._flow.successors)
        self._heads = {block.start for block in blocks}
        self._lifter = Lifter(Translator(self._names, facts, window), words, self._flow)

    def body(self, numbers: dict[str, int]) -> list[Op | Mark]:
        """The PTX of all that a thread comes to; `numbers` counts the source files."""
        items: list[Op | Mark] = []
        for index in sorted(self._flow.reachable):
            each = self._function.instructions[index]
            parts_at = self._lifter.words.parts.get(index, [])
            address = Address.of(each, (self._function.instructions[i] for i in parts_at))
            if index in self._heads:
                items.append(Mark(address, label_of(index)))
            if each.predicate in _NEVER:
                continue
            loc = None
            if each.source is not None:
                loc = (numbers.setdefault(each.source[0], len(numbers) + 1), each.source[1])
            for parts in self._ops(index, each):
                items.append(Op(address, *parts, loc, len(items)))
        for new in settled(items):
            items[new.place] = new
        return items

    def _ops(
        self, index: int, each: SassInstruction
    ) -> Iterator[tuple[str, tuple[str, ...], tuple[str, bool] | None]]:
        guard = self._guard(index, each)
        root = each.words[0]
        if root in _ENDS:
            yield "exit", (), guard
        elif root in _JUMPS:
            yield from self._jump(index, each)
        elif root == "BRA":
            yield from self._branch(index, each, guard)
        else:
            for mnemonic, operands in self._lifter.lift(index):
                # What an address is computed from is not executed conditionally.
                inner = bool(operands) and operands[0].startswith("%t")
                yield mnemonic, operands, None if inner else guard

    def _guard(self, index: int, each: SassInstruction) -> tuple[str, bool] | None:
        if each.predicate in _ALWAYS:
            return None
        text = each.predicate.removeprefix("@")
        return self._names.read(index, text.removeprefix("!")), not text.startswith("!")

    def _jump(
        self, index: int, each: SassInstruction
    ) -> Iterator[tuple[str, tuple[str, ...], tuple[str, bool] | None]]:
        """To one of several places, which of them is not known."""
        targets = list(self._flow.successors[index])
        if each.predicate not in _ALWAYS:
            targets = targets[1:]
        last = targets.pop() if each.predicate in _ALWAYS else None
        for number, target in enumerate(targets):
            name = f"%any{number}_{each.address:x}"
            yield UNKNOWN, (name,), None
            yield "bra", (label_of(target),), (name, True)
        if last is not None:
            yield "bra", (label_of(last),), None

    def _branch(
        self, index: int, each: SassInstruction, guard: tuple[str, bool] | None
    ) -> Iterator[tuple[str, tuple[str, ...], tuple[str, bool] | None]]:
        after = self._flow.successors[index]
        if after == [index + 1]:
            return
        conditions = [] if guard is None else [guard]
        for text in split_operands(each.operands)[:-1]:
            name = text.removeprefix("!")
            if name.startswith(("P", "UP")) and name not in {"PT", "UPT"}:
                conditions.append((self._names.read(index, name), name == text))
        address = f"{each.address:x}"
        if set(each.words[1:]) - {"U"}:
            # It asks what other threads of the warp do.
            yield UNKNOWN, (f"%any_{address}",), None
            conditions.append((f"%any_{address}", True))
        target = label_of(after[-1])
        if len(conditions) > 1:
            for number, (name, wanted) in enumerate(conditions):
                yield ("mov.pred" if wanted else "not.pred"), (f"%t{number}_{address}", name), None
            parts = tuple(f"%t{number}_{address}" for number in range(len(conditions)))
            yield "and.pred", (f"%tt_{address}", *parts), None
            yield "bra", (target,), (f"%tt_{address}", True)
        elif conditions:
            yield "bra", (target,), conditions[0]
        else:
            yield "bra", (target,), None


def _blocks(flow: MachineFlow) -> Iterator[range]:
    """Runs of reachable instructions that are entered at the first and left behind the last."""
    heads = {0} if flow.reachable else set()
    for index in flow.reachable:
        after = flow.successors[index]
        if after != [index + 1]:
            heads.update(each for each in (*after, index + 1) if each in flow.reachable)
    joined = sorted(heads)
    for start in joined:
        stop = start
        while stop in flow.reachable and (stop == start or stop not in heads):
            stop += 1
        yield range(start, stop)


def _window(function: SassFunction, names: Names) -> str | None:
    """The constant that every address in shared memory is counted from; None where there are more.

    Its base is `rank << 24` plus that constant; static objects have constants of their own.
    """
    found: set[str] = set()
    for index, each in enumerate(function.instructions):
        operands = split_operands(each.operands)
        if each.words[0] not in {"LEA", "ULEA"} or operands[-1] != _WINDOW_SHIFT:
            continue
        constant = names.assigned_by(index, operands[-2].removesuffix(".reuse"))
        if constant is None:
            return None
        found.add(split_operands(names.instruction(constant).operands)[-1])
    return found.pop() if len(found) == 1 else None
