"""What docs/extending.md says can be added can be: its changes applied to a copy, and tried."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "extending.md"
CHANGES = re.compile(r"^<!-- test: (\w+) -->\n```diff\n(.*?)^```", re.MULTILINE | re.DOTALL)
TRY_VARIANT = """
from sbo_verify.cli import main
name = "mine-read_wait-st_release"
assert main(["explain", name]) == 0
assert main(["run", "--variants", name, "--seed", "7"]) == 0
"""
TRY_KNOB = """
from sbo_verify.cli import main
from sbo_verify.harness.knobs import Knobs, draw, generator
knob = "delay_before_store_cycles"
drawn = {getattr(draw(generator(7, "row", index)), knob) for index in range(64)}
assert drawn == {0, 500}, drawn
words = ["run", "--variants", "full_wait-atom_release", "--seed", "7", "--knob"]
assert main([*words, f"{knob}=500"]) == 0
assert main([*words, f"{knob}=-1"]) == 254
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package and its kernels, to be changed."""
    leave = shutil.ignore_patterns("__pycache__")
    for folder in ("sbo_verify", "kernels", "docs"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=leave)
    return tmp_path


def applied(change: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The change as git applies it, a line of context on each side being enough."""
    return subprocess.run(
        ["git", "apply", "-C1", "-"],  # noqa: S607 - the caller's git
        cwd=folder,
        input=change,
        # Else git looks for the repository that the folder may lie in.
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("name", "trial"), [("variant", TRY_VARIANT), ("knob", TRY_KNOB)])
def test_a_change_that_is_shown_can_be_made_and_does_what_is_said(
    name: str, trial: str, copy: Path
) -> None:
    change = dict(CHANGES.findall(PAGE.read_text()))[name]
    done = applied(change, copy)
    assert done.returncode == 0, done.stderr
    told = {"PYTHONPATH": str(copy), "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200"}
    tried = subprocess.run(  # noqa: S603 - this interpreter, on the text above
        [sys.executable, "-c", trial],
        cwd=copy,
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        check=False,
    )
    assert tried.returncode == 0, tried.stderr
    assert "as declared" in tried.stdout


def test_every_change_of_the_page_is_tried() -> None:
    assert set(dict(CHANGES.findall(PAGE.read_text()))) == {"variant", "knob"}
    assert PAGE.read_text().count("```diff") == 2


def test_a_change_that_does_not_fit_is_noticed(copy: Path) -> None:
    change = dict(CHANGES.findall(PAGE.read_text()))["knob"]
    assert applied(change.replace("ring", "rope").replace("skew", "skow"), copy).returncode != 0


def test_every_file_that_the_page_names_is_there() -> None:
    found = re.findall(r"`((?:\w+/)+\w+\.(?:py|cuh))`", PAGE.read_text())
    named = {name for name in found if "NAME" not in name}
    assert len(named) >= 8
    missing = {
        name
        for name in named
        if not any((ROOT / top / name).is_file() for top in ("", "sbo_verify"))
    }
    assert missing == set()
