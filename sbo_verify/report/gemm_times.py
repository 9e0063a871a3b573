"""A recorded benchmark of the signal GEMM as Markdown: times, limits, goals, what signals cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from sbo_verify.report.benchmarks import method_list, opening, spread_text
from sbo_verify.report.markdown_words import code_span, escape, markdown_table

PLAIN, SIGNAL = "plain", "signal"
# The hand-over that the public library's signal is held against.
PUBLISHED = "full_wait-atom_release"
# More variants than this stand below each other.
COLUMNS = 8
SHAPE = ("groups", "m", "n", "k")
SHAPE_COLUMN = "groups x m x n x k"
EXPLAINED = (
    "Microseconds of kernel time, every group full: the median of the repeats, ± half of their "
    "range; behind the slash, what the signal adds to the same producer's plain time. Every "
    "product was held against an FP64 product before it was timed; one marked † is wrong."
)
LIBRARIES = (
    "`cublaslt` is one matrix at a time: with several groups one launch after another, their "
    "kernels' times added. With per-tensor scales it is spared the scales of every 128 of K, and "
    "adds all of K in the tensor cores, whose sums hold fewer bits; with block scales its problem "
    "is the GEMM's own. `torch.scaled_grouped_mm` is one launch of a CUTLASS kernel, with scales "
    "of rows and columns alone."
)
Cell = Mapping[str, Any]


def gemm_times_text(record: Mapping[str, Any]) -> str:
    """The whole document; `record` is what `sbo-verify bench gemm --json` printed.

    Raises `KeyError` where it is something else.
    """
    settings, cells, method = record["settings"], record["cells"], record["method"]
    parts = [
        *opening(
            "The signal GEMM's time, and what its signal costs",
            "sbo-verify bench gemm --record FILE",
            settings,
        ),
        method_list(method),
        EXPLAINED,
    ]
    producers = list(dict.fromkeys(cell["producer"] for cell in cells))
    for producer in producers:
        mine = [cell for cell in cells if cell["producer"] == producer]
        parts += [f"## {code_span(producer)}", _table(mine), _errors(mine)]
    if len(producers) > 1:
        parts += ["## Beside each other", _ratios(cells, producers), LIBRARIES]
        parts += [_left_out(record["left_out"])] if record["left_out"] else []
    if record["goals"]:
        parts += ["## Limits", _limits(record["limits"]), _of_limits(record["goals"])]
        parts += ["## Goals", "\n".join(f"- {line}" for line in goal_lines(record["goals"]))]
    return "\n\n".join(parts) + "\n"


def _by_shape(cells: Sequence[Cell]) -> dict[str, dict[str, Cell]]:
    """Shape in words to variant to cell, in the order of the record."""
    shapes: dict[str, dict[str, Cell]] = {}
    for cell in cells:
        shapes.setdefault(_shape(cell), {})[cell["variant"]] = cell
    return shapes


def _shape(cell: Cell) -> str:
    return "x".join(str(cell[size]) for size in SHAPE)


def _table(cells: Sequence[Cell]) -> str:
    variants = list(dict.fromkeys(cell["variant"] for cell in cells))
    shapes = _by_shape(cells)
    if len(variants) > COLUMNS:
        return _table_of_many(variants, shapes)
    columns = [SHAPE_COLUMN, "tile", *map(code_span, variants)]
    rows = []
    for name, found in shapes.items():
        rows.append([name, _tile(found), *(_time(found.get(v)) for v in variants)])
    return markdown_table(columns, rows, columns[2:])


def _table_of_many(variants: Sequence[str], shapes: Mapping[str, Mapping[str, Cell]]) -> str:
    """Variants as rows, cheapest signal first, so that the table is read down and not across."""
    columns = ["variant", *map(code_span, shapes)]
    rows = [["tile", *map(_tile, shapes.values())]]
    rows += [
        [code_span(variant), *(_time(found.get(variant)) for found in shapes.values())]
        for variant in sorted(variants, key=lambda each: _dearness(each, shapes))
    ]
    return markdown_table(columns, rows, columns[1:])


def _dearness(variant: str, shapes: Mapping[str, Mapping[str, Cell]]) -> float:
    """The median share that a signal adds; a producer's plain time comes first."""
    costs = [
        found[variant]["costs"] for found in shapes.values() if found.get(variant, {}).get("costs")
    ]
    return median(costs) if costs else float("-inf")


def _tile(found: Mapping[str, Cell]) -> str:
    return next(iter(found.values()))["kernel"] or "-"


def _time(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    wrong = "" if cell["product_is_right"] else " †"
    time = f"{cell['microseconds']:.1f} {spread_text(cell['repeats'])}{wrong}"
    return time if cell["costs"] is None else f"{time} / {100 * cell['costs']:+.1f} %"


def _errors(cells: Sequence[Cell]) -> str:
    """The largest error of what is right, and each that is not."""
    right = [cell["relative_error"] for cell in cells if cell["product_is_right"]]
    told = [f"Relative error of D, by its norm: at most {max(right):.1e}"] if right else []
    told += [
        f"{_shape(cell)}, {cell['variant']}: wrong, off by {cell['relative_error']:.2g}"
        for cell in cells
        if not cell["product_is_right"]
    ]
    return escape("; ".join(told)) + "."


def _ratios(cells: Sequence[Cell], producers: Sequence[str]) -> str:
    """The first producer's time over each other's.

    Its plain time over all without a signal, that of the published signal, or else of its first,
    over theirs.
    """
    own, *others = producers
    mine = _by_shape([cell for cell in cells if cell["producer"] == own])
    beside = list(
        dict.fromkeys((c["producer"], c["variant"]) for c in cells if c["producer"] in others)
    )
    columns = [SHAPE_COLUMN, *(f"{_against(v)} / {other}, {v}" for other, v in beside)]
    rows = []
    for name, found in mine.items():
        row = [name]
        for other, variant in beside:
            theirs = _by_shape([cell for cell in cells if cell["producer"] == other]).get(name, {})
            row.append(_ratio(found, theirs.get(variant)))
        rows.append(row)
    return markdown_table([escape(column) for column in columns], rows, [])


def _against(variant: str) -> str:
    return SIGNAL if variant == SIGNAL else PLAIN


def _ratio(found: Mapping[str, Cell], theirs: Cell | None) -> str:
    if theirs is None:
        return "-"
    signals = theirs["variant"] == SIGNAL
    mine = found.get(PUBLISHED) if signals else found.get(PLAIN)
    mine = mine or next((c for v, c in found.items() if (v != PLAIN) is signals), None)
    return "-" if mine is None else f"{mine['microseconds'] / theirs['microseconds']:.3f}"


def _left_out(reasons: Mapping[str, str]) -> str:
    lines = [f"- not measured: {escape(name)}: {escape(why)}" for name, why in reasons.items()]
    return "\n".join(lines)


def _limits(limits: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            escape(each["source"]),
            f"{each['bytes_copied'] / 1e12:.2f}",
            f"{each['bytes_read'] / 1e12:.2f}",
            f"{each['fp8_operations'] / 1e12:.0f}",
        ]
        for each in limits
    ]
    columns = ["limit", "copy, TB/s read and written", "sum, TB/s read", "FP8, TFLOP/s"]
    return markdown_table(columns, rows, columns[1:])


def _of_limits(goals: Sequence[Cell]) -> str:
    """The plain GEMM's share of each limit, and which limit it is."""
    columns = [SHAPE_COLUMN, "bound by", "of the datasheet's limit", "of the measured limit"]
    rows = [
        [
            _shape(goal),
            escape(goal["bound"]),
            f"{100 * goal['of_limit']:.0f} %",
            f"{100 * goal['of_measured_limit']:.0f} %",
        ]
        for goal in goals
    ]
    return markdown_table(columns, rows, columns[2:])


def goal_lines(goals: Sequence[Cell]) -> list[str]:
    """How many shapes reached each goal, and a line for each that was missed."""
    beside = sum(goal["plain_reached"] for goal in goals)
    signals = sum(goal["signal_reached"] for goal in goals)
    return [
        f"plain, faster than the producer beside it: {beside} of {len(goals)} shapes",
        f"a signal of at most 1 % by a sound variant: {signals} of {len(goals)} shapes",
        *(line for goal in goals for line in _missed(goal)),
    ]


def _missed(goal: Cell) -> list[str]:
    found = []
    if goal["plain_ratio"] is not None and not goal["plain_reached"]:
        found.append(
            f"{_shape(goal)}, plain: {goal['plain']:.1f} us are {goal['plain_ratio']:.3f} of the "
            f"time of {code_span(goal['beside'])}; bound by {goal['bound']}, at "
            f"{100 * goal['of_measured_limit']:.0f} % of what this GPU gave"
        )
    if goal["costs"] is not None and not goal["signal_reached"]:
        found.append(_dear_signal(goal))
    return found


def _dear_signal(goal: Cell) -> str:
    adds = (
        f"{_shape(goal)}, signal: the cheapest sound one, {code_span(goal['variant'])}, adds "
        f"{goal['adds']:.2f} us ({100 * goal['costs']:+.1f} %); 1 % of this shape is "
        f"{goal['plain'] / 100:.2f} us"
    )
    parts = [adds]
    if goal["relaxed_adds"] is not None:
        release = goal["adds"] - goal["relaxed_adds"]
        parts.append(
            f"without a release it is {goal['relaxed_adds']:.2f} us, so that waiting for the "
            f"stores is {release:.2f} us"
        )
    if goal["lone_adds"] is not None:
        parts.append(
            f"one tile alone on an idle GPU pays {goal['lone_adds']:.2f} us, and here there are "
            f"{goal['tiles']} tiles in {goal['waves']} waves: "
            + (
                "no more than the last tile's hand-over, which nothing hides"
                if goal["adds"] <= goal["lone_adds"]
                else f"{goal['adds'] - goal['lone_adds']:.2f} us more than the last tile's "
                "hand-over alone"
            )
        )
    return "; ".join(parts)
