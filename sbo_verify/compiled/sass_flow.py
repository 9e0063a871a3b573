"""In which order a thread meets the instructions of one function of machine code.

As `flow` does for PTX: program order is the order of the control-flow graph once the loops' back
edges are cut. What a branch of machine code does is read off its listing; where it cannot be told
where a thread goes on, the function is refused, so that no order is claimed for it.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from sbo_verify.compiled.sass import UNIT_BYTES, SassError, SassFunction, SassInstruction

_LABEL = re.compile(r"`\(([^)]+)\)")
# Ends of a thread's way, where no predicate stands before them.
_ENDS = {"EXIT", "RET", "KILL"}
# A jump through a register: nothing in the listing says where to.
_INDIRECT = {"BRX", "BRXU", "JMX", "JMXU", "JMP"}
_UNCONDITIONAL = "BRA"


@dataclass(frozen=True)
class SassFlow:
    """The order of a function's instructions; `order` has the reachable ones in program order."""

    order: tuple[SassInstruction, ...]
    _function: SassFunction
    _block_of: dict[int, int]
    _behind: tuple[int, ...]

    def reachable(self, address: int) -> bool:
        """Whether any thread comes to the instruction at `address`, calls not followed."""
        return address in self._block_of

    def reaches(self, address: int, later: int) -> bool:
        """Whether a thread can go from `address` to `later` in one turn of every loop around both.

        Raises `KeyError` for an address that no thread comes to.
        """
        block, later_block = self._block_of[address], self._block_of[later]
        if block == later_block:
            return address < later
        return bool(self._behind[block] >> later_block & 1)

    def together(self, one: SassInstruction, other: SassInstruction) -> bool:
        """Whether a thread that executes `one` surely executes `other` in the same turn.

        True in one basic block, where `other` has no predicate or that of `one`, unchanged between.
        """
        if self._block_of[one.address] != self._block_of[other.address]:
            return False
        if not other.predicate:
            return True
        low, high = sorted((one.address, other.address))
        between = self._function.instructions[low // UNIT_BYTES + 1 : high // UNIT_BYTES]
        name = re.compile(rf"\b{other.predicate.lstrip('@!')}\b")
        changed = any(name.search(each.operands) for each in between)
        return one.predicate == other.predicate and not changed


def read_flow(function: SassFunction) -> SassFlow:
    """The control flow of one function.

    Raises `SassError` for a jump whose target is in a register or outside the function, and for a
    reconvergence (BSYNC) that does not go on behind itself.
    """
    following = _successors(function)
    starts = _block_starts(function, following)
    blocks = _blocks(len(function.instructions), starts)
    number_of = {block.start: number for number, block in enumerate(blocks)}
    successors = [
        [number_of[index] for index in following[block.stop - 1] if index in number_of]
        for block in blocks
    ]
    forward = _forward(successors)
    numbers = _program_order(forward)
    order: list[SassInstruction] = []
    block_of: dict[int, int] = {}
    for number in numbers:
        for index in blocks[number]:
            order.append(function.instructions[index])
            block_of[index * UNIT_BYTES] = number
    return SassFlow(tuple(order), function, block_of, _behind(forward, numbers))


def _successors(function: SassFunction) -> list[list[int]]:
    """Indices of the instructions that may follow each instruction."""
    joins = _joins(function)
    return [
        _following(index, instruction, function, joins)
        for index, instruction in enumerate(function.instructions)
    ]


def _joins(function: SassFunction) -> set[tuple[str, int]]:
    """Barrier register and address of every place where a BSSY says that threads join."""
    return {
        (each.operands.split(",")[0], function.labels[match[1]])
        for each in function.instructions
        if each.words[0] == "BSSY" and (match := _LABEL.search(each.operands))
        if match[1] in function.labels
    }


def _following(
    index: int, instruction: SassInstruction, function: SassFunction, joins: set[tuple[str, int]]
) -> list[int]:
    word = instruction.words[0]
    behind = [index + 1] if index + 1 < len(function.instructions) else []
    if word in _INDIRECT:
        message = f"{instruction}: it cannot be told where this jump leads"
        raise SassError(message)
    if word in _ENDS:
        return behind if instruction.predicate else []
    if word == "BSYNC":
        if (instruction.operands, instruction.address + UNIT_BYTES) not in joins:
            message = f"{instruction}: it cannot be told where its threads go on"
            raise SassError(message)
        return behind
    if word in {_UNCONDITIONAL, "WARPSYNC"} and (match := _LABEL.search(instruction.operands)):
        if match[1] not in function.labels:
            message = f"{instruction}: a jump to {match[1]}, which is not in {function.name}"
            raise SassError(message)
        target = function.labels[match[1]] // UNIT_BYTES
        # A condition stands before the jump, in its modifiers, or before the label.
        always = (
            word == instruction.opcode == _UNCONDITIONAL
            and not instruction.predicate
            and not instruction.operands[: match.start()].strip()
        )
        return [target] if always else [*behind, target]
    return behind


def _block_starts(function: SassFunction, following: list[list[int]]) -> set[int]:
    starts = {0}
    for index, after in enumerate(following):
        if after != [index + 1]:
            starts.update(after)
            starts.add(index + 1)
    starts.discard(len(function.instructions))
    return starts


def _blocks(count: int, starts: set[int]) -> list[range]:
    ordered = [*sorted(starts), count]
    return [range(a, b) for a, b in pairwise(ordered) if a < b]


def _forward(successors: list[list[int]]) -> list[list[int]]:
    """All edges but those that lead back to a block on the way there: the loops' back edges."""
    unseen, on_path, done = range(3)
    state = [unseen] * len(successors)
    forward: list[list[int]] = [[] for _ in successors]
    state[0] = on_path
    path: list[tuple[int, Iterator[int]]] = [(0, iter(successors[0]))]
    while path:
        number, rest = path[-1]
        following = next(rest, None)
        if following is None:
            state[number] = done
            path.pop()
        elif state[following] != on_path:
            forward[number].append(following)
            if state[following] == unseen:
                state[following] = on_path
                path.append((following, iter(successors[following])))
    return forward


def _program_order(forward: list[list[int]]) -> list[int]:
    """The reachable blocks, each after all that precede it; else by address."""
    waiting_for = dict.fromkeys(_reachable(forward), 0)
    for number in waiting_for:
        for following in forward[number]:
            waiting_for[following] += 1
    ready, order = [0], []
    while ready:
        number = heapq.heappop(ready)
        order.append(number)
        for following in forward[number]:
            waiting_for[following] -= 1
            if waiting_for[following] == 0:
                heapq.heappush(ready, following)
    return order


def _reachable(forward: list[list[int]]) -> set[int]:
    seen, pending = {0}, [0]
    while pending:
        for following in forward[pending.pop()]:
            if following not in seen:
                seen.add(following)
                pending.append(following)
    return seen


def _behind(forward: list[list[int]], order: list[int]) -> tuple[int, ...]:
    """For each block, the set of blocks behind it in one turn, as bits."""
    behind = [0] * len(forward)
    for number in reversed(order):
        for following in forward[number]:
            behind[number] |= behind[following] | 1 << following
    return tuple(behind)
