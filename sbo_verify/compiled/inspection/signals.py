"""Which writes behind tile stores are signals, and which are counters or results.

PTX does not say it. A release, or a write behind a fence of its thread, is taken for a signal; a
relaxed write is one where nothing is polled, or it is what is polled, and else may be one; a weak
store is one where a fence stands before it that nothing else needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sbo_verify.compiled.inspection.events import Event, Events, Part, is_word, may_be_one
from sbo_verify.compiled.inspection.facts import WIDE
from sbo_verify.compiled.inspection.function import Read
from sbo_verify.compiled.inspection.producer import direct, fenced, publishes, releases
from sbo_verify.compiled.inspection.text import Op
from sbo_verify.vocabulary import Order

POSSIBLE = (
    "possibly a signal: one thread's weak store behind a drained tile; if another CTA polls it, "
    "it orders nothing (weak-publish)"
)


@dataclass(frozen=True)
class Candidate:
    """A write that may publish the stores that come before it; `near`: in its own turn."""

    read: Read
    event: Event
    stores: list[Event]
    near: bool


def candidates(reads: Sequence[Read]) -> list[Candidate]:
    """Each write that may publish tile stores."""
    return [
        Candidate(read, event, stores, any(direct(read, store, event) for store in stores))
        for read in reads
        for event, stores in publishes(read)
    ]


def same_signal(one: Candidate, all_of_them: Sequence[Candidate]) -> list[Event]:
    """The writes of a function that may be of the same signal, itself included."""
    return [
        each.event
        for each in all_of_them
        if each.read is one.read and may_be_one(each.event, one.event)
    ]


def no_signal(one: Candidate, all_of_them: Sequence[Candidate]) -> str | None:
    """Why a candidate is taken for no signal; None where it is one."""
    read, event = one.read, one.event
    if one.near or _strong(one) or not event.buffer:
        return None
    others = [each for each in all_of_them if each.read is read and each.near]
    if others:
        same = any(each.event.buffer == event.buffer for each in others)
        return None if same else "a relaxed write before the tile's store"
    taint = read.events.taint
    if any(taint.addresses(taint.of(event.op))):
        return "a number that is drawn before the tile's store, and says where the tile is"
    return None


def may_be_counter(one: Candidate, reads: Sequence[Read]) -> bool:
    """Whether a relaxed write may be a counter: the function polls, and no place that this may be.

    It may be a signal to another kernel, or to another CTA's turn, all the same.
    """
    polls = list(_polls(one.read, reads))
    if _strong(one) or not one.event.buffer or not polls:
        return False
    return not any(may_be_one(each, one.event) for each in polls)


def _strong(one: Candidate) -> bool:
    return releases(one.event) or fenced(one.read, one.event, one.stores)


def _polls(read: Read, reads: Sequence[Read]) -> Iterator[Event]:
    """The polls of a function, and those of variables that the whole file knows.

    Two kernels' parameters have no names in common, so that another's polls say nothing of them.
    """
    for each in reads:
        for poll in each.events.of(Part.POLL):
            if each is read or (poll.buffer and not poll.buffer.startswith("param ")):
                yield poll


def flags(read: Read) -> Read:
    """A function with its weak flags as publishes, where it polls nothing.

    A weak store of one word by one thread, behind a fence that covers stores to other buffers, with
    nothing stronger behind it: the fence has no other use.
    """
    if read.events.of(Part.POLL) or not read.events.of(Part.FENCE):
        return read
    found = {id(each.op) for each in read.events.of(Part.STORE) if _is_flag(read, each)}
    kept = [
        replace(each, part=Part.PUBLISH) if id(each.op) in found else each
        for each in read.events.all
    ]
    if not found:
        return read
    return replace(read, events=Events(read.events.taint, kept, read.events.tested_by))


def _is_flag(read: Read, event: Event) -> bool:
    instruction = event.instruction
    if instruction is None or instruction.order is not Order.WEAK or not event.buffer:
        return False
    if not is_word(event) or not _one_thread(read, event):
        return False
    if any(read.joins.leads(event.op, each.op) for each in read.events.of(Part.PUBLISH)):
        return False
    stores = [
        each
        for each in read.events.of(Part.STORE, Part.BULK_STORE)
        if each.part is Part.BULK_STORE or each.buffer != event.buffer
    ]
    return any(
        fence.instruction is not None
        and fence.instruction.scope in WIDE
        and read.graph.before(fence.op, event.op)
        and any(read.joins.before(store.op, fence.op) for store in stores)
        for fence in read.events.of(Part.FENCE)
    )


def _one_thread(read: Read, event: Event) -> bool:
    coming = read.ways.coming(event)
    return coming.mask.bit_count() == 1 or coming.elected


def possible_flags(read: Read) -> Iterator[tuple[Op, str]]:
    """Weak stores of one thread behind a drained bulk store, with no fence: perhaps a signal."""
    if read.events.of(Part.POLL, Part.PUBLISH):
        return
    drains = [
        each
        for each in read.events.of(Part.WAIT)
        if each.instruction is not None and not each.instruction.source_only
    ]
    for event in read.events.of(Part.STORE):
        weak = event.instruction is not None and event.instruction.order is Order.WEAK
        if not weak or not event.buffer or not is_word(event) or not _one_thread(read, event):
            continue
        if any(read.joins.before(drain.op, event.op) for drain in drains):
            yield (
                event.op,
                POSSIBLE,
            )
