"""What the masked GEMM's host and kernel share: parameters, and the sizes in shared memory.

The kernel's side is `kernels/gemm_shape.cuh`. The sizes are computed on both sides and compared
when a kernel is built, so that neither can drift from the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from sbo_verify.device.gpu import CTA_SHARED_BYTES
from sbo_verify.device.layout import Field, Struct
from sbo_verify.protocols.signal_publish.sites import NEWEST_PENDING, SignalPublish, Store

BLOCK_K = 128
SCALE_N = 128
SCALE_ROWS = 3
ATOM_BYTES = 1024
MATH_THREADS = 256
THREADS = 384
BLOCK_MS = (64, 128)
BLOCK_NS = (32, 64, 96, 128, 160, 192, 224, 256)
CLUSTERS = (1, 2)
# Rows are stored in boxes of 1, 2, 4, ... 128 rows.
D_BOXES = 8
MAX_STAGES = 12

GEMM_PARAMETERS = Struct(
    "GemmParameters",
    (
        Field("a_map", "TensorMap"),
        Field("b_map", "TensorMap"),
        Field("a_scale_map", "TensorMap"),
        Field("d_maps", "TensorMap", D_BOXES),
        Field("b_scales", "const float*"),
        Field("masked_m", "const int*"),
        Field("signals", "int*"),
        Field("d", "unsigned char*"),
        Field("d_pitch", "unsigned long long"),
        Field("groups", "unsigned"),
        Field("m", "unsigned"),
        Field("n", "unsigned"),
        Field("k_blocks", "unsigned"),
    ),
)


@dataclass(frozen=True)
class Shape:
    """One configuration of the kernel: tile, pipeline stages and CTAs in a cluster."""

    block_m: int
    block_n: int
    stages: int
    cluster: int

    def b_scale_bytes(self, k: int) -> int:
        """Shared memory for the scales of B under two tiles, in bytes."""
        return 2 * SCALE_ROWS * (k // BLOCK_K) * 4

    def fixed_shared_bytes(self, variant: SignalPublish) -> int:
        """Dynamic shared memory that does not depend on K, in bytes."""
        stage = (self.block_m + self.block_n) * BLOCK_K + self.block_m * 4
        return staging_bytes(self.block_m, self.block_n, variant) + self.stages * (stage + 16)

    def shared_bytes(self, variant: SignalPublish, k: int) -> int:
        """Dynamic shared memory of one CTA, in bytes."""
        return self.fixed_shared_bytes(variant) + self.b_scale_bytes(k)

    def name(self) -> str:
        """As part of a kernel's symbol: m128n256s3c2."""
        return f"m{self.block_m}n{self.block_n}s{self.stages}c{self.cluster}"


def slab_columns(block_n: int) -> int:
    """Columns of D that one tensor store takes: a row of 128 or of 64 swizzled bytes."""
    return 64 if block_n % 64 == 0 else 32


def staging_bytes(block_m: int, block_n: int, variant: SignalPublish) -> int:
    """Shared memory in which tiles wait for their store, in bytes."""
    copies = 2 if variant.drain in NEWEST_PENDING else 1
    padding = 0 if variant.store is Store.TENSOR else 16
    bytes_of_one = block_m * (2 * block_n + padding)
    return copies * (-(-bytes_of_one // ATOM_BYTES) * ATOM_BYTES)


def most_stages(block_m: int, block_n: int, variant: SignalPublish, k: int) -> int:
    """The longest pipeline that fits beside the staged tile; 0 where none does."""
    for stages in range(MAX_STAGES, 0, -1):
        if Shape(block_m, block_n, stages, 1).shared_bytes(variant, k) <= CTA_SHARED_BYTES:
            return stages
    return 0
