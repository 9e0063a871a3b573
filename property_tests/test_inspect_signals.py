"""What is taken for a signal, and what a finding says of a fence that stands too early."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_inspect_ways import (
    ACQUIRE,
    BARRIER,
    BULK,
    CANNOT_TELL,
    FULL,
    NOT_ORDERED,
    ORDERED,
    READ,
    RELEASE,
    STORE,
    THREAD_0,
    THREAD_64,
    kernel,
    only,
)

from sbo_verify.compiled.inspection.files import COUNTER, inspect_ptx
from sbo_verify.compiled.inspection.signals import POSSIBLE
from sbo_verify.model import judge_litmus

CORPUS = Path(__file__).parent / "inspected"


@pytest.mark.parametrize(("consumer", "stale"), [("acquire", True), ("fence_sc", False)])
def test_the_model_answers_as_the_finding_says(consumer: str, *, stale: bool) -> None:
    """Allowed to an acquire, forbidden behind a fence.sc of the consumer's own."""
    assert judge_litmus(CORPUS / f"fence_by_all-{consumer}.litmus").condition_holds is stale


def test_a_fence_of_all_threads_before_the_barrier_is_explained() -> None:
    found = inspect_ptx((CORPUS / "generic_fence_by_all_then_barrier.ptx").read_text())
    (broken,) = found.hand_offs[0].broken
    assert broken.rule == "relaxed-publish"
    for word in ("before the barrier", "ld.acquire", "fence.sc.gpu", "__threadfence"):
        assert word in broken.detail


def test_a_fence_of_another_thread_is_not_explained_as_everybodys() -> None:
    body = (STORE, *only(THREAD_0, "fence.sc.gpu;"), BARRIER)
    relaxed = only(THREAD_64, RELEASE.replace("release", "relaxed"))
    found = inspect_ptx(kernel(*body, *relaxed))
    assert [each.rule for each in found.hand_offs[0].broken] == ["relaxed-publish"]
    assert "__threadfence" not in found.hand_offs[0].broken[0].detail


# ---- counters and flags ---------------------------------------------------------------------

POLLED = ("$L:", ACQUIRE, "setp.lt.s32 %p4, %r3, 1;", "@%p4 bra $L;", READ)
COUNTED = "red.relaxed.gpu.global.add.u64 [%rd2+64], 1;"


@pytest.mark.parametrize("also", [(), (RELEASE.replace("[%rd2]", "[%rd2+128]"),)])
def test_a_relaxed_write_to_a_place_that_is_not_polled_is_a_count_or_a_signal(
    also: tuple[str, ...],
) -> None:
    """Also where a release publishes the same store to somebody."""
    found = inspect_ptx(kernel(*only(THREAD_0, STORE, *also, COUNTED), BARRIER, *POLLED))
    assert found.verdict is CANNOT_TELL
    (why,) = found.hand_offs[-2].unknown
    assert why == f"{COUNTER}: if so, it breaks relaxed-publish"


def test_a_count_that_a_fence_stands_before_is_ordered_either_way() -> None:
    fenced = only(THREAD_0, STORE, "fence.acq_rel.gpu;", COUNTED)
    assert inspect_ptx(kernel(*fenced, BARRIER, *POLLED)).verdict is ORDERED


def test_a_number_that_is_drawn_before_the_store_is_no_signal() -> None:
    """Only the turn before brings a store to it; what it returns says where the tile is."""
    drawn = "atom.relaxed.gpu.global.add.u32 %r40, [%rd2+64], 1;"
    place = ("mul.wide.u32 %rd8, %r40, 4;", "add.s64 %rd8, %rd1, %rd8;")
    store = STORE.replace("%rd1", "%rd8")
    loop = ("$M:", drawn, *place, "setp.lt.u32 %p9, %r40, 9;", store, "@%p9 bra $M;")
    found = inspect_ptx(
        kernel(f"@{THREAD_0.removeprefix('!')} bra $N;", *loop, "$N:", BARRIER, *POLLED)
    )
    assert found.verdict is ORDERED
    assert [op.mnemonic for op, _ in found.not_judged] == ["atom.relaxed.gpu.global.add.u32"]


@pytest.mark.parametrize("offset", ["", "+%r2"])
def test_a_relaxed_write_to_the_place_that_is_polled_is_a_signal(offset: str) -> None:
    """Also where its address is not wholly known."""
    move = ("add.s64 %rd5, %rd2, %rd9;",) if offset else ("mov.u64 %rd5, %rd2;",)
    write = "red.relaxed.gpu.global.add.s32 [%rd5], 1;"
    found = inspect_ptx(kernel(*move, *only(THREAD_0, STORE, write), BARRIER, *POLLED))
    assert found.verdict is NOT_ORDERED


def test_a_relaxed_publish_where_nothing_is_polled_is_a_signal() -> None:
    assert inspect_ptx(kernel(*only(THREAD_0, STORE, COUNTED))).verdict is NOT_ORDERED


FLAG = "st.global.u32 [%rd2], 1;"


def test_a_weak_flag_behind_a_fence_is_a_signal() -> None:
    found = inspect_ptx(kernel(STORE, BARRIER, *only(THREAD_0, "membar.gl;", FLAG)))
    assert [each.rule for each in found.hand_offs[0].broken] == ["weak-publish"]


def test_a_weak_result_of_one_thread_with_no_fence_is_none() -> None:
    found = inspect_ptx(kernel(STORE, BARRIER, *only(THREAD_0, FLAG)))
    assert (found.verdict, found.not_judged) == (None, [])


def test_a_weak_store_behind_a_drained_tile_is_possibly_a_signal() -> None:
    found = inspect_ptx(kernel(*only(THREAD_0, *BULK, FULL), BARRIER, *only(THREAD_64, FLAG)))
    assert [why for _, why in found.not_judged] == [POSSIBLE]


def test_a_weak_store_before_the_release_is_data() -> None:
    found = inspect_ptx(kernel(STORE, BARRIER, *only(THREAD_0, "membar.gl;", FLAG, RELEASE)))
    assert found.verdict is not NOT_ORDERED
