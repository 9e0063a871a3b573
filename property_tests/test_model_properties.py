"""Properties of the model on random programs: what must not change a verdict, and which way."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from random_programs import Case, draw
from test_model_oracle import Outcome, events_of, of_the_model

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


def fenced_case(rng: random.Random) -> Case:
    """Strong accesses of threads of one CTA, two in each thread with a fence.sc between them."""
    threads = []
    writes = {"x": 0, "y": 0}
    for thread in range(rng.choice((2, 2, 3))):
        accesses = []
        for step in range(2):
            loc, register = rng.choice("xy"), f"r{2 * thread + step}"
            forms = (
                f"ld.relaxed.cta {register}, {loc}",
                f"st.relaxed.cta {loc}, {thread + 1}",
                f"atom.relaxed.cta.add {register}, {loc}, 1",
            )
            # More than three writes of one location only add orders of coherence to go through.
            form = rng.randrange(len(forms)) if writes[loc] < 3 else 0
            writes[loc] += form > 0
            accesses.append(forms[form])
        threads.append((accesses[0], "fence.sc.cta", accesses[1]))
    return Case(tuple((0, 0) for _ in threads), tuple(threads))


def of_interleavings(case: Case) -> set[Outcome]:
    """The outcomes of running the threads one instruction at a time, in every order."""
    names = [(thread, name) for thread, name, _ in events_of(case)[3]]
    outcomes: set[Outcome] = set()
    start: dict[tuple[int, str], int] = {(-1, "x"): 0, (-1, "y"): 0}
    stack = [((0,) * len(case.threads), start)]
    while stack:
        at, state = stack.pop()
        waiting = [i for i, place in enumerate(at) if place < len(case.threads[i])]
        if not waiting:
            outcomes.add(tuple(state[name] for name in names))
        for thread in waiting:
            after = dict(state)
            execute(after, thread, case.threads[thread][at[thread]])
            stack.append(((*at[:thread], at[thread] + 1, *at[thread + 1 :]), after))
    return outcomes


def execute(state: dict[tuple[int, str], int], thread: int, text: str) -> None:
    """One instruction at once; memory stands in the state under thread -1."""
    name, *operands = text.replace(",", " ").split()
    if name.startswith("st"):
        state[-1, operands[0]] = int(operands[1])
    elif not name.startswith("fence"):
        state[thread, operands[0]] = state[-1, operands[1]]
        if name.startswith("atom"):
            state[-1, operands[1]] += int(operands[2])


@MANY
@given(SEEDS)
def test_strong_accesses_of_one_cta_with_fence_sc_between_are_sequentially_consistent(
    seed: int,
) -> None:
    case = fenced_case(random.Random(seed))
    assert of_the_model(case) == of_interleavings(case), case.text()


def test_without_its_fences_some_program_is_not_sequentially_consistent() -> None:
    """The property above is about the fences: store buffering without them has an outcome more."""
    fenced = (
        ("st.relaxed.cta x, 1", "fence.sc.cta", "ld.relaxed.cta r0, y"),
        ("st.relaxed.cta y, 1", "fence.sc.cta", "ld.relaxed.cta r1, x"),
    )
    with_fences = Case(((0, 0), (0, 0)), fenced)
    without = Case(with_fences.places, tuple((first, last) for first, _, last in fenced))
    assert of_the_model(with_fences) == of_interleavings(with_fences)
    assert of_the_model(without) == of_interleavings(without) | {(0, 0)}
    assert (0, 0) not in of_interleavings(without)
