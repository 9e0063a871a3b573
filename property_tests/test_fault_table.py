"""The table of faults says what its record says, and the record is of every fault there is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fault_table import FORMAT_VERSION, KIND, RECORD_FILE, TEXT_FILE

from sbo_verify.report.faults import faults_text

ROOT = Path(__file__).resolve().parents[1]
RECORDS = sorted((ROOT / "reports").glob(f"faults-*/{RECORD_FILE}"))
# What may happen to a run, and must have been tried.
FAULTS = {
    "process killed",
    "worker killed",
    "kernel faults",
    "kernel never ends",
    "out of GPU memory",
    "disk full",
    "record cut off",
    "two runs in one folder",
    "Ctrl-C",
    "job ended by its runner",
    "clock steps",
    "GPU vanishes",
    "others' load on the GPU",
    "soak interrupted",
}
# The same with a real one.
ON_GPU = {"kernel faults", "kernel never ends", "out of GPU memory", "others' load on the GPU"}


def loaded(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text())
    return data


def complaints(record: dict[str, Any], wanted: set[str]) -> list[str]:
    """What keeps a record from showing that a run survives."""
    tried = record["tried"]
    found = [f"not tried: {name}" for name in sorted(wanted - {each["fault"] for each in tried})]
    found += [f"{each['how']}: {each['lost']} lost" for each in tried if each["lost"]]
    found += [
        f"{each['how']}: no record was there to be lost" for each in tried if not each["before"]
    ]
    if record["dirty"] or not record["commit"]:
        found.append("no commit names the code")
    return found


def test_there_is_a_record_without_a_gpu() -> None:
    assert any(not loaded(path)["machine"]["gpu"] for path in RECORDS)


@pytest.mark.parametrize("path", RECORDS, ids=[path.parent.name for path in RECORDS])
def test_the_text_is_what_the_record_gives(path: Path) -> None:
    record = loaded(path)
    assert (record["kind"], record["format_version"]) == (KIND, FORMAT_VERSION)
    assert path.with_name(TEXT_FILE).read_text() == faults_text(record)


@pytest.mark.parametrize("path", RECORDS, ids=[path.parent.name for path in RECORDS])
def test_every_fault_was_tried_and_nothing_was_lost(path: Path) -> None:
    record = loaded(path)
    assert complaints(record, ON_GPU if record["machine"]["gpu"] else FAULTS) == []


def test_the_text_names_no_place_of_the_machine_that_ran_it() -> None:
    record = {
        **loaded(RECORDS[0]),
        "command": "pytest -p fault_table --faults /some/where/told stress/a.py",
    }
    assert "`pytest -p fault_table --faults told stress/a.py`" in faults_text(record)


def test_a_loss_and_a_fault_that_was_not_tried_are_noticed() -> None:
    entry = {"fault": "Ctrl-C", "how": "SIGINT", "before": 3, "lost": 1}
    record = {"tried": [entry], "dirty": False, "commit": "0" * 40}
    assert complaints(record, {"Ctrl-C", "disk full"}) == [
        "not tried: disk full",
        "SIGINT: 1 lost",
    ]
    record = {"tried": [entry | {"before": 0, "lost": 0}], "dirty": True, "commit": "0" * 40}
    assert complaints(record, set()) == [
        "SIGINT: no record was there to be lost",
        "no commit names the code",
    ]


TESTS = """
def test_one(record_property):
    record_property("tried", {"fault": "a", "how": "b", "times": 2, "before": 3, "after": 4,
                              "lost": 0, "verdict": "unknown", "exit_code": "2", "then": "0"})

def test_other(record_property):
    record_property("tried", {"fault": "never seen"})
    assert False
"""


def test_the_plugin_writes_what_passing_tests_say_and_nothing_of_others(tmp_path: Path) -> None:
    (tmp_path / "test_made_up.py").write_text(TESTS)
    folders = [str(ROOT), str(ROOT / "property_tests")]
    done = subprocess.run(  # noqa: S603 - this interpreter, on the text above
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "fault_table", "-p", "no:cacheprovider"),
            *("--faults", str(tmp_path / "told"), str(tmp_path)),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    record = loaded(tmp_path / "told" / RECORD_FILE)
    assert [entry["fault"] for entry in record["tried"]] == ["a"]
    text = (tmp_path / "told" / TEXT_FILE).read_text()
    assert text == faults_text(record)
    assert "| a | b | 2 | 3 | 4 | 0 | unknown | 2 | 0 |" in text
    assert "1 ways, 2 times: **0 records lost**." in text
