"""The text of a litmus file, read piece by piece with line and column for every complaint."""

from __future__ import annotations

import re
from typing import NoReturn

_BLANK = re.compile(r"(?:\s|\(\*.*?\*\)|//[^\n]*)*", re.DOTALL)


class LitmusError(ValueError):
    """A malformed litmus file: the message gives file, line, column and what was expected."""

    def __init__(self, file: str, line: int, column: int, expected: str, found: str) -> None:
        self.file, self.line, self.column = file, line, column
        self.expected, self.found = expected, found
        super().__init__(f"{file}:{line}:{column}: expected {expected}, found {found}")


class Scanner:
    """A stretch of a file, `start` to `end`, and how far it has been read."""

    def __init__(self, file: str, text: str, start: int = 0, end: int | None = None) -> None:
        self.file = file
        self.text = text
        self.position = start
        self.end = len(text) if end is None else end

    def part(self, start: int, end: int) -> Scanner:
        """A scanner for a part of the same file."""
        return Scanner(self.file, self.text, start, end)

    def skip_blank(self) -> None:
        """Skip white space, `(* comments *)` and `// comments`."""
        blank = _BLANK.match(self.text, self.position, self.end)
        if blank is not None:
            self.position = blank.end()

    def at_end(self) -> bool:
        """True where nothing but blanks is left."""
        self.skip_blank()
        return self.position >= self.end

    def peek(self, pattern: str) -> str | None:
        """What `pattern` matches behind the blanks, without reading it."""
        self.skip_blank()
        found = re.compile(pattern).match(self.text, self.position, self.end)
        return None if found is None else found.group()

    def accept(self, pattern: str) -> str | None:
        """What `pattern` matches behind the blanks, read; None where it does not match."""
        found = self.peek(pattern)
        if found is not None:
            self.position += len(found)
        return found

    def expect(self, pattern: str, expected: str) -> str:
        """What `pattern` matches, read; else a `LitmusError` that says what was expected."""
        found = self.accept(pattern)
        if found is None:
            self.fail(expected)
        return found

    def integer(self, expected: str) -> int:
        """An integer, decimal or hexadecimal, read."""
        return int(self.expect(r"-?(?:0x[0-9a-fA-F]+|[0-9]+)", expected), 0)

    def finish(self, expected: str) -> None:
        """Complain about whatever is left."""
        if not self.at_end():
            self.fail(expected)

    def fail(self, expected: str, position: int | None = None) -> NoReturn:
        """Raise the complaint that here, or behind the blanks at `position`, this was expected."""
        if position is not None:
            self.position = position
        self.skip_blank()
        position = self.position
        line = self.text.count("\n", 0, position) + 1
        column = position - (self.text.rfind("\n", 0, position) + 1) + 1
        rest = self.text[position : self.end].split("\n", 1)[0].strip()
        word = re.match(r"[^\s,|;]+|\S", rest)
        found = repr(word.group()) if word else "the end of the line or file"
        raise LitmusError(self.file, line, column, expected, found)
