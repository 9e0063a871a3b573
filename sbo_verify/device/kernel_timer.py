"""Kernel times by torch's profiler, device memory and L2 being cold.

As in the source of the public figures: before each launch 8 GB of memory are overwritten, so that
L2 holds nothing of the problem, and what is counted is the kernels' own time, launches left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sbo_verify.device.torch_device import torch_module

FLUSH_BYTES = 8_000_000_000
# The overwriting is a few kernels, each longer than this; a library that clears a few bytes is not
# taken for one.
FLUSH_LEAST_MICROSECONDS = 200.0


class TimingError(RuntimeError):
    """A measurement that cannot be trusted; the message says why."""


class KernelTimer:
    """Measures callables that launch kernels on torch's current stream."""

    def __init__(self) -> None:
        self.torch = torch_module()
        self._flushed = self.torch.empty(FLUSH_BYTES // 4, dtype=self.torch.int32, device="cuda")
        # The overwriting's own kernel, to be told apart.
        self._flush_names = {name for name, _ in self._profile([lambda: None])}

    def mean_microseconds(
        self, launches: Sequence[Callable[[], object]], rounds: int
    ) -> list[float]:
        """For each callable the mean, over `rounds` calls, of the time of its kernels together.

        They are called in turn, so that drift spoils no comparison. Raises `TimingError` when no
        kernel, or not the same number for each call, was seen.
        """
        calls = [launch for _ in range(rounds) for launch in launches]
        return means(self._profile(calls), self._flush_names, len(launches), rounds)

    def _profile(self, calls: Sequence[Callable[[], object]]) -> list[tuple[str, float]]:
        """Names and times of all kernels, in the order in which they began."""
        profiler: Any = self.torch.profiler
        activities = [profiler.ProfilerActivity.CUDA]
        with profiler.profile(activities=activities, acc_events=True) as profile:
            for call in calls:
                self._flushed.zero_()
                call()
            self.torch.cuda.synchronize()
        on_device = self.torch.autograd.DeviceType.CUDA
        events = [event for event in profile.events() if event.device_type == on_device]
        events.sort(key=lambda event: event.time_range.start)
        return [(event.name, float(event.time_range.elapsed_us())) for event in events]


def means(
    kernels: Sequence[tuple[str, float]], flush_names: set[str], subjects: int, rounds: int
) -> list[float]:
    """The mean times of `subjects` that were called in turn, from (name, microseconds) in order.

    Each call's kernels follow its overwriting. Raises `TimingError` as `mean_microseconds`.
    """
    calls: list[list[float]] = []
    overwriting = False
    for name, time in kernels:
        flushes = name in flush_names and time >= FLUSH_LEAST_MICROSECONDS
        if flushes and not overwriting:
            calls.append([])
        elif calls and not flushes:
            calls[-1].append(time)
        overwriting = flushes
    if len(calls) != subjects * rounds:
        message = f"{len(calls)} launches were seen of {subjects * rounds}"
        raise TimingError(message)
    found = []
    for subject in range(subjects):
        mine = calls[subject::subjects]
        counts = {len(times) for times in mine}
        if len(counts) != 1 or counts == {0}:
            seen = " or ".join(map(str, sorted(counts)))
            message = f"{seen} kernels were seen in a launch; expected one or more, always as many"
            raise TimingError(message)
        found.append(sum(map(sum, mine)) / rounds)
    return found
