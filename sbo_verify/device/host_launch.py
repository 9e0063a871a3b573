"""Launches of producers that hand over to a reader on the host, and the memory that both see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sbo_verify.device.build import Artefact
from sbo_verify.device.geometry import Geometry
from sbo_verify.device.gpu import Gpu
from sbo_verify.device.host_reader import (
    NO_ROUND,
    WORD_BYTES,
    HostMemory,
    HostReader,
    Reading,
    Seen,
    refuse_weak_host,
)
from sbo_verify.device.micro_kernel import (
    ACKNOWLEDGE_STRIDE,
    Arena,
    MicroKernel,
    RawLaunch,
    Shot,
)
from sbo_verify.device.running import Running


class HostArena(Arena):
    """An arena whose signals and acknowledgements lie in pinned memory of the host, too.

    Raises `WeakHostError` on a processor that may reorder loads.
    """

    def __init__(self, gpu: Gpu) -> None:
        refuse_weak_host()
        super().__init__(gpu)
        self._words: Any = None
        self._word_bytes = 0

    def words(self, count: int) -> tuple[int, npt.NDArray[np.int32]]:
        """`count` zeroed words of pinned memory for signals and acknowledgements: address, view."""
        size = WORD_BYTES * count
        if self._word_bytes < size:
            self._word_bytes = max(size, 1 << 20)
            self._words = self.cupy.cuda.alloc_pinned_memory(self._word_bytes)
        view = np.frombuffer(self._words, np.int32, count)
        view[:] = 0
        return int(self._words.ptr), view

    def shared(self, shot: Shot) -> HostMemory:
        """The mapped pages of one launch, as numpy sees them."""
        slots = shot.pairs * shot.ring
        self.tiles(slots * shot.tile_bytes, pinned=True)
        words = shot.tile_bytes // WORD_BYTES
        tiles = self.pinned.words(slots * words).reshape(slots, words)
        _, view = self.words(slots + shot.pairs * ACKNOWLEDGE_STRIDE)
        acknowledged = view[slots:].reshape(shot.pairs, ACKNOWLEDGE_STRIDE)
        return HostMemory(tiles, view[:slots], acknowledged)


@dataclass(frozen=True)
class RawHostLaunch:
    """What a launch left on the GPU, and what the host saw of it."""

    gpu: RawLaunch
    seen: Seen


class HostKernel(MicroKernel):
    """One variant's producers, loaded on one GPU, with the reader on the host beside them."""

    def __init__(self, arena: HostArena, artefact: Artefact, geometry: Geometry) -> None:
        super().__init__(arena, artefact, geometry)
        self.host_arena = arena
        self._signals_at = 0

    def read(self, shot: Shot, *, tail_first: bool, silent_round: int = NO_ROUND) -> RawHostLaunch:
        """Launch once, read on the host until all is read or somebody gives up, and wait.

        Raises as `MicroKernel.run`.
        """
        memory = self.host_arena.shared(shot)
        self._signals_at = int(memory.signals.ctypes.data)
        seen = Seen()

        def beside(running: Running) -> None:
            nonlocal seen
            reading = Reading(
                ring=shot.ring,
                rounds=shot.rounds,
                first_tag=running.first_tag,
                timeout_seconds=shot.values["timeout_ns"] * 1e-9,
                tail_first=tail_first,
                silent_round=silent_round,
            )
            reader = HostReader(memory, reading)
            seen = reader.seen
            try:
                reader.read(running.ended)
            except BaseException:
                # Ctrl-C, too: the producers must not be left to wait.
                running.stop()
                raise
            if seen.fault is not None and not reader.has_read_all:
                running.stop()

        raw = self.run(shot, beside)
        return RawHostLaunch(raw, seen)

    def _parameters(self, shot: Shot, *rest: Any) -> npt.NDArray[np.void]:  # noqa: ANN401 - as there
        """Those of the micro-kernel, with signals and acknowledgements on the host."""
        parameters = super()._parameters(shot, *rest)
        parameters["signals"] = self._signals_at
        parameters["acknowledged"] = self._signals_at + WORD_BYTES * shot.pairs * shot.ring
        return parameters
