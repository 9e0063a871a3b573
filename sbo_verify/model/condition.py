"""The final condition of a litmus test: a formula over registers and memory.

It is evaluated with three values, so that a thread's registers alone can already refute it: None
stands for "not known yet".
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True, slots=True)
class RegisterOf:
    """A register of a thread at the end; 0 where it was never written."""

    thread: int
    register: str

    def __str__(self) -> str:
        return f"P{self.thread}:{self.register}"


@dataclass(frozen=True, slots=True)
class MemoryAt:
    """The value of a memory at the end."""

    address: str

    def __str__(self) -> str:
        return self.address


Term = RegisterOf | MemoryAt | int


@dataclass(frozen=True, slots=True)
class Compare:
    """Two terms compared."""

    left: Term
    comparison: str
    right: Term

    def __str__(self) -> str:
        return f"{self.left} {self.comparison} {self.right}"


@dataclass(frozen=True, slots=True)
class Not:
    """Negation."""

    inner: Condition

    def __str__(self) -> str:
        return f"not ({self.inner})"


@dataclass(frozen=True, slots=True)
class Both:
    """Conjunction; of nothing: true."""

    parts: tuple[Condition, ...]

    def __str__(self) -> str:
        return " /\\ ".join(f"({part})" for part in self.parts)


@dataclass(frozen=True, slots=True)
class Either:
    """Disjunction; of nothing: false."""

    parts: tuple[Condition, ...]

    def __str__(self) -> str:
        return " \\/ ".join(f"({part})" for part in self.parts)


Condition = Compare | Not | Both | Either
Known = Mapping[RegisterOf | MemoryAt, int]


def evaluate(condition: Condition, known: Known) -> bool | None:
    """Truth of the condition as far as the known terms decide it; None where they do not."""
    if isinstance(condition, Compare):
        left = _value(condition.left, known)
        right = _value(condition.right, known)
        if left is None or right is None:
            return None
        return COMPARISONS[condition.comparison](left, right)
    if isinstance(condition, Not):
        inner = evaluate(condition.inner, known)
        return None if inner is None else not inner
    decisive = isinstance(condition, Either)
    result: bool | None = not decisive
    for part in condition.parts:
        truth = evaluate(part, known)
        if truth is decisive:
            return decisive
        if truth is None:
            result = None
    return result


def terms(condition: Condition) -> Iterator[RegisterOf | MemoryAt]:
    """Every register and memory that the condition speaks of."""
    if isinstance(condition, Compare):
        for term in (condition.left, condition.right):
            if not isinstance(term, int):
                yield term
    elif isinstance(condition, Not):
        yield from terms(condition.inner)
    else:
        for part in condition.parts:
            yield from terms(part)


def _value(term: Term, known: Known) -> int | None:
    return term if isinstance(term, int) else known.get(term)
