"""The GEMM's benchmark as text: what the record says and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sbo_verify.cli import main
from sbo_verify.report.gemm_times import gemm_times_text

RECORDED = Path(__file__).resolve().parents[1] / "reports" / "h200-2026-11-24"
USAGE = 254


def cell(producer: str, variant: str, microseconds: float, costs: float | None) -> dict[str, Any]:
    sizes = {"groups": 1, "m": 64, "n": 256, "k": 512}
    rest = {"kernel": "m64n64", "microseconds": microseconds, "costs": costs}
    return {**sizes, "producer": producer, "variant": variant, **rest}


def record(*cells: dict[str, Any]) -> dict[str, Any]:
    machine = {"gpu": "GPU", "driver": "1"}
    settings = {"machine": machine, "compiler": "c", "commit": "0", "seed": 1, "started": "now"}
    return {"settings": {**settings, "command": "it"}, "method": {"launches": 3}, "cells": cells}


def test_the_committed_text_is_what_the_record_gives(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench-gemm", "--record", str(RECORDED / "gemm-benchmark.json")]) == 0
    assert capsys.readouterr().out == (RECORDED / "gemm.md").read_text()


def test_times_costs_and_ratios_are_those_of_the_cells() -> None:
    text = gemm_times_text(
        record(
            cell("own", "plain", 10.0, None),
            cell("own", "full", 11.0, 0.1),
            cell("other", "plain", 20.0, None),
            cell("other", "signal", 22.0, 0.1),
        )
    )
    assert "| 1x64x256x512 | m64n64 | 10.0 | 11.0 / +10.0 % |" in text
    assert "| 1x64x256x512 | m64n64 | 20.0 | 22.0 / +10.0 % |" in text
    assert "| 1x64x256x512 | 0.500 | 0.500 |" in text
    assert "- launches: 3" in text


def test_what_was_not_measured_is_left_blank() -> None:
    text = gemm_times_text(
        record(
            cell("own", "plain", 10.0, None),
            {**cell("own", "full", 11.0, 0.1), "k": 1024},
            cell("other", "plain", 20.0, None),
        )
    )
    assert "| 1x64x256x512 | m64n64 | 10.0 | - |" in text
    assert "| 1x64x256x512 | 0.500 | - |" in text
    assert "| 1x64x256x1024 | - | - |" in text
    assert "Beside each other" not in gemm_times_text(record(cell("own", "plain", 10.0, None)))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"settings": 1, "cells": [], "method": {}}'])
def test_another_file_is_refused(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "other.json"
    file.write_text(content)
    assert main(["bench-gemm", "--record", str(file)]) == USAGE
    assert f"{file} is no record of bench-gemm --json" in capsys.readouterr().err


def test_a_record_with_other_figures_gives_another_text() -> None:
    data = json.loads((RECORDED / "gemm-benchmark.json").read_text())
    data["cells"][0]["microseconds"] += 1
    assert gemm_times_text(data) != (RECORDED / "gemm.md").read_text()
