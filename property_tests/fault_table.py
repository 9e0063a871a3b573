"""A pytest plugin that writes down what tests tried: `pytest -p fault_table --faults FOLDER`.

The folder gets faults.json, which names commit, machine and command, and faults.md made from it.
"""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tried import PROPERTY

from sbo_verify.device.gpu import NoGpuError, describe_machine, usable_gpus
from sbo_verify.harness.session import commit_of_source
from sbo_verify.report.faults import faults_text

KIND = "faults"
FORMAT_VERSION = 1
RECORD_FILE, TEXT_FILE = "faults.json", "faults.md"


def pytest_addoption(parser: pytest.Parser) -> None:
    """One option."""
    parser.addoption("--faults", default="", metavar="FOLDER", help="write the faults tried there")


def pytest_configure(config: pytest.Config) -> None:
    """Collect in the controlling process, which hears of every worker's tests."""
    if config.option.faults and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Table(Path(config.option.faults)))


class Table:
    """What the tests of one session tried. Tests that failed are no evidence and are left out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tried: list[dict[str, Any]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what a test that passed says."""
        if report.when == "call" and report.passed:
            found = [value for name, value in report.user_properties if name == PROPERTY]
            self.tried += [dict(value) for value in found if isinstance(value, dict)]

    def pytest_sessionfinish(self) -> None:
        """Write the record and its text."""
        self.folder.mkdir(parents=True, exist_ok=True)
        record = record_of(self.tried)
        text = json.dumps(record, indent=1) + "\n"
        (self.folder / RECORD_FILE).write_text(text, encoding="utf-8")
        (self.folder / TEXT_FILE).write_text(faults_text(record), encoding="utf-8")


def record_of(tried: list[dict[str, Any]]) -> dict[str, Any]:
    """The record of one session."""
    commit, dirty = commit_of_source()
    try:
        gpu = usable_gpus()[0]
    except NoGpuError:
        gpu = None
    return {
        "kind": KIND,
        "format_version": FORMAT_VERSION,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "dirty": dirty,
        "command": shlex.join(["pytest", *sys.argv[1:]]),
        "machine": asdict(describe_machine(gpu)),
        "tried": sorted(tried, key=lambda entry: (entry["fault"], entry["how"])),
    }
