"""Kernel times by torch's profiler, device memory and L2 being cold.

As in the source of the public figures: before each launch 8 GB of memory are overwritten, so that
L2 holds nothing of the problem, and what is counted is the kernels' own time, launches left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sbo_verify.device.torch_device import torch_module

FLUSH_BYTES = 8_000_000_000


class TimingError(RuntimeError):
    """A measurement that cannot be trusted; the message says why."""


class KernelTimer:
    """Measures callables that launch kernels on torch's current stream."""

    def __init__(self) -> None:
        self.torch = torch_module()
        self._flushed = self.torch.empty(FLUSH_BYTES // 4, dtype=self.torch.int32, device="cuda")
        # The overwriting's own kernel, to be told apart.
        self._flush_names = {name for name, _ in self._profile(lambda: None, 1)}

    def mean_microseconds(self, launch: Callable[[], object], launches: int) -> float:
        """Mean time that the kernels of one call of `launch` take, in microseconds.

        Raises `TimingError` when no kernel, or not the same number for each call, was seen.
        """
        times = [
            time for name, time in self._profile(launch, launches) if name not in self._flush_names
        ]
        if not times or len(times) % launches:
            message = f"{len(times)} kernels were seen in {launches} launches"
            raise TimingError(message)
        return sum(times) / launches

    def _profile(self, launch: Callable[[], object], launches: int) -> list[tuple[str, float]]:
        profiler: Any = self.torch.profiler
        activities = [profiler.ProfilerActivity.CUDA]
        with profiler.profile(activities=activities, acc_events=True) as profile:
            for _ in range(launches):
                self._flushed.zero_()
                launch()
            self.torch.cuda.synchronize()
        on_device = self.torch.autograd.DeviceType.CUDA
        return [
            (event.name, float(event.time_range.elapsed_us()))
            for event in profile.events()
            if event.device_type == on_device
        ]
