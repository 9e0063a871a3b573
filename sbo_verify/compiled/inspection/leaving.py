"""Threads that stored and leave the function without meeting anybody.

A barrier does not wait for threads that exited (on Volta and newer), and nothing brings their
stores to the thread that publishes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sbo_verify.compiled.inspection.events import Event
from sbo_verify.compiled.inspection.function import Read
from sbo_verify.compiled.inspection.joins import JOINING
from sbo_verify.compiled.inspection.ways import State, assume, forget
from sbo_verify.vocabulary import Transfer, transfer


def may_leave(read: Read, store: Event, event: Event) -> bool:
    """Whether a thread that stored may end with no meeting, in a CTA that comes to the publish."""
    walls = {id(each.op) for each in read.events.of(*JOINING)}
    block, index = read.graph.home[id(store.op)]
    known: dict[int, State] = {}
    pending: list[tuple[int, int, State]] = []
    for state in read.ways.states(store):
        yes = _guarded(read, store, state)
        if yes is not None:
            pending.append((block, index + 1, replace(yes, own={}, seen={})))
    while pending:
        number, start, state = pending.pop()
        for target, left in _beyond(read, number, start, state, walls):
            if target is None:
                if not read.apart(event, left):
                    return True
                continue
            old = known.get(target)
            new = left if old is None else _both(old, left)
            if new != old:
                known[target] = new
                pending.append((target, 0, new))
    return False


def _guarded(read: Read, event: Event, state: State) -> State | None:
    if event.op.guard is None:
        return state
    condition = read.followed.conditions.of(event.op.guard[0])
    return assume(state, condition if event.op.guard[1] else condition.negated())


def _both(old: State, new: State) -> State:
    return State({}, {}, old.mask | new.mask, old.literals & new.literals)


def _beyond(
    read: Read, number: int, start: int, state: State, walls: set[int]
) -> Iterator[tuple[int | None, State]]:
    """Where a thread may go from a block with no meeting in it; None is the end."""
    block = read.graph.blocks[number]
    passed = _unmet(read, number, start, state, walls)
    if passed is None:
        return
    yes: State | None = passed
    no: State | None = passed
    if block.branch is not None and block.branch.guard is not None:
        condition = read.followed.conditions.of(block.branch.guard[0])
        holds = condition if block.branch.guard[1] else condition.negated()
        yes, no = assume(passed, holds), assume(passed, holds.negated())
    if yes is not None:
        yield from ((target, yes) for target in block.taken)
    if block.following is not None and no is not None:
        yield block.following, no
    leaves = block.branch is not None and transfer(block.branch.mnemonic) in _ENDS
    if yes is not None and (leaves or (block.branch is None and block.following is None)):
        yield None, yes


def _unmet(read: Read, number: int, start: int, state: State, walls: set[int]) -> State | None:
    """The threads that come to the end of a block and met nobody in it; None where none can."""
    changed = {id(op): names for _, op, names in read.followed.forgetting.blocks[number]}
    for op in read.graph.blocks[number].ops[start:]:
        if id(op) in walls:
            if op.guard is None:
                return None
            condition = read.followed.conditions.of(op.guard[0])
            skipped = assume(state, condition.negated() if op.guard[1] else condition)
            if skipped is None:
                return None
            state = skipped
        if id(op) in changed:
            state = forget(state, frozenset(changed[id(op)]))
    return state


_ENDS = {Transfer.RETURN, Transfer.EXIT}
