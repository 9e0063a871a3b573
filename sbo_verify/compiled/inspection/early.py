"""Reads that no poll lets through: before it, beside it, or in the words beside the signal.

What a poll orders stands behind it. A read of the same object before the poll may be of the tile
too, and where nothing is read behind a poll, its data may have been read before it. Neither is
sure: a kernel may read what was there, and wait for room and not for data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sbo_verify.compiled.inspection.events import Event, Part
from sbo_verify.compiled.inspection.function import Read
from sbo_verify.compiled.inspection.taint import stored
from sbo_verify.vocabulary import Order

_REGISTER = re.compile(r"\[\s*([%\w$'.]+)")
_WRITES = (Part.STORE, Part.SHARED_STORE, Part.PUBLISH)


def early_reads(
    read: Read, polls: Sequence[Event], data: Sequence[Event]
) -> Iterator[tuple[Event, bool]]:
    """Reads before a poll that may be of what is read behind it, and whether that is a doubt.

    Where it is not known whether they are of one buffer, one that only decides something behind the
    poll, and a strong one, are assumed to be of another: a count, or a signal. So is, in machine
    code, one of a known buffer.
    """
    objects = {object_of(read, each) for each in data}
    known = {each for each in objects if _is_known(each)}
    for each in _before(read, polls):
        here = object_of(read, each)
        unknown = known != objects or not _is_known(here)
        if here in objects:
            if _consumed(read, each, polls):
                yield each, True
        elif unknown and _used_behind(read, each, polls):
            lost = read.function.machine_code and _is_known(here)
            yield each, _is_weak(each) and not lost
        elif not known and _consumed(read, each, polls):
            yield each, False


def doubts_with_nothing_behind(read: Read, polls: Sequence[Event]) -> Iterator[tuple[Event, str]]:
    """Where a poll has no read behind it: what may be its data, and why that is not ordered."""
    for each in polls:
        if _is_vector(each) and _used_behind(read, each, polls):
            yield each, "words beside the signal are no part of it: a vector is several accesses"
    for each in read.events.of(Part.UNREAD):
        if any(read.joins.before(each.op, poll.op) for poll in polls):
            yield each, f"{each.op.mnemonic} before it is not read"
    for each in _before(read, polls):
        if _used_behind(read, each, polls):
            yield each, "read before the poll and used behind it: if it is the data, not ordered"
    for each in read.events.of(Part.READ, Part.BULK_READ):
        if _beside(read, each, polls):
            yield (
                each,
                "read by threads that do not wait for the poll: if it is the data, not ordered",
            )


def object_of(read: Read, event: Event) -> str:
    """What an access is of: its buffer, its tensor map, or the register that has its address.

    Empty where that is not known.
    """
    if event.buffer:
        return event.buffer
    places = [each for each in event.op.operands if each.startswith("[")]
    source = places[1:2] if event.part is Part.BULK_READ else places[-1:]
    if event.part is Part.BULK_STORE:
        source = places[:1]
    match = _REGISTER.match(source[0]) if source else None
    if match is None:
        return ""
    found = read.values.address(f"[{match[1]}]")
    if found is not None and "?" not in found.text:
        return found.text
    # Only a register that is written once names one object.
    return match[1] if read.values.definition(match[1]) is not None else ""


def _is_known(name: str) -> bool:
    """Whether an object is one that no other can be, and no register that has some address."""
    return bool(name) and not name.startswith("%")


def _before(read: Read, polls: Sequence[Event]) -> Iterator[Event]:
    """Reads on the way to a poll, with no poll of the signal before them in their turn."""
    for each in read.events.of(Part.READ, Part.BULK_READ):
        ahead = [poll for poll in polls if read.joins.before(each.op, poll.op)]
        if not ahead or any(read.joins.before(poll.op, each.op) for poll in polls):
            continue
        if not all(read.of_other_ctas(each, poll) for poll in ahead):
            yield each


def _used_behind(read: Read, event: Event, polls: Sequence[Event]) -> bool:
    """Whether what was read is written somewhere behind a poll; of a copy it is not known."""
    if event.part is Part.BULK_READ or event.op.mnemonic.startswith("cp."):
        return True
    reached = read.events.taint.of(event.op)
    return any(
        not reached.isdisjoint(stored(write.op))
        for write in read.events.of(*_WRITES)
        if any(read.joins.before(poll.op, write.op) for poll in polls)
    )


def _consumed(read: Read, event: Event, polls: Sequence[Event]) -> bool:
    """Whether what was read leaves the CTA, is written behind a poll, or decides something there.

    A pointer does so by way of another read alone.
    """
    if _used_behind(read, event, polls):
        return True
    taint = read.events.taint
    reached = taint.of(event.op)
    outside = read.events.of(Part.STORE, Part.PUBLISH)
    if any(not reached.isdisjoint(stored(write.op)) for write in outside):
        return True
    places = list(taint.addresses(reached))
    if places and event.op.mnemonic.endswith("64"):
        return False
    return any(
        read.joins.before(poll.op, op) for op in (*places, *taint.tests(reached)) for poll in polls
    )


def _beside(read: Read, event: Event, polls: Sequence[Event]) -> bool:
    return not any(
        read.joins.leads(event.op, poll.op)
        or read.joins.leads(poll.op, event.op)
        or read.of_other_ctas(event, poll)
        for poll in polls
    )


def _is_weak(event: Event) -> bool:
    instruction = event.instruction
    return instruction is None or instruction.order in {None, Order.WEAK}


def _is_vector(event: Event) -> bool:
    """Whether several words are loaded; of machine code, also where they may be one of 64 bits."""
    return bool(event.op.operands) and event.op.operands[0].startswith("{")
