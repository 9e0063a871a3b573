"""The variants of `signal_publish` under the model: the catalogue and its explanations."""

from __future__ import annotations

import time
from functools import cache
from itertools import pairwise

import pytest

from sbo_verify.model import Budget, ModelAnswer, judge, judge_program
from sbo_verify.model.hand_over import OLD, queries
from sbo_verify.model.litmus import read_text
from sbo_verify.protocol import Row, Site, UnknownNameError, Variant
from sbo_verify.protocols import PROTOCOLS
from sbo_verify.protocols.signal_publish import sites
from sbo_verify.protocols.signal_publish.catalogue import PUBLISHED
from sbo_verify.protocols.signal_publish.sites import (
    PLAIN_STORES,
    Drain,
    FanOut,
    Moment,
    Place,
    Poll,
    Publish,
    Publisher,
    Read,
    SignalPublish,
    SignalScope,
    SourceFence,
    Store,
)
from sbo_verify.verdict import ModelVerdict

PROTOCOL = PROTOCOLS["signal_publish"]
ROWS = {row.name: row for row in PROTOCOL}
FORBIDDEN = [name for name, row in ROWS.items() if row.sound]
ALLOWED = [name for name, row in ROWS.items() if not row.sound]
# The only rows whose verdict the reading of fence.proxy.async decides.
READING_DECIDES = {"deepep_combine-tma_load"}
# With two producers the other CTA's add, at cta scope, breaks the chain of observation.
MORE_PRODUCERS_BREAK = {"producer_cta-cta_scope"}


@cache
def answer(name: str) -> ModelAnswer:
    return judge("signal_publish", variant(ROWS[name]))


def variant(row: Row) -> SignalPublish:
    assert isinstance(row.variant, SignalPublish)
    return row.variant


def story(given: ModelAnswer) -> str:
    """What a failing test prints: the witness with what is missing, or the chains."""
    lines = [f"{given.verdict} ({given.question or 'every read'})", *map(str, given.witness or [])]
    lines += [f"missing: {gap}" for gap in given.missing]
    for question, chain in given.chains.items():
        lines += [question, *(f"  {edge}" for edge in chain)]
    return "\n".join(lines)


@pytest.mark.parametrize("name", list(ROWS))
def test_the_verdict_of_the_catalogue_is_the_verdict_of_the_model(name: str) -> None:
    given = answer(name)
    assert given.complete
    assert given.verdict is ROWS[name].expected, story(given)


def test_every_row_is_judged_in_less_than_a_second() -> None:
    for name, row in ROWS.items():
        started = time.process_time()
        judge("signal_publish", row.variant)
        assert time.process_time() - started < 1, name


@pytest.mark.parametrize("name", ALLOWED)
def test_an_allowed_row_has_a_witness_whose_last_read_is_old_and_a_missing_order(name: str) -> None:
    given = answer(name)
    assert given.witness
    assert [step.number for step in given.witness] == list(range(1, len(given.witness) + 1))
    asked = [step for step in given.witness if step.instruction.split()[1:2] == ["r9,"]]
    assert [step.value for step in asked] == [OLD]
    consumer = [step for step in given.witness if step.actor.startswith("consumer")]
    polls = [step for step in consumer if "signal" in step.instruction]
    assert polls or variant(ROWS[name]).poll is Poll.NONE
    assert given.missing
    assert not given.chains


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_forbidden_row_has_a_chain_of_edges_for_every_read(name: str) -> None:
    given = answer(name)
    assert given.witness is None
    assert set(given.chains) == {query.name for query in queries(variant(ROWS[name]))}
    for question, chain in given.chains.items():
        # It begins with the generic write of the tile and ends with the read that was asked about.
        assert chain[0].first.startswith("st."), question
        assert " r9," in chain[-1].second, question
        assert all(edge.rule for edge in chain)
        # Edges join end to end, but within a bulk copy: it writes what it has read.
        for one, two in pairwise(chain):
            same = (one.second_actor, one.second) == (two.first_actor, two.first)
            assert same or ("(read of" in one.second and "(write of" in two.first), question


def test_only_rows_with_a_bulk_load_and_no_fence_depend_on_the_reading() -> None:
    assert {name for name in ROWS if answer(name).depends_on_reading} == READING_DECIDES
    assert set(answer("full_wait-relaxed").readings) == {
        "async_fence=strict",
        "async_fence=lenient",
    }
    assert answer("generic_store-release").readings == {"any": "Forbidden"}


@pytest.mark.parametrize("producers", [2, 3, 4])
def test_more_producers_change_no_verdict_but_where_their_scope_is_too_small(
    producers: int,
) -> None:
    """A threshold of N: enumerated for 2, 3 and 4, and the same for all of them.

    Larger ones follow: the producers run the same code, so that observation passes from the first
    release to the poll through any number of further atomics as through one or two. Each is morally
    strong with its neighbours in the chain, or none is.
    """
    changed = set()
    for name, row in ROWS.items():
        if variant(row).publish in PLAIN_STORES | {Publish.NONE}:
            continue
        given = judge("signal_publish", row.variant, producers=producers)
        assert given.complete, name
        if given.verdict is not row.expected:
            changed.add(name)
    assert changed == MORE_PRODUCERS_BREAK


@pytest.mark.parametrize("length", range(1, 8))
def test_observation_passes_through_a_chain_of_any_length_or_breaks_at_its_weakest_link(
    length: int,
) -> None:
    """The step of the argument above, alone: adds of one scope between the release and the poll."""
    for scope, holds in (("gpu", True), ("cta", False)):
        places = [f"P{i}@cta {i},gpu 0" for i in range(length + 2)]
        adds = [f"atom.relaxed.{scope}.add r0, f, 1"] * length
        # Each add takes the value of the one before it, so that the chain is the only order.
        asked = " /\\ ".join(f"P{i + 1}:r0 == {i + 1}" for i in range(length))
        rows = [
            ["st.weak x, 1", *adds, "ld.acquire.gpu r0, f"],
            ["red.release.gpu.add f, 1", *[""] * length, "ld.weak r1, x"],
        ]
        body = "\n".join(f" {' | '.join(row)} ;" for row in [places, *rows])
        end = f"P{length + 1}:r0 == {length + 1} /\\ P{length + 1}:r1 == 0"
        text = f"PTX chain\n{{\nx = 0; f = 0;\n}}\n{body}\n~exists ({asked} /\\ {end})\n"
        answer = judge_program(read_text(text))
        assert answer.complete
        assert answer.condition_holds is holds


def test_no_producer_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="give 1 or more"):
        judge("signal_publish", PUBLISHED, producers=0)


def test_a_protocol_without_translation_is_refused_with_what_exists() -> None:
    with pytest.raises(UnknownNameError, match="it knows: signal_publish"):
        judge("grid_barrier", PUBLISHED)
    with pytest.raises(UnknownNameError, match="no translation"):
        judge("signal_publish", Variant())


def test_a_spent_budget_is_unknown_and_never_forbidden() -> None:
    given = judge("signal_publish", PUBLISHED, budget=Budget(candidates=2))
    assert given.verdict is ModelVerdict.UNKNOWN
    assert not given.complete


def verdict(given: SignalPublish) -> ModelVerdict:
    return judge("signal_publish", given).verdict


def test_a_non_coherent_read_is_allowed_and_says_that_it_is_outside_the_model() -> None:
    given = answer("read_nc")
    assert given.verdict is ModelVerdict.ALLOWED
    assert any("outside the model" in note for note in given.notes)
    assert any("outside the model" in gap for gap in given.missing)


def test_within_the_producing_cta_a_bulk_load_of_a_bulk_store_needs_no_fence() -> None:
    """One proxy in one CTA: the rule that the catalogue has no row for."""
    near = PUBLISHED.with_choices(place=Place.PRODUCER_CTA, read=Read.TMA)
    assert verdict(near) is ModelVerdict.FORBIDDEN
    written = near.with_choices(store=Store.GENERIC, drain=Drain.NONE)
    generic = written.with_choices(source_fence=SourceFence.NONE)
    assert verdict(generic) is ModelVerdict.ALLOWED


@pytest.mark.parametrize("scope", list(SignalScope))
def test_every_scope_serves_within_the_producing_cta(scope: SignalScope) -> None:
    near = PUBLISHED.with_choices(
        place=Place.PRODUCER_CTA, publish_scope=scope, poll_scope=SignalScope.SYS
    )
    assert verdict(near) is ModelVerdict.FORBIDDEN


def test_a_deferred_signal_is_asked_about_for_both_tiles_and_both_halves() -> None:
    given = PUBLISHED.with_choices(moment=Moment.DEFERRED)
    assert {(q.tile, q.half) for q in queries(given)} == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_every_thread_that_reads_by_a_path_of_its_own_is_asked_about() -> None:
    assert len(list(queries(PUBLISHED))) == 2
    shared = PUBLISHED.with_choices(fan_out=FanOut.CTA_BARRIER)
    assert {q.asked_thread for q in queries(shared)} == {2, 3}


def test_the_mutants_that_no_row_names_are_broken_too() -> None:
    """Choices that the catalogue uses once or never, away from a sound variant."""
    broken: dict[str, dict[str, Site]] = {
        "read_but_newest": {"drain": Drain.READ_BUT_NEWEST},
        "newest pending, deferred, read only": {
            "drain": Drain.READ_BUT_NEWEST,
            "moment": Moment.DEFERRED,
        },
        "reused flag": {"publish": Publish.ST_RELEASE, "test": sites.Test.EQUAL_REUSED},
        "deferred without wait": {"drain": Drain.NONE, "moment": Moment.DEFERRED},
        "unordered fan-out by TMA": {"fan_out": FanOut.UNORDERED, "read": Read.TMA_AFTER_FENCE},
        "volatile flag": {"publish": Publish.ST_VOLATILE, "poll": Poll.LD_VOLATILE},
        "other warp without barrier": {"publisher": Publisher.OTHER_WARP, "drain": Drain.NONE},
    }
    for what, changes in broken.items():
        assert verdict(PUBLISHED.with_choices(**changes)) is ModelVerdict.ALLOWED, what
