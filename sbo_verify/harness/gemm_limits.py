"""How fast a GEMM could be: by the datasheet, and by what the same GPU did in the same run."""

from __future__ import annotations

from dataclasses import dataclass

from sbo_verify.device.kernel_timer import KernelTimer
from sbo_verify.device.library_products import large_copy, large_product, large_read

# Datasheet of the H200: dense FP8, and device memory.
FP8_OPERATIONS_PER_SECOND = 1.979e15
BYTES_PER_SECOND = 4.8e12
ROUNDS = 10
MEMORY, FP8 = "memory", "FP8"

Sizes = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Rates a second; the measured ones of a copy, of a sum, and of a product of two squares.

    `source` says where the rates are from.
    """

    source: str
    bytes_copied: float
    bytes_read: float
    fp8_operations: float

    @property
    def bytes(self) -> float:
        """What device memory gave at best."""
        return max(self.bytes_copied, self.bytes_read)


DATASHEET = Limits(
    source="datasheet",
    bytes_copied=BYTES_PER_SECOND,
    bytes_read=BYTES_PER_SECOND,
    fp8_operations=FP8_OPERATIONS_PER_SECOND,
)


@dataclass(frozen=True)
class Least:
    """The least time of a problem in microseconds, and what bounds it: memory or FP8."""

    microseconds: float
    bound: str


def measured_limits(timer: KernelTimer) -> Limits:
    """The limits of this GPU, from kernels that do nothing else."""
    (copy, copied), (read, size) = large_copy(), large_read()
    product, operations = large_product()
    copy_us, read_us, product_us = timer.mean_microseconds([copy, read, product], ROUNDS)
    return Limits(
        source="measured",
        bytes_copied=1e6 * copied / copy_us,
        bytes_read=1e6 * size / read_us,
        fp8_operations=1e6 * operations / product_us,
    )


def least_time(sizes: Sizes, limits: Limits = DATASHEET) -> Least:
    """The least time by operations, or by bytes read and written once."""
    groups, m, n, k = sizes
    operations = 2 * groups * m * n * k / limits.fp8_operations
    moved = groups * (m * k + n * k + 2 * m * n) / limits.bytes
    bound = FP8 if operations > moved else MEMORY
    return Least(1e6 * max(operations, moved), bound)
