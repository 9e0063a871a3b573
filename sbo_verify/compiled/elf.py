"""Sections of an ELF file, as far as cubins and host programs with CUDA code in them need it.

Only what is named is read; nothing is loaded or executed. Source: the System V ABI, "Object Files"
(64-bit, little-endian); CUDA's own sections as ptxas 13.0 writes them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

MAGIC = b"\x7fELF"
CUDA_MACHINE = 190
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_NO_BITS = 8
_64_BIT, _LITTLE = 2, 1


class ContainerError(ValueError):
    """A file that cannot be read as what it says it is; the message gives the byte position."""


@dataclass(frozen=True, slots=True)
class Section:
    """One section: its name, where it lies in the file, and its bytes."""

    name: str
    offset: int
    content: bytes


@dataclass
class Elf:
    """An ELF file: the machine it is for, and its sections in their order."""

    machine: int
    sections: list[Section] = field(default_factory=list)

    @property
    def is_cubin(self) -> bool:
        """Whether it holds machine code of a GPU."""
        return self.machine == CUDA_MACHINE

    def section(self, name: str) -> Section | None:
        """The first section of a name."""
        return next((each for each in self.sections if each.name == name), None)


def read_elf(content: bytes, base: int = 0) -> Elf:
    """Read the sections of an ELF file that begins at byte `base` of the file it was found in.

    Raises `ContainerError` for what is cut short, of another class, or points out of the file.
    """
    if len(content) < _HEADER.size:
        message = f"byte {base}: an ELF header of {_HEADER.size} bytes, the file has {len(content)}"
        raise ContainerError(message)
    words = _HEADER.unpack_from(content)
    ident, machine = words[0], words[2]
    if ident[:4] != MAGIC:
        message = f"byte {base}: not an ELF file"
        raise ContainerError(message)
    if (ident[4], ident[5]) != (_64_BIT, _LITTLE):
        message = f"byte {base + 4}: an ELF file that is not 64-bit little-endian is not read"
        raise ContainerError(message)
    table, size, count, names = words[6], words[11], words[12], words[13]
    segments, segments_end = words[5], words[5] + words[9] * words[10]
    if segments_end > len(content):
        message = (
            f"byte {base + segments}: program headers that end behind the file's "
            f"{len(content)} bytes: it is cut short"
        )
        raise ContainerError(message)
    if count and size != _SECTION.size:
        message = f"byte {base + 58}: section headers of {size} bytes, expected {_SECTION.size}"
        raise ContainerError(message)
    if table + count * _SECTION.size > len(content):
        message = (
            f"byte {base + table}: {count} section headers, which end behind the file's "
            f"{len(content)} bytes: it is cut short"
        )
        raise ContainerError(message)
    headers = [_SECTION.unpack_from(content, table + i * _SECTION.size) for i in range(count)]
    elf = Elf(machine)
    if not headers:
        return elf
    if names >= count:
        message = f"byte {base + 62}: section {names} should hold the names, there are {count}"
        raise ContainerError(message)
    strings = _content(content, headers[names], table + names * _SECTION.size + base)
    for number, header in enumerate(headers):
        place = base + table + number * _SECTION.size
        name = _name(strings, header[0], place)
        elf.sections.append(Section(name, base + header[4], _content(content, header, place)))
    return elf


def _content(content: bytes, header: tuple[int, ...], place: int) -> bytes:
    kind, offset, size = header[1], header[4], header[5]
    if kind == _NO_BITS:
        return b""
    if offset + size > len(content):
        message = (
            f"byte {place}: a section from {offset} to {offset + size}, "
            f"the file has {len(content)} bytes: it is cut short"
        )
        raise ContainerError(message)
    return content[offset : offset + size]


def _name(strings: bytes, start: int, place: int) -> str:
    end = strings.find(b"\0", start)
    if start > len(strings) or end < 0:
        message = f"byte {place}: a section whose name is not in the table of names"
        raise ContainerError(message)
    return strings[start:end].decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class KernelFacts:
    """What a cubin says of a kernel beside its code.

    `threads` of a CTA, where they are fixed or bounded; `parameters` has offset and size in bytes
    of each parameter, counted from `bank`, the offset of the first in constant bank 0.
    """

    threads: tuple[int, int, int] | None = None
    bank: int | None = None
    parameters: tuple[tuple[int, int], ...] = ()


# Attributes in `.nv.info.NAME`, each a format byte, a number, and two or more bytes.
_SIZED = 4
_MAX_THREADS, _PARAM_CBANK, _REQUIRED_THREADS, _PARAMETER = 0x05, 0x0A, 0x10, 0x17


def kernel_facts(cubin: Elf, kernel: str) -> KernelFacts:
    """Read `.nv.info.KERNEL`; an attribute that is not understood is passed over."""
    section = cubin.section(f".nv.info.{kernel}")
    if section is None:
        return KernelFacts()
    threads: tuple[int, int, int] | None = None
    bank: int | None = None
    parameters: list[tuple[int, int]] = []
    for number, payload in _attributes(section):
        if number in {_MAX_THREADS, _REQUIRED_THREADS} and len(payload) >= 12:  # noqa: PLR2004 - three words
            threads = struct.unpack_from("<III", payload)
        elif number == _PARAM_CBANK and len(payload) >= 8:  # noqa: PLR2004 - a word and two halves
            bank = struct.unpack_from("<IHH", payload)[1]
        elif number == _PARAMETER and len(payload) >= 12:  # noqa: PLR2004 - two words and four bytes
            offset = struct.unpack_from("<IHH", payload)[2]
            # The size stands in the upper 14 bits of the last word.
            parameters.append((offset, struct.unpack_from("<I", payload, 8)[0] >> 18))
    return KernelFacts(threads, bank, tuple(sorted(parameters)))


def _attributes(section: Section) -> list[tuple[int, bytes]]:
    found, place = [], 0
    data = section.content
    while place + 4 <= len(data):
        form, number, size = struct.unpack_from("<BBH", data, place)
        place += 4
        payload = b""
        if form == _SIZED:
            if place + size > len(data):
                message = (
                    f"byte {section.offset + place}: an attribute of {size} bytes in "
                    f"{section.name}, which ends before it"
                )
                raise ContainerError(message)
            payload = data[place : place + size]
            place += size
        found.append((number, payload))
    return found


def embedded_ptx(cubin: Elf) -> str | None:
    """The PTX text that a cubin was made from, which `-lineinfo` leaves in it; None without.

    Its lines are those that the listing counts.
    """
    section = cubin.section(".nv_debug_ptx_txt")
    if section is None or b".version" not in section.content:
        return None
    return section.content.replace(b"\0", b"\n").decode("utf-8", "replace")
