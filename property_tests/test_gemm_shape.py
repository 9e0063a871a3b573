"""Configurations fit the hardware, and are chosen as the figures say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbo_verify.device.gemm_build import gemm_source, parameters_header
from sbo_verify.device.gemm_layout import (
    BLOCK_MS,
    BLOCK_NS,
    CLUSTERS,
    GEMM_PARAMETERS,
    MAX_STAGES,
    Shape,
    most_stages,
    slab_columns,
)
from sbo_verify.device.gpu import CTA_SHARED_BYTES
from sbo_verify.gemm import GemmArgumentError, Problem, chosen_variant
from sbo_verify.gemm.heuristic import FEWEST_STAGES, choose_shape, cost_of, cycles_of_k_block
from sbo_verify.harness.gemm_benchmark import SHAPES
from sbo_verify.harness.gemm_limits import FP8, MEMORY, least_time
from sbo_verify.protocols.signal_publish.gemm import NO_SIGNAL

PUBLISHED = chosen_variant("full_wait-atom_release")
NEWEST_PENDING = chosen_variant("deferred-newest_pending-release")
SMS = 132

problems = st.builds(
    Problem,
    groups=st.integers(1, 64),
    m=st.integers(1, 1024),
    n=st.integers(1, 1024).map(lambda n: 8 * n),
    k=st.integers(1, 80).map(lambda k: 128 * k),
    device=st.just(0),
)


@given(
    problem=problems,
    expected_m=st.integers(1, 2000),
    num_sms=st.integers(1, 132),
    max_block_n=st.integers(32, 300),
    variant=st.sampled_from([NO_SIGNAL, PUBLISHED, NEWEST_PENDING]),
)
def test_a_chosen_shape_fits(
    problem: Problem, expected_m: int, num_sms: int, max_block_n: int, variant: object
) -> None:
    assert isinstance(variant, type(PUBLISHED))
    shape = choose_shape(problem, expected_m, num_sms, max_block_n, variant)
    assert shape.block_m in BLOCK_MS
    assert shape.block_n in BLOCK_NS
    assert shape.block_n <= max_block_n
    assert FEWEST_STAGES <= shape.stages <= MAX_STAGES
    assert shape.cluster in CLUSTERS
    assert shape.shared_bytes(variant, problem.k) <= CTA_SHARED_BYTES


def test_one_stage_more_would_not_fit() -> None:
    for block_m in BLOCK_MS:
        for block_n in BLOCK_NS:
            stages = most_stages(block_m, block_n, PUBLISHED, 7168)
            longer = Shape(block_m, block_n, stages + 1, 1)
            too_much = longer.shared_bytes(PUBLISHED, 7168) > CTA_SHARED_BYTES
            assert too_much or stages == MAX_STAGES


def test_a_k_whose_scales_fill_shared_memory_is_refused() -> None:
    problem = Problem(1, 128, 256, 128 * 12000, device=0)
    with pytest.raises(
        GemmArgumentError,
        match="K is 1536000: its scales leave no room for a tile in shared memory",
    ):
        choose_shape(problem, 128, SMS, 256, NO_SIGNAL)


@pytest.mark.parametrize(
    ("sizes", "name"),
    list(
        zip(
            SHAPES,
            ["m128n256s3c1", "m128n224s3c1"] * 3 + ["m64n256s4c1", "m64n128s8c1"] * 2,
            strict=True,
        )
    ),
)
def test_the_ten_shapes_get_what_was_fastest(sizes: tuple[int, int, int, int], name: str) -> None:
    """Measured over all configurations on an H200."""
    shape = choose_shape(Problem(*sizes, device=0), sizes[1], SMS, 256, NO_SIGNAL)
    assert shape.name() == name


def test_the_model_charges_for_every_wave_and_every_byte() -> None:
    problem = Problem(1, 1024, 4096, 7168, device=0)
    assert cycles_of_k_block(128, 256) == 1152
    assert cycles_of_k_block(128, 128) == 640
    assert cycles_of_k_block(64, 128) == 448
    one_wave = cost_of(problem, 1024, 128, 128, 256)
    two_waves = cost_of(problem, 1024, 127, 128, 256)
    assert two_waves.multiplication == 2 * one_wave.multiplication
    few_rows = cost_of(problem, 64, 132, 64, 128)
    assert few_rows.memory > few_rows.multiplication
    assert few_rows.total == few_rows.memory


def test_the_limits_of_the_datasheet() -> None:
    many_rows, few_rows = least_time((1, 1024, 4096, 7168)), least_time((16, 64, 4096, 7168))
    assert (many_rows.bound, few_rows.bound) == (FP8, MEMORY)
    assert many_rows.microseconds == pytest.approx(30.4, abs=0.1)
    assert few_rows.microseconds == pytest.approx(101.1, abs=0.1)


# ---- what both sides of a launch must agree on ----------------------------------------------


def test_the_parameters_are_aligned_as_tensor_maps_want_it() -> None:
    dtype = GEMM_PARAMETERS.dtype()
    fields: Mapping[str, tuple[Any, ...]] = dtype.fields or {}
    for name in ("a_map", "b_map", "a_scale_map", "d_maps"):
        assert fields[name][1] % 64 == 0
    assert dtype.itemsize % 64 == 0
    assert f"sizeof(GemmParameters) == {dtype.itemsize}" in parameters_header()


def test_the_source_asserts_the_size_that_the_host_reserves() -> None:
    shape = Shape(128, 224, 3, 1)
    bytes_ = shape.fixed_shared_bytes(PUBLISHED)
    assert f"::b_scales == {bytes_}," in gemm_source(shape, PUBLISHED)
    # The tile, three stages of A, B and A's scales, two barriers for each.
    assert bytes_ == 128 * 224 * 2 + 3 * ((128 + 224) * 128 + 128 * 4 + 16)


@pytest.mark.parametrize("block_n", BLOCK_NS)
def test_a_tile_is_cut_into_whole_slabs(block_n: int) -> None:
    columns = slab_columns(block_n)
    assert block_n % columns == 0
    # A swizzled row is 64 or 128 bytes.
    assert 2 * columns in {64, 128}
