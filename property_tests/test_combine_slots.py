"""Slots, names and products of the live rounds, against plain references."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbo_verify.device.combine_layout import (
    BLOCK_K,
    COMBINE_COUNTERS,
    FIRST_NAME,
    MAX_ROUNDS,
    NAMES,
    PIECE_BYTES,
    POISON,
    SLOT_WITNESS,
    STAGES,
    THREADS,
    dynamic_shared_bytes,
    name_of,
    slots_of,
    word_meaning,
)
from sbo_verify.device.gemm_layout import BLOCK_MS, BLOCK_NS, Shape, most_stages
from sbo_verify.device.gpu import CTA_SHARED_BYTES, RESERVED_SHARED_BYTES, SM_SHARED_BYTES
from sbo_verify.device.source import KERNELS
from sbo_verify.protocols.signal_publish.gemm import NO_SIGNAL

# What slots.cuh needs of CUDA, for a host compiler.
HOST = r"""
#include <algorithm>
#define __device__
#define __forceinline__ inline
#define SBO_BEGIN(SITE)
#define SBO_END(SITE)
using std::min;
template <class T> T __ldg(const T* at) { return *at; }
"""
WALK = r"""
#include "slots.cuh"
extern "C" unsigned walk(const int* received, unsigned groups, unsigned m, unsigned block_m,
                         unsigned cta, unsigned ctas, unsigned* found) {
  sbo::combine::Slots slots(received, groups, m, block_m, cta, ctas);
  sbo::combine::Slot slot;
  unsigned count = 0;
  for (; slots.next(slot); ++count) {
    const unsigned all[4] = {slot.group, slot.m_block, slot.rows, slot.signal};
    std::copy(all, all + 4, found + 4 * count);
  }
  return count;
}
"""
Found = list[tuple[int, int, int, int]]


def compiled(folder: Path, change: tuple[str, str] | None = None) -> Any:  # noqa: ANN401 - a loaded library
    """The kernels' own slots.cuh, with or without a change, as a library of this machine."""
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("needs a C++ compiler for this machine: apt install g++")
    text = (KERNELS / "slots.cuh").read_text()
    if change is not None:
        assert text.count(change[0]) == 1
        text = text.replace(*change)
    (folder / "slots.cuh").write_text(text)
    (folder / "ptx.cuh").write_text(HOST)
    (folder / "walk.cpp").write_text(WALK)
    library = folder / "walk.so"
    words = [compiler, "-std=c++17", "-O1", "-shared", "-fPIC", "-o", str(library)]
    subprocess.run([*words, str(folder / "walk.cpp")], check=True, timeout=120)  # noqa: S603 - our own text
    return ctypes.CDLL(str(library))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Any:  # noqa: ANN401 - a loaded library
    return compiled(tmp_path_factory.mktemp("slots"))


def walked(library: Any, received: list[int], m: int, block_m: int, ctas: int) -> list[Found]:  # noqa: ANN401 - a loaded library
    """The slots of each CTA, as the kernel deals them out."""
    counts = np.array(received, dtype=np.int32)
    room = np.zeros((4 * sum(-(-count // block_m) for count in received) + 4,), dtype=np.uint32)
    dealt = []
    for cta in range(ctas):
        arguments = (len(received), m, block_m, cta, ctas)
        count = library.walk(
            counts.ctypes.data_as(ctypes.c_void_p),
            *arguments,
            room.ctypes.data_as(ctypes.c_void_p),
        )
        rows = room[: 4 * count].reshape(count, 4)
        dealt.append([(int(a), int(b), int(c), int(d)) for a, b, c, d in rows])
    return dealt


def modelled(received: list[int], m: int, block_m: int, ctas: int) -> list[Found]:
    slots = [(s.group, s.m_block, s.rows, s.signal) for s in slots_of(received, m, block_m)]
    return [slots[cta::ctas] for cta in range(ctas)]


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[int], int, int, int]:
    """Received rows, M, block_m and consumer CTAs."""
    m = draw(st.integers(1, 700))
    received = draw(st.lists(st.one_of(st.just(0), st.integers(0, m)), min_size=1, max_size=40))
    return received, m, draw(st.sampled_from((64, 128, 192))), draw(st.integers(1, 40))


@given(problems())
def test_the_kernel_deals_slots_out_as_the_model_does(
    library: Any,  # noqa: ANN401 - a loaded library
    problem: tuple[list[int], int, int, int],
) -> None:
    assert walked(library, *problem) == modelled(*problem)


@given(problems())
def test_every_row_that_counts_is_in_one_slot(problem: tuple[list[int], int, int, int]) -> None:
    received, m, block_m, ctas = problem
    slots = [slot for found in modelled(received, m, block_m, ctas) for slot in found]
    rows = [
        (group, block * block_m + row) for group, block, rows, _ in slots for row in range(rows)
    ]
    assert sorted(rows) == [(g, row) for g, count in enumerate(received) for row in range(count)]
    signals = [signal for *_, signal in slots]
    assert len(set(signals)) == len(signals)
    assert all(signal < len(received) * -(-m // block_m) for signal in signals)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(rows + block_m_ - 1) / block_m_", "rows / block_m_"),
        ("blocks_((m + block_m - 1) / block_m)", "blocks_(m / block_m)"),
        ("index_ += step_", "index_ += 1"),
        ("first_ += count;", "first_ += count + 1;"),
    ],
    ids=["floor of rows", "floor of m", "every CTA takes all", "a hole between groups"],
)
def test_a_changed_sum_is_noticed(tmp_path: Path, old: str, new: str) -> None:
    changed = compiled(tmp_path, (old, new))
    problem = ([200, 0, 65, 1], 200, 64, 2)
    assert walked(changed, *problem) != modelled(*problem)


# ---- names ----------------------------------------------------------------------------------


def number(name: int) -> np.float32:
    """The value of a bfloat16 bit pattern."""
    return np.float32(np.array([name << 16], dtype=np.uint32).view(np.float32)[0])


def test_names_are_different_positive_normal_numbers() -> None:
    names = [name_of(round_) for round_ in range(NAMES)]
    values = [number(name) for name in names]
    assert len(set(names)) == NAMES
    assert POISON not in names
    assert all(np.isfinite(values))
    assert min(values) > np.finfo(np.float32).tiny * 2**20
    assert name_of(NAMES) == name_of(0) == FIRST_NAME
    assert MAX_ROUNDS <= NAMES // 2


def weights(k_blocks: int) -> list[np.float32]:
    """As `weight_of` of kernels/rounds.cuh."""
    return [np.float32(2)] * (k_blocks - 1) + [np.float32(1 - 2 * (k_blocks - 1))]


@given(st.integers(0, NAMES - 1), st.integers(1, 200))
def test_the_product_is_the_name_exactly_and_no_part_of_it_is(round_: int, k_blocks: int) -> None:
    """FP32 sums of 128 * (name * weight / 128), as the GEMM adds them up."""
    name = number(name_of(round_))
    total, parts = np.float32(0), []
    for weight in weights(k_blocks):
        scale = np.float32(name / np.float32(BLOCK_K) * weight)
        total = np.float32(total + np.float32(scale * np.float32(BLOCK_K)))
        parts.append(total)
    assert total == name
    assert name not in parts[:-1]


def test_a_word_is_told_in_rounds() -> None:
    assert word_meaning(name_of(7) << 16 | name_of(7)) == "round 7"
    assert word_meaning(POISON << 16 | name_of(9)) == "round 9 and poison"
    assert word_meaning(0) == "no round (0x0000)"


# ---- sizes ----------------------------------------------------------------------------------


def test_one_consumer_fills_an_sm_and_leaves_the_gemm_none() -> None:
    assert dynamic_shared_bytes() <= CTA_SHARED_BYTES
    assert 2 * (dynamic_shared_bytes() + RESERVED_SHARED_BYTES) > SM_SHARED_BYTES
    assert dynamic_shared_bytes() >= THREADS // 32 * STAGES * PIECE_BYTES
    # The smallest GEMM that the heuristic can choose.
    least = min(
        Shape(m, n, most_stages(m, n, NO_SIGNAL, 128), 1).shared_bytes(NO_SIGNAL, 128)
        for m in BLOCK_MS
        for n in BLOCK_NS
    )
    assert dynamic_shared_bytes() + least > SM_SHARED_BYTES
    assert THREADS % 32 == 0
    assert STAGES > 2


def test_the_state_fits_between_its_parts() -> None:
    from sbo_verify.device.live_shot import PARTS, STATE_BYTES  # noqa: PLC0415 - beside its use
    from sbo_verify.device.micro_kernel import WITNESS_CAPACITY  # noqa: PLC0415

    assert COMBINE_COUNTERS.dtype().itemsize <= PARTS["fault"]
    assert PARTS["witnesses"] + WITNESS_CAPACITY * SLOT_WITNESS.dtype().itemsize <= STATE_BYTES
