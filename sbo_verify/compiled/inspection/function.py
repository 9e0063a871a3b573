"""One function, read as far as its hand-offs need: control flow, values, events, ways."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from sbo_verify.compiled.inspection.conditions import Conditions
from sbo_verify.compiled.inspection.events import Event, Events, Part, events_of
from sbo_verify.compiled.inspection.facts import Literal
from sbo_verify.compiled.inspection.graph import Graph, graph_of
from sbo_verify.compiled.inspection.text import Function, Module, Op
from sbo_verify.compiled.inspection.values import ALL_THREADS, WARP, Values
from sbo_verify.compiled.inspection.ways import GivenUpError, State, Ways, follow

# A condition with one of these in it is not the same for all threads of a CTA.
_ORDERING = {
    *(Part.COMMIT, Part.WAIT, Part.FENCE, Part.PROXY_FENCE, Part.BARRIER, Part.ARRIVE),
    *(Part.CLUSTER_ARRIVE, Part.CLUSTER_WAIT),
}
_PER_THREAD = ("tid", "laneid", "warpid", "elect", "shfl", "?")


@dataclass
class Read:
    """A function with its events, and the states at those that were followed.

    `given_up` says why there are none.
    """

    function: Function
    graph: Graph
    values: Values
    events: Events
    conditions: Conditions
    threads: int
    ways: Ways = field(default_factory=Ways)
    given_up: str = ""

    def following(self, *events: Event) -> Read:
        """The same function with the states at `events` and whatever may order them.

        Facts of other stores and polls would only multiply the states.
        """
        wanted = {id(each.op) for each in events}
        kept = [e for e in self.events.all if id(e.op) in wanted or e.part in _ORDERING]
        chosen = Events(kept, self.events.tested_by)
        try:
            ways = follow(self.graph, chosen, self.conditions, self.threads)
        except GivenUpError as error:
            return replace(self, given_up=str(error))
        return replace(self, ways=ways)

    def first_of_each(self, events: list[Event]) -> list[Event]:
        """One of those that follow each other in a block with nothing that orders between."""
        found: dict[tuple[object, ...], Event] = {}
        for event in events:
            block, index = self.graph.home[id(event.op)]
            here = [
                self.graph.home[id(each.op)][1]
                for each in self.events.all
                if each.part in _ORDERING and self.graph.home[id(each.op)][0] == block
            ]
            between = sum(place < index for place in here)
            kind = event.instruction.kind if event.instruction else None
            key = (block, between, kind, event.part, event.buffer, event.op.guard)
            found.setdefault(key, event)
        return list(found.values())

    def unmodelled(self, first: Event, second: Event) -> list[Op]:
        """What stands between two instructions and may join threads in a way not followed here."""
        return [
            each.op
            for each in self.events.of(Part.OTHER_SYNC, Part.ARRIVE)
            if self.graph.leads(first.op, each.op) and self.graph.leads(each.op, second.op)
        ]

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

    def apart(self, event: Event, state: State) -> bool:
        """Whether the state's CTA never executes `event`: a condition on the whole CTA differs."""
        opposite = {(key, not positive, leaves) for key, positive, leaves in state.literals}
        return any(_of_the_cta(each) for each in self.ways.literals(event) & opposite)


def one_warp(mask: int) -> bool:
    """Whether all threads of a mask are of one warp."""
    first = (mask & -mask).bit_length() - 1
    return mask >> (first // WARP * WARP + WARP) == 0


def _of_the_cta(literal: Literal) -> bool:
    key, _, leaves = literal
    return not leaves and not any(word in key for word in _PER_THREAD)


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
    values = Values(ops, flat=flat)
    events = events_of(graph, values, frozenset(harmless), module.shared)
    threads = ALL_THREADS if size is None or not flat else (1 << min(size[0], 1024)) - 1
    if not flat:
        # Then %tid.x names no single thread, and two of one number are never taken for one.
        values = Values([], flat=False)
    return Read(function, graph, values, events, Conditions(values), threads)


def op_reads(op: Op, names: tuple[str, ...]) -> bool:
    """Whether an instruction reads one of the registers."""
    return any(name in operand for operand in op.operands for name in names)
