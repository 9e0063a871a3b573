"""A second engine for the PTX memory model: a logic program, solved by clingo.

`facts` states a program as facts for `ptx_model.lp`, which holds the axioms; `outcomes` gives every
way in which the program can end. What the logic program has no rule for is refused: loops, barriers
with a thread count, a barrier or bulk group in a thread that branches, relaxed arrivals behind a
fence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import clingo

from sbo_verify.model.condition import MemoryAt, RegisterOf, evaluate
from sbo_verify.model.program import (
    Atomic,
    Barrier,
    Branch,
    BulkCopy,
    CommitGroup,
    Fence,
    Instruction,
    Label,
    Load,
    Local,
    MbarrierArrive,
    MbarrierWait,
    Program,
    ProxyFence,
    Require,
    Store,
    Value,
    WaitGroup,
)
from sbo_verify.model.readings import AsyncFence
from sbo_verify.vocabulary import Order, Scope, Space

RULES = Path(__file__).with_name("ptx_model.lp")
COMPARISONS = {"==": "eq", "!=": "ne", ">=": "ge", "<=": "le", ">": "gt", "<": "lt"}
OPERATIONS = {"add", "sub", "mul", "and", "or", "xor", "min", "max", "mov"}
GROWING = {"add", "sub", "mul", "or", "xor"}
# Named one by one, so that an instruction that the model learns later is refused and not ignored.
PHASED = (Barrier, CommitGroup, WaitGroup, MbarrierArrive, MbarrierWait, BulkCopy)
COVERED = (*PHASED, Load, Store, Atomic, Fence, ProxyFence, Local, Branch, Label, Require)
# Larger values than this are refused: tables of results grow with the square of the domain.
LARGEST_VALUE = 64

Term = RegisterOf | MemoryAt
Outcome = tuple[int, ...]


class NotCoveredError(ValueError):
    """A program that the logic program has no rule for; the message says what it holds."""


@dataclass(frozen=True)
class Answer:
    """The outcomes under each reading, as values of `terms` in their order."""

    terms: tuple[Term, ...]
    outcomes: dict[AsyncFence, frozenset[Outcome]]

    def condition_holds(self, program: Program, reading: AsyncFence) -> bool:
        """Is the last line of the litmus file true, as `judge_litmus` has it?"""
        known = [dict(zip(self.terms, end, strict=True)) for end in self.outcomes[reading]]
        truths = [evaluate(program.condition, values) for values in known]
        if program.quantifier == "forall":
            return all(truths)
        return any(truths) == (program.quantifier == "exists")


@cache
def rules() -> str:
    """The logic program."""
    return RULES.read_text(encoding="utf-8")


def outcomes(program: Program, terms: Iterable[Term], logic: str | None = None) -> Answer:
    """Every end of the program, seen by `terms`, under both readings of the async fence.

    Raises `NotCoveredError` for a program that the logic program says nothing about.
    """
    asked = tuple(terms)
    text = "\n".join([*facts(program), *_questions(program, asked)])
    control = clingo.Control(["0", "--project=show", "--warn=none"])
    control.add("base", [], (rules() if logic is None else logic) + text)
    control.ground([("base", [])])
    found: dict[AsyncFence, set[Outcome]] = {choice: set() for choice in AsyncFence}
    with control.solve(yield_=True) as handle:
        for model in handle:
            reading, outcome = _read(program, asked, model.symbols(shown=True))
            found[reading].add(outcome)
    if not _depends_on_reading(program):
        found[AsyncFence.LENIENT] = found[AsyncFence.STRICT]
    return Answer(asked, {choice: frozenset(ends) for choice, ends in found.items()})


def _depends_on_reading(program: Program) -> bool:
    return any(
        isinstance(ins, BulkCopy) for thread in program.threads for ins in thread.instructions
    )


def _questions(program: Program, asked: tuple[Term, ...]) -> Iterator[str]:
    yield f"offered({AsyncFence.STRICT.value})."
    if _depends_on_reading(program):
        yield f"offered({AsyncFence.LENIENT.value})."
    for term in asked:
        if isinstance(term, RegisterOf):
            yield f'asked_register({term.thread},"{term.register}").'
        else:
            yield f'asked_memory("{term.address}").'


def _read(
    program: Program, asked: tuple[Term, ...], symbols: Iterable[clingo.Symbol]
) -> tuple[AsyncFence, Outcome]:
    """The reading of an answer set and the values of `asked` in it."""
    reading = AsyncFence.STRICT
    known: dict[Term, int] = {}
    for symbol in symbols:
        arguments = symbol.arguments
        if symbol.name == "outside":
            message = (
                f"{program.name}: a value is greater than {_largest(program)}, the domain's end"
            )
            raise NotCoveredError(message)
        if symbol.name == "reading":
            reading = AsyncFence(arguments[0].name)
        elif symbol.name == "ends":
            known[RegisterOf(arguments[0].number, arguments[1].string)] = arguments[2].number
        else:
            known[MemoryAt(arguments[0].string)] = arguments[1].number
    return reading, tuple(known[term] for term in asked)


def facts(program: Program) -> Iterator[str]:
    """The program as facts."""
    _refuse(program)
    largest = _largest(program)
    yield f"domain({-largest if _goes_below_zero(program) else 0}..{largest})."
    for address in {place.address for place in program.locations.values()}:
        place = program.locations[address]
        yield f'memory("{address}","{place.memory}"). space("{address}",{place.space.value}).'
    for memory in {place.memory for place in program.locations.values()}:
        yield f'initially("{memory}",{program.initial.get(memory, 0)}).'
    for index, thread in enumerate(program.threads):
        yield f"thread({index}). length({index},{len(thread.instructions)})."
        for scope in Scope:
            unit = str(thread.placement.unit(scope)).replace('"', "'")
            yield f'unit({index},{scope.value},"{unit}").'
        yield from _registers(program, index)
        labels = {
            ins.name: at for at, ins in enumerate(thread.instructions) if isinstance(ins, Label)
        }
        for at, instruction in enumerate(thread.instructions):
            where = f"{index},{at}"
            yield f"instr({where})."
            yield from _instruction(program, index, where, instruction, labels)
    arrivals = [
        ins.mbarrier
        for thread in program.threads
        for ins in thread.instructions
        if isinstance(ins, MbarrierArrive)
    ]
    for name, count in program.arrivals.items():
        yield f'mbarrier("{name}").'
        if arrivals.count(name) < count:
            yield f'short("{name}").'


def _registers(program: Program, index: int) -> Iterator[str]:
    thread = program.threads[index]
    starts = dict(thread.registers)
    named = set(starts)
    for instruction in thread.instructions:
        if isinstance(instruction, (Load, Atomic, Local)) and instruction.register is not None:
            named.add(instruction.register)
        named.update(value for value in _values(instruction) if isinstance(value, str))
    for register in sorted(named):
        yield f'starts({index},"{register}",{starts.get(register, 0)}).'


def _values(instruction: Instruction) -> tuple[Value, ...]:
    """The operands of an instruction that are constants or registers."""
    if isinstance(instruction, Store):
        return (instruction.value,)
    if isinstance(instruction, Atomic):
        return instruction.operands
    if isinstance(instruction, (Local, Branch, Require)):
        return (instruction.left, instruction.right)
    return ()


def _operand(value: Value) -> str:
    return f"number({value})" if isinstance(value, int) else f'register("{value}")'


def _instruction(
    program: Program, index: int, where: str, ins: Instruction, labels: dict[str, int]
) -> Iterator[str]:
    """The facts of one instruction; `where` is its thread and place."""
    for value in _values(ins):
        yield f"operand({where},{_operand(value)})."
    if isinstance(ins, (Load, Store, Atomic)):
        yield f'target({where},"{program.locations[ins.address].address}").'
        yield f"through({where},{ins.proxy.name.lower()})."
    if isinstance(ins, (Load, Store, Atomic, Fence, MbarrierArrive, MbarrierWait)):
        yield f"ordered({where},{ins.order.value})."
        if ins.scope is not None and ins.order is not Order.VOLATILE:
            yield f"scoped({where},{ins.scope.value})."
    if isinstance(ins, (Load, Atomic)) and ins.register is not None:
        yield f'sets({where},"{ins.register}").'
    if isinstance(ins, Atomic):
        yield from _atomic(where, ins)
    elif isinstance(ins, (Local, Branch, Require)):
        yield from _on_registers(where, ins, labels)
    elif isinstance(ins, Barrier):
        yield from _barrier(program, index, where, ins)
    elif isinstance(ins, BulkCopy):
        yield from _bulk_copy(program, where, ins)
    else:
        yield from _plain(where, ins)


def _plain(where: str, ins: Instruction) -> Iterator[str]:
    """What kind of instruction it is, where that is all that is left to say."""
    if isinstance(ins, ProxyFence):
        yield f"proxy_fence({where},{ins.proxy.name.lower()},{ins.space.value})."
    elif isinstance(ins, MbarrierArrive):
        yield f'arrive({where},"{ins.mbarrier}").'
        yield from [f"expects({where})."] * ins.expects
    elif isinstance(ins, MbarrierWait):
        yield f'try_wait({where},"{ins.mbarrier}").'
    elif isinstance(ins, WaitGroup):
        yield f"bulk_wait({where},{ins.groups})."
        yield from [f"sources_only({where})."] * ins.source_only
    elif isinstance(ins, (Load, Store, Fence, CommitGroup)):
        kinds = {Load: "load", Store: "store", Fence: "fence", CommitGroup: "commit"}
        yield f"{kinds[type(ins)]}({where})."


def _atomic(where: str, ins: Atomic) -> Iterator[str]:
    yield f"atomic({where})."
    first = _operand(ins.operands[0])
    if ins.operation == "cas":
        yield f"cas({where},{first}). new({where},{_operand(ins.operands[1])})."
    elif ins.operation == "exch":
        yield f"exch({where},{first})."
    else:
        yield f"update({where},{ins.operation},{first}). used({ins.operation})."


def _on_registers(
    where: str, ins: Local | Branch | Require, labels: dict[str, int]
) -> Iterator[str]:
    left, right = _operand(ins.left), _operand(ins.right)
    if isinstance(ins, Local):
        yield f'local({where},"{ins.register}",{ins.operation},{left},{right}).'
        yield f'used({ins.operation}). sets({where},"{ins.register}").'
        return
    comparison = COMPARISONS.get(ins.comparison, "always")
    yield f"compares({comparison})."
    if isinstance(ins, Branch):
        yield f"jump({where},{labels[ins.label]},{comparison},{left},{right})."
    else:
        yield f"require({where},{comparison},{left},{right})."


def _barrier(program: Program, index: int, where: str, ins: Barrier) -> Iterator[str]:
    place = program.threads[index].placement
    unit = str(place.unit(Scope.CLUSTER if ins.unit == "cluster" else Scope.CTA))
    warp = place.warp if ins.unit == "warp" else None
    yield f'bar({where},"{ins.unit} {unit} {warp} {ins.resource}").'.replace("'", "")
    arrives, waits = ins.arrival
    yield from [f"arrives({where})."] * arrives + [f"waits({where})."] * waits
    if not ins.ordered:
        yield f"relaxed_arrival({where})."


def _bulk_copy(program: Program, where: str, ins: BulkCopy) -> Iterator[str]:
    yield f"copy({where})."
    for number, (destination, source) in enumerate(ins.pairs):
        to, of = (program.locations[name].address for name in (destination, source))
        yield f'pair({where},{number},"{to}","{of}").'
    if ins.mbarrier is not None:
        yield f'signals({where},"{ins.mbarrier}").'
    if ins.operation is not None:
        yield f"reduces({where},{ins.operation}). used({ins.operation})."


def _largest(program: Program) -> int:
    """No chain of writes reaches beyond this: every instruction stands in it once."""
    constants = [abs(value) for value in program.initial.values()]
    constants += [abs(value) for thread in program.threads for _, value in thread.registers]
    grown, doubled = 0, 1
    for thread in program.threads:
        for ins in thread.instructions:
            numbers = [abs(value) for value in _values(ins) if isinstance(value, int)]
            operation = getattr(ins, "operation", None)
            if operation not in GROWING:
                constants += numbers
            elif isinstance(ins, BulkCopy) or any(isinstance(v, str) for v in _values(ins)):
                doubled *= 2
            if operation in GROWING:
                grown += sum(numbers)
    return (max(constants, default=0) + grown) * doubled


def _goes_below_zero(program: Program) -> bool:
    values = list(program.initial.values())
    for thread in program.threads:
        for ins in thread.instructions:
            values += [value for value in _values(ins) if isinstance(value, int)]
            values += [-1] if getattr(ins, "operation", None) == "sub" else []
    return min(values, default=0) < 0


def _refuse(program: Program) -> None:
    """Raise for what the logic program has no rule for."""
    for thread in program.threads:
        for complaint in _complaints(program, thread.instructions):
            message = f"{program.name}, {thread.name}: {complaint}"
            raise NotCoveredError(message)
    if _largest(program) > LARGEST_VALUE:
        message = f"{program.name}: values up to {_largest(program)}, {LARGEST_VALUE} are covered"
        raise NotCoveredError(message)
    for name, count in program.arrivals.items():
        arrived = sum(
            isinstance(ins, MbarrierArrive) and ins.mbarrier == name
            for thread in program.threads
            for ins in thread.instructions
        )
        if arrived > count:
            message = f"{program.name}: mbarrier {name} has more arrivals than its phase takes"
            raise NotCoveredError(message)


def _complaints(program: Program, instructions: tuple[Instruction, ...]) -> Iterator[str]:
    labels = {ins.name: at for at, ins in enumerate(instructions) if isinstance(ins, Label)}
    fenced = any(isinstance(ins, Fence) for ins in instructions)
    for at, ins in enumerate(instructions):
        operation = getattr(ins, "operation", None)
        if not isinstance(ins, COVERED):
            yield f"an instruction without rules ({ins.text})"
        if operation is not None and operation not in OPERATIONS | {"cas", "exch"}:
            yield f"the operation {operation}"
        if isinstance(ins, Branch):
            if labels[ins.label] <= at:
                yield f"a loop ({ins.text})"
            if any(isinstance(other, PHASED) for other in instructions):
                yield "a branch in a thread with barriers or bulk copies"
        if isinstance(ins, Barrier) and not (ins.count is None and isinstance(ins.resource, int)):
            yield f"a barrier with a thread count or with its number in a register ({ins.text})"
        if fenced and _is_relaxed(ins):
            yield f"a relaxed arrival or wait beside a fence ({ins.text})"
    if _has_narrow_fence(program) and any(
        program.locations[name].space is Space.ANY
        for ins in instructions
        if isinstance(ins, BulkCopy)
        for pair in ins.pairs
        for name in pair
    ):
        yield "a fence of one state space and a bulk copy of a location with none"


def _is_relaxed(ins: Instruction) -> bool:
    """An arrival or a wait that a fence beside it could make release or acquire."""
    if isinstance(ins, (MbarrierArrive, MbarrierWait)):
        return ins.order is Order.RELAXED
    return isinstance(ins, Barrier) and not ins.ordered


def _has_narrow_fence(program: Program) -> bool:
    return any(
        isinstance(ins, ProxyFence) and ins.space is not Space.ANY
        for thread in program.threads
        for ins in thread.instructions
    )
