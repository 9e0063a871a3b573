"""The benchmark of overlap as text, as its command prints it, and as it was recorded."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from fake_bench import GPU
from overlap_cells import layer_cells, pair_cells

from sbo_verify.cli import main, overlap_command
from sbo_verify.gemm.masked import PUBLISHED
from sbo_verify.harness.overlap_benchmark import LAYER, OVERLAPPED, PAIR, SBO, OverlapTime, Scope
from sbo_verify.harness.overlap_findings import findings_of
from sbo_verify.report.overlap_times import finding_lines, overlap_times_text

REPORTS = Path(__file__).resolve().parents[1] / "reports"
USAGE = 254


def record() -> dict[str, Any]:
    machine = {"gpu": "GPU", "driver": "1"}
    settings = {"machine": machine, "compiler": "c", "commit": "0", "seed": 1, "started": "now"}
    cells = [*pair_cells().values(), *layer_cells((8, 16), 80.0, 120.0)]
    return {
        "settings": {**settings, "command": "it"},
        "method": {"samples": 10},
        "findings": [asdict(each) for each in findings_of(cells)],
        "cells": [asdict(cell) for cell in cells],
    }


def test_the_text_says_what_the_cells_and_findings_say() -> None:
    text = overlap_times_text(record())
    pair = "1 of 1; +27.3 %, from +27.3 % (8 x 16) to +27.3 % (8 x 16)"
    whole = "1 of 1; +11.1 %, from +11.1 % (8 x 16) to +11.1 % (8 x 16)"
    assert f"| GEMM and Combine Send | 3 | overlapped (`{PUBLISHED}`) | {pair} | {whole} | - |" in (
        text
    )
    against_tbo = "1 of 1; +33.3 %, from +33.3 % (8 x 16) to +33.3 % (8 x 16) |"
    assert against_tbo in text
    assert "| layer | 3 | TBO | 0 of 1; -20.0 %," in text
    assert "| 3 | receive alone | 0 to 0 |" in text
    assert "| 3 | send alone | 20 to 20 |" in text
    assert (
        "| 8 x 16 | - | 50.0 ±0.0 | 90.0 ±0.0 | 110.0 ±0.0 | 80.0 ±6.5 / +27.3 % (75 %) |" in text
    )
    assert "| 8 x 16 | 90.0 ±0.0 | 100.0 ±0.0 | 80.0 ±0.0 / +20.0 % |" in text


def test_a_terminal_is_told_the_findings_line_by_line() -> None:
    lines = finding_lines(record()["findings"])
    assert len(lines) == len(record()["findings"])
    assert (
        f"GEMM and Combine Send, 3 SMs of the link: overlapped {PUBLISHED} against in turn: faster "
        "on 1 of 1; +27.3 %, from +27.3 % (8 x 16) to +27.3 % (8 x 16)"
    ) in lines
    assert any(line.startswith("layer, 3 SMs of the link: TBO against in turn: ") for line in lines)


def test_fewer_slots_than_ctas_are_marked() -> None:
    made = record()
    assert "‡ |" not in overlap_times_text(made)
    for cell in made["cells"]:
        cell["slots"] = {OVERLAPPED: 2, SBO: 3}.get(cell["schedule"], 0)
    marked = [line for line in overlap_times_text(made).splitlines() if "‡ |" in line]
    assert len(marked) == 1
    assert "(75 %) ‡ |" in marked[0]


def test_what_the_command_prints_is_a_record_that_it_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [*pair_cells().values(), *layer_cells((8, 16), 80.0, 120.0)]
    asked: list[Scope] = []

    def measure(scope: Scope, sms: int) -> list[OverlapTime]:
        assert sms == GPU.sm_count
        asked.append(scope)
        return cells

    monkeypatch.setattr(overlap_command, "open_gpu", lambda _index: GPU)
    monkeypatch.setattr(overlap_command, "benchmark_overlap", measure)
    words = ["bench", "overlap", "--experts", "8", "--rows", "16,24", "--link-sms", "3"]
    assert main([*words, "--variants", PUBLISHED, "--kind", "pair", "--json"]) == 0
    printed = capsys.readouterr().out
    (tmp_path / "overlap.json").write_text(printed)
    made = json.loads(printed)
    assert [OverlapTime(**cell) for cell in made["cells"]] == cells
    assert main(["bench", "overlap", "--record", str(tmp_path / "overlap.json")]) == 0
    assert capsys.readouterr().out == overlap_times_text(made)
    (scope,) = asked
    assert (scope.experts, scope.rows, scope.link_sms) == ([8], [16, 24], [3])
    assert (list(scope.variants), tuple(scope.kinds)) == ([PUBLISHED], (PAIR,))
    assert main(words) == 0
    assert finding_lines(made["findings"])[0] in capsys.readouterr().out
    assert tuple(asked[1].kinds) == (PAIR, LAYER)
    assert main(["bench", "overlap", "--link-sms", "132"]) == USAGE
    assert "132 SMs leave none of 132 to the GEMMs" in capsys.readouterr().err


def test_a_kind_that_was_not_measured_has_no_part() -> None:
    made = record()
    made["cells"] = [cell for cell in made["cells"] if cell["kind"] == PAIR]
    assert "An MoE layer" in overlap_times_text(record())
    assert "An MoE layer" not in overlap_times_text(made)


# ---- what was recorded -----------------------------------------------------------------------

RECORDS = sorted(REPORTS.glob("*/overlap.json"))


def test_there_is_a_record() -> None:
    assert RECORDS


@pytest.mark.parametrize("file", RECORDS, ids=[file.parent.name for file in RECORDS])
def test_a_recorded_text_and_its_findings_are_what_the_cells_give(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "overlap", "--record", str(file)]) == 0
    assert capsys.readouterr().out == file.with_suffix(".md").read_text()
    made = json.loads(file.read_text())
    assert made["settings"]["commit"]
    assert not made["settings"]["dirty"]
    cells = [OverlapTime(**cell) for cell in made["cells"]]
    told = [asdict(each) for each in findings_of(cells)]
    assert json.loads(json.dumps(told)) == made["findings"]
    slower = [replace(cell, microseconds=2 * cell.microseconds) for cell in cells]
    changed = made | {"cells": [asdict(cell) for cell in slower]}
    assert overlap_times_text(changed) != file.with_suffix(".md").read_text()
