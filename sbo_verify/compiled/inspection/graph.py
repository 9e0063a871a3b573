"""Control flow of a function: blocks, turns of loops, and which loops wait for memory to change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sbo_verify.compiled.inspection.text import Function, Mark, Op
from sbo_verify.compiled.ptx import PtxError
from sbo_verify.vocabulary import Transfer, transfer


@dataclass
class Block:
    """Instructions that follow each other; `branch` is the last, where it decides.

    `taken` is where the branch leads, `following` where control goes otherwise.
    """

    ops: list[Op] = field(default_factory=list)
    branch: Op | None = None
    taken: list[int] = field(default_factory=list)
    following: int | None = None

    @property
    def successors(self) -> list[int]:
        """Where control may go from here."""
        after = [] if self.following is None else [self.following]
        return list(dict.fromkeys([*self.taken, *after]))


@dataclass
class Graph:
    """A function's blocks, entry first; `loops` are its strongly connected sets of blocks.

    `ahead` has for each block, as bits, the blocks behind it in one turn: no back edge is taken.
    """

    blocks: list[Block]
    loops: list[frozenset[int]]
    reachable: frozenset[int]
    ahead: list[int]
    home: dict[int, tuple[int, int]]

    def before(self, first: Op, second: Op) -> bool:
        """Whether a thread can go from `first` to `second` in one turn of every loop."""
        (block, index), (other, other_index) = self.home[id(first)], self.home[id(second)]
        return index < other_index if block == other else bool(self.ahead[block] >> other & 1)

    def leads(self, first: Op, second: Op) -> bool:
        """Whether a thread can go from `first` to `second` at all."""
        (block, _), (other, _) = self.home[id(first)], self.home[id(second)]
        same = any(block in loop and other in loop for loop in self.loops)
        if same or self.before(first, second):
            return True
        return any(self._loop_ahead(loop, other) for loop in self.loops if block in loop)

    def _loop_ahead(self, loop: frozenset[int], other: int) -> bool:
        return any(self.ahead[each] >> other & 1 for each in loop)

    def loop_of(self, op: Op) -> frozenset[int] | None:
        """The innermost loop around an instruction."""
        block, _ = self.home[id(op)]
        around = [loop for loop in self.loops if block in loop]
        return min(around, key=len, default=None)


def graph_of(function: Function) -> Graph:
    """The control flow of a function.

    Raises `PtxError` for a branch to nowhere, a label that stands twice and an indirect branch.
    """
    blocks = _blocks(function)
    reachable, back = _walk(blocks)
    forward = [
        [b for b in block.successors if (number, b) not in back]
        for number, block in enumerate(blocks)
    ]
    order = _postorder(forward, reachable)
    ahead = [0] * len(blocks)
    for number in order:
        for following in forward[number]:
            ahead[number] |= ahead[following] | 1 << following
    loops = _loops(blocks, back, reachable)
    home = {
        id(op): (number, index)
        for number, block in enumerate(blocks)
        for index, op in enumerate([*block.ops, *([block.branch] if block.branch else [])])
    }
    return Graph(blocks, loops, frozenset(reachable), ahead, home)


def _blocks(function: Function) -> list[Block]:
    blocks = [Block()]
    number_of: dict[str, int] = {}
    ended = False
    for item in function.body:
        if isinstance(item, Mark):
            if item.name in number_of:
                message = f"PTX line {item.line}: label {item.name} stands twice"
                raise PtxError(message)
            blocks.append(Block())
            number_of[item.name] = len(blocks) - 1
            ended = False
            continue
        if ended:
            blocks.append(Block())
            ended = False
        where = transfer(item.mnemonic)
        if item.mnemonic.startswith("brx"):
            message = f"PTX line {item.line}: {item.mnemonic}: where it leads is not read"
            raise PtxError(message)
        if where is None:
            blocks[-1].ops.append(item)
            continue
        blocks[-1].branch = item
        ended = True
    for number, block in enumerate(blocks):
        _join(blocks, number, block, number_of)
    return blocks


def _join(blocks: Sequence[Block], number: int, block: Block, number_of: dict[str, int]) -> None:
    branch = block.branch
    if branch is not None and transfer(branch.mnemonic) is Transfer.BRANCH:
        if branch.operands[0] not in number_of:
            message = f"PTX line {branch.line}: a branch to {branch.operands[0]}, which is nowhere"
            raise PtxError(message)
        block.taken.append(number_of[branch.operands[0]])
    goes_on = branch is None or branch.guard is not None
    if goes_on and number + 1 < len(blocks):
        block.following = number + 1


def _walk(blocks: Sequence[Block]) -> tuple[set[int], set[tuple[int, int]]]:
    """The blocks that can be reached, and the edges that lead back to a block on the way there."""
    back: set[tuple[int, int]] = set()
    on_path, seen = {0}, {0}
    path: list[tuple[int, Iterator[int]]] = [(0, iter(blocks[0].successors))]
    while path:
        number, successors = path[-1]
        following = next(successors, None)
        if following is None:
            on_path.discard(number)
            path.pop()
        elif following in on_path:
            back.add((number, following))
        elif following not in seen:
            seen.add(following)
            on_path.add(following)
            path.append((following, iter(blocks[following].successors)))
    return seen, back


def _postorder(forward: Sequence[Sequence[int]], reachable: set[int]) -> list[int]:
    order: list[int] = []
    seen: set[int] = set()
    for start in sorted(reachable):
        if start in seen:
            continue
        seen.add(start)
        path = [(start, iter(forward[start]))]
        while path:
            number, successors = path[-1]
            following = next((each for each in successors if each not in seen), None)
            if following is None:
                order.append(number)
                path.pop()
            else:
                seen.add(following)
                path.append((following, iter(forward[following])))
    return order


def _loops(
    blocks: Sequence[Block], back: set[tuple[int, int]], reachable: set[int]
) -> list[frozenset[int]]:
    """The natural loop of each back edge; those with one head are one loop."""
    before: dict[int, list[int]] = {}
    for number in reachable:
        for following in blocks[number].successors:
            before.setdefault(following, []).append(number)
    members: dict[int, set[int]] = {}
    for tail, head in back:
        inside = members.setdefault(head, {head})
        pending = [tail]
        while pending:
            number = pending.pop()
            if number not in inside:
                inside.add(number)
                pending.extend(before.get(number, []))
    return [frozenset(inside) for _, inside in sorted(members.items())]
