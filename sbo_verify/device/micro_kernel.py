"""Launches of the micro-kernel: memory, parameters, waiting, and reading the result back.

Nothing here draws or judges: a `Shot` says everything about a launch, a `RawLaunch` everything the
GPU answered.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sbo_verify.device.build import Artefact
from sbo_verify.device.driver import DriverError, Kernel, encode_tensor_map, has_passed
from sbo_verify.device.geometry import Geometry
from sbo_verify.device.gpu import (
    RESERVED_SHARED_BYTES,
    SM_SHARED_BYTES,
    Gpu,
)
from sbo_verify.device.layout import COUNTERS, FAULT, PARAMETERS, PLACE_ENTRY, WITNESS
from sbo_verify.device.pinned_pool import PINNED_POOL_BYTES, PinnedPool
from sbo_verify.device.running import Beside, Running

WITNESS_CAPACITY = 32
ACKNOWLEDGE_STRIDE = 32
MAX_PLACES = 1024
MAX_PAIRS = 4096
# Tags are compared as signed differences; start over long before they can wrap.
LAST_TAG = 1 << 30
TILE_POOL_BYTES = 1 << 30
POLL_SECONDS = 2e-4


class ArenaError(ValueError):
    """A launch that needs more memory than there is; the message says how much is allowed."""


class GpuMemoryError(RuntimeError):
    """The GPU has no room for what a launch needs; its context can still be used.

    `what` is the word for a fault record.
    """

    what = "out of GPU memory"


class GpuLostError(RuntimeError):
    """The process's GPU context is of no more use: the process must end.

    `what` is the word for a fault record.
    """

    what = ""


class LaunchHungError(GpuLostError):
    """A launch that did not end even after it was told to stop."""

    what = "launch hung"


class LaunchFailedError(GpuLostError):
    """A launch that the GPU ended with an error, such as an illegal address."""

    what = "launch failed"


@dataclass(frozen=True)
class Shot:
    """One launch in numbers. `values` are the scalar members of the kernel's parameters.

    Where it is `pinned`, the tiles lie in pinned memory of the host.
    """

    entries: np.ndarray[Any, np.dtype[np.void]]
    pairs: int
    grid: int
    tile_bytes: int
    ring: int
    ctas_per_sm: int
    threads: int
    rounds: int
    noise_bytes: int
    values: dict[str, int]
    limit_seconds: float
    consumers: int = 1
    pinned: bool = False


@dataclass(frozen=True)
class RawLaunch:
    """What one launch left behind. `hung` says that it had to be told to stop."""

    counters: np.ndarray[Any, np.dtype[np.void]]
    witnesses: np.ndarray[Any, np.dtype[np.void]]
    fault: np.ndarray[Any, np.dtype[np.void]]
    faulted: bool
    pair_sms: np.ndarray[Any, np.dtype[np.uint32]]
    elapsed_seconds: float
    hung: bool


class Arena:
    """The process's GPU memory: tiles, noise and the words that CTAs wait on.

    Tiles keep their contents from launch to launch and tags only grow, so that whatever is older
    than a round is stale, whichever launch wrote it.
    """

    def __init__(self, gpu: Gpu) -> None:
        import cupy  # noqa: PLC0415 - optional dependency

        self.cupy = cupy
        self.gpu = gpu
        cupy.cuda.Device(gpu.index).use()
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self.stop_stream = cupy.cuda.Stream(non_blocking=True)
        self.pinned = PinnedPool(cupy)
        self._tiles: Any = None
        self._noise: Any = None
        self._state: Any = None
        self._stop_word: Any = None
        self.next_tag = 1

    def tiles(self, size: int, *, pinned: bool = False) -> int:
        """Address of the tile pool, on the GPU or the host; it is made on first use, zeroed."""
        allowed = PINNED_POOL_BYTES if pinned else TILE_POOL_BYTES
        if size > allowed:
            message = (
                f"the tiles of this launch take {size} bytes; allowed is {allowed}: "
                "fewer ring slots or smaller tiles"
            )
            raise ArenaError(message)
        if pinned:
            return self.pinned.address()
        if self._tiles is None:
            self._tiles = self._zeroed(TILE_POOL_BYTES)
        return int(self._tiles.data.ptr)

    def noise(self, size: int) -> int:
        """Address of at least `size` bytes for noise, disjoint from everything else."""
        if size == 0:
            return 0
        if self._noise is None or self._noise.nbytes < size:
            free, _ = self.cupy.cuda.runtime.memGetInfo()
            if size > free:
                message = f"noise over {size} bytes does not fit: {free} bytes are free on the GPU"
                raise GpuMemoryError(message)
            self._noise = None
            self._noise = self._zeroed(size)
        return int(self._noise.data.ptr)

    def state(self, size: int) -> Any:  # noqa: ANN401 - a cupy array
        """`size` zeroed bytes for counters, signals and acknowledgements."""
        if self._state is None or self._state.nbytes < size:
            self._state = self._zeroed(max(size, 1 << 20))
        self.cupy.cuda.runtime.memsetAsync(self._state.data.ptr, 0, size, self.stream.ptr)
        return self._state

    def take_tags(self, rounds: int) -> int:
        """The first of `rounds` tags that no tile has carried before."""
        if self.next_tag + rounds > LAST_TAG:
            if self._tiles is not None:
                self._tiles.fill(0)
                self.cupy.cuda.runtime.deviceSynchronize()
            self.pinned.clear()
            self.next_tag = 1
        first = self.next_tag
        self.next_tag += rounds
        return first

    def raise_stop(self, address: int) -> None:
        """Write 1 to a word of a running kernel's state, beside the stream that runs it."""
        if self._stop_word is None:
            self._stop_word = self.cupy.cuda.alloc_pinned_memory(4)
        np.frombuffer(self._stop_word, np.int32, 1)[0] = 1
        runtime = self.cupy.cuda.runtime
        to_device = runtime.memcpyHostToDevice
        runtime.memcpyAsync(address, self._stop_word.ptr, 4, to_device, self.stop_stream.ptr)

    def _zeroed(self, size: int) -> Any:  # noqa: ANN401 - a cupy array
        made = self.cupy.zeros(size, dtype=self.cupy.uint8)
        self.cupy.cuda.runtime.deviceSynchronize()
        return made


@dataclass(frozen=True)
class _StateLayout:
    """Byte offsets of the parts of the state buffer; what the host reads back comes first."""

    counters: int
    fault: int
    witnesses: int
    pair_sms: int
    readback_end: int
    tickets: int
    acknowledged: int
    signals: int
    end: int

    @classmethod
    def of(cls, pairs: int, ring: int, consumers: int) -> _StateLayout:
        sizes = [
            COUNTERS.dtype().itemsize,
            FAULT.dtype().itemsize,
            WITNESS.dtype().itemsize * WITNESS_CAPACITY,
            4 * pairs * (1 + consumers),
            0,
            4 * MAX_PLACES,
            4 * ACKNOWLEDGE_STRIDE * pairs * consumers,
            4 * pairs * ring,
        ]
        line = 128
        offsets = [0]
        for size in sizes:
            offsets.append(-(-(offsets[-1] + size) // line) * line)
        return cls(*offsets)


class MicroKernel:
    """One variant's kernel, loaded on one GPU."""

    def __init__(self, arena: Arena, artefact: Artefact, geometry: Geometry) -> None:
        self.arena = arena
        self.geometry = geometry
        self.kernel = Kernel(artefact.cubin, artefact.entry)
        self.static_shared = self.kernel.static_shared_bytes()

    def dynamic_shared(self, tile_bytes: int, ctas_per_sm: int) -> int:
        """Bytes for exactly `ctas_per_sm` CTAs an SM; raises `GeometryError` if they do not fit."""
        self.geometry.check_ctas(ctas_per_sm)
        return self.geometry.dynamic_shared(tile_bytes, ctas_per_sm, self.static_shared)

    def resident_clusters(self, dynamic_shared: int, threads: int) -> int:
        """Clusters of CTAs with so many threads that fit on the GPU at once."""
        self._prepare(dynamic_shared, 1)
        return self.kernel.resident_clusters(
            grid=self.arena.gpu.sm_count // self.geometry.cluster * self.geometry.cluster,
            threads=threads,
            dynamic_shared=dynamic_shared,
            cluster=self.geometry.cluster,
        )

    def _prepare(self, dynamic_shared: int, ctas_per_sm: int) -> None:
        per_cta = dynamic_shared + self.static_shared + RESERVED_SHARED_BYTES
        percent = min(100, -(-100 * ctas_per_sm * per_cta // SM_SHARED_BYTES))
        self.kernel.allow_dynamic_shared(dynamic_shared, percent)

    def run(self, shot: Shot, beside: Beside | None = None) -> RawLaunch:
        """Launch once, do what is to be done beside it, and wait.

        Raises `LaunchHungError` when the launch cannot be ended, `LaunchFailedError` when the GPU
        ended it with an error.
        """
        try:
            return self._run(shot, beside)
        except self.arena.cupy.cuda.runtime.CUDARuntimeError as error:
            raise LaunchFailedError(str(error)) from error

    def _run(self, shot: Shot, beside: Beside | None) -> RawLaunch:
        arena = self.arena
        dynamic = self.dynamic_shared(shot.tile_bytes, shot.ctas_per_sm)
        self._prepare(dynamic, shot.ctas_per_sm)
        resident = self.kernel.resident_ctas_per_sm(shot.threads, dynamic)
        if self.geometry.cluster == 1 and resident != shot.ctas_per_sm:
            message = f"{shot.ctas_per_sm} CTAs an SM were planned, the driver says {resident}"
            raise ArenaError(message)
        layout = _StateLayout.of(shot.pairs, shot.ring, shot.consumers)
        state = arena.state(layout.end)
        parameters = self._parameters(shot, layout, int(state.data.ptr))
        places = self._upload(shot.entries)
        parameters["places"] = places.data.ptr
        start, end = arena.cupy.cuda.Event(), arena.cupy.cuda.Event()
        start.record(arena.stream)
        self.kernel.launch(
            parameters,
            grid=shot.grid,
            threads=shot.threads,
            dynamic_shared=dynamic,
            cluster=self.geometry.cluster,
            stream=arena.stream.ptr,
        )
        end.record(arena.stream)
        stop = int(state.data.ptr) + layout.counters + _offset(COUNTERS.dtype(), "stop")
        if beside is not None:
            first = int(parameters["first_tag"][0])
            beside(Running(first, lambda: _has_ended(end), lambda: arena.raise_stop(stop)))
        hung = not _wait(end, shot.limit_seconds)
        if hung:
            arena.raise_stop(stop)
            grace = 10 * shot.values["timeout_ns"] * 1e-9 + shot.limit_seconds
            if not _wait(end, grace):
                message = f"the launch ran {shot.limit_seconds + grace:.1f} s and ignored the stop"
                raise LaunchHungError(message)
        seconds = arena.cupy.cuda.get_elapsed_time(start, end) * 1e-3
        raw = state[: layout.readback_end].get()
        return _read_back(raw, layout, (shot.pairs, 1 + shot.consumers), seconds, hung=hung)

    def _upload(self, entries: np.ndarray[Any, np.dtype[np.void]]) -> Any:  # noqa: ANN401 - a cupy array
        full = np.zeros(MAX_PLACES, dtype=PLACE_ENTRY.dtype())
        full[: len(entries)] = entries
        with self.arena.stream:
            return self.arena.cupy.asarray(full.view(np.uint8))

    def _parameters(
        self, shot: Shot, layout: _StateLayout, state: int
    ) -> np.ndarray[Any, np.dtype[np.void]]:
        tiles_bytes = shot.pairs * shot.ring * shot.tile_bytes
        tiles = self.arena.tiles(tiles_bytes, pinned=shot.pinned)
        p = np.zeros(1, dtype=PARAMETERS.dtype())
        row_bytes, box_rows = self.geometry.row_bytes(), self.geometry.box_rows(shot.tile_bytes)
        if self.geometry.tensor:
            p["map"] = encode_tensor_map(
                tiles, rows=tiles_bytes // row_bytes, row_bytes=row_bytes, box_rows=box_rows
            )
        fixed = {
            "tiles": tiles,
            "signals": state + layout.signals,
            "acknowledged": state + layout.acknowledged,
            "tickets": state + layout.tickets,
            "pair_sms": state + layout.pair_sms,
            "counters": state + layout.counters,
            "witnesses": state + layout.witnesses,
            "fault": state + layout.fault,
            "noise": self.arena.noise(shot.noise_bytes),
            "noise_bytes": shot.noise_bytes,
            "witness_capacity": WITNESS_CAPACITY,
            "pairs": shot.pairs,
            "consumers": shot.consumers,
            "place_count": len(shot.entries),
            "ctas_per_sm": shot.ctas_per_sm,
            "rounds": shot.rounds,
            "first_tag": self.arena.take_tags(shot.rounds),
            "ring": shot.ring,
            "tile_bytes": shot.tile_bytes,
            "row_bytes": row_bytes,
            "box_rows": box_rows,
        }
        for name, value in (fixed | shot.values).items():
            p[name] = value
        return p


def _offset(dtype: np.dtype[np.void], name: str) -> int:
    described: Mapping[str, tuple[Any, ...]] = dtype.fields or {}
    return int(described[name][1])


def _has_ended(event: Any) -> bool:  # noqa: ANN401 - a cupy event
    """The driver is asked, since cupy's `done` says of failed work only that it has not ended.

    Raises `LaunchFailedError` for such work.
    """
    try:
        return has_passed(event.ptr)
    except DriverError as error:
        raise LaunchFailedError(str(error)) from error


def _wait(event: Any, seconds: float) -> bool:  # noqa: ANN401 - a cupy event
    """Poll rather than block: a hung launch must not take the interpreter with it."""
    deadline = time.monotonic() + seconds
    while not _has_ended(event):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _read_back(
    raw: np.ndarray[Any, np.dtype[np.uint8]],
    layout: _StateLayout,
    placed: tuple[int, int],
    seconds: float,
    *,
    hung: bool,
) -> RawLaunch:
    def part(begin: int, dtype: np.dtype[Any], count: int) -> np.ndarray[Any, Any]:
        return raw[begin : begin + dtype.itemsize * count].view(dtype)

    counters = part(layout.counters, COUNTERS.dtype(), 1)
    kept = min(int(counters["witnesses"][0]), WITNESS_CAPACITY)
    return RawLaunch(
        counters=counters,
        witnesses=part(layout.witnesses, WITNESS.dtype(), kept),
        fault=part(layout.fault, FAULT.dtype(), 1),
        faulted=bool(counters["fault_claimed"][0]),
        pair_sms=part(layout.pair_sms, np.dtype(np.uint32), placed[0] * placed[1]).reshape(placed),
        elapsed_seconds=seconds,
        hung=hung,
    )
