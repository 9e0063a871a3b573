"""A whole PTX file: which publishes and polls belong together, and the verdict on each hand-off.

A publish counts as a hand-off where tile stores can come before it. Where a function polls other
signals, a relaxed write may be a counter too, and nothing that it breaks is sure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial

from sbo_verify.compiled.inspection.consumer import endless_loops, judge_calls, judge_poll, signals
from sbo_verify.compiled.inspection.events import Event, Part, may_be_one
from sbo_verify.compiled.inspection.function import Read, read_function
from sbo_verify.compiled.inspection.handoffs import HandOff, HandOffVerdict, Side
from sbo_verify.compiled.inspection.late import judge_swaps
from sbo_verify.compiled.inspection.once import judge_once
from sbo_verify.compiled.inspection.producer import judge_publish, judge_unread
from sbo_verify.compiled.inspection.signals import (
    candidates,
    flags,
    may_be_counter,
    no_signal,
    possible_flags,
    same_signal,
)
from sbo_verify.compiled.inspection.sources import judge_sources
from sbo_verify.compiled.inspection.text import Function, Module, Op, read_module

COUNTER = "it may be a signal, or a counter, which no loop of this function polls"
OTHERS = "this file writes the signal behind no store: it may hand over what others stored"
_GENERIC = (Part.STORE, Part.PUBLISH)


class UnknownKernelError(ValueError):
    """A kernel that the file does not hold; the message names those that it does."""


@dataclass
class Inspection:
    """The hand-offs of a file, and what was seen and not judged, each with its instruction.

    `unread` says why code of the file could not be read, if any.
    """

    module: Module
    functions: list[str]
    hand_offs: list[HandOff] = field(default_factory=list)
    not_judged: list[tuple[Op, str]] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> HandOffVerdict | None:
        """The worst of all; None where the file hands nothing over.

        That the source of a bulk store is in order hands nothing over yet.
        """
        found = {
            each.verdict
            for each in self.hand_offs
            if each.side is not Side.SOURCE or each.verdict is not HandOffVerdict.ORDERED
        }
        if self.unread:
            found.add(HandOffVerdict.CANNOT_TELL)
        ranked = (HandOffVerdict.NOT_ORDERED, HandOffVerdict.CANNOT_TELL, HandOffVerdict.ORDERED)
        return next((each for each in ranked if each in found), None)


def inspect_ptx(
    text: str, kernel: str | None = None, *, at: Callable[[Op], bool] | None = None
) -> Inspection:
    """Judge the hand-offs of a PTX file, or of one of its kernels.

    With `at`, only those that stand at the instructions that it picks.

    Raises `PtxError`, with the line, for text that cannot be read, and `UnknownKernelError`.
    """
    return inspect_module(read_module(text), kernel, at=at)


def inspect_module(
    module: Module, kernel: str | None = None, *, at: Callable[[Op], bool] | None = None
) -> Inspection:
    """Judge the hand-offs of functions that were read; raises as `inspect_ptx` does."""
    chosen = [each for each in module.functions if kernel in {None, each.name}]
    if not chosen:
        raise UnknownKernelError(_no_kernel(module, kernel or ""))
    inspection = Inspection(module, [each.name for each in chosen])
    chosen = _with_called(module, chosen)
    harmless = _harmless(module)
    reads = [read_function(module, each, harmless) for each in chosen if each.name not in harmless]
    reads = [flags(each) for each in reads]
    found = candidates(reads)
    judged: list[tuple[Event, list[Event]]] = []
    chosen_ops = at or _everywhere
    for one in found:
        if (why := no_signal(one, found)) is not None:
            inspection.not_judged.append((one.event.op, why))
            continue
        judged.append((one.event, one.stores))
        if chosen_ops(one.event.op):
            hand_off = judge_publish(
                one.read, one.event, one.stores, partial(same_signal, one, found)
            )
            if may_be_counter(one, reads):
                hand_off.suppose(COUNTER)
            inspection.hand_offs.append(hand_off)
    inspection.not_judged += [each for read in reads for each in possible_flags(read)]
    inspection.hand_offs += [each for read in reads for each in judge_sources(read, chosen_ops)]
    inspection.hand_offs += [each for read in reads for each in judge_unread(read)]
    inspection.hand_offs += [each for read in reads for each in judge_swaps(read, chosen_ops)]
    inspection.hand_offs += _polls(reads, judged, chosen_ops)
    inspection.hand_offs += [each for read in reads for each in judge_once(read, chosen_ops)]
    inspection.hand_offs += judge_calls(reads)
    inspection.hand_offs += [each for read in reads for each in endless_loops(read)]
    return inspection


def _with_called(module: Module, functions: list[Function]) -> list[Function]:
    """Functions, and those that they call: what they store, publish and poll is theirs."""
    found = {each.name: each for each in functions}
    if len(found) == len(module.functions):
        return functions
    known = {each.name: each for each in module.functions}
    pending = list(functions)
    while pending:
        for op in pending.pop().body:
            calls = isinstance(op, Op) and op.mnemonic.startswith("call")
            for name in op.operands if isinstance(op, Op) and calls else ():
                if name in known and name not in found:
                    found[name] = known[name]
                    pending.append(known[name])
    return list(found.values())


def _everywhere(_op: Op) -> bool:
    return True


def _polls(
    reads: list[Read], judged: list[tuple[Event, list[Event]]], at: Callable[[Op], bool]
) -> Iterator[HandOff]:
    """The polls of signals that hand something over, or that this file does not write."""
    writes = [e for read in reads for e in read.events.of(Part.PUBLISH) if e.buffer]
    published = {event.buffer for event, _ in judged}
    stores = [store for _, group in judged for store in group]
    known = bool(stores) and all(each.part in _GENERIC and each.buffer for each in stores)
    stored = sorted({each.buffer for each in stores}) if known else None
    for read in reads:
        for group in signals(read):
            buffer = group[0].buffer
            if not any(at(each.op) for each in group):
                continue
            written = buffer and any(_written(read, each, group) for each in writes)
            here = stored if buffer and buffer in published else None
            hand_off = judge_poll(read, group, here)
            if hand_off is None:
                continue
            if written and buffer not in published and "" not in published:
                # Nothing that this file stores is handed over; what others stored may be.
                if not hand_off.broken:
                    continue
                hand_off.unknown.clear()
                hand_off.suppose(OTHERS)
            yield hand_off


def _written(read: Read, write: Event, polls: list[Event]) -> bool:
    """Whether a write may be what polls wait for; one behind them resets or answers them."""
    home = read.graph.home
    behind = id(write.op) in home and any(read.graph.before(p.op, write.op) for p in polls)
    return not behind and any(may_be_one(write, poll) for poll in polls)


def _harmless(module: Module) -> frozenset[str]:
    """Functions that hold no event, and so cannot take part in a hand-off when they are called."""
    harmless: set[str] = set()
    for function in module.functions:
        if not function.entry and _silent(module, function, harmless):
            harmless.add(function.name)
    return frozenset(harmless)


def _silent(module: Module, function: Function, harmless: set[str]) -> bool:
    return not read_function(module, function, harmless).events.all


def _no_kernel(module: Module, name: str) -> str:
    names = [each.name for each in module.functions]
    near = get_close_matches(name, names, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"it holds: {', '.join(names)}"
    return f"no kernel {name!r} in the file; {hint}"
