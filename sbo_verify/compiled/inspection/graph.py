"""Control flow of a function: blocks, turns of loops, and which loops wait for memory to change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from sbo_verify.compiled.inspection.reaching import split_registers
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

    `ahead` has for each block, as bits, the blocks behind it in one turn: no back edge is taken;
    `reach` those behind it in any turn, `origin` those that it is ahead of. `inner` is the
    innermost loop around each block.
    """

    blocks: list[Block]
    loops: list[frozenset[int]]
    reachable: frozenset[int]
    ahead: list[int]
    reach: list[int]
    origin: list[int]
    inner: list[frozenset[int] | None]
    home: dict[int, tuple[int, int]]

    def before(self, first: Op, second: Op) -> bool:
        """Whether a thread can go from `first` to `second` in one turn of every loop."""
        (block, index), (other, other_index) = self.home[id(first)], self.home[id(second)]
        return index < other_index if block == other else bool(self.ahead[block] >> other & 1)

    def leads(self, first: Op, second: Op) -> bool:
        """Whether a thread can go from `first` to `second` at all."""
        block, other = self.home[id(first)][0], self.home[id(second)][0]
        return self.before(first, second) or bool(self.reach[block] >> other & 1)

    def loop_of(self, op: Op) -> frozenset[int] | None:
        """The innermost loop around an instruction."""
        return self.inner[self.home[id(op)][0]]

    def always(self, loop: frozenset[int], first: Op | None, through: Iterable[Op]) -> bool:
        """Whether each way from `first`, or the head, to the end of a turn passes one of some."""
        inside = sum(1 << each for each in loop)
        head = max(loop, key=lambda each: (self.ahead[each] & inside).bit_count())
        start, index = (head, -1) if first is None else self.home[id(first)]
        places = [self.home[id(op)] for op in through]
        if any(block == start and place > index for block, place in places):
            return True
        walls = {block for block, _ in places}
        pending, seen = [start], {start}
        while pending:
            for following in self.blocks[pending.pop()].successors:
                if following == head:
                    return False
                if following in loop and following not in seen and following not in walls:
                    seen.add(following)
                    pending.append(following)
        return True


def graph_of(function: Function) -> Graph:
    """The control flow of a function.

    Raises `PtxError` for a branch to nowhere, a label that stands twice and an indirect branch.
    """
    blocks = _blocks(function)
    _split(blocks)
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
    inner: list[frozenset[int] | None] = [None] * len(blocks)
    for loop in sorted(loops, key=len, reverse=True):
        for number in loop:
            inner[number] = loop
    reach = _reach(blocks, order, ahead)
    origin = [0] * len(blocks)
    for number in reversed(order):
        for following in forward[number]:
            origin[following] |= origin[number] | 1 << number
    return Graph(blocks, loops, frozenset(reachable), ahead, reach, origin, inner, home)


def _split(blocks: Sequence[Block]) -> None:
    """Give the values of registers that are written more than once names of their own."""
    ops = [[*each.ops, *([each.branch] if each.branch else [])] for each in blocks]
    split_registers(ops, [each.successors for each in blocks])
    for block, new in zip(blocks, ops, strict=True):
        block.branch = new.pop() if block.branch is not None else None
        block.ops = new


def _reach(blocks: Sequence[Block], order: Sequence[int], ahead: Sequence[int]) -> list[int]:
    """The blocks that can follow each, over back edges too."""
    reach = list(ahead)
    changed = True
    while changed:
        changed = False
        for number in order:
            found = reach[number]
            for following in blocks[number].successors:
                found |= reach[following] | 1 << following
            changed |= found != reach[number]
            reach[number] = found
    return reach


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
        if transfer(item.mnemonic) is None and not item.mnemonic.startswith("brx"):
            blocks[-1].ops.append(item)
            continue
        blocks[-1].branch = item
        ended = True
    for number in range(len(blocks)):
        _join(function, blocks, number, number_of)
    return blocks


def _targets(function: Function, branch: Op) -> tuple[str, ...]:
    """The labels that a branch may lead to; an indirect one names a list of them."""
    if transfer(branch.mnemonic) is Transfer.BRANCH:
        targets = branch.operands[:1]
    else:
        targets = function.targets.get(branch.operands[-1], ()) if branch.operands else ()
    if not targets:
        message = f"PTX line {branch.line}: {branch.mnemonic}: where it leads is not written"
        raise PtxError(message)
    return targets


def _join(
    function: Function, blocks: Sequence[Block], number: int, number_of: dict[str, int]
) -> None:
    block = blocks[number]
    branch = block.branch
    if branch is not None and branch.mnemonic.startswith("br"):
        for target in _targets(function, branch):
            if target not in number_of:
                message = f"PTX line {branch.line}: a branch to {target}, which is nowhere"
                raise PtxError(message)
            block.taken.append(number_of[target])
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
