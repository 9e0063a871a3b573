"""The GEMM's benchmark as text: what the record says and nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sbo_verify.cli import main
from sbo_verify.report.gemm_times import gemm_times_text

RECORDED = Path(__file__).resolve().parents[1] / "reports" / "h200-2026-11-24"
USAGE = 254


def cell(producer: str, variant: str, microseconds: float, costs: float | None) -> dict[str, Any]:
    sizes = {"groups": 1, "m": 64, "n": 256, "k": 512}
    repeats = [microseconds - 0.25, microseconds, microseconds + 0.75]
    found = {"relative_error": 0.001, "product_is_right": True, "repeats": repeats}
    rest = {"kernel": "m64n64", "microseconds": microseconds, "costs": costs}
    return {**sizes, "producer": producer, "variant": variant, **rest, **found}


def record(*cells: dict[str, Any], goals: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    machine = {"gpu": "GPU", "driver": "1"}
    settings = {"machine": machine, "compiler": "c", "commit": "0", "seed": 1, "started": "now"}
    rates = {"source": "measured", "bytes_copied": 4e12, "bytes_read": 3e12, "fp8_operations": 1e15}
    return {
        "settings": {**settings, "command": "it"},
        "method": {"launches": 3},
        "limits": [rates],
        "left_out": {},
        "goals": list(goals),
        "cells": cells,
    }


GOAL = {
    "groups": 1,
    "m": 64,
    "n": 256,
    "k": 512,
    "beside": "other",
    "plain": 10.0,
    "plain_ratio": 0.5,
    "variant": "full",
    "costs": 0.1,
    "adds": 1.0,
    "relaxed_adds": 0.25,
    "lone_adds": 0.75,
    "tiles": 200,
    "waves": 2,
    "bound": "memory",
    "of_limit": 0.8,
    "of_measured_limit": 0.9,
    "plain_reached": True,
    "signal_reached": False,
}


def test_the_committed_text_is_what_the_record_gives(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "gemm", "--record", str(RECORDED / "gemm-benchmark.json")]) == 0
    assert capsys.readouterr().out == (RECORDED / "gemm.md").read_text()


def test_times_costs_and_ratios_are_those_of_the_cells() -> None:
    text = gemm_times_text(
        record(
            cell("own", "plain", 10.0, None),
            cell("own", "full", 11.0, 0.1),
            cell("other", "plain", 20.0, None),
            cell("other", "signal", 22.0, 0.1),
            cell("library", "block scales", 40.0, None),
        )
    )
    assert "| 1x64x256x512 | m64n64 | 10.0 ±0.5 | 11.0 ±0.5 / +10.0 % |" in text
    assert "| 1x64x256x512 | m64n64 | 20.0 ±0.5 | 22.0 ±0.5 / +10.0 % |" in text
    assert (
        "| plain / other, plain | signal / other, signal | plain / library, block scales |" in text
    )
    assert "| 1x64x256x512 | 0.500 | 0.500 | 0.250 |" in text
    assert "- launches: 3" in text


def test_many_signals_stand_below_each_other_the_cheapest_first() -> None:
    dear, cheap = cell("own", "dear", 12.0, 0.2), cell("own", "cheap", 10.1, 0.01)
    many = [cell("own", f"other {n}", 11.0, 0.1) for n in range(7)]
    published = cell("own", "full_wait-atom_release", 11.0, 0.1)
    made = record(
        *(cell("own", "plain", 10.0, None), dear, cheap, *many, published),
        *(cell("other", "plain", 20.0, None), cell("other", "signal", 22.0, 0.1)),
    )
    text = gemm_times_text(made)
    assert "| variant | `1x64x256x512` |" in text
    named = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
    assert named[:2] == ["plain", "cheap"]
    assert named[-1] == "dear"
    assert "| `dear` | 12.0 ±0.5 / +20.0 % |" in text
    # Not the first signal, which is another hand-over than theirs.
    assert "| 1x64x256x512 | 0.500 | 0.500 |" in text


def test_what_was_not_measured_is_left_blank() -> None:
    text = gemm_times_text(
        record(
            cell("own", "plain", 10.0, None),
            {**cell("own", "full", 11.0, 0.1), "k": 1024},
            cell("other", "plain", 20.0, None),
        )
    )
    assert "| 1x64x256x512 | m64n64 | 10.0 ±0.5 | - |" in text
    assert "| 1x64x256x512 | 0.500 |" in text
    assert "| 1x64x256x1024 | - |" in text
    alone = gemm_times_text(record(cell("own", "plain", 10.0, None)))
    assert "Beside each other" not in alone
    assert "Limits" not in alone


def test_a_wrong_product_and_a_library_that_could_not_are_told() -> None:
    wrong = {**cell("other", "plain", 20.0, None), "product_is_right": False, "relative_error": 0.5}
    made = record(cell("own", "plain", 10.0, None), wrong)
    text = gemm_times_text(made | {"left_out": {"library, row scales": "RuntimeError: no"}})
    assert "| 20.0 ±0.5 † |" in text
    assert "1x64x256x512, plain: wrong, off by 0.5." in text
    assert "- not measured: library, row scales: RuntimeError: no" in text


def test_a_missed_goal_says_what_was_measured_of_it() -> None:
    text = gemm_times_text(record(cell("own", "plain", 10.0, None), goals=[GOAL]))
    assert "| measured | 4.00 | 3.00 | 1000 |" in text
    assert "| 1x64x256x512 | memory | 80 % | 90 % |" in text
    assert "faster than the producer beside it: 1 of 1 shapes" in text
    assert "at most 1 % by a sound variant: 0 of 1 shapes" in text
    assert "`full`, adds 1.00 us (+10.0 %); 1 % of this shape is 0.10 us" in text
    assert "without a release it is 0.25 us, so that waiting for the stores is 0.75 us" in text
    assert "pays 0.75 us, and here there are 200 tiles in 2 waves: 0.25 us more than" in text


def test_a_goal_that_was_reached_has_no_excuse() -> None:
    reached = GOAL | {"signal_reached": True}
    slow = reached | {"plain_reached": False, "plain_ratio": 1.25}
    plain = cell("own", "plain", 10.0, None)
    assert "1x64x256x512, signal" not in gemm_times_text(record(plain, goals=[reached]))
    assert "10.0 us are 1.250 of the time of `other`; bound by memory, at 90 %" in gemm_times_text(
        record(plain, goals=[slow])
    )


def test_a_record_with_other_figures_gives_another_text() -> None:
    data = json.loads((RECORDED / "gemm-benchmark.json").read_text())
    data["cells"][0]["microseconds"] += 1
    assert gemm_times_text(data) != (RECORDED / "gemm.md").read_text()
