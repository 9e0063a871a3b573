"""One examination from plan to judged run: model, compiled code, silicon where there is a GPU.

The command line, the Python interface and the pytest plugin all come through here.
"""

from __future__ import annotations

import secrets
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol as Shape

from sbo_verify.device.gpu import Gpu, NoGpuError, open_gpu
from sbo_verify.device.gpu_errors import gpu_errors_named
from sbo_verify.device.micro_kernel import GpuLostError, GpuMemoryError
from sbo_verify.harness.session import (
    Plan,
    StressBench,
    conclude,
    conforms,
    enough_for,
    read_code,
    read_model,
    settings_of,
    stress_row,
)
from sbo_verify.harness.stressed_kernels import bench_for, modelled, reader_of
from sbo_verify.store import DiskError, Run

# What ends an examination early; what was recorded until then is judged.
Ending = KeyboardInterrupt | GpuLostError | GpuMemoryError | DiskError
SEED_BITS = 32


class Steps(Shape):
    """How far one piece of work is."""

    def show(self, what: str) -> None:
        """Name what is being done."""

    def step(self, what: str) -> None:
        """One step is done."""


class Watcher(Shape):
    """Who is told how far an examination is; `report.progress.Progress` is one."""

    def say(self, line: str) -> None:
        """A line for a reader."""

    def bar(self, title: str, steps: int) -> AbstractContextManager[Steps]:
        """Work of `steps` steps begins."""


@dataclass(frozen=True)
class Silent:
    """Tells nobody."""

    def say(self, line: str) -> None:
        """Nothing."""

    def bar(self, title: str, steps: int) -> AbstractContextManager[Steps]:  # noqa: ARG002 - as a watcher
        """Steps that nobody sees."""
        return nullcontext(self)

    def show(self, what: str) -> None:
        """Nothing."""

    def step(self, what: str) -> None:
        """Nothing."""


def drawn_seed() -> int:
    """A seed that nobody chose."""
    return secrets.randbits(SEED_BITS)


def find_gpu(index: int) -> tuple[Gpu | None, str]:
    """The visible GPU of that index, or why there is none."""
    try:
        return open_gpu(index), ""
    except NoGpuError as error:
        return None, str(error)


@dataclass(frozen=True)
class CarriedOut:
    """A run that is recorded and judged, and what ended it early, if anything did."""

    run: Run
    cut_short: Ending | None


def carry_out(  # noqa: PLR0913 - what to do, where, and who watches
    out: Path,
    plan: Plan,
    gpu: Gpu | None,
    why_not: str,
    watcher: Watcher,
    *,
    canaries_until_seen: bool = False,
) -> CarriedOut:
    """Examine the plan's rows on every level that can run; the run is recorded and judged.

    `why_not` says why there is no GPU. With `canaries_until_seen` a canary's stress ends at its
    first stale tile. Ctrl-C, a lost GPU, one without room and a full disk end the examination
    early, and the verdict says so. Raises `StoreError` where the run cannot be written below `out`.
    """
    run = Run.create(out, settings_of(plan, gpu, why_not))
    watcher.say(f"seed {plan.seed}; records in {run.path}")
    if gpu is None:
        watcher.say(f"silicon did not run: {why_not}")
    cut_short = _examine(run, plan, gpu, watcher, canaries_until_seen=canaries_until_seen)
    conclude(run, plan.protocol, interrupted=cut_short is not None)
    return CarriedOut(run, cut_short)


def _examine(
    run: Run, plan: Plan, gpu: Gpu | None, watcher: Watcher, *, canaries_until_seen: bool
) -> Ending | None:
    """Model and code, then stress; what ended it early."""
    try:
        with watcher.bar("memory model", len(plan.rows)) as bar:
            read_model(run, plan.protocol, modelled(plan.rows), lambda row: bar.step(row.name))
        with watcher.bar("compile and read back", len(plan.rows)) as bar:
            reader = reader_of(plan.kernel)
            readings = read_code(
                run, plan.protocol, plan.rows, lambda row: bar.step(row.name), reader
            )
        if gpu is None:
            return None
        with gpu_errors_named():
            bench: StressBench = bench_for(plan, gpu)
        with watcher.bar("stress", len(plan.rows)) as bar:
            for row in plan.rows:
                bar.show(row.name)
                if conforms(readings[row.name]):
                    stress_row(
                        run,
                        bench,
                        row,
                        plan,
                        lambda launch: bar.show(launch.row),
                        until_stale=canaries_until_seen and row.canary,
                        enough=enough_for(row, plan),
                    )
                bar.step(row.name)
    except KeyboardInterrupt as error:
        watcher.say("interrupted; what was recorded until now follows")
        return error
    except GpuLostError as error:
        watcher.say(f"the GPU is lost to this process: {error}")
        return error
    except (GpuMemoryError, DiskError) as error:
        watcher.say(str(error))
        return error
    return None
