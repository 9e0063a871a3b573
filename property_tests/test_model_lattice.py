"""The whole lattice of variants: judged by classes, and the classes tested by random variants."""

from __future__ import annotations

import random
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbo_verify.model.hand_over import queries
from sbo_verify.model.judge import verdict_of_queries
from sbo_verify.model.lattice import Lattice, classes, judge_lattice
from sbo_verify.model.readings import DEFAULT, OF_HAND_OVERS
from sbo_verify.protocols import PROTOCOLS
from sbo_verify.protocols.signal_publish import sites
from sbo_verify.protocols.signal_publish.host import HOST_READER
from sbo_verify.protocols.signal_publish.sites import SITES, SignalPublish, refusals
from sbo_verify.verdict import ModelVerdict

CATALOGUE = [row.variant for row in PROTOCOLS["signal_publish"]]
FORBIDDEN, ALLOWED = ModelVerdict.FORBIDDEN, ModelVerdict.ALLOWED

# For every site, pairs (weaker, stronger): the stronger orders all that the weaker does.
STRONGER: dict[str, list[tuple[str, str]]] = {
    "source_fence": [("none", "proxy_async")],
    "drain": [
        ("none", "read_but_newest"),
        ("read_but_newest", "read"),
        ("read_but_newest", "full_but_newest"),
        ("read", "full"),
        ("full_but_newest", "full"),
    ],
    "join": [("none", "cta_barrier"), ("cluster_relaxed", "cluster_barrier")],
    "publish": [
        ("red_relaxed", "red_release"),
        ("red_relaxed", "fence_acq_rel_red"),
        ("fence_acq_rel_red", "fence_sc_atomic_add"),
        ("st_relaxed", "st_release"),
        ("red_release", "atom_release"),
    ],
    "publish_scope": [("cta", "cluster"), ("cluster", "gpu"), ("gpu", "sys")],
    "poll_scope": [("cta", "cluster"), ("cluster", "gpu"), ("gpu", "sys")],
    "moment": [("early", "after_tile")],
    "poll": [
        ("ld_relaxed", "ld_relaxed_fence"),
        ("ld_relaxed", "ld_acquire"),
        ("plain_then_acquire", "ld_acquire"),
    ],
    "fan_out": [("unordered", "cta_barrier"), ("cta_barrier", "every_thread")],
    "read": [("nc", "weak"), ("weak", "relaxed"), ("tma", "tma_after_fence")],
    "test": [("equal_reused", "equal"), ("equal", "at_least")],
}


@cache
def lattice() -> Lattice:
    return judge_lattice()


def wander(rng: random.Random, steps: int) -> SignalPublish:
    """A meaningful variant some random changes away from one of the catalogue."""
    while True:
        variant = rng.choice(CATALOGUE)
        assert isinstance(variant, SignalPublish)
        for site in rng.choices(list(SITES), k=steps):
            variant = variant.with_choices(**{site: rng.choice(list(SITES[site]))})
        if not refusals(variant):
            return variant


def test_the_whole_lattice_is_judged_in_twenty_seconds() -> None:
    whole = lattice()
    assert whole.seconds < 20
    assert whole.variants > 10_000_000
    assert 0 < whole.forbidden < whole.variants
    assert 0 < whole.readings_differ < whole.variants
    found = {verdict for readings in whole.verdicts.values() for verdict in readings.values()}
    assert found == {FORBIDDEN, ALLOWED}


def test_every_row_of_the_catalogues_has_the_verdict_of_its_class() -> None:
    for row in (*PROTOCOLS["signal_publish"], *HOST_READER):
        assert isinstance(row.variant, SignalPublish)
        assert lattice().verdict(row.variant) is row.expected, row.name


def test_random_variants_have_the_verdict_of_their_class_under_every_reading() -> None:
    """The argument by classes is worth what this finds: variants judged one by one."""
    rng = random.Random(20)
    seen = []
    for _ in range(300):
        variant = wander(rng, rng.randint(1, 5))
        asked = list(queries(variant))
        judged = {reading: verdict_of_queries(asked, reading) for reading in OF_HAND_OVERS}
        assert lattice().verdicts[classes(variant)] == judged, variant.words()
        seen.append(judged[DEFAULT])
    assert min(seen.count(FORBIDDEN), seen.count(ALLOWED)) > 30


def test_the_readings_differ_only_where_a_bulk_load_has_no_fence() -> None:
    for (_, take), by_reading in lattice().verdicts.items():
        if len(set(by_reading.values())) > 1:
            assert take[-1] == "unfenced"
            assert by_reading[DEFAULT] is ALLOWED


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.integers(0, 10**9), st.sampled_from(sorted(STRONGER)))
def test_strengthening_one_site_never_makes_a_forbidden_hand_over_allowed(
    seed: int, site: str
) -> None:
    variant = wander(random.Random(seed), 3)
    for weaker, stronger in STRONGER[site]:
        kind = SITES[site]
        one = variant.with_choices(**{site: kind.from_word(weaker)})
        two = variant.with_choices(**{site: kind.from_word(stronger)})
        if refusals(one) or refusals(two):
            continue
        for reading in OF_HAND_OVERS:
            if lattice().verdict(one, reading) is FORBIDDEN:
                assert lattice().verdict(two, reading) is FORBIDDEN, (one.words(), stronger)


def test_the_order_of_strength_is_strict_somewhere_at_every_site() -> None:
    """Without this the test above could pass on sites that change nothing."""
    rng = random.Random(7)
    variants = [wander(rng, 3) for _ in range(1500)] + CATALOGUE
    for site, pairs in STRONGER.items():
        kind = SITES[site]
        decided = False
        for variant in variants:
            verdicts = []
            for word in (pairs[0][0], pairs[-1][1]):
                other = variant.with_choices(**{site: kind.from_word(word)})
                assert isinstance(other, SignalPublish)
                if not refusals(other):
                    verdicts.append(lattice().verdict(other))
            decided |= verdicts == [ALLOWED, FORBIDDEN]
        assert decided, site


def test_a_refused_variant_has_no_verdict() -> None:
    refused = SignalPublish(store=sites.Store.GENERIC, poll=sites.Poll.NONE)
    assert refusals(refused)
    with pytest.raises(KeyError):
        lattice().verdict(refused)
