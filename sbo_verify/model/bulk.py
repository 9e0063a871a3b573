"""Bulk copies, their groups and their completion as events.

PTX ISA, "cp.async.bulk" and its group instructions. A bulk copy reads its source and writes its
destination as an actor of its own, after its issuing instruction and before whatever waits for its
completion: `wait_group` for both accesses, `wait_group.read` for the reading alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sbo_verify.model.events import Event, EventKind, Proxy
from sbo_verify.model.program import ARRIVE, BulkCopy, CommitGroup, WaitGroup
from sbo_verify.model.trace import BarrierUse, BulkAccesses, Domains, Frame, State, apply
from sbo_verify.vocabulary import Order, Scope, Space

ISSUED = "a bulk copy comes after its issuing instruction (cp.async.bulk)"
COMPLETED = "wait_group: destinations written and made visible (cp.async.bulk.wait_group)"
SOURCES_READ = "wait_group.read: sources read (cp.async.bulk.wait_group)"
TRANSACTION = "complete_tx on the mbarrier (cp.async.bulk, mbarrier completion)"
IMPLICIT_FENCE = "implicit proxy fence at completion"


def copy(run: Frame, state: State, ins: BulkCopy, domains: Domains) -> list[State]:
    """`cp.async.bulk`: its issue, and the accesses that it leads to."""
    issue = run.add(state, Event(run.index, state.position, EventKind.ISSUE, ins.text))
    states = [(state, BulkAccesses([], []))]
    for destination, source in ins.pairs:
        states = [
            grown
            for before, bulk in states
            for grown in _copy_one(run, before, bulk, (ins, issue, destination, source), domains)
        ]
    results = []
    for after, bulk in states:
        after.effects += 1
        if ins.mbarrier is None:
            after.pending.append(bulk)
        else:
            fence = _complete(run, after, [*bulk.reads, *bulk.writes], TRANSACTION)
            after.trace.transactions.append((ins.mbarrier, fence))
            use = BarrierUse(issue, ("mbarrier", ins.mbarrier), ARRIVE, transaction=True)
            after.trace.barriers.append(use)
        results.append(run.go_on(after))
    return results


def _copy_one(
    run: Frame,
    state: State,
    bulk: BulkAccesses,
    copy: tuple[BulkCopy, int, str, str],
    domains: Domains,
) -> Iterator[tuple[State, BulkAccesses]]:
    """One location of a bulk copy: a read of the source and a write of the destination.

    Both are weak, in the async proxy and in no program order (PTX ISA, "cp.async.bulk"); a
    reduction is a relaxed atomic at gpu scope on the destination ("cp.reduce.async.bulk").
    """
    ins, issue, destination, source = copy
    olds: list[int | None] = [None]
    if ins.operation is not None:
        olds = list(run.values_read(domains, destination))
    for value in run.values_read(domains, source):
        for old in olds:
            after = state.copy()
            weak = Event(
                thread=run.index,
                step=after.position,
                kind=EventKind.READ,
                text=ins.text,
                proxy=Proxy.ASYNC,
                location=run.location(source),
                value=value,
                ordered=False,
            )
            read = run.add(after, weak)
            accesses = [read]
            new = value
            there = replace(weak, location=run.location(destination))
            if old is not None and ins.operation is not None:
                there = replace(there, order=Order.RELAXED, scope=Scope.GPU)
                accesses.append(run.add(after, replace(there, value=old)))
                new = apply(ins.operation, old, [value])
            write = run.add(after, replace(there, kind=EventKind.WRITE, value=new))
            accesses.append(write)
            if old is not None:
                after.trace.atomics.append((accesses[1], write))
            for access in accesses:
                after.trace.completions.append((issue, access, ISSUED))
            run.depend(after, frozenset(accesses[:-1]), write)
            yield after, BulkAccesses([*bulk.reads, read], [*bulk.writes, *accesses[1:]])


def _complete(run: Frame, state: State, accesses: list[int], rule: str) -> int:
    """The implicit proxy fence behind the completion of `accesses`; its index."""
    fence = run.add(
        state,
        Event(
            run.index,
            state.position,
            EventKind.PROXY_FENCE,
            IMPLICIT_FENCE,
            proxy=Proxy.ASYNC,
            ordered=False,
            space=Space.ANY,
        ),
    )
    state.trace.completions.extend((access, fence, rule) for access in accesses)
    return fence


def commit(run: Frame, state: State, _ins: CommitGroup, _domains: Domains) -> list[State]:
    """`commit_group`: close a group over the copies not yet in one."""
    state.groups.append(state.pending)
    state.pending = []
    return [run.go_on(state)]


def wait_group(run: Frame, state: State, ins: WaitGroup, _domains: Domains) -> list[State]:
    """All but the newest `groups` groups are complete, as far as this form of the wait says."""
    done = state.groups[: len(state.groups) - ins.groups] if ins.groups else state.groups
    copies = [bulk for group in done for bulk in group]
    accesses = [read for bulk in copies for read in bulk.reads]
    rule = SOURCES_READ
    if not ins.source_only:
        accesses += [write for bulk in copies for write in bulk.writes]
        rule = COMPLETED
    fence = _complete(run, state, accesses, rule) if accesses else None
    wait = run.add(state, Event(run.index, state.position, EventKind.COMPLETION, ins.text))
    if fence is not None:
        state.trace.completions.append((fence, wait, rule))
    state.effects += 1
    return [run.go_on(state)]
