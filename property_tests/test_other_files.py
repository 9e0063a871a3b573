"""A command that shows a record refuses a file that is none, and names what makes one."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbo_verify.cli import main

USAGE = 254
COMMANDS = ("bench gemm", "bench overlap", "numerics")
OTHERS = (
    "",
    "[]",
    "{}",
    '{"settings": 1, "cells": [], "method": {}}',
    '{"settings": {"machine": 1}}',
)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("content", OTHERS)
def test_another_file_is_refused(
    command: str, content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "other.json"
    file.write_text(content)
    assert main([*command.split(), "--record", str(file)]) == USAGE
    assert f"{file} is no record of {command} --json" in capsys.readouterr().err
