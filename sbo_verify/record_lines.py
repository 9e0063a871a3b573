"""Lines of records: how one is written, and how a file of them is read, torn lines named."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sbo_verify.record import Record, RecordError

# What every line begins with.
_OPENING = b'{"kind":'
# How JSON spells half of a character beyond the first 65,536; two in a row are one of those.
_HALF_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")


class StoreError(Exception):
    """A run that cannot be written or read; says what was tried and what to do."""


class DiskError(StoreError):
    """A run that could be written on no longer; says what became of the record at hand."""


@dataclass(frozen=True, kw_only=True)
class TornLine:
    """A line whose write was cut short: its record is lost. `number` counts from 1."""

    file: str
    number: int
    text: bytes
    last: bool

    @property
    def length_bytes(self) -> int:
        """How much of the line was written."""
        return len(self.text)

    def __str__(self) -> str:
        where = "the last line, " if self.last else ""
        return (
            f"{self.file} line {self.number} ({where}{self.length_bytes} bytes) is torn: "
            "its record is lost"
        )


def line_of(record: Record) -> bytes:
    """The record as one line of JSON, with its end; raises `ValueError` for NaN or infinity."""
    # NaN and infinity are not JSON: no other reader would take them.
    text = json.dumps(record.to_json(), allow_nan=False, separators=(",", ":"))
    return text.encode() + b"\n"


def read_bytes(file: Path) -> bytes:
    """All of a file; raises `StoreError` where it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        message = f"cannot read {file}: {error.strerror}"
        raise StoreError(message) from error


def _kept_bytes(file: Path) -> bytes:
    """The file's bytes, or those of its gzip-compressed form beside it; none where neither is."""
    if file.exists():
        return read_bytes(file)
    packed = file.with_name(f"{file.name}.gz")
    if not packed.exists():
        return b""
    try:
        return gzip.decompress(read_bytes(packed))
    except (OSError, EOFError, zlib.error) as error:
        message = f"cannot unpack {packed}: {error}"
        raise StoreError(message) from error


def json_object(text: bytes) -> dict[str, Any] | None:
    """The JSON object in `text`; None when it is no whole JSON object.

    Half a character, which no text can be written with, is read as a question mark.
    """
    try:
        data = json.loads(text)
        if _HALF_CHARACTER.search(text):
            whole = json.dumps(data, ensure_ascii=False).encode("utf-8", "replace")
            data = json.loads(whole)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def records_in(
    file: Path, kinds: Mapping[str, type[Record]], holding: bytes = b""
) -> Iterator[Record | TornLine]:
    """The records of a file, or of its packed form beside it, and its torn lines, in order.

    Lines without the text `holding` are not looked at. Raises `StoreError` for a file that cannot
    be read and for a whole line that is no record.
    """
    lines = _kept_bytes(file).split(b"\n")
    filled = [(n, line) for n, line in enumerate(lines, start=1) if line and holding in line]
    for number, line in filled:
        data, torn = json_object(line), b""
        if data is None:
            data, torn = _swallowed(line, kinds)
            last = number == filled[-1][0]
            yield TornLine(file=file.name, number=number, text=torn, last=last)
        if data is not None:
            yield _record(data, kinds, f"{file} line {number}")


def _swallowed(
    line: bytes, kinds: Mapping[str, type[Record]]
) -> tuple[dict[str, Any] | None, bytes]:
    """The record behind a torn one in the same line, if there is one, and the torn part.

    Of two processes one can find the file whole, and write behind what the other one is killed in
    the middle of.
    """
    start = line.find(_OPENING, 1)
    while start > 0:
        data = json_object(line[start:])
        if data is not None and str(data["kind"]) in kinds:
            return data, line[:start]
        start = line.find(_OPENING, start + 1)
    return None, line


def _record(data: dict[str, Any], kinds: Mapping[str, type[Record]], where: str) -> Record:
    kind = kinds.get(str(data.get("kind")))
    if kind is None:
        known = ", ".join(repr(name) for name in kinds)
        message = f"{where}: unknown kind {data.get('kind')!r}; this version reads {known} there"
        raise StoreError(message)
    try:
        return kind.from_json(data)
    except RecordError as error:
        message = f"{where}: {error}"
        raise StoreError(message) from error
