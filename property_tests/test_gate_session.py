"""The gate from the outside: `pytest stress/` with a made-up GPU, and without any."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from fake_bench import DEATH, DEATH_ROW, DEATH_STALE, STALE
from snapshots import pinned
from tried import RecordProperty, records, tried

from sbo_verify.store import RAW_FILE, Run, runs_below

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = [str(ROOT), str(ROOT / "property_tests")]
SOUND = "full_wait-atom_release"
CANARY = "no_wait-relaxed"
LUCKY = "read_wait-release"
ROWS = f"{SOUND},{CANARY},{LUCKY}"
# Exit codes of pytest.
PASSED, FAILED, REFUSED = 0, 1, 4


def session(
    folder: Path, *words: str, told: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The gate as a process of its own that sees no real GPU; its runs lie in `folder`."""
    environment = {
        **{name: value for name, value in os.environ.items() if "PYTEST" not in name},
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": os.pathsep.join(FOLDERS),
        "COLUMNS": "200",
        # Leases of the made-up GPU are kept there.
        "TMPDIR": str(folder),
        **(told or {}),
    }
    command = [sys.executable, "-m", "pytest", "stress/test_handover.py", "--seed", "7"]
    command += ["-p", "no:cacheprovider", "--out", str(folder / "runs"), *words]
    return subprocess.run(  # noqa: S603 - this interpreter, on the project's own tests
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def gate(
    folder: Path, *words: str, stale: str, told: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The gate over three rows, of which those in `stale` show a stale tile."""
    return session(
        folder,
        "-p",
        "fake_bench",
        "--require-gpu",
        "--variants",
        ROWS,
        "--junitxml",
        str(folder / "junit.xml"),
        *words,
        told={STALE: stale, **(told or {})},
    )


def only_run(folder: Path) -> Run:
    """The only run in `folder`."""
    (path,) = runs_below(folder / "runs")
    return Run.open(path)


def outcomes(folder: Path) -> tuple[str, dict[str, str]]:
    """The outcome of the only run in `folder`, and of each of its rows."""
    judged = only_run(folder).verdict()
    assert judged is not None
    verdicts, summary = judged
    return summary.outcome, {each.row: each.outcome for each in verdicts}


def settled(junit: Path) -> str:
    """A JUnit file without what differs from one session to the next, an element a line."""
    text = re.sub(r' (time|timestamp|hostname|line)="[^"]*"', "", junit.read_text())
    return text.replace("><", ">\n<") + "\n"


# ---- without a GPU --------------------------------------------------------------------------


def test_without_a_gpu_the_gate_is_skipped_with_the_reason(tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    done = session(tmp_path, "--variants", ROWS, "--summary", str(summary))
    assert done.returncode == PASSED, done.stdout
    assert summary.read_text().startswith("## Hand-over gate: did not run\n\nneeds a Hopper GPU: ")
    assert re.search(r"SKIPPED \[3\] .*: needs a Hopper GPU: ", done.stdout)
    assert "3 skipped" in done.stdout
    assert "sbo_verify: seed 7" in done.stdout
    assert not (tmp_path / "runs").exists()


def test_where_a_gpu_is_required_its_absence_fails_with_the_word_unknown(tmp_path: Path) -> None:
    done = session(tmp_path, "--variants", "poll_equal", "--require-gpu")
    assert done.returncode == FAILED
    assert "unknown: silicon did not run: needs a Hopper GPU: " in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--variants", "hope"), "no variant 'hope' in the catalogue of signal_publish"),
        (("--variants", "hope*"), "no variant matches 'hope*'; see `sbo-verify list`"),
        (("--variants", ","), "--variants ',' names nothing; give comma-separated names, or leave"),
        (("--budget", "nan"), "--budget is nan; allowed is a number of seconds above 0"),
        (("--seed", "-1"), "--seed is -1; allowed is a whole number from 0"),
        (
            ("--summary", "nowhere/s.md"),
            "--summary is 'nowhere/s.md'; give a file in a folder that",
        ),
    ],
)
def test_wrong_options_are_refused_with_what_is_allowed(
    words: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    done = session(tmp_path, *words)
    assert done.returncode == REFUSED
    assert said in done.stderr
    assert "Traceback" not in done.stderr


# ---- with a made-up one ---------------------------------------------------------------------


def test_a_gate_in_which_the_canary_is_seen_passes_and_tells_all_in_junit(tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n\n")
    done = gate(tmp_path, "--summary", str(summary), stale=CANARY)
    assert done.returncode == PASSED, done.stdout
    assert summary.read_text().startswith("before\n\n## Hand-over gate: pass\n")
    assert summary.read_text().count("\n| pass | ") == len(ROWS.split(","))
    assert "gate: pass; report: sbo-verify report " in done.stdout
    assert outcomes(tmp_path) == ("pass", {SOUND: "pass", CANARY: "pass", LUCKY: "pass"})
    cases = ET.parse(tmp_path / "junit.xml").getroot().iter("testcase")  # noqa: S314 - made above
    told = {
        case.attrib["name"]: {each.attrib["name"]: each.attrib["value"] for each in found}
        for case in cases
        if (found := list(case.iter("property")))
    }
    assert set(told) == {f"test_handover[{name}]" for name in (SOUND, CANARY, LUCKY)}
    sound = told[f"test_handover[{SOUND}]"]
    assert (sound["stale"], sound["observations"], sound["silicon"]) == ("0", "1000000", "Never")
    assert 2.9e-6 < float(sound["bound"]) < 3.1e-6
    assert sound["repeat"] == f"pytest stress/ --seed 7 --variants {SOUND} --require-gpu"
    assert told[f"test_handover[{CANARY}]"]["repeat"].startswith(f"sbo-verify replay {CANARY} ")


def test_an_unseen_canary_fails_the_gate_with_the_word_unknown(tmp_path: Path) -> None:
    done = gate(tmp_path, stale=LUCKY)
    assert done.returncode == FAILED
    assert f"unknown: canary {CANARY}: broken, works by luck here; 0 stale of" in done.stdout
    assert f"because: canary {CANARY} unseen in 1,000,000 observations" in done.stdout
    assert "gate: unknown; report" in done.stdout
    assert outcomes(tmp_path) == ("unknown", {SOUND: "pass", CANARY: "unknown", LUCKY: "pass"})


def test_a_stale_sound_row_fails_the_gate_with_how_to_repeat_it(tmp_path: Path) -> None:
    done = gate(tmp_path, stale=f"{SOUND},{CANARY}")
    assert done.returncode == FAILED
    assert f"fail: {SOUND}: ALARM: forbidden but seen; 3 stale of 1,000,000" in done.stdout
    assert f"repeat with: sbo-verify replay {SOUND} --seed 7 --index 0" in done.stdout
    assert "gate: fail; report" in done.stdout
    assert outcomes(tmp_path)[0] == "fail"
    pinned("junit-failing.xml", settled(tmp_path / "junit.xml"))


def test_several_workers_write_one_run(tmp_path: Path) -> None:
    done = gate(tmp_path, "-n", "2", stale=CANARY)
    assert done.returncode == PASSED, done.stdout
    assert outcomes(tmp_path) == ("pass", {SOUND: "pass", CANARY: "pass", LUCKY: "pass"})
    run = only_run(tmp_path)
    assert run.torn_lines == []
    assert {each.seed for each in run.launches()} == {7}
    assert sorted(each.row for each in run.launches()) == sorted([SOUND, CANARY, LUCKY])
    assert all(re.fullmatch(r"gw\d+", each.worker) for each in run.launches())
    cases = ET.parse(tmp_path / "junit.xml").getroot().iter("testcase")  # noqa: S314 - made above
    assert all(list(each.iter("property")) for each in cases)


@pytest.mark.parametrize(("seen", "outcome"), [(0, "pass"), (1, "fail")])
def test_a_dead_workers_row_is_run_on_and_what_it_saw_is_not_run_away(
    seen: int, outcome: str, tmp_path: Path, record_property: RecordProperty
) -> None:
    """The worker that replaces it sees no stale tile."""
    told = {DEATH: str(tmp_path / "death"), DEATH_ROW: SOUND, DEATH_STALE: str(seen)}
    done = gate(tmp_path, "-n", "2", stale=CANARY, told=told)
    died = f"a worker died in stress/test_handover.py::test_handover[{SOUND}]"
    assert f"{died}; the test was run once more" in done.stdout
    assert outcomes(tmp_path) == (outcome, {SOUND: outcome, CANARY: "pass", LUCKY: "pass"})
    assert done.returncode == (FAILED if seen else PASSED), done.stdout
    run = only_run(tmp_path)
    launches = [each for each in run.launches() if each.row == SOUND]
    assert [each.stale_tiles for each in launches] == [seen, 0]
    assert [each.index for each in launches] == [0, 1], "no launch is made twice"
    assert launches[0].worker != launches[1].worker
    worker = launches[0].worker.encode()
    entry = tried(
        record_property,
        run,
        fault="worker killed",
        how=f"SIGKILL to an xdist worker in the middle of a sound row; {seen} stale seen before",
        before=[line for line in records(run.path / RAW_FILE) if worker in line],
        exit_code=done.returncode,
        then="another worker runs the row on",
    )
    assert (entry.lost, entry.verdict) == (0, outcome)
