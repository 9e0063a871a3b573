"""Which tile, pipeline and cluster a problem is computed with.

The model behind the choice counts cycles of one SM, and was held against every configuration on ten
shapes on an H200: shared memory's bandwidth bounds the multiplication, since each warpgroup reads
all of B's tile for its own 64 rows; device memory bounds problems with few rows; and a last wave
that does not fill the GPU costs either of them. What it chooses was within 2 % of the fastest on
each of the ten. TMA multicast in clusters of two is built and tested, and not chosen: it was slower
by 2 to 6 % where the multiplication bounds, and no more than 1 % faster where memory does.
"""

from __future__ import annotations

from dataclasses import dataclass

from sbo_verify.device.gemm_layout import BLOCK_K, BLOCK_MS, BLOCK_NS, Shape, most_stages
from sbo_verify.gemm.arguments import GemmArgumentError, Problem
from sbo_verify.protocols.signal_publish.sites import SignalPublish

FEWEST_STAGES = 2
WIDE_M = max(BLOCK_MS)
# Tiles of 64 rows serve problems that device memory bounds. There the other widths were slower than
# the model has it, by 1 to 3 %; why was not found out.
NARROW_BLOCK_NS = (32, 64, 128, 256)
SHARED_BYTES_PER_CYCLE = 128
WIDEST_PIECE = 128
# Filling and draining the pipeline, and the tile's way to shared memory, in cycles.
TILE_OVERHEAD = 1500
# Bytes a cycle from device memory to all SMs: 4.1 TB/s at 1.75 GHz.
DEVICE_BYTES_PER_CYCLE = 2340
# Half of a memory-bound kernel's time grows as its waves are left unfilled.
UNFILLED_SHARE = 0.5
# Costs closer than this are one and the same to the model.
RESOLUTION = 0.02


@dataclass(frozen=True)
class Cost:
    """What the model says of one tile shape, in cycles of one SM."""

    multiplication: float
    memory: float

    @property
    def total(self) -> float:
        """The slower of the two, since they overlap."""
        return max(self.multiplication, self.memory)


def choose_shape(
    problem: Problem, expected_m: int, num_sms: int, max_block_n: int, variant: SignalPublish
) -> Shape:
    """The cheapest shape for groups of about `expected_m` rows on `num_sms` SMs.

    Raises `GemmArgumentError` when no tile fits into shared memory beside the scales of K.
    """
    found: list[tuple[float, float, int, Shape]] = []
    for block_m in BLOCK_MS:
        for block_n in BLOCK_NS if block_m == WIDE_M else NARROW_BLOCK_NS:
            stages = most_stages(block_m, block_n, variant, problem.k)
            if block_n > max_block_n or stages < FEWEST_STAGES:
                continue
            cost = cost_of(problem, expected_m, num_sms, block_m, block_n)
            shape = Shape(block_m, block_n, stages, cluster=1)
            found.append((cost.total, cost.multiplication, -block_n, shape))
    if not found:
        message = f"K is {problem.k}: its scales leave no room for a tile in shared memory; split K"
        raise GemmArgumentError(message)
    least = min(total for total, *_ in found)
    near = [each for each in found if each[0] <= least * (1 + RESOLUTION)]
    return min(near, key=lambda each: each[1:3])[3]


def cost_of(problem: Problem, expected_m: int, num_sms: int, block_m: int, block_n: int) -> Cost:
    """Cycles for a problem whose groups have `expected_m` rows each, by the model."""
    rows = min(expected_m, problem.m)
    tiles = problem.groups * -(-rows // block_m) * -(-problem.n // block_n)
    waves = -(-tiles // num_sms)
    multiplication = waves * (
        problem.k // BLOCK_K * cycles_of_k_block(block_m, block_n) + TILE_OVERHEAD
    )
    moved = problem.groups * (problem.n * problem.k + rows * (problem.k + 2 * problem.n))
    unfilled = waves * num_sms / tiles - 1
    # Fewer SMs than all still share the whole of device memory's bandwidth, as far as it goes.
    memory = moved / DEVICE_BYTES_PER_CYCLE * (1 + UNFILLED_SHARE * unfilled)
    return Cost(multiplication, memory)


def cycles_of_k_block(block_m: int, block_n: int) -> float:
    """Cycles that shared memory, or the tensor cores, take for 128 of K of one tile.

    The two warpgroups read all columns of B for 64 rows of A each, or half of them for the same 64;
    A is read once for each piece of up to 128 columns. Copies write both.
    """
    width = block_n if block_m == WIDE_M else block_n // 2
    pieces = 2 if width > WIDEST_PIECE else 1
    read = 2 * (width + WIDE_M // 2 * pieces)
    written = block_m + block_n
    tensor_cycles = 4 * width
    return max((read + written) * BLOCK_K / SHARED_BYTES_PER_CYCLE, tensor_cycles)
