"""Stores with no signal behind them for sure: behind the last one, or before an atomic that waits.

A signal covers the stores before it. One of the same object behind it, with no signal to follow,
may be a part of the tile too; and what waits by a compare-and-swap may publish by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sbo_verify.compiled.inspection.early import object_of
from sbo_verify.compiled.inspection.events import Event, Part
from sbo_verify.compiled.inspection.function import Read
from sbo_verify.compiled.inspection.handoffs import HandOff, Side
from sbo_verify.compiled.inspection.text import Op


def judge_swaps(read: Read, at: Callable[[Op], bool]) -> Iterator[HandOff]:
    """Atomics that wait and write, behind stores that no other signal follows: do they publish?"""
    for event in read.events.of(Part.POLL):
        if not event.op.mnemonic.startswith("atom") or not at(event.op):
            continue
        before = [each.op for each in read.unsignalled if read.joins.before(each.op, event.op)]
        if before:
            hand_off = HandOff(read.function.name, Side.PUBLISH, event.op, before)
            hand_off.doubt("it waits and writes: whether it publishes what was stored is not known")
            yield hand_off


def late_stores(read: Read, event: Event, stores: list[Event]) -> Iterator[Event]:
    """Stores behind or beside the signal to what is stored to before it, with no signal behind."""
    objects = {object_of(read, each) for each in stores} - {""}
    for each in read.unsignalled:
        if (
            each not in stores
            and object_of(read, each) in objects
            and (read.joins.before(event.op, each.op) or not read.graph.leads(event.op, each.op))
            and not read.of_other_ctas(each, event)
        ):
            yield each
