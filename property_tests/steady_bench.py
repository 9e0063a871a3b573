"""A GPU that goes on for ever, and what each of its launches shows follows from the launch's name.

As a program, `python steady_bench.py WORDS` is `sbo-verify WORDS` with it in the GPU's place. The
environment says what happens to it there: $STEADY_FAULT is `WHAT@N`, of which `WHAT` is a fault of
`FAULTS` and `N` counts launches from 0; $STEADY_STALE names rows that show a stale tile now and
then, comma-separated.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fake_bench import GPU
from written_runs import code_reading, launch, witness

from sbo_verify.cli import soak_commands
from sbo_verify.device import gpu as gpus
from sbo_verify.device.driver import DriverError
from sbo_verify.device.gpu import Gpu, NoGpuError
from sbo_verify.device.micro_kernel import GpuMemoryError, LaunchFailedError, LaunchHungError
from sbo_verify.harness import examination, session, stressed_kernels
from sbo_verify.harness.runner import until_done
from sbo_verify.protocol import Protocol, Row
from sbo_verify.record import CodeReading, Launch

FAULT, STALE = "STEADY_FAULT", "STEADY_STALE"
LAUNCH_SECONDS = 0.01
OBSERVATIONS = 1000
STALE_ONE_IN = 7
KILLED = -signal.SIGKILL


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _raise(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def _hang() -> None:
    time.sleep(3600)


class OutOfMemoryError(Exception):
    """As cupy's and torch's are called."""


FAULTS: dict[str, Callable[[], None]] = {
    "kill": _kill,
    "interrupt": _interrupt,
    "terminate": _terminate,
    "failed": _raise(LaunchFailedError("cudaErrorIllegalAddress: an illegal memory access")),
    "refused": _raise(DriverError("cuLaunchKernelEx failed: CUDA_ERROR_LAUNCH_FAILED")),
    "hung": _raise(LaunchHungError("the launch ran 64.0 s and ignored the stop")),
    "gone": _raise(DriverError("cuModuleLoadData failed: CUDA_ERROR_DEVICE_UNAVAILABLE")),
    "memory": _raise(OutOfMemoryError("out of memory allocating 1,073,741,824 bytes")),
    "noise memory": _raise(GpuMemoryError("noise over 4096 bytes does not fit: 0 bytes are free")),
    "endless": _hang,
}


@dataclass
class SteadyBench:
    """Launches of a hundredth of a second; `fault` comes instead of launch `fault_at`, once."""

    protocol: Protocol
    gpu: Gpu = GPU
    worker: str = ""
    stale: frozenset[str] = frozenset()
    fault: Callable[[], None] | None = None
    fault_at: int = -1
    asked: list[tuple[str, int]] = field(default_factory=list)

    def kernel(self, row: Row) -> None:
        """Nothing is loaded."""

    def launch(
        self, row: Row, seed: int, index: int, fixed: dict[str, str] | None = None
    ) -> Launch:
        """What the launch of that name shows."""
        assert fixed is not None
        self.asked.append((row.name, index))
        if self.fault is not None and len(self.asked) - 1 == self.fault_at:
            self.fault()
        stale = int(row.name in self.stale and index % STALE_ONE_IN == 3)
        return launch(
            row.name,
            stale,
            OBSERVATIONS,
            seed=seed,
            index=index,
            knobs={"tile_bytes": 256 << index % 3, "noise": "store"},
            elapsed_seconds=LAUNCH_SECONDS,
            witnesses=[witness()] * stale,
            worker=self.worker,
            gpu=self.gpu.uuid,
        )

    def stress(  # noqa: PLR0913 - as a bench has it
        self,
        row: Row,
        seed: int,
        *,
        seconds: float,
        fixed: dict[str, str] | None = None,
        observations: int = 0,
        until_stale: int = 0,
        first: int = 0,
    ) -> Iterator[Launch]:
        """As the real one."""
        return until_done(
            lambda index: self.launch(row, seed, index, fixed),
            seconds=seconds,
            observations=observations,
            until_stale=bool(until_stale),
            first=first,
        )


def read(_protocol: Protocol, row: Row) -> CodeReading:
    """Code as declared, without a compiler."""
    return code_reading(row.name)


def _told(protocol: Protocol) -> SteadyBench:
    what, _, at = os.environ.get(FAULT, "@-1").partition("@")
    if what == "no room":
        _fill_the_disk()
    return SteadyBench(
        protocol,
        stale=frozenset(os.environ.get(STALE, "").split(",")),
        fault=FAULTS.get(what),
        fault_at=int(at),
    )


def _fill_the_disk() -> None:
    """No byte more goes into any file that is open or made from now on, until room is made."""
    whole = os.write

    def full(descriptor: int, text: bytes) -> int:
        if descriptor > sys.stderr.fileno() and not Path(os.environ["STEADY_ROOM"]).exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return whole(descriptor, text)

    os.write = full  # type: ignore[assignment]  # its argument has another name


def take_the_gpus_place() -> None:
    """Commands of this process find this GPU, and no code is compiled for it."""
    environment_has_none = os.environ.get("STEADY_GPUS") == "0"

    def found(_index: int = 0) -> Gpu:
        if environment_has_none:
            message = "no CUDA device is visible"
            raise NoGpuError(message)
        return GPU

    replaced: list[tuple[Any, str, Any]] = [
        (gpus, "open_gpu", found),
        (examination, "open_gpu", found),
        (soak_commands, "open_gpu", found),
        (examination, "bench_for", lambda plan, _gpu: _told(plan.protocol)),
        (soak_commands, "bench_for", lambda plan, _gpu: _told(plan.protocol)),
        (examination, "reader_of", lambda _kernel: read),
        (soak_commands, "reader_of", lambda _kernel: read),
        (stressed_kernels, "refuse", lambda _plan: None),
        (session, "commit_of_source", lambda: ("0123456789abcdef", False)),
    ]
    for module, name, stand_in in replaced:
        setattr(module, name, stand_in)


if __name__ == "__main__":
    from sbo_verify.cli import program

    take_the_gpus_place()
    program()
