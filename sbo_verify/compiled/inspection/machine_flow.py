"""Where a thread goes in a function of machine code, and what stands outside of that.

Beside the branches there are three shapes of ptxas's own: a second copy of a barrier for warps that
are not together (`BRA.DIV`), functions that are called within one section, and loops that execute a
uniform instruction once for each thread (`BRA.U.ANY`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sbo_verify.compiled.inspection.machine_words import is_ordering
from sbo_verify.compiled.sass import UNIT_BYTES, SassFunction, SassInstruction
from sbo_verify.compiled.sass_flow import successors
from sbo_verify.compiled.sass_registers import NOTHING, Access
from sbo_verify.compiled.turns import reachable

_LABEL = re.compile(r"`\(([^)]+)\)")
# Around a barrier's second copy; none orders memory that the barrier itself does not order.
_AROUND = {"WARPSYNC", "ENDCOLLECTIVE", "BSSY", "BSYNC", "NOP", "YIELD"}
_LONGEST_COPY = 64


@dataclass(frozen=True)
class MachineFlow:
    """Which instructions follow each one, by index, and the calls: index to the callee's code.

    `reachable` are the indices that a thread comes to, callees left out.
    """

    successors: list[list[int]]
    calls: dict[int, frozenset[int] | None]
    reachable: frozenset[int]

    def clobbered(self, accesses: Mapping[int, Access]) -> dict[int, frozenset[str]]:
        """The registers that each call may change: what its callee writes, or all, if unknown."""
        everything = frozenset(
            register for each in accesses.values() for register in each.reads | each.writes
        )
        return {
            index: everything
            if body is None
            else frozenset(
                register
                for each in body
                for register in accesses.get(each * UNIT_BYTES, NOTHING).writes
            )
            for index, body in self.calls.items()
        }


def flow_of(function: SassFunction) -> MachineFlow:
    """The flow of one function.

    Raises `SassError` for a jump of which it cannot be told where it leads.
    """
    after = successors(function)
    for index, each in enumerate(function.instructions):
        if each.words[:2] == ("BRA", "DIV") and len(after[index]) > 1:
            after[index] = _joined(function, after, index)
        elif each.words == ("BRA", "U", "ANY") and _for_each_thread(function, after, index):
            after[index] = [index + 1]
    calls = {
        index: _callee(function, each, after)
        for index, each in enumerate(function.instructions)
        if each.words[0] == "CALL"
    }
    return MachineFlow(after, calls, frozenset(reachable(after, 0) if after else ()))


# Uniform instructions of which each thread that comes to them has its own.
_FOR_EACH = {"UBLKCP", "UBLKRED", "UTMASTG", "UTMALDG", "UTMAREDG"}


def _for_each_thread(function: SassFunction, after: Sequence[Sequence[int]], index: int) -> bool:
    """Whether a loop only executes one copy for one thread of the warp after the other.

    Each thread has its copy once; the turns of others are none of its own.
    """
    start = after[index][-1]
    if not start <= index:
        return False
    body = range(start, index)
    straight = all(after[each] == [each + 1] for each in body)
    roots = [
        function.instructions[each].words[0]
        for each in body
        if is_ordering(function.instructions[each])
    ]
    return straight and len(roots) == 1 and roots[0] in _FOR_EACH


def _joined(function: SassFunction, after: list[list[int]], index: int) -> list[int]:
    """The ways on from `BRA.DIV`: the second copy is left out where it does what the first does."""
    first, second = index + 1, next(each for each in after[index] if each != index + 1)
    copy, back = _straight(function, after, second)
    if back is None or back <= index:
        return after[index]
    here = range(first, back)
    mine = [_stem(function.instructions[each]) for each in here]
    theirs = [_stem(function.instructions[each]) for each in copy]
    same = sorted(filter(None, mine)) == sorted(filter(None, theirs))
    straight = all(after[each] == [each + 1] for each in here)
    return [first] if same and straight else after[index]


def _straight(
    function: SassFunction, after: list[list[int]], start: int
) -> tuple[list[int], int | None]:
    """The instructions from `start` to the jump that leads back, and where it leads."""
    passed: list[int] = []
    index = start
    while len(passed) < _LONGEST_COPY and len(after[index]) == 1:
        following = after[index][0]
        if function.instructions[index].words[0] == "BRA":
            return passed, following
        passed.append(index)
        index = following
    return passed, None


def _stem(instruction: SassInstruction) -> str:
    """A word of a barrier or of an exchange between threads; what else a copy needs is arithmetic.

    Anything that touches memory is a word of its own, and makes two copies differ.
    """
    root = instruction.words[0]
    if root in _AROUND or root in _ARITHMETIC:
        return ""
    return f"{instruction.predicate} {instruction.opcode}"


_ARITHMETIC = {"MOV", "IMAD", "SHF", "LOP3", "HFMA2", "UMOV", "S2R", "PLOP3", "VIADD", "IADD3"}


def _callee(
    function: SassFunction, call: SassInstruction, after: Sequence[Sequence[int]]
) -> frozenset[int] | None:
    """The code of a function that is called within its section; None where it is elsewhere."""
    match = _LABEL.search(call.operands)
    if match is None or match[1] not in function.labels:
        return None
    start = function.labels[match[1]] // UNIT_BYTES
    # A label may stand behind the last instruction.
    return frozenset(reachable(after, start) if start < len(after) else ())
