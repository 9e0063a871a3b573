"""Properties of the model on random programs: what must not change a verdict, and which way."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from test_model_oracle import Case, Outcome, draw, events_of, of_the_model

from sbo_verify.model.condition import Both, Compare, Not, RegisterOf
from sbo_verify.model.litmus import read_text
from sbo_verify.model.search import find
from sbo_verify.model.worth import choose_interleaving

SEEDS = st.integers(0, 10**9)
MANY = settings(max_examples=200, deadline=None, derandomize=True)

STRONGER = {
    ".cta": ".gpu",
    ".gpu": ".sys",
    "ld.weak": "ld.relaxed.cta",
    "ld.relaxed": "ld.acquire",
    "st.weak": "st.relaxed.cta",
    "st.relaxed": "st.release",
    "atom.relaxed": "atom.acquire",
    "atom.acquire": "atom.acq_rel",
    "fence.acquire": "fence.acq_rel",
    "fence.release": "fence.acq_rel",
    "fence.acq_rel": "fence.sc",
    "wait_group.read": "wait_group",
}


def case_of(seed: int) -> Case:
    """A random program with at least one read."""
    rng = random.Random(seed)
    while True:
        case = draw(rng)
        if any(case.threads) and events_of(case)[3]:
            return case


def with_instruction(case: Case, thread: int, place: int, text: str, *, insert: bool) -> Case:
    """The case with one instruction replaced, or put in."""
    threads = [list(instructions) for instructions in case.threads]
    threads[thread][place : place + (0 if insert else 1)] = [text]
    return replace(case, threads=tuple(map(tuple, threads)))


@MANY
@given(SEEDS, st.data())
def test_a_fence_more_never_adds_an_outcome(seed: int, data: st.DataObject) -> None:
    case = case_of(seed)
    thread = data.draw(st.integers(0, len(case.threads) - 1))
    place = data.draw(st.integers(0, len(case.threads[thread])))
    fence = data.draw(st.sampled_from(["fence.sc.sys", "fence.acq_rel.gpu", "fence.proxy.async"]))
    more = with_instruction(case, thread, place, fence, insert=True)
    assert of_the_model(more) <= of_the_model(case), more.text()


@MANY
@given(SEEDS, st.data())
def test_a_stronger_instruction_never_adds_an_outcome(seed: int, data: st.DataObject) -> None:
    case = case_of(seed)
    changes = [
        (thread, place, text.replace(weak, strong, 1))
        for thread, instructions in enumerate(case.threads)
        for place, text in enumerate(instructions)
        for weak, strong in STRONGER.items()
        if weak in text and not (weak == ".cta" and "bulk" in text)
    ]
    if not changes:
        return
    thread, place, text = data.draw(st.sampled_from(changes))
    stronger = with_instruction(case, thread, place, text, insert=False)
    assert of_the_model(stronger) <= of_the_model(case), stronger.text()


@MANY
@given(SEEDS)
def test_threads_and_locations_by_other_names_have_the_same_outcomes(seed: int) -> None:
    case = case_of(seed)
    order = list(reversed(range(len(case.threads))))
    swap = str.maketrans("xy", "yx")
    turned = Case(
        tuple(case.places[i] for i in order),
        tuple(tuple(swapped(t, swap) for t in case.threads[i]) for i in order),
    )
    names = [name for _, name, _ in events_of(case)[3]]
    other = [name for _, name, _ in events_of(turned)[3]]
    back = [other.index(name) for name in names]
    outcomes = {tuple(outcome[i] for i in back) for outcome in of_the_model(turned)}
    assert outcomes == of_the_model(case), turned.text()


def swapped(text: str, swap: dict[int, int]) -> str:
    """The operands with x and y exchanged; mnemonics contain neither as a word."""
    name, _, operands = text.partition(" ")
    return f"{name} {operands.translate(swap)}".strip()


@MANY
@given(SEEDS)
def test_an_unrelated_thread_changes_no_outcome(seed: int) -> None:
    case = case_of(seed)
    stranger = ("st.release.sys z, 1", "fence.sc.sys", "st.weak z, 2")
    more = Case((*case.places, (0, 0)), (*case.threads, stranger))
    assert of_the_model(more) == of_the_model(case), more.text()


def registers(case: Case) -> list[RegisterOf]:
    """The registers of a case, in the order of its outcomes."""
    return [RegisterOf(thread, name) for thread, name, _ in events_of(case)[3]]


def equal(case: Case, outcome: Outcome) -> Both:
    """The condition that the registers hold this outcome."""
    pairs = zip(registers(case), outcome, strict=True)
    return Both(tuple(Compare(register, "==", value) for register, value in pairs))


@MANY
@given(SEEDS)
def test_strong_accesses_of_one_cta_between_fence_sc_are_sequentially_consistent(
    seed: int,
) -> None:
    rng = random.Random(seed)
    threads = []
    for thread in range(rng.choice((2, 2, 3))):
        body: list[str] = []
        for step in range(2):
            loc, register = rng.choice("xy"), f"r{2 * thread + step}"
            body += [
                rng.choice(
                    (
                        f"ld.relaxed.cta {register}, {loc}",
                        f"st.relaxed.cta {loc}, {thread + 1}",
                        f"atom.relaxed.cta.add {register}, {loc}, 1",
                    )
                ),
                "fence.sc.cta",
            ]
        threads.append(tuple(body))
    case = Case(tuple((0, 0) for _ in threads), tuple(threads))
    program = read_text(case.text())
    asked = Both(tuple(Compare(r, "!=", 10**6) for r in registers(case)))
    interleaved: set[Outcome] = set()
    while True:
        seen = Both((asked, *(Not(equal(case, outcome)) for outcome in interleaved)))
        witness = find(program, seen, choose=choose_interleaving).witness
        if witness is None:
            break
        interleaved.add(tuple(witness.final[r] for r in registers(case)))
        if not registers(case):
            break
    assert of_the_model(case) == interleaved, case.text()
