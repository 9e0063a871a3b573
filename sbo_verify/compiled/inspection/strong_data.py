"""Relaxed writes that may be data and no signals: counts, sums, tiles stored by strong stores.

PTX does not tell them apart. One that each thread has a place of its own for, before a signal of
another place, is asked about as data; so is any, where nothing else stands before the signal.
"""

from __future__ import annotations

from sbo_verify.compiled.inspection.events import Event, Part, may_be_one
from sbo_verify.compiled.inspection.function import Read
from sbo_verify.compiled.inspection.values import PER_THREAD
from sbo_verify.vocabulary import Order

_RELAXED = {None, Order.WEAK, Order.RELAXED, Order.VOLATILE}


def possible_data(read: Read, signal: Event, *, alone: bool) -> list[Event]:
    """The relaxed writes before a signal that may be what it publishes.

    With `alone`, nothing else stands before it: then a relaxed signal whose place is each thread's
    own is taken for data itself.
    """
    if alone and _is_relaxed(signal) and _of_each_thread(signal):
        return []
    return read.first_of_each(
        each
        for each in read.events.of(Part.PUBLISH)
        if each is not signal
        and _is_relaxed(each)
        and (alone or _of_each_thread(each))
        and not may_be_one(each, signal)
        and not any(may_be_one(each, poll) for poll in read.events.of(Part.POLL))
        and read.joins.before(each.op, signal.op)
        and not read.of_other_ctas(each, signal)
    )


def _is_relaxed(event: Event) -> bool:
    order = event.instruction.order if event.instruction is not None else None
    return order in _RELAXED


def _of_each_thread(event: Event) -> bool:
    """Whether threads write places of their own, as far as the address is known."""
    return not event.root or any(word in event.address for word in PER_THREAD)
