"""Two runs compared: what is worse, what is unknown, what is only otherwise, in every form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from html_page import Page
from recorded_reports import REPORTS
from rich.console import Console
from snapshots import pinned, telling
from written_runs import H200, code_reading, launch, settings

from sbo_verify.cli import main
from sbo_verify.harness.beside import Beside, Cost, ShapeCost
from sbo_verify.harness.comparison import Change, Comparison, RowComparison, Side, compare_runs
from sbo_verify.harness.judgement import Evidence, judge_run
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.record import CodeReading, Launch, LaunchSum
from sbo_verify.report.comparison import (
    comparison_html,
    comparison_json,
    comparison_markdown,
    print_comparison,
)
from sbo_verify.store import Run
from sbo_verify.verdict import ExitCode, ModelVerdict

SOUND, CANARY, LUCKY = "full_wait-atom_release", "no_wait-relaxed", "read_wait-release"
ROWS = (SOUND, CANARY, LUCKY)
MANY = 12
RECORDED = REPORTS / "signal_publish" / "20261124T124251Z-b8e20b0f92d0"


def launches(
    row: str, stale: Sequence[int], milliseconds: float = 500.0, worker: str = ""
) -> list[Launch]:
    """A launch of a million hand-overs for each count, each with knobs and a time of its own."""
    return [
        launch(
            row,
            stale=count,
            index=index,
            elapsed_seconds=milliseconds / 1000 * (1 + index / 50),
            knobs={"tile_bytes": 16384, "noise": "store", "rounds": 1000, "ring": index},
            worker=worker,
        )
        for index, count in enumerate(stale)
    ]


def usual() -> dict[str, list[Launch]]:
    spread = [1000 + 37 * n for n in range(MANY)]
    return {
        SOUND: launches(SOUND, [0] * MANY),
        CANARY: launches(CANARY, spread),
        LUCKY: launches(LUCKY, [0] * MANY),
    }


def side(
    found: dict[str, list[Launch]] | None = None,
    code: Sequence[CodeReading] | None = None,
    model: dict[str, ModelVerdict] | None = None,
    beside: Beside | None = None,
    **changes: Any,  # noqa: ANN401 - any field of the settings
) -> Side:
    """A run over the three rows, judged; everything that is not given is as it should be."""
    told = usual() | (found or {})
    asked = settings(ROWS, **changes)
    made = [each for row in ROWS for each in told[row]] if asked.silicon else []
    readings = [code_reading(row) for row in ROWS] if code is None else list(code)
    verdicts, summary = judge_run(
        Evidence(
            protocol=SIGNAL_PUBLISH,
            settings=asked,
            code_readings=readings,
            launches=made,
            model_answers={row: (verdict, []) for row, verdict in (model or {}).items()},
            finished="2026-11-23T22:01:00+00:00",
        )
    )
    return Side(
        settings=asked,
        verdicts=verdicts,
        summary=summary,
        launches=made,
        code_readings=readings,
        beside=beside or Beside(),
    )


def of_row(found: Comparison, row: str) -> RowComparison:
    return next(each for each in found.rows if each.row == row)


def told(found: Comparison, row: str) -> tuple[str, list[str]]:
    each = of_row(found, row)
    return each.change.value, each.reasons


def test_a_run_is_the_same_as_itself() -> None:
    found = compare_runs(side(), side())
    assert [each.change for each in found.rows] == [Change.SAME] * 3
    assert (found.outcome, found.exit_code) == ("pass", ExitCode.PASS)
    assert found.circumstances == []


def test_a_violation_of_a_sound_row_is_worse_however_rare() -> None:
    found = compare_runs(side(), side({SOUND: launches(SOUND, [0] * (MANY - 1) + [1])}))
    change, reasons = told(found, SOUND)
    assert change == "worse"
    assert "silicon: Never became Sometimes" in reasons
    assert of_row(found, SOUND).rate.changed is not True
    assert found.exit_code == ExitCode.FAIL


def test_a_broken_row_that_shows_itself_once_is_otherwise_and_not_worse() -> None:
    found = compare_runs(side(), side({LUCKY: launches(LUCKY, [0] * (MANY - 1) + [1])}))
    assert told(found, LUCKY) == ("changed", ["silicon: Never became Sometimes"])
    assert found.exit_code == ExitCode.PASS


def test_a_broken_row_that_shows_itself_in_every_launch_is_worse() -> None:
    found = compare_runs(side(), side({LUCKY: launches(LUCKY, range(5, 5 + MANY))}))
    change, reasons = told(found, LUCKY)
    assert change == "worse"
    assert "the stale rate rose" in reasons
    assert of_row(found, LUCKY).rate.p is not None
    assert found.exit_code == ExitCode.FAIL


def test_a_canary_that_shows_more_is_no_worse_and_one_that_shows_none_is_unknown() -> None:
    more = compare_runs(side(), side({CANARY: launches(CANARY, [90_000 + n for n in range(MANY)])}))
    assert told(more, CANARY) == ("changed", ["the stale rate rose"])
    assert more.exit_code == ExitCode.PASS
    blind = compare_runs(side(), side({CANARY: launches(CANARY, [0] * MANY)}))
    change, reasons = told(blind, CANARY)
    assert change == "unknown"
    assert "silicon: Sometimes became Never" in reasons
    assert "the stale rate fell" in reasons
    assert blind.exit_code == ExitCode.UNKNOWN


def test_too_few_launches_are_said_to_be_too_few() -> None:
    found = compare_runs(
        side({LUCKY: launches(LUCKY, [0, 0])}), side({LUCKY: launches(LUCKY, [9, 9])})
    )
    rate = of_row(found, LUCKY).rate
    assert (rate.p, rate.changed) == (None, None)
    assert rate.why_not.startswith("too few launches")


@pytest.mark.parametrize(
    ("model", "change", "exit_code"),
    [
        ({SOUND: ModelVerdict.ALLOWED}, "worse", ExitCode.FAIL),
        ({SOUND: ModelVerdict.UNKNOWN}, "unknown", ExitCode.UNKNOWN),
        ({LUCKY: ModelVerdict.FORBIDDEN}, "unknown", ExitCode.UNKNOWN),
    ],
)
def test_another_word_of_the_model_counts(
    model: dict[str, ModelVerdict], change: str, exit_code: ExitCode
) -> None:
    found = compare_runs(side(), side(model=model))
    [row] = model
    assert told(found, row)[0] == change
    assert any(reason.startswith("model: ") for reason in told(found, row)[1])
    assert found.exit_code == exit_code


def test_code_that_differs_and_order_that_is_lost_are_worse() -> None:
    kept = [code_reading(row, machine="kept") for row in ROWS]
    lost = [code_reading(row, machine="lost" if row == LUCKY else "kept") for row in ROWS]
    found = compare_runs(side(code=kept), side(code=lost))
    assert told(found, LUCKY) == ("worse", ["machine code: kept became lost"])
    differs = [code_reading(row, verdict="differs") for row in ROWS]
    assert told(compare_runs(side(), side(code=differs)), SOUND)[0] == "worse"
    # A record that is older than machine code says nothing of it.
    assert told(compare_runs(side(), side(code=lost)), LUCKY)[0] == "same"


def test_other_words_of_the_compiled_code_are_named_site_by_site() -> None:
    words = [("producer.drain", ["DEPBAR.LE SB0, 0"])]
    more = [("producer.drain", ["DEPBAR.LE SB0, 0", "CCTL.IVALL"]), ("producer.join", ["BAR"])]
    before = [code_reading(row, machine="kept", machine_skeleton=words) for row in ROWS]
    after = [code_reading(row, machine="kept", machine_skeleton=more) for row in ROWS]
    row = of_row(compare_runs(side(code=before), side(code=after)), SOUND)
    assert row.change is Change.CHANGED
    assert [(each.of, each.site, each.before, each.after) for each in row.skeletons] == [
        ("SASS", "producer.drain", words[0][1], more[0][1]),
        ("SASS", "producer.join", [], ["BAR"]),
    ]


@pytest.mark.parametrize(("gpu", "change"), [("NVIDIA H200", "worse"), ("NVIDIA H20", "changed")])
def test_rounds_that_take_longer_are_worse_on_the_same_gpu_alone(gpu: str, change: str) -> None:
    slow = {row: launches(row, [0] * MANY, 1500.0) for row in (SOUND,)}
    found = compare_runs(side(), side(slow, machine={**H200, "gpu": gpu}))
    assert told(found, SOUND)[0] == change
    assert of_row(found, SOUND).time.after == pytest.approx(1500 * (1 + 5.5 / 50), rel=0.01)
    fast = {row: launches(row, [0] * MANY, 100.0) for row in (SOUND,)}
    assert told(compare_runs(side(), side(fast)), SOUND) == (
        "changed",
        ["a round takes less time"],
    )


def test_rounds_are_not_compared_where_more_processes_shared_the_gpu() -> None:
    shared = {SOUND: launches(SOUND, [0] * MANY, 4000.0, worker="gw1")}
    found = compare_runs(side(), side(shared))
    assert told(found, SOUND)[0] == "same"
    assert of_row(found, SOUND).time.why_not == "other numbers of processes shared the GPU"


def costs(share: float) -> Beside:
    shapes = [
        ShapeCost(
            shape=f"1x{n}x1x1",
            plain_microseconds=100.0,
            microseconds=100.0 * (1 + share * (1 + n / 100)),
            costs=share * (1 + n / 100),
        )
        for n in range(10)
    ]
    return Beside(costs={SOUND: Cost(shapes=shapes)}, sources={"costs": "bench"})


def test_a_signal_that_costs_more_in_every_shape_is_worse() -> None:
    found = compare_runs(side(beside=costs(0.01)), side(beside=costs(0.05)))
    assert told(found, SOUND) == ("worse", ["the signal costs more time"])
    less = compare_runs(side(beside=costs(0.05)), side(beside=costs(0.01)))
    assert told(less, SOUND) == ("changed", ["the signal costs less time"])
    assert told(compare_runs(side(beside=costs(0.01)), side()), SOUND)[0] == "same"


def test_runs_that_cannot_be_compared_are_unknown_and_say_why() -> None:
    silent = compare_runs(side(), side(silicon=False))
    assert "silicon did not run in the later one: no CUDA driver on this machine" in silent.refusals
    other = compare_runs(side(), replace(side(), settings=settings(ROWS, kernel="gemm")))
    assert other.refusals == ["the runs have not one kernel: micro and gemm"]
    assert other.rows == []
    fixed = compare_runs(side(), side(command="sbo-verify run --knob ring=2"))
    assert fixed.refusals == [
        "rates and times are not compared: the runs did not draw their knobs alike"
    ]
    assert all(each.rate.p is None for each in fixed.rows)
    for found in (silent, other, fixed):
        assert found.exit_code == ExitCode.UNKNOWN


def test_rates_of_environments_that_were_drawn_otherwise_are_not_compared() -> None:
    """As by a version that knew no dense environments and one that draws nothing else."""
    dense = {
        row: [replace(each, environment="dense") for each in found]
        for row, found in (usual() | {LUCKY: launches(LUCKY, range(5, 5 + MANY))}).items()
    }
    found = compare_runs(side(), side(dense))
    assert of_row(found, LUCKY).rate.why_not == "the runs did not draw their knobs alike"
    assert of_row(found, LUCKY).rate.p is None
    assert found.refusals == [
        "rates and times are not compared: the runs did not draw their knobs alike"
    ]
    assert found.exit_code == ExitCode.UNKNOWN


def test_a_row_that_is_gone_or_another_variant_now_is_unknown() -> None:
    later = side()
    short = replace(later, verdicts=[each for each in later.verdicts if each.row != LUCKY])
    found = compare_runs(side(), short)
    assert (found.only_before, found.exit_code) == ([LUCKY], ExitCode.UNKNOWN)
    assert compare_runs(short, side()).exit_code == ExitCode.PASS
    changed = [replace(each, variant="0" * 12) for each in later.verdicts]
    nothing = compare_runs(side(), replace(later, verdicts=changed))
    assert nothing.refusals[-1] == "the runs have no row in common"


def test_launches_that_were_added_up_are_not_tested() -> None:
    each = launch(CANARY, stale=5)
    summed = LaunchSum(**{**each.__dict__, "launches": 9, "last_index": 8})
    found = compare_runs(side(), side({CANARY: [summed]}))
    assert of_row(found, CANARY).rate.why_not.startswith("launches were added up")


def test_what_differs_between_the_runs_is_named() -> None:
    other = side(commit="f" * 40, machine={**H200, "driver": "590.1"}, compiler="NVRTC 13.1")
    assert [line[0] for line in compare_runs(side(), other).circumstances] == [
        "commit",
        "driver",
        "compiler",
    ]


# ---- forms ----------------------------------------------------------------------------------


def worse() -> Comparison:
    """A comparison with a row of every kind."""
    words = [("producer.drain", ["DEPBAR.LE SB0, 0", "CCTL.IVALL"])]
    fewer = [("producer.drain", ["DEPBAR.LE SB0, 0"])]
    before = [code_reading(row, machine="kept", machine_skeleton=words) for row in ROWS]
    after = [code_reading(row, machine="kept", machine_skeleton=fewer) for row in ROWS]
    later = side(
        {LUCKY: launches(LUCKY, range(5, 5 + MANY)), CANARY: launches(CANARY, [0] * MANY)},
        code=after,
        machine={**H200, "driver": "590.1"},
    )
    return compare_runs(side(code=before), later)


def terminal(found: Comparison, width: int) -> str:
    console = Console(width=width, color_system=None, force_terminal=False, legacy_windows=False)
    with console.capture() as capture:
        print_comparison(found, console)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def test_the_texts_are_the_reviewed_ones() -> None:
    pinned("comparison.md", comparison_markdown(worse()))
    pinned("comparison-60.txt", terminal(worse(), 60))
    pinned("comparison.json", telling(comparison_json(worse())))


def test_every_form_says_the_same() -> None:
    found = worse()
    page = Page(comparison_html(found))
    assert page.open == []
    for text in (" ".join(page.words.split()), " ".join(terminal(found, 400).split())):
        for row in found.rows:
            assert row.row in text
            assert all(reason in text for reason in row.reasons)
        assert "590.1" in text
        assert "Outcome: fail (exit code 1)." in text
    data = json.loads(comparison_json(found))
    assert [each["row"] for each in data["rows"]] == list(ROWS)
    assert data["exit_code"] == found.exit_code


HOSTILE = '<script>alert("&")</script>|`*_[red]\n' + "x" * 200


def test_hostile_words_stay_text() -> None:
    named = settings(ROWS, command=HOSTILE, compiler=HOSTILE)
    found = compare_runs(side(), replace(side(), settings=named))
    rows = [replace(each, row=f"{HOSTILE}{n}") for n, each in enumerate(found.rows)]
    page = Page(comparison_html(replace(found, rows=rows)))
    assert page.open == []
    assert page.named("script") == [{}]
    assert page.words.count('<script>alert("&")</script>') >= 4
    markdown = comparison_markdown(replace(found, rows=rows))
    # Escaped, or in a code span whose fence is longer than any in the text.
    assert "<script>" not in markdown.replace("`` <script>", "")
    assert "[red]" in terminal(replace(found, rows=rows), 100)


def written(folder: Path, found: Side) -> str:
    """The run on disk."""
    run = Run.create(folder, found.settings)
    for reading in found.code_readings:
        run.append(reading)
    for each in found.launches:
        run.append(each)
    return str(run.path)


def test_the_command_compares_recorded_runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for form in ("terminal", "markdown", "html", "json"):
        assert main(["compare", str(RECORDED), str(RECORDED), "--format", form]) == ExitCode.PASS
        assert "Nothing is worse" in capsys.readouterr().out or form == "json"
    seen = written(tmp_path, side({SOUND: launches(SOUND, [1])}))
    sound = written(tmp_path, side())
    assert main(["compare", sound, seen]) == ExitCode.FAIL
    assert "worse: full_wait-atom_release" in capsys.readouterr().out
    assert main(["compare", sound, str(tmp_path / "none")]) == ExitCode.USAGE
    assert "does not exist" in capsys.readouterr().err
