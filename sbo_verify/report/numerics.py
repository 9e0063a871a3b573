"""A measurement of the GEMM's errors as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sbo_verify.report.benchmarks import made_by
from sbo_verify.report.markdown_words import code_span, escape, markdown_table

SHAPE = ("groups", "m", "n", "k")
# Field of a record, and heading.
FIGURES = {
    "norm_wise": "norm-wise",
    "componentwise": "componentwise",
    "ulps": "ulps",
    "ulps_of_99_percent": "ulps, 99 %",
    "misplaced": "misplaced",
    "touched": "touched",
}
COLUMNS = ("inputs", "producer", *FIGURES.values(), "differing")
EXPLAINED = (
    "norm-wise: the norm of D - X over that of X, the FP64 product of the dequantized inputs",
    "componentwise: the largest |D - X| over the product of the absolute values",
    "ulps: the largest |D - X| in units of bfloat16's last place at X, and that of 99 % of all",
    "misplaced: elements that are finite where X is not, or the reverse",
    "touched: elements of rows from masked_m on that were written",
    "differing: elements of the other rows that are not to the bit those of the first producer",
)
Cell = Mapping[str, Any]


def numerics_text(record: Mapping[str, Any]) -> str:
    """The whole document; `record` is what `sbo-verify numerics --json` prints.

    Raises `KeyError` where it is something else.
    """
    settings = record["settings"]
    found = record["shortcomings"]
    shapes: dict[str, list[Cell]] = {}
    for cell in record["cells"]:
        masked = ", ".join(map(str, cell["masked"]))
        name = f"{'x'.join(str(cell[size]) for size in SHAPE)}, {masked} rows count"
        shapes.setdefault(name, []).append(cell)
    parts = [
        "# The signal GEMM's errors",
        f"Made by {code_span(settings['command'])}.",
        f"{escape(made_by(settings))}.",
        "\n".join(f"- {escape(line)}" for line in EXPLAINED),
        "## Inputs",
        "\n".join(f"- {code_span(name)}: {escape(what)}" for name, what in record["kinds"].items()),
    ]
    for name, cells in shapes.items():
        parts += [f"## {name}", _table(cells)]
    if refusals := _refusals(record["cells"]):
        parts += ["## Refused", _list(refusals)]
    parts += ["## What speaks against the GEMM", _list(found) if found else "Nothing."]
    return "\n\n".join(parts) + "\n"


def _table(cells: Sequence[Cell]) -> str:
    rows = []
    for cell in cells:
        errors = cell["errors"]
        figures = ["-"] * (len(FIGURES) + 1)
        if errors is not None:
            figures = [*(_figure(errors[name]) for name in FIGURES), str(cell["differing"])]
        rows.append([cell["inputs"], code_span(cell["producer"], in_table=True), *figures])
    return markdown_table(COLUMNS, rows, COLUMNS[2:])


def _figure(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:.4g}"


def _refusals(cells: Sequence[Cell]) -> list[str]:
    return list(dict.fromkeys(cell["refusal"] for cell in cells if cell["refusal"]))


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {escape(line)}" for line in lines)
