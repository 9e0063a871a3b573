"""Which threads a predicate holds for, as far as its registers are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sbo_verify.compiled.inspection.text import Op
from sbo_verify.compiled.inspection.values import ALL_THREADS, Lanes, Term, Value, Values, stable

# Conditions of conditions are looked into this far.
DEEPEST = 50
MOST_PARTS = 16
OPPOSITE = {"eq": "ne", "lt": "ge", "le": "gt", "lo": "hs", "ls": "hi"}
_INTEGERS = {f"{kind}{bits}" for kind in "sub" for bits in (16, 32, 64)}
_OPPOSITE_OF = {**OPPOSITE, **{b: a for a, b in OPPOSITE.items()}}


@dataclass(frozen=True, slots=True)
class Condition:
    """A predicate: the threads that it holds for, or a key with a polarity for an unknown one.

    Two predicates with one key are the same condition. `leaves` are the registers whose change
    makes an unstable one forget; `parts_if_true` are conditions that hold where it is true (of an
    `and`), `parts_if_false` those that hold where it is false (of an `or`).
    """

    key: str = ""
    positive: bool = True
    threads: int | None = None
    leaves: frozenset[str] = frozenset()
    parts_if_true: tuple[Condition, ...] = ()
    parts_if_false: tuple[Condition, ...] = ()

    def negated(self) -> Condition:
        """The same condition, the other way round."""
        threads = None if self.threads is None else ALL_THREADS & ~self.threads
        return Condition(
            self.key,
            not self.positive,
            threads,
            self.leaves,
            self.parts_if_false,
            self.parts_if_true,
        )


def _flat(parts: Sequence[Condition]) -> tuple[Condition, ...]:
    """The parts and theirs, each once and none with parts of its own; a bounded number."""
    found: dict[tuple[str, bool], Condition] = {}
    for part in parts:
        for each in (part, *part.parts_if_true):
            key = (each.key, each.positive)
            if len(found) < MOST_PARTS:
                found.setdefault(key, replace(each, parts_if_true=(), parts_if_false=()))
    return tuple(found.values())


class Conditions:
    """The predicates of a function as conditions."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._known: dict[str, Condition] = {}
        self._depth = 0

    def of(self, register: str) -> Condition:
        """The condition that a predicate register stands for."""
        if register not in self._known:
            plain = Condition(register, leaves=frozenset({register}))
            if self._depth > DEEPEST:
                return plain
            self._known[register] = plain
            self._depth += 1
            self._known[register] = self._read(register)
            self._depth -= 1
        return self._known[register]

    def _read(self, register: str) -> Condition:  # noqa: PLR0911 - one return for each kind
        plain = Condition(register, leaves=frozenset({register}))
        value = self._values.of(register)
        if isinstance(value, Lanes):
            bits = np.packbits(value.numbers != 0, bitorder="little").tobytes()
            return Condition(f"tid {register}", threads=int.from_bytes(bits, "little"))
        op = self._values.definition(register)
        if op is None:
            return plain
        head, *words = op.mnemonic.split(".")
        if head == "setp" and words and (found := self._compared(op, words, value)) is not None:
            return found
        if head == "mov" or (head == "not" and "pred" in words):
            inner = self.of(op.operands[1])
            # A copy of what may change later is not the same condition then.
            return plain if inner.leaves else inner if head == "mov" else inner.negated()
        if head in {"and", "or"} and "pred" in words:
            parts = tuple(self.of(each) for each in op.operands[1:])
            key, leaves = (
                (value.text, frozenset[str]())
                if isinstance(value, Term) and stable(value)
                else (register, frozenset({register}))
            )
            # A part that can change while the whole is remembered would be remembered wrongly.
            fixed = [each for each in parts if not each.leaves]
            if head == "or":
                fixed = [each.negated() for each in fixed]
            flat = _flat(fixed)
            both = (flat, ()) if head == "and" else ((), flat)
            return Condition(key, leaves=leaves, parts_if_true=both[0], parts_if_false=both[1])
        if isinstance(value, Term) and stable(value):
            return Condition(value.text)
        return plain

    def _compared(self, op: Op, words: Sequence[str], value: Value) -> Condition | None:
        """`setp.ne` is `setp.eq` the other way round; a choice compared with 0 is the choice."""
        name = words[0]
        if words[-1] not in _INTEGERS:
            return None  # Neither of two opposite comparisons holds of a NaN.
        if len(op.operands) != 3 or (len(words) > 2) or name not in _OPPOSITE_OF:  # noqa: PLR2004 - plain comparisons alone
            return None
        if (
            name in {"eq", "ne"}
            and op.operands[2] == "0"
            and (inner := self._chosen(op.operands[1])) is not None
        ):
            return inner.negated() if name == "eq" else inner
        positive = name in OPPOSITE
        canonical = name if positive else _OPPOSITE_OF[name]
        if isinstance(value, Term) and stable(value):
            text = value.text.replace(f"setp.{name}.", f"setp.{canonical}.", 1)
            return Condition(text, positive)
        register = op.operands[0]
        return Condition(register, positive=True, leaves=frozenset({register}))

    def _chosen(self, register: str) -> Condition | None:
        """The predicate p of `selp r, 1, 0, p`, or of `elect`'s, which stays with the thread."""
        op = self._values.definition(register)
        if (
            op is None
            or not op.mnemonic.startswith("selp")
            or op.operands[1:3] not in {("1", "0"), ("-1", "0")}
        ):
            return None
        inner = self.of(op.operands[3])
        return None if inner.leaves else inner
