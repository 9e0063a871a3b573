"""How soon and how often each killable mutant is seen, in each kind of environment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sbo_verify.harness.environments import Source
from sbo_verify.harness.knobs import Knobs, draw, draw_dense, generator
from sbo_verify.harness.power import Sightings
from sbo_verify.harness.runner import Bench
from sbo_verify.harness.search import Counts
from sbo_verify.harness.sightings import sight
from sbo_verify.protocol import Row

ROUNDS = 3000
# Launches of these have names of their own, apart from those of a stress.
FIRST_INDEX = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One mutant: its sightings over seeds, and its counts by `Source`."""

    sightings: Sightings
    counts: dict[str, Counts]

    def to_json(self) -> dict[str, Any]:
        """Plain values, what was worked out of them too."""
        return {
            **asdict(self.sightings),
            "median": self.sightings.median,
            "late": self.sightings.late,
            "kills_a_second": self.sightings.kills_a_second,
            "counts": {name: asdict(each) for name, each in self.counts.items()},
        }


def measure(
    bench: Bench, rows: Sequence[Row], seeds: Sequence[int], *, within: float, launches: int
) -> Iterator[Mutant]:
    """Every row under every seed until it is seen or `within` GPU seconds are used; then counts.

    The counts are of `launches` launches for each kind of environment, of the first seed.
    """
    for row in rows:
        seen = list(sight(bench, [row], seeds, within))
        sightings = Sightings(
            row=row.name,
            seconds=[each.seconds for each in seen],
            used=sum(each.used for each in seen),
        )
        yield Mutant(sightings=sightings, counts=_counts(bench, row, seeds[0], launches))


def _counts(bench: Bench, row: Row, seed: int, launches: int) -> dict[str, Counts]:
    own = [each.knobs for each in bench.tuned if each.row == row.name]
    counts: dict[str, Counts] = {}
    index = FIRST_INDEX
    for source in Source:
        made = []
        for _ in range(launches):
            knobs = _knobs(source, row, seed, index, own)
            if knobs is not None:
                short = replace(knobs, rounds=min(knobs.rounds, ROUNDS))
                made.append(bench.launch_in(row, seed, index, short, source.value))
            index += 1
        if made:
            counts[source.value] = Counts.of(made)
    return counts


def _knobs(source: Source, row: Row, seed: int, index: int, own: Sequence[Knobs]) -> Knobs | None:
    rng = generator(seed, f"{source.value} {row.name}", index)
    if source is Source.TUNED:
        return own[index % len(own)] if own else None
    return draw_dense(rng) if source is Source.DENSE else draw(rng)
