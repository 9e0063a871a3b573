"""Texts set in Markdown such that they are shown as they are written."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

# What Markdown could take for markup inside a line; an underscore inside a word is none.
_MARKUP = re.compile(r"[\\`*<>\[\]|#~&$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_BREAKS = re.compile(r"\s*[\r\n]+\s*")
# What would make a list of a line that begins with it: a dash or a plus, a number with a dot.
_LIST_START = re.compile(r"^(\d*)([-+.)])(?=\s|$)")
_BACKTICKS = re.compile(r"`+")


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


def marked_word(word: str, orders: bool, *, in_table: bool = False) -> str:  # noqa: FBT001 - a pair
    """An instruction in a code span, in bold where it orders."""
    span = code_span(word, in_table=in_table)
    return f"**{span}**" if orders else span


def fenced(lines: Sequence[str]) -> str:
    """Lines as they are, each on one line, in a fence longer than any in them."""
    kept = [" ".join(line.splitlines()) for line in lines]
    longest = max((len(run) for line in kept for run in _BACKTICKS.findall(line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}text", *kept, fence])


def markdown_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], figures: Collection[str]
) -> str:
    """A table of cells that are escaped already; the columns in `figures` are set right."""
    rules = ["---:" if column in figures else "---" for column in columns]
    lines = [list(columns), rules, *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def bullets(lines: Iterable[str]) -> str:
    """A list, its lines escaped."""
    return "\n".join(f"- {escape(line)}" for line in lines)
