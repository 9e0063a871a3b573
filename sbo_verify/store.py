"""Where a run lies on disk, and how it is written and read again.

`<out>/<protocol>/<UTC time>-<commit>[-dirty]/` holds

    settings.json   before anything runs; written aside and renamed into place
    raw.jsonl       during the run; one record a line, one append a record, any number of processes
    verdict.jsonl   after the run; written aside and renamed into place

so that a crash loses at most the record that was being written. A run that is kept for good may
have its raw records packed, as raw.jsonl.gz; it is read all the same. A line that cannot be read
because its write was cut short is listed (`Run.torn_lines`) and never passed over in silence; a
line that is whole but not a record of this version is an error that names it.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, Self

from sbo_verify.record import (
    FORMAT_VERSION,
    CodeReading,
    Fault,
    Launch,
    LiveLaunch,
    ModelReading,
    Record,
    RecordError,
    RowVerdict,
    Settings,
    Summary,
)

SETTINGS_FILE = "settings.json"
RAW_FILE = "raw.jsonl"
VERDICT_FILE = "verdict.jsonl"
COMMIT_LENGTH = 12

_RAW_KINDS: dict[str, type[Record]] = {
    item.kind: item for item in (ModelReading, CodeReading, Launch, LiveLaunch)
}
_VERDICT_KINDS: dict[str, type[Record]] = {item.kind: item for item in (RowVerdict, Summary)}


class StoreError(Exception):
    """A run that cannot be written or read; says what was tried and what to do."""


@dataclass(frozen=True, kw_only=True)
class TornLine:
    """A line whose write was cut short: its record is lost. `number` counts from 1."""

    file: str
    number: int
    length_bytes: int
    last: bool

    def __str__(self) -> str:
        where = "the last line, " if self.last else ""
        return (
            f"{self.file} line {self.number} ({where}{self.length_bytes} bytes) is torn: "
            "its record is lost"
        )


@dataclass(frozen=True, kw_only=True)
class Raw:
    """Everything that raw.jsonl holds, each list in the order of writing."""

    code_readings: list[CodeReading]
    launches: list[Launch]
    torn_lines: list[TornLine]
    model_readings: list[ModelReading]


@dataclass(frozen=True)
class Run:
    """One run on disk. Made by `create` or `open`; safe to use from several processes at once."""

    path: Path
    settings: Settings

    @classmethod
    def create(cls, out: Path, settings: Settings) -> Self:
        """Make the folder of a new run below `out` and write its settings.

        Raises `StoreError` when `out` cannot be written or the settings have no place there, so
        that a run is refused before anything is launched.
        """
        if settings.format_version != FORMAT_VERSION:
            message = (
                f"settings of format version {settings.format_version} cannot be written: this "
                f"version writes {FORMAT_VERSION}"
            )
            raise StoreError(message)
        parent, name = out / settings.protocol, _folder_name(settings)
        try:
            parent.mkdir(parents=True, exist_ok=True)
            path = _fresh_folder(parent, name)
            _write_whole(path / SETTINGS_FILE, [settings])
            os.close(os.open(path / RAW_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644))
        except OSError as error:
            message = (
                f"cannot make a run folder below {parent}: {error.strerror}; nothing was "
                "launched; name an output folder that can be written"
            )
            raise StoreError(message) from error
        return cls(path, settings)

    @classmethod
    def open(cls, path: Path) -> Self:
        """The run in the folder `path`; raises `StoreError` when there is none to be read."""
        if not path.is_dir():
            fault = "is not a folder" if path.exists() else "does not exist"
            message = f"{path} {fault}; name the folder of one run (it holds {SETTINGS_FILE})"
            raise StoreError(message)
        file = path / SETTINGS_FILE
        if not file.is_file():
            found = [str(run) for run in runs_below(path)]
            hint = f"runs below it: {', '.join(found)}" if found else "there is no run below it"
            message = f"{path} is not the folder of a run, it has no {SETTINGS_FILE}; {hint}"
            raise StoreError(message)
        data = _object(_read_bytes(file))
        if data is None:
            message = f"{file} is not a JSON object; this run cannot be read"
            raise StoreError(message)
        if data.get("format_version") != FORMAT_VERSION:
            message = (
                f"{file} has format version {data.get('format_version')!r}, this version reads "
                f"{FORMAT_VERSION}; read the run with the commit that wrote it "
                f"({data.get('commit', 'not recorded')})"
            )
            raise StoreError(message)
        try:
            return cls(path, Settings.from_json(data))
        except RecordError as error:
            message = f"{file}: {error}"
            raise StoreError(message) from error

    def append(self, record: ModelReading | CodeReading | Launch) -> None:
        """Add one record to raw.jsonl, in one write; raises `StoreError` when it cannot.

        With O_APPEND the kernel places every write behind all earlier ones, whichever process
        made them, so that lines of several processes do not mix.
        """
        file, line = self.path / RAW_FILE, _line(record)
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                # A torn line must not swallow the record after it.
                line = line if _ends_whole(descriptor) else b"\n" + line
                written = os.write(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError as error:
            message = f"cannot append to {file}: {error.strerror}; the record is not kept"
            raise StoreError(message) from error
        if written != len(line):
            message = (
                f"only {written} of {len(line)} bytes of a record went into {file}; is the disk "
                "full? The record is not kept"
            )
            raise StoreError(message)

    def finish(self, verdicts: Sequence[RowVerdict], summary: Summary) -> None:
        """Write verdict.jsonl whole, the summary last; replaces an earlier one."""
        file = self.path / VERDICT_FILE
        try:
            _write_whole(file, [*verdicts, summary])
        except OSError as error:
            message = (
                f"cannot write {file}: {error.strerror}; the raw records are kept, and the "
                "verdict can be made from them again"
            )
            raise StoreError(message) from error

    def raw(self) -> Raw:
        """All records of raw.jsonl and the lines that were torn; raises `StoreError`."""
        found = Raw(code_readings=[], launches=[], torn_lines=[], model_readings=[])
        for item in _records(self.path / RAW_FILE, _RAW_KINDS):
            if isinstance(item, TornLine):
                found.torn_lines.append(item)
            elif isinstance(item, Launch):
                found.launches.append(item)
            elif isinstance(item, CodeReading):
                found.code_readings.append(item)
            elif isinstance(item, ModelReading):
                found.model_readings.append(item)
        return found

    def launches(self) -> list[Launch]:
        """The launches in the order in which they were written."""
        return self.raw().launches

    def code_readings(self) -> list[CodeReading]:
        """The readings of compiled code in the order in which they were written."""
        return self.raw().code_readings

    @property
    def torn_lines(self) -> list[TornLine]:
        """The lines of raw.jsonl whose write was cut short; each of them lost a record."""
        return self.raw().torn_lines

    @property
    def faults(self) -> list[tuple[str, Fault]]:
        """Row name and fault of every launch that ended in one, in the order of writing."""
        return [(each.row, Fault(**each.fault)) for each in self.launches() if each.fault]

    def verdict(self) -> tuple[list[RowVerdict], Summary] | None:
        """What the run itself concluded; None when it ended before its verdict."""
        file = self.path / VERDICT_FILE
        if not file.exists():
            return None
        rows: list[RowVerdict] = []
        summaries: list[Summary] = []
        for item in _records(file, _VERDICT_KINDS):
            if isinstance(item, RowVerdict):
                rows.append(item)
            elif isinstance(item, Summary):
                summaries.append(item)
            else:
                # Renamed into place whole, so that only a later hand can have cut it.
                message = f"{item}; the verdict can be made again from the raw records"
                raise StoreError(message)
        if len(summaries) != 1:
            message = f"{file} has {len(summaries)} summaries instead of one"
            raise StoreError(message)
        return rows, summaries[0]


def runs_below(out: Path) -> list[Path]:
    """The run folders at or below `out` (`<out>/<protocol>/<run>`), oldest first."""
    patterns = ("", "*/", "*/*/")
    found = {file.parent for depth in patterns for file in out.glob(depth + SETTINGS_FILE)}
    return sorted(found, key=lambda run: (run.name, run))


def _folder_name(settings: Settings) -> str:
    try:
        started = datetime.fromisoformat(settings.started)
    except ValueError:
        _refuse_start(settings.started)
    if started.tzinfo is None:
        _refuse_start(settings.started)
    commit = settings.commit[:COMMIT_LENGTH] or "no_commit"
    if not commit.replace("_", "").isalnum():
        message = f"commit {settings.commit!r} cannot name a folder: give a hash or nothing"
        raise StoreError(message)
    dirty = "-dirty" if settings.dirty else ""
    return f"{started.astimezone(UTC):%Y%m%dT%H%M%SZ}-{commit}{dirty}"


def _refuse_start(started: str) -> NoReturn:
    message = (
        f"start time {started!r} cannot name a folder: give an ISO 8601 time with its offset, "
        "as 2026-01-31T12:00:00+00:00"
    )
    raise StoreError(message)


def _fresh_folder(parent: Path, name: str) -> Path:
    """A folder that no other run has: `name`, or `name-2` and so on within the same second."""
    path, count = parent / name, 1
    while True:
        try:
            # mkdir is atomic: of two runs that ask for one name, one gets the error.
            path.mkdir()
        except FileExistsError:
            count += 1
            path = parent / f"{name}-{count}"
        else:
            return path


def _line(record: Record) -> bytes:
    # NaN and infinity are not JSON: no other reader would take them.
    text = json.dumps(record.to_json(), allow_nan=False, separators=(",", ":"))
    return text.encode() + b"\n"


def _write_whole(file: Path, records: Sequence[Record]) -> None:
    """Write aside, then rename, so that a reader sees all of it or nothing."""
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with aside.open("wb") as stream:
            stream.write(b"".join(_line(record) for record in records))
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)


def _ends_whole(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"


def _read_bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        message = f"cannot read {file}: {error.strerror}"
        raise StoreError(message) from error


def _kept_bytes(file: Path) -> bytes:
    """The file's bytes, or those of its gzip-compressed form beside it; none where neither is."""
    if file.exists():
        return _read_bytes(file)
    packed = file.with_name(f"{file.name}.gz")
    if not packed.exists():
        return b""
    try:
        return gzip.decompress(_read_bytes(packed))
    except (OSError, EOFError, zlib.error) as error:
        message = f"cannot unpack {packed}: {error}"
        raise StoreError(message) from error


def _object(text: bytes) -> dict[str, Any] | None:
    """The JSON object in `text`; None when it is no whole JSON object."""
    try:
        data = json.loads(text)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def _records(file: Path, kinds: dict[str, type[Record]]) -> Iterator[Record | TornLine]:
    lines = _kept_bytes(file).split(b"\n")
    filled = [(number, line) for number, line in enumerate(lines, start=1) if line]
    for number, line in filled:
        data = _object(line)
        if data is None:
            last = number == filled[-1][0]
            yield TornLine(file=file.name, number=number, length_bytes=len(line), last=last)
            continue
        kind = kinds.get(str(data.get("kind")))
        if kind is None:
            known = ", ".join(repr(name) for name in kinds)
            message = (
                f"{file} line {number}: unknown kind {data.get('kind')!r}; this version reads "
                f"{known} there"
            )
            raise StoreError(message)
        try:
            yield kind.from_json(data)
        except RecordError as error:
            message = f"{file} line {number}: {error}"
            raise StoreError(message) from error
