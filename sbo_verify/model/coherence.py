"""The last choice of a search: a coherence order under which every axiom holds.

The axioms speak of one location at a time, so that coherence is chosen location by location, and no
larger than it must be: every further pair only adds to what a read may not see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product

from sbo_verify.model import axioms
from sbo_verify.model.condition import Condition, Known, MemoryAt, RegisterOf, evaluate, terms
from sbo_verify.model.relation import Relation

Final = dict[RegisterOf | MemoryAt, int]
Chosen = tuple[Relation, Final]
# The axioms that look at coherence, one location at a time. Progress is none of the ISA's: it is
# added where an execution never ends.
LOCAL = ("Causality", "Atomicity", "SC-per-Location", "Progress")
# From derived orders, the condition and the final registers to a coherence order and final state.
Choose = Callable[[axioms.Orders, Condition, Known], Chosen | None]


def choose_coherence(orders: axioms.Orders, condition: Condition, known: Known) -> Chosen | None:
    """A coherence order that the model allows and that ends in `condition`; None without one."""
    return choose_under(axioms.AXIOMS, orders, condition, known)


def choose_under(
    rules: Mapping[str, axioms.Axiom], orders: axioms.Orders, condition: Condition, known: Known
) -> Chosen | None:
    """The same under the axioms in `rules`, for tests of what each axiom is there for."""
    nothing = Relation.empty(orders.skeleton.size)
    for name in ("No-Thin-Air", "Fence-SC", "Causality"):
        if name in rules and not rules[name](orders, nothing):
            return None
    asked = {term for term in terms(condition) if isinstance(term, MemoryAt)}
    choices: list[list[Chosen]] = []
    for memory in memories(orders):
        options = list(_options(rules, orders, memory, asked=MemoryAt(memory) in asked))
        if not options:
            return None
        choices.append(options)
    return join(choices, nothing, condition, known)


def join(
    choices: list[list[Chosen]],
    nothing: Relation,
    condition: Condition,
    known: Known,
    test: Callable[[Chosen], bool] | None = None,
) -> Chosen | None:
    """One choice for every location that fits the condition and, where one is given, the test."""
    for choice in product(*choices):
        final = dict(known)
        whole = nothing
        for coherence, end in choice:
            whole |= coherence
            final.update(end)
        if evaluate(condition, final) and (test is None or test((whole, final))):
            return whole, final
    return None


def memories(orders: axioms.Orders) -> list[str]:
    """The memories of the program, aliases taken together."""
    places = orders.skeleton.program.locations.values()
    return list(dict.fromkeys(place.memory for place in places))


def final_values(
    orders: axioms.Orders, memory: str, coherence: Relation
) -> Iterator[tuple[int, int]]:
    """The writes that no other follows, with their values: any of them can be the last."""
    for write in orders.skeleton.writers(memory):
        value = orders.candidate.values[write]
        if not coherence.rows[write] and value is not None:
            yield write, value


def _options(
    rules: Mapping[str, axioms.Axiom], orders: axioms.Orders, memory: str, *, asked: bool
) -> Iterator[Chosen]:
    """The coherence orders of one memory; one for every final value where that is asked."""
    seen: set[int] = set()
    local = [rules[name] for name in LOCAL if name in rules]
    for coherence in _orderings(rules, orders, memory):
        if not all(axiom(orders, coherence) for axiom in local):
            continue
        if not asked:
            yield coherence, {}
            return
        for _, value in final_values(orders, memory, coherence):
            if value not in seen:
                seen.add(value)
                yield coherence, {MemoryAt(memory): value}


def _orderings(
    rules: Mapping[str, axioms.Axiom], orders: axioms.Orders, memory: str
) -> Iterator[Relation]:
    """The least coherence orders of a memory: causality, and every morally strong pair."""
    skeleton = orders.skeleton
    mask = sum(1 << write for write in skeleton.writers(memory))
    if "Coherence" not in rules:
        yield skeleton.initial_first.within(mask, mask)
        return
    least = (orders.causality | skeleton.initial_first).within(mask, mask).closure()
    strong = orders.patterns.morally_strong.within(mask, mask)
    yield from linearized(least, [(a, b) for a, b in strong.pairs() if a < b])


def linearized(coherence: Relation, pairs: list[tuple[int, int]]) -> Iterator[Relation]:
    """Every way to relate each of `pairs`, one way or the other, without a cycle."""
    if not coherence.irreflexive():
        return
    for first, second in pairs:
        if (first, second) not in coherence and (second, first) not in coherence:
            size = len(coherence.rows)
            for pair in ((first, second), (second, first)):
                yield from linearized((coherence | Relation.of(size, [pair])).closure(), pairs)
            return
    yield coherence
