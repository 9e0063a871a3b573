"""Every meaningful variant at once: the lattice of all combinations of choices.

A hand-over's two sides meet in the signal alone. So a producer is as good as what it *offers*: that
the tile is fresh and covered by a release pattern, of which scope, by which CTA, through which
proxy. A consumer is as good as what it *takes*: that an acquire pattern, of which scope and where,
covers every read, and through which proxy. Both are read off the model's own relations, once for
each side; then one pair of variants of every two classes is judged by the full search, and its
verdict stands for all of them. Tests judge variants drawn from the whole lattice against it.

A variant with no signal (poll=none) has one side only and is judged itself.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

from sbo_verify.model import axioms
from sbo_verify.model.barriers import meetings, named_by
from sbo_verify.model.execution import Candidate, Skeleton
from sbo_verify.model.hand_over import FRESH, parts, queries
from sbo_verify.model.judge import verdict_of_queries
from sbo_verify.model.query import Query, signal_name, target_name
from sbo_verify.model.readings import DEFAULT, OF_HAND_OVERS, Reading
from sbo_verify.model.relation import Relation, bits
from sbo_verify.model.thread import ThreadRunner
from sbo_verify.protocols.signal_publish import sites
from sbo_verify.protocols.signal_publish.sites import SITES, SignalPublish, refusals
from sbo_verify.protocols.signal_publish.steps import publish
from sbo_verify.verdict import ModelVerdict
from sbo_verify.vocabulary import Order

PRODUCER_SITES = (
    "store",
    "issuers",
    "source_fence",
    "drain",
    "join",
    "publisher",
    "publish",
    "publish_scope",
    "moment",
)
CONSUMER_SITES = ("poll", "poll_scope", "fan_out", "read", "place", "test")
RELEASING = {Order.RELEASE, Order.ACQ_REL, Order.SC}
NOTHING = ("nothing",)
# What stands on the side that is not looked at: a store fits every test, the rest is sound.
ANY_PRODUCER = SignalPublish(publish=sites.Publish.ST_RELEASE)
ANY_CONSUMER = SignalPublish()

# What a side offers or takes; `NOTHING` where it leaves the hand-over open in any company.
Class = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Lattice:
    """The verdicts of all meaningful variants, by class.

    `verdicts` maps (offer, taken) to the verdict under each reading, `variants` counts the
    meaningful variants, `forbidden` those of them with that verdict under the default reading,
    `readings_differ` those on which the readings disagree, `judged` the variants searched,
    `seconds` the processor time.
    """

    verdicts: dict[tuple[Class, Class], dict[Reading, ModelVerdict]]
    variants: int
    forbidden: int
    readings_differ: int
    judged: int
    seconds: float

    def verdict(self, variant: SignalPublish, reading: Reading = DEFAULT) -> ModelVerdict:
        """The verdict of one variant by its classes; `KeyError` for one that is refused."""
        return self.verdicts[classes(variant)][reading]


def classes(variant: SignalPublish) -> tuple[Class, Class]:
    """What the producer offers and the consumer takes; without a signal a class of its own."""
    if variant.poll is sites.Poll.NONE:
        return ("readback", _readback_key(variant)), NOTHING
    return offered(variant), taken(variant)


def offered(variant: SignalPublish) -> Class:
    """The producer's class: scope, publishing CTA and proxy of a release that covers the tile."""
    if not any(instruction.order in RELEASING for instruction in publish(variant)):
        return NOTHING
    same = replace(
        _producer_only(variant),
        store=sites.Store.BULK if variant.store is sites.Store.TENSOR else variant.store,
        # The result of an atomic that publishes is not used: it is a red.
        publish=sites.Publish.RED_RELEASE if variant.publish in _ATOMS else variant.publish,
        publish_scope=_GPU,
    )
    if not _covers(same):
        return NOTHING
    peer = variant.publisher is sites.Publisher.CLUSTER_PEER
    in_cluster = variant.join in sites.CLUSTER_JOINS
    generic = variant.store is sites.Store.GENERIC
    return ("release", variant.publish_scope, peer, in_cluster, generic)


def taken(variant: SignalPublish) -> Class:
    """The consumer's class: scope, place and proxy of an acquire that covers every read."""
    if variant.test is sites.Test.EQUAL_REUSED:
        return NOTHING
    place = variant.place
    if place is sites.Place.SAME_SM:
        place = sites.Place.OTHER_SM
    how = _acquires(replace(_consumer_only(variant), place=place, poll_scope=_GPU))
    return NOTHING if how is None else ("acquire", variant.poll_scope, place, how)


_GPU = sites.SignalScope.GPU
_ATOMS = {sites.Publish.ATOM_RELEASE, sites.Publish.ATOMIC_REF_RELEASE}


def _producer_only(variant: SignalPublish) -> SignalPublish:
    return joined(variant, ANY_CONSUMER)


def _consumer_only(variant: SignalPublish) -> SignalPublish:
    return replace(joined(ANY_PRODUCER, variant), test=sites.Test.AT_LEAST)


def joined(producer: SignalPublish, consumer: SignalPublish) -> SignalPublish:
    """The producer's half of one variant with the consumer's half of another."""
    return replace(
        producer,
        poll=consumer.poll,
        poll_scope=consumer.poll_scope,
        fan_out=consumer.fan_out,
        read=consumer.read,
        place=consumer.place,
        test=consumer.test,
    )


def _readback_key(variant: SignalPublish) -> tuple[object, ...]:
    store = sites.Store.BULK if variant.store is sites.Store.TENSOR else variant.store
    read = sites.Read.WEAK if variant.read is sites.Read.RELAXED else variant.read
    return (
        store,
        variant.issuers,
        variant.source_fence,
        variant.drain,
        variant.join,
        variant.fan_out,
        read,
    )


@cache
def _covers(variant: SignalPublish) -> bool:
    """Is every part of every tile fresh and before the opening of a release pattern?"""
    # The producers of every query are the same: the orders of one serve for all.
    orders = next(_orders(next(queries(variant))))
    preserved = axioms.proxy_preserved(orders.skeleton, orders.base_causality)
    return all(_covers_part(orders, preserved, *part) for part in parts(variant))


def _covers_part(orders: axioms.Orders, preserved: Relation, tile: int, half: int) -> bool:
    s, base = orders.skeleton, orders.base_causality
    [write] = [w for w in s.writers(target_name(tile, half)) if s.events[w].thread >= 0]
    signals = sum(1 << w for w in s.writers(signal_name(tile)))
    opened = [a for a, w in orders.patterns.release.pairs() if signals >> w & 1]
    leaving = bits(base.rows[write] & s.proxy_fences.rows[write])
    exits = [write] if s.generic >> write & 1 else list(leaving)
    if not any((leave, opening) in base for leave in exits for opening in opened):
        return False
    copied = [r for r, w in s.dependencies.pairs() if w == write and not s.events[r].ordered]
    fills = [
        (fill, read)
        for read in copied
        for fill in bits(s.writes & s.same_memory.rows[read])
        if s.events[fill].thread >= 0
    ]
    return len(fills) == len(copied) and all(pair in preserved for pair in fills)


@cache
def _acquires(variant: SignalPublish) -> str | None:
    """How every reader's read stands behind an acquire pattern; None where some read does not.

    `generic`, or for a bulk load `fenced` or `unfenced`.
    """
    ways = {_acquired(orders, query) for query in queries(variant) for orders in _orders(query)}
    return ways.pop() if len(ways) == 1 else None


def _acquired(orders: axioms.Orders, query: Query) -> str | None:
    s, base = orders.skeleton, orders.base_causality
    consumer = query.asked_thread - query.reader
    polls = [
        read
        for read in _reads_of(orders, query.signal)
        if s.events[read].value == FRESH and s.events[read].thread >= consumer
    ]
    closed = [last for read, last in orders.patterns.acquire.pairs() if read in polls]
    [asked] = _reads_of(orders, query.target)
    if s.generic >> asked & 1:
        return "generic" if any((last, asked) in base for last in closed) else None
    fences = [fence for fence in bits(s.proxy_fences.rows[asked]) if (fence, asked) in base]
    if any((last, fence) in base for last in closed for fence in fences):
        return "fenced"
    bulk = not s.events[asked].ordered
    return "unfenced" if bulk and any((last, asked) in base for last in closed) else None


def _reads_of(orders: axioms.Orders, memory: str) -> list[int]:
    s = orders.skeleton
    return [
        read
        for read in bits(s.reads)
        if (place := s.events[read].location) is not None and place.memory == memory
    ]


def _orders(query: Query) -> Iterator[axioms.Orders]:
    """The orders of the query's program before anything is read from anything, path by path."""
    program = query.program
    domains = {place.memory: frozenset({FRESH}) for place in program.locations.values()}
    domains[query.signal] = frozenset({0, FRESH})
    paths = [
        list(ThreadRunner(program, index, rewritable=frozenset(), unroll=1).traces(domains))
        for index in range(len(program.threads))
    ]
    # An atomic that publishes reads either value; the consumer's paths are what differs.
    different = [list({trace.path: trace for trace in traces}.values()) for traces in paths]
    for traces in product(*different):
        skeleton = Skeleton(program, traces, DEFAULT)
        ways = list(meetings(skeleton.barrier_uses, named_by(program), program.arrivals))
        nothing = Relation.empty(skeleton.size)
        met = Relation.of(skeleton.size, ways[0])
        values = tuple(event.value for event in skeleton.events)
        candidate = Candidate(skeleton, values, {}, nothing, met, nothing)
        yield axioms.orders(candidate, axioms.patterns(skeleton))


def side(names: tuple[str, ...], base: SignalPublish) -> Iterator[SignalPublish]:
    """Every meaningful combination of the named sites, the others as in `base`."""
    for choices in product(*(SITES[name] for name in names)):
        variant = base.with_choices(**dict(zip(names, choices, strict=True)))
        if not refusals(variant):
            yield variant


def _readbacks() -> Iterator[SignalPublish]:
    names = ("store", "issuers", "source_fence", "drain", "join", "fan_out", "read")
    silent = SignalPublish(
        publish=sites.Publish.NONE, poll=sites.Poll.NONE, place=sites.Place.PRODUCER_CTA
    )
    yield from side(names, silent)


def judge_lattice() -> Lattice:
    """Judge every class of the lattice, and count the variants behind each."""
    started = time.process_time()
    offers = _grouped(side(PRODUCER_SITES, ANY_CONSUMER), offered, _producer_marks)
    takes = _grouped(side(CONSUMER_SITES, ANY_PRODUCER), taken, _consumer_marks)
    verdicts: dict[tuple[Class, Class], dict[Reading, ModelVerdict]] = {}
    counts: Counter[tuple[Class, Class]] = Counter()
    judged = 0
    for (offer, _), (producer, producers) in offers.items():
        for (take, _), (consumer, consumers) in takes.items():
            both = joined(producer, consumer)
            if refusals(both):
                continue
            counts[offer, take] += producers * consumers
            if (offer, take) not in verdicts:
                verdicts[offer, take] = _judged(both)
                judged += 1
    scopes = len(sites.SignalScope) ** 2
    for variant in _readbacks():
        key = classes(variant)
        counts[key] += scopes
        if key not in verdicts:
            verdicts[key] = _judged(variant)
            judged += 1
    forbidden = sum(
        count for key, count in counts.items() if verdicts[key][DEFAULT] is ModelVerdict.FORBIDDEN
    )
    differing = sum(count for key, count in counts.items() if len(set(verdicts[key].values())) > 1)
    return Lattice(
        verdicts, counts.total(), forbidden, differing, judged, time.process_time() - started
    )


def _judged(variant: SignalPublish) -> dict[Reading, ModelVerdict]:
    asked = list(queries(variant))
    return {reading: verdict_of_queries(asked, reading) for reading in OF_HAND_OVERS}


def _producer_marks(variant: SignalPublish) -> tuple[object, ...]:
    """What of a producer the rules of meaning look at together with a consumer."""
    return (variant.join in sites.CLUSTER_JOINS, variant.publish in sites.PLAIN_STORES)


def _consumer_marks(variant: SignalPublish) -> tuple[object, ...]:
    return (variant.place, variant.test is sites.Test.EQUAL_REUSED)


def _grouped(
    variants: Iterator[SignalPublish],
    classify: Callable[[SignalPublish], Class],
    marks: Callable[[SignalPublish], tuple[object, ...]],
) -> dict[tuple[Class, tuple[object, ...]], tuple[SignalPublish, int]]:
    """A variant of each class with the same marks, and how many there are."""
    groups: dict[tuple[Class, tuple[object, ...]], tuple[SignalPublish, int]] = {}
    for variant in variants:
        key = (classify(variant), marks(variant))
        first, count = groups.get(key, (variant, 0))
        groups[key] = (first, count + 1)
    return groups
