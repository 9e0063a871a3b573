"""What a CI job's page says of a run: pinned whole, escaped, and with how to repeat every row."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from snapshots import pinned
from written_findings import CANARY, LUCKY, SOUND, judged
from written_runs import code_reading, fault, launch, settings

from sbo_verify.api import open_run, report
from sbo_verify.cli import main
from sbo_verify.record import Launch
from sbo_verify.repeat import repeat_command
from sbo_verify.report.failure import failure_text
from sbo_verify.report.job_summary import job_summary_text
from sbo_verify.report.outline import Findings

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT / "reports" / "signal_publish" / "20261124T124324Z-b8e20b0f92d0"
EQUAL = "poll_equal"
ROWS = (SOUND, CANARY, LUCKY, EQUAL)
GATE = "pytest stress/ --seed 7 --budget 60"


def findings(launches: list[Launch], *, silicon: bool = True) -> Findings:
    """A run of four rows with these launches and one of the last row."""
    launches = [*launches, launch(EQUAL)] if silicon else []
    read = [code_reading(row, machine="kept") for row in ROWS]
    return judged(settings(ROWS, silicon=silicon, command=GATE), read, launches)


def healthy() -> Findings:
    """A run that passes."""
    return findings([launch(SOUND, observations=120_000_000), launch(CANARY, 900), launch(LUCKY)])


def failing() -> Findings:
    """A forbidden row that was seen stale, a canary that was not, a launch that hung."""
    hung = launch(LUCKY, observations=40, planned=100, fault=fault("launch hung"))
    return findings([launch(SOUND, stale=1, index=4), launch(CANARY), hung])


def without_gpu() -> Findings:
    """A run of the levels that need no GPU."""
    return findings([], silicon=False)


RUNS = {
    "healthy": healthy,
    "failing": failing,
    "without_gpu": without_gpu,
}


@pytest.mark.parametrize("name", RUNS)
def test_the_summary_is_the_reviewed_one(name: str) -> None:
    pinned(f"job_summary-{name}.md", job_summary_text(RUNS[name]()))


def test_every_row_has_its_levels_its_bound_and_its_repeat() -> None:
    """Of a run on a GPU, as recorded."""
    run = open_run(RECORDED)
    text = report(run, "summary")
    assert f"seed {run.findings.settings.seed}" in text
    assert run.findings.settings.machine["gpu"] in text
    lines = [line for line in text.splitlines() if re.match(r"\| (pass|fail|unknown) \|", line)]
    assert len(lines) == len(run.findings.verdicts)
    for line, verdict in zip(lines, run.findings.verdicts, strict=True):
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        assert verdict.row in cells[1]
        assert cells[2:4] == [verdict.model, verdict.code]
        assert cells[5] == verdict.silicon
        assert cells[6].startswith(f"{verdict.stale:,} of")
        assert verdict.bound is None or float(cells[7]) >= verdict.bound
        repeat = repeat_command(run.findings.settings, run.findings.launches, verdict.row)
        assert repeat in cells[9]
    # A job's page holds 1 MiB, and other steps write there, too.
    assert len(text.encode()) < 100_000


def test_what_is_wrong_stands_first_and_unfolded() -> None:
    text = job_summary_text(failing())
    order = [text.index(f"| {word} | ") for word in ("fail", "unknown", "pass")]
    assert order == sorted(order)
    assert text.index("| unknown | ") < text.index("<details>") < text.index("| pass | ")
    assert "<details>" not in job_summary_text(healthy())


def test_texts_from_records_stay_text() -> None:
    found = healthy()
    hostile = "<script>alert(1)</script> | `x` \n# heading"
    verdict = replace(found.verdicts[0], row=hostile, notes=[hostile], outcome="fail")
    asked = replace(found.settings, command=hostile, producer=hostile, commit=hostile)
    text = job_summary_text(replace(found, settings=asked, verdicts=[verdict]))
    spans_and_escapes = re.sub(r"(`+)[^`].*?\1|\\.", "", text)
    assert "<script>" not in spans_and_escapes
    assert "\n# heading" not in text
    assert all(
        line.count("|") - line.count("\\|") == 11 for line in text.splitlines() if "fail |" in line
    )


def test_a_long_list_of_reasons_is_cut_and_that_is_said() -> None:
    found = failing()
    summary = replace(found.summary, reasons=[f"reason {n}" for n in range(50)])
    text = job_summary_text(replace(found, summary=summary))
    assert "- reason 19\n- and 30 more, in the report\n" in text


def test_the_command_line_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(RECORDED), "--format", "summary"]) == 0
    assert capsys.readouterr().out == report(RECORDED, "summary")


def test_a_failed_test_says_the_same() -> None:
    found = failing()
    text = failure_text(found.verdicts[0], found.launches, "sbo-verify replay it")
    first, *_, witness, repeat = text.splitlines()
    assert first == f"fail: {SOUND}: ALARM: forbidden but seen; 1 stale of 1,000,000"
    assert witness.startswith("witness {'round': 41, ")
    assert repeat == "repeat with: sbo-verify replay it"
