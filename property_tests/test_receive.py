"""Dispatch Receive, the model of one: every chunk is copied once, by any number of CTAs."""

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

from sbo_verify.device.receive_build import (
    CHUNK_BYTES,
    ENTRY,
    KERNEL,
    PARAMETERS_HEADER,
    build_receive,
    parameters_header,
)
from sbo_verify.device.source import KERNELS

# What the kernel needs of CUDA, for a host compiler; each store is counted in `stored`.
HOST = r"""
#pragma once
#include <cstddef>
#define __device__
#define __forceinline__ inline
struct Index { unsigned x; };
static Index gridDim, blockDim, blockIdx, threadIdx;
struct uint4 { unsigned x, y, z, w; };
static unsigned char* stored;
static uint4* first;
namespace sbo { namespace ptx {
inline uint4 ld_weak_v4(const uint4* at) { return *at; }
inline void st_weak_v4(uint4* at, uint4 v) { *at = v; ++stored[at - first]; }
} }
"""
WALK = rf"""
#include "{KERNEL}"
extern "C" void walk(unsigned char* source, unsigned char* destination, unsigned char* counts,
                     unsigned long long bytes, unsigned ctas, unsigned threads) {{
  stored = counts;
  first = reinterpret_cast<uint4*>(destination);
  gridDim.x = ctas;
  blockDim.x = threads;
  for (blockIdx.x = 0; blockIdx.x < ctas; ++blockIdx.x)
    for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x)
      sbo::dispatch_receive({{source, destination, bytes}});
}}
"""
BEHIND = 64


def compiled(folder: Path, change: tuple[str, str] | None = None) -> Any:  # noqa: ANN401 - a loaded library
    """The kernel's own text, with or without a change, as a library of this machine."""
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("needs a C++ compiler for this machine: apt install g++")
    text = (KERNELS / KERNEL).read_text()
    if change is not None:
        assert text.count(change[0]) == 1
        text = text.replace(*change)
    (folder / KERNEL).write_text(text)
    (folder / "ptx.cuh").write_text(HOST)
    (folder / PARAMETERS_HEADER).write_text(parameters_header())
    (folder / "walk.cpp").write_text(WALK)
    library = folder / "walk.so"
    words = [compiler, "-std=c++17", "-O1", "-shared", "-fPIC", "-Wno-unknown-pragmas"]
    command = [*words, "-o", str(library), str(folder / "walk.cpp")]
    subprocess.run(command, check=True, timeout=120)  # noqa: S603 - our own text
    return ctypes.CDLL(str(library))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Any:  # noqa: ANN401 - a loaded library
    return compiled(tmp_path_factory.mktemp("receive"))


def copies(library: Any, chunks: int, ctas: int, threads: int) -> bool:  # noqa: ANN401 - a loaded library
    """Whether every chunk arrives, is stored once, and nothing behind the last is touched."""
    room = (chunks + BEHIND) * CHUNK_BYTES
    source = np.random.default_rng(chunks).integers(1, 256, room, dtype=np.uint8)
    destination, counts = np.zeros(room, np.uint8), np.zeros(chunks + BEHIND, np.uint8)
    pointers = (each.ctypes.data_as(ctypes.c_void_p) for each in (source, destination, counts))
    size = ctypes.c_ulonglong(chunks * CHUNK_BYTES)
    library.walk(*pointers, size, ctas, threads)
    moved = chunks * CHUNK_BYTES
    arrived = bool((destination[:moved] == source[:moved]).all() and not destination[moved:].any())
    return arrived and bool((counts[:chunks] == 1).all() and not counts[chunks:].any())


sizes = st.tuples(st.integers(0, 3000), st.integers(1, 20), st.sampled_from((32, 96, 512)))


@given(sizes)
def test_every_chunk_is_copied_once(library: Any, size: tuple[int, int, int]) -> None:  # noqa: ANN401 - a loaded library
    assert copies(library, *size)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("base += step * kReceiveInFlight", "base += step * (kReceiveInFlight + 1)"),
        ("base += step * kReceiveInFlight", "base += step * (kReceiveInFlight - 1)"),
        ("if (base + i * step < chunks) ptx::st", "if (base + i * step <= chunks) ptx::st"),
        ("blockIdx.x) * blockDim.x", "blockIdx.x) * (blockDim.x - 1)"),
        ("p.bytes / sizeof(uint4)", "p.bytes / sizeof(uint4) - 1"),
    ],
)
def test_a_changed_kernel_is_found(old: str, new: str, tmp_path: Path) -> None:
    assert not copies(compiled(tmp_path, (old, new)), 2000, 2, 96)


def test_the_kernel_moves_sixteen_bytes_at_a_time() -> None:
    artefact = build_receive()
    assert artefact.entry == ENTRY
    lines = [line.split()[0] for line in artefact.ptx.splitlines() if ".global.v4.u32" in line]
    loads = lines.index("st.weak.global.v4.u32")
    assert set(lines) == {"ld.weak.global.v4.u32", "st.weak.global.v4.u32"}
    # All loads are on their way before the first store waits for one.
    assert (loads, len(lines)) == (8, 16)
