"""Where threads of a CTA meet: which places tell what they know to which that wait.

Barriers by name and count, warp barriers, cluster barriers, and mbarriers as far as their phases
can be counted. What cannot be counted is listed as not followed and never taken for order.
Source: PTX ISA 9.0, "barrier", "bar.warp.sync", "mbarrier"; "Synchronizes" in the memory model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from sbo_verify.compiled.inspection.conditions import Conditions
from sbo_verify.compiled.inspection.events import Event, Events, Part
from sbo_verify.compiled.inspection.facts import Literal, of_other_ctas
from sbo_verify.compiled.inspection.graph import Graph
from sbo_verify.compiled.inspection.lanes import CTA_THREADS, WARP
from sbo_verify.compiled.inspection.pairing import Turns, turns
from sbo_verify.compiled.inspection.text import Op
from sbo_verify.compiled.inspection.values import (
    ALL_THREADS,
    PER_THREAD,
    Lanes,
    Term,
    Value,
    Values,
    stable,
    uniform,
)
from sbo_verify.vocabulary import Order

WARPS = tuple(((1 << WARP) - 1) << first for first in range(0, CTA_THREADS, WARP))
JOINING = (
    *(Part.BARRIER, Part.ARRIVE, Part.WARP_BARRIER, Part.CLUSTER_ARRIVE, Part.CLUSTER_WAIT),
    *(Part.MBARRIER_ARRIVE, Part.MBARRIER_WAIT, Part.OTHER_SYNC),
)


@dataclass(frozen=True, slots=True)
class Coming:
    """The threads that may come to an instruction, and the conditions that all of them hold."""

    mask: int
    literals: frozenset[Literal] = frozenset()

    @property
    def elected(self) -> bool:
        """Whether at most one thread of each warp comes."""
        return any(key.startswith("elect") and positive for key, positive, _ in self.literals)


@dataclass(frozen=True, slots=True)
class Meeting:
    """What tells a place that waits: `arrivals`, within each set of threads of `groups`.

    `partial`: a phase of an mbarrier ends with the arrivals that it counts, and other threads may
    be elsewhere. Where not `told`, the place waits for nothing that orders.
    """

    groups: tuple[int, ...]
    arrivals: tuple[Event, ...]
    partial: bool = False
    told: bool = True


@dataclass
class Joins:
    """The meetings of a function by the instruction that waits.

    `waits` has the registers that say whether an mbarrier's phase ended, with the instruction that
    asked and the value that means yes. `others` are instructions that may join threads and are not
    followed.
    """

    graph: Graph
    meetings: dict[int, Meeting] = field(default_factory=dict)
    waits: dict[str, tuple[Event, bool]] = field(default_factory=dict)
    others: list[Event] = field(default_factory=list)
    _crossing: list[tuple[Op, list[Op]]] = field(default_factory=list)
    _beyond: dict[int, list[Op]] = field(default_factory=dict)

    def add(self, event: Event, meeting: Meeting) -> None:
        """Note what an instruction that waits is told by."""
        self.meetings[id(event.op)] = meeting
        elsewhere = [
            each.op
            for each in meeting.arrivals
            if each.op is not event.op and not self.graph.before(each.op, event.op)
        ]
        if elsewhere and meeting.told:
            self._crossing.append((event.op, elsewhere))

    def beyond(self, first: Op) -> list[Op]:
        """An instruction, and the places of other threads that wait for what follows it."""
        if id(first) not in self._beyond:
            found = [first]
            left = list(self._crossing)
            for each in found:
                met = [
                    (wait, arrivals)
                    for wait, arrivals in left
                    if any(each is one or self.graph.before(each, one) for one in arrivals)
                ]
                found += [wait for wait, _ in met]
                left = [one for one in left if one not in met]
            self._beyond[id(first)] = found
        return self._beyond[id(first)]

    def before(self, first: Op, second: Op) -> bool:
        """Whether the way from one to the other goes ahead, by one thread or by meetings."""
        return any(each is second or self.graph.before(each, second) for each in self.beyond(first))

    def leads(self, first: Op, second: Op) -> bool:
        """Whether there is a way at all, also where threads meet in a way not followed."""
        if self.graph.leads(first, second):
            return True
        if any(self.graph.leads(each, second) for each in self.beyond(first)[1:]):
            return True
        return self.between(first, second) is not None

    def between(self, first: Op, second: Op) -> Op | None:
        """An instruction not followed that may join the threads of two instructions."""
        tells = [e for e in self.others if self.graph.leads(first, e.op) and e.part not in _DEAF]
        for each in self.others:
            waits = each.part not in _MUTE and self.graph.leads(each.op, second)
            if waits and any(_related(each, tell) for tell in tells):
                return each.op
        return None


# A place that waits and does not arrive tells nothing; one that arrives only is told nothing.
_DEAF = (Part.MBARRIER_WAIT, Part.CLUSTER_WAIT)
_MUTE = (Part.MBARRIER_ARRIVE, Part.CLUSTER_ARRIVE, Part.ARRIVE)


def _related(waits: Event, tells: Event) -> bool:
    """Whether an arrival may be what another place waits for."""
    if waits is tells or Part.OTHER_SYNC in {waits.part, tells.part}:
        return True
    mbarriers = {Part.MBARRIER_ARRIVE, Part.MBARRIER_WAIT}
    if (waits.part in mbarriers) != (tells.part in mbarriers):
        return False
    return (
        waits.part not in mbarriers
        or "" in {waits.buffer, tells.buffer}
        or (waits.buffer == tells.buffer)
    )


@dataclass(frozen=True)
class Threads:
    """The threads of a CTA, as a mask, who of them may come to each event, and on what conditions.

    Two-dimensional CTAs have `values` and `conditions` that know nothing of `%tid`.
    """

    of_cta: int
    coming: Mapping[int, Coming]
    conditions: Conditions


def joins_of(graph: Graph, values: Values, events: Events, threads: Threads) -> Joins:
    """The meetings of a function."""
    joins = Joins(graph)
    _cta_barriers(joins, values, events, threads)
    _warp_barriers(joins, values, events, threads)
    _cluster_barriers(joins, events)
    joins.others += events.of(Part.OTHER_SYNC)
    return joins


# ---- barriers of the CTA --------------------------------------------------------------------


def _names(event: Event, values: Values) -> dict[object, int]:
    """The barriers that an instruction may be at, each with its threads; none if unknown."""
    position = 1 if ".red" in event.op.mnemonic else 0
    operands = event.op.operands
    value: Value = values.of(operands[position]) if len(operands) > position else values.of("0")
    if isinstance(value, Lanes):
        numbers = value.numbers
        return {
            number: sum(1 << int(thread) for thread in (numbers == number).nonzero()[0])
            if (numbers != number).any()
            else ALL_THREADS
            for number in sorted(set(numbers.tolist()))
        }
    if isinstance(value, Term) and stable(value) and not _per_thread(value.text):
        return {value.text: ALL_THREADS}
    return {}


def _count(event: Event, values: Values) -> int | None:
    """The threads that a barrier waits for: a number, 0 for all of the CTA, None if unknown."""
    operands = event.op.operands
    if ".red" in event.op.mnemonic:
        operands = operands[1:3] if len(operands) > 3 else operands[1:2]  # noqa: PLR2004 - with count
    if len(operands) < 2:  # noqa: PLR2004 - a name and a count
        return 0
    value = values.of(operands[1])
    if isinstance(value, Term) and value.text == "%ntid.x" and values.flat:
        return 0
    return uniform(value)


def _per_thread(text: str) -> bool:
    return any(word in text for word in PER_THREAD)


@dataclass(frozen=True)
class _Sites:
    """The places of a function's CTA barriers, with the threads that come to each by name."""

    graph: Graph
    events: list[Event]
    names: Mapping[int, Mapping[object, int]]
    of: Threads
    _turns: dict[object, Turns] = field(default_factory=dict)

    def mask(self, event: Event, name: object) -> int:
        return self.of.coming[id(event.op)].mask & self.names[id(event.op)].get(name, 0)

    def turns(self, name: object) -> Turns:
        """How many places of a name threads pass before each of them."""
        if name not in self._turns:
            masks = [(e, mask) for e in self.events if (mask := self.mask(e, name))]
            self._turns[name] = turns(self.graph, self.of.conditions, masks)
        return self._turns[name]

    def alike(self, name: object) -> bool:
        """Whether all threads that come to one place of a name come to all, one by one."""
        found = [(e, mask) for e in self.events if (mask := self.mask(e, name))]
        return len({mask for _, mask in found}) == 1 and not any(
            self.mask(other, name) for each, _ in found for other in self.apart(each)
        )

    @cached_property
    def blocks(self) -> dict[int, list[Event]]:
        """The places in each block."""
        found: dict[int, list[Event]] = {}
        for each in self.events:
            found.setdefault(self.graph.home[id(each.op)][0], []).append(each)
        return found

    @cached_property
    def bits(self) -> int:
        """Their blocks, as bits."""
        return sum(1 << block for block in self.blocks)

    @cached_property
    def nameless(self) -> bool:
        """Whether the name at some place is not known."""
        return any(not names for names in self.names.values())

    def apart(self, site: Event) -> list[Event]:
        """The places from and to which no thread comes in a turn."""
        block = self.graph.home[id(site.op)][0]
        left = self.bits & ~(self.graph.ahead[block] | self.graph.origin[block] | 1 << block)
        found: list[Event] = []
        while left:
            found += self.blocks[left.bit_length() - 1]
            left ^= 1 << (left.bit_length() - 1)
        here = self.of.coming[id(site.op)].literals
        coming = self.of.coming
        return [e for e in found if not of_other_ctas(here, coming[id(e.op)].literals)]


def _cta_barriers(joins: Joins, values: Values, events: Events, threads: Threads) -> None:
    """Barriers of one name on exclusive branches are one meeting.

    Those that stand one behind the other are different ones, unless their threads are others and
    only together as many as the barrier waits for. The n-th of some threads meets the n-th of
    others; where it is not known which that is, nothing is told.
    """
    coming = threads.coming
    found = [each for each in events.of(Part.BARRIER, Part.ARRIVE) if coming[id(each.op)].mask]
    names = {id(each.op): _names(each, values) for each in found}
    sites = _Sites(joins.graph, found, names, threads)
    meetings: list[tuple[Event, Meeting]] = []
    unsure: set[object] = set()
    for site in found:
        count = _count(site, values)
        groups: list[int] = []
        arrivals: dict[int, Event] = {}
        sure = bool(names[id(site.op)]) and count is not None
        for name, lanes in names[id(site.op)].items():
            if not coming[id(site.op)].mask & lanes:
                continue
            near = _arrivals(sites, site, name, count or 0)
            sure &= near is not None
            groups.append(lanes)
            arrivals.update({id(each.op): each for each in near or []})
        meetings.append((site, Meeting(tuple(groups), tuple(arrivals.values()))))
        unsure |= set() if sure else {*names[id(site.op)], site}
    for site, meeting in meetings:
        # Where one place of a name meets it is not known whom, so do the others.
        if site in unsure or not unsure.isdisjoint(names[id(site.op)]):
            joins.others.append(site)
        elif site.part is Part.BARRIER:
            joins.add(site, meeting)


def _arrivals(sites: _Sites, site: Event, name: object, count: int) -> list[Event] | None:
    """The places whose threads a barrier waits for; None where they are not as many."""
    if sites.nameless:
        return None
    if sites.alike(name):
        near = [site]
        together = sites.mask(site, name)
    else:
        turn = sites.turns(name)
        if not turn.known or turn.shifted():
            return None
        others = [each for each in sites.apart(site) if sites.mask(each, name)]
        near = [site, *(each for each in others if turn.may_meet(site, each))]
        together = 0
        for each in near:
            together |= sites.mask(each, name)
        wanted = count or sites.of.of_cta.bit_count()
        for other in sites.events if together.bit_count() < wanted else ():
            mask = sites.mask(other, name)
            meets = mask and not mask & together and turn.may_meet(site, other)
            if meets and together.bit_count() < wanted:
                near.append(other)
                together |= mask
        missing = 0 if count else sites.of.of_cta & ~together
        if any(sites.mask(each, name) & missing for each in sites.events):
            return None
        if _one_behind_another(sites, near, name):
            return None
    elected = any(sites.of.coming[id(each.op)].elected for each in near)
    return None if elected or (count and together.bit_count() != count) else near


def _one_behind_another(sites: _Sites, near: list[Event], name: object) -> bool:
    """Whether the same threads come to two of the places, one behind the other."""
    return any(
        sites.mask(one, name) & sites.mask(other, name) and sites.graph.before(one.op, other.op)
        for one in near
        for other in near
    )


# ---- barriers of a warp and of a cluster ----------------------------------------------------


def _warp_barriers(joins: Joins, values: Values, events: Events, threads: Threads) -> None:
    coming = threads.coming
    sites = [each for each in events.of(Part.WARP_BARRIER) if coming[id(each.op)].mask]
    lanes = {id(e.op): uniform(values.of(e.op.operands[0])) for e in sites if e.op.operands}
    graph = joins.graph
    turn: Turns | None = None
    for site in sites:
        members = lanes.get(id(site.op))
        if members is None or not values.flat:
            joins.others.append(site)
            continue
        each_warp = members & ((1 << WARP) - 1)
        groups = tuple(each_warp << first for first in range(0, CTA_THREADS, WARP))
        arrivals = tuple(
            other
            for other in sites
            if other is site
            or (
                lanes.get(id(other.op)) == members
                and not of_other_ctas(coming[id(site.op)].literals, coming[id(other.op)].literals)
                and not graph.before(other.op, site.op)
                and not graph.before(site.op, other.op)
            )
        )
        if len(arrivals) > 1:
            masks = [(e, coming[id(e.op)].mask) for e in sites if lanes.get(id(e.op)) == members]
            turn = turn or turns(graph, threads.conditions, masks)
            arrivals = tuple(e for e in arrivals if e is site or turn.may_meet(site, e))
            behind = any(graph.before(a.op, b.op) for a in arrivals for b in arrivals)
            if behind or not turn.known or turn.shifted():
                joins.others.append(site)
                continue
        joins.add(site, Meeting(groups, arrivals))


def _cluster_barriers(joins: Joins, events: Events) -> None:
    """A wait is told by the newest arrivals before it; a relaxed one tells nothing."""
    graph = joins.graph
    arrivals = events.of(Part.CLUSTER_ARRIVE)
    relaxed = any(a.instruction and a.instruction.order is Order.RELAXED for a in arrivals)
    for site in events.of(Part.CLUSTER_WAIT):
        weak = site.instruction is not None and site.instruction.order is Order.RELAXED
        behind = [each for each in arrivals if graph.before(each.op, site.op)]
        newest = [a for a in behind if not any(graph.before(a.op, b.op) for b in behind)]
        told = not (relaxed or weak)
        joins.add(site, Meeting((ALL_THREADS,), tuple(newest) if told else (), told=told))
