"""Everything that the page within the page of an HTML report says of a variant, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sbo_verify.harness.digest import Digest
from sbo_verify.report.charts import offsets_told
from sbo_verify.report.figures import NO_FIGURE, bars
from sbo_verify.report.markdown_words import (
    bullets,
    code_span,
    escape,
    fenced,
    markdown_table,
    marked_word,
)
from sbo_verify.report.outline import WITNESS_COLUMNS, WorstRow
from sbo_verify.report.pages import (
    CHANGED,
    COST_COLUMNS,
    DECLARATION_COLUMNS,
    DELAY_COLUMNS,
    KNOB_COLUMNS,
    Page,
    Skeleton,
    delays_caption,
    histogram_caption,
)

SKELETON_COLUMNS = ("site", "in program order, with what orders in bold")
STEPS_TOLD = "An execution with a stale read, step by step:"
ORDERING_TOLD = "What orders the store before the read, edge by edge:"
MISSING_TOLD = "What is missing:"
KNOBS_TOLD = "Knobs that showed it:"


def details_text(page: Page) -> Iterator[str]:
    """One variant, level by level, every text escaped; nothing of `page` is left out.

    The picture of the execution stands as its steps, or as the edges of the chain it draws.
    """
    yield heading(page)
    yield from _declaration(page)
    yield from _model(page)
    yield from _code(page)
    yield from _silicon(page)
    yield from _listed("", page.notes)
    if page.costs:
        yield "Cost of the signal in the GEMM:"
        yield _table(COST_COLUMNS, page.costs, COST_COLUMNS[1:])
    yield f"Again: {code_span(page.repeat)}"


def heading(page: Page) -> str:
    """The variant's name, what the levels say together, and whether it is a canary."""
    canary = ", canary" if page.canary else ""
    return f"### {code_span(page.row)}: {escape(page.joint)}{canary}"


def _declaration(page: Page) -> Iterator[str]:
    if page.because:
        yield f"Because: {escape(page.because)}. Source: {escape(page.source)}."
    if page.declaration:
        yield _table(DECLARATION_COLUMNS, page.declaration)
    else:
        yield f"No declaration: {CHANGED}."


def _model(page: Page) -> Iterator[str]:
    yield f"#### Model: {escape(page.model)}"
    yield from _listed("", page.readings)
    yield from _listed(MISSING_TOLD, page.missing)
    if page.steps:
        yield STEPS_TOLD
        yield fenced(page.steps)
    yield from _listed(ORDERING_TOLD, page.ordering)


def _code(page: Page) -> Iterator[str]:
    yield f"#### Code: {escape(page.code)}"
    yield from _listed("", page.differences)
    yield from _skeleton(page.skeleton)
    if page.machine:
        yield f"#### Machine code: the order of the PTX is {escape(page.machine)}"
        if page.machine_from:
            yield f"{escape(page.machine_from)}."
        yield from _listed("", page.machine_texts)
        yield from _skeleton(page.machine_skeleton)


def _skeleton(skeleton: Skeleton) -> Iterator[str]:
    if skeleton:
        rows = [
            [
                code_span(site, in_table=True),
                " · ".join(marked_word(*pair, in_table=True) for pair in found),
            ]
            for site, found in skeleton
        ]
        yield markdown_table(SKELETON_COLUMNS, rows, ())


def _silicon(page: Page) -> Iterator[str]:
    yield f"#### Silicon: {escape(page.silicon)}"
    if page.counts != NO_FIGURE:
        counts = f"stale {page.counts}; rate {page.rate}, below {page.bound} (95 %, one-sided)"
        yield escape(f"{counts}; {page.speed} hand-overs")
    if page.seen is None:
        return
    yield f"{escape(page.seen.sentence)}."
    if page.digest is not None:
        yield from _histograms(page.digest)
    if page.knobs:
        yield KNOBS_TOLD
        yield _table(KNOB_COLUMNS, page.knobs, KNOB_COLUMNS[2:])
    yield from _witnesses(page.seen)


def _histograms(digest: Digest) -> Iterator[str]:
    for offsets in digest.offsets:
        yield f"{escape(histogram_caption(offsets))}:"
        yield fenced(bars(offsets.counts, offsets.tile_bytes))
        yield f"{escape(offsets_told(offsets))}."
    if digest.delays:
        yield f"{escape(delays_caption(digest))}:"
        rows = [
            [f"{each.from_cycles:,} to below {each.below_cycles:,}", f"{each.witnesses:,}"]
            for each in digest.delays
        ]
        yield _table(DELAY_COLUMNS, rows, DELAY_COLUMNS[1:])


def _witnesses(seen: WorstRow) -> Iterator[str]:
    if seen.witnesses:
        yield f"{escape(seen.witness_caption)}:"
        yield _table(WITNESS_COLUMNS, seen.witnesses, WITNESS_COLUMNS)


def _table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], figures: Sequence[str] = ()
) -> str:
    return markdown_table(columns, [[escape(cell) for cell in row] for row in rows], figures)


def _listed(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        if title:
            yield title
        yield bullets(lines)
