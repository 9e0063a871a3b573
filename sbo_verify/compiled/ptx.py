"""PTX text of one kernel to a list of statements, labels and site markers, with line numbers.

This module knows how PTX is punctuated; which instructions matter, and what they are called, is
known to `vocabulary` alone. Source: PTX ISA 9.0, "Source Format" and "Statements".
"""

from __future__ import annotations

import re
from dataclasses import dataclass


class PtxError(ValueError):
    """PTX text that cannot be read as one kernel; the message gives the line."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One instruction: `predicate` is its guard as written (`@!%p1`), or empty."""

    line: int
    mnemonic: str
    operands: str
    predicate: str


@dataclass(frozen=True, slots=True)
class Label:
    """A place that a branch can name."""

    line: int
    name: str


@dataclass(frozen=True, slots=True)
class Marker:
    """A comment `// sbo:begin SITE` or `// sbo:end SITE` that a kernel left in its PTX."""

    line: int
    begins: bool
    site: str


Item = Statement | Label | Marker

_MARKER = re.compile(r"//\s*sbo:(\S*)\s*(.*)")
_LABEL = re.compile(r"([A-Za-z_$%][\w$]*):(?!:)")
_STATEMENT = re.compile(r"(@!?%?[\w$]+\s+)?([a-z][\w.:]*)\s*(.*)", re.DOTALL)
_ENTRY = re.compile(r"\.entry\s+([\w$]+)")
# A call or a second function would hide instructions from a reader of the one body.
_FUNCTION = re.compile(r"^\s*(\.visible\s+|\.weak\s+|\.extern\s+)*\.func\b")


def scan(text: str) -> list[Item]:
    """The statements, labels and markers of the only kernel in `text`, in the order of the text.

    Raises `PtxError` for text with no kernel, with several, with functions beside it, with a body
    or a statement that does not end, and for a marker that is not well written.
    """
    lines = text.splitlines()
    first = _first_line_of_body(lines)
    return _Body(lines, first).items()


def _first_line_of_body(lines: list[str]) -> int:
    """Index of the line that opens the only kernel's body."""
    for number, line in enumerate(lines, 1):
        if _FUNCTION.match(line):
            message = f"PTX line {number}: a function beside the kernel is not read: {line.strip()}"
            raise PtxError(message)
    entries = [index for index, line in enumerate(lines) if _ENTRY.search(line)]
    if len(entries) != 1:
        message = f"expected PTX of one kernel, found {len(entries)} .entry directives"
        raise PtxError(message)
    for index in range(entries[0], len(lines)):
        if lines[index].strip().startswith("{"):
            return index
    message = f"PTX line {entries[0] + 1}: the kernel has no body"
    raise PtxError(message)


class _Body:
    """Reads from the opening brace of a body to the one that closes it."""

    def __init__(self, lines: list[str], first: int) -> None:
        self._lines = lines
        self._first = first
        self._depth = 0
        self._pending = ""
        self._pending_line = 0
        self._items: list[Item] = []

    def items(self) -> list[Item]:
        for index in range(self._first, len(self._lines)):
            self._read_line(index + 1, self._lines[index])
            if self._depth == 0:
                return self._items
        message = f"PTX line {self._first + 1}: the kernel's body does not end"
        raise PtxError(message)

    def _read_line(self, number: int, line: str) -> None:
        code, comment, rest = line.partition("//")
        if comment and (marker := _marker(number, comment + rest)) is not None:
            self._items.append(marker)
        self._read_code(number, code.strip())

    def _read_code(self, number: int, code: str) -> None:
        """Consumes what stands on one line: braces, labels, directives, pieces of statements."""
        while code:
            if self._pending:
                code = self._take_statement(number, code)
            elif code[0] in "{}":
                self._depth += 1 if code[0] == "{" else -1
                code = code[1:].lstrip()
                if self._depth == 0:
                    return
            elif code[0] == ".":
                # A directive fills its line: .loc and .maxntid end without a semicolon.
                return
            elif (label := _LABEL.match(code)) is not None:
                self._items.append(Label(number, label[1]))
                code = code[label.end() :].lstrip()
            else:
                self._pending_line = number
                code = self._take_statement(number, code)

    def _take_statement(self, number: int, code: str) -> str:
        """Adds `code` to the statement that is being read; returns what follows its semicolon."""
        piece, end, rest = code.partition(";")
        self._pending = f"{self._pending} {piece}".strip()
        if not end:
            return ""
        match = _STATEMENT.fullmatch(self._pending)
        if match is None:
            message = f"PTX line {number}: not an instruction: {self._pending!r}"
            raise PtxError(message)
        guard, mnemonic, operands = match.groups()
        self._items.append(
            Statement(self._pending_line, mnemonic, operands.strip(), (guard or "").strip())
        )
        self._pending = ""
        return rest.lstrip()


def _marker(number: int, comment: str) -> Marker | None:
    match = _MARKER.match(comment)
    if match is None:
        return None
    what, site = match[1], match[2].strip()
    if what not in {"begin", "end"} or not site:
        message = f"PTX line {number}: a marker is `sbo:begin SITE` or `sbo:end SITE`: {comment!r}"
        raise PtxError(message)
    return Marker(number, what == "begin", site)
