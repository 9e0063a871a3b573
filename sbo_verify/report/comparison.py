"""A comparison of two runs, in every form: what differs between the runs, what is worse, and why.

Picked from the comparison as it stands; terminal, Markdown and HTML show the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sbo_verify.harness.comparison import Change, Comparison, RowComparison, SkeletonChange
from sbo_verify.harness.comparison_figures import Tested
from sbo_verify.report.figures import (
    NO_FIGURE,
    bound_text,
    cost_text,
    counts_text,
    percent_text,
    share_text,
)
from sbo_verify.report.html import OUTCOME_KINDS, render
from sbo_verify.report.markdown_words import bullets, code_span, escape, markdown_table
from sbo_verify.verdict import Outcome

QUESTION = "What changed from the earlier run to the later one?"
FIGURES = (
    "stale before",
    "stale after",
    "rate before",
    "rate after",
    "p",
    "round us before",
    "round us after",
    "p of the time",
    "cost % before",
    "cost % after",
)
COLUMNS = ("variant", "change", "what", *FIGURES)
CIRCUMSTANCES = ("what", "before", "after")
SKELETONS = ("variant", "code", "site", "before", "after")
RATES_TOLD = (
    "rate: mean over the launches of each launch's rate; p: of the permutation test, for all rows "
    "together, - where the launches could not have shown a change"
)
KINDS = {
    Change.SAME.value: "good",
    Change.CHANGED.value: "warn",
    Change.UNKNOWN.value: "warn",
    Change.WORSE.value: "bad",
}
_HEADLINES = {
    Outcome.PASS.value: "Nothing is worse.",
    Outcome.FAIL.value: "Worse.",
    Outcome.UNKNOWN.value: "Unknown: the runs cannot be compared in everything.",
}
_GRAVEST_FIRST = (Change.WORSE, Change.UNKNOWN, Change.CHANGED, Change.SAME)


@dataclass(frozen=True, kw_only=True)
class ComparisonLine:
    """One row: a text for every column, and the figures by which it can be sorted."""

    change: str
    canary: bool
    cells: list[str]
    figures: dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class ComparisonOutline:
    """The comparison in reading order."""

    headline: str
    counts: str
    reasons: list[str]
    circumstances: list[tuple[str, str, str]]
    columns: list[str]
    lines: list[ComparisonLine]
    skeletons: list[list[str]]
    untested: list[str]
    method: list[str]
    closing: str


def comparison_outline(found: Comparison) -> ComparisonOutline:
    """What there is to say of `found`."""
    rows = sorted(found.rows, key=lambda each: _GRAVEST_FIRST.index(each.change))
    changes = [each.change for each in rows]
    counts = [f"{changes.count(c)} {c.value}" for c in _GRAVEST_FIRST if c in changes]
    reasons = list(found.refusals)
    reasons += [f"{row} is missing in the later run" for row in found.only_before]
    reasons += [
        f"{each.row}: {'; '.join(each.reasons)}"
        for each in rows
        if each.change in {Change.WORSE, Change.UNKNOWN}
    ]
    lines = [_line(each) for each in rows]
    columns = [
        column
        for place, column in enumerate(COLUMNS)
        if any(line.cells[place] not in {"", NO_FIGURE} for line in lines)
    ]
    untested = [each.rate.why_not for each in found.rows if each.rate.changed is None]
    return ComparisonOutline(
        headline=_HEADLINES[found.outcome],
        counts=f"{len(rows)} rows in both runs: {', '.join(counts) or 'none'}.",
        reasons=reasons,
        circumstances=found.circumstances,
        columns=columns,
        lines=[_kept(line, columns) for line in lines],
        skeletons=[cells for each in rows for cells in _skeletons(each.row, each.skeletons)],
        untested=[
            f"{untested.count(why)} rates were not tested: {why}" for why in dict.fromkeys(untested)
        ],
        method=found.method,
        closing=f"Outcome: {found.outcome} (exit code {found.exit_code}).",
    )


def _line(row: RowComparison) -> ComparisonLine:
    stale = [float(side[0]) if side[1] else None for side in (row.before, row.after)]
    figures = {
        "stale before": stale[0],
        "stale after": stale[1],
        "rate before": row.rate.before,
        "rate after": row.rate.after,
        "p": row.rate.p,
        "round us before": row.time.before,
        "round us after": row.time.after,
        "p of the time": row.time.p,
        "cost % before": row.cost.before,
        "cost % after": row.cost.after,
    }
    cells = [
        f"{row.row} (canary)" if row.canary else row.row,
        row.change.value,
        "; ".join(row.reasons) or ("compiled words" if row.skeletons else ""),
        _counts(row.before),
        _counts(row.after),
        share_text(row.rate.before),
        share_text(row.rate.after),
        _p_text(row.rate),
        cost_text(row.time.before),
        cost_text(row.time.after),
        _p_text(row.time),
        percent_text(row.cost.before),
        percent_text(row.cost.after),
    ]
    return ComparisonLine(change=row.change.value, canary=row.canary, cells=cells, figures=figures)


def _kept(line: ComparisonLine, columns: Sequence[str]) -> ComparisonLine:
    """The line without the columns in which no row has anything."""
    cells = [cell for column, cell in zip(COLUMNS, line.cells, strict=True) if column in columns]
    return replace(line, cells=cells)


def _counts(side: tuple[int, int, float | None]) -> str:
    stale, observations, bound = side
    if not observations:
        return NO_FIGURE
    return f"{counts_text(stale, observations)} (below {bound_text(bound)})"


def _p_text(tested: Tested) -> str:
    return NO_FIGURE if tested.p is None else f"{tested.p:.2g}"


def _skeletons(row: str, changes: Iterable[SkeletonChange]) -> list[list[str]]:
    return [
        [row, each.of, each.site, "; ".join(each.before) or "-", "; ".join(each.after) or "-"]
        for each in changes
    ]


def comparison_json(found: Comparison) -> str:
    """The comparison as one JSON object."""
    return json.dumps(asdict(found), indent=2, allow_nan=False) + "\n"


def comparison_markdown(found: Comparison) -> str:
    """The comparison as GitHub-flavoured Markdown; every text of a record is escaped."""
    told = comparison_outline(found)
    parts = [f"# {QUESTION}", f"**{told.headline}** {escape(told.counts)}"]
    if told.reasons:
        parts.append(bullets(told.reasons))
    parts.append("## What differs between the runs")
    parts.append(_circumstances(told) if told.circumstances else "Nothing that the records name.")
    rows = [[code_span(cells[0], in_table=True), *map(escape, cells[1:])] for cells in _cells(told)]
    if rows:
        parts += ["## Variants", markdown_table(told.columns, rows, FIGURES), f"{RATES_TOLD}."]
    if told.skeletons:
        cells = [[code_span(text, in_table=True) for text in line] for line in told.skeletons]
        parts += ["## Compiled words that are others", markdown_table(SKELETONS, cells, ())]
    parts += ["## How rates and times were compared", bullets([*told.method, *told.untested])]
    return "\n\n".join([*parts, f"**{told.closing}**"]) + "\n"


def _cells(told: ComparisonOutline) -> list[list[str]]:
    return [line.cells for line in told.lines]


def _circumstances(told: ComparisonOutline) -> str:
    rows = [
        [escape(what), *(code_span(text, in_table=True) for text in both)]
        for what, *both in told.circumstances
    ]
    return markdown_table(CIRCUMSTANCES, rows, ())


def comparison_html(found: Comparison) -> str:
    """The comparison as one HTML file that needs nothing else."""
    return render(
        "comparison.html.jinja",
        question=QUESTION,
        told=comparison_outline(found),
        outcome_kind=OUTCOME_KINDS.get(found.outcome, "warn"),
        figures=FIGURES,
        circumstance_columns=CIRCUMSTANCES,
        skeleton_columns=SKELETONS,
        change_kinds=KINDS,
        rates_told=RATES_TOLD,
    )


def print_comparison(found: Comparison, console: Console) -> None:
    """Print the comparison, row by row where something is not as before; never read as markup."""
    told = comparison_outline(found)
    _say(QUESTION, console, style="bold")
    _say(f"{told.headline} {told.counts}", console, style="bold")
    _list(told.reasons, console)
    console.print()
    if told.circumstances:
        table = Table(box=box.SIMPLE, pad_edge=False)
        for column in CIRCUMSTANCES:
            table.add_column(column, overflow="fold")
        for cells in told.circumstances:
            table.add_row(*(Text(cell) for cell in cells))
        console.print(table)
    for line in told.lines:
        if line.change == Change.SAME.value:
            continue
        _say(f"{line.change}: {line.cells[0]}", console, style="bold")
        pairs = list(zip(told.columns, line.cells, strict=True))[2:]
        said = [f"{column} {cell}" for column, cell in pairs if cell not in {"", NO_FIGURE}]
        console.print(Padding(Text("; ".join(said)), (0, 0, 0, 4)))
    for row, code, site, before, after in told.skeletons:
        _say(f"{row}: {code} of {site}: {before} became {after}", console)
    _say(RATES_TOLD, console)
    _list([*told.method, *told.untested], console)
    console.print()
    _say(told.closing, console, style="bold")


def _list(lines: Sequence[str], console: Console) -> None:
    for line in lines:
        console.print(Padding(Text(f"- {line}"), (0, 0, 0, 2)))


def _say(text: str, console: Console, style: str = "") -> None:
    console.print(Text(text, style=style))
