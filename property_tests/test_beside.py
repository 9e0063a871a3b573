"""Records of other commands beside a run: read as they are, refused where they are none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from recorded_reports import REPORTS, findings_recorded

from sbo_verify.harness.beside import Beside, BesideError
from sbo_verify.report.html import html_text
from sbo_verify.report.markdown import markdown_text
from sbo_verify.report.outline import Findings, outline

RUN = REPORTS / "signal_publish" / "20261124T005241Z-2f609e40a1e4"
TIMES = REPORTS / "h200-2026-11-24" / "gemm-benchmark.json"
CANARIES = REPORTS / "h200-2026-11-24" / "canaries.json"
TOOLCHAINS = REPORTS / "toolchains-2026-11-24" / "matrix.json"
COMPILER = "nvrtc 13.0.88"
ROW = "full_wait-atom_release"


def recorded(file: Path) -> Any:  # noqa: ANN401 - JSON
    return json.loads(file.read_text())


def beside(*files: Path, compiler: str = COMPILER) -> Beside:
    return Beside.of([(str(file), recorded(file)) for file in files], compiler)


@pytest.fixture(scope="module")
def findings() -> Findings:
    return replace(findings_recorded(RUN), beside=beside(TIMES, CANARIES, TOOLCHAINS))


def test_a_cost_is_what_the_signal_adds_shape_by_shape() -> None:
    cells = recorded(TIMES)["cells"]
    cost = beside(TIMES).costs[ROW]
    for each in cost.shapes:
        plain, signal = (
            next(
                cell["microseconds"]
                for cell in cells
                if (cell["producer"], cell["variant"]) == ("sbo_verify", variant)
                and "x".join(str(cell[size]) for size in ("groups", "m", "n", "k")) == each.shape
            )
            for variant in ("plain", ROW)
        )
        assert (each.plain_microseconds, each.microseconds) == (plain, signal)
        assert each.added_microseconds == pytest.approx(each.costs * plain)
    assert len(cost.shapes) == 10
    assert cost.share == pytest.approx(sorted(each.costs for each in cost.shapes)[4], abs=0.01)


def test_the_table_and_the_page_show_the_cost_and_where_it_is_from(findings: Findings) -> None:
    report = outline(findings)
    [line] = [each for each in report.variants if each.row == ROW]
    cost = findings.beside.costs[ROW]
    assert (line.cost, line.share) == (f"{cost.microseconds:.2f}", f"{100 * cost.share:+.1f}")
    unmeasured = [each for each in report.variants if each.row == "full_wait-st_release"]
    assert [(each.cost, each.share) for each in unmeasured] == [("-", "-")]
    assert recorded(TIMES)["settings"]["commit"] in report.cost_told
    text = markdown_text(findings)
    assert "Cost of the signal in the GEMM:" in text
    assert f"| {cost.shapes[0].shape} | {cost.shapes[0].plain_microseconds:.2f} |" in text


def test_a_variant_whose_consumer_alone_differs_has_the_cost_of_its_kernel() -> None:
    found = beside(TIMES)
    assert found.costs["poll_equal"] == found.costs["same_sm"] == found.costs[ROW]
    assert found.costs["read_wait-release"] != found.costs[ROW]
    assert "full_wait-st_release" not in found.costs
    assert "readback-full_wait" not in found.costs
    assert "one was measured for all" in found.sources["costs"]
    # What was measured under its own name keeps it, whatever else is the same kernel.
    data = recorded(TIMES)
    data["cells"] = [
        *(cell for cell in data["cells"] if cell["variant"] in {"plain", ROW}),
        *(
            cell | {"variant": "poll_equal", "microseconds": cell["microseconds"] + 1}
            for cell in data["cells"]
            if (cell["producer"], cell["variant"]) == ("sbo_verify", ROW)
        ),
    ]
    told = Beside.of([("it", data)], COMPILER).costs
    assert told["poll_equal"].microseconds == pytest.approx(told[ROW].microseconds + 1)
    assert told["same_sm"] == told[ROW]


def test_machine_code_is_joined_by_the_variant_and_the_runs_own_compiler(
    findings: Findings,
) -> None:
    matrix = recorded(TOOLCHAINS)
    column = next(
        place
        for place, each in enumerate(matrix["columns"])
        if (each["ptxas"], each["target"]) == ("13.0.88", "sm_90a")
    )
    row = matrix["rows"][ROW]
    words = findings.beside.machine[row["variant"]]
    assert [list(pair) for pair in words.skeleton] == matrix["skeletons"][
        row["cells"][column]["skeleton"]
    ]
    page = html_text(findings)
    assert "ptxas 13.0.88 for sm_90a; from sbo-verify toolchains" in page
    assert "<b>CCTL.IVALL</b>" in page
    with pytest.raises(BesideError, match=r"no column of ptxas 11\.1 for sm_90a"):
        beside(TOOLCHAINS, compiler="nvrtc 11.1")


def test_sightings_are_times_over_seeds(findings: Findings) -> None:
    found = findings.beside.sighted["no_wait-relaxed"]
    times = [
        each["seconds"]
        for each in recorded(CANARIES)["sightings"]
        if each["row"] == "no_wait-relaxed"
    ]
    assert (found.seeds, found.unseen) == (20, 0)
    assert found.seconds == sorted(times)


@pytest.mark.parametrize(
    "data", [[], "text", None, {}, {"cells": 1, "settings": {}}, {"kind": "toolchains"}]
)
def test_a_file_that_is_no_such_record_is_refused_by_name(data: object) -> None:
    with pytest.raises(BesideError, match=r"^odd\.json is no record of bench gemm --json, canar"):
        Beside.of([("odd.json", data)], COMPILER)
