"""Where a run lies on disk, and how it is written and read again.

`<out>/<protocol>/<UTC time>-<commit>[-dirty]/` holds

    settings.json   before anything runs; written aside and renamed into place
    raw.jsonl       during the run; one record a line, one append a record, any number of processes
    verdict.jsonl   after the run; written aside and renamed into place
    reserve         from settings to verdict, room for a full disk; see `disk`

so that a crash loses at most the record that was being written. A run that is kept for good may
have its raw records packed, as raw.jsonl.gz; it is read all the same. A line that cannot be read
because its write was cut short is listed (`Run.torn_lines`) and never passed over in silence; a
line that is whole but not a record of this version is an error that names it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import NoReturn, Self

from sbo_verify import disk
from sbo_verify.record import (
    FORMAT_VERSION,
    CodeReading,
    Fault,
    Footprint,
    Launch,
    LaunchSum,
    LiveLaunch,
    ModelReading,
    Record,
    RecordError,
    RowVerdict,
    Settings,
    Summary,
)
from sbo_verify.record_lines import (
    DiskError,
    StoreError,
    TornLine,
    json_object,
    line_of,
    read_bytes,
    records_in,
)

__all__ = [
    "DiskError",
    "Raw",
    "RawRecord",
    "Run",
    "StoreError",
    "TornLine",
    "runs_below",
]

SETTINGS_FILE = "settings.json"
RAW_FILE = "raw.jsonl"
VERDICT_FILE = "verdict.jsonl"
COMMIT_LENGTH = 12

RawRecord = ModelReading | CodeReading | Launch | Footprint
_RAW_KINDS: dict[str, type[Record]] = {
    item.kind: item
    for item in (ModelReading, CodeReading, Launch, LiveLaunch, LaunchSum, Footprint)
}
_VERDICT_KINDS: dict[str, type[Record]] = {item.kind: item for item in (RowVerdict, Summary)}


@dataclass(frozen=True, kw_only=True)
class Raw:
    """Everything that raw.jsonl holds, each list in the order of writing."""

    code_readings: list[CodeReading]
    launches: list[Launch]
    torn_lines: list[TornLine]
    model_readings: list[ModelReading]
    footprints: list[Footprint]


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
        path: Path | None = None
        try:
            parent.mkdir(parents=True, exist_ok=True)
            path = _fresh_folder(parent, name)
            disk.make_reserve(path)
            disk.write_whole(path / SETTINGS_FILE, line_of(settings))
            os.close(os.open(path / RAW_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644))
        except OSError as error:
            if path is not None:
                # What little room the disk has is not for a run that is none.
                shutil.rmtree(path, ignore_errors=True)
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
        data = json_object(read_bytes(file))
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

    def append(self, record: RawRecord) -> None:
        """Add one record to raw.jsonl, whole or not at all.

        Raises `DiskError`, and says whether the record is kept: where the disk is full the reserve
        makes room for it, and the run must end all the same.
        """
        file, line = self.path / RAW_FILE, line_of(record)
        try:
            disk.append_line(file, line)
        except OSError as error:
            self._append_to_full_disk(line, error)

    def _append_to_full_disk(self, line: bytes, error: OSError) -> NoReturn:
        file = self.path / RAW_FILE
        if disk.is_full(error):
            disk.spend_reserve(self.path)
            try:
                disk.append_line(file, line)
            except OSError:
                pass
            else:
                message = (
                    f"cannot go on writing {file}: {error.strerror}; the record is kept, in the "
                    "room that was reserved; the run ends here"
                )
                raise DiskError(message) from error
        disk.mark_lost(self.path)
        message = f"cannot append to {file}: {error.strerror}; the record is not kept"
        raise DiskError(message) from error

    def finish(self, verdicts: Sequence[RowVerdict], summary: Summary) -> None:
        """Write verdict.jsonl whole, the summary last; replaces an earlier one.

        Raises `DiskError` where it cannot.
        """
        file = self.path / VERDICT_FILE
        try:
            disk.drop_reserve(self.path)
            disk.write_whole(file, b"".join(line_of(each) for each in [*verdicts, summary]))
        except OSError as error:
            message = (
                f"cannot write {file}: {error.strerror}; the raw records are kept, and the "
                "verdict can be made from them again"
            )
            raise DiskError(message) from error

    def rewrite(self, folded: Callable[[list[RawRecord]], list[RawRecord]]) -> None:
        """Replace the records of raw.jsonl by what `folded` makes of them, all at once.

        For a run that no other process writes (`alone`). Torn lines stay as they are, in front.
        Raises `StoreError`.
        """
        file = self.path / RAW_FILE
        found = list(records_in(file, _RAW_KINDS))
        records = [each for each in found if isinstance(each, RawRecord)]
        torn = [each.text + b"\n" for each in found if isinstance(each, TornLine)]
        text = b"".join([*torn, *(line_of(each) for each in folded(records))])
        try:
            disk.write_whole(file, text)
        except OSError as error:
            message = f"cannot replace {file}: {error.strerror}; what it held is kept"
            raise DiskError(message) from error

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes that ask for the same out of this run, until this one ends.

        Takes the reserve again where an earlier process gave it up. Raises `StoreError` where
        another process holds the run, `DiskError` where there is no room for the reserve.
        """
        with FileIO(self.path / SETTINGS_FILE) as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                message = f"another process is at work in {self.path}: wait for it, or end it"
                raise StoreError(message) from error
            try:
                disk.make_reserve(self.path)
            except OSError as error:
                message = f"no room in {self.path}: {error.strerror}; nothing was launched"
                raise DiskError(message) from error
            yield

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written behind the settings, not even in part."""
        file = self.path / RAW_FILE
        return not (file.exists() and file.stat().st_size)

    @property
    def losses(self) -> list[str]:
        """What is known to be lost of this run's records, in sentences; none of a whole run."""
        return self.losses_by(self.torn_lines)

    def losses_by(self, torn_lines: Sequence[TornLine]) -> list[str]:
        """The same for who has read the records already."""
        lost = [str(line) for line in torn_lines]
        if disk.has_lost(self.path):
            lost.append("the disk was full, and a record could not be kept")
        return lost

    @property
    def cut_short(self) -> bool:
        """Whether a full disk ended the work on this run, though what was recorded is kept."""
        return disk.was_full(self.path) or disk.has_lost(self.path)

    def raw(self) -> Raw:
        """All records of raw.jsonl and the lines that were torn; raises `StoreError`."""
        found = Raw(code_readings=[], launches=[], torn_lines=[], model_readings=[], footprints=[])
        for item in records_in(self.path / RAW_FILE, _RAW_KINDS):
            if isinstance(item, TornLine):
                found.torn_lines.append(item)
            elif isinstance(item, Launch):
                found.launches.append(item)
            elif isinstance(item, CodeReading):
                found.code_readings.append(item)
            elif isinstance(item, ModelReading):
                found.model_readings.append(item)
            elif isinstance(item, Footprint):
                found.footprints.append(item)
        return found

    def launches(self) -> list[Launch]:
        """The launches in the order in which they were written."""
        return self.raw().launches

    def launches_of(self, row: str) -> list[Launch]:
        """One row's launches in the order of writing, without reading the other rows' records."""
        holding = json.dumps(row).encode()
        found = records_in(self.path / RAW_FILE, _RAW_KINDS, holding)
        return [each for each in found if isinstance(each, Launch) and each.row == row]

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
        for item in records_in(file, _VERDICT_KINDS):
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
