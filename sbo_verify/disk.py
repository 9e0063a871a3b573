"""Bytes of a run on disk: appended whole or not at all, replaced whole, and room for the last ones.

A run keeps a reserve of disk space from its start. Where the disk is full, the reserve is given up,
so that the record at hand and the verdict still find room; an empty reserve then says so to
whoever reads the run. A record that found none leaves the file `record-lost`, which needs no room.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from io import FileIO
from pathlib import Path

RESERVE_FILE = "reserve"
LOST_FILE = "record-lost"
# A verdict over the whole catalogue takes some 50 KB, a launch's record with all witnesses 8 KB.
RESERVE_BYTES = 1 << 20
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def append_line(file: Path, line: bytes) -> None:
    """Add `line` behind all that `file` holds, in one write where the kernel lets it be one.

    With O_APPEND the kernel places every write behind all earlier ones, whichever process made
    them. The lock lets a write that was cut short be taken back, and is given up with the process;
    where the file system has none, a torn line stays, and readers name it. Raises `OSError`.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
    with FileIO(file, "a+", opener=lambda path, _flags: os.open(path, flags, 0o644)) as stream:
        descriptor, locked = stream.fileno(), False
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            locked = True
        start = os.fstat(descriptor).st_size
        # A torn line must not swallow the record after it.
        text = line if _ends_whole(descriptor, start) else b"\n" + line
        try:
            _write_all(descriptor, text)
        except BaseException:
            if locked and os.fstat(descriptor).st_size != start + len(text):
                with suppress(OSError):
                    os.ftruncate(descriptor, start)
            raise


def _write_all(descriptor: int, text: bytes) -> None:
    while text:
        text = text[os.write(descriptor, text) :]


def _ends_whole(descriptor: int, size: int) -> bool:
    return size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"


def write_whole(file: Path, text: bytes) -> None:
    """Write aside, then rename, so that a reader sees all of it or nothing. Raises `OSError`."""
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with FileIO(aside, "w") as stream:
            _write_all(stream.fileno(), text)
            os.fsync(stream.fileno())
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)


def is_full(error: OSError) -> bool:
    """Whether a write failed for want of room: the disk's, a quota's or a limit's."""
    return error.errno in _FULL


def make_reserve(folder: Path) -> None:
    """Take the reserve, unless it is there; raises `OSError` where there is no room for it."""
    file = folder / RESERVE_FILE
    if not file.exists() or was_full(folder):
        # Random bytes: a file system that compresses gives no room for zeros. Their room is taken
        # when they are written; that they reach the disk is not waited for.
        with FileIO(file, "w") as stream:
            _write_all(stream.fileno(), os.urandom(RESERVE_BYTES))


def spend_reserve(folder: Path) -> None:
    """Give the reserve's room back to the disk, and leave an empty file to say so."""
    with suppress(OSError):
        os.truncate(folder / RESERVE_FILE, 0)


def drop_reserve(folder: Path) -> None:
    """Give the room back at the end of a run that did not need it."""
    if not was_full(folder):
        (folder / RESERVE_FILE).unlink(missing_ok=True)


def was_full(folder: Path) -> bool:
    """Whether the reserve was spent."""
    file = folder / RESERVE_FILE
    return file.exists() and file.stat().st_size == 0


def mark_lost(folder: Path) -> None:
    """Leave word that a record could not be kept; a name takes no room where a file was one."""
    with suppress(OSError):
        (folder / RESERVE_FILE).replace(folder / LOST_FILE)
    with suppress(OSError):
        (folder / LOST_FILE).touch()


def has_lost(folder: Path) -> bool:
    """Whether a record of this run could not be kept."""
    return (folder / LOST_FILE).exists()
