"""Steps of work on two lanes of one GPU, captured as a CUDA graph and timed with cold L2.

A lane is a stream: its steps follow each other. A step that waits for one of the other lane says so
in `after`. What a step launches is the caller's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any

from sbo_verify.device.torch_device import torch_module

# More than eight times the L2 of an H200.
FLUSH_BYTES = 512 << 20
MICROSECONDS_PER_MILLISECOND = 1e3


class Work(Enum):
    """What a step does; `_BY_SIGNALS` where the two sides of a hand-over run at the same time."""

    RECEIVE = "receive"
    SHARED = "shared"
    UP = "up"
    DOWN = "down"
    SEND = "send"
    DOWN_BY_SIGNALS = "down by signals"
    SEND_BY_SIGNALS = "send by signals"
    CLEAR = "clear signals"


class Lane(IntEnum):
    """The streams."""

    COMPUTE = 0
    LINK = 1


@dataclass(frozen=True)
class Step:
    """One piece of work on `sms` SMs, one CTA to an SM.

    `part` is 0 for the whole batch, 1 or 2 for a half. `after` are the places, in its schedule, of
    earlier steps that must have ended, besides those of its own lane.
    """

    work: Work
    lane: Lane
    sms: int
    part: int = 0
    after: tuple[int, ...] = ()


Launch = Callable[[Step, Any], None]


class Lanes:
    """The streams of a schedule; everything is timed on the first."""

    def __init__(self) -> None:
        self.torch = torch_module()
        self.streams = [self.torch.cuda.Stream() for _ in Lane]
        self._flushed = self.torch.empty(FLUSH_BYTES // 4, dtype=self.torch.int32, device="cuda")

    def run(self, steps: Sequence[Step], launch: Launch) -> None:
        """Put all steps on their streams, and let the first stream wait for the others."""
        main = self.streams[0]
        used = {step.lane for step in steps}
        others = [stream for lane, stream in zip(Lane, self.streams, strict=True) if lane in used]
        begun = self.torch.cuda.Event()
        begun.record(main)
        for stream in others:
            if stream is not main:
                stream.wait_event(begun)
        ended: list[Any] = []
        for step in steps:
            stream = self.streams[step.lane]
            for place in step.after:
                if steps[place].lane != step.lane:
                    stream.wait_event(ended[place])
            with self.torch.cuda.stream(stream):
                launch(step, stream)
            event = self.torch.cuda.Event()
            event.record(stream)
            ended.append(event)
        for stream in others:
            if stream is not main:
                main.wait_stream(stream)

    def capture(self, steps: Sequence[Step], launch: Launch) -> Any:  # noqa: ANN401 - torch's graph
        """The same as a graph; every kernel must have been launched before."""
        graph = self.torch.cuda.CUDAGraph()
        with self.torch.cuda.stream(self.streams[0]):
            self.settle()
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                self.run(steps, launch)
            finally:
                graph.capture_end()
        return graph

    def replay(self, graph: Any) -> None:  # noqa: ANN401 - torch's graph
        """One turn of the graph, ended on return."""
        with self.torch.cuda.stream(self.streams[0]):
            graph.replay()
        self.settle()

    def settle(self) -> None:
        """Wait until the GPU has nothing left to do."""
        self.torch.cuda.synchronize()

    def microseconds(
        self,
        graph: Any,  # noqa: ANN401 - torch's graph
        samples: int,
        before: Callable[[Any], None],
    ) -> list[float]:
        """The times of `samples` turns, between events at the graph's ends.

        Each comes after `before(stream)`, which is not counted, and after memory of more than L2 is
        overwritten. The host runs ahead, so that its own time does not count.
        """
        main = self.streams[0]
        events = []
        with self.torch.cuda.stream(main):
            for _ in range(samples):
                start, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
                before(main)
                self._flushed.zero_()
                start.record(main)
                graph.replay()
                end.record(main)
                events.append((start, end))
        self.settle()
        return [
            float(start.elapsed_time(end)) * MICROSECONDS_PER_MILLISECOND for start, end in events
        ]
