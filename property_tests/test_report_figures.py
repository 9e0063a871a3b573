"""No form of a report or of a comparison has a figure that is not in its record.

The record is the JSON form without what it tells: recorded lines, their sums, and the words of the
catalogue. A figure is in it where it is one of its numbers in a way that figures are printed, a sum
of a list of them, or part of one of its texts. Counts of rows are not looked for: they are counted
here anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from html_page import Page
from recorded_reports import REPORTS, findings_reported

from sbo_verify import api
from sbo_verify.report.comparison import comparison_html, comparison_json, comparison_markdown
from sbo_verify.report.figures import bound_text, power_text, share_text
from sbo_verify.report.html import html_text
from sbo_verify.report.machine import machine_text
from sbo_verify.report.markdown import markdown_text, short_markdown_text
from sbo_verify.report.outline import Findings
from sbo_verify.report.terminal import terminal_text

GATE = REPORTS / "signal_publish" / "20261124T124324Z-b8e20b0f92d0"
FOREIGN = REPORTS / "signal_publish" / "20261124T124251Z-b8e20b0f92d0"
GEMM = REPORTS / "signal_publish" / "20261124T124204Z-b8e20b0f92d0"
FIGURE = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?|\d+(?:\.\d+)?")
# The confidence, the powers of ten that the key to the environments explains, what "above" is said
# of, and the fewest launches that a median is made of.
CONSTANTS = {95.0, 0.001, 0.01, 0.999999, 3.0}
FORMS: dict[str, Callable[[Findings], str]] = {
    "terminal": lambda found: terminal_text(found, 200),
    "markdown": markdown_text,
    "short": short_markdown_text,
    "html": lambda found: spoken(html_text(found)),
}


def spoken(page: str) -> str:
    """What a page says to those who read it or have it read out; scales of pictures are none."""
    bare = re.sub(r"<(style|script)>.*?</\1>|<text.*?</text>", " ", page, flags=re.DOTALL)
    told = [
        str(attributes.get(name, ""))
        for _, attributes in Page(bare).elements
        for name in ("aria-label", "title")
    ]
    # Words of two cells are two words.
    return " ".join([unescape(re.sub(r"<[^>]*>", " ", bare)), *told])


def figures(text: str) -> set[str]:
    return {token.strip(",") for token in FIGURE.findall(text)}


def value(token: str) -> float:
    return float(token.replace(",", ""))


def leaves(data: Any) -> Iterator[float | str]:  # noqa: ANN401 - JSON
    """Every number and text, sums of lists of numbers, shares, the edges of a histogram's bins."""
    if isinstance(data, dict):
        if data.keys() >= {"tile_bytes", "counts"} and data["tile_bytes"]:
            width = data["tile_bytes"] / len(data["counts"])
            yield from (width * edge for edge in range(len(data["counts"]) + 1))
        if data.keys() >= {"waited", "slots"} and data["slots"]:
            yield data["waited"] / data["slots"]
        for key, each in data.items():
            yield key
            yield from leaves(each)
    elif isinstance(data, list):
        numbers = [each for each in data if isinstance(each, int | float)]
        if numbers and len(numbers) == len(data):
            yield sum(numbers)
        for each in data:
            yield from leaves(each)
    elif isinstance(data, str):
        yield data
    elif data is not None:
        yield float(data)


def printed(number: float) -> Iterator[str]:
    """A number in every way that a report prints one; texts of `figures` and of the charts."""
    yield f"{number:g}"
    yield f"{number:.0f}"
    yield f"{number:.2g}"
    yield f"{number:.3g}"
    yield f"{number:.2f}"
    yield f"{100 * number:.3g}"
    for scale in (100.0, 1e-3, 1e-6):
        yield f"{number * scale:.1f}"
    # Sizes in KiB and MiB.
    yield f"{number / 1024:g}"
    yield f"{number / 1024**2:g}"
    if 0.0 < number <= 1.0:
        yield bound_text(number)
        yield power_text(number).removeprefix("above ")
        yield share_text(number)


@cache
def known(record: str) -> set[float]:
    """The values of all figures that the record has."""
    found = set(CONSTANTS)
    # What a report tells is what is looked at here.
    held = {key: each for key, each in json.loads(record).items() if key != "told"}
    for leaf in set(leaves(held)):
        if isinstance(leaf, str):
            found.update(value(token) for token in figures(leaf))
        else:
            found.update(float(text) for text in printed(abs(leaf)))
    return found


def strangers(text: str, record: str, rows: int) -> set[str]:
    """Figures of `text` that are neither in the record nor a count of up to `rows` rows."""
    there = known(record)
    counts = {float(count) for count in range(rows + 1)}
    return {token for token in figures(text) if value(token) not in there | counts}


@pytest.fixture(scope="module", params=[GATE, FOREIGN, GEMM], ids=["gate", "foreign", "gemm"])
def recorded(request: pytest.FixtureRequest) -> tuple[Findings, str]:
    path: Path = request.param
    found = findings_reported(path)
    return found, machine_text(found)


@pytest.mark.parametrize("form", FORMS)
def test_no_figure_of_a_report_is_not_in_its_record(
    recorded: tuple[Findings, str], form: str
) -> None:
    found, record = recorded
    assert strangers(FORMS[form](found), record, len(found.verdicts)) == set()


@pytest.mark.parametrize("form", FORMS)
def test_a_figure_that_is_one_off_is_noticed(form: str) -> None:
    found = findings_reported(FOREIGN)
    text = FORMS[form](found)
    verdict = max(found.verdicts, key=lambda each: each.observations)
    count = f"{verdict.observations:,}"
    assert count in text
    wrong = f"{verdict.observations + 1:,}"
    changed = text.replace(count, wrong)
    assert strangers(changed, machine_text(found), len(found.verdicts)) == {wrong}


def test_no_figure_of_a_comparison_is_not_in_its_record() -> None:
    found = api.compare(FOREIGN, FOREIGN.parent / "20261124T142307Z-bceeb67d2440")
    record, rows = comparison_json(found), len(found.rows)
    for text in (comparison_markdown(found), spoken(comparison_html(found))):
        assert strangers(text, record, rows) == set()
        assert strangers(f"{text} 123,457", record, rows) == {"123,457"}
