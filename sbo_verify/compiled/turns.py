"""A control-flow graph of numbered blocks with its loops' back edges cut: one turn of every loop.

Blocks are numbered from 0, the entry; a graph is the list of each block's successors.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Sequence


def without_back_edges(successors: list[list[int]]) -> list[list[int]]:
    """All edges but those that lead back to a block on the way there.

    In the reducible graphs that compilers of structured code emit, these are the loops' back edges
    whatever the order of the visit.
    """
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


def program_order(forward: list[list[int]]) -> list[int]:
    """The reachable blocks, each after all that precede it; else by number."""
    waiting_for = dict.fromkeys(reachable(forward, 0), 0)
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


def reachable(successors: Sequence[Sequence[int]], start: int) -> set[int]:
    """`start` and all blocks that some path leads to from there."""
    seen, pending = {start}, [start]
    while pending:
        for following in successors[pending.pop()]:
            if following not in seen:
                seen.add(following)
                pending.append(following)
    return seen


def blocks_behind(forward: list[list[int]], order: list[int]) -> tuple[int, ...]:
    """For each block, the set of blocks behind it in one turn, as bits."""
    behind = [0] * len(forward)
    for number in reversed(order):
        for following in forward[number]:
            behind[number] |= behind[following] | 1 << following
    return tuple(behind)


def goes_round(forward: Sequence[Sequence[int]], walls: Collection[int], stop: int) -> bool:
    """Whether some path from the entry to the block `stop` avoids the blocks `walls`.

    Conditions are not followed: a path that no thread can take counts as one.
    """
    if 0 in walls:
        return False
    seen, pending = {0}, [0]
    while pending:
        number = pending.pop()
        if number == stop:
            return True
        for following in forward[number]:
            if following not in seen and following not in walls:
                seen.add(following)
                pending.append(following)
    return False
