"""Names of their own for values of a register that is written more than once.

Inline assembly writes registers that it was given, and unrolled loops write one register in every
copy. Where only one write reaches a use, the use reads a name that only this write has, so that
its value is known although the register's is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from sbo_verify.compiled.inspection.text import Op
from sbo_verify.compiled.inspection.values import defined

_NAME = re.compile(r"[%A-Za-z_$][\w$']*")


@dataclass
class _Writes:
    """All writes of registers that are written more than once, numbered."""

    ops: list[Op] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    of: dict[str, int] = field(default_factory=dict)
    numbers: dict[tuple[int, str], int] = field(default_factory=dict)


def split_registers(blocks: Sequence[list[Op]], successors: Sequence[Sequence[int]]) -> None:
    """Replace uses that one write alone reaches, and those writes, in place."""
    writes = _numbered(blocks)
    if not writes.ops:
        return
    reaching = _reaching(blocks, successors, writes)
    alone: set[int] = set()
    for ops, live in zip(blocks, reaching, strict=True):
        _rename_uses(ops, live, writes, alone)
    for ops in blocks:
        ops[:] = list(_renamed_writes(ops, writes, alone))


def _numbered(blocks: Sequence[list[Op]]) -> _Writes:
    counts: dict[str, int] = {}
    for ops in blocks:
        for op in ops:
            for name in defined(op):
                counts[name] = counts.get(name, 0) + 1
    writes = _Writes()
    for ops in blocks:
        for op in ops:
            for name in defined(op):
                if counts[name] > 1:
                    number = len(writes.ops)
                    writes.ops.append(op)
                    writes.names.append(name)
                    writes.of[name] = writes.of.get(name, 0) | 1 << number
                    writes.numbers[id(op), name] = number
    return writes


def _after(op: Op, live: int, writes: _Writes) -> int:
    for name in defined(op):
        if (number := writes.numbers.get((id(op), name))) is not None:
            if op.guard is None:
                live &= ~writes.of[name]
            live |= 1 << number
    return live


def _reaching(
    blocks: Sequence[list[Op]], successors: Sequence[Sequence[int]], writes: _Writes
) -> list[int]:
    """The writes that reach each block's begin, as bits."""
    kills, makes = [0] * len(blocks), [0] * len(blocks)
    for number, ops in enumerate(blocks):
        for op in ops:
            for name in defined(op):
                if (id(op), name) in writes.numbers and op.guard is None:
                    kills[number] |= writes.of[name]
            makes[number] = _after(op, makes[number], writes)
    reaching = [0] * len(blocks)
    pending = list(range(len(blocks)))[::-1]
    while pending:
        number = pending.pop()
        out = reaching[number] & ~kills[number] | makes[number]
        for following in successors[number]:
            if out & ~reaching[following]:
                reaching[following] |= out
                pending.append(following)
    return reaching


def _rename_uses(ops: list[Op], live: int, writes: _Writes, alone: set[int]) -> None:
    for index, op in enumerate(ops):
        before = live
        live = _after(op, live, writes)

        def own(name: str, before: int = before) -> str:
            found = before & writes.of.get(name, 0)
            if not found or found & (found - 1):
                return name
            number = found.bit_length() - 1
            if writes.ops[number].guard is not None:
                return name
            alone.add(number)
            return f"{name}'w{number}"

        def rename(text: str) -> str:
            return _NAME.sub(lambda match: own(match.group()), text)

        first = op.operands[:1] if defined(op) else ()
        operands = (*first, *(rename(each) for each in op.operands[len(first) :]))
        guard = (own(op.guard[0]), op.guard[1]) if op.guard else None
        if operands != op.operands or guard != op.guard:
            ops[index] = replace(op, operands=operands, guard=guard)
            for name in defined(op):
                if (number := writes.numbers.get((id(op), name))) is not None:
                    writes.numbers[id(ops[index]), name] = number
                    writes.ops[number] = ops[index]


def _renamed_writes(ops: list[Op], writes: _Writes, alone: set[int]) -> Iterator[Op]:
    """A write to a name of its own, and then a move to the register."""
    for op in ops:
        own = {
            name: f"{name}'w{number}"
            for name in defined(op)
            if (number := writes.numbers.get((id(op), name))) in alone
        }
        if not own:
            yield op
            continue
        parts = re.split(rf"({_NAME.pattern})", op.operands[0])
        target = "".join(own.get(part, part) for part in parts)
        yield replace(op, operands=(target, *op.operands[1:]))
        for name, new in own.items():
            yield Op(op.line, "mov.b32", (name, new), None, op.loc, -1)
