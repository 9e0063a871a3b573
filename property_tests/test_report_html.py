"""The report as one HTML file: what the other forms say, pictures, and nothing from outside."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from html_page import Page
from recorded_reports import REPORTS, RUNS, findings_reported
from written_runs import code_reading, launch, settings

from sbo_verify.api import findings_of
from sbo_verify.harness.judgement import Evidence, judge_run
from sbo_verify.harness.session import read_model
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.record import ModelReading
from sbo_verify.report.html import html_text
from sbo_verify.report.outline import Findings, outline
from sbo_verify.report.pages import pages, picture_of
from sbo_verify.store import Run
from sbo_verify.vocabulary import Kind, Order

SOUND, CANARY, LUCKY = "full_wait-atom_release", "no_wait-relaxed", "read_wait-release"
ROWS = (SOUND, CANARY, LUCKY)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = Run.create(tmp_path_factory.mktemp("html"), settings(ROWS))
    read_model(made, SIGNAL_PUBLISH, [SIGNAL_PUBLISH.row(n) for n in ROWS], lambda _row: None)
    for row in ROWS:
        made.append(code_reading(row))
        made.append(launch(row, stale=10 if row == CANARY else 0))
    return made


@pytest.fixture
def findings(run: Run) -> Findings:
    return findings_of(run)


def test_every_variant_has_its_line_its_page_and_its_picture(findings: Findings) -> None:
    page = Page(html_text(findings))
    assert page.open == []
    targets = [str(link["href"]) for link in page.named("a")]
    ids = [element["id"] for _, element in page.elements if "id" in element]
    assert len(ids) == len(set(ids))
    assert {target.removeprefix("#") for target in targets} <= set(ids)
    to_pages = [target for target in targets if target.startswith("#variant-")]
    assert to_pages == [f"#{name}" for name in ids if str(name).startswith("variant-")]
    assert len(to_pages) == len(ROWS)
    told = [str(svg["aria-label"]) for svg in page.named("svg") if svg.get("class") == "steps"]
    assert told == [
        f"{SOUND}: what orders the store before the read",
        f"{CANARY}: stale execution",
        f"{LUCKY}: stale execution",
    ]


def test_it_says_what_the_outline_says(findings: Findings) -> None:
    words = " ".join(Page(html_text(findings)).words.split())
    report = outline(findings)
    lines = [report.headline, report.answer, *report.answer_by_joint, *report.reasons]
    lines += [*report.not_tried, *report.by_luck, *report.notes, report.closing]
    lines += [cell for line in report.variants for cell in line.cells()]
    for line in lines:
        assert " ".join(line.split()) in words, line
    for page in pages(findings):
        for line in (*page.missing, *page.ordering, page.repeat):
            assert line in words


def test_every_arrow_has_the_head_of_its_own_picture(findings: Findings) -> None:
    """A page folds pictures away, and a browser draws no marker that is folded away."""
    text = html_text(findings)
    heads = [marker["id"] for marker in Page(text).named("marker")]
    assert len(heads) == len(set(heads)) == len(ROWS)
    for head in heads:
        assert f"url(#{head})" in text


def test_a_page_says_how_to_see_it_again(findings: Findings) -> None:
    said = {page.row: page.repeat for page in pages(findings)}
    assert said[CANARY] == f"sbo-verify replay {CANARY} --seed 7 --index 0"
    assert said[SOUND].endswith(f" --variants {SOUND} --seed 7")


def test_it_loads_nothing(findings: Findings) -> None:
    page = Page(html_text(findings))
    [script] = page.named("script")
    assert script == {}
    policy = next(m for m in page.named("meta") if "http-equiv" in m)
    assert str(policy["content"]).startswith("default-src 'none'; style-src 'unsafe-inline'; ")
    for tag, attributes in page.elements:
        assert tag not in {"link", "img", "iframe"}
        for name, value in attributes.items():
            outside = value and value.startswith(("http:", "https:", "//"))
            assert not outside or name == "xmlns", (tag, name, value)


HOSTILE = '<script>alert("&")</script>|`*_\x00é' + "x" * 500


def test_hostile_names_and_texts_stay_text(findings: Findings) -> None:
    verdicts = [replace(each, row=HOSTILE, notes=[HOSTILE]) for each in findings.verdicts[:1]]
    steps = [
        {"number": 1, "actor": HOSTILE, "instruction": HOSTILE, "does": f"reads {HOSTILE}"},
    ]
    reading = ModelReading(
        row=HOSTILE,
        variant="0",
        verdict="Allowed",
        complete=True,
        seconds=0.0,
        readings={HOSTILE: "Forbidden"},
        missing=[HOSTILE],
        ordering=[HOSTILE],
        notes=[],
        witness=steps,
    )
    code = [code_reading(HOSTILE, skeleton=[(HOSTILE, [HOSTILE])], differences=[HOSTILE])]
    odd = replace(
        findings,
        verdicts=verdicts,
        model_readings=[reading],
        code_readings=code,
        launches=[],
        settings=replace(findings.settings, command=HOSTILE),
    )
    page = Page(html_text(odd))
    assert page.open == []
    assert page.named("script") == [{}]
    assert page.words.count('<script>alert("&")</script>') >= 8


def test_a_record_without_chains_is_shown_by_its_sentences(findings: Findings) -> None:
    """As records were written before they held the chains as data."""
    old = [replace(each, chains={}) for each in findings.model_readings]
    page = Page(html_text(replace(findings, model_readings=old)))
    assert len([svg for svg in page.named("svg") if svg.get("class") == "steps"]) == len(ROWS) - 1
    [sound] = [each for each in old if each.row == SOUND]
    assert picture_of(sound) == ""
    assert all(line in page.words for line in sound.ordering)


def test_without_a_model_reading_nothing_is_drawn() -> None:
    verdicts, summary = judge_run(
        Evidence(
            protocol=SIGNAL_PUBLISH,
            settings=settings(ROWS, silicon=False),
            code_readings=[code_reading(row) for row in ROWS],
            launches=[],
            finished="2026-11-23T22:01:00+00:00",
        )
    )
    silent = Findings(
        settings=settings(ROWS, silicon=False),
        code_readings=[],
        launches=[],
        verdicts=verdicts,
        summary=summary,
    )
    page = Page(html_text(silent))
    # The bar of verdicts is all there is to draw.
    [bar] = page.named("svg")
    assert bar["aria-label"] == (
        "variants by verdict: 2 broken by the model, silicon did not run, "
        "1 sound by the model, silicon did not run"
    )
    assert "(95 %, one-sided)" not in page.words
    assert page.words.count("Silicon did not run") == 3


@pytest.mark.parametrize("path", RUNS, ids=lambda path: str(path.name))
def test_a_recorded_page_is_what_its_records_give(path: Path) -> None:
    text = (path / "report.html").read_text()
    assert text == html_text(findings_reported(path))
    assert len(text.encode()) < 1_500_000


MACHINE_ORDERS = {
    "MEMBAR",
    "FENCE",
    "DEPBAR",
    "CCTL",
    "BAR",
    "UCGABAR_ARV",
    "UCGABAR_WAIT",
    "SYNCS",
}
PTX_ORDERS = {
    Kind.FENCE,
    Kind.PROXY_FENCE,
    Kind.CTA_BARRIER,
    Kind.CTA_BARRIER_RED,
    Kind.WARP_BARRIER,
    Kind.CLUSTER_ARRIVE,
    Kind.CLUSTER_WAIT,
    Kind.WAIT_GROUP,
    Kind.MBARRIER_WAIT,
}
STRONG = {Order.ACQUIRE, Order.RELEASE, Order.ACQ_REL, Order.SC}


def test_the_words_that_order_are_marked_and_no_others(findings: Findings) -> None:
    """Of every word that any release of ptxas made, and of every instruction of the catalogue."""
    matrix = json.loads((REPORTS / "toolchains-2026-11-24" / "matrix.json").read_text())
    machine = {word for steps in matrix["skeletons"] for _, words in steps for word in words}
    ptx = {
        instruction
        for row in SIGNAL_PUBLISH
        for step in SIGNAL_PUBLISH.steps(row.variant)
        for instruction in step.instructions
    }
    reading = code_reading(
        SOUND,
        skeleton=[("all", [str(each) for each in ptx])],
        machine="kept",
        machine_skeleton=[("all", sorted(machine))],
    )
    found = pages(replace(findings, code_readings=[reading]))
    [page] = [each for each in found if each.skeleton]
    assert dict(page.skeleton[0][1]) == {
        str(each): each.kind in PTX_ORDERS or each.order in STRONG for each in ptx
    }
    marked = {word for word, orders in page.machine_skeleton[0][1] if orders}
    assert marked == {
        word for word in machine if re.split(r"[. ]", word.lstrip("@"))[0] in MACHINE_ORDERS
    }
    assert any(word.startswith("@") for word in marked)
