"""The knobs of a live launch: drawn within bounds, bent to what can run, refused in words."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbo_verify.device.layout import NoiseKind
from sbo_verify.harness.knob_set import KnobError
from sbo_verify.harness.knobs import generator
from sbo_verify.harness.live_bench import decide
from sbo_verify.harness.live_knobs import (
    LiveKnobs,
    MaskKind,
    check_split,
    draw_live,
    draw_masks,
)
from sbo_verify.protocols.signal_publish.combine import FOREIGN, OVERLAP, with_foreign

SMS = 132
SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS, st.sampled_from([row.name for row in OVERLAP]), st.sampled_from((96, 114, 132, 144)))
def test_what_is_drawn_can_run_at_once(seed: int, name: str, sms: int) -> None:
    row = OVERLAP.row(name)
    fixed = {"gemm_sms": "40"} if sms < SMS else {}
    knobs = decide(generator(seed, name, 0), row, sms, fixed)
    assert knobs.gemm_sms + knobs.consumers + knobs.noise_sms <= sms
    assert LiveKnobs.from_json(knobs.to_json()) == knobs
    assert knobs == decide(generator(seed, name, 0), row, sms, fixed)


@given(SEEDS, st.sampled_from(list(MaskKind)), st.integers(1, 64), st.integers(1, 600))
def test_masks_lie_between_nothing_and_all(seed: int, mask: MaskKind, groups: int, m: int) -> None:
    knobs = LiveKnobs(mask=mask, groups=groups, m=m)
    masks = draw_masks(np.random.default_rng(seed), knobs)
    assert len(masks) == groups
    assert all(0 <= rows <= m for rows in masks)
    assert any(masks)
    if mask is MaskKind.FULL:
        assert set(masks) == {m}


def test_empty_partial_and_full_groups_and_single_rows_are_drawn() -> None:
    knobs = LiveKnobs(mask=MaskKind.MIXED, m=300)
    rng = np.random.default_rng(5)
    seen = {rows for _ in range(50) for rows in draw_masks(rng, knobs)}
    assert {0, 1, 300} <= seen
    assert len(seen) > 100


def test_the_draw_covers_what_it_says() -> None:
    rng = np.random.default_rng(6)
    drawn = [draw_live(rng) for _ in range(400)]
    assert {knobs.noise for knobs in drawn} == {
        NoiseKind.NONE,
        NoiseKind.STORE,
        NoiseKind.ATOMIC,
    }
    assert {knobs.k // 128 for knobs in drawn} == {1, 4, 8, 24}
    assert {knobs.mask for knobs in drawn} == set(MaskKind)
    assert {knobs.consumers for knobs in drawn} == {3, 16, 32}
    assert all(knobs.noise_sms == 0 for knobs in drawn if knobs.noise is NoiseKind.NONE)


def test_a_stranger_is_not_captured_unless_asked_for() -> None:
    row = with_foreign("a:b").row(FOREIGN)
    assert decide(generator(1, FOREIGN, 0), row, SMS, {}).rounds_per_graph == 0
    asked = {"rounds_per_graph": "5"}
    assert decide(generator(1, FOREIGN, 0), row, SMS, asked).rounds_per_graph == 5


def test_one_thread_alone_is_given_little_to_read() -> None:
    row = OVERLAP.row("poll_one_thread-reads_alone")
    for index in range(20):
        knobs = decide(generator(1, row.name, index), row, SMS, {})
        assert knobs.groups * knobs.m * knobs.n <= 2 * 128 * 128


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ({"k": "64"}, "knob k is 64; allowed is 128 to 1048576"),
        ({"k": "192"}, "knob k is 192; it must be a multiple of 128"),
        ({"n": "12"}, "knob n is 12; it must be a multiple of 8"),
        ({"rounds": "5000"}, "knob rounds is 5000; allowed is 1 to 4096"),
        ({"mask": "half"}, "knob mask is 'half'; allowed is one of full, mixed, sparse"),
        ({"noise_bytes": "24"}, "knob noise_bytes is 24; it must be a multiple of 16 bytes"),
        ({"tile_bytes": "16"}, "no knob 'tile_bytes'; the knobs are: groups, m, n, k, mask, "),
        (
            {"groups": "4096", "m": "4096", "n": "512"},
            "k=512 make a matrix of more than 1073741824 elements; choose smaller ones",
        ),
    ],
)
def test_a_knob_that_cannot_be_is_refused(words: dict[str, str], complaint: str) -> None:
    with pytest.raises(KnobError, match=re.escape(complaint)):
        LiveKnobs().with_values(words)


def test_a_split_that_does_not_fit_is_refused() -> None:
    knobs = LiveKnobs(gemm_sms=100, consumers=30, noise_sms=3)
    complaint = (
        "gemm_sms=100, consumers=30 and noise_sms=3 take 133 SMs of 132; all must run at once, "
        "one CTA to an SM: choose fewer"
    )
    with pytest.raises(KnobError, match=re.escape(complaint)):
        check_split(knobs, SMS)
    check_split(knobs, SMS + 1)
