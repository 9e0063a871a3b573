"""Every pair is placed once, producers apart from consumers, and a wrong place is found out."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sbo_verify.device.geometry import MAX_CONSUMERS, Geometry, GeometryError
from sbo_verify.device.layout import Role
from sbo_verify.harness.placement import Placement, PlacementError, Spread, misplaced, place
from sbo_verify.harness.runner import geometry_of
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH

# Every shape of launch that the catalogue has.
GEOMETRIES = sorted({geometry_of(row) for row in SIGNAL_PUBLISH}, key=repr)
OTHER_SM = geometry_of(SIGNAL_PUBLISH.row("full_wait-atom_release"))
SAME_SM = geometry_of(SIGNAL_PUBLISH.row("same_sm"))
CLUSTER = geometry_of(SIGNAL_PUBLISH.row("full_wait-cluster_barrier-release"))
IN_ONE_CTA = geometry_of(SIGNAL_PUBLISH.row("producer_cta-other_warps"))
READS_BACK = geometry_of(SIGNAL_PUBLISH.row("readback-full_wait"))


def placed(  # noqa: PLR0913 - a launch has this many dimensions
    geometry: Geometry,
    *,
    sm_count: int = 132,
    resident_clusters: int = 66,
    ctas_per_sm: int = 2,
    noise_share: float = 0.4,
    seed: int = 0,
    spread: Spread = Spread.SCATTERED,
    consumers: int = 1,
) -> Placement:
    return place(
        geometry,
        sm_count=sm_count,
        resident_clusters=resident_clusters,
        ctas_per_sm=1 if geometry.cluster > 1 else ctas_per_sm,
        noise_share=noise_share,
        rng=np.random.default_rng(seed),
        spread=spread,
        consumers=consumers,
    )


def ids(
    placement: Placement, geometry: Geometry, ctas_per_sm: int, role: Role, consumer: int = 0
) -> list[int]:
    """The pairs whose half `role` runs somewhere, as the kernel counts them out.

    Mirrors `take_part` of kernels/signal_publish.cuh: an SM's CTAs take consecutive pairs from
    `first_pair` on; where one SM holds both halves, its first CTAs produce and its last consume.
    """
    clustered = geometry.cluster > 1
    ctas = geometry.cluster if clustered else ctas_per_sm
    found: list[int] = []
    for entry in placement.entries:
        first, here = int(entry["first_pair"]), Role(int(entry["role"]))
        if here is Role.BOTH:
            found.extend(range(first, first + ctas // 2))
        elif here is role and int(entry["consumer"]) == consumer:
            found.extend(range(first, first + ctas))
    return found


shapes = st.sampled_from(GEOMETRIES)
shares = st.floats(min_value=0.0, max_value=0.9)


# ---- what is placed -------------------------------------------------------------------------


@given(
    *(shapes, st.integers(1, 200), st.integers(1, 8), shares, st.integers(0, 99)),
    *(st.sampled_from(Spread), st.integers(1, MAX_CONSUMERS)),
)
def test_every_pair_is_placed_exactly_once_for_each_role(  # noqa: PLR0913, PLR0917 - as above
    geometry: Geometry,
    sm_count: int,
    ctas: int,
    share: float,
    seed: int,
    spread: Spread,
    consumers: int,
) -> None:
    ctas = 1 if geometry.cluster > 1 else ctas
    assume(not (geometry.same_sm and ctas % 2))
    alone = geometry.in_one_cta or geometry.reads_back
    consumers = 1 if alone or geometry.same_sm else consumers
    units = sm_count // 2 if geometry.cluster > 1 else sm_count
    assume(units >= (1 if alone or geometry.same_sm else 1 + consumers))
    placement = place(
        geometry,
        sm_count=sm_count,
        resident_clusters=sm_count // 2,
        ctas_per_sm=ctas,
        noise_share=share,
        rng=np.random.default_rng(seed),
        spread=spread,
        consumers=consumers,
    )
    assert placement.pairs >= 1
    everyone = list(range(placement.pairs))
    assert sorted(ids(placement, geometry, ctas, Role.PRODUCER)) == everyone
    expected = [] if alone else everyone
    for consumer in range(consumers):
        assert sorted(ids(placement, geometry, ctas, Role.CONSUMER, consumer)) == expected
    # One entry is one SM or cluster: whoever has an entry of his own has one of his own.
    assert (placement.entries["consumer"] < consumers).all()


def sms_of(placement: Placement, role: Role) -> dict[int, int]:
    """First pair to the SM that holds it, or its first consumer."""
    return {
        int(entry["first_pair"]): sm
        for sm, entry in enumerate(placement.entries)
        if Role(int(entry["role"])) is role and entry["consumer"] == 0
    }


@pytest.mark.parametrize("consumers", [1, 2])
@pytest.mark.parametrize("sm_count", [132, 131, 3])
def test_the_two_of_a_pair_are_neighbours_where_they_are_to_share_a_tpc(
    sm_count: int, consumers: int
) -> None:
    placement = placed(OTHER_SM, sm_count=sm_count, spread=Spread.ONE_TPC, consumers=consumers)
    producers, first = (sms_of(placement, role) for role in (Role.PRODUCER, Role.CONSUMER))
    assert producers.keys() == first.keys()
    assert {(producers[pair] // 2) - (first[pair] // 2) for pair in producers} == {0}


def test_what_hands_over_has_noise_beside_it_where_it_is_to_be_apart() -> None:
    placement = placed(OTHER_SM, noise_share=0.5, spread=Spread.APART)
    roles = [Role(int(entry["role"])) for entry in placement.entries]
    beside = [roles[2 * tpc : 2 * tpc + 2].count(Role.NOISE) for tpc in range(66)]
    assert beside == [1] * 66
    scattered = placed(OTHER_SM, noise_share=0.5)
    roles = [Role(int(entry["role"])) for entry in scattered.entries]
    assert {roles[2 * tpc : 2 * tpc + 2].count(Role.NOISE) for tpc in range(66)} == {0, 1, 2}


@given(shapes, st.integers(2, 200), shares, st.integers(0, 99))
def test_units_make_noise_or_take_part_and_none_is_left_over(
    geometry: Geometry, sm_count: int, share: float, seed: int
) -> None:
    assume(geometry.cluster == 1 or sm_count >= 4)
    placement = placed(
        geometry,
        sm_count=sm_count,
        resident_clusters=sm_count // 2,
        noise_share=share,
        seed=seed,
    )
    units = len(placement.entries)
    assert units == (sm_count // 2 if geometry.cluster > 1 else sm_count)
    roles = Counter(Role(int(role)) for role in placement.entries["role"])
    assert roles[Role.NOISE] * geometry.cluster == placement.noise_sms
    assert roles[Role.IDLE] == 0
    assert sum(roles.values()) == units
    # The noise asked for, as far as one pair is left; an odd unit with no partner joins it.
    per_pair = 1 if geometry.in_one_cta or geometry.reads_back or geometry.same_sm else 2
    wanted = min(round(units * share), units - per_pair)
    assert 0 <= roles[Role.NOISE] - wanted < per_pair


@pytest.mark.parametrize(
    ("geometry", "roles", "pairs", "grid"),
    [
        (OTHER_SM, {Role.PRODUCER: 39, Role.CONSUMER: 39, Role.NOISE: 54}, 78, 264),
        (SAME_SM, {Role.BOTH: 79, Role.NOISE: 53}, 79, 264),
        (IN_ONE_CTA, {Role.PRODUCER: 79, Role.NOISE: 53}, 158, 264),
        (READS_BACK, {Role.PRODUCER: 79, Role.NOISE: 53}, 158, 264),
        (CLUSTER, {Role.PRODUCER: 20, Role.CONSUMER: 20, Role.NOISE: 26}, 40, 132),
    ],
)
def test_an_h200_is_shared_out_as_planned(
    geometry: Geometry, roles: dict[Role, int], pairs: int, grid: int
) -> None:
    placement = placed(geometry)
    assert Counter(Role(int(role)) for role in placement.entries["role"]) == roles
    assert (placement.pairs, placement.grid) == (pairs, grid)
    assert placement.cluster == geometry.cluster


def test_clusters_are_counted_as_the_driver_says_they_fit() -> None:
    """Some GPUs hold fewer clusters than half their SMs."""
    placement = placed(CLUSTER, resident_clusters=60)
    assert len(placement.entries) == 60
    assert placement.grid == 120


@pytest.mark.parametrize(
    ("geometry", "consumers", "pairs", "noise_sms"),
    [(OTHER_SM, 2, 52, 54), (OTHER_SM, 4, 30, 57), (CLUSTER, 3, 20, 52)],
)
def test_more_consumers_leave_fewer_producers(
    geometry: Geometry, consumers: int, pairs: int, noise_sms: int
) -> None:
    placement = placed(geometry, consumers=consumers)
    assert (placement.pairs, placement.noise_sms) == (pairs, noise_sms)
    roles = Counter(Role(int(role)) for role in placement.entries["role"])
    assert roles[Role.CONSUMER] == consumers * roles[Role.PRODUCER]


@given(shapes, st.integers(0, 2**32))
def test_the_same_seed_places_the_same_again(geometry: Geometry, seed: int) -> None:
    one, again = placed(geometry, seed=seed), placed(geometry, seed=seed)
    assert one.entries.tobytes() == again.entries.tobytes()


def test_another_seed_places_elsewhere() -> None:
    assert len({placed(OTHER_SM, seed=seed).entries.tobytes() for seed in range(20)}) == 20


# ---- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("geometry", "sm_count", "needed"),
    [(OTHER_SM, 1, 2), (OTHER_SM, 0, 2), (SAME_SM, 0, 1), (IN_ONE_CTA, 0, 1), (CLUSTER, 3, 2)],
)
def test_too_few_units_for_a_pair_are_refused(
    geometry: Geometry, sm_count: int, needed: int
) -> None:
    units = sm_count // 2 if geometry.cluster > 1 else sm_count
    with pytest.raises(
        PlacementError,
        match=rf"^{units} units of this GPU hold no pair; a pair takes {needed}$",
    ):
        placed(geometry, sm_count=sm_count, resident_clusters=sm_count // 2, noise_share=0.9)


def test_too_few_sms_for_all_consumers_are_refused() -> None:
    with pytest.raises(PlacementError, match=r"^4 units of this GPU hold no pair; a pair takes 5$"):
        placed(OTHER_SM, sm_count=4, consumers=4)


@pytest.mark.parametrize("geometry", [SAME_SM, IN_ONE_CTA, READS_BACK])
def test_several_consumers_in_one_place_are_refused(geometry: Geometry) -> None:
    said = (
        r"^consumers is 2; allowed for this variant is 1: several consumers of a signal are built"
    )
    with pytest.raises(GeometryError, match=said):
        placed(geometry, consumers=2)


def test_cta_counts_that_form_no_pair_are_refused() -> None:
    with pytest.raises(GeometryError, match=r"an even number of CTAs"):
        placed(SAME_SM, ctas_per_sm=3)


# ---- checked afterwards ---------------------------------------------------------------------


def sms(*pairs: tuple[int, ...]) -> np.ndarray[tuple[int, int], np.dtype[np.uint32]]:
    return np.array(pairs, dtype=np.uint32)


def test_pairs_that_ran_where_they_were_placed_are_no_complaint() -> None:
    assert misplaced(OTHER_SM, sms((0, 1), (131, 7))) == []
    assert misplaced(SAME_SM, sms((5, 5), (6, 6))) == []
    assert misplaced(CLUSTER, sms((0, 2), (1, 3))) == []


def test_a_consumer_on_its_producers_sm_is_found() -> None:
    assert misplaced(OTHER_SM, sms((0, 1), (7, 7), (2, 3))) == [
        "pair 1 was to be on two SMs and ran on 7 and 7"
    ]
    assert misplaced(CLUSTER, sms((4, 4))) == ["pair 0 was to be on two SMs and ran on 4 and 4"]


def test_consumers_that_share_an_sm_are_found() -> None:
    assert misplaced(OTHER_SM, sms((0, 1, 2), (5, 4, 3))) == []
    assert misplaced(OTHER_SM, sms((0, 1, 2), (3, 9, 9), (6, 7, 6))) == [
        "pair 1 was to be on three SMs and ran on 3 and 9 and 9",
        "pair 2 was to be on three SMs and ran on 6 and 7 and 6",
    ]
    assert misplaced(CLUSTER, sms((0, 2, 4, 6, 6))) == [
        "pair 0 was to be on five SMs and ran on 0 and 2 and 4 and 6 and 6"
    ]


def test_a_consumer_on_another_sm_than_its_producer_is_found() -> None:
    assert misplaced(SAME_SM, sms((7, 7), (0, 1))) == [
        "pair 1 was to be on one SM and ran on 0 and 1"
    ]


@pytest.mark.parametrize("geometry", [IN_ONE_CTA, READS_BACK])
def test_one_cta_cannot_be_in_two_places(geometry: Geometry) -> None:
    """Its consumer writes no SM of its own, so that there is nothing to compare."""
    assert misplaced(geometry, sms((7, 0))) == []


@given(st.lists(st.tuples(st.integers(0, 131), st.integers(0, 131)), min_size=1, max_size=50))
def test_every_pair_is_found_misplaced_by_one_of_two_opposite_wishes(
    pairs: list[tuple[int, int]],
) -> None:
    apart, together = misplaced(OTHER_SM, sms(*pairs)), misplaced(SAME_SM, sms(*pairs))
    assert len(apart) + len(together) == len(pairs)
    assert misplaced(replace(OTHER_SM, same_sm=True), sms(*pairs)) == together
