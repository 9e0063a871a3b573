"""The text that a user reads: pinned whole, escaped, and silent about nothing."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import snapshots
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from snapshots import pinned, telling
from written_findings import (
    CANARY,
    LUCKY,
    ROWS,
    RUNS,
    SOUND,
    failing,
    findings,
    healthy,
    without_gpu,
)
from written_runs import launch, settings

from sbo_verify.harness.digest import details_of
from sbo_verify.harness.judgement import Evidence, judge_run
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.record import Launch
from sbo_verify.report.figures import bars, bound_text, counts_text, power_text, rate_text
from sbo_verify.report.machine import machine_text
from sbo_verify.report.markdown import markdown_text, short_markdown_text
from sbo_verify.report.markdown_words import code_span, escape
from sbo_verify.report.outline import Findings, outline
from sbo_verify.report.terminal import print_report, terminal_text


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("width", [60, 170])
def test_the_terminal_text_is_the_reviewed_one(name: str, width: int) -> None:
    pinned(f"{name}-{width}.txt", terminal_text(RUNS[name](), width))


@pytest.mark.parametrize("name", RUNS)
def test_the_markdown_is_the_reviewed_one(name: str) -> None:
    pinned(f"{name}.md", markdown_text(RUNS[name]()))


def test_the_short_markdown_is_the_reviewed_one() -> None:
    pinned("failing-short.md", short_markdown_text(failing()))


def test_the_machine_form_is_the_reviewed_one() -> None:
    pinned("failing.json", telling(machine_text(failing())))


def test_a_changed_text_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "FOLDER", tmp_path)
    (tmp_path / "text.md").write_text("sound", encoding="utf-8")
    pinned("text.md", "sound")
    with pytest.raises(AssertionError, match=r"text\.md has changed"):
        pinned("text.md", "unsound")
    assert (tmp_path / "text.md.new").read_text(encoding="utf-8") == "unsound"


@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize("name", RUNS)
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    found = RUNS[name]()
    assert max(len(line) for line in terminal_text(found, width).splitlines()) <= width


def test_colour_adds_nothing_to_the_words() -> None:
    stream = io.StringIO()
    print_report(healthy(), Console(file=stream, width=80, force_terminal=True))
    coloured = stream.getvalue()
    assert "\x1b[1m" in coloured
    plain = coloured.replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert [line.rstrip() for line in plain.splitlines()] == terminal_text(
        healthy(), 80
    ).splitlines()


def test_silence_of_the_silicon_is_said_first_and_last() -> None:
    said = "Silicon did not run: no CUDA driver on this machine."
    terminal = terminal_text(without_gpu(), 100).splitlines()
    assert terminal[0] == said
    assert terminal[-1] == f"Outcome: pass (exit code 0). {said}"
    markdown = markdown_text(without_gpu()).splitlines()
    assert markdown[2] == f"**{said}**"
    assert markdown[-1] == f"**Outcome: pass (exit code 0). {said}**"
    assert "did not run" not in terminal_text(healthy(), 100)


def test_allowed_and_never_is_said_with_the_contract_and_the_bound() -> None:
    (said,) = outline(healthy()).by_luck
    assert said.startswith(f"{LUCKY}: the PTX ISA allows a stale read here: `.read` waits")
    assert "None was seen in 1,000,000 observations: the rate was below 3e-06 (95 %" in said
    assert outline(without_gpu()).by_luck == []


def test_what_was_not_tried_follows_the_record() -> None:
    told = outline(findings([launch(SOUND), launch(CANARY, stale=10)])).not_tried
    assert f"silicon level: no hand-over observed: {LUCKY}" in told
    assert "this run is not complete: not all that was asked for was done" in told
    varied = [launch(SOUND, knobs={"noise": noise}) for noise in ("store", "off")]
    assert not [line for line in outline(findings(varied)).not_tried if "other knobs" in line]
    unread = replace(healthy(), verdicts=[replace(v, code="not read") for v in healthy().verdicts])
    assert "code level: the compiled code was not read: all 3 rows" in outline(unread).not_tried
    computed = [
        replace(v, model_source="computed") if v.row == SOUND else v for v in healthy().verdicts
    ]
    declared = outline(replace(healthy(), verdicts=computed)).not_tried
    assert declared[0].endswith(f"not computed: {CANARY}, {LUCKY}")


def test_the_worst_rows_come_gravest_first_and_the_others_are_counted() -> None:
    rows = [each.name for each in SIGNAL_PUBLISH if each.canary][:7]
    asked = settings([*rows, SOUND])
    launches = [launch(row, stale=10 + i) for i, row in enumerate(rows)] + [launch(SOUND, stale=1)]
    verdicts, summary = judge_run(
        Evidence(
            protocol=SIGNAL_PUBLISH,
            settings=asked,
            code_readings=[],
            launches=launches,
            finished="2026-11-23T22:01:00+00:00",
        )
    )
    told = outline(
        Findings(
            settings=asked,
            code_readings=[],
            launches=launches,
            verdicts=verdicts,
            summary=summary,
        )
    )
    assert [row.row for row in told.worst] == [SOUND, *rows[:2:-1]]
    assert told.worst_left_out == "3 more rows with stale tiles are in the record."
    assert told.answer == "Answer: yes with 8 of 8 variants, no with 0."


def hostile(text: str) -> Findings:
    """The failing run with `text` for every word that a record holds, the rows still three."""
    found = failing()
    names = {row: f"{text}{number}" for number, row in enumerate(ROWS)}
    changed: dict[str, Any] = {"notes": [text], "silicon": text, "code": text}
    steps = [(text, [text, "fence.acq_rel.gpu"])]
    knobs = {"tile_bytes": 16384, text: text, "noise": text}
    launches = [replace(each, row=names[each.row], knobs=knobs) for each in found.launches]
    verdicts = [replace(each, row=names[each.row], **changed) for each in found.verdicts]
    settings = replace(found.settings, command=text, compiler=text, silicon_reason=text)
    return replace(
        found,
        settings=settings,
        verdicts=verdicts,
        launches=launches,
        code_readings=[
            replace(each, row=names[each.row], skeleton=steps, differences=[text])
            for each in found.code_readings
        ],
        summary=replace(found.summary, reasons=[text]),
        torn_lines=(text,),
        details=details_of(SIGNAL_PUBLISH, settings, launches, verdicts),
    )


HOSTILE = st.text(alphabet="a1 |`*_[]<>#~-+.)(\\&$!\r\n=\"'", min_size=1, max_size=25)


def cells(line: str) -> int:
    """Cells of a Markdown table line: pipes that no backslash escapes, less one."""
    return line.replace("\\\\", "").replace("\\|", "").count("|") - 1


@given(HOSTILE)
def test_no_text_of_a_record_breaks_a_markdown_table(text: str) -> None:
    plain = markdown_text(hostile("plain")).splitlines()
    lines = markdown_text(hostile(text)).splitlines()
    wanted = [cells(line) for line in plain if line.startswith("| ")]
    assert [cells(line) for line in lines if line.startswith("| ")] == wanted
    assert [line[:4] for line in lines if line.startswith("## ")] == [
        line[:4] for line in plain if line.startswith("## ")
    ]


@given(HOSTILE)
def test_no_text_of_a_record_is_taken_for_terminal_markup(text: str) -> None:
    named = f"[red]{text.strip() or 'x'}[/nothing]"
    shown = terminal_text(hostile(named), 400)
    assert "[red]" in shown
    assert "[/nothing]" in shown


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a|b", r"a\|b"),
        ("`.read` *now*", r"\`.read\` \*now\*"),
        ("no_wait-relaxed", "no_wait-relaxed"),
        ("_this_", r"\_this\_"),
        ("<b>&amp;", r"\<b\>\&amp;"),
        ("two\n  lines", "two lines"),
        ("- item", r"\- item"),
        ("12. item", r"12\. item"),
        ("-dash", "-dash"),
        ("C:\\x", r"C:\\x"),
    ],
)
def test_markdown_escapes_markup_and_leaves_words_alone(text: str, escaped: str) -> None:
    assert escape(text) == escaped


def test_a_code_span_holds_backticks_and_pipes() -> None:
    assert code_span("a`b") == "`` a`b ``"
    assert code_span("a|b") == "`a|b`"
    assert code_span("a|b", in_table=True) == r"`a\|b`"
    assert code_span(r"a\|b", in_table=True) == r"a\\\|b"


@given(st.floats(1e-12, 1.0))
def test_bounds_are_rounded_up_and_powers_down(value: float) -> None:
    assert value <= float(bound_text(value)) <= value * 1.11
    if value <= 0.999999:
        assert value * 0.99999 <= float(power_text(value)) <= value


def test_figures_that_are_not_there_are_a_dash() -> None:
    assert (bound_text(None), rate_text(0.0), counts_text(0, 0)) == ("-", "-", "-")
    assert (power_text(None), power_text(1.0)) == ("not known", "above 0.999999")
    assert [rate_text(x) for x in (12.0, 4_200.0, 14_100_000.0)] == [
        "12.0 /s",
        "4.2 k/s",
        "14.1 M/s",
    ]


@given(st.lists(st.integers(0, 10**9), max_size=150))
def test_a_bar_is_blank_exactly_where_nothing_was_counted(histogram: list[int]) -> None:
    drawn = bars(histogram, 16384)
    marks = "".join(line.split("|")[1] for line in drawn)
    if any(histogram):
        assert [mark == " " for mark in marks] == [count == 0 for count in histogram]
        assert marks[histogram.index(max(histogram))] == "█"
    else:
        assert drawn == []


def test_a_long_histogram_is_labelled_by_the_offsets_where_its_lines_begin() -> None:
    assert [line.split("|")[0] for line in bars([1] * 64, 16384)] == ["byte    0 ", "byte 8192 "]
    assert [line.split("|")[0] for line in bars([1] * 64, None)] == ["bin  0 ", "bin 32 "]


def test_the_machine_form_holds_every_record_as_it_stands() -> None:
    found = failing()
    data = json.loads(machine_text(found))
    assert [Launch.from_json(each) for each in data["launches"]] == list(found.launches)
    assert data["settings"] == found.settings.to_json()
    assert [each["row"] for each in data["verdicts"]] == list(ROWS)
    assert (data["summary"]["outcome"], data["torn_lines"]) == ("fail", list(found.torn_lines))
