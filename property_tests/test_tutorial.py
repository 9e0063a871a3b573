"""The tutorial: its commands run as they stand and print what it shows."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from sbo_verify.cli import main
from sbo_verify.harness import examination

ROOT = Path(__file__).resolve().parents[1]
TUTORIAL = ROOT / "docs" / "tutorial.md"
FENCE = re.compile(
    r"(?:^<!-- exit code: (\d+) -->\n)?^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)
INSTALLATION = "python3 -m venv"


@dataclass(frozen=True)
class Shown:
    """A block of commands, what it is shown to print, and its exit code."""

    script: str
    output: str
    code: int


def shown(text: str) -> list[Shown]:
    return [Shown(found[2], found[3] or "", int(found[1] or 0)) for found in FENCE.finditer(text)]


def difference(expected: str, printed: str) -> str:
    """How `printed` differs from a text in which `...` stands for anything; empty where not."""
    wanted, got = (
        "".join(f"{line.rstrip()}\n" for line in text.splitlines()) for text in (expected, printed)
    )
    checker, example = doctest.OutputChecker(), doctest.Example("", wanted)
    if checker.check_output(wanted, got, doctest.ELLIPSIS):
        return ""
    return checker.output_difference(example, got, doctest.REPORT_NDIFF)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout as far as the tutorial looks at one, with `sbo-verify` on the path."""
    made = tmp_path_factory.mktemp("tutorial")
    for name in ("reports", "property_tests"):
        (made / name).symlink_to(ROOT / name)
    program = made / "bin" / "sbo-verify"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m sbo_verify "$@"\n')
    program.chmod(0o755)
    return made


BLOCKS = shown(TUTORIAL.read_text())
RUN = [block for block in BLOCKS if not block.script.startswith(INSTALLATION)]


def test_the_tutorial_shows_what_every_command_prints() -> None:
    assert len(RUN) >= 9
    assert len(BLOCKS) == len(RUN) + 1
    assert all(block.output for block in RUN)
    assert TUTORIAL.read_text().count("```sh") == len(BLOCKS)
    assert TUTORIAL.read_text().count("```text") == len(RUN)


def of_the_program_alone(script: str) -> list[str] | None:
    """The words of a script that is one command of this program; such a one needs no shell."""
    words = shlex.split(script)
    alone = words[0] == "sbo-verify" and script.count("\n") == 1 and "|" not in script
    return words[1:] if alone else None


@pytest.mark.parametrize("block", RUN, ids=lambda block: block.script.splitlines()[0][:60])
def test_a_command_of_the_tutorial_prints_what_is_shown(
    block: Shown,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(examination, "find_gpu", lambda _index: (None, "there is none"))
    words = of_the_program_alone(block.script)
    if words is not None:
        code = main(words)
        printed = capsys.readouterr().out
    else:
        done = subprocess.run(  # noqa: S603 - the project's own page
            ["bash", "-euo", "pipefail", "-c", block.script],  # noqa: S607 - the caller's bash
            capture_output=True,
            text=True,
            check=False,
        )
        code, printed = done.returncode, done.stdout
    assert code == block.code
    assert difference(block.output, printed) == ""


def test_a_text_that_is_not_printed_is_noticed() -> None:
    assert difference("a\n...\nc\n", "a\nb  \nb\nc\n") == ""
    assert "Allowed" in difference("Allowed (...)\n", "Forbidden (0.1 s)\n")
    (block,) = shown("<!-- exit code: 1 -->\n```sh\nfalse\n```\n\n```text\n...\n```\n")
    assert block == Shown("false\n", "...\n", 1)
