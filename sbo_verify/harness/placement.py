"""Which SMs (or clusters) produce, consume or make noise: drawn, and checked afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from sbo_verify.device.geometry import Geometry
from sbo_verify.device.layout import PLACE_ENTRY, Role

_COUNTS = {2: "two", 3: "three", 4: "four", 5: "five"}


class PlacementError(ValueError):
    """Too few SMs for one pair with the noise asked for; the message says what would fit."""


class Spread(IntEnum):
    """Which SMs hand over, by their numbers: 2k and 2k+1 share a TPC on the chips that were seen.

    SCATTERED: any. ONE_TPC: a pair's producer and its first consumer are neighbours. APART: as far
    as they go round, one SM of each TPC, so that what makes noise sits beside what hands over.
    """

    SCATTERED = 0
    ONE_TPC = 1
    APART = 2


@dataclass(frozen=True)
class Placement:
    """Roles of one launch. `entries[i]` is for SM i, or for cluster i where clusters are used."""

    entries: np.ndarray[Any, np.dtype[np.void]]
    pairs: int
    noise_sms: int
    grid: int
    cluster: int


def place(  # noqa: PLR0913 - a launch has this many dimensions
    geometry: Geometry,
    *,
    sm_count: int,
    resident_clusters: int,
    ctas_per_sm: int,
    noise_share: float,
    rng: np.random.Generator,
    spread: Spread = Spread.SCATTERED,
    consumers: int = 1,
) -> Placement:
    """Draw roles for all units of the GPU: SMs, or clusters of two SMs.

    The producer and the consumers of a pair are different units, unless the variant puts both into
    one. Clusters are placed by the GPU, so that `spread` says nothing of theirs.
    Raises `PlacementError` when no pair is left, `GeometryError` for a CTA count that forms none
    and for a number of consumers that the variant cannot have.
    """
    geometry.check_ctas(ctas_per_sm)
    geometry.check_consumers(consumers)
    clustered = geometry.cluster > 1
    units = resident_clusters if clustered else sm_count
    units_per_pair_set = 1 + consumers if geometry.on_two_sms else 1
    noise = min(round(units * noise_share), units - units_per_pair_set)
    sets = (units - noise) // units_per_pair_set
    if noise < 0 or sets < 1:
        message = f"{units} units of this GPU hold no pair; a pair takes {units_per_pair_set}"
        raise PlacementError(message)
    pairs_per_set = geometry.cluster if clustered else ctas_per_sm
    if geometry.same_sm:
        pairs_per_set //= 2
    entries = np.zeros(units, dtype=PLACE_ENTRY.dtype())
    entries["role"] = Role.NOISE
    order = _order(units, Spread.SCATTERED if clustered else spread, rng)
    for index in range(sets):
        first_pair = index * pairs_per_set
        if units_per_pair_set == 1:
            role = Role.BOTH if geometry.same_sm else Role.PRODUCER
            entries[order[index]] = (role, first_pair, 0)
        else:
            entries[order[2 * index]] = (Role.PRODUCER, first_pair, 0)
            entries[order[2 * index + 1]] = (Role.CONSUMER, first_pair, 0)
        # The first two of all pairs come first, so that neighbours stay neighbours.
        for consumer in range(1, consumers):
            unit = order[(1 + consumer) * sets + index]
            entries[unit] = (Role.CONSUMER, first_pair, consumer)
    return Placement(
        entries=entries,
        pairs=sets * pairs_per_set,
        noise_sms=(units - sets * units_per_pair_set) * geometry.cluster,
        grid=units * (geometry.cluster if clustered else ctas_per_sm),
        cluster=geometry.cluster,
    )


def _order(
    units: int, spread: Spread, rng: np.random.Generator
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """All units, in the order in which they are given roles; noise takes the last."""
    if spread is Spread.SCATTERED:
        return rng.permutation(units)
    twos = 2 * rng.permutation(units // 2)
    if spread is Spread.ONE_TPC:
        order = np.stack([twos, twos + 1], axis=1).ravel()
    else:
        first = rng.integers(2, size=twos.size)
        order = np.concatenate([twos + first, twos + 1 - first])
    return np.append(order, np.arange(order.size, units))


def misplaced(geometry: Geometry, pair_sms: np.ndarray[Any, np.dtype[np.uint32]]) -> list[str]:
    """What the kernel reported of its SMs that contradicts the variant's place; empty if nothing.

    `pair_sms` has one row a pair: the producer's SM and that of each consumer, all to be different
    where the variant does not put them into one place.
    """
    if geometry.in_one_cta or geometry.reads_back:
        return []
    ordered = np.sort(pair_sms, axis=1)
    same = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    wrong = np.flatnonzero(~same if geometry.same_sm else same)
    count = pair_sms.shape[1]
    wanted = "one SM" if geometry.same_sm else f"{_COUNTS.get(count, count)} SMs"
    return [
        f"pair {pair} was to be on {wanted} and ran on {' and '.join(map(str, pair_sms[pair]))}"
        for pair in wrong
    ]
