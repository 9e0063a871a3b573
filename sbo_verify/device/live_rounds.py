"""Rounds of a producer and Combine Send side by side on one GPU: memory, streams, launches, counts.

Noise runs on a stream of its own through all rounds. On the main stream each round begins with
`prepare_round`, which audits the last round's signals, poisons D, zeroes the signals and writes A's
scales, so that the exact product is the bfloat16 number that names the round; then Combine Send
starts on a stream of its own; `gate` holds the main stream until all its CTAs run; and the producer
follows. Nothing waits for the host between rounds.

Nothing here draws or judges: a `LiveShot` says everything about a launch, a `RawLive` everything
that the GPU answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from sbo_verify.device.combine_build import (
    GATE_ENTRY,
    GATE_NOISE_ENTRY,
    NOISE_ENTRY,
    PREPARE_ENTRY,
    PREPARE_THREADS,
    build_rounds,
)
from sbo_verify.device.combine_layout import THREADS, dynamic_shared_bytes
from sbo_verify.device.driver import DriverError, Kernel
from sbo_verify.device.gpu import SM_SHARED_BYTES, Gpu, NoGpuError
from sbo_verify.device.live_shot import (
    LiveShot,
    RawLive,
    Structure,
    both,
    combine_parameters,
    counter,
    fresh_state,
    raw_live,
    round_parameters,
)
from sbo_verify.device.live_tensors import LiveTensors, live_tensors
from sbo_verify.device.micro_kernel import (
    POLL_SECONDS,
    ArenaError,
    LaunchFailedError,
    LaunchHungError,
)

STREAMS = 4


class LiveArena:
    """One process's GPU memory, streams and loaded kernels for rounds with a live consumer."""

    def __init__(self, gpu: Gpu) -> None:
        try:
            import torch  # noqa: PLC0415 - optional dependency
        except ImportError as error:
            message = "torch is not installed, which the GEMM's tensors are of: pip install torch"
            raise NoGpuError(message) from error
        self.torch = torch
        # Before torch 2.8 a GPU's errors had no class of their own.
        self.gpu_errors = (getattr(torch, "AcceleratorError", torch.cuda.CudaError),)
        self.gpu = gpu
        torch.cuda.set_device(gpu.index)
        self.main, self.send, self.beside, self.stop_stream = (
            torch.cuda.Stream() for _ in range(STREAMS)
        )
        self._noise: Any = None
        # The host speaks to running kernels by copies alone: a kernel that nobody has launched yet
        # may be loaded only when the GPU is idle, which a hung launch never lets it be.
        self.word, self._one = (
            torch.full((1,), value, dtype=torch.int32).pin_memory() for value in (0, 1)
        )
        self.word_read = torch.cuda.Event()
        artefact = build_rounds()
        self.prepare = Kernel(artefact.cubin, PREPARE_ENTRY)
        self.gate = Kernel(artefact.cubin, GATE_ENTRY)
        self.gate_noise = Kernel(artefact.cubin, GATE_NOISE_ENTRY)
        self.noise_kernel = self.load(artefact.cubin, NOISE_ENTRY)

    def tensors(
        self, sizes: tuple[int, int, int, int], masked: Sequence[int], seed: int
    ) -> LiveTensors:
        """Tensors of (G, M, N, K), made on the main stream."""
        with self.torch.cuda.stream(self.main):
            return live_tensors(self.torch, sizes, masked, seed)

    def load(self, cubin: bytes, entry: str) -> Kernel:
        """Combine Send for one variant, or the noise: one CTA to an SM."""
        kernel = Kernel(cubin, entry)
        dynamic = dynamic_shared_bytes()
        percent = -(-100 * (dynamic + kernel.static_shared_bytes() + 1024) // SM_SHARED_BYTES)
        kernel.allow_dynamic_shared(dynamic, min(100, percent))
        resident = kernel.resident_ctas_per_sm(THREADS, dynamic)
        if resident != 1:
            message = f"one CTA of {entry} was to fill an SM, the driver says {resident}"
            raise ArenaError(message)
        return kernel

    def once(self, produce: Callable[[], object]) -> object:
        """One call of the producer alone, and what it returned; it has ended on return."""
        with self.torch.cuda.stream(self.main):
            returned = produce()
        self.main.synchronize()
        return returned

    def noise(self, size: int) -> int:
        """Address of at least `size` bytes for noise, disjoint from everything else."""
        if size and (self._noise is None or self._noise.numel() < size):
            self._noise = None
            self._noise = self.torch.empty(size, dtype=self.torch.uint8, device="cuda")
        return int(self._noise.data_ptr()) if size else 0

    def raise_stop(self, stop: Any) -> None:  # noqa: ANN401 - torch's tensor
        """Set a word of the GPU's, beside whatever runs there."""
        with self.torch.cuda.stream(self.stop_stream):
            stop.copy_(self._one, non_blocking=True)

    def read_word(self, source: Any) -> None:  # noqa: ANN401 - torch's tensor
        """Begin to copy a word of the GPU into `word`, where it is once `word_read` has passed."""
        with self.torch.cuda.stream(self.stop_stream):
            self.word.copy_(source, non_blocking=True)
        self.word_read.record(self.stop_stream)

    def run(
        self, shot: LiveShot, kernel: Kernel, tensors: LiveTensors, produce: Callable[[], object]
    ) -> RawLive:
        """All rounds of one launch, and their counts.

        Raises `LaunchHungError` when it cannot be ended, `LaunchFailedError` when the GPU ended it
        with an error. What `produce` raises passes through.
        """
        rounds = _Rounds(self, shot, kernel, tensors, produce)
        try:
            return rounds.run()
        except (DriverError, *self.gpu_errors) as error:
            raise LaunchFailedError(str(error)) from error


class _Rounds:
    """The rounds of one launch on their way."""

    def __init__(
        self,
        arena: LiveArena,
        shot: LiveShot,
        kernel: Kernel,
        tensors: LiveTensors,
        produce: Callable[[], object],
    ) -> None:
        self.arena, self.shot, self.kernel, self.tensors = arena, shot, kernel, tensors
        self.produce = produce
        self.torch = arena.torch
        self.announced: set[object] = set()
        with self.torch.cuda.stream(arena.main):
            self.state = fresh_state(self.torch)
        noise = arena.noise(shot.noise_bytes)
        self.combine = combine_parameters(shot, tensors, int(self.state.data_ptr()), noise)
        self.between = both(round_parameters(tensors), self.combine)

    def run(self) -> RawLive:
        arena, shot = self.arena, self.shot
        start, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        graph = self._graph() if 0 < shot.rounds_per_graph <= shot.rounds else None
        self._begin_noise()
        start.record(arena.main)
        left = shot.rounds
        with self.torch.cuda.stream(arena.main):
            while graph is not None and left >= shot.rounds_per_graph:
                graph.replay()
                left -= shot.rounds_per_graph
            for _ in range(left):
                self._round()
            self._launch_prepare(ends=True)  # audits the last round
            arena.main.wait_stream(arena.beside)
        end.record(arena.main)
        hung = not self._wait_while_rounds_pass(end)
        if hung:
            self._stop(end)
        seconds = float(start.elapsed_time(end)) * 1e-3
        return raw_live(self.state, seconds, hung=hung, announced=frozenset(self.announced))

    def _graph(self) -> Any:  # noqa: ANN401 - torch's graph
        graph = self.torch.cuda.CUDAGraph()
        with self.torch.cuda.stream(self.arena.main):
            self.arena.main.synchronize()
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                for _ in range(self.shot.rounds_per_graph):
                    self._round()
            finally:
                graph.capture_end()
        return graph

    def _round(self) -> None:
        arena = self.arena
        self._launch_prepare()
        begun, ended = self.torch.cuda.Event(), self.torch.cuda.Event()
        begun.record(arena.main)
        arena.send.wait_event(begun)
        self.kernel.launch(
            self.combine,
            grid=self.shot.consumers,
            threads=THREADS,
            dynamic_shared=dynamic_shared_bytes(),
            cluster=1,
            stream=arena.send.cuda_stream,
        )
        ended.record(arena.send)
        self._launch(arena.gate, self.combine, grid=1, threads=1)
        self.announced.add(self.produce())
        arena.main.wait_event(ended)

    def _begin_noise(self) -> None:
        arena, ctas = self.arena, self.shot.noise_ctas
        if ctas == 0:
            return
        arena.beside.wait_stream(arena.main)
        arena.noise_kernel.launch(
            self.combine,
            grid=ctas,
            threads=THREADS,
            dynamic_shared=dynamic_shared_bytes(),
            cluster=1,
            stream=arena.beside.cuda_stream,
        )
        self._launch(arena.gate_noise, self.combine, grid=1, threads=1)

    def _launch_prepare(self, *, ends: bool = False) -> None:
        self.between["round"]["ends"] = int(ends)
        grid = 2 * self.arena.gpu.sm_count
        self._launch(self.arena.prepare, self.between, grid=grid, threads=PREPARE_THREADS)

    def _launch(
        self,
        kernel: Kernel,
        parameters: Structure,
        *,
        grid: int,
        threads: int,
    ) -> None:
        kernel.launch(
            parameters,
            grid=grid,
            threads=threads,
            dynamic_shared=0,
            cluster=1,
            stream=self.arena.main.cuda_stream,
        )

    def _wait_while_rounds_pass(self, end: Any) -> bool:  # noqa: ANN401 - torch's event
        """False once no round has begun for the limit: many slow rounds are no hang."""
        reached = -1
        while not _wait(end, self.shot.limit_seconds):
            self.arena.read_word(counter(self.torch, self.state, "round"))
            if not _wait(self.arena.word_read, self.shot.limit_seconds):
                return False
            if int(self.arena.word[0]) == reached:
                return False
            reached = int(self.arena.word[0])
        return True

    def _stop(self, end: Any) -> None:  # noqa: ANN401 - torch's event
        self.arena.raise_stop(counter(self.torch, self.state, "stop"))
        grace = 10 * self.shot.values["timeout_ns"] * 1e-9 + self.shot.limit_seconds
        if not _wait(end, grace):
            ran = self.shot.limit_seconds + grace
            message = f"the rounds ran {ran:.1f} s and ignored the stop"
            raise LaunchHungError(message)


def _wait(event: Any, seconds: float) -> bool:  # noqa: ANN401 - torch's event
    """Poll rather than block: a hung launch must not take the interpreter with it."""
    deadline = time.monotonic() + seconds
    while not event.query():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
