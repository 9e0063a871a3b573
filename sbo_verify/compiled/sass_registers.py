"""Which registers each instruction of machine code reads and writes, as nvdisasm says.

`nvdisasm -plr` draws a column for every register that a function uses, and in it `^` where an
instruction assigns it, `v` where it uses it and `x` where it does both. So no table of operands is
needed here, and none can be incomplete. Source: CUDA Binary Utilities, "nvdisasm", "-plr".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise

from sbo_verify.compiled.sass import SassError

OPTIONS = ("-plr", "-lrm", "narrow")
_SECTION = re.compile(r"\s*\.section\s+\.text\.(\S+?),")
_INSTRUCTION = re.compile(r"\s*/\*([0-9a-f]{4,})\*/")
_FILES = {"GPR": "R", "PRED": "P", "UGPR": "UR", "UPRED": "UP"}
_WRITES, _READS = {"^", "x"}, {"v", "x"}


@dataclass(frozen=True, slots=True)
class Access:
    """The registers that one instruction reads and writes, such as `R2`, `P0`, `UR4`, `UP1`."""

    reads: frozenset[str]
    writes: frozenset[str]


NOTHING = Access(frozenset(), frozenset())


@dataclass
class _Columns:
    """Where the columns of the drawing stand in a line."""

    register_at: dict[int, str] = field(default_factory=dict)


def read_registers(text: str) -> dict[str, dict[int, Access]]:
    """Each function's accesses by address, from a listing of `nvdisasm -c -plr -lrm narrow`.

    Raises `SassError`, with the line, for a drawing whose columns cannot be told.
    """
    found: dict[str, dict[int, Access]] = {}
    inside: dict[int, Access] | None = None
    columns = _Columns()
    title = ""
    for number, line in enumerate(text.splitlines(), 1):
        if (match := _SECTION.match(line)) is not None:
            inside = found.setdefault(match[1], {})
            columns = _Columns()
            continue
        start = line.rfind("// |")
        if inside is None or start < 0:
            continue
        if (match := _INSTRUCTION.match(line)) is not None:
            inside[int(match[1], 16)] = _access(columns, line)
        elif "GPR" in line[start:] or "PRED" in line[start:]:
            title = line
        elif "#" in line[start:]:
            columns = _read_columns(number, title, line)
    return found


def _read_columns(number: int, title: str, digits: str) -> _Columns:
    """The last line of a header has the lowest digit of each register: they rise by one."""
    columns = _Columns()
    edges = [place for place, sign in enumerate(digits) if sign == "|"]
    for left, right in pairwise(edges):
        name = title[left + 1 : right].strip()
        hash_at = digits.find("#", left, right)
        if name not in _FILES or hash_at < 0:
            message = f"listing line {number}: columns of {name!r} are not understood"
            raise SassError(message)
        register = 0
        for place in range(hash_at + 1, right):
            if digits[place] == " ":
                continue
            if digits[place] != str(register % 10):
                message = f"listing line {number}: column {register} of {name} is {digits[place]}"
                raise SassError(message)
            columns.register_at[place] = f"{_FILES[name]}{register}"
            register += 1
    return columns


def _access(columns: _Columns, line: str) -> Access:
    reads, writes = [], []
    for place, register in columns.register_at.items():
        sign = line[place] if place < len(line) else " "
        if sign in _READS:
            reads.append(register)
        if sign in _WRITES:
            writes.append(register)
    return Access(frozenset(reads), frozenset(writes))
