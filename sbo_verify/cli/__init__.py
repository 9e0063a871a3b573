"""The command line of `sbo-verify`; the list of its commands stands in `app`.

Exit codes: 0 pass, 1 fail, 2 unknown (did not run, canary unseen, time-out, interrupted), 254 wrong
usage, 255 internal error.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

from sbo_verify.cli.app import app
from sbo_verify.harness.termination import endings_as_interrupts
from sbo_verify.verdict import ExitCode


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
    from sbo_verify.cli.exit_codes import CODES  # noqa: PLC0415 - every part of the project
    from sbo_verify.device.gpu_errors import named  # noqa: PLC0415 - the GPU's part

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
    for that launch, for ever. Where no command needed the GPU's part, it was not imported.
    """
    code = main()
    launches = sys.modules.get("sbo_verify.device.gpu_errors")
    if launches is not None and launches.launch_hangs():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise SystemExit(code)


def _complain(message: str, code: ExitCode) -> int:
    sys.stderr.write(f"sbo-verify: {message}\n")
    return code
