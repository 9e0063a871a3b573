"""A recorded benchmark of the signal GEMM as Markdown: times, and what signals cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sbo_verify.report.markdown import code_span, escape, markdown_table

PLAIN = "plain"
SHAPE = ("groups", "m", "n", "k")
EXPLAINED = (
    "Microseconds of kernel time, every group full; behind the slash, what the signal adds to the "
    "same producer's plain time."
)
Cell = Mapping[str, Any]


def gemm_times_text(record: Mapping[str, Any]) -> str:
    """The whole document; `record` is what `sbo-verify bench-gemm --json` printed.

    Raises `KeyError` where it is something else.
    """
    settings, cells, method = record["settings"], record["cells"], record["method"]
    machine = settings["machine"]
    made = (
        f"{machine['gpu']}, driver {machine['driver']}, {settings['compiler']}, commit "
        f"{settings['commit']}, seed {settings['seed']}, {settings['started']}"
    )
    parts = [
        "# The signal GEMM's time, and what its signal costs",
        f"Made by `sbo-verify bench-gemm --record FILE` from {code_span(settings['command'])}.",
        f"{escape(made)}.",
        "\n".join(f"- {escape(name)}: {escape(str(how))}" for name, how in method.items()),
        EXPLAINED,
    ]
    producers = list(dict.fromkeys(cell["producer"] for cell in cells))
    for producer in producers:
        mine = [cell for cell in cells if cell["producer"] == producer]
        parts += [f"## {code_span(producer)}", _table(mine)]
    if len(producers) > 1:
        parts += ["## Beside each other", _ratios(cells, producers)]
    return "\n\n".join(parts) + "\n"


def _by_shape(cells: Sequence[Cell]) -> dict[str, dict[str, Cell]]:
    """Shape in words to variant to cell, in the order of the record."""
    shapes: dict[str, dict[str, Cell]] = {}
    for cell in cells:
        name = "x".join(str(cell[size]) for size in SHAPE)
        shapes.setdefault(name, {})[cell["variant"]] = cell
    return shapes


def _table(cells: Sequence[Cell]) -> str:
    variants = list(dict.fromkeys(cell["variant"] for cell in cells))
    columns = ["groups x m x n x k", "tile", *map(code_span, variants)]
    rows = []
    for name, found in _by_shape(cells).items():
        first = next(iter(found.values()))
        rows.append([name, first["kernel"] or "-", *(_time(found.get(v)) for v in variants)])
    return markdown_table(columns, rows, columns[2:])


def _time(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    time = f"{cell['microseconds']:.1f}"
    return time if cell["costs"] is None else f"{time} / {100 * cell['costs']:+.1f} %"


def _ratios(cells: Sequence[Cell], producers: Sequence[str]) -> str:
    """The first producer's time over each other's: plain, and with its first signal over theirs."""
    own, *others = producers
    mine = _by_shape([cell for cell in cells if cell["producer"] == own])
    columns = [
        "groups x m x n x k",
        *(f"{what} / {o}" for o in others for what in (PLAIN, "signal")),
    ]
    rows = []
    for name, found in mine.items():
        row = [name]
        for other in others:
            theirs = _by_shape([cell for cell in cells if cell["producer"] == other]).get(name, {})
            row += [_ratio(found, theirs, signal=False), _ratio(found, theirs, signal=True)]
        rows.append(row)
    return markdown_table([escape(column) for column in columns], rows, [])


def _ratio(found: Mapping[str, Cell], theirs: Mapping[str, Cell], *, signal: bool) -> str:
    ends = [
        next((c for v, c in side.items() if (v != PLAIN) is signal), None)
        for side in (found, theirs)
    ]
    if ends[0] is None or ends[1] is None:
        return "-"
    return f"{ends[0]['microseconds'] / ends[1]['microseconds']:.3f}"
