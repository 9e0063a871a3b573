"""From the writes of a bulk store's source to the bulk store, on every path."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sbo_verify.compiled.inspection.events import Event, Part, source_buffer
from sbo_verify.compiled.inspection.function import Read
from sbo_verify.compiled.inspection.handoffs import HandOff, Side
from sbo_verify.compiled.inspection.producer import direct, each_warp
from sbo_verify.compiled.inspection.text import Op
from sbo_verify.compiled.inspection.ways import State


def judge_sources(read: Read, at: Callable[[Op], bool]) -> Iterator[HandOff]:
    """Of each bulk store that `at` picks: do the ordinary writes of its source come before?"""
    writes = read.first_of_each(read.events.of(Part.SHARED_STORE))
    for event in read.first_of_each(read.events.of(Part.BULK_STORE)):
        if not at(event.op):
            continue
        source = source_buffer(event, read.values)
        before = [each for each in writes if direct(read, each, event) and _may_be(each, source)]
        copied = [each for each in _small_copies(read, event) if direct(read, each, event)]
        around = [each for each in writes if source and _around(read, each, event, source)]
        if not before and not copied and not around:
            continue
        hand_off = HandOff(
            read.function.name, Side.SOURCE, event.op, [e.op for e in (*before, *copied, *around)]
        )
        hand_off.ordering = [
            each.op
            for each in read.events.of(Part.PROXY_FENCE, Part.BARRIER)
            if read.graph.before(each.op, event.op)
            and any(read.graph.before(w.op, each.op) for w in before)
        ]
        for write in before:
            followed = read.behind(write, Part.BULK_STORE)
            if followed.given_up:
                hand_off.doubt(f"line {write.op.line}: not followed: {followed.given_up}")
            for state in followed.ways.states(event):
                _judge_source(followed, hand_off, event, write, state, known=bool(source))
        for each in around:
            hand_off.doubt(
                f"line {each.op.line}: written in the turn before, with no proxy fence: "
                "whether it writes the source is not known"
            )
        for each in copied:
            hand_off.doubt(f"line {each.op.line}: whether it writes the source is not known")
        for op in read.unread(event):
            hand_off.doubt(f"line {op.line}: {op.mnemonic} is not read")
        yield hand_off


def _around(read: Read, write: Event, event: Event, source: str) -> bool:
    """Whether a write comes to a bulk store over the end of a turn alone, with no proxy fence."""
    if write.buffer != source or direct(read, write, event):
        return False
    if not read.joins.leads(write.op, event.op):
        return False
    followed = read.behind(write, Part.BULK_STORE)
    place = write.op.place
    return any(
        state.own.get(("h", place)) == "dirty"
        or "dirty" in {state.seen.get(("h", place, turn)) for turn in (True, False)}
        for state in followed.ways.states(event)
    )


def _small_copies(read: Read, event: Event) -> Iterator[Event]:
    """`cp.async` with no proxy fence behind it: it writes shared memory as ordinary stores do."""
    before = read.graph.before
    for each in read.events.of(Part.READ):
        if each.op.mnemonic.startswith("cp.async") and not any(
            before(each.op, fence.op) and before(fence.op, event.op)
            for fence in read.events.of(Part.PROXY_FENCE)
        ):
            yield each


def _may_be(write: Event, source: str) -> bool:
    return not source or not write.buffer or write.buffer == source


def _judge_source(  # noqa: PLR0913 - one store, one write, one state
    read: Read, hand_off: HandOff, event: Event, write: Event, state: State, *, known: bool
) -> None:
    line, place = write.op.line, write.op.place
    words = [state.own["h", place]] if ("h", place) in state.own else []
    seen = state.seen.get(("h", place, True))
    warp = state.seen.get(("u", place, True))
    sure = known and bool(write.buffer)
    if seen is not None:
        words.append(seen)
    elif warp is not None and each_warp(read, event, write):
        words.append(warp)
        hand_off.doubt(f"line {line}: whether other warps write this warp's source is not known")
    elif not read.alone(write, state) and not read.apart(write, state):
        if sure and read.unmodelled(write, event) is None:
            hand_off.add("source-without-barrier", event.op, write.op)
        else:
            hand_off.doubt(
                f"line {line}: whether it writes the source, and is joined, is not known"
            )
        return
    if "dirty" in words:
        if sure:
            hand_off.add("source-without-proxy-fence", event.op, write.op)
        else:
            hand_off.doubt(f"line {line}: whether it writes the source is not known")
