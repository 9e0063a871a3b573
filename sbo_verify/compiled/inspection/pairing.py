"""Which arrivals at barriers of one name are of one meeting: the n-th of each thread.

Where threads pass different numbers of places of one name, a barrier meets other places than the
text suggests: those who wait at the first of two meet others at their first. How many places a
thread passes before one is counted over the ways of one turn, for each set of threads that comes to
the same places. Source: PTX ISA 9.0, "barrier".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sbo_verify.compiled.inspection.conditions import Conditions
from sbo_verify.compiled.inspection.events import Event
from sbo_verify.compiled.inspection.graph import Graph

# The least and the greatest number of places that may have been passed.
Turn = tuple[int, int]
# Counting takes this many sets of threads and blocks together; more are not told apart.
MOST_COUNTS = 200_000


@dataclass(frozen=True)
class Turns:
    """For each place, by its instruction: how many a set of threads (a mask) passed before it."""

    of: Mapping[int, Mapping[int, Turn]]
    known: bool = True

    def shifted(self) -> bool:
        """Whether one place is the n-th for some threads and never the n-th for others."""
        return any(
            not _overlap(one, other)
            for turns in self.of.values()
            for one in turns.values()
            for other in turns.values()
        )

    def may_meet(self, first: Event, second: Event) -> bool:
        """Whether two places can be the n-th of threads of one meeting."""
        here, there = self.of.get(id(first.op), {}), self.of.get(id(second.op), {})
        return any(_overlap(a, b) for a in here.values() for b in there.values())


def _overlap(first: Turn, second: Turn) -> bool:
    return first[0] <= second[1] and second[0] <= first[1]


def turns(graph: Graph, conditions: Conditions, masks: Sequence[tuple[Event, int]]) -> Turns:
    """Count the places of one name; `masks` has the threads that may come to each."""
    classes = list(_classes([mask for _, mask in masks]))
    if len(classes) * len(graph.blocks) > MOST_COUNTS:
        return Turns({}, known=False)
    found: dict[int, dict[int, Turn]] = {}
    at: dict[int, list[tuple[int, Event]]] = {}
    for event, _ in masks:
        block, index = graph.home[id(event.op)]
        at.setdefault(block, []).append((index, event))
    for threads in classes:
        comes = {id(event.op) for event, mask in masks if mask & threads}
        for event, turn in _counted(graph, conditions, at, threads, comes):
            found.setdefault(id(event.op), {})[threads] = turn
    return Turns(found)


def _classes(masks: Sequence[int]) -> Iterator[int]:
    """The sets of threads that come to the same places."""
    classes: list[int] = []
    for mask in dict.fromkeys(masks):
        rest = mask
        split: list[int] = []
        for each in classes:
            split += [part for part in (each & mask, each & ~mask) if part]
            rest &= ~each
        classes = [*split, *([rest] if rest else [])]
    yield from classes


def _counted(
    graph: Graph,
    conditions: Conditions,
    at: Mapping[int, Sequence[tuple[int, Event]]],
    threads: int,
    comes: set[int],
) -> Iterator[tuple[Event, Turn]]:
    entry: dict[int, Turn] = {0: (0, 0)}
    for number in sorted(graph.reachable, key=lambda each: graph.origin[each].bit_count()):
        if number not in entry:
            continue
        low, high = entry[number]
        for _, event in sorted(at.get(number, ()), key=lambda each: each[0]):
            if id(event.op) not in comes:
                continue
            yield event, (low, high)
            high += 1
            low += _surely(conditions, event, threads)
        for following in _followed(graph, conditions, number, threads):
            # A back edge leads to a block that this one is behind: another turn.
            if not graph.ahead[number] >> following & 1:
                continue
            old = entry.get(following, (low, high))
            entry[following] = (min(old[0], low), max(old[1], high))


def _surely(conditions: Conditions, event: Event, threads: int) -> bool:
    """Whether all of the threads execute an instruction that they come to."""
    if event.op.guard is None:
        return True
    register, wanted = event.op.guard
    holds = conditions.of(register).threads
    return holds is not None and not threads & ~(holds if wanted else ~holds)


def _followed(graph: Graph, conditions: Conditions, number: int, threads: int) -> Iterator[int]:
    """The blocks that some of the threads may go to."""
    block = graph.blocks[number]
    if block.branch is None or block.branch.guard is None:
        yield from block.successors
        return
    register, wanted = block.branch.guard
    holds = conditions.of(register).threads
    goes = None if holds is None else holds if wanted else ~holds
    if goes is None or threads & goes:
        yield from block.taken
    if block.following is not None and (goes is None or threads & ~goes):
        yield block.following
