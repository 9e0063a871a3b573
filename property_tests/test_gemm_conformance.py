"""The GEMM hands over what its variant declares, and conformance notices when it does not."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from sbo_verify.compiled.conformance import Reading, compare
from sbo_verify.compiled.harness_rules import GEMM
from sbo_verify.device.gemm_build import build_gemm
from sbo_verify.device.gemm_layout import Shape
from sbo_verify.device.source import KERNELS
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.protocols.signal_publish.gemm import (
    NO_SIGNAL,
    gemm_refusals,
    gemm_steps,
    producer_half,
)
from sbo_verify.protocols.signal_publish.sites import SignalPublish
from sbo_verify.verdict import CodeVerdict

PUBLISHED = "full_wait-atom_release"
DEFERRED = "flashinfer-deferred_by_one_tile"
# Small, so that it compiles fast; the hand-over is the same text in all shapes.
SMALL = Shape(block_m=128, block_n=64, stages=3, cluster=1)
# One of each kind: by rows and by columns, scales cut and not, clusters.
SHAPES = (
    SMALL,
    Shape(block_m=128, block_n=224, stages=3, cluster=1),
    Shape(block_m=128, block_n=256, stages=3, cluster=2),
    Shape(block_m=64, block_n=32, stages=4, cluster=2),
    Shape(block_m=64, block_n=256, stages=4, cluster=1),
)


def variant_of(row: str) -> SignalPublish:
    variant = SIGNAL_PUBLISH.row(row).variant
    assert isinstance(variant, SignalPublish)
    return variant


def producers() -> dict[str, SignalPublish]:
    """Every producer of the catalogue that the GEMM can run, by the first row that has it."""
    found: dict[SignalPublish, str] = {}
    for row in SIGNAL_PUBLISH:
        variant = variant_of(row.name)
        if not gemm_refusals(variant):
            found.setdefault(producer_half(variant), row.name)
    return {name: variant for variant, name in found.items()}


PRODUCERS = producers()


def read(variant: SignalPublish, cache: Path, shape: Shape = SMALL) -> Reading:
    return compare(gemm_steps(variant), build_gemm(shape, variant, cache_in=cache).ptx, GEMM)


@pytest.mark.parametrize("row", PRODUCERS)
def test_the_compiled_gemm_orders_what_its_row_declares(row: str, cache: Path) -> None:
    reading = read(PRODUCERS[row], cache)
    assert reading.differences == []
    assert reading.verdict is CodeVerdict.AS_DECLARED


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name())
@pytest.mark.parametrize("row", [PUBLISHED, DEFERRED, "no signal"])
def test_every_kind_of_shape_hands_over_alike(row: str, shape: Shape, cache: Path) -> None:
    variant = NO_SIGNAL if row == "no signal" else producer_half(variant_of(row))
    reading = read(variant, cache, shape)
    assert reading.differences == []
    assert reading.skeleton == read(variant, cache).skeleton


def test_the_skeleton_of_the_published_hand_over_is_pinned(cache: Path) -> None:
    assert read(variant_of(PUBLISHED), cache).skeleton == [
        ("math.source_fence", ["fence.proxy.async.shared"]),
        ("math.source_join", ["barrier.cta"]),
        ("producer.source_join", ["barrier.cta"]),
        ("producer.store", ["cp.async.bulk.tensor (store)", "cp.async.bulk.commit_group"]),
        ("producer.drain", ["cp.async.bulk.wait_group 0"]),
        ("producer.join", ["barrier.cta"]),
        ("producer.publish", ["atom.release.gpu.global"]),
    ]


def test_without_a_signal_nothing_is_waited_for_and_nothing_written(cache: Path) -> None:
    assert read(NO_SIGNAL, cache).skeleton == [
        ("math.source_fence", ["fence.proxy.async.shared"]),
        ("math.source_join", ["barrier.cta"]),
        ("producer.source_join", ["barrier.cta"]),
        ("producer.store", ["cp.async.bulk.tensor (store)", "cp.async.bulk.commit_group"]),
    ]


@pytest.mark.parametrize("row", [row.name for row in SIGNAL_PUBLISH])
def test_a_row_is_run_or_refused_with_a_way_out(row: str) -> None:
    for reason in gemm_refusals(variant_of(row)):
        assert ": choose " in reason


def test_most_producers_can_be_run() -> None:
    """Refusing is easy: what is refused is what the sentences above say, and no more."""
    refused = {row.name for row in SIGNAL_PUBLISH if gemm_refusals(variant_of(row.name))}
    assert len(PRODUCERS) == 36
    assert {name for name in refused if "readback" not in name} == {
        "cutlass_split_k-semaphore-no_fence",
        "deepep_legacy-read_wait-st_release_sys-tma_load",
        "full_wait-cluster_barrier-release",
        "full_wait-cluster_relaxed-release_by_peer",
        "full_wait-release_by_cluster_peer",
        "full_wait-st_relaxed",
        "full_wait-st_release",
        "nccl-equality_on_reused_flag",
        "read_wait-release_by_cluster_peer",
        "vllm-relaxed_flags",
        "vllm-volatile_flags",
    }


# ---- the check can fail ---------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """A change to one header of the GEMM, and a part of the difference that it must cause."""

    name: str
    header: str
    old: str
    new: str
    difference: str
    row: str = PUBLISHED


DRAIN_AND_JOIN = """    if constexpr (!deferred || deferred_behind_store) {
      drain<V>(group);
      join<V>(group);
    }
"""
FREE = 'SBO_BEGIN("harness.free");\n    free.sync();\n    SBO_END("harness.free");\n'
FENCE_AND_JOIN = """    SBO_BEGIN("math.source_fence");
    order_source<V>();
    SBO_END("math.source_fence");
    SBO_BEGIN("math.source_join");
    source.sync();
    SBO_END("math.source_join");
"""
CHANGES = (
    Change(
        "no drain",
        "gemm_store.cuh",
        DRAIN_AND_JOIN,
        DRAIN_AND_JOIN.replace("      drain<V>(group);\n", ""),
        "site producer.drain: declared cp.async.bulk.wait_group 0",
    ),
    Change(
        "joined before drained",
        "gemm_store.cuh",
        "      drain<V>(group);\n      join<V>(group);\n    }\n    if constexpr (V::moment",
        "      join<V>(group);\n      drain<V>(group);\n    }\n    if constexpr (V::moment",
        "site producer.join: declared nothing after producer.store, compiled barrier.cta",
    ),
    Change(
        "no barrier behind the source fence",
        "gemm_math.cuh",
        FENCE_AND_JOIN,
        FENCE_AND_JOIN.replace("    source.sync();\n", ""),
        "site math.source_join: declared barrier.cta after math.source_fence",
    ),
    Change(
        "fence behind the barrier",
        "gemm_math.cuh",
        FENCE_AND_JOIN,
        FENCE_AND_JOIN[FENCE_AND_JOIN.index('    SBO_BEGIN("math.source_join")') :]
        + FENCE_AND_JOIN[: FENCE_AND_JOIN.index('    SBO_BEGIN("math.source_join")')],
        "site math.source_join: declared barrier.cta after math.source_fence",
    ),
    Change(
        "a barrier of the harness mends what declares none",
        "gemm_store.cuh",
        DRAIN_AND_JOIN,
        f"    {FREE}{DRAIN_AND_JOIN}",
        "site harness.free: declared outside the hand-over, compiled barrier.cta",
        "hip_port-per_warp_drain-no_barrier",
    ),
    Change(
        "a fence that nobody declared",
        "gemm_store.cuh",
        "    previous = tile;\n",
        "    previous = tile;\n    __threadfence();\n",
        "outside every site: declared nothing, compiled fence.sc.gpu",
    ),
    Change(
        "two bulk groups",
        "gemm_store.cuh",
        "    ptx::cp_async_bulk_commit_group();\n",
        "    ptx::cp_async_bulk_commit_group();\n" * 2,
        "site producer.store: declared nothing, compiled cp.async.bulk.commit_group",
    ),
    Change(
        "signalled at once",
        "gemm_store.cuh",
        "  constexpr bool deferred = V::moment == Moment::deferred;\n",
        "  constexpr bool deferred = false;\n",
        "site producer.source_join: declared nothing first, compiled barrier.cta",
        DEFERRED,
    ),
    Change(
        "products that are not waited for",
        "gemm_math.cuh",
        "      ptx::wgmma_wait_group<0>();\n",
        "      ptx::wgmma_wait_group<1>();\n",
        "site harness.multiply: declared wgmma.wait_group 0, compiled to code without it",
    ),
    Change(
        "stages that are not waited for",
        "gemm_load.cuh",
        "  while (!ptx::mbarrier_try_wait_acquire(mbarrier, parity)) {\n  }\n",
        "",
        "site harness.multiply: declared mbarrier.try_wait.acquire.cta, compiled to code without",
    ),
    Change(
        "another thread at the store",
        "tma.cuh",
        "cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%1, %2, %3}], [%4];",
        "red.relaxed.gpu.global.add.s32 [%0], %1; // %2 %3 %4",
        "site producer.store: declared cp.async.bulk.tensor (store), compiled red.relaxed.gpu",
    ),
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_a_changed_gemm_differs_and_the_message_says_how(
    change: Change, cache: Path, tmp_path: Path
) -> None:
    kernels = tmp_path / "kernels"
    shutil.copytree(KERNELS, kernels)
    text = (kernels / change.header).read_text()
    assert text.count(change.old) == 1
    (kernels / change.header).write_text(text.replace(change.old, change.new))
    variant = producer_half(variant_of(change.row))
    ptx = build_gemm(SMALL, variant, kernels=kernels, cache_in=cache).ptx
    reading = compare(gemm_steps(variant), ptx, GEMM)
    assert reading.verdict is CodeVerdict.DIFFERS
    assert any(change.difference in each for each in reading.differences), reading.differences


def test_the_ptx_of_another_row_differs(cache: Path) -> None:
    ptx = build_gemm(SMALL, PRODUCERS["read_wait-release"], cache_in=cache).ptx
    assert compare(gemm_steps(variant_of(PUBLISHED)), ptx, GEMM).verdict is CodeVerdict.DIFFERS
