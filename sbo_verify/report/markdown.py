"""The report as GitHub-flavoured Markdown."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from sbo_verify.report.outline import (
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

# What Markdown could take for markup inside a line; an underscore inside a word is none.
_MARKUP = re.compile(r"[\\`*<>\[\]|#~&$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_BREAKS = re.compile(r"\s*[\r\n]+\s*")
# What would make a list of a line that begins with it: a dash or a plus, a number with a dot.
_LIST_START = re.compile(r"^(\d*)([-+.)])(?=\s|$)")
_BACKTICKS = re.compile(r"`+")


def markdown_text(findings: Findings) -> str:
    """The whole report; every text that comes from a record is escaped."""
    report = outline(findings)
    parts = [
        *_opening(report),
        "## Variants",
        markdown_table(
            VARIANT_COLUMNS, [_cells(line) for line in report.variants], VARIANT_FIGURES
        ),
        "bound: one-sided 95 % upper bound of the stale rate (Clopper-Pearson).",
    ]
    if report.worst:
        parts.append("## Witnesses of the worst rows")
        parts.extend(text for row in report.worst for text in _worst(row))
    if report.worst_left_out:
        parts.append(escape(report.worst_left_out))
    if report.by_luck:
        parts += ["## Allowed by the PTX ISA, never seen here", _list(report.by_luck)]
    if report.notes:
        parts += ["## Notes", _list(report.notes)]
    parts += ["## Not tried", _list(report.not_tried), f"**{escape(report.closing)}**"]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """`text` on one line, such that Markdown shows it as it is written."""
    line = _MARKUP.sub(lambda match: f"\\{match[0]}", _BREAKS.sub(" ", text))
    return _LIST_START.sub(r"\1\\\2", line)


def code_span(text: str, *, in_table: bool = False) -> str:
    """`text` on one line in a code span; in a table, a pipe would end the cell.

    A backslash before a pipe cannot be written in a table's code span: such a text is escaped.
    """
    line = _BREAKS.sub(" ", text)
    if in_table and "\\|" in line:
        return escape(line)
    longest = max((len(run) for run in _BACKTICKS.findall(line)), default=0)
    fence, pad = "`" * (longest + 1), " " if longest else ""
    span = f"{fence}{pad}{line}{pad}{fence}"
    return span.replace("|", "\\|") if in_table else span


def _opening(report: Outline) -> list[str]:
    parts = [f"# {QUESTION}"]
    if report.opening is not None:
        parts.append(f"**{escape(report.opening)}**")
    parts.append(f"**{escape(report.headline)}**")
    if report.reasons:
        parts.append(_list(report.reasons))
    parts += [f"**{escape(report.answer)}**", _list(report.answer_by_joint)]
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


def markdown_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], figures: Collection[str]
) -> str:
    """A table of cells that are escaped already; the columns in `figures` are set right."""
    rules = ["---:" if column in figures else "---" for column in columns]
    lines = [list(columns), rules, *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {escape(line)}" for line in lines)
