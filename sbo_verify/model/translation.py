"""Which steps of a hand-over the model's threads have a program for, and why not the others.

Declared steps are all translated. Steps that were read from compiled code may be any; one that
would be left out, or stand for something else, is refused: a verdict is always of the whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from sbo_verify.protocol import Step
from sbo_verify.protocols.signal_publish.sites import (
    CLUSTER_JOINS,
    Moment,
    Poll,
    Publish,
    SignalPublish,
    Store,
)
from sbo_verify.vocabulary import Instruction, Kind, Order, Space

_FENCES = {Kind.FENCE, Kind.PROXY_FENCE}
_WRITES = {Kind.STORE, Kind.RED, Kind.ATOM}
_STORE_COPIES = {Kind.BULK_STORE, Kind.TENSOR_STORE}
_LOAD_COPIES = {Kind.BULK_LOAD, Kind.TENSOR_LOAD}
_MEETING = {*_FENCES, Kind.WAIT_GROUP, Kind.CTA_BARRIER, Kind.WARP_BARRIER}
_CLUSTER = {Kind.CLUSTER_ARRIVE, Kind.CLUSTER_WAIT}

# What each site may hold; how many of them, and in which order, is in the functions below.
_KINDS: dict[str, set[Kind]] = {
    "fill": {Kind.STORE},
    "source_fence": {*_FENCES, Kind.WAIT_GROUP},
    "source_join": _MEETING,
    "store": {*_STORE_COPIES, Kind.COMMIT_GROUP, Kind.STORE},
    "drain": {*_FENCES, Kind.WAIT_GROUP},
    "join": _MEETING | _CLUSTER,
    "publish": {*_FENCES, *_WRITES},
    "flush": {*_FENCES, Kind.WAIT_GROUP},
    "poll": {*_FENCES, Kind.LOAD},
    "fan_out": {*_FENCES, Kind.CTA_BARRIER, Kind.WARP_BARRIER, Kind.LOAD, Kind.STORE},
    "read": {
        *(*_FENCES, *_LOAD_COPIES, Kind.LOAD, Kind.LOAD_NC),
        *(Kind.MBARRIER_EXPECT, Kind.MBARRIER_WAIT),
    },
}
_CONSUMER = ("poll", "fan_out", "read")
_IN_SHARED = {"fill", "fan_out"}


class UntranslatableError(ValueError):
    """Steps that the model has no program for; the message names the sites and says why."""


def refuse_untranslatable(v: SignalPublish, steps: Sequence[Step]) -> None:
    """Raise `UntranslatableError` where a step could not be translated as it stands."""
    if reasons := list(_reasons(v, steps)):
        raise UntranslatableError("; ".join(reasons))


def _reasons(v: SignalPublish, steps: Sequence[Step]) -> Iterator[str]:
    found = {site: [s for s in steps if s.site == site] for site in _KINDS}
    yield from _strangers(v, steps)
    yield from _wrong_counts(v, found)
    yield from _wrong_order(v, steps)
    rules = (("store", _store), ("join", _join), ("publish", _publish), ("fan_out", _fan_out))
    for site, wrong in rules:
        for step in found[site]:
            yield from (f"{step.label}: {why}" for why in wrong(v, step))
    for step in found["read"]:
        yield from (f"{step.label}: {why}" for why in _read(step.instructions))
    if v.poll is Poll.NONE and any(s.instructions for s in [*found["poll"], *found["fan_out"]]):
        yield "consumer.poll: the code polls, and the variant's reader does not"


def _strangers(v: SignalPublish, steps: Sequence[Step]) -> Iterator[str]:
    """Sites that the model does not know, and instructions that it has no place for."""
    for step in steps:
        side = "consumer" if step.site in _CONSUMER else "producer"
        if step.site not in _KINDS or step.side != side:
            yield f"{step.label} is no site of the model"
            continue
        for each in step.instructions:
            if each.kind not in _KINDS[step.site]:
                yield f"{step.label}: the model has no place for {each}"
            elif why := _wrong_words(v, step.site, each):
                yield f"{step.label}: {each} {why}"


def _wrong_words(v: SignalPublish, site: str, each: Instruction) -> str:
    """Why one instruction, of a kind that the site may hold, is not one that is translated."""
    shared = each.space is Space.SHARED
    if each.kind in {Kind.STORE, Kind.RED, Kind.ATOM} and shared is not (site in _IN_SHARED):
        return "writes to another state space than the site's"
    if each.kind is Kind.LOAD and site != "read" and shared is not (site in _IN_SHARED):
        return "reads from another state space than the site's"
    if each.kind in _CLUSTER and v.join not in CLUSTER_JOINS:
        return "takes the threads of a cluster, and the variant has none"
    # What a copy has not brought yet is neither tile: a read of it is not what is asked about.
    if each.kind in {Kind.CLUSTER_WAIT, Kind.MBARRIER_WAIT} and each.order is not Order.ACQUIRE:
        return "is no acquire"
    return ""


def _wrong_counts(v: SignalPublish, found: dict[str, list[Step]]) -> Iterator[str]:
    """Sites that are there too often, or not at all."""
    deferred = v.moment is Moment.DEFERRED
    signals = 0 if v.publish is Publish.NONE else 2 if deferred else 1
    wanted = {"store": 1, "read": 1, "flush": int(deferred), "publish": signals}
    once = ("fill", "source_fence", "poll", "fan_out")
    for site, steps in found.items():
        count = len(steps)
        if site in wanted and count != wanted[site]:
            yield f"{site} stands there {count} times, not {wanted[site]}"
        elif site in once and count > 1:
            yield f"{site} stands there {count} times, not once"
    if v.store is not Store.GENERIC and not [*found["fill"], *found["source_fence"]]:
        yield "nothing says where the tile is written to shared memory"


def _wrong_order(v: SignalPublish, steps: Sequence[Step]) -> Iterator[str]:
    sites = [step.site for step in steps if step.side == "consumer"]
    if sites != [site for site in _CONSUMER if site in sites]:
        yield f"the consumer's sites come as {', '.join(sites)}"
    if v.moment is Moment.DEFERRED:
        producer = [step.site for step in steps if step.side == "producer"]
        flush = producer.index("flush") if "flush" in producer else 0
        if Counter(producer[:flush])["publish"] != 1:
            yield "a deferred signal is written once before the flush and once behind it"


def _store(v: SignalPublish, step: Step) -> Iterator[str]:
    kinds = [each.kind for each in step.instructions]
    generic = v.store is Store.GENERIC
    allowed = [Kind.STORE] if generic else [*_STORE_COPIES, Kind.COMMIT_GROUP]
    if any(kind not in allowed for kind in kinds):
        yield f"holds {_text(step.instructions)}, and the variant stores {v.store.word}"
    elif len(kinds) > (1 if generic else 2) or Kind.COMMIT_GROUP in kinds[:-1]:
        yield f"holds {_text(step.instructions)}, more than a store and its group"
    elif not generic and sum(kind in _STORE_COPIES for kind in kinds) > 1:
        yield f"holds {_text(step.instructions)}, more than one copy"


def _publish(_: SignalPublish, step: Step) -> Iterator[str]:
    """Exactly one write: of a signal that never comes nothing stale follows, and nothing sound."""
    writes = sum(each.kind in _WRITES for each in step.instructions)
    if writes != 1:
        yield f"holds {_text(step.instructions)}: {writes} writes of the signal, not one"


def _join(_: SignalPublish, step: Step) -> Iterator[str]:
    """Who waits for a cluster's phase has arrived at it: else nobody gets past the barrier."""
    kinds = [each.kind for each in step.instructions if each.kind in _CLUSTER]
    if kinds != [Kind.CLUSTER_ARRIVE, Kind.CLUSTER_WAIT][: len(kinds)]:
        yield f"holds {_text(step.instructions)}: a wait with no arrival before it"


def _fan_out(_: SignalPublish, step: Step) -> Iterator[str]:
    """Barriers and fences of all threads; or a flag, stored by one thread and loaded by others."""
    kinds = [each.kind for each in step.instructions]
    flag = Kind.STORE in kinds or Kind.LOAD in kinds
    if (flag or step.branches) and not (step.branches and kinds == [Kind.STORE, Kind.LOAD]):
        yield f"holds {_text(step.instructions)}: not a flag that one stores and others load"


def _read(instructions: Sequence[Instruction]) -> Iterator[str]:
    """One access; or a copy to shared memory, announced before and awaited behind, and a load."""
    kinds = [each.kind for each in instructions if each.kind not in _FENCES]
    copied = [
        kind
        for kind in kinds
        if kind in _LOAD_COPIES or kind in {Kind.MBARRIER_EXPECT, Kind.MBARRIER_WAIT}
    ]
    loads = [each for each in instructions if each.kind in {Kind.LOAD, Kind.LOAD_NC}]
    if len(loads) != 1 or len(kinds) - len(copied) != 1:
        yield f"holds {_text(instructions)}: not one way to load the tile"
    elif not copied:
        if loads[0].space is Space.SHARED:
            yield f"holds {_text(instructions)}: no copy brings the tile to shared memory"
    elif (
        [kind in _LOAD_COPIES for kind in copied[:2]] != [False, True]
        or copied[:1] != [Kind.MBARRIER_EXPECT]
        or copied[2:] != [Kind.MBARRIER_WAIT]
        or loads[0].space is not Space.SHARED
        or kinds[-1] is not Kind.LOAD
    ):
        yield f"holds {_text(instructions)}: not a copy to shared memory and a load there"


def _text(instructions: Sequence[Instruction]) -> str:
    return ", ".join(str(each) for each in instructions) or "nothing"
