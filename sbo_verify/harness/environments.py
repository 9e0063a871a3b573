"""Where the knobs of a launch come from: drawn fresh, tuned to a mutant, or dense.

Fresh draws look where nobody has looked. Tuned environments are those in which `sbo-verify search`
found a mutant most often; they are kept in `environments.json` with what they showed. Dense ones
observe most hand-overs a second. Every launch takes one of the three at random, in stated shares,
from its own generator: so it stays exactly repeatable by (row, seed, index) at one commit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from sbo_verify.harness.knobs import KnobError, Knobs, draw, draw_dense, weighted
from sbo_verify.protocol import Row

KEPT = Path(__file__).with_name("environments.json")
VERSION_DIGITS = 12


class Source(StrEnum):
    """What the knobs of a launch are."""

    FRESH = "fresh"
    TUNED = "tuned"
    DENSE = "dense"


# Shares of the launches. A sound row earns its bound by many observations; of a broken one, the
# first sighting ends its stress, so that most of its launches are those that show it soonest.
SOUND_SHARES = {Source.DENSE: 7, Source.TUNED: 2, Source.FRESH: 1}
BROKEN_SHARES = {Source.DENSE: 1, Source.TUNED: 2, Source.FRESH: 2}


class EnvironmentsError(ValueError):
    """A file of environments that cannot be used; the message says which entry and why."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Knobs in which a mutant was seen, and how often it was there, in launches of their own seed.

    `stale` of `observations` hand-overs in `launches` launches of `seconds` GPU time together;
    `killed` of the launches saw at least one stale tile.
    """

    row: str
    variant: str
    knobs: Knobs
    stale: int
    observations: int
    seconds: float
    launches: int
    killed: int

    @property
    def rate(self) -> float:
        """Stale tiles in a hand-over."""
        return self.stale / self.observations

    @property
    def death_rate(self) -> float:
        """Stale tiles a second of GPU time."""
        return self.stale / self.seconds

    def to_json(self) -> dict[str, Any]:
        """Plain values, of the knobs those that are not as by default; `from_json` undoes it."""
        usual = Knobs().to_json()
        knobs = {
            name: value for name, value in self.knobs.to_json().items() if value != usual[name]
        }
        return {**asdict(self), "knobs": knobs}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Environment:
        """The environment in `data`; raises `EnvironmentsError` for one that shows nothing."""
        try:
            made = cls(**{**data, "knobs": Knobs.from_json(data["knobs"])})
        except (TypeError, KeyError, KnobError) as error:
            message = f"the environment of {data.get('row')!r} cannot be read: {error}"
            raise EnvironmentsError(message) from error
        counts = (0 < made.stale <= made.observations) and 0 < made.killed <= made.launches
        if not counts or made.seconds <= 0:
            message = f"the environment of {made.row!r} has no evidence: {made.stale} stale tiles"
            raise EnvironmentsError(message)
        if (
            made.knobs.plant_one_in
            or made.knobs.withheld_round >= 0
            or made.knobs.doubled_round >= 0
            or made.knobs.absent_consumer >= 0
        ):
            message = f"the environment of {made.row!r} injects a fault"
            raise EnvironmentsError(message)
        return made


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The environments that are kept. `settings` says which GPU, commit and seed they are of."""

    settings: dict[str, Any]
    environments: tuple[Environment, ...]

    @property
    def killable(self) -> frozenset[str]:
        """The mutants that were once seen killed."""
        return frozenset(each.row for each in self.environments)

    @property
    def version(self) -> str:
        """A hash of the knobs that can be chosen: launches of one version choose alike."""
        knobs = [(each.row, each.knobs.to_json()) for each in self.environments]
        return hashlib.sha256(json.dumps(knobs).encode()).hexdigest()[:VERSION_DIGITS]


def read(path: Path) -> Kept:
    """The environments in a file that `sbo-verify search` wrote.

    Raises `EnvironmentsError` for a file that is not one.
    """
    try:
        data = json.loads(path.read_text())
        found = tuple(Environment.from_json(each) for each in data["environments"])
        settings = dict(data["settings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{path} holds no environments: {error}"
        raise EnvironmentsError(message) from error
    return Kept(settings=settings, environments=found)


@cache
def kept() -> Kept:
    """The environments that this version carries."""
    return read(KEPT)


def choose(rng: np.random.Generator, row: Row, tuned: Sequence[Environment]) -> tuple[Knobs, str]:
    """The knobs of one launch of `row`, and the words that say where they came from.

    A mutant has its own tuned environments before those of others; a sound row has all.
    """
    source = weighted(rng, SOUND_SHARES if row.sound else BROKEN_SHARES)
    if source is Source.TUNED and tuned:
        own = [each for each in tuned if each.row == row.name] or list(tuned)
        chosen = own[int(rng.integers(len(own)))]
        return chosen.knobs, f"{Source.TUNED.value} for {chosen.row}"
    if source is Source.DENSE:
        return draw_dense(rng), Source.DENSE.value
    return draw(rng), Source.FRESH.value
