"""The GEMM's own schedule and storing threads, compiled for this machine and run CTA by CTA.

What the kernel does is held against the plain statement: every element of a row that counts is
written once, no other ever, and every m-block gets as many signals as it has tiles, its threshold.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbo_verify.device.gemm_build import PARAMETERS_HEADER, parameters_header
from sbo_verify.device.gemm_layout import Shape
from sbo_verify.device.source import GENERATED_HEADER, KERNELS, declared_variant, sites_header
from sbo_verify.gemm import Plan, Problem, chosen_variant
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH

HOST = Path(__file__).resolve().parent / "host_gemm"
HEADERS = ("gemm_store.cuh", "gemm_schedule.cuh", "gemm_shape.cuh", "signal.cuh")
PUBLISHED = "full_wait-atom_release"
DEFERRED = "flashinfer-deferred_by_one_tile"
NEWEST_PENDING = "deferred-newest_pending-release"
BULK, GENERIC = "bulk_1d-full_wait-release", "generic_store-release"
# block_m, block_n, CTAs of a cluster, variant.
Run = tuple[int, int, int, str]
# Tiles of both heights, widths with slabs of 64 and of 32 columns, clusters of one and of two.
KERNELS_RUN: tuple[Run, ...] = (
    (64, 32, 1, PUBLISHED),
    (64, 128, 2, "full_wait-release_by_other_warp"),
    (128, 160, 2, PUBLISHED),
    (128, 224, 1, DEFERRED),
    (64, 96, 2, DEFERRED),
    (128, 256, 2, NEWEST_PENDING),
    (64, 64, 1, BULK),
    (128, 96, 1, GENERIC),
)


@dataclass(frozen=True)
class Launch:
    """What the kernel is given; `masked` may hold anything, as when nobody has looked."""

    masked: tuple[int, ...]
    m: int
    n: int
    k_blocks: int
    clusters: int


def shapes_header(kernels: Sequence[Run]) -> str:
    """Shape and variant of every kernel, and the choice among them by number."""
    parts, runs, offsets = [], [], []
    for index, (block_m, block_n, cluster, name) in enumerate(kernels):
        members = {"block_m": block_m, "block_n": block_n, "stages": 2, "cluster": cluster}
        words = " ".join(f"static constexpr unsigned {k} = {v};" for k, v in members.items())
        parts.append(f"namespace sbo {{ struct Shape{index} {{ {words} }}; }}")
        parts.append(declared_variant(chosen_variant(name)).replace("Declared", f"Variant{index}"))
        names = f"Shape{index}, Variant{index}"
        runs.append(f"if (which == {index}) run<{names}>(p, clusters);")
        offsets.append(f"if (which == {index}) return Staging<{names}>::offset(row, chunk);")
    parts.append("namespace sbo { namespace gemm {")
    parts.append(
        "inline void run_any(unsigned which, const GemmParameters& p, unsigned clusters) {"
    )
    parts += [*runs, "}"]
    parts.append("inline unsigned offset_of(unsigned which, unsigned row, unsigned chunk) {")
    return "\n".join([*parts, *offsets, "return ~0U;", "}", "}  }", ""])


def compiled(
    folder: Path,
    kernels: Sequence[Run],
    change: tuple[str, str, str] | None = None,
) -> Any:  # noqa: ANN401 - a loaded library
    """The kernels' own headers, with or without a change to one of them, as a library."""
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("needs a C++ compiler for this machine: apt install g++")
    texts = {name: (KERNELS / name).read_text() for name in HEADERS}
    if change is not None:
        name, old, new = change
        assert texts[name].count(old) == 1, change
        texts[name] = texts[name].replace(old, new)
    texts |= {"shapes.cuh": shapes_header(kernels), "tma.cuh": '#include "ptx.cuh"\n'}
    texts |= {GENERATED_HEADER: sites_header(SIGNAL_PUBLISH)}
    texts |= {PARAMETERS_HEADER: parameters_header()}
    texts |= {path.name: path.read_text() for path in HOST.iterdir()}
    for name, text in texts.items():
        (folder / name).write_text(text)
    library = folder / "store.so"
    words = [
        compiler,
        "-std=c++17",
        "-O0" if change else "-O1",
        "-shared",
        "-fPIC",
        "-o",
        str(library),
    ]
    subprocess.run([*words, str(folder / "store.cpp")], check=True, timeout=120)  # noqa: S603 - our own text
    return ctypes.CDLL(str(library))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Any:  # noqa: ANN401 - a loaded library
    return compiled(tmp_path_factory.mktemp("store"), KERNELS_RUN)


def complaints(library: Any, which: int, kernel: Run, launch: Launch) -> list[str]:  # noqa: ANN401 - a loaded library
    """What the kernel number `which` did other than it must, and other than its plan announces."""
    block_m, block_n, cluster, name = kernel
    groups, m, n = len(launch.masked), launch.m, launch.n
    problem = Problem(groups, m, n, 128 * launch.k_blocks, device=0)
    plan = Plan(problem, Shape(block_m, block_n, 2, cluster), chosen_variant(name), num_sms=1)
    masked = np.array(launch.masked, dtype=np.int32)
    d = np.zeros((groups, m, n), dtype=np.uint16)
    written = np.zeros((groups, m, n), dtype=np.uint8)
    signals = np.zeros(groups * -(-m // 64) + 8, dtype=np.int32)
    pointers = [each.ctypes.data_as(ctypes.c_void_p) for each in (masked, d, written, signals)]
    faults = library.run_all(
        which, pointers[0], groups, m, n, launch.k_blocks, launch.clusters, *pointers[1:]
    )
    counts = np.arange(m)[None, :, None] < np.clip(masked, 0, m)[:, None, None]
    expected = np.zeros_like(signals)
    for group, rows in enumerate(np.clip(masked, 0, m).tolist()):
        used = group * plan.slots + np.arange(-(-rows // block_m))
        expected[used] = plan.threshold
    rules = [
        (faults == 0, f"{faults} accesses out of place"),
        ((written == counts).all(), "elements not written once each, or of rows that do not count"),
        ((d == np.where(counts, elements(groups, m, n), 0)).all(), "elements of other tiles"),
        ((signals == expected).all(), f"signals {signals.tolist()}, not {expected.tolist()}"),
    ]
    return [what for right, what in rules if not right]


def elements(groups: int, m: int, n: int) -> Any:  # noqa: ANN401 - an array
    """`element` of host_gemm/store.cpp for all of D."""
    group, row, column = np.ogrid[:groups, :m, :n]
    return ((group * 40503 + row * 1031 + column * 7 + 1) & 0xFFFF).astype(np.uint16)


@st.composite
def launches(draw: st.DrawFn) -> Launch:
    """Groups empty, partial, full and out of range; M and N with tails; few and many CTAs."""
    m = draw(st.integers(1, 400))
    wild = st.sampled_from([-(2**31), -1, m + 1, 2**31 - 1])
    masks = st.lists(
        st.one_of(st.just(0), st.just(m), st.integers(0, m), wild), min_size=1, max_size=6
    )
    return Launch(
        tuple(draw(masks)),
        m,
        8 * draw(st.integers(1, 70)),
        draw(st.sampled_from((1, 2, 97))),
        draw(st.one_of(st.integers(1, 24), st.just(66))),
    )


@given(which=st.integers(0, len(KERNELS_RUN) - 1), launch=launches())
def test_every_element_is_stored_once_and_every_tile_signalled_once(
    library: Any,  # noqa: ANN401 - a loaded library
    which: int,
    launch: Launch,
) -> None:
    assert complaints(library, which, KERNELS_RUN[which], launch) == []


SCHEDULE, STORE, SHAPE = "gemm_schedule.cuh", "gemm_store.cuh", "gemm_shape.cuh"
TENSOR, PAIRED = KERNELS_RUN[0], KERNELS_RUN[2]
LAUNCH = Launch((200, 0, 65, 457, -1, 130), 200, 328, 2, 3)
CHANGES: dict[str, tuple[Run, str, str, str]] = {
    "every CTA takes all": (TENSOR, SCHEDULE, "unit_ += units_", "unit_ += 1"),
    "masks are not clamped": (
        *(TENSOR, SCHEDULE, "min(__ldg(p_.masked_m + group_), static_cast<int>(p_.m))"),
        "__ldg(p_.masked_m + group_)",
    ),
    "rows behind the mask": (
        *(TENSOR, SCHEDULE, "min(rows - tile.m_block * S::block_m, S::block_m)", "S::block_m"),
    ),
    "the last m-block is left out": (
        *(TENSOR, SCHEDULE, "ceil_div(rows, S::block_m)", "rows / S::block_m"),
    ),
    "half a pair is left out": (
        *(PAIRED, SCHEDULE, "(m_blocks % 2) * ceil_div(n_blocks_, 2)"),
        "(m_blocks % 2) * (n_blocks_ / 2)",
    ),
    "both of a pair take the same": (
        *(PAIRED, SCHEDULE, "unit % pairs * 2 + rank_", "unit % pairs * 2"),
    ),
    "ghosts are stored": (
        *(PAIRED, SCHEDULE, "tile.n_block >= n_blocks_", "tile.n_block > n_blocks_"),
    ),
    "ghosts are signalled": (
        *(PAIRED, STORE, "is_publisher<V>(group) && !tile.ghost", "is_publisher<V>(group)"),
    ),
    "signals as the public host check has them": (
        *(TENSOR, STORE, "tile.group * ceil_div(p.m, S::block_m)"),
        "tile.group * (p.m / S::block_m)",
    ),
    "gaps between boxes": (PAIRED, STORE, "row += 1U << bit", "row += 2U << bit"),
    "every issuer stores all": (PAIRED, STORE, "slab += issuer_count<V>()", "slab += 1"),
    "scales of the tile before": (
        *(TENSOR, STORE, "fetch_b_scales(p, memory, next, turn + 1, group)"),
        "fetch_b_scales(p, memory, next, turn, group)",
    ),
    "tiles lie without their swizzle": (TENSOR, SHAPE, "in_slab ^ (row / 2 % 4)", "in_slab"),
    "the last signal is not flushed": (
        *((64, 96, 2, DEFERRED), STORE, "if constexpr (deferred) {", "if constexpr (false) {"),
    ),
    "a deferred signal is the next tile's": (
        *((64, 96, 2, DEFERRED), STORE, "previous = tile;", "previous = next;"),
    ),
    "both copies are one": (
        *((128, 256, 2, NEWEST_PENDING), STORE, "memory.d(turn % copies)", "memory.d(0)"),
    ),
    "bulk rows too long": ((64, 64, 1, BULK), STORE, "columns * 2)", "S::block_n * 2)"),
    "chunks behind the last column": (
        *((128, 96, 1, GENERIC), STORE, "chunks = columns / 8", "chunks = S::block_n / 8"),
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_kernel_is_noticed(
    library: Any,  # noqa: ANN401 - a loaded library
    tmp_path: Path,
    change: tuple[Run, str, str, str],
) -> None:
    kernel, *words = change
    changed = compiled(tmp_path, [kernel], (words[0], words[1], words[2]))
    assert complaints(changed, 0, kernel, LAUNCH)
    assert complaints(library, KERNELS_RUN.index(kernel), kernel, LAUNCH) == []


@pytest.mark.parametrize("which", range(len(KERNELS_RUN)))
def test_eight_rows_are_staged_without_bank_conflicts(library: Any, which: int) -> None:  # noqa: ANN401 - a loaded library
    """As stmatrix writes: 16 bytes of 8 consecutive rows, all 32 banks, each once."""
    block_m, block_n, *_ = KERNELS_RUN[which]
    for first in range(0, block_m, 8):
        for chunk in range(block_n // 8):
            places = {library.offset_any(which, first + i, chunk) % 128 // 16 for i in range(8)}
            assert len(places) == 8
