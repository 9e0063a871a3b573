"""Tiles are cut so that every copy is whole, and CTAs fit on an SM exactly as many as planned."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sbo_verify.device.geometry import (
    CHUNK_BYTES,
    MAX_BOX_ROWS,
    TENSOR_ROW_BYTES,
    Geometry,
    GeometryError,
)
from sbo_verify.device.gpu import CTA_SHARED_BYTES, RESERVED_SHARED_BYTES, SM_SHARED_BYTES
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.protocols.signal_publish.sites import SignalPublish

KIB = 1024
STATIC_BYTES = 592


def geometry(name: str) -> Geometry:
    variant = SIGNAL_PUBLISH.row(name).variant
    assert isinstance(variant, SignalPublish)
    return Geometry.of(variant)


TENSOR_TWO = geometry("full_wait-atom_release")
TENSOR_ONE = geometry("triton-single_issuer-full_wait-release")
BULK_TWO = geometry("bulk_1d-full_wait-release")
GENERIC = geometry("generic_store-release")
SAME_SM = geometry("same_sm")
CLUSTER = geometry("full_wait-cluster_barrier-release")
SHAPES = sorted({geometry(row.name) for row in SIGNAL_PUBLISH}, key=repr)

shapes = st.sampled_from(SHAPES)


def parts(shape: Geometry, tile_bytes: int) -> list[int]:
    """Rows that each issuer stores: `store_tile` of kernels/signal_publish.cuh."""
    rows = tile_bytes // shape.row_bytes()
    return [
        rows * (issuer + 1) // shape.issuers - rows * issuer // shape.issuers
        for issuer in range(shape.issuers)
    ]


# ---- cutting a tile -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "multiple"), [(TENSOR_TWO, 256), (TENSOR_ONE, 128), (BULK_TWO, 16), (GENERIC, 16)]
)
def test_a_tile_is_a_multiple_of_what_a_copy_moves(shape: Geometry, multiple: int) -> None:
    assert shape.tile_multiple() == multiple
    shape.dynamic_shared(multiple, 1, STATIC_BYTES)


@given(shapes, st.integers(1, 900))
def test_the_issuers_parts_are_the_tile_and_begin_where_a_copy_may(
    shape: Geometry, multiples: int
) -> None:
    tile_bytes = multiples * shape.tile_multiple()
    assert sum(parts(shape, tile_bytes)) * shape.row_bytes() == tile_bytes
    alignment = TENSOR_ROW_BYTES if shape.tensor else CHUNK_BYTES
    begin = 0
    for part in parts(shape, tile_bytes):
        assert begin * shape.row_bytes() % alignment == 0
        begin += part


@given(shapes, st.integers(1, 1800))
def test_a_box_divides_every_issuers_part_and_is_the_largest_that_does(
    shape: Geometry, multiples: int
) -> None:
    assume(shape.tensor)
    tile_bytes = multiples * shape.tile_multiple()
    box = shape.box_rows(tile_bytes)
    assert 1 <= box <= MAX_BOX_ROWS
    assert all(part % box == 0 for part in parts(shape, tile_bytes))
    larger = range(box + 1, MAX_BOX_ROWS + 1)
    assert not any(all(p % size == 0 for p in parts(shape, tile_bytes)) for size in larger)
    # A load takes the whole tile in the same boxes.
    assert tile_bytes // shape.row_bytes() % box == 0


@pytest.mark.parametrize(
    ("shape", "tile_bytes", "box"),
    [
        (TENSOR_TWO, 256, 1),
        (TENSOR_TWO, 16 * KIB, 64),
        (TENSOR_TWO, 64 * KIB, 256),
        (TENSOR_TWO, 128 * KIB, 256),
        (TENSOR_ONE, 4 * KIB, 32),
        (TENSOR_ONE, 257 * 128, 1),
    ],
)
def test_boxes_are_pinned(shape: Geometry, tile_bytes: int, box: int) -> None:
    assert shape.box_rows(tile_bytes) == box


# ---- CTAs on an SM --------------------------------------------------------------------------


def resident(dynamic: int, static_bytes: int) -> int:
    """CTAs that one SM holds, by its shared memory (CUDA programming guide, occupancy)."""
    return SM_SHARED_BYTES // (dynamic + static_bytes + RESERVED_SHARED_BYTES)


@given(shapes, st.integers(1, 8), st.integers(1, 900), st.sampled_from([0, STATIC_BYTES, 2048]))
def test_exactly_the_planned_ctas_fit_on_an_sm(
    shape: Geometry, ctas: int, multiples: int, static_bytes: int
) -> None:
    tile_bytes = multiples * shape.tile_multiple()
    try:
        dynamic = shape.dynamic_shared(tile_bytes, ctas, static_bytes)
    except GeometryError:
        # Refused is only what does not fit.
        needed = shape.buffers() * tile_bytes
        too_large = needed + static_bytes > CTA_SHARED_BYTES
        assert too_large or resident(needed, static_bytes) < ctas
        return
    assert dynamic >= shape.buffers() * tile_bytes
    assert dynamic + static_bytes <= CTA_SHARED_BYTES
    assert resident(dynamic, static_bytes) == ctas


def test_a_tile_alone_would_let_more_ctas_in_than_planned() -> None:
    """Why more shared memory is asked for than the tile needs."""
    assert resident(4 * KIB, STATIC_BYTES) > 2
    assert resident(TENSOR_TWO.dynamic_shared(4 * KIB, 2, STATIC_BYTES), STATIC_BYTES) == 2


@pytest.mark.parametrize(
    ("name", "buffers"),
    [
        ("full_wait-atom_release", 1),
        ("read_tma-proxy_fence", 1),
        ("deferred-newest_pending-release", 2),
        ("wait_but_newest-release", 2),
        ("producer_cta-other_warps", 1),
        ("readback-full_wait", 1),
    ],
)
def test_the_tiles_that_a_variant_keeps_are_counted(name: str, buffers: int) -> None:
    assert geometry(name).buffers() == buffers


def test_producer_and_consumer_in_one_cta_keep_a_tile_each() -> None:
    both = replace(geometry("producer_cta-other_warps"), reads_by_tma=True)
    assert both.buffers() == 2
    assert replace(both, stages=2).buffers() == 3


# ---- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "tile_bytes", "said"),
    [
        (TENSOR_TWO, 128, "with tensor stores by 2 issuer(s) it must be a multiple of 256 bytes"),
        (TENSOR_ONE, 144, "with tensor stores by 1 issuer(s) it must be a multiple of 128 bytes"),
        (BULK_TWO, 24, "with bulk and generic stores by 2 issuer(s) it must be a multiple of 16"),
        (GENERIC, 0, "it must be a multiple of 16 bytes"),
        (GENERIC, -16, "it must be a multiple of 16 bytes"),
    ],
)
def test_a_tile_that_cannot_be_cut_is_refused_with_what_can(
    shape: Geometry, tile_bytes: int, said: str
) -> None:
    with pytest.raises(GeometryError) as refused:
        shape.dynamic_shared(tile_bytes, 1, STATIC_BYTES)
    assert f"a tile of {tile_bytes} bytes cannot be handed over" in str(refused.value)
    assert said in str(refused.value)


@given(shapes, st.integers(1, 8))
def test_a_tile_too_large_is_refused_with_the_largest_that_fits(shape: Geometry, ctas: int) -> None:
    with pytest.raises(GeometryError, match=r"does not fit into shared memory") as refused:
        shape.dynamic_shared(1024 * KIB, ctas, STATIC_BYTES)
    said = re.search(r"allowed is up to (\d+) bytes$", str(refused.value))
    assert said is not None
    largest = int(said[1])
    assert f"this variant keeps {shape.buffers()} and {ctas} CTA(s) share" in str(refused.value)
    shape.dynamic_shared(largest, ctas, STATIC_BYTES)
    with pytest.raises(GeometryError):
        shape.dynamic_shared(largest + shape.tile_multiple(), ctas, STATIC_BYTES)


def test_cta_counts_that_form_no_pairs_are_refused() -> None:
    CLUSTER.check_ctas(1)
    SAME_SM.check_ctas(2)
    TENSOR_TWO.check_ctas(3)
    with pytest.raises(
        GeometryError, match=r"^cluster variants run one CTA an SM; ctas_per_sm is 2$"
    ):
        CLUSTER.check_ctas(2)
    with pytest.raises(GeometryError, match=r"an even number of CTAs there; ctas_per_sm is 1$"):
        SAME_SM.check_ctas(1)
