"""The runs kept under reports/, and what their reports show beside them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from sbo_verify.api.reading import beside_of, findings_of
from sbo_verify.report.outline import Findings
from sbo_verify.store import Run, runs_below

REPORTS = Path(__file__).resolve().parents[1] / "reports"
RUNS = runs_below(REPORTS)
# Given with --with when the report was made, as reports/README.md says.
BESIDE = {
    "20261124T005241Z-2f609e40a1e4": (
        "h200-2026-11-24/gemm-benchmark.json",
        "h200-2026-11-24/canaries.json",
        "toolchains-2026-11-24/matrix.json",
    ),
}


@cache
def findings_recorded(path: Path) -> Findings:
    """The run in `path` judged again; nobody may change what is returned."""
    return findings_of(Run.open(path))


def findings_reported(path: Path) -> Findings:
    """What the recorded report of the run in `path` was made from."""
    found = findings_recorded(path)
    files = [REPORTS / name for name in BESIDE.get(path.name, ())]
    return replace(found, beside=beside_of(found.settings, files))
