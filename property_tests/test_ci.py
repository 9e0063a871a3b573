"""The continuous integration runs the commands that README.md gives to a newcomer."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / ".ci" / "run"
GOOD = """# A

<!-- ci:test -->
```sh
make test && echo $HOME
```
<!-- ci:run -->

```sh
run
```
"""


def show(readme: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - this project's own script
        [str(SCRIPT), "--show", str(readme)], capture_output=True, text=True, check=False
    )


def test_both_commands_stand_in_the_readme() -> None:
    shown = show(ROOT / "README.md")
    assert shown.returncode == 0, shown.stderr
    tests, run = shown.stdout.splitlines()
    assert "pytest" in tests
    assert "sbo-verify run" in run
    assert "venv" in tests, "the line does all the set-up itself"
    assert "venv" in run, "the line does all the set-up itself"


def test_a_command_is_read_as_it_stands(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(GOOD)
    assert show(readme).stdout == "make test && echo $HOME\nrun\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<!-- ci:run -->", "", "the marker <!-- ci:run --> is missing"),
        ("# A", "<!-- ci:test -->\n```sh\na\n```", "the marker <!-- ci:test --> stands twice"),
        ("```sh\nrun", "```python\nrun", "an sh block is wanted, found: ```python"),
        ("run\n", "run\nagain\n", "has 2 lines, one is wanted"),
        ("run\n", "", "has 0 lines, one is wanted"),
        ("run\n```\n", "run\n", "the sh block behind <!-- ci:run --> does not end"),
    ],
)
def test_a_readme_that_drifted_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    readme = tmp_path / "README.md"
    assert old in GOOD
    readme.write_text(GOOD.replace(old, new))
    shown = show(readme)
    assert shown.returncode == 1
    assert message in shown.stderr


def test_an_unknown_argument_is_wrong_usage() -> None:
    ended = subprocess.run(  # noqa: S603 - this project's own script
        [str(SCRIPT), "--quick"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 254
    assert "usage: .ci/run" in ended.stderr
