"""The axioms one by one: what each forbids, and that no rule of the model can go unnoticed."""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sbo_verify.model import axioms, bulk, thread
from sbo_verify.model.coherence import (
    Chosen,
    choose_coherence,
    choose_under,
    linearized,
    memories,
)
from sbo_verify.model.condition import Condition, Known
from sbo_verify.model.events import Event, EventKind
from sbo_verify.model.execution import Skeleton
from sbo_verify.model.litmus import read_file, read_text
from sbo_verify.model.program import Program, WaitGroup
from sbo_verify.model.readings import DEFAULT
from sbo_verify.model.relation import Relation, bits
from sbo_verify.model.search import find, goal
from sbo_verify.vocabulary import Order

LITMUS = Path(__file__).parent / "litmus"

NEAR = " P0@cta 0,gpu 0 | P1@cta 0,gpu 0 ;\n"
TWO = " P0@cta 0,gpu 0 | P1@cta 1,gpu 0 ;\n"
THIN_AIR = (
    f"{TWO} ld.weak r0, x | ld.weak r1, f ;\n st.weak f, r0 | st.weak x, r1 ;\n"
    " st.weak y, 0 | st.weak y, 1 ;\n"
)
# For each axiom a program, and the axioms that one of its executions breaks.
BROKEN: dict[str, tuple[str, set[str]]] = {
    "Coherence": (
        f"{TWO} st.weak x, 1 | ld.acquire.gpu r0, f ;\n st.release.gpu f, 1 | st.weak x, 2 ;\n",
        {"Coherence"},
    ),
    "Fence-SC": (
        f"{NEAR} fence.sc.gpu | bar.cta.sync 1 ;\n bar.cta.sync 1 | fence.sc.gpu ;\n",
        {"Fence-SC"},
    ),
    "Atomicity": (
        f"{TWO} atom.relaxed.gpu.add r0, x, 1 | st.relaxed.gpu x, 5 ;\n",
        {"Atomicity"},
    ),
    "No-Thin-Air": (THIN_AIR, {"No-Thin-Air"}),
    # Communication among morally strong operations is in causality too: Causality fails with it.
    "SC-per-Location": (
        f"{TWO} st.relaxed.gpu x, 1 | ld.relaxed.gpu r0, x ;\n | ld.relaxed.gpu r1, x ;\n",
        {"SC-per-Location", "Causality"},
    ),
    "Causality": (
        f"{TWO} st.weak x, 1 | ld.acquire.gpu r0, f ;\n st.release.gpu f, 1 | ld.weak r1, x ;\n",
        {"Causality"},
    ),
}


def broken_sets(text: str) -> set[frozenset[str]]:
    """The sets of axioms that the executions of a program break, coherence chosen in all ways."""
    program = read_text(f"PTX t\n{{\nx = 0; f = 0;\n}}\n{text}exists (x != 99)")
    sets: set[frozenset[str]] = set()

    def record(orders: axioms.Orders, _condition: Condition, _known: Known) -> Chosen | None:
        skeleton = orders.skeleton
        nothing = Relation.empty(skeleton.size)
        wholes = [nothing]
        for memory in memories(orders):
            writers = skeleton.writers(memory)
            pairs = [(a, b) for a in writers for b in writers if a < b]
            first = skeleton.initial_first.within(*[sum(1 << w for w in writers)] * 2)
            wholes = [whole | one for whole in wholes for one in linearized(first, pairs)]
        for whole in wholes:
            rules = axioms.AXIOMS.items()
            sets.add(frozenset(name for name, axiom in rules if not axiom(orders, whole)))
        return None

    find(program, program.condition, choose=record)
    return sets


@pytest.mark.parametrize("name", list(axioms.AXIOMS))
def test_an_execution_breaks_the_axiom_and_nothing_besides(name: str) -> None:
    text, broken = BROKEN[name]
    assert frozenset(broken) in broken_sets(text)


@pytest.mark.parametrize("name", list(axioms.AXIOMS))
def test_an_axiom_that_always_holds_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, broken = BROKEN[name]
    monkeypatch.setitem(axioms.AXIOMS, name, lambda _orders, _coherence: True)
    assert frozenset(broken) not in broken_sets(text)


@pytest.mark.parametrize("name", list(axioms.AXIOMS))
def test_an_execution_that_breaks_an_axiom_is_not_allowed(name: str) -> None:
    """The conjunction has every axiom in it: a witness of the search breaks none."""
    text, _ = BROKEN[name]
    program = read_text(f"PTX t\n{{\nx = 0; f = 0;\n}}\n{text}exists (x != 99)")
    witness = find(program, program.condition).witness
    assert witness is not None
    assert axioms.allowed(witness.orders, witness.coherence)
    assert axioms.AXIOMS[name](witness.orders, witness.coherence)


@cache
def suite() -> tuple[tuple[str, Program], ...]:
    """Every litmus file, read once."""
    files = []
    for folder in ("public", "bulk"):
        with (LITMUS / folder / "expected.csv").open(encoding="utf-8") as file:
            names = [row["file"] for row in csv.DictReader(file)]
        files += [(f"{folder}/{name}", read_file(LITMUS / folder / name)) for name in names]
    return tuple(files)


def verdicts(rules: dict[str, axioms.Axiom] | None = None) -> dict[str, bool]:
    """Whether the state asked for is reached, for every litmus file, under these axioms."""

    def choose(orders: axioms.Orders, condition: Condition, known: Known) -> Chosen | None:
        return choose_under(rules or {}, orders, condition, known)

    pick = choose_coherence if rules is None else choose
    return {
        name: find(program, goal(program), reading=DEFAULT, choose=pick).witness is not None
        for name, program in suite()
    }


@cache
def right() -> dict[str, bool]:
    return verdicts()


@pytest.mark.parametrize("name", ["Coherence", "Atomicity", "Causality"])
def test_the_litmus_files_notice_a_missing_axiom(name: str) -> None:
    rules = {other: axiom for other, axiom in axioms.AXIOMS.items() if other != name}
    assert verdicts(rules) != right()


@pytest.mark.parametrize("name", ["Fence-SC", "SC-per-Location"])
def test_an_axiom_that_follows_from_the_others_changes_no_verdict(name: str) -> None:
    """The manual states it, so the page does; here it is shown to add nothing.

    An order of fence.sc that contradicts causality has only more edges than one that agrees, and
    communication among morally strong operations at one address is causality already.
    """
    rules = {other: axiom for other, axiom in axioms.AXIOMS.items() if other != name}
    assert verdicts(rules) == right()


def test_thin_air_is_noticed_by_a_program_whose_values_justify_themselves() -> None:
    """1 is written on the path on which y was 0; on the other it would have to justify itself."""
    text = (
        f"PTX t\n{{\nx = 0; y = 0;\n}}\n{TWO} ld.weak r0, x | ld.weak r1, y ;\n"
        " st.weak y, r0 | bne r1, 0, LC00 ;\n | st.weak x, 1 ;\n | goto LC01 ;\n | LC00: ;\n"
        " | st.weak x, r1 ;\n | LC01: ;\nexists (P0:r0 == 1 /\\ P1:r1 == 1)"
    )
    program = read_text(text)
    rules = {name: axiom for name, axiom in axioms.AXIOMS.items() if name != "No-Thin-Air"}

    def choose(orders: axioms.Orders, condition: Condition, known: Known) -> Chosen | None:
        return choose_under(rules, orders, condition, known)

    assert find(program, program.condition).witness is None
    assert find(program, program.condition, choose=choose).witness is not None


Mutant = tuple[ModuleType | type, str, Callable[[Any], Any]]


def always(value: object) -> Callable[[Any], Any]:
    return lambda _original: value


def no_relation(skeleton: Skeleton, *_: object) -> Relation:
    return Relation.empty(skeleton.size)


def as_property(get: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda _original: property(get)


def on_wait(change: Callable[[WaitGroup], WaitGroup]) -> Callable[[Any], Any]:
    def wrap(original: Any) -> Any:  # noqa: ANN401 - stands for any function of the module
        return lambda run, state, ins, domains: original(run, state, change(ins), domains)

    return wrap


def wait(ins: WaitGroup, **changes: object) -> WaitGroup:
    fields = {"groups": ins.groups, "source_only": ins.source_only, "text": ins.text} | changes
    return WaitGroup(**fields)  # type: ignore[arg-type]


def everything(skeleton: Skeleton) -> Relation:
    return Relation([((1 << skeleton.size) - 1) & ~(1 << i) for i in range(skeleton.size)])


def fences_of_any_cta(skeleton: Skeleton) -> Relation:
    events = skeleton.events
    fences = skeleton.mask(lambda e: e.kind is EventKind.PROXY_FENCE)
    same = skeleton.same_proxy
    return Relation(
        [same.rows[i] & fences if events[i].is_memory else 0 for i in range(skeleton.size)]
    )


def releases_without_sc(event: Event) -> bool:
    if event.kind is EventKind.FENCE:
        return event.order in {Order.RELEASE, Order.ACQ_REL}
    return event.is_write and event.order in {Order.RELEASE, Order.ACQ_REL}


def any_fence_or(order: Order) -> Callable[[Event], bool]:
    def test(event: Event) -> bool:
        if event.kind is EventKind.FENCE:
            return True
        right_kind = event.is_write if order is Order.RELEASE else event.is_read
        return right_kind and event.order in {order, Order.ACQ_REL}

    return test


def weak_volatile(event: Event) -> bool:
    strong = event.is_memory and event.order not in {Order.WEAK, Order.VOLATILE}
    return event.kind is EventKind.FENCE or strong


def own_chain(original: Any) -> Any:  # noqa: ANN401 - stands for any function of the module
    del original
    return lambda _s, x, strong: x.reads_from & strong


def without(field: str) -> Callable[[Any], Any]:
    """Synchronizes with one of its sources left out."""

    def wrap(original: Any) -> Any:  # noqa: ANN401 - stands for any function of the module
        return lambda p, x, observed: original(p, x, observed) - getattr(x, field)

    return wrap


def not_cumulative(original: Any) -> Any:  # noqa: ANN401 - stands for any function of the module
    del original

    def base(s: Skeleton, synchronized: Relation) -> Relation:
        once = s.program_order | synchronized | s.completion
        step = once | s.program_order.then(synchronized).then(s.program_order)
        return step | step.optional().then(s.issue)

    return base


def handing_on(original: Any) -> Any:  # noqa: ANN401 - stands for any function of the module
    del original
    return lambda s, sync: (s.program_order | sync | s.completion | s.issue).closure()


def every_preserved(original: Any) -> Any:  # noqa: ANN401 - stands for any function of the module
    del original
    return lambda s, base: base & s.same_memory


# Every rule of the model broken in one way: where it lives, its name, and what stands in its place.
MUTANTS: dict[str, Mutant] = {
    ".read waits for the destinations too": (
        bulk,
        "wait_group",
        on_wait(lambda ins: wait(ins, source_only=False)),
    ),
    "wait_group is .read": (bulk, "wait_group", on_wait(lambda ins: wait(ins, source_only=True))),
    "wait_group N waits for all": (bulk, "wait_group", on_wait(lambda ins: wait(ins, groups=0))),
    "a commit is not needed": (
        bulk,
        "commit",
        lambda _original: lambda run, state, _ins, _domains: [run.go_on(state)],
    ),
    "nothing follows the issue": (Skeleton, "issue", as_property(no_relation)),
    "completion orders nothing": (Skeleton, "completion", as_property(no_relation)),
    "completion hands on the issuer's past": (axioms, "base_causality", handing_on),
    "proxies do not matter": (axioms, "proxy_preserved", every_preserved),
    "no proxy fence serves": (Skeleton, "proxy_fences", as_property(no_relation)),
    "a proxy fence serves every CTA and space": (
        Skeleton,
        "proxy_fences",
        as_property(fences_of_any_cta),
    ),
    "one proxy in one CTA needs fences": (
        Skeleton,
        "same_proxy_and_cta",
        as_property(no_relation),
    ),
    "scopes do not matter": (Skeleton, "scopes_include_each_other", as_property(everything)),
    "no two threads are in scope": (
        Skeleton,
        "scopes_include_each_other",
        as_property(no_relation),
    ),
    "aliases overlap completely": (
        Skeleton,
        "same_address",
        as_property(lambda skeleton: skeleton.same_memory),
    ),
    "atomics hand on no observation": (axioms, "observation", own_chain),
    "fence.sc is no release or acquire": (Event, "releases", as_property(releases_without_sc)),
    "every fence releases": (Event, "releases", as_property(any_fence_or(Order.RELEASE))),
    "every fence acquires": (Event, "acquires", as_property(any_fence_or(Order.ACQUIRE))),
    "volatile is weak": (Event, "strong", as_property(weak_volatile)),
    "release patterns do not exist": (axioms, "release_pattern", always(no_relation)),
    "acquire patterns do not exist": (axioms, "acquire_pattern", always(no_relation)),
    "the read of a reduction acquires": (Skeleton, "reductions", as_property(lambda _skeleton: 0)),
    "mbarriers have no scope": (Skeleton, "out_of_scope", as_property(no_relation)),
    "barriers order nothing": (axioms, "synchronizes", without("meetings")),
    "fence.sc has no order": (axioms, "synchronizes", without("fence_order")),
    "causality is not cumulative": (axioms, "base_causality", not_cumulative),
    "observation is not in causality": (
        axioms,
        "causality",
        always(lambda _observed, preserved: preserved),
    ),
    "an atomic is two operations": (Skeleton, "atomics", as_property(no_relation)),
}


@pytest.mark.parametrize("what", list(MUTANTS))
def test_a_broken_rule_is_noticed_by_some_litmus_file(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = right()
    where, name, change = MUTANTS[what]
    original = where.__dict__[name]
    replacement = change(original)
    monkeypatch.setattr(where, name, replacement)
    if where is bulk:
        for kind, step in list(thread.MEMORY_STEPS.items()):
            if step is original:
                monkeypatch.setitem(thread.MEMORY_STEPS, kind, replacement)
    assert verdicts() != expected


def test_relations_compose_close_and_contradict_as_sets_of_pairs_do() -> None:
    chain = Relation.of(4, [(0, 1), (1, 2), (2, 3)])
    assert set(chain.then(chain).pairs()) == {(0, 2), (1, 3)}
    assert set(chain.closure().pairs()) == {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}
    assert set(chain.inverse().pairs()) == {(1, 0), (2, 1), (3, 2)}
    assert chain.acyclic()
    assert not (chain | Relation.of(4, [(3, 0)])).acyclic()
    assert chain.contradicts(Relation.of(4, [(2, 1)]))
    assert not chain.contradicts(chain)
    assert set(chain.within(0b0011, 0b0100).pairs()) == {(1, 2)}
    assert list(bits(0b10110)) == [1, 2, 4]
    assert (0, 1) in chain
    assert set((chain - chain.then(chain)).pairs()) == set(chain.pairs())
