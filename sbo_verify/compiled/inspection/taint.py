"""Which registers depend on what an instruction loaded, also through shared and local memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from sbo_verify.compiled.inspection.text import Op, width
from sbo_verify.compiled.inspection.values import Values, defined, stable

_NAME = re.compile(r"[%A-Za-z_$][\w$.']*")
_LOADS = {"ld", "atom", "ldu", "tex", "tld4", "suld"}
_WRITES = {"st", "stmatrix", "red", "atom"}
_INSIDE = re.compile(r"\.(shared|local)\b")
# An access to shared or local memory: its space, its object, or the register that has its address
# where that is not known, and the bytes in it, None where an index decides.
_Place = tuple[str, str, tuple[int, int] | None]


class Taint:
    """The registers that depend on a load's result.

    What is written to shared or local memory is in whatever may be loaded from the same place; a
    load from elsewhere through a register that depends on the result is another value. `in_shared`
    are variables in shared memory.
    """

    def __init__(self, ops: Iterable[Op], values: Values, in_shared: frozenset[str]) -> None:
        self._users: dict[str, list[Op]] = {}
        self._values = values
        self._in_shared = in_shared
        self._loads: list[tuple[_Place, Op]] = []
        for op in ops:
            guard = (op.guard[0],) if op.guard is not None else ()
            for operand in (*op.operands, *guard):
                for name in _NAME.findall(operand):
                    self._users.setdefault(name, []).append(op)
            if head_of(op) in _LOADS and (place := self._inside(op)) is not None:
                self._loads.append((place, op))
        self._known: dict[int, frozenset[str]] = {}

    def of(self, op: Op) -> frozenset[str]:
        """The registers that depend on what `op` writes, its own included."""
        if id(op) not in self._known:
            reached = set(defined(op))
            pending = list(reached)
            while pending:
                new = set(self._after(pending.pop())) - reached
                reached |= new
                pending.extend(new)
            self._known[id(op)] = frozenset(reached)
        return self._known[id(op)]

    def addresses(self, registers: Iterable[str]) -> Iterator[Op]:
        """The accesses at addresses that are computed from one of the registers."""
        for name in registers:
            for user in self._users.get(name, ()):
                places = (each for each in user.operands if each.startswith("["))
                if any(name in _NAME.findall(each) for each in places):
                    yield user

    def tests(self, registers: Iterable[str]) -> Iterator[Op]:
        """The instructions that are executed, or not, by what the registers hold."""
        for name in registers:
            yield from (
                user for user in self._users.get(name, ()) if user.guard and user.guard[0] == name
            )

    def _after(self, name: str) -> Iterator[str]:
        """What depends on a register in one step, also by way of memory."""
        for user in self._users.get(name, ()):
            if head_of(user) not in _LOADS:
                yield from defined(user)
            if head_of(user) in _WRITES and name in stored(user):
                written = self._inside(user)
                for place, load in self._loads if written is not None else ():
                    if written is not None and _overlap(written, place):
                        yield from defined(load)

    def _inside(self, op: Op) -> _Place | None:
        """Where shared or local memory is accessed; None elsewhere."""
        address = next((each for each in op.operands if each.startswith("[")), "")
        found = self._values.address(address) if address else None
        base = found.base if found is not None else ""
        local = base.startswith("__local_depot")
        space = _INSIDE.search(op.mnemonic)
        if space is None and not local and base not in self._in_shared:
            return None
        name = "local" if local else space[1] if space is not None else "shared"
        if not base:
            return name, self._values.register_of(address), None
        if found is None or not stable(found) or (found.root or found.text) != base:
            return name, base, None
        return name, base, (found.offset, found.offset + width(op))


def _overlap(one: _Place, other: _Place) -> bool:
    """Whether two accesses may meet; a word of its own is none of those that an index chooses."""
    if one[0] != other[0]:
        return False
    if one[1] != other[1] or (one[2] is None) != (other[2] is None):
        return False
    here, there = one[2] or (0, 1), other[2] or (0, 1)
    return here[0] < there[1] and there[0] < here[1]


def stored(op: Op) -> Sequence[str]:
    """The registers whose values a store or atomic writes: those that stand behind its address."""
    places = [number for number, each in enumerate(op.operands) if each.startswith("[")]
    if not places:
        return ()
    return [name for each in op.operands[places[0] + 1 :] for name in _NAME.findall(each)]


def head_of(op: Op) -> str:
    """The first word of a mnemonic."""
    return op.mnemonic.split(".", maxsplit=1)[0]
