"""The watchdog ends a process whose call never returns, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from written_runs import settings

from sbo_verify.harness.watchdog import Watchdog
from sbo_verify.store import Run
from sbo_verify.verdict import ExitCode

ROOT = Path(__file__).resolve().parents[1]
ROW = "full_wait-atom_release"
LIMIT_SECONDS = 0.4

# A call that Python cannot interrupt: it waits in C and lets no signal handler run.
GUARD = """
import ctypes
import sys
from pathlib import Path
from sbo_verify.harness.results import lost_record
from sbo_verify.harness.watchdog import Watchdog
from sbo_verify.store import Run

run = Run.open(Path(sys.argv[1]))
name = {"row": sys.argv[2], "variant": "0" * 12, "seed": 7, "index": 3}

def leave_record():
    run.append(lost_record("launch hung", {}, name))
    if sys.argv[4] == "torn":
        raise OSError("no space left")

sleep = ctypes.CDLL(None).usleep
with Watchdog().guard(1.0, leave_record):
    sleep(int(float(sys.argv[3]) * 1e6))
sleep(1_300_000)
sys.stdout.write("came back")
"""


def guarded(run: Run, seconds: float, record: str = "kept") -> subprocess.CompletedProcess[str]:
    """A process that guards a call of `seconds`."""
    return subprocess.run(  # noqa: S603 - this interpreter, on the text above
        [sys.executable, "-c", GUARD, str(run.path), ROW, str(seconds), record],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path, settings([ROW]))


def test_a_call_that_never_returns_ends_the_process_and_leaves_its_record(run: Run) -> None:
    done = guarded(run, seconds=50)
    assert (done.returncode, done.stdout) == (2, "")
    (record,) = run.launches()
    assert (record.row, record.index, record.observations) == (ROW, 3, 0)
    assert record.fault is not None
    assert record.fault["what"] == "launch hung"


def test_a_call_that_returns_in_time_ends_nothing(run: Run) -> None:
    done = guarded(run, seconds=0.01)
    assert (done.returncode, done.stdout, done.stderr) == (0, "came back", "")
    assert run.launches() == []


def test_the_process_ends_even_where_the_record_cannot_be_left(run: Run) -> None:
    done = guarded(run, seconds=50, record="torn")
    assert (done.returncode, done.stdout) == (2, "")


def test_the_record_is_left_before_the_end_comes() -> None:
    order: list[str] = []
    watchdog = Watchdog(end=lambda code: order.append(f"end {code}"))
    with watchdog.guard(LIMIT_SECONDS, lambda: order.append("record")):
        time.sleep(3 * LIMIT_SECONDS)
    assert order == ["record", f"end {int(ExitCode.UNKNOWN)}"]


def test_a_call_that_fails_is_guarded_no_longer() -> None:
    order: list[str] = []
    watchdog = Watchdog(end=lambda code: order.append(f"end {code}"))

    def fail() -> None:
        with watchdog.guard(LIMIT_SECONDS, lambda: order.append("record")):
            message = "the call failed"
            raise ValueError(message)

    with pytest.raises(ValueError, match="the call failed"):
        fail()
    time.sleep(2 * LIMIT_SECONDS)
    assert order == []


def test_one_watchdog_guards_call_after_call() -> None:
    order: list[str] = []
    watchdog = Watchdog(end=lambda code: order.append(f"end {code}"))
    for _ in range(3):
        with watchdog.guard(LIMIT_SECONDS, lambda: order.append("record")):
            time.sleep(LIMIT_SECONDS / 8)
    assert order == []
    with watchdog.guard(LIMIT_SECONDS, lambda: order.append("record")):
        time.sleep(3 * LIMIT_SECONDS)
    assert order == ["record", "end 2"]
