"""Tables of three inputs, as PLOP3 and LOP3 have them, as the operations of PTX that they are.

Source: PTX ISA, "lop3", which has the same tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Protocol

Lifted = tuple[str, tuple[str, ...]]
TRUE: Lifted = ("setp.eq.s32", ("0", "0"))
FALSE: Lifted = ("setp.ne.s32", ("0", "0"))


class NotFollowedError(ValueError):
    """An operand or instruction whose value is not followed."""


class Values(Protocol):
    """Where operands are looked up and intermediate values are named."""

    def source(self, text: str) -> str:
        """What a register holds."""
        ...

    def predicate(self, text: str) -> str:
        """What a predicate holds."""
        ...

    def temporary(self, mnemonic: str, *inputs: str) -> str:
        """The name of an intermediate value."""
        ...


@dataclass
class PredicateWords:
    """Logic on predicates."""

    t: Values
    type = "pred"

    def source(self, text: str) -> str:
        """An input as an operand."""
        return self.t.predicate(text)

    def inverted(self, name: str) -> Lifted:
        """The other value, or all bits the other way."""
        return "not.pred", (name,)

    def constant(self, *, value: bool) -> Lifted:
        """One value everywhere."""
        return TRUE if value else FALSE


@dataclass
class BitWords:
    """Logic on words, bit by bit."""

    t: Values
    type = "b32"

    def source(self, text: str) -> str:
        """An input as an operand."""
        return self.t.source(text)

    def inverted(self, name: str) -> Lifted:
        """The other value, or all bits the other way."""
        return "xor.b32", (name, "-1")

    def constant(self, *, value: bool) -> Lifted:
        """One value everywhere."""
        return "mov.b32", ("-1" if value else "0",)


_Rows = dict[tuple[bool, ...], bool]


def logic(inputs: list[str | bool], table: int, words: PredicateWords | BitWords) -> Lifted:
    """A table of three inputs, some of them fixed, as the operation that it is on the others.

    The inputs count 4, 2 and 1 in the number of a bit of the table.
    """
    free = list(dict.fromkeys(each for each in inputs if isinstance(each, str)))
    rows: _Rows = {}
    for values in product((False, True), repeat=len(free)):
        chosen = dict(zip(free, values, strict=True))
        bits = [each if isinstance(each, bool) else chosen[each] for each in inputs]
        rows[values] = bool(table >> (bits[0] * 4 + bits[1] * 2 + bits[2]) & 1)
    free, rows = _needed(free, rows)
    return _as_operation([words.source(each) for each in free], rows, words)


def _needed(names: list[str], rows: _Rows) -> tuple[list[str], _Rows]:
    """A table without those inputs that change nothing."""
    left = list(names)
    for place in reversed(range(len(names))):
        if all(
            rows[row] == rows[(*row[:place], not row[place], *row[place + 1 :])] for row in rows
        ):
            rows = {(*row[:place], *row[place + 1 :]): each for row, each in rows.items()}
            del left[place]
    return left, rows


def _as_operation(names: list[str], rows: _Rows, words: PredicateWords | BitWords) -> Lifted:
    names, rows = _needed(names, rows)
    if not names:
        return words.constant(value=rows[()])
    if len(names) == 1:
        return (f"mov.{words.type}", (names[0],)) if rows[True,] else words.inverted(names[0])
    if len(names) > 2:  # noqa: PLR2004 - two inputs are an operation of PTX
        first, rest = names[0], names[1:]
        low = _half(rest, {row[1:]: each for row, each in rows.items() if not row[0]}, words)
        high = _half(rest, {row[1:]: each for row, each in rows.items() if row[0]}, words)
        other = _inverse(first, words)
        yes = words.t.temporary(f"and.{words.type}", first, high)
        no = words.t.temporary(f"and.{words.type}", other, low)
        return f"or.{words.type}", (yes, no)
    ones = [row for row, each in rows.items() if each]
    if len(ones) == 2:  # noqa: PLR2004 - equal or different
        found: Lifted = (f"xor.{words.type}", (names[0], names[1]))
        if (True, True) in ones:
            return words.inverted(words.t.temporary(found[0], *found[1]))
        return found
    odd = ones[0] if len(ones) == 1 else next(row for row, each in rows.items() if not each)
    wanted = odd if len(ones) == 1 else (not odd[0], not odd[1])
    a, b = (
        name if value else _inverse(name, words) for name, value in zip(names, wanted, strict=True)
    )
    return f"{'and' if len(ones) == 1 else 'or'}.{words.type}", (a, b)


def _half(names: list[str], rows: _Rows, words: PredicateWords | BitWords) -> str:
    mnemonic, inputs = _as_operation(names, rows, words)
    return words.t.temporary(mnemonic, *inputs)


def _inverse(name: str, words: PredicateWords | BitWords) -> str:
    mnemonic, inputs = words.inverted(name)
    return words.t.temporary(mnemonic, *inputs)
