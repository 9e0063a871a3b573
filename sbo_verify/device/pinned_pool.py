"""A pool of tiles in pinned memory of the host, which GPU and CPU threads address alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

PINNED_POOL_BYTES = 1 << 28


class PinnedPool:
    """Write-back memory that the host maps for the GPU; it is made on first use, zeroed."""

    def __init__(self, cupy: Any) -> None:  # noqa: ANN401 - an optional dependency
        self._cupy = cupy
        self._memory: Any = None

    def address(self) -> int:
        """Where it begins, for host and GPU alike."""
        if self._memory is None:
            self._memory = self._cupy.cuda.alloc_pinned_memory(PINNED_POOL_BYTES)
            self.clear()
        return int(self._memory.ptr)

    def words(self, count: int) -> npt.NDArray[np.uint32]:
        """The first `count` words, as the host sees them."""
        self.address()
        return np.frombuffer(self._memory, np.uint32, count)

    def clear(self) -> None:
        """Zero it, if it was made. No launch may use it meanwhile."""
        if self._memory is not None:
            np.frombuffer(self._memory, np.uint8, PINNED_POOL_BYTES)[:] = 0
