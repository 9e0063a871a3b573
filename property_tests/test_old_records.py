"""A record of an older version of the format opens in every form, or says why it does not."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
from written_runs import code_reading, launch, settings

from sbo_verify.cli import main
from sbo_verify.record import FORMAT_VERSION, ModelReading, Record
from sbo_verify.store import RAW_FILE, SETTINGS_FILE, Run
from sbo_verify.verdict import ExitCode

SOUND, CANARY = "full_wait-atom_release", "no_wait-relaxed"
FORMS = ("terminal", "markdown", "html", "json")


def oldest(record: Record) -> dict[str, Any]:
    """The record as the first version wrote it: no field that came with a default later."""
    younger = {
        item.name
        for item in fields(record)
        if item.default is not MISSING or item.default_factory is not MISSING
    }
    # The first version had these of a launch, empty where there was nothing to say.
    younger -= {"witnesses", "fault", "worker", "gpu"}
    return {name: value for name, value in record.to_json().items() if name not in younger}


@pytest.fixture
def old_run(tmp_path: Path) -> Path:
    """A run whose every line is as old as can be."""
    asked = settings([SOUND, CANARY])
    run = Run.create(tmp_path, asked)
    model = ModelReading(
        row=CANARY,
        variant=launch(CANARY).variant,
        verdict="Allowed",
        complete=True,
        seconds=0.0,
        readings={},
        missing=["a fence"],
        ordering=[],
        notes=[],
        witness=None,
    )
    records: list[Record] = [model]
    records += [code_reading(SOUND), code_reading(CANARY), launch(SOUND), launch(CANARY, stale=3)]
    lines = [json.dumps(oldest(each)) for each in records]
    (run.path / RAW_FILE).write_text("\n".join(lines) + "\n")
    (run.path / SETTINGS_FILE).write_text(json.dumps(oldest(asked)) + "\n")
    return run.path


@pytest.mark.parametrize("form", FORMS)
def test_a_run_without_what_came_later_is_told_in_every_form(
    old_run: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # It has no verdict of its own: it ended early, and is unknown.
    assert main(["report", str(old_run), "--format", form]) == ExitCode.UNKNOWN
    text = capsys.readouterr().out
    assert "broken, shown" in text
    assert "a fence" in text or form == "terminal"
    assert "the order of the PTX is" not in text


def test_it_can_be_compared(old_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(old_run), str(old_run)]) == ExitCode.UNKNOWN
    assert "the later run is not complete" in capsys.readouterr().out


@pytest.mark.parametrize("form", FORMS)
def test_a_version_that_is_not_read_is_named_with_what_to_do(
    old_run: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = old_run / SETTINGS_FILE
    data = json.loads(file.read_text())
    file.write_text(json.dumps({**data, "format_version": FORMAT_VERSION + 1}))
    assert main(["report", str(old_run), "--format", form]) == ExitCode.USAGE
    said = capsys.readouterr()
    assert said.out == ""
    assert f"has format version {FORMAT_VERSION + 1}, this version reads" in said.err
    assert f"read the run with the commit that wrote it ({data['commit']})" in said.err
    assert main(["compare", str(old_run), str(old_run)]) == ExitCode.USAGE


def test_a_line_of_an_unknown_kind_is_named(
    old_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (old_run / RAW_FILE).open("a") as stream:
        stream.write('{"kind": "dream"}\n')
    assert main(["report", str(old_run)]) == ExitCode.USAGE
    assert "unknown kind 'dream'" in capsys.readouterr().err


def test_broken_bytes_of_a_record_are_told_and_stay_text(
    old_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = old_run / RAW_FILE
    data = raw.read_text().replace('"a fence"', '"<u>\\ud800 a fence"')
    assert data != raw.read_text()
    raw.write_bytes(data.encode() + b'{"kind": "launch", "row": "\xff\xfe')
    for form in FORMS:
        assert main(["report", str(old_run), "--format", form]) == ExitCode.UNKNOWN
        text = capsys.readouterr().out
        assert "<u>" not in text or form in {"json", "terminal"}
        assert "is torn: its record is" in " ".join(text.split())
