"""What a thread knows of its stores and polls, and what each ordering instruction adds to that.

Source: PTX ISA 9.0, "cp.async.bulk.wait_group", "membar / fence", "Memory Consistency Model".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, MutableMapping
from typing import TypeVar

from sbo_verify.compiled.inspection.events import Event
from sbo_verify.compiled.inspection.values import PER_THREAD
from sbo_verify.vocabulary import Kind, Order, Scope, Space

# (what, place of the instruction): "s" a tile store, "o" earlier ones of the same instruction,
# "h" a write to shared memory, "p" a poll, "t" a poll that was given up, "w" an mbarrier that was
# asked; "q" and "u" are "s" and "h" of those threads alone that a warp barrier joined. The third
# word says whether a barrier stood behind it in the same turn of the loop.
Key = tuple[str, int]
SeenKey = tuple[str, int, bool]
# What a meeting tells of each fact, and whether it is of this turn.
Told = tuple[str, bool]
Literal = tuple[str, bool, frozenset[str]]
_AnyKey = TypeVar("_AnyKey", Key, SeenKey)

# From bad to good. "committed N" has N newer groups behind it.
_COMMITTED = [f"committed {newer}" for newer in range(9)]
STORE_RANK = ["issued", *_COMMITTED, "read", "done", "narrow", "released"]
POLL_RANK = ["around", "weak", "volatile", "relaxed", "narrow", "acquired", "proxied"]
ACQUIRED = ("acquired", "proxied")
SHARED_RANK = ["dirty", "fenced"]
_RANK = {
    word: rank for ranks in (STORE_RANK, POLL_RANK, SHARED_RANK) for rank, word in enumerate(ranks)
}
WIDE = {Scope.GPU, Scope.SYS}


def worse(first: str, second: str) -> str:
    """The worse of two words of one list."""
    return first if _RANK[first] <= _RANK[second] else second


def of_the_cta(literal: Literal) -> bool:
    """Whether a condition is the same for all threads of a CTA."""
    key, _, leaves = literal
    return not leaves and not any(word in key for word in PER_THREAD)


def of_other_ctas(first: Iterable[Literal], second: Collection[Literal]) -> bool:
    """Whether no CTA executes both of two instructions, by the conditions on each."""
    return any(
        of_the_cta((key, positive, leaves)) and (key, not positive, leaves) in second
        for key, positive, leaves in first
    )


def across_cluster(first: Iterable[Literal], second: Collection[Literal]) -> bool:
    """Whether it is the place of a CTA in its cluster that two instructions differ by."""
    return any(
        "cluster_cta" in key and (key, not positive, leaves) in second
        for key, positive, leaves in first
        if of_the_cta((key, positive, leaves))
    )


def passed_on(what: str, word: str) -> str:
    """What a barrier tells others: a store's release is the releasing thread's alone."""
    return "done" if word in {"narrow", "released"} and what in "soq" else word


def issue(own: dict[Key, str], place: int) -> None:
    """A bulk store is issued; what the same instruction stored before is kept apart."""
    before = own.get(("s", place))
    if before is not None:
        older = own.get(("o", place), before)
        own["o", place] = worse(older, before)
    own["s", place] = "issued"


def commit(own: dict[Key, str]) -> None:
    """A group closes over the thread's own stores, and those before it are one group older."""
    for key, word in own.items():
        if key[0] in "so" and word == "issued":
            own[key] = _COMMITTED[0]
        elif word in _COMMITTED[:-1]:
            own[key] = _COMMITTED[_COMMITTED.index(word) + 1]


def wait(own: dict[Key, str], event: Event) -> None:
    """The thread waits until at most N of its newest groups are pending."""
    instruction = event.instruction
    pending = instruction.groups if instruction is not None else None
    if instruction is None or pending is None:
        return
    for key, word in own.items():
        covered = word in _COMMITTED and _COMMITTED.index(word) >= pending
        if instruction.source_only and covered:
            own[key] = "read"
        elif covered or (word == "read" and pending == 0 and not instruction.source_only):
            own[key] = "done"


def fence(own: dict[Key, str], seen: dict[SeenKey, str], event: Event) -> None:
    """What was drained or seen before it is released or acquired, at its scope.

    A load at a narrow scope stays what it is: it is not morally strong with another CTA's write.
    Another thread's poll stays what it is too: a fence makes an acquire pattern only of loads that
    its own thread did before it.
    """
    instruction = event.instruction
    order = instruction.order if instruction is not None else None
    wide = instruction is not None and instruction.scope in WIDE
    after: dict[str, str] = {}
    if order in {Order.RELEASE, Order.ACQ_REL, Order.SC}:
        after |= dict.fromkeys(("done", "narrow store"), "released" if wide else "narrow")
    _change(seen, after)
    if order in {Order.ACQUIRE, Order.ACQ_REL, Order.SC}:
        after |= dict.fromkeys(("relaxed", "volatile"), "acquired" if wide else "narrow")
    _change(own, after)


def _change(facts: MutableMapping[_AnyKey, str], after: Mapping[str, str]) -> None:
    for key, word in facts.items():
        store = word == "narrow" and key[0] in "soq"
        facts[key] = after.get("narrow store" if store else word, word)


def proxy_fence(own: dict[Key, str], seen: dict[SeenKey, str], event: Event) -> None:
    """Shared memory becomes visible to bulk stores, acquired data to bulk loads."""
    space = event.instruction.space if event.instruction else Space.ANY
    after: dict[str, str] = {}
    if space in {Space.ANY, Space.SHARED}:
        after["dirty"] = "fenced"
    if space in {Space.ANY, Space.GLOBAL}:
        after["acquired"] = "proxied"
    _change(own, after)
    _change(seen, after)


def strength(event: Event) -> str:
    """How strong a poll is."""
    instruction = event.instruction
    order = instruction.order if instruction else None
    if order is Order.RELAXED and instruction and instruction.scope not in WIDE:
        return "narrow"
    if order in {Order.ACQUIRE, Order.ACQ_REL, Order.SC}:
        return "acquired" if instruction and instruction.scope in WIDE else "narrow"
    if order is Order.VOLATILE:
        return "volatile"
    if order is Order.RELAXED and instruction and instruction.kind is not Kind.LOAD_NC:
        return "relaxed"
    return "weak"
