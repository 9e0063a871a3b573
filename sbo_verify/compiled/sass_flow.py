"""In which order a thread meets the instructions of one function of machine code.

As `flow` does for PTX: program order is the order of the control-flow graph once the loops' back
edges are cut. What a branch of machine code does is read off its listing; where it cannot be told
where a thread goes on, the function is refused, so that no order is claimed for it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise

from sbo_verify.compiled.sass import UNIT_BYTES, SassError, SassFunction, SassInstruction
from sbo_verify.compiled.turns import (
    blocks_behind,
    goes_round,
    program_order,
    without_back_edges,
)

_LABEL = re.compile(r"`\(([^)]+)\)")
# Ends of a thread's way, where no predicate stands before them.
_ENDS = {"EXIT", "RET", "KILL"}
# A jump through a register: the cubin has a table of its targets, which nvdisasm prints.
_INDIRECT = {"BRX", "BRXU", "JMX", "JMXU", "JMP"}
_TARGETS = re.compile(r'\(\*"BRANCH_TARGETS ([^"]+)"\*\)')
_UNCONDITIONAL = "BRA"


@dataclass(frozen=True)
class SassFlow:
    """The order of a function's instructions; `order` has the reachable ones in program order."""

    order: tuple[SassInstruction, ...]
    _function: SassFunction
    _block_of: dict[int, int]
    _behind: tuple[int, ...]
    _forward: tuple[tuple[int, ...], ...]

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

    def bypasses(self, walls: Collection[int], later: int) -> bool:
        """Whether some path from the entry to `later`, in one turn, avoids all addresses `walls`.

        Conditions are not followed: a path that no thread can take counts as one.
        """
        stop = self._block_of[later]
        walled = {self._block_of[each] for each in walls if self._block_of[each] != stop}
        if any(self._block_of[each] == stop and each < later for each in walls):
            return False
        return goes_round(self._forward, walled, stop)

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


def read_flow(function: SassFunction, cut: Collection[tuple[int, int]] = frozenset()) -> SassFlow:
    """The control flow of one function, without the ways in `cut`: from one address to another.

    Raises `SassError` for a jump through a register whose targets the cubin does not name, for one
    out of the function, and for a reconvergence (BSYNC) that does not go on behind itself.
    """
    following = [
        [each for each in after if (index * UNIT_BYTES, each * UNIT_BYTES) not in cut]
        for index, after in enumerate(successors(function))
    ]
    starts = _block_starts(function, following)
    blocks = _blocks(len(function.instructions), starts)
    number_of = {block.start: number for number, block in enumerate(blocks)}
    after = [
        [number_of[index] for index in following[block.stop - 1] if index in number_of]
        for block in blocks
    ]
    forward = without_back_edges(after)
    numbers = program_order(forward)
    order: list[SassInstruction] = []
    block_of: dict[int, int] = {}
    for number in numbers:
        for index in blocks[number]:
            order.append(function.instructions[index])
            block_of[index * UNIT_BYTES] = number
    edges = tuple(tuple(each) for each in forward)
    return SassFlow(tuple(order), function, block_of, blocks_behind(forward, numbers), edges)


def successors(function: SassFunction) -> list[list[int]]:
    """Indices of the instructions that may follow each instruction, the next one first.

    Raises `SassError` as `read_flow` does.
    """
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
        return [*(behind if instruction.predicate else []), *_targets(instruction, function)]
    if word in _ENDS:
        return behind if instruction.predicate else []
    if word == "BSYNC":
        if (instruction.operands, instruction.address + UNIT_BYTES) not in joins:
            message = f"{instruction}: it cannot be told where its threads go on"
            raise SassError(message)
        return behind
    # WARPSYNC.COLLECTIVE names the end of a part that is executed for the warp as one, as a barrier
    # is; whoever goes there at once has had it executed for it, so that it is no way round.
    if word == _UNCONDITIONAL and (match := _LABEL.search(instruction.operands)):
        if match[1] not in function.labels:
            message = f"{instruction}: a jump to {match[1]}, which is not in {function.name}"
            raise SassError(message)
        target = function.labels[match[1]] // UNIT_BYTES
        # A condition stands before the jump, in its modifiers, or before the label.
        always = (
            instruction.opcode == _UNCONDITIONAL
            and not instruction.predicate
            and not instruction.operands[: match.start()].strip()
        )
        return [target] if always else [*behind, target]
    return behind


def _targets(instruction: SassInstruction, function: SassFunction) -> list[int]:
    match = _TARGETS.search(instruction.operands)
    if match is None:
        message = f"{instruction}: it cannot be told where this jump leads"
        raise SassError(message)
    names = match[1].split(",")
    if (lost := next((each for each in names if each not in function.labels), None)) is not None:
        message = f"{instruction}: a jump to {lost}, which is not in {function.name}"
        raise SassError(message)
    return [function.labels[each] // UNIT_BYTES for each in names]


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
