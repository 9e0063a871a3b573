"""A soak that is interrupted goes on where it was, and what is no soak of this code is refused."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from forked_programs import ROWS, Programs, serving
from steady_bench import FAULT, LAUNCH_SECONDS
from tried import PROPERTY, RecordProperty, Tried, only_run, outcome_of, records

from sbo_verify.store import Run

PASS, UNKNOWN, USAGE = 0, 2, 254
SOME_LAUNCHES, MANY_LAUNCHES = str(40 * LAUNCH_SECONDS), str(150 * LAUNCH_SECONDS)


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    """The process from which programs are forked."""
    with serving() as process:
        yield process


@pytest.fixture
def programs(server: subprocess.Popen[str], tmp_path: Path) -> Programs:
    """Programs of this test."""
    return Programs(server, tmp_path)


@pytest.mark.parametrize("told", ["kill@70", "interrupt@70", "full disk@70", "failed@70"])
def test_a_soak_goes_on_where_it_was(
    told: str, programs: Programs, record_property: RecordProperty
) -> None:
    words = ("soak", "--variants", ROWS, "--seed", "7", "--seconds", MANY_LAUNCHES, "--out")
    ended = programs.start(*words, str(programs.out), **{FAULT: told}).wait()
    assert ended in {-signal.SIGKILL, UNKNOWN}
    run = only_run(programs.out)
    assert outcome_of(run) == "unknown"
    before = records(programs.before)
    launches = sum(b'"kind":"launch"' in line for line in before)
    resumed = programs.start("soak", "--resume", str(run.path)).wait()
    outcome = outcome_of(run)
    failed = told.startswith("failed")
    said = (programs.folder / "said").read_text()
    assert resumed == (UNKNOWN if failed else PASS), said
    assert "launches by 2 process(es) in 1.2 s of GPU time; memory " in said
    told_launches = sum(getattr(each, "launches", 1) for each in run.launches())
    made = [f for f in run.raw().footprints if f.process == 2]
    assert made[0].launches >= launches
    assert told_launches == (151 if failed else 150)
    record_property(
        PROPERTY,
        asdict(
            Tried(
                fault="soak interrupted",
                how=f"{told} of 150 launches, and resumed; launches are counted",
                times=1,
                before=launches,
                after=told_launches,
                lost=max(0, launches - told_launches),
                verdict=outcome,
                exit_code=str(ended),
                then=str(resumed),
            )
        ),
    )


def soaked(programs: Programs, out: str, seed: int) -> Run:
    """A short soak that ended well."""
    folder = programs.folder / out
    words = ("soak", "--variants", ROWS, "--seed", str(seed), "--seconds", SOME_LAUNCHES, "--out")
    assert programs.start(*words, str(folder)).wait() == PASS
    return only_run(folder)


def test_soaks_of_one_commit_are_added_up(programs: Programs) -> None:
    one, other = soaked(programs, "one", 7), soaked(programs, "other", 8)
    assert programs.start("sum", str(one.path), str(other.path), "--format", "json").wait() == PASS
    told = json.loads((programs.folder / "said").read_text())
    seen = {each["row"]: each["observations"] for each in told["verdicts"]}
    runs = (one, other)
    for row, observations in seen.items():
        mine = [each for run in runs for each in run.launches() if each.row == row]
        assert observations == sum(each.observations for each in mine) > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("sum {run} {run}", "cannot be added: both are of seed 7"),
        ("sum {run} nowhere", "nowhere does not exist; name the folder of one run"),
        ("soak --resume {run} --seed 9", "--seed is what the run's settings say"),
        ("soak --resume {run} --knob ring=3", "--knobs is what the run's settings say"),
        ("soak --resume {stress}", "is no soak: it was made by 'sbo-verify stress"),
        ("soak --seconds nan", "nan is no number of seconds"),
        ("soak --producer a:b", "--producer names a GEMM; choose --kernel gemm with it"),
    ],
)
def test_what_cannot_be_added_or_gone_on_with_is_refused(
    words: str, said: str, programs: Programs
) -> None:
    paths = {"run": str(soaked(programs, "soak", 7).path), "stress": ""}
    if "{stress}" in words:
        assert programs.stress().wait() == PASS
        paths["stress"] = str(only_run(programs.out).path)
    assert programs.start(*words.format(**paths).split()).wait() == USAGE
    assert said in (programs.folder / "said").read_text()


def test_a_soak_is_not_gone_on_with_by_other_code(programs: Programs) -> None:
    run = soaked(programs, "soak", 7)
    file = run.path / "settings.json"
    file.write_text(file.read_text().replace("0123456789abcdef", "f" * 40))
    assert programs.start("soak", "--resume", str(run.path)).wait() == USAGE
    assert "cannot be gone on with: commit is 'fff" in (programs.folder / "said").read_text()
