"""Loads, stores, atomics, fences and barriers as events of one thread."""

from __future__ import annotations

from dataclasses import replace

from sbo_verify.model.barriers import barrier_key
from sbo_verify.model.events import Event, EventKind
from sbo_verify.model.program import (
    Arrival,
    Atomic,
    Barrier,
    Fence,
    Load,
    MbarrierArrive,
    MbarrierWait,
    ProxyFence,
    Store,
)
from sbo_verify.model.trace import BarrierUse, Domains, Frame, State, apply
from sbo_verify.vocabulary import Order, Scope


def _scope(order: Order, scope: Scope | None) -> Scope | None:
    """A volatile access is relaxed at system scope (PTX ISA, "Operation Types")."""
    return Scope.SYS if order is Order.VOLATILE else scope


def load(run: Frame, state: State, ins: Load, domains: Domains) -> list[State]:
    """`ld`: one continuation for every value that the location may hold."""
    results = []
    for value in run.values_read(domains, ins.address):
        after = state.copy()
        read = run.add(
            after,
            Event(
                thread=run.index,
                step=state.position,
                kind=EventKind.READ,
                text=ins.text,
                order=ins.order,
                scope=_scope(ins.order, ins.scope),
                proxy=ins.proxy,
                location=run.location(ins.address),
                value=value,
            ),
        )
        after.trace.registers[ins.register] = value
        after.taint[ins.register] = frozenset({read})
        results.append(run.go_on(after))
    return results


def store(run: Frame, state: State, ins: Store, _domains: Domains) -> list[State]:
    """`st`."""
    write = run.add(
        state,
        Event(
            thread=run.index,
            step=state.position,
            kind=EventKind.WRITE,
            text=ins.text,
            order=ins.order,
            scope=_scope(ins.order, ins.scope),
            proxy=ins.proxy,
            location=run.location(ins.address),
            value=run.value(state, ins.value),
        ),
    )
    run.depend(state, run.taint(state, ins.value), write)
    state.effects += 1
    return [run.go_on(state)]


def atomic(run: Frame, state: State, ins: Atomic, domains: Domains) -> list[State]:
    """`atom`, `red`: a read, and a write unless a `cas` fails, joined as one operation."""
    results = []
    acquires = ins.order in {Order.ACQUIRE, Order.ACQ_REL}
    releases = ins.order in {Order.RELEASE, Order.ACQ_REL}
    operands = [run.value(state, operand) for operand in ins.operands]
    for value in run.values_read(domains, ins.address):
        after = state.copy()
        common = Event(
            thread=run.index,
            step=state.position,
            kind=EventKind.READ,
            text=ins.text,
            order=Order.ACQUIRE if acquires else Order.RELAXED,
            scope=ins.scope,
            proxy=ins.proxy,
            location=run.location(ins.address),
            value=value,
            reduction=ins.register is None,
        )
        read = run.add(after, common)
        wrote = ins.operation != "cas" or value == operands[0]
        if wrote:
            new = operands[-1] if ins.operation == "cas" else apply(ins.operation, value, operands)
            order = Order.RELEASE if releases else Order.RELAXED
            event = replace(common, kind=EventKind.WRITE, order=order, value=new)
            write = run.add(after, event)
            after.trace.atomics.append((read, write))
            through = frozenset() if ins.operation == "exch" else frozenset({read})
            run.depend(after, run.taint(state, *ins.operands) | through, write)
            rewrites = new == value and run.location(ins.address).memory in run.rewritable
            after.effects += 0 if rewrites else 1
        if ins.register is not None:
            after.trace.registers[ins.register] = value
            after.taint[ins.register] = frozenset({read})
        results.append(run.go_on(after, wrote))
    return results


def fence(run: Frame, state: State, ins: Fence, _domains: Domains) -> list[State]:
    """`fence`."""
    kind = EventKind.FENCE
    run.add(state, Event(run.index, state.position, kind, ins.text, ins.order, ins.scope))
    return [run.go_on(state)]


def proxy_fence(run: Frame, state: State, ins: ProxyFence, _domains: Domains) -> list[State]:
    """`fence.proxy.*`."""
    run.add(
        state,
        Event(
            run.index,
            state.position,
            EventKind.PROXY_FENCE,
            ins.text,
            proxy=ins.proxy,
            space=ins.space,
        ),
    )
    return [run.go_on(state)]


def barrier(run: Frame, state: State, ins: Barrier, _domains: Domains) -> list[State]:
    """`barrier.cta`, `barrier.cluster`, `bar.warp.sync`: an arrival, a wait or both."""
    event = run.add(
        state, Event(run.index, state.position, EventKind.BARRIER, ins.text, ordered=True)
    )
    resource = run.value(state, ins.resource)
    count = None if ins.count is None else run.value(state, ins.count)
    key = barrier_key(run.program, run.index, ins, resource)
    state.trace.barriers.append(BarrierUse(event, key, ins.arrival, count, ins.ordered))
    state.effects += 1
    return [run.go_on(state, resource, count)]


def mbarrier(
    run: Frame, state: State, ins: MbarrierArrive | MbarrierWait, _domains: Domains
) -> list[State]:
    """`mbarrier.arrive`, or the `mbarrier.try_wait` that succeeds."""
    arrives = isinstance(ins, MbarrierArrive)
    expects = isinstance(ins, MbarrierArrive) and ins.expects
    kind = EventKind.BARRIER if arrives else EventKind.COMPLETION
    event = run.add(state, Event(run.index, state.position, kind, ins.text, ins.order, ins.scope))
    key = ("mbarrier", ins.mbarrier)
    ordered = ins.order is not Order.RELAXED
    arrival = Arrival((arrives, not arrives))
    use = BarrierUse(event, key, arrival, ordered=ordered, expects=expects)
    state.trace.barriers.append(use)
    state.effects += 1
    return [run.go_on(state)]
