"""Signals that are asked for once, in no loop: what they let through is not known, nor nothing.

`if (flag == ready) read(tile)`, and the last of many that counts and then reads what all stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sbo_verify.compiled.inspection.early import object_of
from sbo_verify.compiled.inspection.events import Event, Part
from sbo_verify.compiled.inspection.function import Read
from sbo_verify.compiled.inspection.handoffs import HandOff, Side
from sbo_verify.compiled.inspection.text import Op
from sbo_verify.vocabulary import Kind, Order

_ASKS = {Order.RELAXED, Order.VOLATILE, Order.RELEASE}


def judge_once(read: Read, at: Callable[[Op], bool]) -> Iterator[HandOff]:
    """Strong loads and atomics that are no acquire and decide whether something is read."""
    for event in read.events.of(Part.READ, Part.PUBLISH):
        instruction = event.instruction
        if instruction is None or instruction.order not in _ASKS or not at(event.op):
            continue
        if instruction.kind not in {Kind.LOAD, Kind.ATOM}:
            continue
        if data := _let_through(read, event):
            hand_off = HandOff(read.function.name, Side.POLL, event.op, [each.op for each in data])
            hand_off.doubt(
                "it is asked once, and is no acquire: if it lets the reads behind it through, "
                "they are not ordered"
            )
            yield hand_off


def _let_through(read: Read, event: Event) -> list[Event]:
    """The reads behind what its result decides, with no fence between.

    Of an atomic these are reads of what was stored before it: one that draws a number decides what
    is read too.
    """
    tests = list(read.events.taint.tests(read.events.taint.of(event.op)))
    before = read.joins.before
    stores = {object_of(read, each) for each in read.stores if before(each.op, event.op)} - {""}
    here = object_of(read, event)
    fences = [each for each in read.events.of(Part.FENCE) if before(event.op, each.op)]
    return [
        each
        for each in (read.events.of(Part.READ, Part.BULK_READ) if tests else ())
        if each is not event
        and object_of(read, each) != here
        and (event.part is Part.READ or object_of(read, each) in stores)
        and any(before(test, each.op) for test in tests)
        and not any(before(fence.op, each.op) for fence in fences)
    ]
