"""Which site every ordering instruction belongs to, and in which order a thread meets them.

A compiler lays blocks out as it likes, so that neither can be read from the order of the text.
Both are read from the control flow: a marker opens a region on every path that leads on from it,
and program order is the order of the graph once the loops' back edges are cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import reduce
from operator import and_, or_

from sbo_verify.compiled.guards import Conditions, Fact, contradict
from sbo_verify.compiled.ptx import Item, Label, Marker, PtxError, Statement, scan
from sbo_verify.compiled.turns import blocks_behind, program_order, without_back_edges
from sbo_verify.vocabulary import (
    Instruction,
    Transfer,
    UnknownInstructionError,
    parse,
    transfer,
)

# The limit that a kernel is compiled for (PTX ISA, ".maxntid"), or else the hardware's.
_MOST_THREADS = re.compile(r"^\s*\.maxntid\s+(\d+)", re.MULTILINE)
MOST_THREADS = 1024


@dataclass(frozen=True, slots=True)
class Region:
    """The code between one begin marker and its end; `line` is the begin marker's."""

    site: str
    line: int


@dataclass(frozen=True, slots=True)
class Located:
    """An ordering instruction, where it stands, and the regions around it, innermost last."""

    instruction: Instruction
    line: int
    predicate: str
    regions: tuple[Region, ...]

    @property
    def region(self) -> Region | None:
        """The innermost region; None outside every region."""
        return self.regions[-1] if self.regions else None


@dataclass(slots=True)
class _Block:
    items: list[Item] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    falls_through: bool = True
    successors: list[int] = field(default_factory=list)
    forward: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Code:
    """The ordering instructions and the regions of a kernel, both in program order.

    Where control flow leaves two of them unordered (two branches of one condition), they stand in
    the order of the text. `regions` pairs each region with the regions around it.
    """

    instructions: tuple[Located, ...]
    regions: tuple[tuple[Region, tuple[Region, ...]], ...]
    _place: dict[int, tuple[int, int]]
    _reachable: tuple[int, ...]
    _forward: tuple[tuple[int, ...], ...]
    _ends: dict[int, tuple[int, ...]]
    _edges: dict[tuple[int, int], frozenset[Fact]]
    _facts: dict[int, frozenset[Fact]]
    _threads: dict[int, int]

    def threads(self, line: int) -> frozenset[int] | None:
        """The threads that conditions on %tid.x let come to the item at PTX `line`.

        None where they let all of the CTA come, as they do where nothing is known of them.
        """
        bits = self._threads[self._place[line][0]]
        if bits == self._threads[0]:
            return None
        return frozenset(tid for tid in range(bits.bit_length()) if bits >> tid & 1)

    def ends(self, region: Region) -> tuple[int, ...]:
        """The PTX lines of the end markers that close `region`, one for every way out of it."""
        return self._ends.get(region.line, ())

    def dominates(self, line: int, later: int) -> bool:
        """Whether every path from the kernel's entry to the item at `later` passes that at `line`.

        As `bypasses` has it. An item with a predicate is passed, not executed, by the threads for
        which it is false.
        """
        return not self.bypasses(None, line, later)

    def bypasses(self, first: int | None, avoided: int, last: int) -> bool:
        """Whether a thread can go from the item at PTX `first` to that at `last` without `avoided`.

        In one turn, as `reaches` has it, from the kernel's entry for None. Two branches on one
        condition go the same way: a path that would need it to hold and not to hold is none.
        Raises `KeyError` as `reaches` does.
        """
        (start, start_index) = (0, -1) if first is None else self._place[first]
        (stop, stop_index), (wall, wall_index) = self._place[last], self._place[avoided]
        if start == stop:
            return start_index < stop_index and not (
                wall == start and start_index < wall_index < stop_index
            )
        if wall == start and wall_index > start_index:
            return False
        known = self._facts[start] | self._facts[stop]
        seen, pending = {start}, [start]
        while pending:
            number = pending.pop()
            for following in self._forward[number]:
                if following in seen or contradict(self._edges[number, following], known):
                    continue
                if following == stop:
                    if not (wall == stop and wall_index < stop_index):
                        return True
                elif following != wall:
                    seen.add(following)
                    pending.append(following)
        return False

    def reaches(self, line: int, later: int) -> bool:
        """Whether a thread can go from the item at PTX `line` to that at `later` in one turn.

        Loops' back edges are not taken. Raises `KeyError` for a line that holds neither an
        ordering instruction nor a marker.
        """
        block, index = self._place[line]
        later_block, later_index = self._place[later]
        if block == later_block:
            return index < later_index
        return bool(self._reachable[block] >> later_block & 1)


def read(text: str) -> Code:
    """The ordering instructions of the only kernel in `text`.

    Raises `PtxError` for text that is not one well-formed kernel, or whose regions do not nest
    along every path; `UnknownInstructionError`, with the line, for an instruction with no word.
    """
    blocks = _blocks(scan(text))
    ways = without_back_edges([block.successors for block in blocks])
    for block, forward in zip(blocks, ways, strict=True):
        block.forward = forward
    order = program_order(ways)
    entry_regions = _regions_at_entry(blocks)
    instructions: list[Located] = []
    regions: list[tuple[Region, tuple[Region, ...]]] = []
    place: dict[int, tuple[int, int]] = {}
    ends: dict[int, tuple[int, ...]] = {}
    for number in order:
        for index, (item, around) in enumerate(_walk(blocks[number], entry_regions[number])):
            if isinstance(item, Marker):
                place[item.line] = (number, index)
                if item.begins:
                    regions.append((Region(item.site, item.line), around))
                else:
                    begun = around[-1].line
                    ends[begun] = (*ends.get(begun, ()), item.line)
            elif isinstance(item, Statement) and (found := _located(item, around)) is not None:
                instructions.append(found)
                place[item.line] = (number, index)
    _refuse_unreachable(blocks, set(order))
    reachable = blocks_behind(ways, order)
    turn = tuple(map(tuple, ways))
    most = _MOST_THREADS.search(text)
    conditions = _conditions(blocks, order, int(most[1]) if most else MOST_THREADS)
    return Code(tuple(instructions), tuple(regions), place, reachable, turn, ends, *conditions)


def _conditions(
    blocks: list[_Block], order: list[int], most: int
) -> tuple[dict[tuple[int, int], frozenset[Fact]], dict[int, frozenset[Fact]], dict[int, int]]:
    """What holds on each edge of a turn; in each block, whatever path leads there; and for whom."""
    inward: dict[int, list[int]] = {number: [] for number in order}
    for number in order:
        for following in blocks[number].forward:
            inward[following].append(number)
    conditions = _readable_conditions(blocks, order, inward, most)
    threads: dict[int, int] = {}
    edges: dict[tuple[int, int], frozenset[Fact]] = {}
    facts: dict[int, frozenset[Fact]] = {}
    for number in order:
        held = [facts[each] | edges[each, number] for each in inward[number]]
        facts[number] = frozenset.intersection(*held) if held else frozenset()
        came = [threads[each] & conditions.threads(edges[each, number]) for each in inward[number]]
        threads[number] = reduce(or_, came, 0) if came else conditions.everyone
        block = blocks[number]
        edges |= {(number, following): frozenset() for following in block.forward}
        branch = block.items[-1] if block.items else None
        if not (isinstance(branch, Statement) and branch.predicate and block.targets):
            continue
        taken, otherwise = block.successors[0], block.successors[-1]
        for following, holds in ((taken, True), (otherwise, False)):
            if taken != otherwise and (number, following) in edges:
                edges[number, following] = conditions.implied(branch, holds=holds)
    return edges, facts, threads


def _readable_conditions(
    blocks: list[_Block], order: list[int], inward: dict[int, list[int]], most: int
) -> Conditions:
    """The kernel's predicates; a register read before its writing in a turn has an older value."""
    dominators: dict[int, int] = {}
    where: dict[int, int] = {}
    statements: list[Statement] = []
    for number in order:
        above = [dominators[each] for each in inward[number]]
        dominators[number] = reduce(and_, above, above[0] if above else 0) | 1 << number
        for item in blocks[number].items:
            if isinstance(item, Statement):
                statements.append(item)
                where[item.line] = number

    def precedes(written: Statement, read: Statement) -> bool:
        block, later = where[written.line], where[read.line]
        if block == later:
            return written.line < read.line
        return bool(dominators[later] >> block & 1)

    return Conditions(statements, precedes, most)


def _located(item: Statement, around: tuple[Region, ...]) -> Located | None:
    try:
        instruction = parse(item.mnemonic, item.operands)
    except UnknownInstructionError as error:
        message = f"PTX line {item.line}: no word for {error}"
        raise UnknownInstructionError(message) from error
    if instruction is None:
        return None
    return Located(instruction, item.line, item.predicate, around)


def _blocks(items: list[Item]) -> list[_Block]:
    """Basic blocks in the order of the text, joined by fall-through and branches."""
    blocks = [_Block()]
    number_of: dict[str, int] = {}
    for item in items:
        if isinstance(item, Label):
            if item.name in number_of:
                message = f"PTX line {item.line}: label {item.name} stands twice"
                raise PtxError(message)
            blocks.append(_Block())
            number_of[item.name] = len(blocks) - 1
            continue
        blocks[-1].items.append(item)
        if isinstance(item, Statement) and (where := transfer(item.mnemonic)) is not None:
            if where is Transfer.BRANCH:
                blocks[-1].targets.append(item.operands)
            blocks[-1].falls_through = bool(item.predicate)
            blocks.append(_Block())
    for number, block in enumerate(blocks):
        block.successors = [_target(number_of, name, block) for name in block.targets]
        if block.falls_through and number + 1 < len(blocks):
            block.successors.append(number + 1)
    return blocks


def _target(number_of: dict[str, int], name: str, block: _Block) -> int:
    if name not in number_of:
        message = f"PTX line {block.items[-1].line}: a branch to {name}, which is nowhere"
        raise PtxError(message)
    return number_of[name]


def _regions_at_entry(blocks: list[_Block]) -> dict[int, tuple[Region, ...]]:
    """The regions that are open at each block's beginning, the same on every path that leads there.

    Back edges are followed too: a region that a loop opens and does not close is an error.
    """
    known: dict[int, tuple[Region, ...]] = {0: ()}
    pending = [0]
    while pending:
        number = pending.pop()
        around = known[number]
        for item, before in _walk(blocks[number], around):
            around = _after(item, before)
        if not blocks[number].successors and around:
            message = f"PTX line {around[-1].line}: region {around[-1].site} is never closed"
            raise PtxError(message)
        for following in blocks[number].successors:
            if following not in known:
                known[following] = around
                pending.append(following)
            elif known[following] != around:
                message = (
                    f"PTX line {_first_line(blocks[following])}: one path comes here in "
                    f"{_names(around)}, another in {_names(known[following])}"
                )
                raise PtxError(message)
    return known


def _walk(block: _Block, around: tuple[Region, ...]) -> Iterator[tuple[Item, tuple[Region, ...]]]:
    """Each item of a block with the regions that are open before it."""
    for item in block.items:
        yield item, around
        around = _after(item, around)


def _after(item: Item, around: tuple[Region, ...]) -> tuple[Region, ...]:
    """The regions that are open behind `item`."""
    if not isinstance(item, Marker):
        return around
    if item.begins:
        return (*around, Region(item.site, item.line))
    if not around or around[-1].site != item.site:
        message = f"PTX line {item.line}: end of {item.site} in {_names(around)}"
        raise PtxError(message)
    return around[:-1]


def _names(around: tuple[Region, ...]) -> str:
    return " > ".join(f"{region.site} (line {region.line})" for region in around) or "no region"


def _first_line(block: _Block) -> str:
    return str(block.items[0].line) if block.items else "(empty block)"


def _refuse_unreachable(blocks: list[_Block], reached: set[int]) -> None:
    """No thread executes such a block, so what it orders would be counted for nothing."""
    for number, block in enumerate(blocks):
        if number in reached:
            continue
        for item in block.items:
            if isinstance(item, Statement) and _located(item, ()) is not None:
                message = f"PTX line {item.line}: {item.mnemonic} can never be reached"
                raise PtxError(message)
