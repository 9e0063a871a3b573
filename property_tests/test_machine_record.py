"""The machine code in a run: recorded beside the PTX, shown, and missed with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from written_runs import code_reading, launch, settings

from sbo_verify.api import findings_of
from sbo_verify.compiled.nvdisasm import DisassemblerError
from sbo_verify.device.build import build
from sbo_verify.harness import machine_code
from sbo_verify.harness.machine_code import with_machine_code
from sbo_verify.harness.session import read_code
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.record import CodeReading
from sbo_verify.report.html import html_text
from sbo_verify.store import Run

ROW = "read_wait-release"
NOTE = (
    "producer.drain: cp.async.bulk.wait_group.read 0 is DEPBAR.LE SB0, 0; "
    "cp.async.bulk.wait_group 0 is the same and CCTL.IVALL"
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path, settings([ROW]))


def test_a_run_records_what_the_machine_code_keeps(run: Run) -> None:
    rows = [SIGNAL_PUBLISH.row(ROW)]
    done: list[str] = []
    readings = read_code(run, SIGNAL_PUBLISH, rows, lambda row: done.append(row.name))
    (recorded,) = run.raw().code_readings
    assert readings == {ROW: recorded}
    assert done == [ROW]
    assert recorded.machine == "kept"
    assert recorded.machine_reasons == []
    assert recorded.machine_notes == [NOTE]
    assert ("producer.drain", ["DEPBAR.LE SB0, 0"]) in recorded.machine_skeleton
    assert recorded.disassembler.startswith("nvdisasm 13.")


def test_without_nvdisasm_the_run_goes_on_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_arguments: object, **_options: object) -> None:
        message = "nvdisasm was not found"
        raise DisassemblerError(message)

    monkeypatch.setattr(machine_code, "disassemble", missing)
    monkeypatch.setattr(machine_code, "nvdisasm_version", missing)
    artefact = build(SIGNAL_PUBLISH, SIGNAL_PUBLISH.row(ROW).variant)
    reading = with_machine_code(code_reading(ROW), [artefact])
    assert reading.machine == "not read"
    assert reading.machine_reasons == ["nvdisasm was not found"]
    assert reading.disassembler == ""
    assert reading.verdict == "as declared"


def test_a_record_from_before_the_machine_code_still_opens() -> None:
    data = code_reading(ROW).to_json()
    for name in [name for name in data if name.startswith(("machine", "disassembler"))]:
        del data[name]
    assert CodeReading.from_json(data) == code_reading(ROW)


def test_a_page_shows_the_machine_code_where_it_was_read(run: Run) -> None:
    words = [("producer.drain", ["DEPBAR.LE SB0, 0", "CCTL.IVALL"])]
    run.append(
        code_reading(ROW, machine="kept", machine_skeleton=words, machine_notes=["<a note>"])
    )
    run.append(launch(ROW))
    text = html_text(findings_of(run))
    assert "<h4>Machine code: the order of the PTX is kept</h4>" in text
    marked = "<b>{}</b>"
    shown = [marked.format(word) for word in ("DEPBAR.LE SB0, 0", "CCTL.IVALL")]
    assert f"<code>{'<br>'.join(shown)}</code>" in text
    assert "&lt;a note&gt;" in text


def test_a_page_of_an_older_run_has_no_machine_code(run: Run) -> None:
    run.append(code_reading(ROW))
    run.append(launch(ROW))
    assert "Machine code" not in html_text(findings_of(run))
