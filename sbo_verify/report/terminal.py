"""The report in a terminal: legible without colour and at 60 columns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from sbo_verify.report.figures import NO_FIGURE
from sbo_verify.report.outline import (
    BOUND_TOLD,
    QUESTION,
    VARIANT_COLUMNS,
    VARIANT_FIGURES,
    WITNESS_COLUMNS,
    Findings,
    Outline,
    WorstRow,
    outline,
)

# Below this width a line a variant no longer fits, and its texts are stacked instead.
ONE_LINE_COLUMNS = 160


def print_report(findings: Findings, console: Console) -> None:
    """Print the whole report to `console`; texts from records are never read as markup."""
    report = outline(findings)
    _opening(report, console)
    _heading("Variants", console)
    if console.width >= ONE_LINE_COLUMNS:
        lines = [line.cells() for line in report.variants]
        console.print(_table(VARIANT_COLUMNS, lines, VARIANT_FIGURES))
    else:
        for line in report.variants:
            _stack(line.cells(), console)
    _say(BOUND_TOLD, console)
    _say(report.cost_told, console)
    if report.worst:
        _heading("Witnesses of the worst rows", console)
    for row in report.worst:
        _worst(row, console)
    if report.worst_left_out:
        _say(report.worst_left_out, console)
    for title, items in (
        ("Allowed by the PTX ISA, never seen here", report.by_luck),
        ("Notes", report.notes),
        ("Not tried", report.not_tried),
    ):
        if items:
            _heading(title, console)
            _list(items, console)
    console.print()
    _say(report.closing, console, style="bold")


def terminal_text(findings: Findings, width: int) -> str:
    """What `print_report` prints on a console of `width` columns, without colour."""
    console = Console(width=width, color_system=None, force_terminal=False, legacy_windows=False)
    with console.capture() as capture:
        print_report(findings, console)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def _opening(report: Outline, console: Console) -> None:
    if report.opening is not None:
        _say(report.opening, console, style="bold")
    _say(QUESTION, console, style="bold")
    _say(report.headline, console, style="bold")
    _list(report.reasons, console)
    console.print()
    _say(report.answer, console, style="bold")
    _list(report.answer_by_joint, console)
    _list(report.how_sure, console)
    console.print()
    # Commit and command are to be copied: nothing of them is left out.
    grid = Table.grid(Column(), Column(overflow="fold"), padding=(0, 2))
    for name, value in report.machine:
        grid.add_row(Text(name), Text(value))
    console.print(grid)


def _stack(cells: Sequence[str], console: Console) -> None:
    """One variant on two or more lines: its name, then what each column says of it."""
    name, *rest = cells
    _say(name, console, style="bold")
    pairs = zip(VARIANT_COLUMNS[1:], rest, strict=True)
    told = [f"{column} {cell}" for column, cell in pairs if cell != NO_FIGURE]
    console.print(Padding(Text("; ".join(told)), (0, 0, 0, 4)))


def _worst(row: WorstRow, console: Console) -> None:
    _say(row.row, console, style="bold")
    console.print(Padding(Text(row.sentence), (0, 0, 0, 4)))
    if row.witnesses:
        console.print(Padding(Text(row.witness_caption), (0, 0, 0, 4)))
        if console.width >= ONE_LINE_COLUMNS // 2:
            table = _table(WITNESS_COLUMNS, row.witnesses, WITNESS_COLUMNS)
            console.print(Padding(table, (0, 0, 0, 4)))
        else:
            told = [zip(WITNESS_COLUMNS, cells, strict=True) for cells in row.witnesses]
            lines = [", ".join(f"{name} {cell}" for name, cell in pairs) for pairs in told]
            _list(lines, console, indent=4)
    if row.histogram:
        console.print(Padding(Text(row.histogram_caption), (0, 0, 0, 4)))
    for bar in row.histogram:
        # A bar that was wrapped would put bins under the wrong offsets.
        console.print(Text(f"    {bar}"), no_wrap=True, crop=False, overflow="ignore")


def _table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], figures: Collection[str]
) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in columns:
        table.add_column(Text(column), justify="right" if column in figures else "left")
    for cells in rows:
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _heading(title: str, console: Console) -> None:
    console.print()
    _say(title, console, style="bold")
    _say("-" * len(title), console)


def _list(lines: Iterable[str], console: Console, indent: int = 0) -> None:
    grid = Table.grid(padding=(0, 1))
    for line in lines:
        grid.add_row(Text("-"), Text(line))
    if grid.row_count:
        console.print(Padding(grid, (0, 0, 0, indent), expand=False))


def _say(text: str, console: Console, style: str = "") -> None:
    console.print(Text(text, style=style))
