"""`pytest stress/` that is interrupted, ended or bereft of its GPU: nothing lost, never a pass."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn, cast

import pytest
from fake_bench import DEATH, DEATH_ROW, DEATH_STALE, ENDLESS, GPU_DIES, STALE
from handover_report import examine_and_report
from test_gate_session import CANARY, FAILED, FOLDERS, ROOT, SOUND, gate, only_run
from tried import RecordProperty, outcome_of, records, tried
from written_runs import settings

from sbo_verify.harness.conclusion import concluded
from sbo_verify.harness.gate import Gate
from sbo_verify.harness.judgement import INTERRUPTED
from sbo_verify.protocol import Row
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.record import MICRO
from sbo_verify.store import RAW_FILE, DiskError, Run, runs_below

ENDED = 2
LONGEST_SECONDS = 60


def begun(folder: Path, *words: str) -> subprocess.Popen[str]:
    """A gate whose sound row never ends, in a process group of its own."""
    environment = {
        **{name: value for name, value in os.environ.items() if "PYTEST" not in name},
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": os.pathsep.join(FOLDERS),
        "TMPDIR": str(folder),
        STALE: CANARY,
        ENDLESS: SOUND,
    }
    command = [sys.executable, "-m", "pytest", "stress/test_handover.py", "--seed", "7"]
    command += ["-p", "no:cacheprovider", "-p", "fake_bench", "--require-gpu"]
    command += ["--variants", f"{CANARY},{SOUND}", "--out", str(folder / "runs"), *words]
    return subprocess.Popen(  # noqa: S603 - this interpreter, on the project's own tests
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for_launches(folder: Path, wanted: int) -> list[bytes]:
    """The records on disk, as soon as there are so many launches of the sound row among them."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < deadline:
        for path in runs_below(folder / "runs"):
            found = records(path / RAW_FILE)
            mine = [line for line in found if b'"launch"' in line and SOUND.encode() in line]
            if len(mine) >= wanted:
                return found
        time.sleep(0.02)
    message = f"no {wanted} launches within {LONGEST_SECONDS} s"
    raise AssertionError(message)


@pytest.mark.parametrize(
    ("fault", "how", "words", "number"),
    [
        ("Ctrl-C", "SIGINT to pytest and its workers", ("-n", "2"), signal.SIGINT),
        ("job ended by its runner", "SIGTERM to pytest", ("-n", "0"), signal.SIGTERM),
    ],
)
def test_a_gate_that_is_ended_keeps_its_records_and_is_unknown(  # noqa: PLR0913, PLR0917 - a row of a table
    fault: str,
    how: str,
    words: tuple[str, ...],
    number: signal.Signals,
    tmp_path: Path,
    record_property: RecordProperty,
) -> None:
    with begun(tmp_path, *words) as process:
        try:
            before = wait_for_launches(tmp_path, 5)
            # The terminal sends Ctrl-C to all of a group, a runner SIGTERM to the process it began.
            if number is signal.SIGINT:
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
            said, _ = process.communicate(timeout=LONGEST_SECONDS)
        finally:
            process.kill()
    assert process.returncode == ENDED, said
    run = only_run(tmp_path)
    judged = run.verdict()
    assert judged is not None, said
    assert INTERRUPTED in judged[1].reasons
    assert "gate: unknown" in said
    entry = tried(
        record_property,
        run,
        fault=fault,
        how=how,
        before=before,
        exit_code=process.returncode,
        then="none",
    )
    assert (entry.lost, entry.verdict) == (0, "unknown")
    assert run.losses == []


def test_a_gpu_that_is_gone_when_a_worker_is_replaced_is_unknown(
    tmp_path: Path, record_property: RecordProperty
) -> None:
    told = {DEATH: str(tmp_path / "death"), DEATH_ROW: SOUND, DEATH_STALE: "0", GPU_DIES: "1"}
    done = gate(tmp_path, "-n", "1", stale=CANARY, told=told)
    assert done.returncode == FAILED, done.stdout
    assert "no CUDA device is visible" in done.stdout
    run = only_run(tmp_path)
    assert outcome_of(run) == "unknown"
    entry = tried(
        record_property,
        run,
        fault="GPU vanishes",
        how="an xdist worker dies with it, and the next one finds none",
        before=records(run.path / RAW_FILE),
        exit_code=done.returncode,
        then="none",
    )
    assert (entry.lost, entry.verdict) == (0, "unknown")


# ---- the end of a gate ----------------------------------------------------------------------


def test_a_full_disk_fails_the_gates_test_with_the_word_unknown() -> None:
    def examine(_row: Row) -> NoReturn:
        message = "cannot append to raw.jsonl: No space left on device"
        raise DiskError(message)

    gate_of_full_disk = cast("Gate", SimpleNamespace(examine=examine))
    row = SIGNAL_PUBLISH.row(SOUND)
    with pytest.raises(pytest.fail.Exception, match=f"unknown: {SOUND}: cannot append to raw"):
        examine_and_report(gate_of_full_disk, row, lambda _name, _value: None)


def test_a_run_without_any_record_is_removed(tmp_path: Path) -> None:
    run = Run.create(tmp_path, settings([SOUND]))
    assert concluded(run.path, MICRO, interrupted=False) is None
    assert not run.path.exists()


def test_a_run_with_no_more_than_a_torn_record_is_kept_and_judged(tmp_path: Path) -> None:
    run = Run.create(tmp_path, settings([SOUND]))
    (run.path / RAW_FILE).write_bytes(b'{"kind":"launch","row":')
    judged = concluded(run.path, MICRO, interrupted=False)
    assert judged is not None
    assert judged[1].outcome == "unknown"
    assert run.verdict() == judged
