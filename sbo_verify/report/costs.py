"""What a variant's cost is read from: a benchmark given beside the run, or the run's own rounds."""

from __future__ import annotations

from sbo_verify.harness.beside import Beside
from sbo_verify.harness.digest import FEWEST_LAUNCHES, Details

IN_BENCHMARK = "what the signal adds to the GEMM, in percent of its plain time"
IN_RUN = "GPU time of a round of one pair, in us"


def cost_told(details: Details, beside: Beside) -> str:
    """What the columns of cost hold, and where it comes from."""
    made = beside.sources.get("costs")
    if made is not None:
        return (
            "cost: what the variant's signal adds to the plain GEMM's kernel time, median over the "
            f"shapes measured; from {made}"
        )
    size = quiet_tile(details)
    if size is not None:
        return (
            f"cost us: GPU time of one round of a pair of the micro-kernel with tiles of {size:,} "
            "bytes, median over the launches of this run without noise and delays, where there are "
            f"at least {FEWEST_LAUNCHES}; cost %: not measured, since no benchmark was given"
        )
    return "cost: not measured; no benchmark was given, and too few launches had no noise"


def quiet_tile(details: Details) -> int | None:
    """The size of tile for which most rows have a quiet round's time; None where none has."""
    sizes = [time.tile_bytes for each in details.digests.values() for time in each.rounds]
    return max(sorted(set(sizes)), key=sizes.count, default=None)


def cost_of(row: str, details: Details, beside: Beside) -> tuple[float | None, float | None]:
    """Microseconds and share of what `cost_told` says; None where it was not measured."""
    if beside.costs:
        cost = beside.costs.get(row)
        return (None, None) if cost is None else (cost.microseconds, cost.share)
    size, digest = quiet_tile(details), details.digests.get(row)
    times = [] if digest is None else [each for each in digest.rounds if each.tile_bytes == size]
    return (times[0].microseconds if times else None), None
