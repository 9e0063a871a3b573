"""The command line of `sbo-verify`; the commands stand in `commands` and `model_commands`.

Exit codes: 0 pass, 1 fail, 2 unknown (did not run, canary unseen, time-out, interrupted), 254 wrong
usage, 255 internal error.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

from sbo_verify.cli import gemm_commands as _gemm_commands  # noqa: F401 - adds its commands
from sbo_verify.cli import inspect_command as _inspect_command  # noqa: F401 - adds its command
from sbo_verify.cli import model_commands as _model_commands  # noqa: F401 - adds its commands
from sbo_verify.cli import numerics_command as _numerics_command  # noqa: F401 - adds its command
from sbo_verify.cli import overlap_command as _overlap_command  # noqa: F401 - adds its command
from sbo_verify.cli import power_commands as _power_commands  # noqa: F401 - adds its commands
from sbo_verify.cli import report_commands as _report_commands  # noqa: F401 - adds its commands
from sbo_verify.cli import rule_command as _rule_command  # noqa: F401 - adds its command
from sbo_verify.cli import soak_commands as _soak_commands  # noqa: F401 - adds its commands
from sbo_verify.cli import toolchain_commands as _toolchain_commands  # noqa: F401 - adds its command
from sbo_verify.cli.commands import app
from sbo_verify.compiled.nvdisasm import DisassemblerError
from sbo_verify.device.build import BuildError, CacheError
from sbo_verify.device.driver import DriverError
from sbo_verify.device.geometry import GeometryError
from sbo_verify.device.gpu import NoGpuError
from sbo_verify.device.gpu_errors import launch_hangs, named
from sbo_verify.device.host_reader import WeakHostError
from sbo_verify.device.kernel_timer import TimingError
from sbo_verify.device.micro_kernel import ArenaError, GpuLostError, GpuMemoryError
from sbo_verify.device.nvrtc import ToolchainError
from sbo_verify.device.ptxas import PtxasError
from sbo_verify.gemm import GemmArgumentError
from sbo_verify.harness.beside import BesideError
from sbo_verify.harness.judgement import JudgementError
from sbo_verify.harness.knobs import KnobError
from sbo_verify.harness.lease import LeaseError
from sbo_verify.harness.overlap_benchmark import OverlapError
from sbo_verify.harness.placement import PlacementError
from sbo_verify.harness.producers import ProducerError
from sbo_verify.harness.summing import SumError
from sbo_verify.harness.termination import endings_as_interrupts
from sbo_verify.harness.toolchains import MatrixError
from sbo_verify.model import LitmusError
from sbo_verify.protocol import RefusedVariantError, UnknownNameError
from sbo_verify.store import DiskError, StoreError
from sbo_verify.verdict import ExitCode

CODES: dict[type[Exception], ExitCode] = {
    UnknownNameError: ExitCode.USAGE,
    RefusedVariantError: ExitCode.USAGE,
    KnobError: ExitCode.USAGE,
    GeometryError: ExitCode.USAGE,
    ArenaError: ExitCode.USAGE,
    PlacementError: ExitCode.USAGE,
    OverlapError: ExitCode.FAIL,
    ProducerError: ExitCode.USAGE,
    DiskError: ExitCode.UNKNOWN,
    StoreError: ExitCode.USAGE,
    BesideError: ExitCode.USAGE,
    SumError: ExitCode.USAGE,
    JudgementError: ExitCode.USAGE,
    CacheError: ExitCode.USAGE,
    GemmArgumentError: ExitCode.USAGE,
    NoGpuError: ExitCode.UNKNOWN,
    WeakHostError: ExitCode.UNKNOWN,
    TimingError: ExitCode.UNKNOWN,
    ToolchainError: ExitCode.UNKNOWN,
    PtxasError: ExitCode.UNKNOWN,
    DisassemblerError: ExitCode.UNKNOWN,
    MatrixError: ExitCode.USAGE,
    GpuLostError: ExitCode.UNKNOWN,
    GpuMemoryError: ExitCode.UNKNOWN,
    LeaseError: ExitCode.UNKNOWN,
    DriverError: ExitCode.UNKNOWN,
    LitmusError: ExitCode.USAGE,
    BuildError: ExitCode.FAIL,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Errors become one line on standard error."""
    try:
        with endings_as_interrupts():
            code = app.main(args=arguments, standalone_mode=False, prog_name="sbo-verify")
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except (click.Abort, KeyboardInterrupt):
        return _complain("interrupted", ExitCode.UNKNOWN)
    except SystemExit as error:
        # A shell has got its completion, with 0; click and rich leave with 1, which means fail
        # here, when nobody reads their output on.
        return ExitCode.UNKNOWN if error.code else ExitCode.PASS
    except Exception as error:  # noqa: BLE001 - the last resort
        return _fail_of(error)
    return int(code or ExitCode.PASS)


def _fail_of(error: Exception) -> int:
    for kind, code in CODES.items():
        if isinstance(error, kind):
            return _complain(str(error), code)
    if (told := named(error)) is not None:
        return _complain(f"{told.what}: {told}", ExitCode.UNKNOWN)
    # A defect of this program.
    traceback.print_exc()
    return _complain("internal error: please report the lines above", ExitCode.INTERNAL)


def program() -> None:
    """The program: `main`, and the end of the process.

    Where a launch cannot be ended the process ends at once: whoever frees the GPU's memory waits
    for that launch, for ever.
    """
    code = main()
    if launch_hangs():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise SystemExit(code)


def _complain(message: str, code: ExitCode) -> int:
    sys.stderr.write(f"sbo-verify: {message}\n")
    return code
