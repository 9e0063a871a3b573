"""What the model level computed is recorded, read back, and outweighs what is declared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from written_runs import code_reading, launch, settings

from sbo_verify.harness.judgement import Evidence, judge_run
from sbo_verify.harness.session import read_model
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.record import ModelReading, RowVerdict
from sbo_verify.store import Run

SOUND = "full_wait-atom_release"
BROKEN = "read_wait-release"
CANARY = "no_wait-relaxed"
ROWS = (SOUND, BROKEN, CANARY)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run.create(tmp_path, settings(ROWS))
    for row in ROWS:
        made.append(code_reading(row))
        made.append(launch(row, stale=10 if row == CANARY else 0))
    return made


def judged(run: Run) -> dict[str, RowVerdict]:
    verdicts, _ = judge_run(Evidence.of_run(SIGNAL_PUBLISH, run))
    return {verdict.row: verdict for verdict in verdicts}


def compute(run: Run) -> None:
    rows = [SIGNAL_PUBLISH.row(name) for name in ROWS]
    read_model(run, SIGNAL_PUBLISH, rows, lambda _row: None)


def test_a_row_is_marked_declared_until_the_model_has_answered(run: Run) -> None:
    assert {each.model_source for each in judged(run).values()} == {"declared"}
    compute(run)
    after = judged(run)
    assert {each.model_source for each in after.values()} == {"computed"}
    assert {name: each.model for name, each in after.items()} == {
        SOUND: "Forbidden",
        BROKEN: "Allowed",
        CANARY: "Allowed",
    }


def test_answers_come_back_from_disk_with_their_reasons(run: Run) -> None:
    compute(run)
    readings = {each.row: each for each in Run.open(run.path).raw().model_readings}
    assert set(readings) == set(ROWS)
    assert all(each.complete for each in readings.values())
    assert readings[BROKEN].witness
    assert readings[BROKEN].missing
    assert readings[SOUND].witness is None
    assert readings[SOUND].ordering


def test_a_computed_verdict_against_the_catalogue_is_never_a_pass(run: Run) -> None:
    compute(run)
    honest = {each.row: each for each in run.raw().model_readings}
    other = Run.create(run.path.parent.parent / "other", run.settings)
    for row in ROWS:
        other.append(code_reading(row))
        other.append(launch(row, stale=10 if row == CANARY else 0))
        told = honest[row]
        other.append(replace(told, verdict="Allowed") if row == SOUND else told)
    verdict = judged(other)[SOUND]
    assert verdict.outcome == "unknown"
    assert any("was computed as Allowed" in note for note in verdict.notes)


def test_a_verdict_that_hangs_on_how_the_isa_is_read_says_so(run: Run) -> None:
    run.append(
        ModelReading(
            row=SOUND,
            variant=SIGNAL_PUBLISH.hash_of(SIGNAL_PUBLISH.row(SOUND).variant),
            verdict="Forbidden",
            complete=True,
            seconds=0.01,
            readings={"strict": "Forbidden", "lenient": "Allowed"},
            missing=[],
            ordering=[],
            notes=[],
            witness=None,
        )
    )
    assert "under the reading 'lenient' the model says Allowed" in judged(run)[SOUND].notes
