"""Why: the numbered steps of an allowed execution, and the chain of edges that forbids one.

Data first; the sentences are made from it and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from sbo_verify.model.axioms import Orders
from sbo_verify.model.bulk import ISSUED, SOURCES_READ
from sbo_verify.model.events import Event, EventKind, Proxy
from sbo_verify.model.gaps import (
    NON_COHERENT_LOAD,
    NOT_WAITED_FOR,
    ORDERED_NO_FURTHER,
    PROXY_FENCE_MISSING,
)
from sbo_verify.model.relation import Relation, bits
from sbo_verify.model.search import Witness
from sbo_verify.model.steps import Edge, Step

PROGRAM_ORDER = "program order"
SYNCHRONIZES = "synchronizes: release pattern observed by acquire pattern"
BARRIER = "synchronizes: arrival and wait at the same barrier"
FENCE_SC = "synchronizes: order of fence.sc"
READS_FROM = "reads from"


def actor(orders: Orders, index: int) -> str:
    """Who performs the event: a thread, or the copy engine on its behalf."""
    event = orders.skeleton.events[index]
    if event.thread < 0:
        return "memory"
    name = orders.skeleton.program.threads[event.thread].name
    return name if event.ordered else f"copy engine for {name}"


def immediate_edges(orders: Orders) -> list[tuple[int, int, str]]:
    """The edges that base causality is composed of, each with its rule."""
    s, x = orders.skeleton, orders.candidate
    edges = [(a, b, rule) for a, b, rule in s.completions]
    edges += [(a, b, BARRIER) for a, b in x.meetings.pairs()]
    edges += [(a, b, FENCE_SC) for a, b in x.fence_order.pairs()]
    known = Relation.of(s.size, ((a, b) for a, b, _ in edges))
    edges += [(a, b, SYNCHRONIZES) for a, b in (orders.synchronizes - known).pairs()]
    edges += [(a, b, PROGRAM_ORDER) for a, b in s.program_order.pairs()]
    return edges


def path(orders: Orders, start: int, end: int) -> list[tuple[int, int, str]]:
    """The shortest chain of edges from one event to another; empty where there is none."""
    outgoing: dict[int, list[tuple[int, int, str]]] = {}
    for edge in immediate_edges(orders):
        outgoing.setdefault(edge[0], []).append(edge)
    reached: dict[int, tuple[int, int, str] | None] = {start: None}
    queue = [start]
    while queue and end not in reached:
        here = queue.pop(0)
        arrived_by = reached[here]
        if arrived_by is not None and arrived_by[2] == ISSUED:
            continue  # a bulk copy hands on nothing of what came before its issue
        for edge in outgoing.get(here, []):
            if edge[1] not in reached:
                reached[edge[1]] = edge
                queue.append(edge[1])
    chain: list[tuple[int, int, str]] = []
    step = reached.get(end)
    while step is not None:
        chain.append(step)
        step = reached[step[0]]
    return chain[::-1]


def causal_chain(orders: Orders, first: int, second: int) -> list[Edge]:
    """How `first` precedes `second` in proxy-preserved base causality; empty where it does not.

    The chain goes through a proxy fence for each end that is not generic, where one is needed.
    """
    s, base = orders.skeleton, orders.base_causality
    if (first, second) in (base & s.same_proxy_and_cta):
        return _edges(orders, path(orders, first, second))
    generic = [bool(s.generic >> end & 1) for end in (first, second)]
    leaving = [first] if generic[0] else list(bits(base.rows[first] & s.proxy_fences.rows[first]))
    entering = [
        fence
        for fence in ([second] if generic[1] else bits(s.proxy_fences.rows[second]))
        if generic[1] or (fence, second) in base
    ]
    for out in leaving:
        for into in entering:
            if (out, into) in base:
                hops = [first, out, into, second]
                legs = [path(orders, a, b) for a, b in pairwise(hops) if a != b]
                return _edges(orders, [edge for leg in legs for edge in leg])
    return []


def _edges(orders: Orders, chain: list[tuple[int, int, str]]) -> list[Edge]:
    events = orders.skeleton.events
    return [
        Edge(rule, actor(orders, a), label(events[a]), actor(orders, b), label(events[b]))
        for a, b, rule in chain
    ]


def label(event: Event) -> str:
    """The instruction; for an access of a bulk copy also which of its accesses."""
    if event.ordered or not event.is_memory or event.location is None:
        return event.text
    return f"{event.text} ({event.kind.value} of {event.location.address})"


def steps(witness: Witness) -> list[Step]:
    """The witness as numbered steps, in an order that respects causality and reads-from.

    Where a read is stale although the fresh write stands before it in every such order, the step
    says that nothing orders that write before the read.
    """
    orders = witness.orders
    s, x = orders.skeleton, orders.candidate
    from_reads = x.reads_from.inverse().then(witness.coherence)
    # Threads that meet at a barrier precede one another there: one of the two has to be told first.
    base = orders.base_causality - orders.base_causality.inverse()
    order = _linear(base | x.reads_from | from_reads | witness.coherence)
    if order is None:
        order = _linear(base | x.reads_from) or list(range(s.size))
    order = [index for index in order if s.events[index].thread >= 0]
    number = {index: place for place, index in enumerate(order, start=1)}
    result = []
    for index in order:
        event = s.events[index]
        source = x.source.get(index)
        note = ""
        if event.is_read:
            missed = [w for w in bits(from_reads.rows[index]) if number.get(w, 0) < number[index]]
            missed = [w for w in missed if w in number and w != index]
            if missed:
                steps_missed = ", ".join(str(number[w]) for w in sorted(missed))
                note = f"nothing orders step {steps_missed} before this read"
        result.append(
            Step(
                number=number[index],
                actor=actor(orders, index),
                instruction=event.text,
                does=_does(orders, index),
                value=x.values[index],
                memory=event.location.memory if event.location else None,
                source=None if source is None else number.get(source),
                note=note,
            )
        )
    return result


def _does(orders: Orders, index: int) -> str:
    s = orders.skeleton
    event = s.events[index]
    if event.is_memory and event.location is not None:
        verb = "reads" if event.is_read else "writes"
        return f"{verb} {event.location.address} = {orders.candidate.values[index]}"
    if event.kind is EventKind.COMPLETION:
        return _waits_for({rule for _, to, rule in s.completions if to == index})
    return {
        EventKind.FENCE: "orders what stands before and behind it",
        EventKind.PROXY_FENCE: f"joins the {event.proxy.value} proxy to the generic one",
        EventKind.BARRIER: "meets the other threads",
        EventKind.ISSUE: "hands the copy to the copy engine",
    }[event.kind]


def _waits_for(rules: set[str]) -> str:
    """What a wait has waited for: the rules of the edges that end there."""
    if not rules:
        return "waits for nothing: no copy that it covers"
    if rules == {SOURCES_READ}:
        return "waits until the sources are read, not for the destinations"
    return "waits for completion: sources read, destinations written"


def _linear(relation: Relation) -> list[int] | None:
    """An order of all events that agrees with the relation; None where it has a cycle."""
    size = len(relation.rows)
    before = relation.inverse().rows
    done = 0
    order: list[int] = []
    while len(order) < size:
        ready = [i for i in range(size) if not done >> i & 1 and not before[i] & ~done]
        if not ready:
            return None
        # Stay with the thread that moved last, so that each thread's story reads in one piece.
        pick = next((i for i in ready if order and i == order[-1] + 1), ready[0])
        order.append(pick)
        done |= 1 << pick
    return order


def missing(witness: Witness, thread: int, register: str, fresh: int) -> Iterator[str]:
    """What ordering is missing, in sentences, where `register` of `thread` is not `fresh`.

    Follows the stale value to its origin: a bulk copy that wrote it on read it stale itself.
    """
    orders = witness.orders
    s, x = orders.skeleton, orders.candidate
    for _, read in links(witness, thread, register):
        place = s.events[read].location
        for write in s.writers(place.memory) if place else []:
            if s.events[write].thread >= 0 and x.values[write] == fresh:
                yield _gap(orders, write, read)


def used_before_complete(witness: Witness, thread: int, register: str, fresh: int) -> bool:
    """Is a read behind the stale value unordered, either way, with the bulk copy that writes there?

    Such a copy may still be under way when the read is made.
    """
    orders = witness.orders
    s, base = orders.skeleton, orders.base_causality
    return any(
        not s.events[write].ordered
        and s.events[write].thread >= 0
        and orders.candidate.values[write] == fresh
        and (write, read) not in base
        and (read, write) not in base
        for _, read in links(witness, thread, register)
        if (place := s.events[read].location) is not None
        for write in s.writers(place.memory)
    )


def _gap(orders: Orders, write: int, read: int) -> str:
    s, base = orders.skeleton, orders.base_causality
    events = s.events
    ends = (
        f"{actor(orders, write)}: {label(events[write])}",
        f"{actor(orders, read)}: {label(events[read])}",
    )
    if (write, read) in base:
        proxies = [e.proxy for e in (events[write], events[read]) if e.proxy is not Proxy.GENERIC]
        if Proxy.NON_COHERENT in proxies:
            return NON_COHERENT_LOAD.sentence.format(read=ends[1])
        return PROXY_FENCE_MISSING.sentence.format(
            write=ends[0], read=ends[1], proxy=events[read].proxy.value
        )
    last = _last_reached(orders, write)
    if not last:
        return NOT_WAITED_FOR.sentence.format(write=ends[0], read=ends[1])
    names = "; ".join(f"{actor(orders, i)}: {label(events[i])}" for i in last)
    return ORDERED_NO_FURTHER.sentence.format(write=ends[0], last=names, read=ends[1])


def _last_reached(orders: Orders, write: int) -> list[int]:
    """The last event of every thread that base causality reaches from `write`."""
    reached = orders.base_causality.rows[write]
    last: dict[int, int] = {}
    for index in bits(reached):
        event = orders.skeleton.events[index]
        if event.ordered:
            last[event.thread] = index
    return sorted(last.values())


def links(witness: Witness, thread: int, register: str) -> Iterator[tuple[int, int]]:
    """The pairs (write, read) that brought the value in a register, from the last one back.

    The write of a bulk copy hands on what its read of the source has read.
    """
    s, x = witness.orders.skeleton, witness.orders.candidate
    loads = [
        index
        for index in bits(s.reads)
        if s.events[index].thread == thread
        and s.events[index].ordered
        and register in re.findall(r"\br[0-9]+\b", s.events[index].text)
    ]
    read: int | None = loads[-1] if loads else None
    while read is not None:
        write = x.source[read]
        yield write, read
        copied = [r for r, w in s.dependencies.pairs() if w == write]
        is_copy = not s.events[write].ordered and s.events[write].thread >= 0
        read = next((r for r in copied if not s.events[r].ordered), None) if is_copy else None
