"""The Markdown and the JSON of a report say of every variant what its page in the HTML says."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from html_page import VOID
from recorded_reports import REPORTS, RUNS, findings_reported

from sbo_verify.report.html import WITNESS_TOLD, html_text
from sbo_verify.report.machine import machine_text
from sbo_verify.report.markdown import markdown_text, short_markdown_text
from sbo_verify.report.markdown_details import details_text
from sbo_verify.report.outline import outline
from sbo_verify.report.pages import Page, pages

FIRST = REPORTS / "signal_publish" / "20261124T005241Z-2f609e40a1e4"
LATER = REPORTS / "signal_publish" / "20261124T124324Z-b8e20b0f92d0"
# Elements that hold one fact each, and what stands in one beside a fact.
FACTS = {"dt", "dd", "li", "p", "td", "th", "h4", "figcaption", "span"}
UNTOLD = {
    # How the page draws an execution, which Markdown writes down.
    WITNESS_TOLD.strip("."),
    # The heads of what Markdown titles in its own words.
    "Declaration",
    "Again",
    "instructions of the compiled PTX; those that order are marked",
    "words of the machine code, in program order; those that order are marked",
    "The record holds no instructions of the compiled PTX",
    "Cost of the signal in the GEMM",
}


class Facts(HTMLParser):
    """Every fact of every variant's page in the HTML, an instruction that orders between stars."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.of: list[list[str]] = []
        self.path: list[tuple[str, bool]] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        whole = tag == "details" and told.get("class") == "variant"
        if whole:
            self.of.append([])
        if tag == "br":
            self._add(self.words)
        # A histogram by delay stands in Markdown as a table of all its columns.
        if tag == "svg" and "stale words over" in str(told.get("aria-label")):
            self._add(str(told["aria-label"]).partition(": ")[2])
        self.words = ""
        if tag not in VOID:
            self.path.append((tag, whole))

    def handle_endtag(self, tag: str) -> None:
        parents = [name for name, _ in self.path]
        if any(whole for _, whole in self.path) and "svg" not in parents:
            if tag == "b":
                self._add(f"**`{self.words}`**" if "td" in parents else self.words)
            elif tag in FACTS or (tag == "code" and not {"td", "th", "p"} & set(parents)):
                self._add(self.words)
            elif tag == "pre":
                for line in self.words.splitlines():
                    self._add(line)
        if tag != "code":
            self.words = ""
        self.path.pop()

    def handle_data(self, data: str) -> None:
        self.words += data

    def _add(self, text: str) -> None:
        fact = " ".join(text.split()).strip(".: ")
        if fact and fact not in UNTOLD:
            self.of[-1].append(fact)


def plain(text: str) -> str:
    """Markdown as it is read: without its marks, on one line; what orders keeps its stars."""
    bare = re.sub(r"\\([^A-Za-z0-9\s])", r"\1", text)
    bare = re.sub(r"\*\*(`[^`]*`)\*\*", r"@@\1@@", bare).replace("**", "").replace("@@", "**")
    return " ".join(bare.replace("|", " ").split())


def unsaid(facts: list[str], text: str) -> list[str]:
    """The facts that stand nowhere in the Markdown of their variant."""
    marked = plain(text)
    words = marked.replace("`", "").replace("**", "")
    return [
        fact
        for fact in facts
        if fact not in marked and " ".join(fact.replace("|", " ").split()) not in words
    ]


@cache
def every_field() -> tuple[list[Page], list[list[str]]]:
    """Pages that together have something in every field, and the facts of each in the HTML."""
    found = findings_reported(FIRST)
    doubted = [
        replace(each, differences=["the fence is not there"], machine="lost", machine_notes=["why"])
        for each in found.code_readings
    ]
    changed = replace(found, code_readings=[*doubted[:1], *found.code_readings[1:]])
    return pages(changed), Facts(html_text(changed)).of


@pytest.mark.parametrize("path", RUNS, ids=lambda path: str(path.name))
def test_markdown_says_all_that_the_page_of_a_variant_says(path: Path) -> None:
    found = findings_reported(path)
    said = markdown_text(found).partition("## Variant by variant")[2]
    for page, facts in zip(pages(found), Facts(html_text(found)).of, strict=True):
        text = "\n\n".join(details_text(page))
        assert text in said
        assert facts[0] == page.row
        assert text.startswith(f"### `{page.row}`: ")
        assert unsaid(facts, text) == [], page.row


# The name stands in the command, too, and is looked for in the heading. No form shows `outcome` and
# `expected`, which its other words imply; the picture is drawn from the steps and edges.
NOT_SHOWN = {"row", "outcome", "expected", "picture"}


@pytest.mark.parametrize("name", [each.name for each in fields(Page) if each.name not in NOT_SHOWN])
def test_a_fact_that_is_dropped_is_noticed(name: str) -> None:
    blank: dict[type, Any] = {str: "", list: [], bool: False}
    for page, facts in zip(*every_field(), strict=True):
        had = getattr(page, name)
        changes: dict[str, Any] = {name: blank.get(type(had))}
        less = replace(page, **changes)
        if had and unsaid(facts, "\n\n".join(details_text(less))):
            return
    pytest.fail(f"nothing of `{name}` is looked for")


def test_json_has_the_records_and_what_is_told_of_them() -> None:
    found = findings_reported(LATER)
    data = json.loads(machine_text(found))
    report, told = outline(found), data["told"]
    assert told["answer"] == report.answer
    assert (told["how_sure"], told["not_tried"]) == (report.how_sure, report.not_tried)
    for page in pages(found):
        assert told["repeat"][page.row] == page.repeat
        assert bool(page.steps) == any(
            each["row"] == page.row and each["witness"] for each in data["model"]
        )
        if page.digest is not None:
            sums = data["sums"][page.row]
            assert [each["counts"] for each in sums["offsets"]] == [
                each.counts for each in page.digest.offsets
            ]
            assert len(sums["delays"]) == len(page.digest.delays)


def test_the_short_form_is_a_part_of_the_whole_and_says_where_the_rest_is() -> None:
    found = findings_reported(LATER)
    whole, short = markdown_text(found), short_markdown_text(found)
    assert 2 * len(short) < len(whole)
    assert "`sbo-verify report`" in short
    before = short.partition("## Variant by variant")[0]
    assert whole.startswith(before)
