"""What a newcomer meets first: help, errors, the doctor, a run on a laptop, narrow terminals."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
UNKNOWN = 2


@pytest.mark.parametrize("words", [["list"], ["list", "--json"]])
def test_output_that_nobody_reads_on_is_no_fail(words: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    module = [sys.executable, "-m", "sbo_verify", *words]
    done = subprocess.run(module, cwd=ROOT, stdout=write, check=False)  # noqa: S603 - fixed words
    os.close(write)
    assert done.returncode == UNKNOWN
