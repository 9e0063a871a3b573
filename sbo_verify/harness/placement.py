"""Which SMs (or clusters) produce, consume or make noise: drawn, and checked afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sbo_verify.device.geometry import Geometry
from sbo_verify.device.layout import PLACE_ENTRY, Role


class PlacementError(ValueError):
    """Too few SMs for one pair with the noise asked for; the message says what would fit."""


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
) -> Placement:
    """Draw roles for all units of the GPU: SMs, or clusters of two SMs.

    Producers and consumers of a pair are different units unless the variant puts both into one.
    Raises `PlacementError` when no pair is left, `GeometryError` for a CTA count that forms none.
    """
    geometry.check_ctas(ctas_per_sm)
    clustered = geometry.cluster > 1
    units = resident_clusters if clustered else sm_count
    units_per_pair_set = 1 if geometry.in_one_cta or geometry.reads_back or geometry.same_sm else 2
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
    order = rng.permutation(units)
    for index in range(sets):
        first_pair = index * pairs_per_set
        if units_per_pair_set == 1:
            role = Role.BOTH if geometry.same_sm else Role.PRODUCER
            entries[order[index]] = (role, first_pair)
        else:
            entries[order[2 * index]] = (Role.PRODUCER, first_pair)
            entries[order[2 * index + 1]] = (Role.CONSUMER, first_pair)
    return Placement(
        entries=entries,
        pairs=sets * pairs_per_set,
        noise_sms=(units - sets * units_per_pair_set) * geometry.cluster,
        grid=units * (geometry.cluster if clustered else ctas_per_sm),
        cluster=geometry.cluster,
    )


def misplaced(geometry: Geometry, pair_sms: np.ndarray[Any, np.dtype[np.uint32]]) -> list[str]:
    """What the kernel reported of its SMs that contradicts the variant's place; empty if nothing.

    `pair_sms` has one row a pair: the producer's SM and the consumer's.
    """
    if geometry.in_one_cta or geometry.reads_back:
        return []
    same = pair_sms[:, 0] == pair_sms[:, 1]
    wrong = np.flatnonzero(~same if geometry.same_sm else same)
    wanted = "one SM" if geometry.same_sm else "two SMs"
    return [
        f"pair {pair} was to be on {wanted} and ran on {pair_sms[pair, 0]} and {pair_sms[pair, 1]}"
        for pair in wrong
    ]
