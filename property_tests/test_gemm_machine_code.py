"""The GEMM's machine code keeps what its speed rests on: registers, product groups, no fences."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sbo_verify.device.doctor import examine
from sbo_verify.device.gemm_build import build_gemm
from sbo_verify.device.gemm_layout import BLOCK_MS, BLOCK_NS, CLUSTERS, Shape, most_stages
from sbo_verify.device.source import KERNELS
from sbo_verify.gemm import chosen_variant

PUBLISHED = chosen_variant("full_wait-atom_release")
K = 2048
PRODUCT = re.compile(r"\bQGMMA\.64x(\d+)x32\.F32\.E4M3\.E4M3\b")
RELEASE_OF_STAGE = re.compile(r"\bSYNCS\.ARRIVE\.TRANS64\.(RED\.)?A1T0\b")
STEPS = 4  # products of 32 of K in a block of 128
SHAPES = [
    Shape(block_m, block_n, most_stages(block_m, block_n, PUBLISHED, K), cluster)
    for block_m in BLOCK_MS
    for block_n in BLOCK_NS
    for cluster in CLUSTERS
]


def machine_code(shape: Shape, cache: Path, kernels: Path = KERNELS) -> list[str]:
    """The instructions of one kernel, as nvdisasm prints them."""
    artefact = build_gemm(shape, PUBLISHED, kernels=kernels, cache_in=cache)
    cubin = cache / f"{artefact.cubin_sha256}.cubin"
    cubin.write_bytes(artefact.cubin)
    nvdisasm = next(found.detail for found in examine() if "nvdisasm" in found.what)
    done = subprocess.run([nvdisasm, "-c", cubin], check=True, capture_output=True, text=True)  # noqa: S603 - found above
    return [line for line in done.stdout.splitlines() if ";" in line]


def spills(code: list[str]) -> list[str]:
    """Accesses to local memory: registers that did not suffice."""
    return [line for line in code if re.search(r"\b(STL|LDL)\b", line)]


def fences_among_products(code: list[str]) -> list[str]:
    """Memory barriers at gpu scope between the first product and the last release of a stage."""
    products = [index for index, line in enumerate(code) if PRODUCT.search(line)]
    releases = [index for index, line in enumerate(code) if RELEASE_OF_STAGE.search(line)]
    mainloop = code[products[0] : max(products + releases)]
    return [line for line in mainloop if "MEMBAR.ALL.GPU" in line]


def product_groups(code: list[str]) -> list[int]:
    """How many products are issued before each wait for them."""
    groups, issued = [], 0
    for line in code:
        if PRODUCT.search(line):
            issued += 1
        elif "WARPGROUP.DEPBAR" in line:
            groups.append(issued)
            issued = 0
    return groups


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name())
def test_the_mainloop_is_what_was_written(shape: Shape, cache: Path) -> None:
    code = machine_code(shape, cache)
    assert spills(code) == []
    assert fences_among_products(code) == []
    # Four products in flight before each wait: the compiler serialized none of them.
    assert set(product_groups(code)) == {STEPS}
    widths = {int(match[1]) for line in code if (match := PRODUCT.search(line))}
    columns = shape.block_n if shape.block_m == max(BLOCK_MS) else shape.block_n // 2
    assert widths == {columns // 2 if columns > 128 else columns}


# ---- the checks can fail --------------------------------------------------------------------


def changed(tmp_path: Path, header: str, old: str, new: str) -> Path:
    kernels = tmp_path / "kernels"
    shutil.copytree(KERNELS, kernels)
    text = (kernels / header).read_text()
    assert old in text
    (kernels / header).write_text(text.replace(old, new))
    return kernels


def test_a_release_of_stages_at_cluster_scope_is_found(cache: Path, tmp_path: Path) -> None:
    """It would stand in the mainloop as a memory barrier of the whole GPU."""
    old = "mbarrier.arrive.release.cta.shared::cluster"
    kernels = changed(tmp_path, "tma.cuh", old, old.replace(".cta.", ".cluster."))
    assert fences_among_products(machine_code(Shape(128, 64, 4, 2), cache, kernels))


def test_too_few_registers_are_found(cache: Path, tmp_path: Path) -> None:
    old = "kMathRegisters = 232"
    kernels = changed(tmp_path, "gemm_shape.cuh", old, "kMathRegisters = 168")
    assert spills(machine_code(Shape(128, 256, 3, 1), cache, kernels))


def test_a_wait_for_every_product_is_found(cache: Path, tmp_path: Path) -> None:
    old = "i);\n      }\n      ptx::wgmma_commit_group();"
    new = "i);\n        ptx::wgmma_commit_group();\n        ptx::wgmma_wait_group<0>();\n      }"
    kernels = changed(tmp_path, "gemm_math.cuh", old, new)
    assert set(product_groups(machine_code(Shape(128, 64, 4, 1), cache, kernels))) != {STEPS}
