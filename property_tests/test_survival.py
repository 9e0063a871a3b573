"""Whatever happens to a run, nothing that was recorded is lost, and it is never taken for a pass.

Real processes, forked from one that has imported everything, with a GPU that fails as told.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
from forked_programs import CANARY, ROOT, SOUND, Programs, serving
from steady_bench import FAULT, GPUS, NO_ROOM, PACE, STALE
from tried import (
    PROPERTY,
    RecordProperty,
    Tried,
    missing,
    only_run,
    outcome_of,
    records,
    tried,
)

from sbo_verify import cli
from sbo_verify.device import gpu_errors
from sbo_verify.harness.judgement import INTERRUPTED
from sbo_verify.store import RAW_FILE, Run, runs_below

PASS, FAIL, UNKNOWN = 0, 1, 2
# Records of a run of two rows, two readings of each and ten launches.
ALL_RECORDS = 24
MOMENTS = 8
LONGEST_SECONDS = 30.0


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    """The process from which programs are forked."""
    with serving() as process:
        yield process


@pytest.fixture
def programs(server: subprocess.Popen[str], tmp_path: Path) -> Programs:
    """Programs of this test."""
    return Programs(server, tmp_path)


def test_without_a_fault_the_run_passes(programs: Programs) -> None:
    assert programs.stress().wait() == PASS, (programs.folder / "said").read_text()
    run = only_run(programs.out)
    assert outcome_of(run) == "pass"
    assert len(run.launches()) == 20


# ---- one fault each -------------------------------------------------------------------------

OTHERS = "others' load on the GPU"
# Fault, how it is made, what the bench does and when, exit code, a word on the fault's record.
FAULTS = [
    ("process killed", "SIGKILL in the middle of a row", "kill@5", -signal.SIGKILL, ""),
    ("Ctrl-C", "SIGINT in the middle of a row", "interrupt@5", UNKNOWN, ""),
    ("job ended by its runner", "SIGTERM in the middle of a row", "terminate@5", UNKNOWN, ""),
    ("kernel faults", "illegal address, context lost", "failed@5", UNKNOWN, "launch failed"),
    ("kernel faults", "the driver refuses a launch", "refused@5", UNKNOWN, "launch failed"),
    ("kernel never ends", "it ignores the stop", "hung@5", UNKNOWN, "launch hung"),
    ("kernel never ends", "the driver's call never returns", "endless@5", UNKNOWN, "launch hung"),
    ("out of GPU memory", "at the first allocation", "memory@", UNKNOWN, ""),
    ("out of GPU memory", "in the middle of a row", "memory@5", UNKNOWN, "out of GPU memory"),
    ("out of GPU memory", "noise", "noise memory@5", UNKNOWN, "out of GPU memory"),
    ("GPU vanishes", "driver error in the middle of a row", "gone@5", UNKNOWN, "launch failed"),
    ("GPU vanishes", "driver error when its memory is taken", "gone@", UNKNOWN, ""),
    (OTHERS, "a wait times out", "timed out@5", UNKNOWN, "threshold never reached"),
    (OTHERS, "CTAs are not resident together", "crowded out@5", UNKNOWN, "not co-resident"),
    ("disk full", "no room in the middle of a row", "full disk@5", UNKNOWN, ""),
    ("disk full", "fsync of the verdict fails", "no sync@5", UNKNOWN, ""),
]


@pytest.mark.parametrize(
    ("fault", "how", "told", "code", "what"), FAULTS, ids=[told for _, _, told, _, _ in FAULTS]
)
def test_a_fault_loses_nothing_and_is_unknown(  # noqa: PLR0913, PLR0917 - a row of a table
    fault: str,
    how: str,
    told: str,
    code: int,
    what: str,
    programs: Programs,
    record_property: RecordProperty,
) -> None:
    ended = programs.stress(**{FAULT: told.rstrip("@")}).wait()
    said = (programs.folder / "said").read_text()
    assert ended == code, said
    assert "Traceback" not in said
    run = only_run(programs.out)
    before = records(programs.before)
    entry = tried(
        record_property,
        run,
        fault=fault,
        how=how,
        before=before,
        exit_code=ended,
        then=programs.next_run(),
    )
    assert (entry.lost, entry.verdict, entry.then) == (0, "unknown", "0")
    if "@" in told and not told.endswith("@"):
        assert sum(b'"kind":"launch"' in line for line in before) == 5
    assert [found.what for _, found in run.faults] == ([what] if what else [])
    assert run.losses == []


def test_a_record_that_finds_no_room_at_all_is_said_to_be_lost(
    programs: Programs, record_property: RecordProperty
) -> None:
    """Another process takes the room of the reserve as soon as it is given up."""
    ended = programs.stress(**{FAULT: "full disk@5", NO_ROOM: "1"}).wait()
    run = only_run(programs.out)
    entry = tried(
        record_property,
        run,
        fault="disk full",
        how="no room, and none where the reserve was",
        before=records(programs.before),
        exit_code=ended,
        then=programs.next_run(),
    )
    assert (entry.lost, entry.verdict, entry.exit_code) == (0, "unknown", "2")
    assert run.losses == ["the disk was full, and a record could not be kept"]
    assert run.verdict() is None


def test_a_gpu_that_is_not_there_any_more_is_unknown(
    programs: Programs, record_property: RecordProperty
) -> None:
    assert programs.stress().wait() == PASS
    run = only_run(programs.out)
    before = records(run.path / RAW_FILE)
    ended = programs.stress(**{GPUS: "0"}).wait()
    assert (
        "sbo-verify: silicon cannot run here: no CUDA device is visible"
        in (programs.folder / "said").read_text()
    )
    assert len(runs_below(programs.out)) == 1
    entry = tried(
        record_property,
        run,
        fault="GPU vanishes",
        how="no device is visible to the next process",
        before=before,
        exit_code=ended,
        then=programs.next_run(),
    )
    assert (entry.lost, entry.exit_code, entry.then) == (0, "2", "0")


def test_what_a_sound_row_showed_before_the_fault_is_not_taken_back(programs: Programs) -> None:
    assert programs.stress(**{FAULT: "failed@15", STALE: f"{SOUND},{CANARY}"}).wait() == FAIL
    assert outcome_of(only_run(programs.out)) == "fail"


# ---- at any moment --------------------------------------------------------------------------


@dataclass
class Ended:
    """How one interrupted program ended."""

    code: int
    before: list[bytes]
    run: Run | None


def interrupted(programs: Programs, number: signal.Signals, wanted: int, delay: float) -> Ended:
    """A program that gets a signal some seconds after so many records are on disk."""
    child = programs.stress(**{PACE: "0.005"})
    deadline = time.monotonic() + LONGEST_SECONDS
    while len(found := on_disk(programs.out)) < wanted and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(delay)
    before = on_disk(programs.out) or found
    os.kill(child.pid, number)
    code = child.wait()
    runs = runs_below(programs.out)
    return Ended(code, before, Run.open(runs[-1]) if runs else None)


def on_disk(out: Path) -> list[bytes]:
    """The records of the only run below a folder, if there is one yet."""
    return [line for raw in out.glob(f"*/*/{RAW_FILE}") for line in records(raw)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_at_any_moment_a_signal_loses_nothing(
    number: signal.Signals, programs: Programs, record_property: RecordProperty
) -> None:
    """Moments are drawn from the whole life of a program: model, code, stress, report."""
    rng = random.Random(int(number))
    entries: list[Tried] = []
    for wanted in [0, 0, *rng.sample(range(1, ALL_RECORDS), MOMENTS), ALL_RECORDS, ALL_RECORDS]:
        here = Programs(programs.server, programs.folder / f"{len(entries)}-{wanted}")
        here.folder.mkdir(exist_ok=True)
        ended = interrupted(here, number, wanted, rng.uniform(0.0, 0.02))
        assert ended.code in {-number, PASS, UNKNOWN}
        # A program that was through its work, or that had not begun it.
        finished = ended.code == PASS
        if ended.run is None:
            assert ended.before == []
            continue
        assert ended.run.losses == []
        judged = ended.run.verdict()
        told = judged is not None and INTERRUPTED not in judged[1].reasons
        entry = tried(
            lambda _name, _value: None,
            ended.run,
            fault="",
            how="",
            before=ended.before,
            exit_code=ended.code,
            then="",
        )
        assert entry.lost == 0
        assert entry.verdict == ("pass" if told else "unknown"), ended
        assert told or not finished
        entries.append(entry)
    then = programs.next_run()
    assert then == PASS
    assert len({entry.before for entry in entries}) >= MOMENTS // 2, "the moments are all alike"
    record_property(PROPERTY, asdict(summed(entries, number, then)))


def summed(entries: list[Tried], number: signal.Signals, then: int) -> Tried:
    """Many moments as one line."""
    names = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "job ended by its runner"}
    return Tried(
        fault=names.get(number, "process killed"),
        how=f"{number.name} at random moments of a run's whole life",
        times=len(entries),
        before=sum(entry.before for entry in entries),
        after=sum(entry.after for entry in entries),
        lost=sum(entry.lost for entry in entries),
        verdict=counted([entry.verdict for entry in entries]),
        exit_code=counted([entry.exit_code for entry in entries]),
        then=str(then),
    )


def counted(words: list[str]) -> str:
    """`2 pass, 38 unknown`."""
    return ", ".join(f"{words.count(word)} x {word}" for word in sorted(set(words)))


def test_a_lost_record_would_be_counted() -> None:
    assert missing([b"a", b"b", b"b"], [b"b", b"c"]) == 1
    assert missing([], [b"a"]) == 0


IGNORED = """
import os, signal
from sbo_verify.harness.termination import endings_as_interrupts
signal.signal(signal.SIGHUP, signal.SIG_IGN)
try:
    with endings_as_interrupts():
        os.kill(os.getpid(), signal.SIGHUP)
        print("went on", flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
except KeyboardInterrupt:
    print("interrupted", flush=True)
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_what_the_caller_ignores_stays_ignored_and_what_ended_a_process_does_again() -> None:
    """As under nohup; and a caller of `main` gets its signals back."""
    done = subprocess.run(  # noqa: S603 - this interpreter, on the text above
        [sys.executable, "-c", IGNORED], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.split("\n") == ["went on", "interrupted", ""]
    assert done.returncode == -signal.SIGTERM


# ---- the end of a process --------------------------------------------------------------------


class ProcessEnded(Exception):  # noqa: N818 - it stands for os._exit
    """The process would be gone."""


@pytest.mark.parametrize(("hangs", "end"), [(True, ProcessEnded), (False, SystemExit)])
def test_a_process_with_a_launch_that_hangs_frees_nothing_at_its_end(
    hangs: bool,  # noqa: FBT001 - a case
    end: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ended(code: int) -> None:
        raise ProcessEnded(code)

    monkeypatch.setattr(cli, "main", lambda: UNKNOWN)
    monkeypatch.setattr(gpu_errors, "launch_hangs", lambda: hangs)
    monkeypatch.setattr(os, "_exit", ended)
    with pytest.raises(end) as caught:
        cli.program()
    assert caught.value.args == (UNKNOWN,)
