"""How soon each mutant is seen: seconds of GPU time to its first stale tile, over many seeds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sbo_verify.harness.runner import Bench
from sbo_verify.protocol import Row


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """One mutant under one seed. `seconds` is None where it stayed unseen within the limit.

    `used` are the GPU seconds that its launches took, seen or not.
    """

    row: str
    seed: int
    seconds: float | None
    observations: int
    stale: int
    fault: str
    used: float


def sight(
    bench: Bench, rows: Iterable[Row], seeds: Iterable[int], within_seconds: float
) -> Iterator[Sighting]:
    """Stress every row under every seed until its first stale tile or the limit.

    The last launch may begin before the limit and end after it; what it shows counts only if it
    ended in time.
    """
    chosen = list(seeds)
    for row in rows:
        for seed in chosen:
            yield _sight_once(bench, row, seed, within_seconds)


def _sight_once(bench: Bench, row: Row, seed: int, within_seconds: float) -> Sighting:
    used, observations, stale, fault = 0.0, 0, 0, ""
    for launch in bench.stress(row, seed, seconds=within_seconds, until_stale=1):
        used += launch.elapsed_seconds
        observations += launch.observations
        stale += launch.stale_tiles
        if launch.fault is not None:
            fault = launch.fault["what"]
    seen = stale > 0 and used <= within_seconds
    return Sighting(
        row=row.name,
        seed=seed,
        seconds=used if seen else None,
        observations=observations,
        stale=stale,
        fault=fault,
        used=used,
    )
