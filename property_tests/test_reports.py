"""The runs under reports/ say again what they said, and README quotes nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from recorded_reports import RUNS, findings_recorded, findings_reported

from sbo_verify.record import MICRO
from sbo_verify.report.markdown import short_markdown_text
from sbo_verify.store import Run

ROOT = Path(__file__).resolve().parents[1]
SOUND_OBSERVATIONS = 100_000_000
# What is still read in a browser that renders Markdown; the whole of a run is in the page.
MOST_MARKDOWN_BYTES = 200_000


def test_there_is_a_recorded_run() -> None:
    assert RUNS


@pytest.mark.parametrize("path", RUNS, ids=[path.name for path in RUNS])
def test_a_recorded_run_is_judged_again_as_it_was(path: Path) -> None:
    run = Run.open(path)
    kept = run.verdict()
    assert kept is not None
    findings = findings_recorded(path)
    assert findings.verdicts == kept[0]
    assert findings.summary == kept[1]
    assert not findings.torn_lines


@pytest.mark.parametrize("path", RUNS, ids=[path.name for path in RUNS])
def test_a_recorded_report_is_what_its_records_give(path: Path) -> None:
    assert (path / "report.md").read_text() == short_markdown_text(findings_reported(path))


@pytest.mark.parametrize("path", RUNS, ids=[path.name for path in RUNS])
def test_a_recorded_report_can_be_read(path: Path) -> None:
    text = (path / "report.md").read_text()
    assert len(text.encode()) < MOST_MARKDOWN_BYTES
    # What every reader wants comes before what is looked up.
    heads = [line for line in text.splitlines() if line.startswith("## ")]
    assert heads[:3] == ["## How sure", "## Machine", "## Variants"]
    assert heads[-1] == "## Variant by variant"


@pytest.mark.parametrize("path", RUNS, ids=[path.name for path in RUNS])
def test_a_recorded_run_was_made_by_committed_code(path: Path) -> None:
    settings = Run.open(path).settings
    assert settings.commit
    assert not settings.dirty
    assert settings.machine["gpu"]
    assert settings.machine["driver"]
    assert settings.compiler


@pytest.mark.parametrize("path", RUNS, ids=[path.name for path in RUNS])
def test_no_recorded_run_saw_a_sound_row_stale(path: Path) -> None:
    sound = [each for each in findings_recorded(path).verdicts if each.expected == "Forbidden"]
    assert sound
    assert all(each.observations > 0 and each.stale == 0 for each in sound)


def test_some_recorded_run_observed_every_sound_row_a_hundred_million_times() -> None:
    fewest = []
    for path in RUNS:
        run = Run.open(path)
        if run.settings.kernel == MICRO:
            verdicts = findings_recorded(path).verdicts
            sound = [each.observations for each in verdicts if each.expected == "Forbidden"]
            fewest.append(min(sound))
    assert max(fewest) >= SOUND_OBSERVATIONS


def recorded_figures() -> set[str]:
    """Every count of the recorded runs, written as prose writes it."""
    verdicts = [each for path in RUNS for each in findings_recorded(path).verdicts]
    counts = {count for each in verdicts for count in (each.stale, each.observations)}
    return {f"{count:,}" for count in counts}


def figures_in(text: str) -> set[str]:
    """Numbers with thousands separators: the form in which prose gives counts."""
    return {
        word.strip(".,;:|()*`") for word in text.split() if word.count(",") and word[0].isdigit()
    }


def strangers(text: str) -> set[str]:
    """Counts in `text` that no recorded run holds."""
    return {figure for figure in figures_in(text) if "," in figure} - recorded_figures()


@pytest.mark.parametrize("file", ["README.md", "reports/README.md", "docs/host.md"])
def test_prose_quotes_no_count_that_is_not_in_a_record(file: str) -> None:
    assert strangers((ROOT / file).read_text()) == set()


def test_a_made_up_count_is_noticed() -> None:
    assert strangers("seen 1,234,567 times") == {"1,234,567"}
