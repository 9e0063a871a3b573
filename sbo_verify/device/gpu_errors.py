"""What cupy, torch and the driver say when a GPU fails, under this project's two names for it.

`GpuLostError`: the process's context is of no more use. `GpuMemoryError`: there was no room, and
the next launch may find some. Errors are known by their class's name, so that nobody has to import
the package that raised them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

from sbo_verify.device.micro_kernel import (
    GpuLostError,
    GpuMemoryError,
    LaunchFailedError,
    LaunchHungError,
)

_MEMORY_NAMES = {"OutOfMemoryError"}
_MEMORY_WORDS = ("CUDA_ERROR_OUT_OF_MEMORY", "cudaErrorMemoryAllocation", "out of memory")
_GPU_NAMES = {
    "AcceleratorError",
    "CUDADriverError",
    "CUDARuntimeError",
    "CudaError",
    "DriverError",
}
_hung = Event()


def named(error: Exception) -> GpuLostError | GpuMemoryError | None:
    """What `error` means for the process; None where it is no error of a GPU."""
    if isinstance(error, GpuLostError | GpuMemoryError):
        return error
    text = str(error)
    # torch before 2.8 has no class of its own for what the GPU did.
    of_gpu = type(error).__name__ in _GPU_NAMES or "CUDA error" in text
    if type(error).__name__ in _MEMORY_NAMES:
        return GpuMemoryError(text)
    if not of_gpu:
        return None
    if any(word in text for word in _MEMORY_WORDS):
        return GpuMemoryError(text)
    return LaunchFailedError(text)


@contextmanager
def gpu_errors_named() -> Iterator[None]:
    """Turn a GPU's errors inside of the body into `GpuLostError` and `GpuMemoryError`."""
    try:
        yield
    except Exception as error:
        told = named(error)
        if isinstance(told, LaunchHungError):
            _hung.set()
        if told is None or told is error:
            raise
        raise told from error


def launch_hangs() -> bool:
    """Whether a launch of this process could not be ended.

    Whoever frees its memory or streams then waits for it: the process must end by `os._exit`.
    """
    return _hung.is_set()
