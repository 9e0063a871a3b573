"""One row of a gate, examined and told: its counts as properties, its failure with a repeat."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from dataclasses import asdict
from typing import NoReturn

import pytest

from sbo_verify.device.gpu_errors import launch_hangs
from sbo_verify.device.micro_kernel import GpuLostError
from sbo_verify.harness.gate import Gate, launches_of
from sbo_verify.protocol import Row
from sbo_verify.repeat import repeat_command
from sbo_verify.report.failure import failure_text
from sbo_verify.store import DiskError
from sbo_verify.verdict import ExitCode, Outcome


def leave_lost_gpu(error: GpuLostError) -> NoReturn:
    """End this process: no later test could use its GPU context. The record is on disk.

    An xdist worker is replaced; without xdist the whole gate ends as unknown. Where a launch cannot
    be ended, whoever frees the GPU's memory waits for it: the process ends before anybody does.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        os._exit(ExitCode.UNKNOWN)
    if launch_hangs():
        atexit.register(os._exit, ExitCode.UNKNOWN)
    pytest.exit(f"unknown: {error.what}: {error}", returncode=ExitCode.UNKNOWN)


def examine_and_report(
    gate: Gate, row: Row, record_property: Callable[[str, object], None]
) -> None:
    """Pass, or fail with the verdict, its notes, witnesses and the command that repeats it."""
    try:
        verdict = gate.examine(row)
    except GpuLostError as error:
        leave_lost_gpu(error)
    except DiskError as error:
        pytest.fail(f"unknown: {row.name}: {error}", pytrace=False)
    for name, value in asdict(verdict).items():
        record_property(name, value)
    launches = launches_of(gate.run, row)
    repeat = repeat_command(gate.run.settings, launches, row.name)
    record_property("seed", gate.plan.seed)
    record_property("repeat", repeat)
    if verdict.outcome != Outcome.PASS:
        pytest.fail(failure_text(verdict, launches, repeat), pytrace=False)
