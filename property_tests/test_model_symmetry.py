"""Leaving out executions in which threads that are alike have changed places loses no answer."""

from __future__ import annotations

import random

import pytest
from random_programs import Case, draw

from sbo_verify.model import search
from sbo_verify.model.condition import Both, Compare, MemoryAt, RegisterOf
from sbo_verify.model.hand_over import queries
from sbo_verify.model.litmus import read_text
from sbo_verify.model.program import Program
from sbo_verify.model.readings import DEFAULT
from sbo_verify.model.symmetry import first_of_its_kind, interchangeable
from sbo_verify.protocols.signal_publish.catalogue import PUBLISHED


def with_copies(case: Case, rng: random.Random) -> Case:
    """The case with one or two more copies of its first thread, each alone in a CTA."""
    more = rng.choice((1, 2))
    places = ((10, 0), *case.places[1:], *((11 + n, 0) for n in range(more)))
    return Case(places, (*case.threads, *(case.threads[0] for _ in range(more))))


@pytest.mark.parametrize("seed", range(4))
def test_random_programs_with_copies_of_a_thread_have_the_same_answers(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    answers = {}
    # Without the pruning more than four threads take seconds.
    drawn = [case for case in (draw(rng) for _ in range(120)) if all(case.threads)]
    cases = [with_copies(case, rng) for case in drawn if sum(map(len, case.threads)) < 5][:15]
    asked = [
        Both(
            (Compare(MemoryAt("x"), "==", rng.randrange(4)), Compare(last, "==", rng.randrange(3)))
        )
        for case in cases
        for last in [RegisterOf(1, f"r{rng.randrange(6)}")]
    ]
    for way in ("pruned", "whole"):
        if way == "whole":
            monkeypatch.setattr(search, "interchangeable", lambda _program, _condition: ())
        answers[way] = [
            search.find(read_text(case.text()), condition)
            for case, condition in zip(cases, asked, strict=True)
        ]
    pruned, whole = answers["pruned"], answers["whole"]
    assert [bool(each.witness) for each in pruned] == [bool(each.witness) for each in whole]
    assert {bool(each.witness) for each in whole} == {True, False}
    assert sum(e.candidates for e in pruned) < sum(e.candidates for e in whole)


def program(*places: str) -> Program:
    """A thread at each place, all with the same instruction."""
    head = " | ".join(f"P{i}@{place}" for i, place in enumerate(places))
    body = " | ".join("st.weak x, 1" for _ in places)
    return read_text(f"PTX t\n{{\nx = 0;\n}}\n {head} ;\n {body} ;\nexists (x == 1)\n")


def test_only_threads_that_nothing_tells_apart_can_change_places() -> None:
    alone = program("cta 0,gpu 0", "cta 1,gpu 0", "cta 2,gpu 0")
    assert interchangeable(alone, alone.condition) == ((0, 1, 2),)
    # Asked about, beside another thread in its CTA or cluster, on another GPU: each has its place.
    assert interchangeable(alone, Compare(RegisterOf(1, "r0"), "==", 0)) == ((0, 2),)
    for places in (
        ("cta 0,gpu 0", "cta 0,gpu 0"),
        ("cta 0,gpu 0", "cta 0,gpu 1"),
        ("cta 0,cluster 0,gpu 0", "cta 1,cluster 0,gpu 0"),
    ):
        near = program(*places)
        assert interchangeable(near, near.condition) == (), places


def test_a_group_that_is_not_alike_would_lose_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the rules above are there for: exchange two threads that scopes tell apart."""
    text = (
        "PTX t\n{{\nf = 0;\n}}\n P0@cta 0,gpu 0 | P1@cta 1,gpu 0 ;\n"
        " atom.relaxed.gpu.add r0, f, 1 | atom.relaxed.gpu.add r0, f, 1 ;\n"
        "exists (P0:r0 == {first} /\\ P1:r0 == {second})\n"
    )

    def found() -> list[bool]:
        programs = [read_text(text.format(first=a, second=b)) for a, b in ((0, 1), (1, 0))]
        return [search.find(each, each.condition).witness is not None for each in programs]

    assert found() == [True, True]
    monkeypatch.setattr(search, "interchangeable", lambda _program, _condition: ((0, 1),))
    assert found() == [True, False]


def test_producers_of_one_signal_but_the_first_are_alike() -> None:
    query = next(queries(PUBLISHED, producers=4))
    names = [thread.name for thread in query.program.threads]
    [group] = interchangeable(query.program, query.program.condition)
    assert [names[index] for index in group] == [f"producer {n} thread 0" for n in (1, 2, 3)]


def test_paths_in_any_but_ascending_order_are_left_out() -> None:
    query = next(queries(PUBLISHED, producers=3))
    paths = search.Search(
        query.program, query.program.condition, DEFAULT, search.Meter(search.Budget(), 0.0)
    ).paths()
    [group] = interchangeable(query.program, query.program.condition)
    low, high = paths[group[0]][:2]
    chosen = [each[0] for each in paths]
    kept = []
    for one, two in ((low, high), (high, low), (low, low)):
        chosen[group[0]], chosen[group[1]] = one, two
        kept.append(first_of_its_kind((group,), chosen))
    assert sorted(kept[:2]) == [False, True]
    assert kept[2]
