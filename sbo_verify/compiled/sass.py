"""Machine code of a cubin, as nvdisasm prints it, to functions, instructions and labels.

This module knows how the listing is punctuated. Every instruction carries the line of the PTX text
that ptxas made it from: `-lineinfo` leaves that table in the cubin, and nvdisasm prints it with
`-gp`. (nvdisasm's JSON has opcode, predicate and operands as data, but no lines; a test holds this
reader to it.) Source: CUDA Binary Utilities, "nvdisasm"; NVIDIA publishes no grammar of SASS.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

UNIT_BYTES = 16  # one instruction since Volta


class SassError(ValueError):
    """A listing that cannot be read; the message gives its line."""


@dataclass(frozen=True, slots=True)
class SassInstruction:
    """One instruction: `predicate` as written (`@!P0`) or empty; `opcode` with its modifiers.

    `ptx_line` is the line of the PTX text it was made from, `source` file and line of the CUDA
    source, None where the cubin does not say.
    """

    address: int
    predicate: str
    opcode: str
    operands: str
    ptx_line: int | None = None
    source: tuple[str, int] | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """The opcode and its modifiers: `MEMBAR.ALL.GPU` is `MEMBAR`, `ALL`, `GPU`."""
        return tuple(self.opcode.split("."))

    def __str__(self) -> str:
        text = " ".join(word for word in (self.predicate, self.opcode, self.operands) if word)
        return f"{text} at {self.address:#06x}"


@dataclass(frozen=True)
class SassFunction:
    """One function: its instructions by rising address, and label to address."""

    name: str
    instructions: tuple[SassInstruction, ...]
    labels: dict[str, int]


@dataclass(frozen=True)
class Listing:
    """A cubin: the architecture that it is for, as far as it says so, and its functions by name."""

    target: str
    functions: dict[str, SassFunction]

    def only(self) -> SassFunction:
        """The single function; raises `SassError` where there are none or several."""
        if len(self.functions) != 1:
            names = ", ".join(sorted(self.functions)) or "none"
            message = f"expected machine code of one function, found {names}"
            raise SassError(message)
        return next(iter(self.functions.values()))


# Cubins of CUDA 12 say their architecture in flags, without the letter behind it.
_TARGET = re.compile(r"\s*\.target\s+(\w+)|\s*\.headerflags\s.*\bEF_CUDA_SM(\d+\w?)\b")
_SECTION = re.compile(r"\s*\.section\s+(\S+?),")
_LABEL = re.compile(r"([.$\w]+):\s*$")
_PTX_LINE = re.compile(r'\s*//## File "\.nv_debug_ptx_txt[^"]*", line (\d+)')
_SOURCE_LINE = re.compile(r'\s*//## File "([^"]*)", line (\d+)')
_ADDRESSED = re.compile(r"\s*/\*([0-9a-f]{4,})\*/\s+(.*)")
_INSTRUCTION = re.compile(r"(?:(@!?U?P\w+)\s+)?([A-Z][\w.]*)\s*([^;]*?)\s*;\s*(?:/\*.*)?")
_CODE = ".text."


def read_listing(text: str) -> Listing:
    """The functions in a listing of `nvdisasm -c -gp`.

    Raises `SassError` for text without a target or a function, for an instruction that is not
    understood or stands outside a function, for a gap in the addresses and for a label that
    stands twice.
    """
    target = ""
    functions: dict[str, _Function] = {}
    inside: _Function | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if (match := _TARGET.match(line)) is not None:
            target = match[1] or f"sm_{match[2]}"
        elif (match := _SECTION.match(line)) is not None:
            inside = None
            if match[1].startswith(_CODE):
                inside = functions[match[1]] = _Function(match[1].removeprefix(_CODE))
        elif inside is not None:
            inside.read_line(number, line)
        elif _ADDRESSED.match(line) is not None:
            message = f"listing line {number}: an instruction outside a function: {line.strip()!r}"
            raise SassError(message)
    if not target or not functions:
        message = "not a listing of nvdisasm: it names no target, or holds no function"
        raise SassError(message)
    read = (function.done() for function in functions.values())
    return Listing(target, {function.name: function for function in read})


class _Function:
    """What has been read of one function."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._instructions: list[SassInstruction] = []
        self._labels: dict[str, int] = {}
        self._ptx_line: int | None = None
        self._source: tuple[str, int] | None = None

    def read_line(self, number: int, line: str) -> None:
        if (match := _ADDRESSED.match(line)) is not None:
            self._read_instruction(number, int(match[1], 16), match[2])
        elif (match := _PTX_LINE.match(line)) is not None:
            self._ptx_line = int(match[1])
        elif (match := _SOURCE_LINE.match(line)) is not None:
            self._source = (match[1], int(match[2]))
        elif (match := _LABEL.match(line)) is not None:
            if match[1] in self._labels:
                message = f"listing line {number}: label {match[1]} stands twice"
                raise SassError(message)
            self._labels[match[1]] = self._next_address()

    def _next_address(self) -> int:
        return len(self._instructions) * UNIT_BYTES

    def _read_instruction(self, number: int, address: int, text: str) -> None:
        match = _INSTRUCTION.fullmatch(text)
        if match is None:
            message = f"listing line {number}: not an instruction: {text!r}"
            raise SassError(message)
        if address != self._next_address():
            message = (
                f"listing line {number}: an instruction at {address:#06x}, "
                f"the one before ends at {self._next_address():#06x}"
            )
            raise SassError(message)
        predicate, opcode, operands = match.groups()
        self._instructions.append(
            SassInstruction(
                address, predicate or "", opcode, operands, self._ptx_line, self._source
            )
        )

    def done(self) -> SassFunction:
        return SassFunction(self._name, tuple(self._instructions), self._labels)
