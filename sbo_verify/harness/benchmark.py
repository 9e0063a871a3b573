"""How many hand-overs a second the micro-kernel observes, and what share of bandwidth that is.

A hand-over writes a tile once and reads it once, so it moves twice the tile's bytes. The share is
taken of a device-to-device copy over memory larger than L2, measured in the same process and
counting bytes read plus bytes written. A copy that stays inside L2 is no measure of L2: it ends
so soon that its launch is what is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from sbo_verify.device.gpu import RESERVED_SHARED_BYTES, SM_SHARED_BYTES
from sbo_verify.device.micro_kernel import Arena
from sbo_verify.harness.runner import Bench
from sbo_verify.protocol import Row

TILES_BYTES = (4096, 16384, 65536)
CTAS_PER_SM = (1, 2, 4, 8)
NOISE_SHARES = (0.0, 0.2, 0.4)
LAUNCHES = 5
COPIES = 20
COPY_BYTES = 1 << 30
FIXED = {
    "noise": "store",
    "noise_bytes": str(1 << 30),
    "ring": "32",
    "threads": "128",
    "spread": "scattered",
    "in_flight": "2",
    "rounds": "3000",
    "prime_l1": "false",
    "read_order": "tail_first",
    "producer_skew_cycles": "0",
    "consumer_skew_cycles": "0",
    "warp_skew_cycles": "0",
    "delay_before_publish_cycles": "0",
    "delay_after_poll_cycles": "0",
}


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """One cell: medians over launches. Bandwidths in bytes a second."""

    row: str
    tile_bytes: int
    ctas_per_sm: int
    noise_share: float
    observations_per_second: float
    lowest: float
    highest: float
    bytes_per_second: float
    share_of_hbm_copy: float
    stale_tiles: int


def copy_bandwidth(arena: Arena, size: int) -> float:
    """Bytes read plus written a second by a device-to-device copy of `size` bytes."""
    cupy = arena.cupy
    source = cupy.zeros(size, dtype=cupy.uint8)
    target = cupy.empty_like(source)
    times = []
    for _ in range(COPIES):
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        target[...] = source
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(start, end) * 1e-3)
    return 2 * size / float(median(times))


def benchmark(bench: Bench, row: Row, seed: int) -> Iterator[Throughput]:
    """Every tile size, CTA count and share of noise that fits, one after the other."""
    hbm = copy_bandwidth(bench.arena, COPY_BYTES)
    for tile_bytes in TILES_BYTES:
        for ctas in CTAS_PER_SM:
            if tile_bytes * ctas > _room(bench, row, ctas):
                continue
            for share in NOISE_SHARES:
                yield _cell(bench, row, seed, (tile_bytes, ctas, share), hbm)


def _room(bench: Bench, row: Row, ctas_per_sm: int) -> int:
    """Shared memory that tiles of all CTAs of one SM may take together, in bytes."""
    kernel = bench.kernel(row)
    kept = (kernel.static_shared + RESERVED_SHARED_BYTES) * ctas_per_sm
    return (SM_SHARED_BYTES - kept) // kernel.geometry.buffers()


def _cell(
    bench: Bench,
    row: Row,
    seed: int,
    shape: tuple[int, int, float],
    hbm: float,
) -> Throughput:
    tile_bytes, ctas, share = shape
    fixed = FIXED | {
        "tile_bytes": str(tile_bytes),
        "ctas_per_sm": str(ctas),
        "noise_share": str(share),
    }
    bench.launch(row, seed, 0, fixed)
    launches = [bench.launch(row, seed, index, fixed) for index in range(1, LAUNCHES + 1)]
    rates = sorted(each.observations / each.elapsed_seconds for each in launches)
    rate = median(rates)
    moved = 2 * tile_bytes * rate
    return Throughput(
        row=row.name,
        tile_bytes=tile_bytes,
        ctas_per_sm=ctas,
        noise_share=share,
        observations_per_second=rate,
        lowest=rates[0],
        highest=rates[-1],
        bytes_per_second=moved,
        share_of_hbm_copy=moved / hbm,
        stale_tiles=sum(each.stale_tiles for each in launches),
    )
