"""The inputs on which the GEMM's errors are measured are what they say."""

from __future__ import annotations

import numpy as np
import pytest
from simulated_gemm import reference, scaled_products

from sbo_verify.harness.numeric_inputs import (
    BLOCK,
    DEVIATION,
    KINDS,
    LARGEST,
    NAN,
    Array,
    case,
    e4m3_values,
    normal_bytes,
)
from sbo_verify.harness.numerics import LEAST_NORMAL

# Full, partial, empty and a single row; no power of two divides N.
SIZES = (4, 24, 136, 384)

made = {kind: case(kind, SIZES, 5) for kind in KINDS}
references = {kind: reference(each) for kind, each in made.items()}


def counted(kind: str, values: Array) -> Array:
    """The rows that count of [G, M, ...]."""
    rows = np.arange(SIZES[1])[None, :] < np.array(made[kind].masked)[:, None]
    found: Array = values[rows]
    return found


def test_e4m3_is_what_its_definition_says() -> None:
    values = e4m3_values()
    assert (values[0x38], values[0x39], values[LARGEST], values[1]) == (1.0, 1.125, 448.0, 2**-9)
    assert (values[8], values[7]) == (2.0**-6, 7 * 2.0**-9)
    assert np.isnan(values[[NAN, 0xFF]]).all()
    assert np.isfinite(np.delete(values, [NAN, 0xFF])).all()
    assert (values[0x81:0xFF] == -values[1:NAN]).all()


def test_normal_bytes_are_normal_numbers_rounded() -> None:
    drawn = np.random.default_rng(1).normal(0, DEVIATION, 20_000)
    table = e4m3_values()[normal_bytes()]
    assert len(table) == 2**16
    assert table.mean() == 0
    assert table.std() == pytest.approx(np.clip(drawn, -448, 448).std(), rel=0.02)
    # No byte between the least and the largest is forgotten near the middle of the distribution.
    assert {0x38, 0x58, 0x60, LARGEST} <= set(normal_bytes().tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_makes_the_same_inputs(kind: str) -> None:
    again, other = case(kind, SIZES, 5), case(kind, SIZES, 6)
    for name in ("a", "a_scales", "b", "b_scales"):
        first: Array = getattr(made[kind], name)
        np.testing.assert_array_equal(first, getattr(again, name))
        assert first.dtype == (np.float32 if "scales" in name else np.uint8)
    assert (made[kind].a != other.a).any()
    assert made[kind].masked == (24, 16, 0, 1)


def test_masks_can_be_given() -> None:
    assert case("normal", SIZES, 5, (1, 2, 3, 4)).masked == (1, 2, 3, 4)


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in {"nan_values", "infinite_scales"}])
def test_products_of_finite_inputs_are_far_from_overflow(kind: str) -> None:
    assert np.abs(references[kind].product).max() < 2.0**125
    assert references[kind].magnitude.max() < 2.0**125


def test_subnormals_are_subnormal() -> None:
    values = np.abs(e4m3_values()[made["subnormal_values"].a])
    assert values.max() == 7 * 2.0**-9
    results = np.abs(counted("subnormal_results", references["subnormal_results"].product))
    assert 0 < np.median(results) < LEAST_NORMAL / 2
    scale, _ = scaled_products(made["subnormal_scales"])[0]
    assert 0 < scale.max() < LEAST_NORMAL
    assert np.median(np.abs(references["subnormal_scales"].product)) > LEAST_NORMAL


def test_every_value_is_there() -> None:
    assert set(made["every_value"].a.ravel().tolist()) == set(range(256)) - {NAN, 0xFF}


def test_wide_scales_are_wide() -> None:
    for scales in (made["wide_scales"].a_scales, made["wide_scales"].b_scales):
        assert scales.max() / scales.min() > 2.0**60
    assert np.abs(references["huge_results"].product).max() > 2.0**100


def test_what_cancels_cancels() -> None:
    """Neighbours leave nothing but what stands last; of the halves remains the last 128."""
    for kind, most in (("cancel_within", 2.0**-12), ("cancel_across", 2.0**-5)):
        product, magnitude = references[kind].product, references[kind].magnitude
        assert np.median(np.abs(counted(kind, product) / counted(kind, magnitude))) < most
        assert np.median(np.abs(counted(kind, product))) > 0


def test_one_product_towers_over_the_others_of_its_block() -> None:
    for values in (made["absorbed"].a, made["absorbed"].b):
        numbers = e4m3_values()[values].reshape(*values.shape[:-1], -1, BLOCK)
        assert (numbers[..., 5] == 448).all()
        others = np.delete(numbers, 5, axis=-1)
        assert 2 <= others.min() <= others.max() < 2.0**5


def test_zeros_are_many_and_of_both_signs() -> None:
    values = made["zeros"].a
    assert (values & NAN == 0).mean() > 0.9
    assert {0, 0x80} <= set(values.ravel().tolist())
    assert (values[:, ::8] & NAN == 0).all()
    assert 0 < (made["zeros"].a_scales == 0).mean() < 0.2
    assert (references["zeros"].product == 0).any()
    assert (references["zeros"].product != 0).any()


def test_nan_and_infinity_stand_where_they_are_said_to() -> None:
    """In rows that count, in others, and in whole columns; most of D stays finite."""
    for kind in ("nan_values", "infinite_scales"):
        finite = np.isfinite(references[kind].product)
        assert finite.mean() > 0.8
        assert (~finite).any(axis=(1, 2)).all()
        for group, masked in enumerate(made[kind].masked[:2]):
            assert not finite[group, masked // 2].any()
        # Group 1 has rows that do not count: the first of them is spoiled.
        assert not finite[1, made[kind].masked[1]].any()
    assert (~np.isfinite(references["nan_values"].product)).all(axis=1).any()
