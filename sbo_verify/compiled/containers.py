"""Cubins and PTX inside a file: a cubin alone, a fatbin, or a host object, library or program.

A fatbin is a header and entries, each with a header of its own; `.nv_fatbin` of a host file holds
fatbins one behind the other. NVIDIA does not document the format: what is read here was compared
with what nvcc and fatbinary 13.0 write. An entry that is not understood is listed, never left out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from sbo_verify.compiled.decompression import LARGEST, lz4, zstandard
from sbo_verify.compiled.elf import MAGIC, ContainerError, Elf, read_elf

FATBIN = b"\x50\xed\x55\xba"
_FATBIN = struct.Struct("<4sHHQ")
# kind, version, size of this header, of the entry, of what is compressed; then the architecture
# at 28, the flags at 40, and the size of what is uncompressed at 56.
_ENTRY = struct.Struct("<HHIQI")
_ARCHITECTURE, _FLAGS, _UNCOMPRESSED, _SHORTEST_ENTRY = 28, 40, 56, 64
_LZ4, _ZSTANDARD = 0x2000, 0x8000
_HOST_SECTIONS = (".nv_fatbin", "__nv_relfatbin")


class EntryKind(StrEnum):
    """What an entry of a fatbin holds."""

    PTX = "PTX"
    CUBIN = "cubin"
    OTHER = "other"


_KINDS = {1: EntryKind.PTX, 2: EntryKind.CUBIN}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: what it holds, for which architecture, where it lies, and its bytes.

    `architecture` is a number such as 90; 0 where the container does not say. `content` is empty
    where `unread` says why.
    """

    kind: EntryKind
    architecture: int
    offset: int
    content: bytes
    unread: str = ""


def is_container(content: bytes) -> bool:
    """Whether a file is one of those that are read here."""
    return content.startswith((MAGIC, FATBIN))


def read_container(content: bytes) -> list[Entry]:
    """All entries of a file, in their order.

    Raises `ContainerError`, with the byte position, for a file that is cut short or damaged, for a
    host file with no CUDA code in it, and for a compression that cannot be read.
    """
    if content.startswith(FATBIN):
        return list(_fatbins(content, 0))
    elf = read_elf(content)
    if elf.is_cubin:
        return [Entry(EntryKind.CUBIN, 0, 0, content)]
    return _of_host(elf)


def _of_host(elf: Elf) -> list[Entry]:
    found = [
        entry
        for section in elf.sections
        if section.name in _HOST_SECTIONS and section.content
        for entry in _fatbins(section.content, section.offset)
    ]
    if not found:
        message = (
            f"byte 0: an ELF file for machine {elf.machine} with no CUDA code in it "
            f"(no entry in {' or '.join(_HOST_SECTIONS)})"
        )
        raise ContainerError(message)
    return found


def _fatbins(data: bytes, base: int) -> Iterator[Entry]:
    """The entries of all fatbins in `data`, which begins at byte `base` of the file."""
    place = 0
    while place < len(data):
        if not data[place:].lstrip(b"\0"):
            return
        if data[place : place + 4] != FATBIN:
            aligned = data.find(FATBIN, place, place + 16)
            if aligned < 0 or data[place:aligned].strip(b"\0"):
                message = f"byte {base + place}: not a fatbin: {data[place : place + 4].hex()}"
                raise ContainerError(message)
            place = aligned
        if place + _FATBIN.size > len(data):
            message = f"byte {base + place}: a fatbin's header is cut short"
            raise ContainerError(message)
        _, _, header, size = _FATBIN.unpack_from(data, place)
        start, end = place + header, place + header + size
        if header < _FATBIN.size or end > len(data):
            message = (
                f"byte {base + place}: a fatbin of {header} + {size} bytes, "
                f"{len(data) - place} are there: it is cut short"
            )
            raise ContainerError(message)
        yield from _entries(data, start, end, base)
        place = end


def _entries(data: bytes, start: int, end: int, base: int) -> Iterator[Entry]:
    place = start
    while place < end:
        if place + _SHORTEST_ENTRY > end:
            message = f"byte {base + place}: an entry's header is cut short"
            raise ContainerError(message)
        kind, _, header, size, packed = _ENTRY.unpack_from(data, place)
        if header < _SHORTEST_ENTRY or place + header + size > end:
            message = (
                f"byte {base + place}: an entry of {header} + {size} bytes in a fatbin that has "
                f"{end - place} left"
            )
            raise ContainerError(message)
        (architecture,) = struct.unpack_from("<I", data, place + _ARCHITECTURE)
        (flags,) = struct.unpack_from("<Q", data, place + _FLAGS)
        (unpacked,) = struct.unpack_from("<Q", data, place + _UNCOMPRESSED)
        body = data[place + header : place + header + size]
        where = base + place + header
        what = _KINDS.get(kind, EntryKind.OTHER)
        if what is EntryKind.OTHER:
            why = f"byte {base + place}: an entry of kind {kind}, neither PTX nor cubin"
            yield Entry(what, architecture, where, b"", why)
        else:
            yield Entry(what, architecture, where, _unpacked(body, flags, packed, unpacked, where))
        place += header + size


def _unpacked(body: bytes, flags: int, packed: int, unpacked: int, where: int) -> bytes:
    if not flags & (_LZ4 | _ZSTANDARD):
        return body
    if packed > len(body) or unpacked > LARGEST:
        message = (
            f"byte {where}: a compressed entry of {packed} bytes for {unpacked}, "
            f"{len(body)} are there"
        )
        raise ContainerError(message)
    unpack = lz4 if flags & _LZ4 else zstandard
    return unpack(body[:packed], unpacked, where)


def text_of(entry: Entry) -> str:
    """The PTX of an entry; raises `ContainerError` for bytes that are no text."""
    try:
        return entry.content.strip(b"\0").decode()
    except UnicodeDecodeError as error:
        message = f"byte {entry.offset + error.start}: an entry of PTX that is no text"
        raise ContainerError(message) from error
