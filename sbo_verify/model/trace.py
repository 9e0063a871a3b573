"""What one thread has done so far on one path: the events, and how they hang together.

A read takes any value of its location's domain; whether some write provides it is decided when the
threads are put together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sbo_verify.model.events import Event, Location
from sbo_verify.model.program import Arrival, Program, Thread, Value

Domains = Mapping[str, frozenset[int]]


# What a later turn of a loop depends on: effects so far, and the live registers.
Turn = tuple[int, tuple[tuple[str, int], ...]]
# The turns of a loop that were followed, each with the number of events before it.
Turns = dict[Turn, int]


class ProgramError(ValueError):
    """A program that the model cannot give a meaning to; the message says where and why."""


@dataclass(frozen=True, slots=True)
class BarrierUse:
    """An arrival at, or a wait on, the barrier `key` by the event at `event` of its trace.

    At an mbarrier, `expects` marks an arrival with `.expect_tx`, and `transaction` a bulk copy that
    completes there: it is no arrival, but a phase that expects bytes waits for its issue.
    """

    event: int
    key: tuple[object, ...]
    arrival: Arrival
    count: int | None = None
    ordered: bool = True
    expects: bool = False
    transaction: bool = False


@dataclass(frozen=True, slots=True)
class Spin:
    """A turn of a loop that is repeated for ever: its events are those from `start` on."""

    place: str
    start: int


@dataclass(slots=True)
class Trace:
    """One path of one thread. Pairs hold indices into `events`; `path` names the path alone.

    A path without end has a `spin`, or is `blocked`: it never passes its last barrier instruction;
    `withheld` are the mbarriers for which it then never issues its later bulk copies.
    """

    events: list[Event] = field(default_factory=list)
    registers: dict[str, int] = field(default_factory=dict)
    atomics: list[tuple[int, int]] = field(default_factory=list)
    dependencies: list[tuple[int, int]] = field(default_factory=list)
    completions: list[tuple[int, int, str]] = field(default_factory=list)
    transactions: list[tuple[str, int]] = field(default_factory=list)
    barriers: list[BarrierUse] = field(default_factory=list)
    path: tuple[object, ...] = ()
    spin: Spin | None = None
    blocked: bool = False
    withheld: frozenset[str] = frozenset()


@dataclass(slots=True)
class BulkAccesses:
    """The accesses of one bulk copy, as indices of events."""

    reads: list[int]
    writes: list[int]


@dataclass(slots=True)
class State:
    """A thread in the middle of a path."""

    trace: Trace
    position: int = 0
    taint: dict[str, frozenset[int]] = field(default_factory=dict)
    control: frozenset[int] = frozenset()
    pending: list[BulkAccesses] = field(default_factory=list)
    groups: list[list[BulkAccesses]] = field(default_factory=list)
    turns: dict[str, Turns] = field(default_factory=dict)
    effects: int = 0

    def copy(self) -> State:
        """The same state, to be continued in another way."""
        trace = self.trace
        return State(
            trace=Trace(
                list(trace.events),
                dict(trace.registers),
                list(trace.atomics),
                list(trace.dependencies),
                list(trace.completions),
                list(trace.transactions),
                list(trace.barriers),
                trace.path,
            ),
            position=self.position,
            taint=dict(self.taint),
            control=self.control,
            pending=list(self.pending),
            groups=list(self.groups),
            turns={label: dict(turns) for label, turns in self.turns.items()},
            effects=self.effects,
        )


class Frame:
    """A thread of a program while its paths are enumerated: what every instruction needs."""

    def __init__(self, program: Program, index: int, rewritable: frozenset[str]) -> None:
        self.program = program
        self.index = index
        self.thread: Thread = program.threads[index]
        self.rewritable = rewritable

    def value(self, state: State, value: Value) -> int:
        """A constant or the contents of a register."""
        return value if isinstance(value, int) else state.trace.registers.get(value, 0)

    def taint(self, state: State, *values: Value) -> frozenset[int]:
        """The reads that these values depend on."""
        reads: frozenset[int] = frozenset()
        for value in values:
            if isinstance(value, str):
                reads |= state.taint.get(value, frozenset())
        return reads

    def location(self, address: str) -> Location:
        """What an address names."""
        return self.program.locations[address]

    def values_read(self, domains: Domains, address: str) -> list[int]:
        """The values that a read of `address` may return, in ascending order."""
        return sorted(domains[self.location(address).memory])

    def add(self, state: State, event: Event) -> int:
        """Append an event; its index."""
        state.trace.events.append(event)
        return len(state.trace.events) - 1

    def depend(self, state: State, reads: frozenset[int], event: int) -> None:
        """Record that `event` depends on `reads` by data, and on every branch before it."""
        for read in reads | state.control:
            state.trace.dependencies.append((read, event))

    def go_on(self, state: State, *marks: object) -> State:
        """The state behind the instruction, its path prolonged."""
        state.trace.path = (*state.trace.path, state.position, *marks)
        state.position += 1
        return state


def apply(operation: str, old: int, operands: list[int]) -> int:
    """The result of arithmetic, or what an atomic writes; `ProgramError` where it has none."""
    operand = operands[0]
    if operation in {"div", "rem"} and operand == 0:
        message = f"{operation} {old}, 0: the PTX ISA leaves the result unspecified"
        raise ProgramError(message)
    if operation in {"shl", "shr"} and operand < 0:
        message = f"{operation} {old}, {operand}: give a shift of 0 or more"
        raise ProgramError(message)
    return ARITHMETIC[operation](old, operand)


def _quotient(old: int, operand: int) -> int:
    """Division that rounds towards zero, as C and PTX have it."""
    quotient = abs(old) // abs(operand)
    return quotient if (old < 0) == (operand < 0) else -quotient


ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "add": lambda old, operand: old + operand,
    "sub": lambda old, operand: old - operand,
    "mul": lambda old, operand: old * operand,
    "div": _quotient,
    "rem": lambda old, operand: old - operand * _quotient(old, operand),
    "shl": lambda old, operand: old << operand,
    "shr": lambda old, operand: old >> operand,
    "and": lambda old, operand: old & operand,
    "or": lambda old, operand: old | operand,
    "xor": lambda old, operand: old ^ operand,
    "min": min,
    "max": max,
    # The two counters of `atom` that wrap at their operand (PTX ISA, "atom").
    "inc": lambda old, operand: 0 if old >= operand else old + 1,
    "dec": lambda old, operand: operand if old == 0 or old > operand else old - 1,
    "exch": lambda _old, operand: operand,
}
