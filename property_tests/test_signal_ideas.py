"""Ideas for a cheaper signal, measured and not kept: the text says what the record says."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

import pytest

REPORTS = Path(__file__).resolve().parents[1] / "reports"
RECORD: dict[str, Any] = json.loads((REPORTS / "h200-2026-11-24" / "signal-ideas.json").read_text())
PUBLISHED = "full_wait-atom_release"
BATCHES = ("two_behind_one_fence", "four_behind_one_fence", "eight_behind_one_fence")
SHAPES = list(RECORD["runs"][0]["microseconds"])

Run = dict[str, dict[str, list[float]]]


def added(run: Run, shape: str, subject: str) -> float | None:
    """What the subject's signal adds to the plain time: medians, in microseconds."""
    times = run.get(shape, {})
    return median(times[subject]) - median(times["plain"]) if subject in times else None


def row(run: Run, subject: str) -> str:
    figures = [added(run, shape, subject) for shape in SHAPES]
    cells = ["-" if figure is None else f"{figure:+.2f}" for figure in figures]
    return f"| {subject} | {' | '.join(cells)} |"


def rows() -> list[str]:
    return [
        row(run["microseconds"], subject)
        for run in RECORD["runs"]
        for subject in run["microseconds"][SHAPES[0]]
        if subject != "plain"
    ]


def total(run: Run, subject: str) -> float:
    return sum(added(run, shape, subject) or 0.0 for shape in run)


@pytest.mark.parametrize("line", rows())
def test_every_row_of_the_table_is_the_records(line: str) -> None:
    assert line in (REPORTS / "README.md").read_text().splitlines()


def test_what_the_text_says_of_the_figures_is_so() -> None:
    first, second = (run["microseconds"] for run in RECORD["runs"])
    # Batches cost more than a fence for every tile.
    assert all(total(first, batch) > total(first, PUBLISHED) for batch in BATCHES)
    # Signals far from each other cost the same, within a twentieth of a microsecond a shape.
    for apart in ("signals_128_bytes_apart", "signals_4096_bytes_apart"):
        assert abs(total(second, apart) - total(second, PUBLISHED)) < 0.05 * len(second)
    # A fence with no add costs as much as the hand-over, and an add with no fence next to nothing.
    assert total(second, "fence_and_no_add") == pytest.approx(total(second, PUBLISHED), rel=0.1)
    assert total(second, "full_wait-relaxed") < 0.2 * total(second, PUBLISHED)
    # Where a CTA has one or two tiles, the last one's fence is all of it.
    for shape in ("1x1024x7168x2048", "4x256x7168x2048", "1x1024x4096x7168"):
        last = added(first, shape, "fence_behind_the_last_tile_alone")
        whole = added(first, shape, "full_wait-fence_acq_rel-red")
        assert last == pytest.approx(whole, abs=0.07)


def test_a_record_names_its_machine_commit_and_patches() -> None:
    for run in RECORD["runs"]:
        assert run["commit"]
        assert run["machine"]["gpu"]
        assert run["machine"]["driver"]
        patched = set(run["microseconds"][SHAPES[0]]) & set(RECORD["patches"])
        assert patched
    for patch in RECORD["patches"].values():
        assert patch["diff"][0].startswith("--- a/kernels/")
