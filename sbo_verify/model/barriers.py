"""Which barrier instructions meet: the phases that a choice of paths can run through.

PTX ISA, "barrier.cta", "barrier.cluster", "bar.warp.sync", "mbarrier". A barrier without a thread
count takes every thread of its unit that names it. With a count, any such number of arrivals
completes a phase; which ones is part of the execution. A combination of paths in which some thread
waits for ever is no complete execution.

The ISA has a thread that comes after a counted phase wait for the next one; the public tests
(Dat3M, `PTX/Barrier`) let it pass, behind those that met: `readings.LateArrival`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from sbo_verify.model.program import Barrier, Program
from sbo_verify.model.readings import DEFAULT, LateArrival, Reading
from sbo_verify.model.trace import BarrierUse, ProgramError
from sbo_verify.vocabulary import Scope

Key = tuple[object, ...]
Edges = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What never comes in an execution without end.

    `blocked` are the threads that never pass their last barrier instruction, `withheld` the
    mbarriers for which some bulk copy is never issued.
    """

    blocked: frozenset[int] = frozenset()
    withheld: frozenset[str] = frozenset()


NOTHING_UNFINISHED = Unfinished()


@dataclass(frozen=True, slots=True)
class _Rules:
    """What does not change while threads meet."""

    threads: Sequence[Sequence[BarrierUse]]
    members: Mapping[Key, set[int]]
    arrivals: Mapping[str, int]
    late_arrival: LateArrival
    unfinished: Unfinished


@dataclass(slots=True)
class _Meeting:
    """How far every thread has come, and who has met whom."""

    positions: list[int]
    phases: Mapping[int, int]
    arrived: dict[Key, list[tuple[int, BarrierUse]]] = field(default_factory=dict)
    entered: set[int] = field(default_factory=set)
    passed: set[int] = field(default_factory=set)
    gone: dict[Key, list[BarrierUse]] = field(default_factory=dict)
    edges: list[tuple[int, int]] = field(default_factory=list)

    def copy(self) -> _Meeting:
        return _Meeting(
            list(self.positions),
            self.phases,
            {key: list(arrivals) for key, arrivals in self.arrived.items()},
            set(self.entered),
            set(self.passed),
            {key: list(uses) for key, uses in self.gone.items()},
            list(self.edges),
        )


def named_by(program: Program) -> dict[Key, set[int]]:
    """The threads that name each barrier by a constant: those that a phase without count takes."""
    named: dict[Key, set[int]] = defaultdict(set)
    for index, thread in enumerate(program.threads):
        for instruction in thread.instructions:
            if isinstance(instruction, Barrier) and isinstance(instruction.resource, int):
                named[barrier_key(program, index, instruction, instruction.resource)].add(index)
    return dict(named)


def barrier_key(program: Program, thread: int, barrier: Barrier, resource: int) -> Key:
    """What two barrier instructions share when they are on the same logical barrier."""
    place = program.threads[thread].placement
    unit = place.unit(Scope.CLUSTER if barrier.unit == "cluster" else Scope.CTA)
    if barrier.unit == "warp":
        unit = (*unit, "warp", place.warp)
    return (barrier.unit, unit, resource)


def meetings(
    threads: Sequence[Sequence[BarrierUse]],
    named: Mapping[Key, set[int]],
    arrivals: Mapping[str, int],
    *,
    reading: Reading = DEFAULT,
    unfinished: Unfinished = NOTHING_UNFINISHED,
) -> Iterator[Edges]:
    """Every way to bring all threads to their end, as pairs (arrival, wait) of events.

    `threads` holds each thread's barrier uses in program order, with event indices of the whole
    execution. Blocked threads end at their last use, which they never pass; yields nothing where
    one of them could, or where any other waits for ever. The phase of an mbarrier that expects
    bytes is never complete where a copy is withheld.
    """
    if not any(threads):
        yield ()
        return
    members = {key: set(who) for key, who in named.items()}
    for index, uses in enumerate(threads):
        for use in uses:
            members.setdefault(use.key, set()).add(index)
    _check_mbarriers(threads, arrivals)
    start = _Meeting([0] * len(threads), _phase_numbers(threads))
    rules = _Rules(threads, members, arrivals, reading.late_arrival, unfinished)
    yield from _run(start, rules)


def _check_mbarriers(threads: Sequence[Sequence[BarrierUse]], arrivals: Mapping[str, int]) -> None:
    """Each mbarrier has one phase here: refuse more arrivals than complete it."""
    arrived = Counter(
        str(use.key[1])
        for uses in threads
        for use in uses
        if use.key[0] == "mbarrier" and use.arrival[0] and not use.transaction
    )
    for name, count in arrived.items():
        if count > arrivals.get(name, 1):
            message = (
                f"mbarrier {name!r}: {count} arrivals, but {arrivals.get(name, 1)} complete its "
                "phase; only one phase of an mbarrier is modelled: declare another for the next"
            )
            raise ProgramError(message)


def _phase_numbers(threads: Sequence[Sequence[BarrierUse]]) -> dict[int, int]:
    """For every use the number of its phase: its thread's own arrivals, or waits, before it."""
    numbers: dict[int, int] = {}
    for uses in threads:
        seen: dict[tuple[Key, bool], int] = defaultdict(int)
        for use in uses:
            arrives, waits = use.arrival
            numbers[use.event] = seen[use.key, arrives]
            seen[use.key, arrives] += 1
            if arrives and waits:
                seen[use.key, False] += 1
    return numbers


def _run(state: _Meeting, rules: _Rules) -> Iterator[Edges]:
    while _advance(state, rules):
        pass
    ends = zip(state.positions, rules.threads, strict=True)
    waiting = {i: uses[place] for i, (place, uses) in enumerate(ends) if place < len(uses)}
    stuck = True
    for key in dict.fromkeys(use.key for use in waiting.values() if use.count is not None):
        here = state.arrived[key]
        count = max(use.count or 0 for _, use in here)
        for group in combinations(here, count):
            stuck = False
            after = state.copy()
            _meet(after, key, [use for _, use in group])
            yield from _run(after, rules)
    late = [u for u in waiting.values() if u.count is not None and state.gone.get(u.key)]
    if stuck and late and rules.late_arrival is LateArrival.PASSES:
        after = state.copy()
        for use in late:
            _meet(after, use.key, [use])
        yield from _run(after, rules)
    elif stuck and set(waiting) == rules.unfinished.blocked:
        last = (state.positions[i] == len(rules.threads[i]) - 1 for i in rules.unfinished.blocked)
        if all(last):
            yield tuple(state.edges)


def _advance(state: _Meeting, rules: _Rules) -> bool:
    """Let every thread arrive and pass wherever it can; whether anything moved."""
    moved = False
    for index, uses in enumerate(rules.threads):
        while state.positions[index] < len(uses):
            use = uses[state.positions[index]]
            arrives, waits = use.arrival
            if arrives and use.event not in state.entered:
                state.entered.add(use.event)
                state.arrived.setdefault(use.key, []).append((index, use))
                moved = True
            if waits and use.event not in state.passed:
                if use.count is not None or not _complete(state, use, rules):
                    break
                state.passed.add(use.event)
            state.positions[index] += 1
            moved = True
    return moved


def _complete(state: _Meeting, use: BarrierUse, rules: _Rules) -> bool:
    """Is the phase that `use` waits for complete? Then relate its arrivals to the wait."""
    arrived = state.arrived.get(use.key, [])
    if use.key[0] == "mbarrier":
        phase = [other for _, other in arrived if not other.transaction]
        if len(phase) < rules.arrivals.get(str(use.key[1]), 1):
            return False
        # Bytes that are expected are those of the copies that complete here; none before its issue.
        copies = [u for uses in rules.threads for u in uses if u.key == use.key and u.transaction]
        expected = any(other.expects for other in phase)
        issued = {copy.event for copy in copies} <= state.entered
        if expected and (not issued or use.key[1] in rules.unfinished.withheld):
            return False
    else:
        number = state.phases[use.event]
        phase = []
        for member in rules.members[use.key]:
            own = [other for who, other in arrived if who == member]
            if len(own) <= number:
                return False
            phase.append(own[number])
    state.edges.extend(
        (other.event, use.event)
        for other in phase
        if other.ordered and use.ordered and other.event != use.event
    )
    return True


def _meet(state: _Meeting, key: Key, group: list[BarrierUse]) -> None:
    """Complete a counted phase with these arrivals, behind the earlier phases of the barrier."""
    earlier = state.gone.setdefault(key, [])
    for waiter in group:
        if waiter.arrival[1]:
            state.passed.add(waiter.event)
            state.edges.extend(
                (other.event, waiter.event)
                for other in [*earlier, *group]
                if other.event != waiter.event
            )
    earlier.extend(group)
    events = {use.event for use in group}
    state.arrived[key] = [entry for entry in state.arrived[key] if entry[1].event not in events]
