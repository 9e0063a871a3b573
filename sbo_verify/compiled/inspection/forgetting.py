"""Which instructions of a function change what its conditions are read from."""

from __future__ import annotations

from sbo_verify.compiled.inspection.conditions import Conditions
from sbo_verify.compiled.inspection.graph import Graph
from sbo_verify.compiled.inspection.values import defined


class Forgetting:
    """For each block, the instructions that change what conditions are read from."""

    def __init__(self, graph: Graph, conditions: Conditions) -> None:
        guards = {
            op.guard[0]
            for block in graph.blocks
            for op in (*block.ops, *([block.branch] if block.branch else []))
            if op.guard
        }
        leaves = {leaf for name in guards for leaf in conditions.of(name).leaves}
        self._graph = graph
        self._asked = _asked(graph, conditions)
        self.once = frozenset(
            key
            for key, (times, blocks, unstable) in self._asked.items()
            if unstable and times == 1 and graph.inner[blocks.bit_length() - 1] is None
        )
        self._dead: dict[tuple[int, int], frozenset[str]] = {}
        self.blocks = [
            [
                (index, op, changed)
                for index, op in enumerate(block.ops)
                if (changed := leaves.intersection(defined(op)))
            ]
            for block in graph.blocks
        ]

    def dead(self, number: int, target: int) -> frozenset[str]:
        """The conditions that nothing behind the end of a loop asks for again."""
        loop = self._graph.inner[number]
        if loop is None or target in loop:
            return frozenset()
        if (number, target) not in self._dead:
            behind = self._graph.reach[target] | 1 << target
            self._dead[number, target] = frozenset(
                key
                for key, (_, blocks, unstable) in self._asked.items()
                if unstable and not blocks & behind
            )
        return self._dead[number, target]


def _asked(graph: Graph, conditions: Conditions) -> dict[str, tuple[int, int, bool]]:
    """How often each condition is asked for, in which blocks, and whether it can change."""
    asked: dict[str, tuple[int, int, bool]] = {}
    for number, block in enumerate(graph.blocks):
        for op in (*block.ops, *([block.branch] if block.branch else [])):
            pending = [conditions.of(op.guard[0])] if op.guard is not None else []
            while pending:
                each = pending.pop()
                times, blocks, _ = asked.get(each.key, (0, 0, False))
                asked[each.key] = (times + 1, blocks | 1 << number, bool(each.leaves))
                pending += (*each.parts_if_true, *each.parts_if_false)
    return asked
