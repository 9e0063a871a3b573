"""The report as GitHub-flavoured Markdown."""

from __future__ import annotations

from sbo_verify.report.gallery import heat_map, pictures
from sbo_verify.report.markdown_details import details_text
from sbo_verify.report.markdown_pages import (
    SHORT_TOLD,
    environment_text,
    machine_sources,
    picture_text,
    short_page_text,
)
from sbo_verify.report.markdown_words import bullets, code_span, escape, markdown_table
from sbo_verify.report.outline import (
    BOUND_TOLD,
    QUESTION,
    VARIANT_COLUMNS,
    VARIANT_FIGURES,
    WITNESS_COLUMNS,
    Findings,
    Outline,
    VariantLine,
    WorstRow,
    outline,
)
from sbo_verify.report.pages import pages


def markdown_text(findings: Findings) -> str:
    """The whole report, what the HTML page says; every text that comes from a record is escaped."""
    parts = ["## Variant by variant"]
    parts += [text for page in pages(findings) for text in details_text(page)]
    return _text(findings, parts)


def short_markdown_text(findings: Findings) -> str:
    """The same without what is looked up rather than read: executions, histograms, knobs."""
    detailed = pages(findings)
    parts = ["## Variant by variant", SHORT_TOLD, *machine_sources(detailed)]
    parts += [text for page in detailed for text in short_page_text(page)]
    return _text(findings, parts)


def _text(findings: Findings, variant_by_variant: list[str]) -> str:
    report = outline(findings)
    parts = [
        *_opening(report),
        "## Variants",
        markdown_table(
            VARIANT_COLUMNS, [_cells(line) for line in report.variants], VARIANT_FIGURES
        ),
        f"{BOUND_TOLD}. {escape(report.cost_told)}.",
    ]
    if report.worst:
        parts.append("## Witnesses of the worst rows")
        parts.extend(text for row in report.worst for text in _worst(row))
    if report.worst_left_out:
        parts.append(escape(report.worst_left_out))
    if report.by_luck:
        parts += ["## Allowed by the PTX ISA, never seen here", bullets(report.by_luck)]
    if report.notes:
        parts += ["## Notes", bullets(report.notes)]
    parts += ["## Not tried", bullets(report.not_tried)]
    parts += environment_text(heat_map(findings))
    parts += [text for picture in pictures(findings) for text in picture_text(picture)]
    parts += [*variant_by_variant, f"**{escape(report.closing)}**"]
    return "\n\n".join(parts) + "\n"


def _opening(report: Outline) -> list[str]:
    parts = [f"# {QUESTION}"]
    if report.opening is not None:
        parts.append(f"**{escape(report.opening)}**")
    parts.append(f"**{escape(report.headline)}**")
    if report.reasons:
        parts.append(bullets(report.reasons))
    parts += [f"**{escape(report.answer)}**", bullets(report.answer_by_joint)]
    if report.how_sure:
        parts += ["## How sure", bullets(report.how_sure)]
    machine = [[escape(name), code_span(value, in_table=True)] for name, value in report.machine]
    return [*parts, "## Machine", markdown_table(("what", "value"), machine, ())]


def _cells(line: VariantLine) -> list[str]:
    name, *rest = line.cells()
    return [code_span(name, in_table=True), *(escape(cell) for cell in rest)]


def _worst(row: WorstRow) -> list[str]:
    parts = [f"### {code_span(row.row)}", f"{escape(row.sentence)}."]
    if row.witnesses:
        witnesses = [[escape(cell) for cell in cells] for cells in row.witnesses]
        parts.append(f"{escape(row.witness_caption)}:")
        parts.append(markdown_table(WITNESS_COLUMNS, witnesses, WITNESS_COLUMNS))
    if row.histogram:
        parts.append(f"{escape(row.histogram_caption)}:")
        parts.append("\n".join(["```text", *row.histogram, "```"]))
    return parts
