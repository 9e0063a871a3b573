"""The pages of the variants and the figures behind the pictures, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from sbo_verify.harness.digest import Digest
from sbo_verify.report.figures import NO_FIGURE, bars
from sbo_verify.report.gallery import ENVIRONMENTS_TOLD, HeatMap, Picture
from sbo_verify.report.markdown_words import bullets, code_span, escape, markdown_table
from sbo_verify.report.pages import (
    CHANGED,
    COST_COLUMNS,
    KNOB_COLUMNS,
    Page,
    Skeleton,
    histogram_caption,
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


def page_text(page: Page) -> Iterator[str]:
    """One variant, level by level."""
    canary = ", canary" if page.canary else ""
    yield f"### {code_span(page.row)}: {escape(page.joint)}{canary}"
    if page.because:
        yield f"Because: {escape(page.because)}. Source: {escape(page.source)}."
    if page.declaration:
        yield ", ".join(
            f"{escape(site)} {code_span(choice)}" for site, choice, _ in page.declaration
        )
    else:
        yield f"No declaration: {CHANGED}."
    yield f"Model: **{escape(page.model)}**"
    yield from _told(page.readings)
    if page.missing:
        yield "What is missing:"
        yield bullets(page.missing)
    if page.steps:
        yield _fenced(page.steps)
    if page.ordering:
        yield "What orders the store before the read:"
        yield bullets(page.ordering)
    yield f"Code: **{escape(page.code)}**"
    yield from _told(page.differences)
    yield from _skeleton(page.skeleton)
    if page.machine:
        yield f"Machine code, the order of the PTX is **{escape(page.machine)}**"
        yield from _told([page.machine_from] if page.machine_from else [])
        yield from _told(page.machine_texts)
        yield from _skeleton(page.machine_skeleton)
    yield from _silicon(page)
    yield from _told(page.notes)
    if page.costs:
        yield "Cost of the signal in the GEMM:"
        yield markdown_table(COST_COLUMNS, page.costs, COST_COLUMNS[1:])
    yield f"Again: {code_span(page.repeat)}"


def _silicon(page: Page) -> Iterator[str]:
    counts = ""
    if page.counts != NO_FIGURE:
        counts = f": stale {page.counts}; rate {page.rate}, below {page.bound}; {page.speed}"
    yield f"Silicon: **{escape(page.silicon)}**{escape(counts)}"
    if page.digest is not None and page.seen is not None:
        yield from _histograms(page.digest)
    if page.knobs:
        rows = [[escape(cell) for cell in cells] for cells in page.knobs]
        yield markdown_table(KNOB_COLUMNS, rows, KNOB_COLUMNS[2:])


def _histograms(digest: Digest) -> Iterator[str]:
    for offsets in digest.offsets:
        yield f"{escape(histogram_caption(offsets))}:"
        yield _fenced(bars(offsets.counts, offsets.tile_bytes))
    if digest.delays:
        yield "Recorded witnesses by cycles between the signal and the stale read:"
        rows = [
            [f"{each.from_cycles:,} to below {each.below_cycles:,}", f"{each.witnesses:,}"]
            for each in digest.delays
        ]
        yield markdown_table(("cycles", "witnesses"), rows, ("witnesses",))


def _skeleton(skeleton: Skeleton) -> Iterator[str]:
    """Sites and instructions; those that order in bold."""
    if skeleton:
        rows = [
            [code_span(site, in_table=True), "; ".join(_word(*pair) for pair in found)]
            for site, found in skeleton
        ]
        yield markdown_table(("site", "instructions, those that order in bold"), rows, ())


def _word(word: str, orders: bool) -> str:  # noqa: FBT001 - a pair of the skeleton
    span = code_span(word, in_table=True)
    return f"**{span}**" if orders else span


def _told(lines: list[str]) -> Iterator[str]:
    if lines:
        yield bullets(lines)


def _fenced(lines: list[str]) -> str:
    """Lines as they are, in a fence longer than any in them."""
    longest = max((len(line) - len(line.lstrip("`")) for line in lines), default=0)
    fence = "`" * max(3, longest + 1)
    kept = [" ".join(line.splitlines()) for line in lines]
    return "\n".join([f"{fence}text", *kept, fence])
