"""Steps on their streams: each waits for what its schedule says, and the first stream for all.

Wrong waits would not show in what a schedule of several layers makes, since every layer makes the
same.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbo_verify.device import lanes as device_lanes
from sbo_verify.device.lanes import Lane, Lanes, Step, Work
from sbo_verify.harness.overlap_schedules import Split, down_beside_send, one_batch, two_batches

SPLIT = Split(132, 3)


@dataclass(eq=False)
class FakeStream:
    """What has been put on a stream is known to have ended before whatever comes next."""

    known: set[int] = field(default_factory=set)

    def wait_event(self, event: FakeEvent) -> None:
        self.known |= event.known

    def wait_stream(self, other: FakeStream) -> None:
        self.known |= other.known


@dataclass(eq=False)
class FakeEvent:
    """What had been put on a stream when it was recorded."""

    enable_timing: bool = False
    known: set[int] = field(default_factory=set)

    def record(self, stream: FakeStream) -> None:
        self.known = set(stream.known)


class FakeTorch:
    """Streams and events, one of which is current."""

    int32 = "int32"

    def __init__(self) -> None:
        self.current: FakeStream | None = None
        self.cuda = SimpleNamespace(
            Stream=FakeStream, Event=FakeEvent, stream=self._stream, synchronize=lambda: None
        )

    def empty(self, *_shape: int, **_options: str) -> Any:  # noqa: ANN401 - a made-up tensor
        return SimpleNamespace(zero_=lambda: None)

    @contextmanager
    def _stream(self, stream: FakeStream) -> Any:  # noqa: ANN401 - a context manager
        before, self.current = self.current, stream
        yield
        self.current = before


def lanes() -> Lanes:
    """Lanes of made-up streams."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device_lanes, "torch_module", FakeTorch)
        return Lanes()


def ended_before(steps: list[Step], run: Callable[[list[Step], Any], None]) -> list[set[int]]:
    """For each step the places of those that have ended when it begins."""
    seen: list[set[int]] = []

    def launch(_step: Step, stream: FakeStream) -> None:
        seen.append(set(stream.known))
        stream.known.add(len(seen) - 1)

    run(steps, launch)
    return seen


def promised(steps: list[Step]) -> list[set[int]]:
    """The same, as a schedule is to be read: its lane's order, and what `after` names."""
    found: list[set[int]] = []
    for place, step in enumerate(steps):
        direct = {p for p in range(place) if steps[p].lane == step.lane} | set(step.after)
        found.append(direct.union(*(found[p] for p in direct)))
    return found


def schedules() -> list[list[Step]]:
    ways = [(receive, send) for receive in (False, True) for send in (False, True)]
    batches = [one_batch(3, SPLIT, receive_overlaps=r, send_overlaps=s) for r, s in ways]
    return [*batches, two_batches(3, SPLIT), down_beside_send(SPLIT)]


@st.composite
def any_steps(draw: st.DrawFn) -> list[Step]:
    count = draw(st.integers(1, 12))
    return [
        Step(
            Work.UP,
            draw(st.sampled_from(Lane)),
            1,
            after=tuple(draw(st.sets(st.integers(0, place - 1)))) if place else (),
        )
        for place in range(count)
    ]


@given(any_steps())
def test_steps_begin_when_what_they_wait_for_has_ended_and_no_later(steps: list[Step]) -> None:
    assert ended_before(steps, lanes().run) == promised(steps)


@pytest.mark.parametrize("steps", schedules())
def test_so_do_those_of_every_schedule(steps: list[Step]) -> None:
    assert ended_before(steps, lanes().run) == promised(steps)


@given(any_steps())
def test_the_first_stream_ends_last(steps: list[Step]) -> None:
    made = lanes()
    ended_before(steps, made.run)
    first: Any = made.streams[0]
    assert first.known == set(range(len(steps)))


def test_nothing_begins_before_what_was_on_the_first_stream() -> None:
    made = lanes()
    first: Any = made.streams[0]
    first.known.add(-1)
    assert all(-1 in seen for seen in ended_before(down_beside_send(SPLIT), made.run))


def test_a_wait_that_is_left_out_is_noticed() -> None:
    steps = two_batches(2, SPLIT)
    assert any(
        ended_before([Step(s.work, s.lane, s.sms, s.part) for s in steps], lanes().run)[place]
        != promised(steps)[place]
        for place in range(len(steps))
    )


def test_times_are_those_between_events_in_microseconds() -> None:
    made = lanes()
    order: list[str] = []
    torch: Any = made.torch

    class Timed(FakeEvent):
        def record(self, stream: FakeStream) -> None:
            order.append("event")
            super().record(stream)

        def elapsed_time(self, end: Timed) -> float:
            assert end is not self
            return 0.25

    torch.cuda.Event = Timed
    torch.cuda.stream = lambda _stream: nullcontext()
    made._flushed.zero_ = lambda: order.append("flush")  # noqa: SLF001 - a fake in its place
    graph = SimpleNamespace(replay=lambda: order.append("graph"))
    assert made.microseconds(graph, 2, lambda _stream: order.append("before")) == [250.0, 250.0]
    assert order == ["before", "flush", "event", "graph", "event"] * 2
