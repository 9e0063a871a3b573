"""Can a poll fail for ever? Spin loops and barriers of litmus texts, and the polls of variants."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from sbo_verify.model import Budget, judge_litmus, liveness_of, poll_answer
from sbo_verify.model.axioms import AXIOMS
from sbo_verify.model.coherence import choose_under
from sbo_verify.model.litmus import read_text
from sbo_verify.model.program import Program
from sbo_verify.protocols import PROTOCOLS
from sbo_verify.protocols.signal_publish import sites
from sbo_verify.protocols.signal_publish.catalogue import PUBLISHED
from sbo_verify.protocols.signal_publish.sites import Place, Poll, SignalPublish, SignalScope

PUBLIC = Path(__file__).parent / "litmus" / "public"
ROWS = {row.name: row for row in PROTOCOLS["signal_publish"]}
# The public tests in which some thread never ends, found by hand in their texts.
HANGING = {
    "Barrier/quorum2-hang.litmus",
    "Manual/PC-bar-sync-sync-3.litmus",
    "Manual/PC-bar-sync-sync-4.litmus",
    "Manual/Ticketlock-diff-gpu.litmus",
    "Manual/XF-Barrier-weak.litmus",
}


def program(*columns: str, places: str = "cta 0,gpu 0|cta 1,gpu 0", initial: str = "") -> Program:
    """A program with one column of instructions, separated by semicolons, for every thread."""
    split = [[each.strip() for each in column.split(";")] for column in columns]
    where = places.split("|") if "|" in places else [places] * len(columns)
    rows = [[f"P{i}@{where[i % len(where)]}" for i in range(len(columns))]]
    height = max(map(len, split))
    rows += [[c[r] if r < len(c) else "" for c in split] for r in range(height)]
    body = "\n".join(f" {' | '.join(row)} ;" for row in rows)
    return read_text(f"PTX t\n{{\nf = 0; x = 0; {initial}\n}}\n{body}\nexists (f == 0)\n")


SPIN = "LC00: ; {load} r0, f; bne r0, 1, LC00; ld.weak r1, x"
SETS = "st.weak x, 1; {store} f, 1"


@pytest.mark.parametrize(
    ("store", "load", "hangs", "strong_hangs"),
    [
        ("st.release.gpu", "ld.acquire.gpu", False, False),
        ("st.relaxed.gpu", "ld.relaxed.gpu", False, False),
        ("st.volatile", "ld.volatile", False, False),
        # Scopes that leave the other CTA out: only the reading decides.
        ("st.release.cta", "ld.acquire.gpu", True, False),
        ("st.release.gpu", "ld.acquire.cta", True, False),
        # A weak spin is promised nothing: a compiler may read once.
        ("st.release.gpu", "ld.weak", True, True),
        ("st.weak", "ld.acquire.gpu", True, True),
    ],
)
def test_a_spin_ends_where_the_write_must_be_seen(
    store: str,
    load: str,
    hangs: bool,  # noqa: FBT001 - a column of the table
    strong_hangs: bool,  # noqa: FBT001 - a column of the table
) -> None:
    answer = liveness_of(program(SETS.format(store=store), SPIN.format(load=load)))
    assert answer.complete
    assert answer.may_last_for_ever is hangs
    assert answer.readings == {
        "progress=morally_strong": hangs,
        "progress=strong": strong_hangs,
    }
    assert all("not morally strong" in reason for reason in answer.reasons)


def test_a_spin_for_a_value_that_nobody_writes_says_what_stays_there() -> None:
    answer = liveness_of(program("st.relaxed.gpu f, 2", SPIN.format(load="ld.relaxed.gpu")))
    assert answer.known is True
    assert answer.reasons == [
        "f can stay at 2, which 'ld.relaxed.gpu r0, f' of P1 then reads for ever"
    ]


def test_a_writer_that_waits_for_the_spinning_thread_never_writes() -> None:
    """Without the executions in which a barrier waits for ever this would look like progress."""
    columns = ("bar.cta.sync 0; st.relaxed.gpu f, 1", SPIN.format(load="ld.relaxed.gpu"))
    spun = program(columns[0], f"{columns[1]}; bar.cta.sync 0", places="cta 0,gpu 0")
    assert liveness_of(spun).reasons == [
        "f can stay at 0, which 'ld.relaxed.gpu r0, f' of P1 then reads for ever"
    ]
    behind = program(columns[0], f"bar.cta.sync 0; {columns[1]}", places="cta 0,gpu 0")
    assert liveness_of(behind).known is False


def test_an_arrival_that_does_not_wait_lets_the_writer_go_on() -> None:
    columns = ("bar.cta.sync 0; st.relaxed.gpu f, 1", "bar.cta.arrive 0; " + SPIN)
    arrives = program(columns[0], columns[1].format(load="ld.relaxed.gpu"), places="cta 0,gpu 0")
    assert liveness_of(arrives).known is False


def test_barriers_in_opposite_orders_wait_for_each_other() -> None:
    answer = liveness_of(
        program(
            "bar.cta.sync 0; bar.cta.sync 1", "bar.cta.sync 1; bar.cta.sync 0", places="cta 0,gpu 0"
        )
    )
    assert answer.reasons == [
        "P0 can wait for ever at 'bar.cta.sync 0': too few arrive there",
        "P1 can wait for ever at 'bar.cta.sync 1': too few arrive there",
    ]


LOCK = "LC00: ; atom.acquire.gpu.exch r0, f, 1; bne r0, 0, LC00; st.weak x, 1; {release}"


def test_a_lock_that_is_given_back_is_taken_in_the_end_and_one_that_is_kept_never() -> None:
    given_back = LOCK.format(release="st.release.gpu f, 0")
    kept = LOCK.format(release="ld.weak r1, x")
    assert liveness_of(program(given_back, given_back)).known is False
    answer = liveness_of(program(kept, kept))
    assert answer.may_last_for_ever
    assert any("of P0" in reason for reason in answer.reasons)
    assert any("of P1" in reason for reason in answer.reasons)


def test_a_loop_without_any_access_never_ends() -> None:
    assert liveness_of(program("LC00: ; goto LC00")).reasons == [
        "nothing that P0 repeats can end its loop"
    ]


def test_a_repeated_fence_comes_after_those_that_are_executed_once() -> None:
    """A weak spin with fence.sc inside: the fence of a later turn is behind the writer's."""
    writer = "st.weak f, 1; fence.sc.gpu"
    fenced = "LC00: ; fence.sc.gpu; ld.weak r0, f; bne r0, 1, LC00"
    assert liveness_of(program(writer, fenced)).known is False
    acquire = fenced.replace("fence.sc.gpu", "fence.acquire.gpu")
    assert liveness_of(program(writer, acquire)).known is True


def test_without_the_rule_of_progress_every_spin_could_last_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the rule is there for: the axioms alone let a poll miss its signal for ever."""
    sound = program(SETS.format(store="st.release.gpu"), SPIN.format(load="ld.acquire.gpu"))
    assert liveness_of(sound).known is False
    monkeypatch.setattr(
        "sbo_verify.model.liveness.choose_under",
        lambda _rules, *rest: partial(choose_under, AXIOMS)(*rest),
    )
    assert liveness_of(sound).known is True


def test_the_public_tests_with_a_thread_that_never_ends_are_those_named() -> None:
    answers = {
        path.relative_to(PUBLIC).as_posix(): judge_litmus(path).liveness
        for path in PUBLIC.rglob("*.litmus")
    }
    assert all(answer.complete for answer in answers.values())
    assert {name for name, answer in answers.items() if answer.may_last_for_ever} == HANGING


def test_a_search_that_was_cut_off_knows_nothing() -> None:
    spun = program(SETS.format(store="st.release.gpu"), SPIN.format(load="ld.acquire.gpu"))
    answer = liveness_of(spun, Budget(candidates=3))
    assert answer.known is None
    assert not answer.complete
    assert set(answer.readings.values()) == {None}
    cut = poll_answer(PUBLISHED, budget=Budget(candidates=3))
    assert cut.known is None
    assert set(cut.readings.values()) == {None}


def test_a_loop_with_an_effect_in_every_turn_is_not_called_safe() -> None:
    """Its turns never repeat, so that how it goes on beyond those followed is not known."""
    counts = program("LC00: ; atom.relaxed.gpu.add r0, f, 1; blt r0, 9, LC00")
    assert liveness_of(counts).known is None


def test_a_signal_that_reaches_its_threshold_is_seen_in_the_end() -> None:
    answer = poll_answer(PUBLISHED)
    assert answer.complete
    assert not answer.may_last_for_ever
    assert answer.reasons == []


@pytest.mark.parametrize("producers", [1, 2])
def test_an_equality_test_hangs_on_a_signal_that_was_not_zeroed(producers: int) -> None:
    equal = PUBLISHED.with_choices(test=sites.Test.EQUAL)
    assert not poll_answer(equal, producers=producers).may_last_for_ever
    hung = poll_answer(equal, producers=producers, leftover=1)
    assert hung.may_last_for_ever
    assert f"signal0 can stay at {producers + 1}, which 'ld.acquire.gpu" in hung.reasons[0]
    at_least = poll_answer(PUBLISHED, producers=producers, leftover=1)
    assert not at_least.may_last_for_ever


@pytest.mark.parametrize(
    ("variant", "hangs"),
    [
        (PUBLISHED.with_choices(publish_scope=SignalScope.CTA), True),
        (PUBLISHED.with_choices(poll_scope=SignalScope.CTA), True),
        (
            PUBLISHED.with_choices(
                place=Place.PRODUCER_CTA,
                publish_scope=SignalScope.CTA,
                poll_scope=SignalScope.CTA,
            ),
            False,
        ),
        (PUBLISHED.with_choices(poll=Poll.LD_RELAXED), False),
        (PUBLISHED.with_choices(poll=Poll.LD_VOLATILE), False),
        (PUBLISHED.with_choices(poll=Poll.PLAIN_THEN_ACQUIRE), False),
    ],
)
def test_a_poll_is_promised_the_value_only_within_its_scope(
    variant: SignalPublish,
    hangs: bool,  # noqa: FBT001 - a column of the table
) -> None:
    answer = poll_answer(variant)
    assert answer.may_last_for_ever is hangs
    assert all("not morally strong" in reason for reason in answer.reasons)


def test_a_reader_without_poll_waits_for_nothing() -> None:
    variant = ROWS["readback-no_wait"].variant
    assert isinstance(variant, SignalPublish)
    assert not poll_answer(variant).may_last_for_ever
