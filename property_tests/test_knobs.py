"""Knobs refuse what they cannot be, come from one seed, and always fit what is launched."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import fields, replace
from enum import IntEnum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbo_verify.device.geometry import GeometryError
from sbo_verify.device.gpu import CTA_SHARED_BYTES, SM_SHARED_BYTES
from sbo_verify.device.layout import NoiseKind, ReadOrder
from sbo_verify.device.micro_kernel import LAST_TAG, MAX_PAIRS, MAX_PLACES, TILE_POOL_BYTES
from sbo_verify.harness.knobs import KnobError, Knobs, draw, draw_dense, generator
from sbo_verify.harness.placement import Spread, place
from sbo_verify.harness.runner import (
    STATIC_SHARED_BYTES,
    fit,
    fit_ring,
    geometry_of,
    refuse_unfit,
)
from sbo_verify.protocol import Row
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH

H200_SMS = 132
DRAWS = 300
PUBLISHED = SIGNAL_PUBLISH.row("full_wait-atom_release")

# Knob, values at both ends of what is allowed, values just outside, and how that is said.
RANGES: list[tuple[str, list[float], list[float], str]] = [
    ("noise_share", [0.0, 0.9], [-0.01, 0.91, float("nan")], "0.0 to 0.9"),
    ("noise_bytes", [0, 64 << 30], [-16, (64 << 30) + 16], "0 to 68719476736"),
    ("tile_bytes", [16, 227 * 1024], [0, 227 * 1024 + 16], "16 to 232448"),
    ("ring", [1, 1 << 20], [0, (1 << 20) + 1], "1 to 1048576"),
    ("threads", [128, 256], [127, 257], "128 to 256"),
    ("ctas_per_sm", [1, 8], [0, 9], "1 to 8"),
    ("consumers", [1, 4], [0, 5], "1 to 4"),
    ("in_flight", [1, 64], [0, 65], "1 to 64"),
    ("producer_skew_cycles", [0, 10**7], [-1, 10**7 + 1], "0 to 10000000"),
    ("consumer_skew_cycles", [0, 10**7], [-1, 10**7 + 1], "0 to 10000000"),
    ("warp_skew_cycles", [0, 10**7], [-1, 10**7 + 1], "0 to 10000000"),
    ("delay_before_publish_cycles", [0, 10**7], [-1, 10**7 + 1], "0 to 10000000"),
    ("delay_after_poll_cycles", [0, 10**7], [-1, 10**7 + 1], "0 to 10000000"),
    ("rounds", [1, 10**6], [0, 10**6 + 1], "1 to 1000000"),
    ("withheld_round", [-1, 10**6], [-2, 10**6 + 1], "-1 to 1000000"),
    ("doubled_round", [-1, 10**6], [-2, 10**6 + 1], "-1 to 1000000"),
    ("absent_consumer", [-1, 3], [-2, 4], "-1 to 3"),
    ("plant_one_in", [0, 2 * 10**8], [-1, 2 * 10**8 + 1], "0 to 200000000"),
    ("timeout_ms", [1, 600_000], [0, 600_001], "1 to 600000"),
]
INSIDE = [(name, value) for name, ends, _, _ in RANGES for value in ends]
OUTSIDE = [(name, value, said) for name, _, beyond, said in RANGES for value in beyond]

seeds = st.integers(min_value=0, max_value=2**32 - 1)
rows = st.sampled_from(SIGNAL_PUBLISH.rows)


def drawn(count: int = DRAWS) -> list[Knobs]:
    return [draw(generator(7, "full_wait-atom_release", index)) for index in range(count)]


# ---- refusals -------------------------------------------------------------------------------


def test_every_number_among_the_knobs_has_a_range() -> None:
    numbers = {
        field.name
        for field in fields(Knobs)
        if isinstance(getattr(Knobs(), field.name), int | float)
        and not isinstance(getattr(Knobs(), field.name), bool | IntEnum)
    }
    assert numbers == {name for name, *_ in RANGES}


@pytest.mark.parametrize(("name", "value"), INSIDE)
def test_the_ends_of_a_range_are_allowed(name: str, value: float) -> None:
    assert getattr(Knobs().with_values({name: str(value)}), name) == value


@pytest.mark.parametrize(("name", "value", "said"), OUTSIDE)
def test_a_value_outside_its_range_is_refused_with_the_range(
    name: str, value: float, said: str
) -> None:
    message = f"knob {name} is {value}; allowed is {said}"
    with pytest.raises(KnobError, match=f"^{re.escape(message)}$"):
        Knobs().with_values({name: str(value)})


@pytest.mark.parametrize("name", ["tile_bytes", "noise_bytes"])
def test_bytes_that_are_no_multiple_of_a_chunk_are_refused(name: str) -> None:
    with pytest.raises(KnobError, match=f"knob {name} is 4097; it must be a multiple of 16 bytes"):
        Knobs().with_values({name: "4097"})


@pytest.mark.parametrize(
    ("name", "word", "said"),
    [
        ("noise", "loud", "allowed is one of none, store, load_store, atomic"),
        ("read_order", "any", "allowed is one of tail_first, head_first, rotated"),
        ("prime_l1", "perhaps", "allowed is true or false"),
        ("ring", "many", "allowed is a number"),
        ("ring", "2.5", "allowed is a number"),
        ("noise_share", "half", "allowed is a number"),
    ],
)
def test_a_word_that_is_no_value_is_refused_with_what_is(name: str, word: str, said: str) -> None:
    with pytest.raises(KnobError, match=f"^knob {name} is '{word}'; {said}$"):
        Knobs().with_values({name: word})


def test_an_unknown_knob_is_refused_with_the_knobs() -> None:
    names = ", ".join(field.name for field in fields(Knobs))
    with pytest.raises(KnobError, match=f"^no knob 'volume'; the knobs are: {names}$"):
        Knobs().with_values({"volume": "11"})


@pytest.mark.parametrize("word", ["true", "True", "1", "yes"])
def test_a_switch_is_turned_on_by_any_of_its_words(word: str) -> None:
    assert Knobs().with_values({"prime_l1": word}).prime_l1
    assert not Knobs(prime_l1=True).with_values({"prime_l1": "no"}).prime_l1


# ---- records --------------------------------------------------------------------------------


@given(seeds, st.integers(0, 1000))
def test_knobs_come_back_from_a_record(seed: int, index: int) -> None:
    knobs = draw(generator(seed, "row", index))
    record = json.loads(json.dumps(knobs.to_json()))
    assert Knobs.from_json(record) == knobs


def test_a_record_with_an_unknown_knob_is_refused() -> None:
    with pytest.raises(KnobError, match=r"no knob 'volume'"):
        Knobs.from_json({**Knobs().to_json(), "volume": 11})


# ---- one seed -------------------------------------------------------------------------------


@given(seeds, st.text(max_size=20), st.integers(0, 1 << 20))
def test_the_same_launch_draws_the_same_again(seed: int, name: str, index: int) -> None:
    assert draw(generator(seed, name, index)) == draw(generator(seed, name, index))


@given(seeds, st.integers(0, 1 << 20))
def test_another_seed_row_or_index_draws_from_another_stream(seed: int, index: int) -> None:
    streams = [
        generator(seed, "row", index),
        generator(seed + 1, "row", index),
        generator(seed, "wor", index),
        generator(seed, "row", index + 1),
    ]
    assert len({int(rng.integers(1 << 62)) for rng in streams}) == len(streams)


def test_the_draws_of_one_launch_are_pinned() -> None:
    """A seed in an old record repeats the launch only while this stays."""
    knobs = draw(generator(7, "no_wait-relaxed", 3))
    changed = {
        name: value for name, value in knobs.to_json().items() if value != Knobs().to_json()[name]
    }
    assert changed == {"prime_l1": True, "producer_skew_cycles": 10_000, "rounds": 5000}


# ---- swarm ----------------------------------------------------------------------------------


OPTIONAL = {
    "noise": NoiseKind.NONE,
    "noise_share": 0.0,
    "prime_l1": False,
    "producer_skew_cycles": 0,
    "consumer_skew_cycles": 0,
    "warp_skew_cycles": 0,
    "delay_before_publish_cycles": 0,
    "delay_after_poll_cycles": 0,
}


@pytest.mark.parametrize("name", OPTIONAL)
def test_every_optional_feature_is_sometimes_off_and_sometimes_on(name: str) -> None:
    off = sum(getattr(knobs, name) == OPTIONAL[name] for knobs in drawn())
    assert DRAWS * 0.1 < off < DRAWS * 0.98


def test_some_launches_are_quiet_and_some_have_several_features_at_once() -> None:
    on = Counter(
        sum(getattr(knobs, name) != off for name, off in OPTIONAL.items()) for knobs in drawn()
    )
    assert on[0] + on[1] > 0
    assert sum(count for features, count in on.items() if features >= 4) > DRAWS * 0.05


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("noise", set(NoiseKind)),
        ("read_order", set(ReadOrder)),
        ("tile_bytes", {1024, 4096, 16384, 65536}),
        ("ring", {2, 16, 128}),
        ("threads", {128, 256}),
        ("ctas_per_sm", {1, 2, 4, 8}),
        ("spread", set(Spread)),
        ("consumers", {1, 2, 3, 4}),
        ("in_flight", {1, 2}),
        ("noise_bytes", {32 << 20, 1 << 30}),
    ],
)
def test_every_value_is_drawn_at_some_time(name: str, values: set[object]) -> None:
    assert {getattr(knobs, name) for knobs in drawn()} == values


def test_injected_faults_are_never_drawn() -> None:
    injected = [
        (knobs.withheld_round, knobs.doubled_round, knobs.absent_consumer, knobs.plant_one_in)
        for knobs in drawn()
    ]
    assert set(injected) == {(-1, -1, -1, 0)}


# ---- what is drawn can be launched ----------------------------------------------------------


def unfit(knobs: Knobs, row: Row, rng: np.random.Generator, sm_count: int) -> list[str]:
    """What would be refused when `knobs` are launched for `row` on a GPU of that many SMs."""
    geometry = geometry_of(row)
    complaints: list[str] = []
    try:
        geometry.check_ctas(knobs.ctas_per_sm)
        geometry.check_consumers(knobs.consumers)
        geometry.check_threads(knobs.threads, knobs.ctas_per_sm)
        geometry.dynamic_shared(knobs.tile_bytes, knobs.ctas_per_sm, STATIC_SHARED_BYTES)
    except GeometryError as error:
        return [str(error)]
    placement = place(
        geometry,
        sm_count=sm_count,
        resident_clusters=sm_count // 2,
        ctas_per_sm=knobs.ctas_per_sm,
        noise_share=knobs.noise_share,
        rng=rng,
        spread=knobs.spread,
        consumers=knobs.consumers,
    )
    fitted = fit_ring(knobs, placement.pairs, geometry)
    ring = fitted.ring
    if fitted.in_flight + geometry.deferred > ring:
        complaints.append("a slot would be written again before it was read")
    if placement.pairs * ring * knobs.tile_bytes > TILE_POOL_BYTES:
        complaints.append("the tiles do not fit into their pool")
    if placement.pairs > MAX_PAIRS or len(placement.entries) > MAX_PLACES:
        complaints.append("too many pairs or places")
    if ring < 1 or knobs.rounds > LAST_TAG:
        complaints.append("no slot or no tag left")
    return complaints


@given(rows, seeds, st.integers(0, 100), st.sampled_from([8, 78, H200_SMS]))
def test_drawn_knobs_fit_every_variant(row: Row, seed: int, index: int, sm_count: int) -> None:
    rng = generator(seed, row.name, index)
    knobs = fit(draw(rng), geometry_of(row))
    assert unfit(knobs, row, rng, sm_count) == []


@given(rows, seeds, st.integers(1, 64))
def test_a_fixed_number_in_flight_has_a_ring_whatever_is_drawn(
    row: Row, seed: int, in_flight: int
) -> None:
    fixed = {"in_flight": str(in_flight)}
    refuse_unfit(row, fixed)
    geometry = geometry_of(row)
    knobs = fit(draw(generator(seed, row.name, 0)).with_values(fixed), geometry, set(fixed))
    fitted = fit_ring(knobs, 1, geometry, set(fixed))
    assert fitted.in_flight == in_flight
    assert fitted.ring >= in_flight + geometry.deferred


def test_a_consumer_that_sees_its_signal_late_has_few_rounds() -> None:
    for name, rounds in [("poll_cta_scope", {200}), ("producer_cta-cta_scope", {2000, 5000})]:
        geometry = geometry_of(SIGNAL_PUBLISH.row(name))
        assert {fit(knobs, geometry).rounds for knobs in drawn()} == rounds
    late = geometry_of(SIGNAL_PUBLISH.row("poll_cta_scope"))
    assert fit(Knobs(rounds=700), late, ["rounds"]).rounds == 700


@pytest.mark.parametrize("row", SIGNAL_PUBLISH.rows, ids=lambda row: row.name)
def test_a_hundred_draws_fit_each_row_of_the_catalogue(row: Row) -> None:
    for index in range(100):
        rng = generator(1, row.name, index)
        knobs = fit((draw if index % 2 else draw_dense)(rng), geometry_of(row))
        assert unfit(knobs, row, rng, H200_SMS) == []


def test_knobs_that_do_not_fit_would_be_noticed() -> None:
    rng = generator(1, "row", 0)
    too_large = Knobs(tile_bytes=64 * 1024, ctas_per_sm=4)
    assert "does not fit into shared memory" in unfit(too_large, PUBLISHED, rng, H200_SMS)[0]
    odd = Knobs(ctas_per_sm=1)
    same_sm = SIGNAL_PUBLISH.row("same_sm")
    assert "an even number of CTAs" in unfit(odd, same_sm, rng, H200_SMS)[0]


@given(seeds, st.sampled_from([1, 2, 4, 8]))
def test_fixed_knobs_are_left_alone(seed: int, ctas: int) -> None:
    knobs = replace(draw(generator(seed, "row", 0)), ctas_per_sm=ctas, tile_bytes=256, rounds=77)
    for row in SIGNAL_PUBLISH:
        sizes = {"ctas_per_sm", "tile_bytes", "rounds"}
        if geometry_of(row).in_one_cta and ctas == 8:
            with pytest.raises(GeometryError, match="8 CTAs of 256 threads do not fit onto one SM"):
                fit(knobs, geometry_of(row), sizes)
            continue
        fitted = fit(knobs, geometry_of(row), sizes)
        assert fitted == replace(knobs, threads=fitted.threads, consumers=fitted.consumers)


@given(rows, seeds, st.integers(1, 64))
def test_a_fixed_tile_that_fits_alone_fits_with_what_is_drawn_around_it(
    row: Row, seed: int, kilobytes: int
) -> None:
    """Only the other knobs bend: drawn CTA counts make room for the tile that was asked for."""
    tile_bytes = kilobytes * 1024
    knobs = replace(draw(generator(seed, row.name, 0)), tile_bytes=tile_bytes)
    fitted = fit(knobs, geometry_of(row), {"tile_bytes"})
    assert fitted.tile_bytes == tile_bytes
    geometry_of(row).check_ctas(fitted.ctas_per_sm)
    geometry_of(row).dynamic_shared(tile_bytes, fitted.ctas_per_sm, STATIC_SHARED_BYTES)


# ---- what is refused before anything is launched --------------------------------------------


def test_a_tile_that_the_variant_cannot_cut_is_refused_before_a_launch() -> None:
    refuse_unfit(PUBLISHED, {"tile_bytes": "256"})
    with pytest.raises(GeometryError, match=r"must be a multiple of 256 bytes"):
        refuse_unfit(PUBLISHED, {"tile_bytes": "144"})
    refuse_unfit(SIGNAL_PUBLISH.row("generic_store-release"), {"tile_bytes": "144"})


def test_the_largest_tile_is_allowed_and_the_next_is_refused_with_it() -> None:
    largest = CTA_SHARED_BYTES - STATIC_SHARED_BYTES
    refuse_unfit(PUBLISHED, {"tile_bytes": str(largest)})
    with pytest.raises(GeometryError, match=f"allowed is up to {largest} bytes"):
        refuse_unfit(PUBLISHED, {"tile_bytes": str(largest + 256)})
    half = {"tile_bytes": str(SM_SHARED_BYTES // 2), "ctas_per_sm": "2"}
    with pytest.raises(GeometryError, match=r"2 CTA\(s\) share an SM; allowed is up to \d+ bytes"):
        refuse_unfit(PUBLISHED, half)


def test_a_ring_that_does_not_hold_the_rounds_in_flight_is_refused_before_a_launch() -> None:
    refuse_unfit(PUBLISHED, {"ring": "4", "in_flight": "4"})
    with pytest.raises(KnobError, match=r"^knob ring is 3; with 4 rounds in flight .* at least 4$"):
        refuse_unfit(PUBLISHED, {"ring": "3", "in_flight": "4"})
    deferred = SIGNAL_PUBLISH.row("flashinfer-deferred_by_one_tile")
    with pytest.raises(KnobError, match=r"this variant needs at least 2$"):
        refuse_unfit(deferred, {"ring": "1"})


@pytest.mark.parametrize(
    "name", ["no_wait-relaxed", "readback-full_wait", "deferred-newest_pending-release"]
)
def test_a_fault_is_planted_only_where_a_sound_signal_can_be_too_early(name: str) -> None:
    refuse_unfit(PUBLISHED, {"plant_one_in": "100"})
    with pytest.raises(KnobError, match=f"^knob plant_one_in is 100; for {name} it must be 0"):
        refuse_unfit(SIGNAL_PUBLISH.row(name), {"plant_one_in": "100"})


def test_cta_sizes_that_no_sm_holds_are_refused_before_a_launch() -> None:
    refuse_unfit(PUBLISHED, {"threads": "128", "ctas_per_sm": "8", "tile_bytes": "4096"})
    with pytest.raises(GeometryError, match=r"^8 CTAs of 256 threads .* allowed are 4$"):
        refuse_unfit(PUBLISHED, {"threads": "256", "ctas_per_sm": "8", "tile_bytes": "4096"})
    with pytest.raises(GeometryError, match=r"^threads is 192; .* is 128 or 256$"):
        refuse_unfit(PUBLISHED, {"threads": "192"})
    halves = SIGNAL_PUBLISH.row("producer_cta-other_warps")
    with pytest.raises(GeometryError, match=r"^threads is 128; .* is 256$"):
        refuse_unfit(halves, {"threads": "128"})


def test_cta_counts_that_form_no_pairs_are_refused_before_a_launch() -> None:
    cluster = SIGNAL_PUBLISH.row("full_wait-cluster_barrier-release")
    with pytest.raises(GeometryError, match=r"cluster variants run one CTA an SM"):
        refuse_unfit(cluster, {"ctas_per_sm": "2"})
    with pytest.raises(GeometryError, match=r"an even number of CTAs"):
        refuse_unfit(SIGNAL_PUBLISH.row("same_sm"), {"ctas_per_sm": "3"})
