"""`sbo-verify` with a fault planted in one of its launches.

`python faulty_program.py FAULT AT RAW BEFORE WORDS...` copies the raw records below the folder RAW
to the file BEFORE when launch AT, counted over all rows from 0, is about to begin, and plants FAULT
in it.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from sbo_verify.cli import program
from sbo_verify.device import micro_kernel
from sbo_verify.device.micro_kernel import MicroKernel, RawLaunch, Shot

# Longer than a test waits for the process to end, and an end all the same.
ENDLESS_SECONDS = 60.0
PATIENCE_SECONDS = 0.3
MORE_THAN_ANY_GPU_BYTES = 1 << 42


def illegal_address(_kernel: MicroKernel, shot: Shot) -> Shot:
    """Signals where there is no memory."""
    return replace(shot, values=shot.values | {"signals": 8})


def refused_launch(_kernel: MicroKernel, shot: Shot) -> Shot:
    """A grid that the driver does not launch."""
    return replace(shot, grid=0)


def endless(kernel: MicroKernel, shot: Shot) -> Shot:
    """A consumer waits for a signal that never comes, and hears of no stop."""
    vars(kernel.arena)["raise_stop"] = lambda _address: None
    whole: Callable[[Any, float], bool] = vars(micro_kernel)["_wait"]
    vars(micro_kernel)["_wait"] = lambda event, seconds: whole(
        event, min(seconds, PATIENCE_SECONDS)
    )
    waiting = {"withheld_round": 10, "timeout_ns": int(ENDLESS_SECONDS * 1e9)}
    return replace(shot, values=shot.values | waiting)


def no_memory(kernel: MicroKernel, shot: Shot) -> Shot:
    """A pool of tiles that no GPU has room for."""
    vars(micro_kernel)["TILE_POOL_BYTES"] = MORE_THAN_ANY_GPU_BYTES
    vars(kernel.arena)["_tiles"] = None
    return shot


FAULTS: dict[str, Callable[[MicroKernel, Shot], Shot]] = {
    each.__name__: each for each in (illegal_address, refused_launch, endless, no_memory)
}


def plant(fault: Callable[[MicroKernel, Shot], Shot], at: int, raw: Path, before: Path) -> None:
    """Put the fault into launch `at` of this process."""
    launches, whole = count(), MicroKernel.run

    def run(kernel: MicroKernel, shot: Shot) -> RawLaunch:
        if next(launches) == at:
            (records,) = raw.glob("*/*/raw.jsonl")
            shutil.copy(records, before)
            return whole(kernel, fault(kernel, shot))
        return whole(kernel, shot)

    setattr(MicroKernel, whole.__name__, run)


if __name__ == "__main__":
    named, at_launch, raw_below, before_file, *words = sys.argv[1:]
    sys.argv[1:] = words
    plant(FAULTS[named], int(at_launch), Path(raw_below), Path(before_file))
    program()
