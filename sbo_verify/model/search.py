"""Exhaustive search: every execution of a program that the model could allow.

Three answers: a witness, none after a complete search, or unknown when the budget ran out first.
Values of atomics are not enumerated: a read takes its value from the write it reads from, and paths
that no thread can take are never built.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from sbo_verify.model import axioms
from sbo_verify.model.barriers import Edges, Unfinished, meetings, named_by
from sbo_verify.model.coherence import Choose, choose_coherence, linearized
from sbo_verify.model.condition import Condition, MemoryAt, Not, RegisterOf, evaluate, terms
from sbo_verify.model.domains import ValueFlow
from sbo_verify.model.execution import Candidate, Skeleton
from sbo_verify.model.program import Atomic, BulkCopy, Load, Program, Store
from sbo_verify.model.readings import DEFAULT, Reading
from sbo_verify.model.relation import Relation, bits
from sbo_verify.model.symmetry import Groups, first_of_its_kind, interchangeable
from sbo_verify.model.thread import ThreadRunner
from sbo_verify.model.trace import Trace
from sbo_verify.vocabulary import Order

# Rounds in which new values are looked for; every round adds a write to some chain of writes.
ROUNDS = 32


@dataclass(frozen=True, slots=True)
class Budget:
    """How far a search goes before it answers unknown.

    `seconds` of wall-clock time, `candidates` looked at, `unroll` turns of a loop with effects.
    """

    seconds: float = 30.0
    candidates: int = 2_000_000
    unroll: int = 4


@dataclass(frozen=True, slots=True)
class Witness:
    """An allowed execution: its derived orders, its coherence and what it ends in."""

    orders: axioms.Orders
    coherence: Relation
    final: Mapping[RegisterOf | MemoryAt, int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a search found. Without a witness, `complete` tells Forbidden from unknown."""

    witness: Witness | None
    complete: bool
    candidates: int
    seconds: float


class BudgetSpentError(Exception):
    """The search was cut off; caught by the search itself."""


@dataclass(slots=True)
class Meter:
    """What a search has spent of its budget."""

    budget: Budget
    started: float
    candidates: int = 0

    def count(self) -> None:
        """One more candidate; raises `BudgetSpentError` beyond the budget."""
        self.candidates += 1
        if self.candidates > self.budget.candidates:
            raise BudgetSpentError
        if self.candidates % 64 == 0 and self.elapsed() > self.budget.seconds:
            raise BudgetSpentError

    def elapsed(self) -> float:
        """Seconds since the search began."""
        return time.perf_counter() - self.started


def find(
    program: Program,
    condition: Condition,
    *,
    reading: Reading = DEFAULT,
    budget: Budget | None = None,
    choose: Choose = choose_coherence,
) -> Outcome:
    """An allowed execution that ends in `condition`, or the certainty that there is none."""
    budget = budget or Budget()
    meter = Meter(budget, time.perf_counter())
    search = Search(program, condition, reading, meter, choose)
    witness = None
    try:
        witness = next(search.witnesses(), None)
    except BudgetSpentError:
        search.incomplete = True
    complete = witness is not None or not search.incomplete
    return Outcome(witness, complete, meter.candidates, meter.elapsed())


def all_witnesses(
    program: Program, condition: Condition, *, reading: Reading = DEFAULT
) -> Iterator[Witness]:
    """Every candidate that is allowed and ends in `condition`, for tests of small programs."""
    meter = Meter(Budget(seconds=1e9, candidates=1 << 60), time.perf_counter())
    yield from Search(program, condition, reading, meter).witnesses()


def goal(program: Program) -> Condition:
    """What to look for: a state of the condition, or for `forall` one that refutes it."""
    return Not(program.condition) if program.quantifier == "forall" else program.condition


@dataclass(slots=True)
class Search:
    """The search for one condition; `choose` picks the coherence order, if the model has one.

    With `endless` the threads' paths without end are among their paths.
    """

    program: Program
    condition: Condition
    reading: Reading
    meter: Meter
    choose: Choose = choose_coherence
    endless: bool = False
    incomplete: bool = False
    skeletons: dict[tuple[object, ...], tuple[Skeleton, axioms.Patterns, list[Edges]]] = field(
        default_factory=dict
    )

    def witnesses(self) -> Iterator[Witness]:
        """Every candidate that is allowed and ends in the condition."""
        yield from self.along(self.paths(), interchangeable(self.program, self.condition))

    def along(self, paths: Sequence[Sequence[Trace]], alike: Groups = ()) -> Iterator[Witness]:
        """The same with these paths of every thread; `alike` can change places with no loss."""
        named = named_by(self.program)
        for traces in product(*paths):
            if not first_of_its_kind(alike, traces):
                continue
            known = _registers(self.condition, traces)
            if evaluate(self.condition, known) is False:
                continue
            key = tuple(trace.path for trace in traces)
            if key not in self.skeletons:
                skeleton = Skeleton(self.program, traces, self.reading)
                unfinished = Unfinished(
                    frozenset(i for i, trace in enumerate(traces) if trace.blocked),
                    frozenset().union(*(trace.withheld for trace in traces)),
                )
                ways = list(
                    meetings(
                        skeleton.barrier_uses,
                        named,
                        self.program.arrivals,
                        reading=self.reading,
                        unfinished=unfinished,
                    )
                )
                self.skeletons[key] = (skeleton, axioms.patterns(skeleton), ways)
            skeleton, patterns, ways = self.skeletons[key]
            if ways:
                yield from self._with_paths(traces, known, skeleton, patterns, ways)

    def paths(self) -> list[list[Trace]]:
        """Each thread's paths, domains of values grown until nothing new is written."""
        program = self.program
        rewritable = _rewritable(program)
        flow = ValueFlow(program)
        runners = [
            ThreadRunner(
                program,
                index,
                rewritable=rewritable,
                unroll=self.meter.budget.unroll,
                endless=self.endless,
            )
            for index in range(len(program.threads))
        ]
        paths: list[list[Trace]] = []
        # In a loop that counts, values grow without end: it is followed as often as `unroll` says.
        for _ in range(ROUNDS * self.meter.budget.unroll):
            domains = flow.domains()
            paths = []
            for runner in runners:
                runner.incomplete = False
                traces = []
                for trace in runner.traces(domains):
                    self.meter.count()
                    traces.append(trace)
                paths.append(traces)
            if not flow.grow(paths):
                break
        else:
            self.incomplete = True
        self.incomplete |= any(runner.incomplete for runner in runners)
        return [self._possible(index, traces) for index, traces in enumerate(paths)]

    def _possible(self, index: int, traces: list[Trace]) -> list[Trace]:
        """Leave out the paths whose registers alone refute the condition."""
        asked = [
            term
            for term in terms(self.condition)
            if isinstance(term, RegisterOf) and term.thread == index
        ]
        return [
            trace
            for trace in traces
            if evaluate(
                self.condition, {term: trace.registers.get(term.register, 0) for term in asked}
            )
            is not False
        ]

    def _with_paths(
        self,
        traces: Sequence[Trace],
        known: dict[RegisterOf | MemoryAt, int],
        skeleton: Skeleton,
        patterns: axioms.Patterns,
        ways: list[Edges],
    ) -> Iterator[Witness]:
        values = tuple(
            event.value
            for event in (
                *skeleton.events[: skeleton.offsets[0] if skeleton.offsets else None],
                *(event for trace in traces for event in trace.events),
            )
        )
        fence_orders: list[Relation] = []
        for order in _fence_orders(skeleton, patterns.morally_strong):
            # Listing them is work too: it grows as a factorial and must end with the budget.
            self.meter.count()
            fence_orders.append(order)
        for source in _sources(skeleton, values):
            reads_from = Relation.of(
                skeleton.size, ((write, read) for read, write in source.items())
            )
            for edges, fence_order in product(ways, fence_orders):
                self.meter.count()
                meeting = Relation.of(skeleton.size, edges)
                candidate = Candidate(skeleton, values, source, reads_from, meeting, fence_order)
                orders = axioms.orders(candidate, patterns)
                found = self.choose(orders, self.condition, known)
                if found is not None:
                    yield Witness(orders, *found)


def _sources(skeleton: Skeleton, values: tuple[int | None, ...]) -> Iterator[dict[int, int]]:
    """Every way to give each read a write of its memory that has its value.

    One behind it in program order contradicts causality, but only through the same proxy.
    """
    never = skeleton.program_order & skeleton.same_address & skeleton.same_proxy
    reads = list(bits(skeleton.reads))
    candidates: list[list[int]] = []
    for read in reads:
        place = skeleton.events[read].location
        if place is None:
            return
        fitting = [
            write
            for write in skeleton.writers(place.memory)
            if values[write] == values[read] and (read, write) not in never
        ]
        if not fitting:
            return
        candidates.append(fitting)
    for choice in product(*candidates):
        yield dict(zip(reads, choice, strict=True))


def _fence_orders(skeleton: Skeleton, strong: Relation) -> Iterator[Relation]:
    """Every order of the morally strong fences with `.sc` that keeps to program order.

    One against program order contradicts causality, of which program order is a part.
    """
    fences = sum(1 << fence for fence in skeleton.fence_sc)
    related = strong.within(fences, fences)
    pairs = [(a, b) for a, b in related.pairs() if a < b]
    for order in linearized(skeleton.program_order.within(fences, fences), pairs):
        yield order & related


def _registers(condition: Condition, traces: Sequence[Trace]) -> dict[RegisterOf | MemoryAt, int]:
    return {
        term: traces[term.thread].registers.get(term.register, 0)
        for term in terms(condition)
        if isinstance(term, RegisterOf)
    }


def _rewritable(program: Program) -> frozenset[str]:
    """Memories all of whose accesses are strong: an atomic there that changes nothing can go.

    Whoever read from it reads from what it read, with nothing new in between: no morally strong
    write comes between the halves of an atomic. Scopes must be those of the whole program.
    """
    weak: set[str] = set()
    for thread in program.threads:
        for instruction in thread.instructions:
            if isinstance(instruction, BulkCopy):
                for pair in instruction.pairs:
                    weak.update(program.locations[address].memory for address in pair)
            elif isinstance(instruction, (Load, Store, Atomic)):
                place = program.locations[instruction.address]
                scope = instruction.scope
                reached = scope is not None and all(
                    other.placement.unit(scope) == thread.placement.unit(scope)
                    for other in program.threads
                )
                if instruction.order is Order.WEAK or not reached or place.address != place.memory:
                    weak.add(place.memory)
    return frozenset(location.memory for location in program.locations.values()) - frozenset(weak)
