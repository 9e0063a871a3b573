"""Executions: the events of one path per thread, and what the search chooses about them.

`Skeleton` holds what follows from the paths alone. A `Candidate` adds what each read reads from,
who met at which barrier and the order of `fence.sc`; coherence is chosen last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from sbo_verify.model.bulk import ISSUED
from sbo_verify.model.events import Event, EventKind, Placement, Proxy
from sbo_verify.model.program import Program
from sbo_verify.model.readings import AsyncFence, Reading
from sbo_verify.model.relation import Relation, bits
from sbo_verify.model.trace import BarrierUse, Trace
from sbo_verify.vocabulary import Order, Space


class Skeleton:
    """Everything about a choice of one path per thread that no value changes.

    Events are numbered: the writes of the initial values first, then thread by thread.
    """

    def __init__(self, program: Program, traces: Sequence[Trace], reading: Reading) -> None:
        self.program = program
        self.reading = reading
        self.events: list[Event] = initial_writes(program)
        self.offsets: list[int] = []
        for trace in traces:
            self.offsets.append(len(self.events))
            self.events.extend(trace.events)
        self.size = len(self.events)
        self.threads = tuple(zip(self.offsets, traces, strict=True))
        self.barrier_uses = tuple(
            tuple(_moved(use, offset) for use in trace.barriers) for offset, trace in self.threads
        )
        self.completions = tuple(self._completions())

    def mask(self, test: Callable[[Event], bool]) -> int:
        """The events for which `test` holds, as a bit mask."""
        return sum(1 << index for index, event in enumerate(self.events) if test(event))

    def alike(self, key: Callable[[Event], object]) -> Relation:
        """The pairs of different events with the same key; events whose key is None have none."""
        masks: dict[object, int] = {}
        keys = [key(event) for event in self.events]
        for index, value in enumerate(keys):
            if value is not None:
                masks[value] = masks.get(value, 0) | 1 << index
        return Relation([masks.get(value, 0) & ~(1 << i) for i, value in enumerate(keys)])

    @cached_property
    def reads(self) -> int:
        """Reads of memory."""
        return self.mask(lambda e: e.is_read)

    @cached_property
    def writes(self) -> int:
        """Writes of memory, the initial ones among them."""
        return self.mask(lambda e: e.is_write)

    @cached_property
    def fences(self) -> int:
        """Memory-ordering fences."""
        return self.mask(lambda e: e.kind is EventKind.FENCE)

    @cached_property
    def strong(self) -> int:
        """Strong operations."""
        return self.mask(lambda e: e.strong)

    @cached_property
    def releases(self) -> int:
        """What can open a release pattern."""
        return self.mask(lambda e: e.releases)

    @cached_property
    def reductions(self) -> int:
        """The accesses of `red`."""
        return self.mask(lambda e: e.reduction)

    @cached_property
    def acquires(self) -> int:
        """What can close an acquire pattern."""
        return self.mask(lambda e: e.acquires)

    @cached_property
    def generic(self) -> int:
        """Memory operations through the generic proxy."""
        return self.mask(lambda e: e.is_memory and e.proxy is Proxy.GENERIC)

    @cached_property
    def alias_fences(self) -> int:
        """`fence.proxy.alias`."""
        return self.mask(lambda e: e.kind is EventKind.PROXY_FENCE and e.proxy is Proxy.ALIAS)

    @cached_property
    def fence_sc(self) -> tuple[int, ...]:
        """The fences with `.sc`."""
        return tuple(
            i
            for i, e in enumerate(self.events)
            if e.kind is EventKind.FENCE and e.order is Order.SC
        )

    @cached_property
    def program_order(self) -> Relation:
        """Program order; the accesses of bulk copies have no place in it."""
        rows = [0] * self.size
        for offset, trace in self.threads:
            later = 0
            for local in reversed(range(len(trace.events))):
                if trace.events[local].ordered:
                    rows[offset + local] = later
                    later |= 1 << (offset + local)
        return Relation(rows)

    @cached_property
    def same_address(self) -> Relation:
        """Memory operations by the same address: they overlap completely."""
        return self.alike(lambda e: e.location.address if e.location else None)

    @cached_property
    def same_memory(self) -> Relation:
        """Memory operations that overlap, aliases included."""
        return self.alike(lambda e: e.location.memory if e.location else None)

    @cached_property
    def initial_first(self) -> Relation:
        """From the write of every initial value to the other writes of its memory."""
        return self.same_memory.within(
            self.mask(lambda e: e.thread < 0), self.writes & self.mask(lambda e: e.thread >= 0)
        )

    @cached_property
    def not_both_memory(self) -> Relation:
        """Pairs of which at most one is a memory operation."""
        everything = (1 << self.size) - 1
        memory = self.reads | self.writes
        return Relation(
            [everything & ~memory if memory >> i & 1 else everything for i in range(self.size)]
        )

    @cached_property
    def both_strong(self) -> Relation:
        """Pairs of strong operations."""
        return Relation([self.strong if self.strong >> i & 1 else 0 for i in range(self.size)])

    @cached_property
    def same_proxy(self) -> Relation:
        """Operations through the same proxy; memory fences and barriers are of the generic one."""
        return self.alike(lambda e: e.proxy)

    @cached_property
    def scopes_include_each_other(self) -> Relation:
        """Each operation's scope includes the thread of the other."""
        scoped = [
            (index, event.scope, self._place(event))
            for index, event in enumerate(self.events)
            if event.scope is not None
        ]
        rows = [0] * self.size
        for one, scope, place in scoped:
            unit = place.unit(scope)
            for other, _, elsewhere in scoped:
                if elsewhere.unit(scope) == unit:
                    rows[one] |= 1 << other
        reached = Relation(rows)
        return reached & reached.inverse()

    @cached_property
    def out_of_scope(self) -> Relation:
        """Arrivals at and waits on an mbarrier whose scopes do not include each other's thread.

        They are release and acquire operations with a scope ("Release and Acquire Patterns"); the
        other barriers have none, their unit says whom they order.
        """
        scoped = self.mask(
            lambda e: e.kind in {EventKind.BARRIER, EventKind.COMPLETION} and e.scope is not None
        )
        everything = (1 << self.size) - 1
        return Relation([everything] * self.size).within(scoped, scoped) - (
            self.scopes_include_each_other
        )

    @cached_property
    def same_proxy_and_cta(self) -> Relation:
        """Memory operations by one proxy in one CTA; for the async proxy as the reading has it."""
        lenient = self.reading.async_fence is AsyncFence.LENIENT

        def key(event: Event) -> object:
            if not event.is_memory or event.thread < 0:
                return None
            if lenient and event.proxy is Proxy.ASYNC:
                return (event.proxy,)
            return (event.proxy, self._place(event).cta_name)

        return self.alike(key)

    @cached_property
    def proxy_fences(self) -> Relation:
        """From every access that is not generic to the proxy fences that concern it.

        A fence serves the accesses of its proxy and CTA, and of its state space if it names one;
        an async fence of another CTA serves under the lenient reading.
        """
        lenient = self.reading.async_fence is AsyncFence.LENIENT
        rows = [0] * self.size
        fences = [
            (index, fence)
            for index, fence in enumerate(self.events)
            if fence.kind is EventKind.PROXY_FENCE
        ]
        for index in bits(self.reads | self.writes):
            access = self.events[index]
            if access.proxy is Proxy.GENERIC or access.location is None:
                continue
            for number, fence in fences:
                near = self._place(access).cta_name == self._place(fence).cta_name
                spaces = {Space.ANY, access.location.space}
                if (
                    fence.proxy is access.proxy
                    and (near or (lenient and fence.proxy is Proxy.ASYNC))
                    and (fence.space in spaces or access.location.space is Space.ANY)
                ):
                    rows[index] |= 1 << number
        return Relation(rows)

    @cached_property
    def proxy_fences_before(self) -> Relation:
        """From the proxy fences to the accesses that they concern."""
        return self.proxy_fences.inverse()

    @cached_property
    def atomics(self) -> Relation:
        """From the read half of every atomic to its write half."""
        return self._gather(lambda trace: trace.atomics)

    @cached_property
    def dependencies(self) -> Relation:
        """From reads to the events that depend on them, by data or by control."""
        return self._gather(lambda trace: trace.dependencies)

    @cached_property
    def issue(self) -> Relation:
        """From the issue of every bulk copy to its accesses."""
        return Relation.of(self.size, ((a, b) for a, b, rule in self.completions if rule == ISSUED))

    @cached_property
    def completion(self) -> Relation:
        """From the accesses of bulk copies to what waits for them."""
        return Relation.of(self.size, ((a, b) for a, b, rule in self.completions if rule != ISSUED))

    @cached_property
    def repeated(self) -> int:
        """The events of the turns that are repeated for ever, as a bit mask."""
        spins = ((o + t.spin.start, o + len(t.events)) for o, t in self.threads if t.spin)
        return sum((1 << end) - (1 << start) for start, end in spins)

    def writers(self, memory: str) -> list[int]:
        """All writes of a memory, the initial one first."""
        return [
            index
            for index in bits(self.writes)
            if (place := self.events[index].location) is not None and place.memory == memory
        ]

    def _gather(self, pick: Callable[[Trace], Sequence[tuple[int, int]]]) -> Relation:
        return Relation.of(
            self.size,
            (
                (offset + first, offset + second)
                for offset, trace in self.threads
                for first, second in pick(trace)
            ),
        )

    def _completions(self) -> list[tuple[int, int, str]]:
        edges = [
            (offset + first, offset + second, rule)
            for offset, trace in self.threads
            for first, second, rule in trace.completions
        ]
        # Without an expect_tx the phase can be over before the copy is.
        expected = {use.key[1] for uses in self.barrier_uses for use in uses if use.expects}
        for offset, trace in self.threads:
            for name, fence in trace.transactions:
                if name not in expected:
                    continue
                edges.extend(
                    (offset + fence, use.event, "the mbarrier's phase completes")
                    for uses in self.barrier_uses
                    for use in uses
                    if use.key == ("mbarrier", name) and use.arrival[1] and use.ordered
                )
        return edges

    def _place(self, event: Event) -> Placement:
        return self.program.threads[event.thread].placement


def _moved(use: BarrierUse, offset: int) -> BarrierUse:
    return replace(use, event=use.event + offset)


def initial_writes(program: Program) -> list[Event]:
    """One weak write for every memory, before everything else in coherence order."""
    seen: dict[str, Event] = {}
    for location in program.locations.values():
        if location.memory not in seen:
            home = program.locations.get(location.memory, location)
            value = program.initial.get(location.memory, 0)
            text = f"initially {location.memory} = {value}"
            kind = EventKind.WRITE
            seen[location.memory] = Event(-1, 0, kind, text, location=home, value=value)
    return list(seen.values())


@dataclass(frozen=True, slots=True)
class Candidate:
    """An execution but for coherence.

    `source` maps every read to the write it reads from; `meetings` are the pairs of arrival and
    wait; `fence_order` relates the fences with `.sc` that are morally strong.
    """

    skeleton: Skeleton
    values: tuple[int | None, ...]
    source: dict[int, int]
    reads_from: Relation
    meetings: Relation
    fence_order: Relation
