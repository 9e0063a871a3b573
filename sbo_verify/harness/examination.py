"""One examination from plan to judged run: model, compiled code, silicon where there is a GPU.

The command line, the Python interface and the pytest plugin all come through here.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol as Shape

from sbo_verify.device.gpu import Gpu, NoGpuError, open_gpu
from sbo_verify.device.micro_kernel import GpuLostError
from sbo_verify.harness.session import (
    Plan,
    StressBench,
    conclude,
    conforms,
    read_code,
    read_model,
    settings_of,
    stress_row,
)
from sbo_verify.harness.stressed_kernels import bench_for, modelled, reader_of
from sbo_verify.store import Run

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


def find_gpu(index: int) -> tuple[Gpu | None, str]:
    """The visible GPU of that index, or why there is none."""
    try:
        return open_gpu(index), ""
    except NoGpuError as error:
        return None, str(error)


def carry_out(out: Path, plan: Plan, gpu: Gpu | None, why_not: str, watcher: Watcher) -> Run:
    """Examine the plan's rows on every level that can run; the run is recorded and judged.

    `why_not` says why there is no GPU. Ctrl-C and a lost GPU end the examination early, and the
    verdict says so. Raises `StoreError` where the run cannot be written below `out`.
    """
    run = Run.create(out, settings_of(plan, gpu, why_not))
    watcher.say(f"seed {plan.seed}; records in {run.path}")
    if gpu is None:
        watcher.say(f"silicon did not run: {why_not}")
    conclude(run, plan.protocol, interrupted=_cut_short(run, plan, gpu, watcher))
    return run


def _cut_short(run: Run, plan: Plan, gpu: Gpu | None, watcher: Watcher) -> bool:
    """Read the code, then stress; True when Ctrl-C or a lost GPU ended it early."""
    try:
        with watcher.bar("memory model", len(plan.rows)) as bar:
            read_model(run, plan.protocol, modelled(plan.rows), lambda row: bar.step(row.name))
        with watcher.bar("compile and read back", len(plan.rows)) as bar:
            reader = reader_of(plan.kernel)
            readings = read_code(
                run, plan.protocol, plan.rows, lambda row: bar.step(row.name), reader
            )
        if gpu is None:
            return False
        bench: StressBench = bench_for(plan, gpu)
        with watcher.bar("stress", len(plan.rows)) as bar:
            for row in plan.rows:
                bar.show(row.name)
                if conforms(readings[row.name]):
                    stress_row(run, bench, row, plan, lambda launch: bar.show(launch.row))
                bar.step(row.name)
    except KeyboardInterrupt:
        watcher.say("interrupted; what was recorded until now follows")
        return True
    except GpuLostError as error:
        watcher.say(f"the GPU is lost to this process: {error}")
        return True
    return False
