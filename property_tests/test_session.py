"""What a run is of: the rows that are chosen, the commit it was made from, and its settings."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from fake_bench import GPU, FakeBench
from written_runs import code_reading, fault, launch, settings

from sbo_verify.device.micro_kernel import LaunchHungError
from sbo_verify.harness.environments import kept
from sbo_verify.harness.runner import Bench
from sbo_verify.harness.session import (
    COMMIT_VARIABLE,
    Plan,
    choose_rows,
    commit_of_source,
    conclude,
    conforms,
    settings_of,
    stress_row,
)
from sbo_verify.protocol import UnknownNameError
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.record import GEMM, Launch
from sbo_verify.store import Run

SOUND = "full_wait-atom_release"
CANARY = "no_wait-relaxed"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def names_of(*words: str) -> list[str]:
    return [row.name for row in choose_rows(SIGNAL_PUBLISH, words)]


# ---- rows -----------------------------------------------------------------------------------


def test_where_nothing_is_named_every_row_is_chosen() -> None:
    assert names_of() == [row.name for row in SIGNAL_PUBLISH]


def test_rows_are_chosen_by_name_and_by_hash_in_the_order_named() -> None:
    hashed = SIGNAL_PUBLISH.hash_of(SIGNAL_PUBLISH.row(SOUND).variant)
    assert names_of(CANARY, hashed) == [CANARY, SOUND]


def test_a_row_that_is_named_twice_is_chosen_once() -> None:
    hashed = SIGNAL_PUBLISH.hash_of(SIGNAL_PUBLISH.row(SOUND).variant)
    assert names_of(SOUND, hashed, "full_wait-atom_rel*") == [SOUND]


def test_a_pattern_chooses_all_that_it_matches_and_nothing_else() -> None:
    expected = [row.name for row in SIGNAL_PUBLISH if row.name.startswith("read_wait-")]
    assert len(expected) > 1
    assert names_of("read_wait-*") == expected
    assert names_of("*") == names_of()


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("hope", r"no variant 'hope' in the catalogue of signal_publish"),
        ("hope*", r"no variant matches 'hope\*'; see `sbo-verify list`"),
        ("READ_WAIT-*", r"no variant matches 'READ_WAIT-\*'"),
    ],
)
def test_what_matches_nothing_is_refused_beside_what_does(word: str, said: str) -> None:
    with pytest.raises(UnknownNameError, match=said):
        names_of(SOUND, word)


# ---- the commit -----------------------------------------------------------------------------


def git(folder: Path, *words: str) -> str:
    """What git answers in `folder`, whatever this user's own settings are."""
    fixed = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"]
    done = subprocess.run(  # noqa: S603 - fixed words
        ["git", "-C", str(folder), *fixed, *words],  # noqa: S607 - the caller's git
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of one file and one commit."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", COMMIT_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "file").write_text("one\n")
    git(folder, "add", "file")
    git(folder, "commit", "--quiet", "--no-gpg-sign", "--message", "one")
    return folder


def test_a_tree_as_it_was_committed_is_clean(repository: Path) -> None:
    assert commit_of_source(repository) == (git(repository, "rev-parse", "HEAD"), False)
    (repository / "new").write_text("not added\n")
    assert commit_of_source(repository)[1] is False, "files that were not added do not count"


def test_a_tree_that_was_changed_since_is_dirty(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    (repository / "file").write_text("two\n")
    assert commit_of_source(repository) == (commit, True)
    git(repository, "add", "file")
    assert commit_of_source(repository) == (commit, True)


def test_gits_own_word_comes_before_the_variable(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(COMMIT_VARIABLE, COMMIT)
    assert commit_of_source(repository)[0] == git(repository, "rev-parse", "HEAD")


def test_a_tree_that_only_lies_in_a_repository_may_say_its_own_commit(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exported below a checkout of another commit; or installed there, with nothing said."""
    inside = repository / "exported"
    inside.mkdir()
    monkeypatch.setenv(COMMIT_VARIABLE, COMMIT)
    assert commit_of_source(inside) == (COMMIT, False)
    monkeypatch.delenv(COMMIT_VARIABLE)
    assert commit_of_source(inside) == (git(repository, "rev-parse", "HEAD"), False)


@pytest.mark.parametrize(
    ("told", "found"),
    [(COMMIT, (COMMIT, False)), (f"{COMMIT}-dirty", (COMMIT, True)), (None, ("", False))],
)
@pytest.mark.parametrize("missing", ["history", "git"])
def test_without_history_the_variable_says_the_commit(
    told: str | None,
    found: tuple[str, bool],
    missing: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    if missing == "git":
        monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(COMMIT_VARIABLE, raising=False)
    if told is not None:
        monkeypatch.setenv(COMMIT_VARIABLE, told)
    assert commit_of_source(tmp_path) == found


# ---- settings -------------------------------------------------------------------------------


def plan_of(**changes: object) -> Plan:
    """A plan of two rows."""
    rows = [SIGNAL_PUBLISH.row(name) for name in (SOUND, CANARY)]
    plan = Plan(protocol=SIGNAL_PUBLISH, rows=rows, seed=7, seconds=2.0)
    return replace(plan, **changes)  # type: ignore[arg-type]


def test_settings_say_what_runs_where_and_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["anywhere/sbo-verify", "run", "--variants", "read_wait*"])
    found = settings_of(plan_of(), GPU, "")
    assert (found.rows, found.seed, found.seconds_per_row) == ([SOUND, CANARY], 7, 2.0)
    assert (found.silicon, found.silicon_reason) == (True, "")
    assert (found.machine["gpu"], found.machine["sm_count"]) == (GPU.name, 132)
    assert found.command == "sbo-verify run --variants 'read_wait*'"
    assert settings_of(plan_of(command="pytest stress/"), GPU, "").command == "pytest stress/"
    assert (found.killable, found.environments) == ([CANARY], kept().version)
    assert settings_of(plan_of(kernel=GEMM), GPU, "").environments == ""


def test_settings_without_a_gpu_say_why() -> None:
    found = settings_of(plan_of(), None, "no driver")
    assert (found.silicon, found.silicon_reason) == (False, "no driver")
    assert (found.machine["gpu"], found.machine["sm_count"]) == ("", 0)


# ---- stress ---------------------------------------------------------------------------------


def stressed(run: Run, plan: Plan, *answers: Launch | Exception) -> FakeBench:
    """The sound row under stress, on a bench that answers as told."""
    bench = FakeBench(SIGNAL_PUBLISH, answers={SOUND: answers})
    stress_row(run, cast("Bench", bench), plan.rows[0], plan, lambda _launch: None)
    return bench


def test_every_launch_is_recorded_as_it_happens(tmp_path: Path) -> None:
    run = Run.create(tmp_path, settings([SOUND, CANARY]))
    launches = [launch(SOUND, index=index) for index in range(3)]
    bench = FakeBench(SIGNAL_PUBLISH, answers={SOUND: launches})
    seen: list[int] = []
    plan = plan_of()
    done = stress_row(
        run,
        cast("Bench", bench),
        plan.rows[0],
        plan,
        lambda _launch: seen.append(len(run.launches())),
    )
    assert seen == [1, 2, 3]
    assert done == run.launches() == launches


def test_knobs_and_wanted_hand_overs_reach_the_bench(tmp_path: Path) -> None:
    run = Run.create(tmp_path, settings([SOUND, CANARY]))
    plan = plan_of(fixed={"ring": "3"}, observations=100)
    ((_, how),) = stressed(run, plan, launch(SOUND)).asked
    assert (how["fixed"], how["observations"], how["seconds"]) == ({"ring": "3"}, 100, 2.0)
    broken = FakeBench(SIGNAL_PUBLISH)
    stress_row(run, cast("Bench", broken), plan.rows[1], plan, lambda _launch: None)
    assert broken.asked[0][1]["observations"] == 0, "a bound is earned by sound rows"


def test_a_launch_that_takes_the_gpu_along_is_recorded_with_its_knobs(tmp_path: Path) -> None:
    run = Run.create(tmp_path, settings([SOUND, CANARY]))
    with pytest.raises(LaunchHungError):
        stressed(run, plan_of(fixed={"ring": "3"}), launch(SOUND), LaunchHungError("no end"))
    lost = run.launches()[-1]
    assert lost.fault is not None
    assert (lost.fault["what"], lost.index, lost.seed) == ("launch hung", 1, 7)
    assert (lost.knobs, lost.gpu) == ({"ring": "3"}, GPU.uuid)


# ---- the end --------------------------------------------------------------------------------


def test_only_code_that_is_as_declared_conforms() -> None:
    assert conforms(code_reading(SOUND))
    assert not conforms(code_reading(SOUND, verdict="differs"))
    assert not conforms(code_reading(SOUND, verdict="not read"))


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_run_is_concluded_from_what_lies_on_disk(interrupted: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a case
    run = Run.create(tmp_path, settings([SOUND, CANARY]))
    for row in (SOUND, CANARY):
        run.append(code_reading(row))
    run.append(launch(SOUND))
    run.append(launch(CANARY, stale=5))
    concluded = conclude(run, SIGNAL_PUBLISH, interrupted=interrupted)
    assert run.verdict() == concluded
    assert concluded[1].outcome == ("unknown" if interrupted else "pass")
    run.append(launch(SOUND, index=1, fault=fault("signal overshot")))
    assert conclude(run, SIGNAL_PUBLISH)[1].outcome == "fail"
