"""One function, read as far as its hand-offs need: control flow, values, events, ways."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from sbo_verify.compiled.inspection.conditions import Conditions
from sbo_verify.compiled.inspection.events import Event, Events, Part, events_of
from sbo_verify.compiled.inspection.facts import across_cluster, of_other_ctas, of_the_cta
from sbo_verify.compiled.inspection.forgetting import Forgetting
from sbo_verify.compiled.inspection.graph import Graph, graph_of
from sbo_verify.compiled.inspection.joins import JOINING, Joins, Threads, joins_of
from sbo_verify.compiled.inspection.lanes import WARP
from sbo_verify.compiled.inspection.phases import follow_mbarriers
from sbo_verify.compiled.inspection.text import Function, Module, Op
from sbo_verify.compiled.inspection.values import ALL_THREADS, Values
from sbo_verify.compiled.inspection.walker import Budget, follow, visits
from sbo_verify.compiled.inspection.walker import Function as Followed
from sbo_verify.compiled.inspection.ways import GivenUpError, State, Ways

ORDERING = {*JOINING, Part.COMMIT, Part.WAIT, Part.FENCE, Part.PROXY_FENCE}
LEAST_BUDGET = 120_000


@dataclass
class Read:
    """A function with its events, and the states at those that were followed.

    `given_up` says why there are none.
    """

    function: Function
    events: Events
    values: Values
    followed: Followed
    ways: Ways = field(default_factory=Ways)
    given_up: str = ""
    _ordering: list[list[int]] = field(default_factory=list)
    _behind: dict[tuple[int, Part], Read] = field(default_factory=dict)

    @property
    def graph(self) -> Graph:
        """Its control flow."""
        return self.followed.graph

    @property
    def joins(self) -> Joins:
        """Where its threads meet."""
        return self.followed.joins

    def following(self, targets: Sequence[Event], *others: Event) -> Read:
        """The same function with the states on the ways to `targets`, as far as `others` matter.

        Facts of other stores and polls would only multiply the states.
        """
        wanted = {id(each.op) for each in (*targets, *others)}
        # A signal that is asked about as data is a store here.
        data = {id(each.op) for each in others if each.part is Part.PUBLISH}
        asked = [numbered for op in wanted for numbered in self._numbered.get(op, ())]
        places = sorted({*self._always_kept, *asked})
        kept = [
            replace(each, part=Part.STORE) if id(each.op) in data else each
            for each in (self.events.all[number] for number in places)
        ]
        chosen = Events(self.events.taint, kept, self.events.tested_by)
        try:
            ways = follow(self.followed, chosen, (*targets, *others))
        except GivenUpError as error:
            return replace(self, given_up=str(error), ways=Ways())
        return replace(self, ways=ways)

    @cached_property
    def _numbered(self) -> dict[int, list[int]]:
        """The places, among all events, of those of an instruction."""
        found: dict[int, list[int]] = {}
        for number, each in enumerate(self.events.all):
            found.setdefault(id(each.op), []).append(number)
        return found

    @cached_property
    def _always_kept(self) -> list[int]:
        """The places of those that order, which every question is about."""
        return [n for n, each in enumerate(self.events.all) if each.part in ORDERING]

    @cached_property
    def unsignalled(self) -> list[Event]:
        """The stores from which no way leads to a publish."""
        publishes = self.events.of(Part.PUBLISH)
        return [
            each
            for each in self.stores
            if not any(self.joins.leads(each.op, one.op) for one in publishes)
        ]

    @cached_property
    def stores(self) -> list[Event]:
        """The tile stores, one of those that follow each other."""
        return self.first_of_each(self.events.of(Part.STORE, Part.BULK_STORE))

    def worth(self, steps: int) -> bool:
        """Whether the function's budget has that many steps left; they are taken."""
        budget = self.followed.budget
        budget.left = max(-1, budget.left - steps)
        return budget.left >= 0

    def behind(self, first: Event, part: Part) -> Read:
        """The states that come from one store to all events of a part."""
        key = (first.op.place, part)
        if key not in self._behind:
            self._behind[key] = self.following(self.events.of(part), first)
        return self._behind[key]

    def first_of_each(self, events: Iterable[Event]) -> list[Event]:
        """One of those that follow each other in a block with nothing that orders between."""
        if not self._ordering:
            self._ordering = [[] for _ in self.graph.blocks]
            for each in self.events.all:
                block, index = self.graph.home[id(each.op)]
                if each.part in ORDERING or each.part in {Part.PUBLISH, Part.POLL}:
                    self._ordering[block].append(index)
        signals = {(e.buffer, e.address) for e in self.events.of(Part.PUBLISH, Part.POLL)}
        found: dict[tuple[object, ...], Event] = {}
        for event in events:
            block, index = self.graph.home[id(event.op)]
            between = bisect(self._ordering[block], index)
            kind = event.instruction.kind if event.instruction else None
            place = (event.buffer, event.address)
            same = place if place in signals else event.buffer
            key = (block, between, kind, event.part, same, event.op.guard)
            found.setdefault(key, event)
        return list(found.values())

    def unmodelled(self, first: Event, second: Event) -> Op | None:
        """What may join the threads of two instructions in a way not followed here."""
        return self.joins.between(first.op, second.op)

    def unread(self, event: Event) -> list[Op]:
        """Instructions with no word on the way to an event or behind it: they may do anything."""
        return [
            each.op
            for each in self.events.of(Part.UNREAD)
            if self.graph.leads(each.op, event.op) or self.graph.leads(event.op, each.op)
        ]

    def alone(self, event: Event, state: State) -> bool:
        """Whether no thread but the state's own can execute `event`."""
        mask = self.ways.mask(event) | state.mask
        if mask.bit_count() == 1:
            return True
        elected = {each for each in self.ways.literals(event) if each[0].startswith("elect")}
        common = {each for each in elected & state.literals if each[1]}
        return bool(common) and one_warp(mask)

    def of_other_ctas(self, first: Event, second: Event) -> bool:
        """Whether no CTA executes both, and none whose cluster does."""
        here, there = self.ways.literals(first), self.ways.literals(second)
        return of_other_ctas(here, there) and not across_cluster(here, there)

    def across_cluster(self, first: Event, second: Event) -> bool:
        """Whether different CTAs of a cluster execute two instructions."""
        return across_cluster(self.ways.literals(first), self.ways.literals(second))

    def apart(self, event: Event, state: State) -> bool:
        """Whether the state's CTA never executes `event`: a condition on the whole CTA differs."""
        opposite = {(key, not positive, leaves) for key, positive, leaves in state.literals}
        return any(of_the_cta(each) for each in self.ways.literals(event) & opposite)


def one_warp(mask: int) -> bool:
    """Whether all threads of a mask are of one warp."""
    first = (mask & -mask).bit_length() - 1
    return mask >> (first // WARP * WARP + WARP) == 0


def read_function(module: Module, function: Function, harmless: Iterable[str]) -> Read:
    """Read one function.

    Raises `PtxError` for control flow that is not well-formed.
    """
    graph = graph_of(function)
    ops = [op for block in graph.blocks for op in block.ops]
    size = function.threads
    flat = not any(op_reads(op, ("%tid.y", "%tid.z")) for op in ops)
    if size is not None and (size[1] > 1 or size[2] > 1):
        flat = False
    values = Values(ops, flat=flat, entry=function.entry)
    events = events_of(graph, values, frozenset(harmless), module.shared)
    threads = ALL_THREADS if size is None or not flat else (1 << min(size[0], 1024)) - 1
    if not flat:
        # Then %tid.x names no single thread, and two of one number are never taken for one.
        values = Values([], flat=False)
    conditions = Conditions(values)
    forgetting = Forgetting(graph, conditions)
    budget = Budget(max(LEAST_BUDGET, len(ops)))
    followed = Followed(graph, conditions, forgetting, Joins(graph), threads, budget)
    try:
        ways = visits(followed, events)
    except GivenUpError as error:
        return Read(function, events, values, followed, given_up=str(error))
    coming = {id(each.op): ways.coming(each) for each in events.all}
    joins = joins_of(graph, values, events, Threads(threads, coming, conditions))
    follow_mbarriers(joins, values, events, coming)
    return Read(function, events, values, replace(followed, joins=joins), ways)


def op_reads(op: Op, names: tuple[str, ...]) -> bool:
    """Whether an instruction reads one of the registers."""
    return any(name in operand for operand in op.operands for name in names)
