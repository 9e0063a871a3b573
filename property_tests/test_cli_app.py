"""The list of commands is quick to show, and says of each what its module says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from sbo_verify.cli import main
from sbo_verify.cli.app import COMMANDS, app

ROOT = Path(__file__).resolve().parents[1]
# What takes long to import: numbers, drawing in terminals, the compiler, and most of the project.
HEAVY = ("numpy", "scipy", "rich", "jinja2", "cuda", "cupy", "torch")
LIGHT = {
    "sbo_verify",
    "sbo_verify.cli",
    "sbo_verify.cli.app",
    "sbo_verify.harness",
    "sbo_verify.harness.termination",
    "sbo_verify.verdict",
}
SHOW = """
import sys
from sbo_verify.cli import main
code = main(sys.argv[1:])
sys.stderr.write("\\n".join(sorted(sys.modules)))
raise SystemExit(code)
"""


def modules_behind(words: list[str], **environment: str) -> set[str]:
    """What one command line of the program has imported when it is done."""
    done = subprocess.run(  # noqa: S603 - this program
        [sys.executable, "-c", SHOW, *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout
    return set(done.stderr.splitlines())


def own(modules: set[str]) -> set[str]:
    return {name for name in modules if name.partition(".")[0] == "sbo_verify"}


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["-h"]])
def test_help_and_version_import_next_to_nothing(words: list[str]) -> None:
    modules = modules_behind(words)
    assert own(modules) == LIGHT
    assert not modules & set(HEAVY)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_of_a_command_imports_next_to_nothing(shell: str) -> None:
    """By the program's own script: completion is asked for through the environment."""
    for ask, words in (("source", ""), ("complete", "sbo-verify doc")):
        modules = modules_behind(
            [],
            _SBO_VERIFY_COMPLETE=f"{shell}_{ask}",
            COMP_WORDS=words,
            COMP_CWORD="doc" if shell == "fish" else "1",
        )
        assert own(modules) == LIGHT
        assert not modules & set(HEAVY)


def test_a_command_that_needs_more_is_seen_to() -> None:
    modules = modules_behind(["list", "--json"])
    assert "sbo_verify.protocols" in modules
    assert own(modules) > LIGHT


def test_every_command_is_in_the_list_and_added_by_the_module_that_it_names() -> None:
    assert set(app.loaded().commands) == set(COMMANDS)
    for name, (_, modules) in COMMANDS.items():
        command = app.commands[name]
        assert command.callback is not None
        defined = {f"sbo_verify.cli.{module}" for module in modules}
        if isinstance(command, click.Group):
            parts = [
                each.callback.__module__ for each in command.commands.values() if each.callback
            ]
            # The module of the group itself is imported by those that join it.
            assert defined <= set(parts)
        else:
            assert defined == {command.callback.__module__}


def test_every_line_of_the_list_is_shown_whole_in_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["--help"]) == 0
    told = capsys.readouterr().out.partition("Commands:")[2]
    assert "..." not in told
    width = max(map(len, COMMANDS))
    for name, (line, _) in COMMANDS.items():
        assert f"  {name:{width}}  {line}\n" in told


def test_a_name_that_is_nearly_one_is_answered_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["docter"]) == 254
    assert "Did you mean 'doctor'?" in capsys.readouterr().err
