"""What is the same for all threads of a warp, where machine code says so by its registers alone.

A uniform register holds one value for the warp, and an election chooses among those threads that
come to it. Both are followed unless threads of one warp are known to differ there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from sbo_verify.compiled.inspection.function import op_reads
from sbo_verify.compiled.inspection.graph import Graph, graph_of
from sbo_verify.compiled.inspection.lanes import WARP
from sbo_verify.compiled.inspection.machine_values import FROM_VECTOR, UNKNOWN
from sbo_verify.compiled.inspection.text import Function, Mark, Op
from sbo_verify.compiled.inspection.values import Lanes, Values

_PER_THREAD = ("tid:", "laneid", "elect")


def settled(body: Sequence[Op | Mark]) -> Iterator[Op]:
    """What replaces instructions of a function's body whose value is not followed after all.

    That is a value for the warp that differs between its threads, and an election among some of a
    warp. Each has the place of what it replaces.
    """
    ops = [item for item in body if isinstance(item, Op)]
    values = Values(ops, flat=not any(op_reads(op, ("%tid.y", "%tid.z")) for op in ops))
    if any(op.mnemonic == "elect.sync" for op in ops):
        graph = graph_of(Function("", entry=True, line=0, body=list(body)))
        divided = {op.place for n in _divided(graph, values) for op in graph.blocks[n].ops}
        yield from (
            _unknown(op) for op in ops if op.mnemonic == "elect.sync" and op.place in divided
        )
    for op in ops:
        if op.mnemonic == FROM_VECTOR and _differs(values, op.operands[1]):
            yield _unknown(op)


def _unknown(op: Op) -> Op:
    name = op.operands[0].removeprefix("_|")
    return replace(op, mnemonic=UNKNOWN, operands=(name, *op.operands[1:]))


def _differs(values: Values, name: str) -> bool:
    """Whether a value is known to differ between the threads of some warp."""
    value = values.of(name)
    if not isinstance(value, Lanes):
        return value is not None and any(word in value.text for word in _PER_THREAD)
    warps = value.numbers.reshape(-1, WARP)
    return bool(np.any(warps != warps[:, :1]))


def _divided(graph: Graph, values: Values) -> set[int]:
    """The blocks that a part of a warp may come to alone.

    From a branch that divides a warp, these are all blocks before the first that every way from
    there passes; where there is none, all that can be reached.
    """
    divided: set[int] = set()
    behind = _passed_by_all_ways(graph)
    for number in graph.reachable:
        branch = graph.blocks[number].branch
        if branch is None or branch.guard is None or not _differs(values, branch.guard[0]):
            continue
        joins = behind[number] & ~(1 << number)
        pending = list(graph.blocks[number].successors)
        seen: set[int] = set()
        while pending:
            each = pending.pop()
            if each not in seen and not joins >> each & 1:
                seen.add(each)
                pending.extend(graph.blocks[each].successors)
        divided |= seen
    return divided


def _passed_by_all_ways(graph: Graph) -> dict[int, int]:
    """For each block, as bits, those that every way from it to an end of the function passes."""
    ends = {number for number in graph.reachable if _may_end(graph, number)}
    reaching = set(ends)
    grown = True
    while grown:
        more = {
            number
            for number in graph.reachable - reaching
            if reaching & set(graph.blocks[number].successors)
        }
        grown = bool(more)
        reaching |= more
    every = sum(1 << number for number in graph.reachable)
    found = {n: (1 << n if n in ends or n not in reaching else every) for n in graph.reachable}
    order = sorted(reaching - ends, reverse=True)
    changed = True
    while changed:
        changed = False
        for number in order:
            common = every
            for following in graph.blocks[number].successors:
                common &= found[following]
            new = common | 1 << number
            changed |= new != found[number]
            found[number] = new
    return found


def _may_end(graph: Graph, number: int) -> bool:
    block = graph.blocks[number]
    return not block.successors or (block.branch is not None and block.branch.mnemonic == "exit")
