"""The PTX memory model on one page, in the manual's words, ending in one conjunction.

PTX ISA, chapter "Memory Consistency Model"; the section is named beside each line. Asynchronous
copies enter by `completion` alone: "cp.async.bulk" and its group instructions, read in `bulk`.
`s` is what follows from the paths, `x` what the search has chosen, `o` the orders derived of both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sbo_verify.model.execution import Candidate, Skeleton
from sbo_verify.model.relation import Relation


def morally_strong(s: Skeleton) -> Relation:
    """Morally strong operations.

    In program order, or both strong with scopes that include each other's thread; by the same
    proxy; and overlapping completely where both access memory.
    """
    related = s.program_order | s.program_order.inverse()
    related |= s.both_strong & s.scopes_include_each_other
    return related & s.same_proxy & (s.same_address | s.not_both_memory)


def release_pattern(s: Skeleton) -> Relation:
    """Release pattern.

    A release, and a strong write that follows at its address; or a fence and a strong write.
    """
    strong_writes = s.strong & s.writes
    following = s.program_order.within(s.releases, strong_writes)
    by_operation = (following & s.same_address) | itself(s, s.releases & s.writes)
    return by_operation | following.within(s.fences, strong_writes)


def acquire_pattern(s: Skeleton) -> Relation:
    """Acquire pattern.

    An acquire, and a strong read before it at its address; or a strong read and a fence. The read
    of a reduction forms none: `red; fence.acquire` acquires nothing.
    """
    strong_reads = s.strong & s.reads & ~s.reductions
    preceding = s.program_order.within(strong_reads, s.acquires & ~s.reductions)
    by_operation = (preceding & s.same_address) | itself(s, s.acquires & strong_reads)
    return by_operation | preceding.within(strong_reads, s.fences)


def observation(s: Skeleton, x: Candidate, strong: Relation) -> Relation:
    """Observation order: reading a morally strong write, extended through atomics."""
    seen = x.reads_from & strong
    return seen | seen.then(s.atomics.then(seen).closure())


def synchronizes(p: Patterns, x: Candidate, observed: Relation) -> Relation:
    """Synchronizes.

    A release pattern observed by an acquire pattern, ends morally strong; barriers with those that
    met there, at an mbarrier within each other's scope; fence.sc in their order.
    """
    matched = p.release.then(observed).then(p.acquire) & p.morally_strong
    return matched | (x.meetings - x.skeleton.out_of_scope) | x.fence_order


def base_causality(s: Skeleton, synchronized: Relation) -> Relation:
    """Base causality order: program order, synchronizes and completion, composed in any number.

    A bulk copy comes after what precedes its issue, but hands on nothing of that: its completion
    orders its own accesses alone.
    """
    composed = (s.program_order | synchronized | s.completion).closure()
    return composed | composed.optional().then(s.issue)


def proxy_preserved(s: Skeleton, base: Relation) -> Relation:
    """Proxy-preserved base causality order.

    At one address: generic at both ends, or one proxy in one CTA, or with the proxy fence of each
    end that is not generic; at aliases of one memory: with an alias fence besides.
    """
    leave = (base & s.proxy_fences) | itself(s, s.generic)
    enter = (base & s.proxy_fences_before) | itself(s, s.generic)
    left = leave.then(base)
    kept = left.then(enter) | (base & s.same_proxy_and_cta)
    if not s.alias_fences:
        return kept & s.same_address
    aliased = left.within(-1, s.alias_fences).then(base).then(enter)
    return (kept & s.same_address) | (aliased & s.same_memory)


def causality(observed: Relation, preserved: Relation) -> Relation:
    """Causality order: proxy-preserved base causality, or observation followed by it."""
    return preserved | observed.then(preserved)


def from_reads(x: Candidate, coherence: Relation) -> Relation:
    """Communication order, read to write: the writes after the one that was read."""
    return x.reads_from.inverse().then(coherence)


def coherence_axiom(o: Orders, coherence: Relation) -> bool:
    """Coherence: causality between overlapping writes is in it, and either way moral strength.

    It is transitive, has no cycle and begins with the initial value.
    """
    s = o.skeleton
    writes = s.same_memory.within(s.writes, s.writes)
    strong = o.patterns.morally_strong & writes & s.same_address
    required = (o.causality & writes) | s.initial_first
    total = not strong - (coherence | coherence.inverse())
    return coherence.irreflexive() and not required - coherence and total


def fence_sc_axiom(o: Orders, _coherence: Relation) -> bool:
    """Fence-SC: the order of fence.sc does not contradict causality, fences having no proxy."""
    return not o.candidate.fence_order.contradicts(o.base_causality)


def atomicity_axiom(o: Orders, coherence: Relation) -> bool:
    """Atomicity: no morally strong write comes between the halves of an atomic."""
    strong = o.patterns.morally_strong
    between = (from_reads(o.candidate, coherence) & strong).then(coherence & strong)
    return not (between & o.skeleton.atomics)


def no_thin_air_axiom(o: Orders, _coherence: Relation) -> bool:
    """No thin air: no value justifies itself through dependencies and communication."""
    return (o.candidate.reads_from | o.skeleton.dependencies).acyclic()


def sc_per_location_axiom(o: Orders, coherence: Relation) -> bool:
    """SC per location: among morally strong operations communication follows program order."""
    x, strong = o.candidate, o.patterns.morally_strong & o.skeleton.same_address
    communication = x.reads_from | coherence | from_reads(x, coherence)
    return ((communication | o.skeleton.program_order) & strong).acyclic()


def causality_axiom(o: Orders, coherence: Relation) -> bool:
    """Causality: no read sees a later write, nor one that causality says was overwritten."""
    communication = o.candidate.reads_from | from_reads(o.candidate, coherence)
    return not communication.contradicts(o.causality)


Axiom = Callable[["Orders", Relation], bool]

AXIOMS: dict[str, Axiom] = {
    "Coherence": coherence_axiom,
    "Fence-SC": fence_sc_axiom,
    "Atomicity": atomicity_axiom,
    "No-Thin-Air": no_thin_air_axiom,
    "SC-per-Location": sc_per_location_axiom,
    "Causality": causality_axiom,
}


def allowed(o: Orders, coherence: Relation) -> bool:
    """The model: an execution is allowed where every axiom holds."""
    return all(axiom(o, coherence) for axiom in AXIOMS.values())


@dataclass(frozen=True, slots=True)
class Patterns:
    """What moral strength and the patterns are for one choice of paths."""

    morally_strong: Relation
    release: Relation
    acquire: Relation


@dataclass(frozen=True, slots=True)
class Orders:
    """A candidate with the orders derived from it."""

    skeleton: Skeleton
    candidate: Candidate
    patterns: Patterns
    observation: Relation
    synchronizes: Relation
    base_causality: Relation
    causality: Relation


def patterns(s: Skeleton) -> Patterns:
    """Moral strength and patterns of a skeleton."""
    return Patterns(morally_strong(s), release_pattern(s), acquire_pattern(s))


def orders(x: Candidate, p: Patterns) -> Orders:
    """Derive the orders of a candidate."""
    s = x.skeleton
    observed = observation(s, x, p.morally_strong)
    synchronized = synchronizes(p, x, observed)
    base = base_causality(s, synchronized)
    cause = causality(observed, proxy_preserved(s, base))
    return Orders(s, x, p, observed, synchronized, base, cause)


def itself(s: Skeleton, events: int) -> Relation:
    """Identity on a set of events."""
    return Relation([events & 1 << index for index in range(s.size)])
