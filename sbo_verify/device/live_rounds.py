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
from dataclasses import dataclass
from typing import Any

import numpy as np

from sbo_verify.device.combine_build import (
    GATE_ENTRY,
    GATE_NOISE_ENTRY,
    NOISE_ENTRY,
    PREPARE_ENTRY,
    PREPARE_THREADS,
    build_rounds,
)
from sbo_verify.device.combine_layout import (
    COMBINE_COUNTERS,
    COMBINE_PARAMETERS,
    ROUND_PARAMETERS,
    SLOT_WITNESS,
    THREADS,
    dynamic_shared_bytes,
)
from sbo_verify.device.driver import DriverError, Kernel
from sbo_verify.device.gpu import SM_SHARED_BYTES, Gpu, NoGpuError
from sbo_verify.device.layout import FAULT
from sbo_verify.device.live_tensors import SMALLEST_BLOCK_M, LiveTensors, live_tensors
from sbo_verify.device.micro_kernel import (
    POLL_SECONDS,
    WITNESS_CAPACITY,
    ArenaError,
    LaunchFailedError,
    LaunchHungError,
)

INT32_LARGEST = 2**31 - 1
STATE_BYTES = 1 << 14
STREAMS = 4
# Noise that nobody ends gives up by itself.
NOISE_FACTOR = 2


@dataclass(frozen=True)
class LiveShot:
    """One launch in numbers. `values` are the other scalar members of the kernel's parameters."""

    rounds: int
    rounds_per_graph: int
    block_m: int
    threshold: int
    consumers: int
    noise_ctas: int
    noise_bytes: int
    values: dict[str, int]
    limit_seconds: float


@dataclass(frozen=True)
class RawLive:
    """What one launch left behind. `announced` is what the producer returned in each call."""

    counters: np.ndarray[Any, np.dtype[np.void]]
    witnesses: np.ndarray[Any, np.dtype[np.void]]
    fault: np.ndarray[Any, np.dtype[np.void]]
    elapsed_seconds: float
    hung: bool
    announced: frozenset[object]


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
            self.state = _fresh_state(self.torch)
        self.combine = self._combine_parameters()
        self.between = _both(self._round_parameters(), self.combine)

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
        hung = not _wait(end, shot.limit_seconds)
        if hung:
            self._stop(end)
        seconds = float(start.elapsed_time(end)) * 1e-3
        return self._read_back(seconds, hung=hung)

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
        parameters: np.ndarray[Any, np.dtype[np.void]],
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

    def _stop(self, end: Any) -> None:  # noqa: ANN401 - torch's event
        stop = self._address("counters") + _offset(COMBINE_COUNTERS.dtype(), "stop")
        with self.torch.cuda.stream(self.arena.stop_stream):
            at = stop - int(self.state.data_ptr())
            self.state[at : at + 4].view(self.torch.int32).fill_(1)
        grace = 10 * self.shot.values["timeout_ns"] * 1e-9 + self.shot.limit_seconds
        if not _wait(end, grace):
            ran = self.shot.limit_seconds + grace
            message = f"the rounds ran {ran:.1f} s and ignored the stop"
            raise LaunchHungError(message)

    def _address(self, part: str) -> int:
        return int(self.state.data_ptr()) + PARTS[part]

    def _combine_parameters(self) -> np.ndarray[Any, np.dtype[np.void]]:
        shot, tensors = self.shot, self.tensors
        groups, m, n, _ = tensors.sizes
        needed = groups * -(-m // shot.block_m)
        if needed > tensors.signal.numel():
            message = (
                f"block_m is {shot.block_m}: {needed} signals are needed, and the interface has "
                f"{tensors.signal.numel()}, one for {SMALLEST_BLOCK_M} rows"
            )
            raise ArenaError(message)
        return _filled(
            COMBINE_PARAMETERS.dtype(),
            {
                "d": tensors.d.data_ptr(),
                "destination": tensors.destination.data_ptr(),
                "received": tensors.masked_m.data_ptr(),
                "signals": tensors.signal.data_ptr(),
                "counters": self._address("counters"),
                "witnesses": self._address("witnesses"),
                "fault": self._address("fault"),
                "noise": self.arena.noise(shot.noise_bytes),
                "noise_bytes": shot.noise_bytes,
                "groups": groups,
                "m": m,
                "row_bytes": 2 * n,
                "block_m": shot.block_m,
                "threshold": shot.threshold,
                "consumers": shot.consumers,
                "noise_ctas": shot.noise_ctas,
                "noise_limit_ns": int(NOISE_FACTOR * shot.limit_seconds * 1e9),
                "witness_capacity": WITNESS_CAPACITY,
                **shot.values,
            },
        )

    def _round_parameters(self) -> np.ndarray[Any, np.dtype[np.void]]:
        tensors = self.tensors
        groups, m, n, _ = tensors.sizes
        storage = tensors.scale_storage
        return _filled(
            ROUND_PARAMETERS.dtype(),
            {
                "d": tensors.d.data_ptr(),
                "scales": storage.data_ptr(),
                "d_bytes": 2 * groups * m * n,
                "signal_count": tensors.signal.numel(),
                "scale_count": storage.numel(),
                "scale_pitch": storage.shape[2],
                "k_blocks": storage.shape[1],
            },
        )

    def _read_back(self, seconds: float, *, hung: bool) -> RawLive:
        raw = self.state.cpu().numpy()

        def part(name: str, dtype: np.dtype[Any], count: int) -> np.ndarray[Any, Any]:
            begin = PARTS[name]
            return np.asarray(raw[begin : begin + dtype.itemsize * count]).view(dtype)

        counters = part("counters", COMBINE_COUNTERS.dtype(), 1)
        kept = min(int(counters["witnesses"][0]), WITNESS_CAPACITY)
        return RawLive(
            counters=counters,
            witnesses=part("witnesses", SLOT_WITNESS.dtype(), kept),
            fault=part("fault", FAULT.dtype(), 1),
            elapsed_seconds=seconds,
            hung=hung,
            announced=frozenset(self.announced),
        )


# Byte offsets in the state buffer.
PARTS = {"counters": 0, "fault": 1024, "witnesses": 2048}


def _fresh_state(torch: Any) -> Any:  # noqa: ANN401 - torch, which is optional
    state = np.zeros(STATE_BYTES, dtype=np.uint8)
    counters = state[: COMBINE_COUNTERS.dtype().itemsize].view(COMBINE_COUNTERS.dtype())
    counters["signal_lowest"] = INT32_LARGEST
    return torch.from_numpy(state).to("cuda")


def _filled(dtype: np.dtype[np.void], values: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.void]]:
    made = np.zeros(1, dtype=dtype)
    for name, value in values.items():
        made[name] = value
    return made


def _both(
    first: np.ndarray[Any, np.dtype[np.void]], second: np.ndarray[Any, np.dtype[np.void]]
) -> np.ndarray[Any, np.dtype[np.void]]:
    """Two structures behind each other, as one parameter; both are aligned to 8 bytes."""
    kind = np.dtype([("round", first.dtype), ("combine", second.dtype)], align=True)
    made = np.zeros(1, dtype=kind)
    made["round"], made["combine"] = first, second
    return made


def _offset(dtype: np.dtype[np.void], name: str) -> int:
    described: Any = dtype.fields
    return int(described[name][1])


def _wait(event: Any, seconds: float) -> bool:  # noqa: ANN401 - torch's event
    """Poll rather than block: a hung launch must not take the interpreter with it."""
    deadline = time.monotonic() + seconds
    while not event.query():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
