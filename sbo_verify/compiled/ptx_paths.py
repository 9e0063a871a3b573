"""Which lines of a PTX text stand on every path, whatever its conditions say.

`flow` follows conditions, so that a wait in `if (issuer)` stands on every path to what is in a
later `if (issuer)`. Machine code is read without them: it is held to what holds without them.
"""

from __future__ import annotations

from dataclasses import dataclass

from sbo_verify.compiled.ptx import Item, Label, Statement, scan
from sbo_verify.compiled.turns import goes_round, without_back_edges
from sbo_verify.vocabulary import Transfer, transfer


@dataclass(frozen=True)
class PtxPaths:
    """The paths of the only kernel in a PTX text."""

    _block_of: dict[int, int]
    _forward: list[list[int]]

    def always_passes(self, line: int, later: int) -> bool:
        """Whether every path from the entry to the statement at `later`, in one turn, has `line`.

        Raises `KeyError` for a line without a statement.
        """
        wall, stop = self._block_of[line], self._block_of[later]
        if wall == stop:
            return line < later
        return not goes_round(self._forward, {wall}, stop)


def read_paths(text: str) -> PtxPaths:
    """The paths in `text`; raises `PtxError` for text that is not one well-formed kernel."""
    blocks: list[list[Item]] = [[]]
    number_of: dict[str, int] = {}
    for item in scan(text):
        if isinstance(item, Label):
            blocks.append([])
            number_of[item.name] = len(blocks) - 1
            continue
        blocks[-1].append(item)
        if isinstance(item, Statement) and transfer(item.mnemonic) is not None:
            blocks.append([])
    successors = [_following(number, block, number_of) for number, block in enumerate(blocks)]
    if successors:
        successors[-1] = [each for each in successors[-1] if each < len(blocks)]
    block_of = {
        item.line: number
        for number, block in enumerate(blocks)
        for item in block
        if isinstance(item, Statement)
    }
    return PtxPaths(block_of, without_back_edges(successors))


def _following(number: int, block: list[Item], number_of: dict[str, int]) -> list[int]:
    last = block[-1] if block else None
    ends = transfer(last.mnemonic) if isinstance(last, Statement) else None
    if not isinstance(last, Statement) or ends is None:
        return [number + 1]
    # A branch to a label that is nowhere is refused by `flow`, which reads the same text.
    target = [number_of[last.operands]] if ends is Transfer.BRANCH else []
    return [*target, number + 1] if last.predicate else target
