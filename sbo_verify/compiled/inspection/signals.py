"""Which writes behind tile stores are signals, and which are counters or results.

PTX does not say it. A release, or a write behind a fence of its thread, is taken for a signal; a
relaxed write is one unless a better candidate is known; a weak store is one where a fence stands
before it that nothing else needs.
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


def no_signal(
    one: Candidate, reads: Sequence[Read], all_of_them: Sequence[Candidate]
) -> str | None:
    """Why a candidate is taken for no signal; None where it is one."""
    read, event = one.read, one.event
    polls = list(_polls(read, reads))
    polled = any(may_be_one(each, event) for each in polls)
    strong = releases(event) or fenced(read, event, one.stores)
    if strong or not event.buffer or (polled and one.near):
        return None
    if polls and not polled:
        return "a relaxed write to a place that no loop of this function polls"
    others = [each for each in all_of_them if each.read is read and each.near]
    if not one.near and others:
        same = any(each.event.buffer == event.buffer for each in others)
        return None if same else "a relaxed write before the tile's store"
    return None


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
    return replace(read, events=Events(kept, read.events.tested_by)) if found else read


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
