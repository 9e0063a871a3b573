"""The figures behind the pictures and, in short, the pages of the variants, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sbo_verify.report.figures import NO_FIGURE
from sbo_verify.report.gallery import ENVIRONMENTS_TOLD, HeatMap, Picture
from sbo_verify.report.markdown_details import heading
from sbo_verify.report.markdown_words import (
    bullets,
    code_span,
    escape,
    markdown_table,
    marked_word,
)
from sbo_verify.report.pages import (
    CHANGED,
    Page,
    Skeleton,
)

SHORT_TOLD = (
    "What the compiler made of each variant, in program order, with what orders in bold. The "
    "model's executions, the edges that order, histograms, knobs, witnesses and costs by shape are "
    "in the forms markdown, html and json of `sbo-verify report`."
)


def environment_text(heat: HeatMap | None) -> list[str]:
    """Rates by environment as a table: what the picture of an HTML report shows."""
    if heat is None:
        return []
    columns = ["variant", *(f"{knob} {value}" for knob, values in heat.knobs for value in values)]
    rows = [
        [code_span(row, in_table=True), *(cell.text for cell in cells)] for row, cells in heat.rows
    ]
    table = markdown_table([escape(column) for column in columns], rows, ())
    return ["## Rates by environment", table, ENVIRONMENTS_TOLD]


def picture_text(picture: Picture) -> list[str]:
    """A picture in words: its figures, one line each."""
    return [f"## {escape(picture.title)}", bullets(picture.figures), escape(picture.told)]


def short_page_text(page: Page) -> Iterator[str]:
    """One variant, a paragraph a level; the forms that `SHORT_TOLD` names have the rest."""
    yield heading(page)
    if page.because:
        yield f"Because: {escape(page.because)}. Source: {escape(page.source)}."
    if page.declaration:
        choices = ", ".join(f"{site} {choice}" for site, choice, _ in page.declaration)
        yield f"Declared: {code_span(choices)}"
    else:
        yield f"No declaration: {CHANGED}."
    yield f"Model: **{escape(page.model)}**"
    yield from _told([*page.readings, *page.missing])
    yield f"Code: **{escape(page.code)}**{_skeleton(page.skeleton)}"
    yield from _told(page.differences)
    if page.machine:
        yield (
            f"Machine code, the order of the PTX is **{escape(page.machine)}**"
            f"{_skeleton(page.machine_skeleton)}"
        )
        yield from _told(page.machine_texts)
    counts = ""
    if page.counts != NO_FIGURE:
        counts = f": stale {page.counts}; rate {page.rate}, below {page.bound}; {page.speed}"
    yield f"Silicon: **{escape(page.silicon)}**{escape(counts)}"
    # What the first line says already is left out.
    yield from _told([each for each in page.notes if not page.because or page.because not in each])
    yield f"Again: {code_span(page.repeat)}"


def machine_sources(found: Iterable[Page]) -> list[str]:
    """Which records the machine code of pages comes from, where it is not their own run's."""
    named = {page.machine_from: None for page in found if page.machine_from}
    return [f"Machine code: {escape(each)}." for each in named]


def _skeleton(skeleton: Skeleton) -> str:
    """Instructions of the producer, then of the consumer; those that order in bold."""
    sides: dict[str, list[str]] = {}
    for site, found in skeleton:
        sides.setdefault(site.partition(".")[0], []).extend(marked_word(*pair) for pair in found)
    told = [f"{escape(side)} {' · '.join(words)}" for side, words in sides.items() if words]
    return f": {'; '.join(told)}" if told else ""


def _told(lines: list[str]) -> Iterator[str]:
    if lines:
        yield bullets(lines)
