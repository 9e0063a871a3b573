"""Documents and workflows: every command in them can be typed, every link leads somewhere."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml
from documented_commands import (
    blocks,
    commands,
    complaint,
    of_the_program,
    options_of_pytest,
    steps,
)

from sbo_verify.cli.app import app
from sbo_verify.record import RowVerdict

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CI = ROOT / "docs" / "ci.md"
WORKFLOWS = sorted((ROOT / "docs" / "ci").glob("*.yml"))
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def scripts(path: Path) -> list[str]:
    """The shell in a document, or in a workflow's steps."""
    if path.suffix == ".md":
        return blocks(path.read_text())
    return [step["run"] for step in steps(path) if "run" in step]


@pytest.fixture(scope="module")
def known_to_pytest() -> set[str]:
    """Every long option that pytest takes in this repository, the plugin's among them."""
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "--help", "-p", "no:cacheprovider"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    # Its older spelling of --junit-xml is taken, and not in its help.
    return {*re.findall(r"--[a-z][\w-]+", told.stdout), "--junitxml"}


def test_the_plugins_options_and_this_repositorys_stand_side_by_side(
    known_to_pytest: set[str],
) -> None:
    names = ("seed", "out", "require-gpu", "summary")
    assert {f"--{name}" for name in names} | {f"--sbo-{name}" for name in names} <= known_to_pytest


@pytest.mark.parametrize("path", [*DOCUMENTS, *WORKFLOWS], ids=name)
def test_every_command_exists_and_takes_its_options(path: Path, known_to_pytest: set[str]) -> None:
    found = [words for script in scripts(path) for words in commands(script)]
    refused = {
        " ".join(words): why
        for words in found
        if (arguments := of_the_program(words)) is not None and (why := complaint(arguments))
    }
    assert refused == {}
    unknown = {
        option
        for words in found
        if (options := options_of_pytest(words)) is not None
        for option in options
        if option not in known_to_pytest
    }
    assert unknown == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_a_command_within_a_sentence_exists_too(path: Path) -> None:
    spans = re.findall(r"(?<!`)`(sbo-verify [^`]+)`", path.read_text())
    refused = {
        span: why
        for span in (" ".join(each.split()) for each in spans)
        for words in commands(span)
        if (arguments := of_the_program(words)) is not None and (why := complaint(arguments))
    }
    assert refused == {}


def test_every_command_has_a_place_in_a_document() -> None:
    told = "\n".join(" ".join(path.read_text().split()) for path in DOCUMENTS)
    assert {each for each in app.loaded().commands if f"sbo-verify {each}" not in told} == set()


def examples() -> list[tuple[str, list[str]]]:
    """The examples in the help of every group; those of commands are typed in test_cli_model."""
    found = []
    stack: list[tuple[tuple[str, ...], click.Command]] = [(("sbo-verify",), app.loaded())]
    while stack:
        path, command = stack.pop()
        told = [
            line.strip()
            for line in (command.help or "").splitlines()
            if line.strip().startswith("sbo-verify ")
        ]
        if isinstance(command, click.Group):
            found.append((" ".join(path), told))
            stack += [((*path, each), sub) for each, sub in command.commands.items()]
    return found


@pytest.mark.parametrize(("command", "told"), examples(), ids=[name for name, _ in examples()])
def test_the_help_of_every_group_shows_examples_that_can_be_typed(
    command: str, told: list[str]
) -> None:
    assert told, f"{command} --help shows no example"
    for line in told:
        # Two spaces or more set off what an example does.
        (words,) = commands(re.split(r"\s{2,}", line)[0])
        assert complaint(words[1:]) == ""


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_every_link_leads_to_a_file_and_a_heading(path: Path) -> None:
    for target, anchor in LINK.findall(path.read_text()):
        if target.startswith(("http:", "https:")):
            continue
        file = (path.parent / target) if target else path
        assert file.exists(), f"{target} does not exist"
        if anchor:
            assert anchor in anchors(file.read_text()), f"{target} has no heading {anchor}"


def anchors(text: str) -> set[str]:
    """The names under which a document's headings are linked to."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    kept = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in kept}


# ---- the workflows ----------------------------------------------------------------------------


def test_there_are_workflows_for_this_repository_and_for_another() -> None:
    assert [path.name for path in WORKFLOWS] == ["hopper-gate.yml", "own-kernel.yml"]


def test_the_gates_workflow_runs_the_gate_and_keeps_what_it_says() -> None:
    path = WORKFLOWS[0]
    found = [words for script in scripts(path) for words in commands(script)]
    (gate,) = [words for words in found if words[0] == "pytest"]
    assert gate[:5] == ["pytest", "stress/", "-n", "8", "--require-gpu"]
    assert gate[gate.index("--summary") + 1] == "$GITHUB_STEP_SUMMARY"
    by_use = {step["uses"].partition("@")[0]: step for step in steps(path) if "uses" in step}
    kept = by_use["actions/upload-artifact"]["with"]["path"].split()
    assert gate[gate.index("--junitxml") + 1] in kept
    assert gate[gate.index("--out") + 1] + "/" in kept
    (inspect,) = [words for words in found if words[:2] == ["sbo-verify", "inspect"]]
    sarif = by_use["github/codeql-action/upload-sarif"]
    assert sarif["with"]["sarif_file"] == inspect[inspect.index("--sarif") + 1]
    assert ["sbo-verify", "report", "$run", "--format", "html"] in found
    for step in steps(path):
        if step.get("name") in {"Reports", "Inspect"} or "upload" in step.get("uses", ""):
            assert step["if"].startswith("always()"), "a red gate is when they are wanted"


def test_the_properties_that_the_page_names_are_in_junit_files() -> None:
    """Those of the gate's tests are pinned under snapshots/."""
    (row,) = [line for line in CI.read_text().splitlines() if line.startswith("| `--junitxml")]
    named = set(re.findall(r"`(\w+)`", row))
    assert named >= {"model", "code", "silicon", "bound", "seed", "repeat"}
    verdict = {field.name for field in dataclasses.fields(RowVerdict)}
    assert named <= verdict | {"seed", "repeat"}


def test_what_the_cache_of_kernels_depends_on_is_in_its_key() -> None:
    (cache,) = [s["with"] for s in steps(WORKFLOWS[0]) if "cache" in s.get("uses", "")]
    assert "SBO_VERIFY_CACHE: ${{ github.workspace }}/" + cache["path"] in WORKFLOWS[0].read_text()
    patterns = re.findall(r"'([^']+)'", cache["key"])
    assert set(patterns) >= {"pyproject.toml", "kernels/**"}
    for pattern in patterns:
        assert any(ROOT.glob(pattern)), f"{pattern} matches nothing"
    assert "nvidia-cuda-nvrtc==" in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("path", WORKFLOWS, ids=name)
def test_a_workflow_may_write_only_where_it_uploads_and_keeps_no_credentials(path: Path) -> None:
    """A pull request's own code runs in these jobs."""
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        used = {step["uses"].partition("@")[0]: step for step in job["steps"] if "uses" in step}
        assert used["actions/checkout"]["with"]["persist-credentials"] is False
        granted = job.get("permissions", {"contents": "read"})
        uploads = "github/codeql-action/upload-sarif" in used
        assert ("security-events" in granted) == uploads
        assert set(granted) <= {"contents", "security-events"}


# ---- the checkers see -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("sbo-verify runn", "no command 'runn'"),
        ("true && sbo-verify run --sed 7", "No such option '--sed'"),
        ("sbo-verify run extra > file", "too many words: ['extra']"),
        ("for x in *; do sbo-verify report; done", ""),
        ("sbo-verify run --seed 7 | head", ""),
        ("sbo-verify --help", ""),
    ],
)
def test_a_command_that_cannot_be_typed_is_found(script: str, why: str) -> None:
    found = [of_the_program(words) for words in commands(script)]
    (told,) = [complaint(words) for words in found if words is not None]
    assert told.startswith(why)
    assert bool(told) == bool(why)


def test_options_of_pytest_are_found_however_it_is_started() -> None:
    for script in ("pytest stress/ -n 8 --a=b --c", ".venv/bin/python -m pytest -q --a --c"):
        (words,) = commands(script)
        assert options_of_pytest(words) == ["--a", "--c"]
    (words,) = commands("pip install --upgrade pytest")
    assert options_of_pytest(words) is None


def test_a_heading_is_linked_to_by_its_words() -> None:
    assert anchors("# `sbo-verify inspect`: the hand-offs\n## A b-c") == {
        "sbo-verify-inspect-the-hand-offs",
        "a-b-c",
    }
