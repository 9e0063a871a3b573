"""A GPU that goes on for ever, and what each of its launches shows follows from the launch's name.

`python steady_bench.py` serves: for each line of JSON with `words`, `environment` and `said` it
forks a process that is `sbo-verify WORDS` with this GPU, whose output goes into the file `said`;
it answers with a line of the process's number, and on the next line that comes with one of its
exit code, when it has ended.

The environment says what happens there. $STEADY_FAULT is `WHAT@N`, of which `WHAT` is one of
`FAULTS` and `N` counts launches from 0; before it comes, raw.jsonl is copied to $STEADY_BEFORE.
$STEADY_STALE names rows that show a stale tile now and then, comma-separated; a launch takes
$STEADY_PACE seconds of everybody's time.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

from fake_bench import GPU
from written_runs import code_reading, fault, launch, witness

from sbo_verify import disk
from sbo_verify.cli import main, soak_commands
from sbo_verify.device.driver import DriverError
from sbo_verify.device.gpu import Gpu, NoGpuError
from sbo_verify.device.micro_kernel import GpuMemoryError, LaunchFailedError, LaunchHungError
from sbo_verify.harness import examination, session
from sbo_verify.harness.runner import until_done
from sbo_verify.protocol import Protocol, Row
from sbo_verify.record import CodeReading, Launch

FAULT, STALE, BEFORE = "STEADY_FAULT", "STEADY_STALE", "STEADY_BEFORE"
OUT, GPUS, NO_ROOM = "STEADY_OUT", "STEADY_NO_GPU", "STEADY_NO_ROOM"
PACE = "STEADY_PACE"
# A power of two, so that sums of it are exact.
LAUNCH_SECONDS = 1 / 128
OBSERVATIONS = 1000
STALE_ONE_IN = 7


# What comes instead of a launch, or what it makes the launch show.
Fault = Callable[[], dict[str, Any] | None]


class OutOfMemoryError(Exception):
    """As cupy's and torch's are called."""


def _signal(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def _raise(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def _never_return() -> None:
    """In C, where Python can neither interrupt it nor handle a signal."""
    ctypes.CDLL(None).usleep(20_000_000)


def _fill_the_disk() -> None:
    """From now on a run's files can grow by no more than its reserve gives up."""
    used = 0

    def write(descriptor: int, text: bytes) -> int:
        nonlocal used
        (settings,) = Path(os.environ[OUT]).glob("*/*/settings.json")
        reserve = settings.with_name(disk.RESERVE_FILE)
        kept = reserve.stat().st_size if reserve.exists() else 0
        if NO_ROOM in os.environ or used + len(text) > disk.RESERVE_BYTES - kept:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        used += len(text)
        return os.write(descriptor, text)

    _replace_in_disk(write=write)


def _fail_to_sync() -> None:
    """From now on what is written cannot be brought to the disk."""

    def fsync(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    _replace_in_disk(fsync=fsync)


def _replace_in_disk(**calls: Callable[..., Any]) -> None:
    """Other calls of the operating system, for what writes a run and for nobody else."""
    vars(disk)["os"] = SimpleNamespace(**vars(os) | calls)


def _show(what: str) -> Callable[[], dict[str, Any]]:
    """The kernel itself gives up half-way, and says why."""
    return lambda: {"observations": OBSERVATIONS // 2, "fault": fault(what)}


FAULTS: dict[str, Fault] = {
    "timed out": _show("threshold never reached"),
    "crowded out": _show("not co-resident"),
    "kill": _signal(signal.SIGKILL),
    "interrupt": _signal(signal.SIGINT),
    "terminate": _signal(signal.SIGTERM),
    "failed": _raise(LaunchFailedError("cudaErrorIllegalAddress: an illegal memory access")),
    "refused": _raise(DriverError("cuLaunchKernelEx failed: CUDA_ERROR_LAUNCH_FAILED")),
    "hung": _raise(LaunchHungError("the launch ran 64.0 s and ignored the stop")),
    "gone": _raise(DriverError("cuLaunchKernelEx failed: CUDA_ERROR_DEVICE_UNAVAILABLE")),
    "memory": _raise(OutOfMemoryError("out of memory allocating 1,073,741,824 bytes")),
    "noise memory": _raise(GpuMemoryError("noise over 4096 bytes does not fit: 0 bytes are free")),
    "endless": _never_return,
    "full disk": _fill_the_disk,
    "no sync": _fail_to_sync,
}


@dataclass
class SteadyBench:
    """Launches of `LAUNCH_SECONDS`; `fault` comes instead of launch `fault_at`, once."""

    protocol: Protocol
    gpu: Gpu = GPU
    worker: str = ""
    stale: frozenset[str] = frozenset()
    fault: Fault | None = None
    fault_at: int = -1
    pace_seconds: float = 0.0
    asked: list[tuple[str, int]] = field(default_factory=list)

    def kernel(self, row: Row) -> None:
        """Nothing is loaded."""

    def launch(
        self, row: Row, seed: int, index: int, fixed: dict[str, str] | None = None
    ) -> Launch:
        """What the launch of that name shows."""
        assert fixed is not None
        self.asked.append((row.name, index))
        time.sleep(self.pace_seconds)
        changes: dict[str, Any] = {}
        if self.fault is not None and len(self.asked) - 1 == self.fault_at:
            changes = self.fault() or {}
        stale = int(row.name in self.stale and index % STALE_ONE_IN == 3)
        shown = launch(
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
        return replace(shown, **changes)

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


def _bench(protocol: Protocol) -> SteadyBench:
    what, _, at = os.environ.get(FAULT, "").partition("@")
    if what and not at:
        # Without a number it comes as the GPU's memory is taken.
        _after_a_copy(FAULTS[what])()
    return SteadyBench(
        protocol,
        stale=frozenset(os.environ.get(STALE, "").split(",")),
        fault=_after_a_copy(FAULTS[what]) if at else None,
        fault_at=int(at or -1),
        pace_seconds=float(os.environ.get(PACE, "0")),
    )


def _after_a_copy(fault: Fault) -> Fault:
    def come() -> dict[str, Any] | None:
        (raw,) = Path(os.environ[OUT]).glob("*/*/raw.jsonl")
        Path(os.environ[BEFORE]).write_bytes(raw.read_bytes())
        return fault()

    return come


def take_the_gpus_place() -> None:
    """Commands of this process find this GPU, and compile nothing for it."""

    def found(_index: int = 0) -> Gpu:
        if GPUS in os.environ:
            message = "no CUDA device is visible"
            raise NoGpuError(message)
        return GPU

    replaced: list[tuple[Any, str, Any]] = [
        (examination, "open_gpu", found),
        (soak_commands, "open_gpu", found),
        (examination, "bench_for", lambda plan, _gpu: _bench(plan.protocol)),
        (soak_commands, "bench_for", lambda plan, _gpu: _bench(plan.protocol)),
        (examination, "reader_of", lambda _kernel: read),
        (soak_commands, "reader_of", lambda _kernel: read),
        (session, "commit_of_source", lambda: ("0123456789abcdef", False)),
        # A call that never returns is given up after half a second.
        (session, "WATCHDOG_FACTOR", 0.5 / 70),
    ]
    for module, name, stand_in in replaced:
        setattr(module, name, stand_in)


def _be_the_program(request: dict[str, Any]) -> NoReturn:
    code = 130
    try:
        said = os.open(request["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(said, stream.fileno())
        os.environ.update(request["environment"])
        sys.argv = ["sbo-verify", *request["words"]]
        take_the_gpus_place()
        code = main(request["words"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    """Answer requests until standard input ends."""
    # What a program imports only when it is needed takes longer than all else that it does.
    import scipy.special  # noqa: F401, PLC0415 - see above

    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            _be_the_program(json.loads(line))
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        # Until then the process's number is nobody else's, so that it can be sent a signal.
        sys.stdin.readline()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
