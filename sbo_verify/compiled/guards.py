"""What the predicates of branches say, so that two branches on one condition are known to be one.

A compiler may test a condition twice (`thread is the issuer`) where the source has it twice. A fact
is a comparison and whether it holds; it is spelled by its registers, so that only those count that
are written by one instruction of the kernel. Source: PTX ISA 9.0, "setp", "or", "and", "not".
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable

from sbo_verify.compiled.ptx import Statement

Fact = tuple[str, bool]

_REGISTER = re.compile(r"%[\w$]+|[A-Za-z_$][\w$]*")
# A comparison that holds where its opposite does not; unordered comparisons have none here.
_OPPOSITE = {"ne": "eq", "ge": "lt", "gt": "le"}
# What gives one result for one pair of operands, without memory, carry or special registers.
_COMPUTED_NAMES = "add and cvt div mad max min mov mul not or rem shl shr sub xor"
_COMPUTED = frozenset(_COMPUTED_NAMES.split())
DEPTH = 4
WORD = 1 << 32
_NUMBER = re.compile(r"-?(0x[0-9a-fA-F]+|\d+)")
_HOLDS: dict[str, Callable[[int, int], bool]] = {
    "eq": operator.eq,
    "lt": operator.lt,
    "le": operator.le,
}
_OF_32_BITS: dict[str, Callable[..., int]] = {
    "mov": lambda a: a,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
    "add": operator.add,
    "sub": operator.sub,
    "shr": lambda a, b: a >> min(b, 32),
    "shl": lambda a, b: a << min(b, 32),
}
_INTEGERS = re.compile(r"[bsu](16|32|64)")


class Conditions:
    """The predicates of one kernel and what follows from each."""

    def __init__(
        self,
        statements: Iterable[Statement],
        precedes: Callable[[Statement, Statement], bool],
        threads: int,
    ) -> None:
        """Take every statement of the kernel: a register that is written twice has no facts.

        `precedes` says whether every path to the second statement passes the first, in one turn;
        `threads` how many the CTA may have, in one dimension.
        """
        self._precedes = precedes
        self._threads = range(threads)
        # Sets of threads are bits: thread n is bit n.
        self.everyone = (1 << threads) - 1
        self._passing: dict[str, int] = {}
        self._computed: dict[str, tuple[int, ...] | None] = {}
        self._definition: dict[str, Statement | None] = {}
        for statement in statements:
            for register in _written(statement):
                known = register in self._definition or statement.predicate
                self._definition[register] = None if known else statement

    def implied(self, branch: Statement, *, holds: bool) -> frozenset[Fact]:
        """The facts where the guard of `branch`, written `@%p1` or `@!%p1`, holds or does not."""
        name = branch.predicate.removeprefix("@")
        negated = name.startswith("!")
        return frozenset(self._facts(name.removeprefix("!"), holds is not negated, branch))

    def threads(self, facts: Iterable[Fact]) -> int:
        """The threads of the CTA, by %tid.x, for which the facts can hold, as bits."""
        left = self.everyone
        for name, value in facts:
            passing = self._passing.get(name)
            if passing is not None:
                left &= passing if value else ~passing
        return left

    def _written_once(self, register: str, user: Statement) -> Statement | None:
        """The only instruction that writes `register`, where every path to `user` passes it."""
        definition = self._definition.get(register)
        return definition if definition and self._precedes(definition, user) else None

    def _facts(self, register: str, value: bool, user: Statement) -> set[Fact]:  # noqa: FBT001 - a fact's half
        definition = self._written_once(register, user)
        if definition is None:
            return set()
        facts = {(register, value)}
        name, *words = definition.mnemonic.split(".")
        operands = [each.strip() for each in definition.operands.split(",")]
        if name == "setp" and len(words) == 2 and "|" not in operands[0]:  # noqa: PLR2004 - comparison and type
            facts |= self._comparison(definition, operands[1:], value)
        elif words == ["pred"] and (name, value) in {("or", False), ("and", True)}:
            facts |= {
                fact for each in operands[1:] for fact in self._facts(each, value, definition)
            }
        elif words == ["pred"] and name == "not":
            facts |= self._facts(operands[1], not value, definition)
        return facts

    def _comparison(self, setp: Statement, operands: list[str], value: bool) -> set[Fact]:  # noqa: FBT001 - a fact's half
        _, comparison, kind = setp.mnemonic.split(".")
        spelled = [self._spelled(each, setp, DEPTH) for each in operands]
        if any(each is None for each in spelled):
            return set()
        if _INTEGERS.fullmatch(kind) and comparison in _OPPOSITE:
            comparison, value = _OPPOSITE[comparison], not value
        name = f"{comparison}.{kind} {', '.join(map(str, spelled))}"
        if name not in self._passing and comparison in _HOLDS:
            one, other = (self._of_threads(each, setp) for each in operands)
            if one is not None and other is not None and {*one, *other} != {one[0], other[0]}:
                signed = kind.startswith("s")
                self._passing[name] = sum(
                    1 << tid
                    for tid in self._threads
                    if _HOLDS[comparison](_as(one[tid], signed), _as(other[tid], signed))
                )
        return {(name, value)}

    def _spelled(self, operand: str, user: Statement, depth: int) -> str | None:
        """An operand by what computes it, so that two registers of one value are spelled alike.

        None where a register of it is written more than once, or behind its use.
        """
        if not _REGISTER.search(operand):
            return operand
        definition = self._written_once(operand, user)
        if definition is None:
            return None
        name, *_ = definition.mnemonic.split(".")
        if depth and name in _COMPUTED and not definition.predicate:
            _, *sources = [each.strip() for each in definition.operands.split(",")]
            spelled = [self._spelled(each, definition, depth - 1) for each in sources]
            if None not in spelled:
                return f"({definition.mnemonic} {', '.join(map(str, spelled))})"
        return operand

    def _of_threads(self, operand: str, user: Statement) -> tuple[int, ...] | None:
        """An operand of 32 bits in every thread; None where it hangs on more than %tid.x."""
        if operand == "%tid.x":
            return tuple(self._threads)
        if _NUMBER.fullmatch(operand):
            return (int(operand, 0) % WORD,) * len(self._threads)
        definition = self._written_once(operand, user)
        if definition is None or definition.predicate:
            return None
        if operand not in self._computed:
            self._computed[operand] = self._compute(definition)
        return self._computed[operand]

    def _compute(self, definition: Statement) -> tuple[int, ...] | None:
        name, *words = definition.mnemonic.split(".")
        kind = words[-1] if words else ""
        signs = name == "shr" and kind == "s32"
        if name not in _OF_32_BITS or kind not in {"b32", "u32", "s32"} or "cc" in words or signs:
            return None
        sources = [each.strip() for each in definition.operands.split(",")][1:]
        known = [
            values for each in sources if (values := self._of_threads(each, definition)) is not None
        ]
        if len(known) < len(sources):
            return None
        return tuple(_OF_32_BITS[name](*each) % WORD for each in zip(*known, strict=True))


def _as(value: int, signed: bool) -> int:  # noqa: FBT001 - how the comparison reads it
    return value - WORD if signed and value >= WORD // 2 else value


def contradict(one: frozenset[Fact], other: frozenset[Fact]) -> bool:
    """Whether the two cannot hold together."""
    return any((name, not value) in other for name, value in one)


def _written(statement: Statement) -> list[str]:
    """The registers of the first operand: a name, a pair `a|b`, or a vector in braces."""
    first = statement.operands.strip()
    if first.startswith("{"):
        return _REGISTER.findall(first[: first.find("}")])
    first = first.split(",")[0]
    return [] if "[" in first else _REGISTER.findall(first)
