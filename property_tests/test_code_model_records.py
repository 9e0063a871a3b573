"""What a run keeps of the model's verdict on compiled code, and what a gate makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from written_runs import code_reading, settings

from sbo_verify.cli.examination import findings_of
from sbo_verify.harness.judgement import Evidence, judge_run
from sbo_verify.harness.session import micro_reading
from sbo_verify.harness.stressed_kernels import overlap_reading
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.protocols.signal_publish.combine import OVERLAP
from sbo_verify.record import CodeReading, RowVerdict
from sbo_verify.report.html import html_text
from sbo_verify.report.pages import pages
from sbo_verify.store import Run

SOUND, BROKEN = "full_wait-atom_release", "read_wait-release"
UNJUDGED = "PTX line 9: fence.sc.gpu stands outside every site"


def judged(reading: CodeReading) -> tuple[RowVerdict, list[str]]:
    evidence = Evidence(
        protocol=SIGNAL_PUBLISH,
        settings=settings([reading.row], silicon=False),
        code_readings=[reading],
        launches=[],
        model_answers={},
        finished="2026-11-23T22:01:00+00:00",
    )
    (verdict,), summary = judge_run(evidence)
    return verdict, summary.reasons


@pytest.mark.parametrize(("row", "verdict"), [(SOUND, "Forbidden"), (BROKEN, "Allowed")])
def test_the_record_of_a_row_carries_the_verdict_on_its_compiled_program(
    row: str, verdict: str
) -> None:
    for reading in (
        micro_reading(SIGNAL_PUBLISH, SIGNAL_PUBLISH.row(row)),
        overlap_reading(OVERLAP, OVERLAP.row(row)),
    ):
        assert reading is not None
        assert (reading.verdict, reading.differences) == ("as declared", [])
        assert (reading.model, reading.model_notes) == (verdict, [])
        assert reading.model_readings == {
            "async_fence=strict": verdict,
            "async_fence=lenient": verdict,
        }
        assert CodeReading.from_json(reading.to_json()) == reading
        assert judged(reading)[0].outcome == "pass"


def test_a_record_that_is_older_says_nothing_of_the_compiled_program() -> None:
    data = code_reading(SOUND).to_json()
    for name in ("model", "model_readings", "model_notes"):
        del data[name]
    reading = CodeReading.from_json(data)
    assert (reading.model, reading.model_readings, reading.model_notes) == ("", {}, [])
    assert judged(reading)[0].outcome == "pass"


def test_code_that_the_model_cannot_judge_is_no_pass() -> None:
    verdict, reasons = judged(code_reading(SOUND, model="unknown", model_notes=[UNJUDGED]))
    assert (verdict.code, verdict.outcome) == ("as declared", "unknown")
    why = f"has compiled code that the model could not judge: {UNJUDGED}"
    assert reasons == [f"{SOUND} {why}"]
    assert why in verdict.notes


def test_code_that_differs_fails_whatever_the_model_makes_of_it() -> None:
    differs = {"verdict": "differs", "differences": [UNJUDGED]}
    for model in ("unknown", "Allowed", "Forbidden"):
        verdict, _ = judged(code_reading(SOUND, model=model, **differs))
        assert (verdict.joint, verdict.outcome) == ("code is not what was declared", "fail")


def test_the_page_of_a_variant_says_it_in_one_line(tmp_path: Path) -> None:
    run = Run.create(tmp_path, settings([SOUND, BROKEN], silicon=False))
    run.append(code_reading(SOUND, model="unknown", model_notes=[UNJUDGED]))
    run.append(code_reading(BROKEN))
    findings = findings_of(run)
    told, silent = pages(findings)
    line = f"of the program in the compiled PTX: unknown; {UNJUDGED}"
    assert told.readings == [line]
    assert silent.readings == []
    assert line in html_text(findings)
