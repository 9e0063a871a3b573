"""Several consumers of one signal: who has them, what they wait for, and how they are counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from written_runs import fault, launch, witness

from sbo_verify.device.geometry import MAX_CONSUMERS, GeometryError
from sbo_verify.device.layout import COUNTERS, FAULT, WITNESS, FaultKind, Role
from sbo_verify.device.micro_kernel import RawLaunch
from sbo_verify.harness.folding import added
from sbo_verify.harness.knobs import KnobError, Knobs, draw, generator
from sbo_verify.harness.results import launch_record
from sbo_verify.harness.runner import fit, fit_ring, geometry_of, refuse_unfit, until_done
from sbo_verify.harness.tally import tally
from sbo_verify.model.hand_over import queries
from sbo_verify.model.program import Program
from sbo_verify.model.search import find
from sbo_verify.protocol import Row
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.protocols.signal_publish.sites import SignalPublish
from sbo_verify.rates import upper_bound
from sbo_verify.record import Launch
from sbo_verify.report.outline import _cells
from sbo_verify.verdict import SiliconVerdict

PUBLISHED = SIGNAL_PUBLISH.row("full_wait-atom_release")
READBACK = SIGNAL_PUBLISH.row("readback-full_wait")
DEFERRED = SIGNAL_PUBLISH.row("flashinfer-deferred_by_one_tile")
THREE = {"tile_bytes": 4096, "consumers": 3}
Waits = Callable[[Sequence[int], int], bool]


# ---- who may have them ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["same_sm", "producer_cta-other_warps", "readback-full_wait"])
def test_only_a_consumer_on_another_sm_has_others_beside_it(name: str) -> None:
    geometry = geometry_of(SIGNAL_PUBLISH.row(name))
    refuse_unfit(PUBLISHED, {"consumers": str(MAX_CONSUMERS)})
    with pytest.raises(GeometryError, match=r"^consumers is 3; allowed for this variant is 1: "):
        refuse_unfit(SIGNAL_PUBLISH.row(name), {"consumers": "3"})
    drawn = [draw(generator(7, "row", index)) for index in range(200)]
    several = [replace(each, ctas_per_sm=2) for each in drawn if each.consumers > 1]
    assert {fit(each, geometry).consumers for each in several} == {1}
    assert {fit(each, geometry_of(PUBLISHED)).consumers for each in several} == {2, 3, 4}


@pytest.mark.parametrize(
    ("row", "consumers", "absent"),
    [(PUBLISHED, 1, 1), (PUBLISHED, 3, 3), (READBACK, 1, 0)],
    ids=["of one", "of three", "of none"],
)
def test_a_consumer_that_is_not_there_cannot_stay_away(
    row: Row, consumers: int, absent: int
) -> None:
    refuse_unfit(PUBLISHED, {"consumers": "3", "absent_consumer": "2"})
    fixed = {"consumers": str(consumers), "absent_consumer": str(absent)}
    with pytest.raises(KnobError, match=f"^knob absent_consumer is {absent}; for {row.name} with"):
        refuse_unfit(row, fixed)


# ---- a slot is written again when all have read it ------------------------------------------


def overwritten(turns: Sequence[int], consumers: int, ring: int, waits: Waits) -> bool:
    """Whether a slot is written while some consumer has yet to read it, if all take these turns.

    Mirrors the loops of kernels/signal_publish.cuh: 0 is the producer's turn, which does nothing
    where it `waits`; any other number is a consumer's, which reads and acknowledges what is there.
    """
    stored, acknowledged = 0, [0] * consumers
    for turn in turns:
        if turn % (consumers + 1) == 0:
            if not waits(acknowledged, stored):
                if min(acknowledged) < stored - ring + 1:
                    return True
                stored += 1
        elif acknowledged[turn % (consumers + 1) - 1] < stored:
            acknowledged[turn % (consumers + 1) - 1] += 1
    return False


turns = st.lists(st.integers(0, 59), max_size=200)


@given(turns, st.sampled_from([PUBLISHED, DEFERRED]), st.integers(1, 4), st.integers(0, 99))
def test_no_slot_is_written_before_all_have_read_it(
    order: list[int], row: Row, consumers: int, index: int
) -> None:
    geometry = geometry_of(row)
    drawn = replace(draw(generator(3, "ring", index)), consumers=consumers, ring=1 + index % 3)
    knobs = fit_ring(fit(drawn, geometry), 1, geometry)
    behind = knobs.in_flight + geometry.deferred

    def waits(acknowledged: Sequence[int], stored: int) -> bool:
        return any(each < stored - behind + 1 for each in acknowledged)

    assert not overwritten(order, consumers, knobs.ring, waits)


def test_one_counter_for_all_would_let_a_slow_one_be_overrun() -> None:
    """Why each has its own: the sum of two rounds may be one consumer's alone."""

    def waits(acknowledged: Sequence[int], stored: int) -> bool:
        return sum(acknowledged) < 2 * (stored - 2 + 1)

    assert overwritten([0, 0, 1, 1, 0], 2, 2, waits)
    assert not overwritten([0, 0, 1, 2, 0], 2, 2, waits)


# ---- what the model says of them ------------------------------------------------------------


def with_another_consumer(program: Program) -> Program:
    """The program with its consumer's threads once more, in a CTA of their own."""
    readers = [each for each in program.threads if each.name.startswith("consumer")]
    others = [
        replace(each, name=f"other {each.name}", placement=replace(each.placement, cta=99))
        for each in readers
    ]
    assert others
    return replace(program, threads=(*program.threads, *others))


@pytest.mark.parametrize(
    "name",
    ["full_wait-atom_release", "read_wait-release", "full_wait-relaxed", "poll_relaxed"],
)
def test_another_consumer_changes_no_verdict_of_the_model(name: str) -> None:
    """Why the model is asked about one: the others write nothing; their polls only constrain."""
    row = SIGNAL_PUBLISH.row(name)
    assert isinstance(row.variant, SignalPublish)
    found = []
    for query in queries(row.variant):
        alone = find(query.program, query.program.condition)
        both = with_another_consumer(query.program)
        beside = find(both, both.condition)
        assert alone.complete
        assert beside.complete
        assert (beside.witness is None) == (alone.witness is None)
        found.append(beside.witness is not None)
    assert any(found) is not row.sound


# ---- how they are counted -------------------------------------------------------------------


def raw(**counters: int) -> RawLaunch:
    """What a launch of three consumers left, one of which saw a stale word and one never came."""
    counts, saw = np.zeros(1, COUNTERS.dtype()), np.zeros(1, WITNESS.dtype())
    for name, value in counters.items():
        counts[name] = value
    saw["consumer"] = 2
    gave_up = np.zeros(1, FAULT.dtype())
    gave_up["what"] = FaultKind.ACKNOWLEDGEMENT_NEVER_CAME
    gave_up["waiter"] = Role.CONSUMER
    gave_up["consumer"] = 1
    return RawLaunch(
        counters=counts,
        witnesses=saw,
        fault=gave_up,
        faulted=bool(counts["fault_claimed"][0]),
        pair_sms=np.array([[0, 1, 2, 3]], np.uint32),
        elapsed_seconds=0.1,
        hung=False,
    )


NAME = {"row": "r", "variant": "v", "seed": 1, "index": 0}
KNOBS = Knobs(consumers=3)


def test_a_record_counts_hand_overs_beside_observations_and_names_the_consumer() -> None:
    left = raw(observations=30, hand_overs=10)
    made = launch_record(left, knobs=KNOBS, planned=30, misplaced=False, name=NAME)
    assert (made.observations, made.hand_overs, made.tiles) == (30, 10, 10)
    assert made.knobs["consumers"] == 3
    assert made.witnesses[0]["consumer"] == 2
    assert made.fault is None


def test_the_consumer_that_did_not_come_is_named() -> None:
    left = raw(observations=3, hand_overs=2, fault_claimed=1)
    made = launch_record(left, knobs=KNOBS, planned=30, misplaced=False, name=NAME)
    assert made.fault is not None
    assert (made.fault["waiter"], made.fault["consumer"]) == ("consumer", 1)
    told = tally([made])
    assert told.word is SiliconVerdict.UNRELIABLE
    assert told.notes[0].startswith("launch 0: acknowledgement never came; consumer of pair 0")
    assert told.notes[0].endswith("after 0 s (consumer 1 of the pair)")


def test_a_record_that_is_older_has_one_consumer() -> None:
    data = launch("r").to_json()
    del data["hand_overs"]
    old = Launch.from_json(data)
    assert old.tiles == old.observations > 0
    one = replace(old, fault=fault("acknowledgement never came"))
    assert "consumer 0" not in tally([one]).notes[0]


def test_the_bound_is_that_of_as_many_hand_overs_and_no_more() -> None:
    quiet = launch("r", observations=3_000, hand_overs=1_000, knobs=THREE, histogram=[])
    assert tally([quiet]).bound == upper_bound(0, 1_000) > upper_bound(0, 3_000)
    assert tally([quiet, launch("r", observations=500)]).bound == upper_bound(0, 1_500)


def test_a_tile_that_is_stale_to_all_is_bounded_from_above() -> None:
    """Three consumers of 10 stale tiles count 30; at most so many tiles are stale."""
    stale = launch("r", stale=30, observations=3_000, hand_overs=1_000, knobs=THREE)
    bound = tally([stale]).bound
    assert bound == upper_bound(30, 1_000)
    always = launch("r", stale=3_000, observations=3_000, hand_overs=1_000, knobs=THREE)
    assert tally([always]).bound == 1.0


@pytest.mark.parametrize(("observations", "hand_overs"), [(2_999, 1_000), (3_000, 999)])
def test_a_tile_that_one_consumer_did_not_observe_is_found(
    observations: int, hand_overs: int
) -> None:
    made = launch("r", observations=observations, hand_overs=hand_overs, knobs=THREE, histogram=[])
    told = tally([made])
    assert told.word is SiliconVerdict.UNRELIABLE
    (note,) = told.notes
    counts = f"{observations:,} observations of {hand_overs:,} hand-overs"
    assert note == f"launch 0: {counts}, each with 3 consumer(s)"


def test_a_sum_of_launches_keeps_both_counts() -> None:
    one = launch("r", observations=3_000, hand_overs=1_000, knobs=THREE, histogram=[])
    other = launch("r", observations=500, hand_overs=500, knobs={"consumers": 1}, histogram=[])
    both = added(added(None, one), other)
    assert (both.observations, both.tiles) == (3_500, 1_500)
    assert tally([both]).bound == tally([one, other]).bound


def test_a_stress_ends_at_hand_overs_and_not_at_observations() -> None:
    made = launch("r", observations=3_000, hand_overs=1_000, knobs=THREE, histogram=[])
    assert len(list(until_done(lambda _: made, seconds=0, observations=3_000))) == 3


@pytest.mark.parametrize(
    ("more", "said"), [({}, "17 to 96"), ({"consumer": 2}, "17 to 96, its consumer 2")]
)
def test_a_witness_says_which_consumer_saw_it(more: dict[str, int], said: str) -> None:
    """The first of a pair needs no number; older witnesses have none."""
    assert said in _cells(witness() | more)
