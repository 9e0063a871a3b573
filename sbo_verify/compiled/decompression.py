"""The two compressions of fatbin entries: LZ4 blocks, read here, and Zstandard, by its library.

Source: LZ4 Block Format Description (lz4.github.io); RFC 8878 for Zstandard.
"""

from __future__ import annotations

import importlib
from typing import Protocol, cast

from sbo_verify.compiled.elf import ContainerError

_SHORTEST_MATCH = 4
_MORE = 15
_FULL = 255
# No entry that a compiler wrote is larger; a damaged length must not fill the memory.
LARGEST = 1 << 30


class Zstandard(Protocol):
    """What is used of `compression.zstd` (Python 3.14) and of its backport."""

    ZstdError: type[Exception]

    def compress(self, data: bytes) -> bytes:
        """A frame that holds the bytes."""
        ...

    def decompress(self, data: bytes) -> bytes:
        """The bytes that were compressed."""
        ...


def lz4(data: bytes, size: int, base: int) -> bytes:
    """Decompress one LZ4 block of `size` bytes; `base` is where it lies in its file.

    Raises `ContainerError` with the position where the block is damaged or cut short.
    """
    out = bytearray()
    place = 0
    try:
        while place < len(data):
            token = data[place]
            count, place = _count(data, place + 1, token >> 4)
            if place + count > len(data):
                _damaged(base + place, "literals that end behind it")
            out += data[place : place + count]
            place += count
            if place == len(data):
                break
            back = data[place] | data[place + 1] << 8
            count, place = _count(data, place + 2, token & _MORE)
            _copy(out, back, count + _SHORTEST_MATCH, base + place)
            if len(out) > size:
                _damaged(base + place, f"more than the {size} bytes that it should hold")
    except IndexError:
        _damaged(base + place, "breaks off")
    if len(out) != size:
        _damaged(base + place, f"{len(out)} bytes where {size} should be")
    return bytes(out)


def _count(data: bytes, place: int, count: int) -> tuple[int, int]:
    """A length of 15 goes on in the bytes behind it, each 255 of which goes on too."""
    if count == _MORE:
        while True:
            more = data[place]
            place += 1
            count += more
            if more != _FULL:
                break
    return count, place


def _copy(out: bytearray, back: int, count: int, place: int) -> None:
    start = len(out) - back
    if back == 0 or start < 0:
        _damaged(place, f"a repetition of what stands {back} bytes before, after {len(out)} bytes")
    if back >= count:
        out += out[start : start + count]
    else:
        piece = bytes(out[start:])
        out += (piece * (count // back + 1))[:count]


def _damaged(place: int, what: str) -> None:
    message = f"byte {place}: an LZ4 block is damaged: {what}"
    raise ContainerError(message)


def zstandard(data: bytes, size: int, base: int) -> bytes:
    """Decompress one Zstandard frame of `size` bytes; `base` is where it lies in its file.

    Raises `ContainerError` for a damaged frame, and where no library is there, with what to do.
    """
    library = zstandard_library()
    if library is None:
        message = (
            f"byte {base}: an entry compressed with Zstandard, which this Python cannot read: "
            "pip install backports.zstd, or compile with nvcc -no-compress, or take it out with "
            "cuobjdump -xelf all FILE (-xptx for PTX)"
        )
        raise ContainerError(message)
    try:
        out = library.decompress(data)
    except library.ZstdError as error:
        message = f"byte {base}: a Zstandard frame is damaged: {error}"
        raise ContainerError(message) from error
    if len(out) != size:
        message = f"byte {base}: {len(out)} bytes in a Zstandard frame where {size} should be"
        raise ContainerError(message)
    return out


def zstandard_library() -> Zstandard | None:
    """Python's own Zstandard, from 3.14 on, or its backport; None where neither is there."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return cast("Zstandard", importlib.import_module(name))
        except ImportError:
            continue
    return None
