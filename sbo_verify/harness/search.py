"""Looks for the environment in which a mutant is seen most often: at random, then step by step.

The score of an environment is its death rate, stale tiles a second of GPU time (MC Mutants, ASPLOS
2023). Fresh draws are tried first; the best of them is then changed a knob or two at a time, and a
change is kept where it scores higher. What the search saw it chose by, so the evidence that is kept
comes from launches of their own afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from sbo_verify.harness.environments import Environment
from sbo_verify.harness.knobs import Knobs, TileMemory, draw, draw_dense, generator, weighted
from sbo_verify.harness.runner import Bench
from sbo_verify.protocol import Row
from sbo_verify.record import Launch

# A launch of the search: long enough for a few hundred thousand hand-overs.
ROUNDS = 1500
# Waits are told from hangs soon: a poll that never sees its signal is a result, and a slow one.
TIMEOUT_MS = 200
MOST_FAULTS = 2
FINALISTS = 4
CHECKS = 4
EVIDENCE = 6
# Knobs that a step may draw anew; the others say how a launch is run, or inject faults.
CHANGED = (
    *("noise", "noise_share", "noise_bytes", "tile_bytes", "ring", "threads", "ctas_per_sm"),
    *("spread", "consumers", "in_flight", "prime_l1", "read_order", "producer_skew_cycles"),
    *("consumer_skew_cycles", "warp_skew_cycles", "delay_before_publish_cycles"),
    *("delay_after_poll_cycles", "memory"),
)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What some launches of one row showed together."""

    launches: int = 0
    killed: int = 0
    stale: int = 0
    observations: int = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, launches: Sequence[Launch]) -> Counts:
        """The sums over `launches`."""
        return cls(
            launches=len(launches),
            killed=sum(each.stale_tiles > 0 for each in launches),
            stale=sum(each.stale_tiles for each in launches),
            observations=sum(each.observations for each in launches),
            seconds=sum(each.elapsed_seconds for each in launches),
        )

    @property
    def death_rate(self) -> float:
        """Stale tiles a second of GPU time; 0.0 without any time."""
        return self.stale / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, kw_only=True)
class Found:
    """The search for one mutant: fresh draws before, the best environment after, if it was seen."""

    row: str
    before: Counts
    tried: int
    fault: str
    best: Environment | None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        best = None if self.best is None else self.best.to_json()
        return {**asdict(self), "best": best}


def search(
    bench: Bench, rows: Sequence[Row], seed: int, *, draws: int, steps: int
) -> Iterator[Found]:
    """Search for each of `rows`: `draws` fresh draws, then `steps` changes of the best."""
    for row in rows:
        yield _Search(bench, row, seed).run(draws, steps)


@dataclass
class _Search:
    bench: Bench
    row: Row
    seed: int
    index: int = 0
    faults: int = 0
    fault: str = ""

    def run(self, draws: int, steps: int) -> Found:
        first: list[Launch] = []
        tried: list[tuple[float, Knobs]] = []
        for number in range(draws):
            # One in four is dense: the gate has those, too.
            rng = generator(self.seed, f"search {self.row.name}", number)
            knobs = draw_dense(rng) if number % 4 == 3 else draw(rng)  # noqa: PLR2004 - see above
            launch = self._launch(knobs)
            if launch is None:
                break
            first.append(launch)
            tried.append((_score(launch), Knobs.from_json(launch.knobs)))
        for number in range(steps if tried and self.faults < MOST_FAULTS else 0):
            rng = generator(self.seed, f"step {self.row.name}", number)
            best = max(tried, key=lambda each: each[0])
            launch = self._launch(changed(best[1], rng) if best[0] else draw(rng))
            if launch is None:
                break
            tried.append((_score(launch), Knobs.from_json(launch.knobs)))
        return Found(
            row=self.row.name,
            before=Counts.of(first),
            tried=len(tried),
            fault=self.fault,
            best=self._evidence(tried),
        )

    def _evidence(self, tried: list[tuple[float, Knobs]]) -> Environment | None:
        """The best of the finalists by launches of their own, and what it showed in yet others."""
        finalists = sorted((each for each in tried if each[0]), key=lambda each: -each[0])
        again = [(self._counts(knobs, CHECKS), knobs) for _, knobs in finalists[:FINALISTS]]
        if not again:
            return None
        # A mutant that is seen in bursts is worth more where every launch sees it.
        knobs = max(again, key=lambda each: (each[0].killed, each[0].death_rate))[1]
        counts = self._counts(knobs, EVIDENCE)
        if not counts.stale:
            return None
        return Environment(
            row=self.row.name,
            variant=self.bench.protocol.hash_of(self.row.variant),
            knobs=replace(knobs, timeout_ms=Knobs().timeout_ms),
            **asdict(counts),
        )

    def _counts(self, knobs: Knobs, launches: int) -> Counts:
        made = [self._launch(knobs) for _ in range(launches)]
        return Counts.of([each for each in made if each is not None])

    def _launch(self, knobs: Knobs) -> Launch | None:
        """One more launch; None once faults have shown that there is nothing to search."""
        if self.faults >= MOST_FAULTS:
            return None
        short = replace(knobs, rounds=ROUNDS, timeout_ms=TIMEOUT_MS)
        launch = self.bench.launch_in(self.row, self.seed, self.index, short, "search")
        self.index += 1
        if launch.fault is not None:
            self.faults += 1
            self.fault = launch.fault["what"]
        return launch


def changed(knobs: Knobs, rng: np.random.Generator) -> Knobs:
    """Some knobs with one or two drawn anew."""
    other = draw(rng)
    names = rng.choice(CHANGED, size=int(rng.integers(1, 3)), replace=False)
    # No launch draws pinned memory by itself.
    other = replace(other, memory=weighted(rng, {TileMemory.DEVICE: 1, TileMemory.PINNED: 1}))
    return replace(knobs, **{str(name): getattr(other, str(name)) for name in names})


def _score(launch: Launch) -> float:
    return launch.stale_tiles / launch.elapsed_seconds if launch.elapsed_seconds else 0.0
