"""Which registers of a thread can still matter at each of its instructions.

A turn of a spin loop that changed no such register and had no effect can be left out.
"""

from __future__ import annotations

from collections.abc import Sequence

from sbo_verify.model.program import (
    Atomic,
    Barrier,
    Branch,
    Instruction,
    Load,
    Local,
    Require,
    Store,
    Value,
)


def live_registers(
    instructions: Sequence[Instruction], labels: dict[str, int], asked: set[str]
) -> list[frozenset[str]]:
    """For each instruction, the registers that may be read from there on before being written.

    `asked` are those that the final condition reads. The last entry is the end of the thread.
    """
    live: list[frozenset[str]] = [frozenset()] * len(instructions) + [frozenset(asked)]
    changed = True
    while changed:
        changed = False
        for place in reversed(range(len(instructions))):
            instruction = instructions[place]
            after = live[place + 1]
            if isinstance(instruction, Branch):
                after = live[labels[instruction.label]] | (
                    frozenset() if instruction.comparison == "always" else after
                )
            now = (after - _written(instruction)) | _read(instruction)
            if now != live[place]:
                live[place] = now
                changed = True
    return live


def _names(*values: Value | None) -> frozenset[str]:
    return frozenset(value for value in values if isinstance(value, str))


def _written(instruction: Instruction) -> frozenset[str]:
    if isinstance(instruction, (Load, Atomic, Local)) and instruction.register is not None:
        return frozenset({instruction.register})
    return frozenset()


def _read(instruction: Instruction) -> frozenset[str]:
    if isinstance(instruction, Store):
        return _names(instruction.value)
    if isinstance(instruction, Atomic):
        return _names(*instruction.operands)
    if isinstance(instruction, Barrier):
        return _names(instruction.resource, instruction.count)
    if isinstance(instruction, (Local, Branch, Require)):
        return _names(instruction.left, instruction.right)
    return frozenset()
