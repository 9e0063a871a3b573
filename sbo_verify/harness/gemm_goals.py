"""What was asked of each shape, whether it was reached, and measured facts of what holds it back.

Asked: faster than the producer beside it, plain; and a signal of at most 1 % by some variant that
is sound by the PTX model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sbo_verify.device.library_products import LIBRARIES
from sbo_verify.harness.gemm_benchmark import OWN, PLAIN, GemmTime, LoneTile
from sbo_verify.harness.gemm_limits import Sizes
from sbo_verify.protocols.signal_publish.combine import OVERLAP

LARGEST_RATIO = 1.0
LARGEST_COST = 0.01
# The published hand-over but for its release.
RELAXED = "full_wait-relaxed"
# With Combine Send on other SMs: a signal of CTA scope is no candidate, whoever else it serves.
SOUND = {row.name for row in OVERLAP if row.sound}


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One shape. Times in microseconds; None where what they come from was not measured.

    `plain_ratio` is the plain time over that of the producer `beside`. `variant` is the sound one
    with the cheapest signal, which `adds` so much, the share `costs`; `relaxed_adds` is what the
    same hand-over adds without a release, `lone_adds` what the variant adds to one tile alone.
    """

    groups: int
    m: int
    n: int
    k: int
    beside: str
    plain: float
    plain_ratio: float | None
    variant: str
    costs: float | None
    adds: float | None
    relaxed_adds: float | None
    lone_adds: float | None
    tiles: int
    waves: int
    bound: str
    of_limit: float
    of_measured_limit: float | None
    plain_reached: bool
    signal_reached: bool


def goals_of(cells: Sequence[GemmTime], lone: Sequence[LoneTile]) -> Iterator[Goal]:
    """The goals of every shape that the own plain GEMM was measured on."""
    for plain in cells:
        if (plain.producer, plain.variant) == (OWN, PLAIN):
            here = [cell for cell in cells if _sizes(cell) == _sizes(plain)]
            yield _goal(plain, here, lone)


def _goal(plain: GemmTime, here: Sequence[GemmTime], lone: Sequence[LoneTile]) -> Goal:
    own = {cell.variant: cell for cell in here if cell.producer == OWN}
    libraries = {library for library, _ in LIBRARIES}
    others = [
        cell for cell in here if cell.variant == PLAIN and cell.producer not in {OWN, *libraries}
    ]
    best = _cheapest(own.values())
    relaxed = own.get(RELAXED)
    ratio = plain.microseconds / others[0].microseconds if others else None
    return Goal(
        groups=plain.groups,
        m=plain.m,
        n=plain.n,
        k=plain.k,
        beside=others[0].producer if others else "",
        plain=plain.microseconds,
        plain_ratio=ratio,
        variant=best.variant if best else "",
        costs=best.costs if best else None,
        adds=best.microseconds - plain.microseconds if best else None,
        relaxed_adds=relaxed.microseconds - plain.microseconds if relaxed else None,
        lone_adds=_lone(plain, best, lone),
        tiles=plain.tiles,
        waves=plain.waves,
        bound=plain.bound,
        of_limit=plain.of_limit,
        of_measured_limit=plain.of_measured_limit,
        plain_reached=ratio is not None and ratio < LARGEST_RATIO,
        signal_reached=best is not None and (best.costs or 0.0) <= LARGEST_COST,
    )


def cheapest_signals(cells: Sequence[GemmTime]) -> list[str]:
    """The variants that are on some shape the cheapest sound one, each once."""
    own = [cell for cell in cells if cell.producer == OWN]
    found = [_cheapest(cell for cell in own if _sizes(cell) == sizes) for sizes in map(_sizes, own)]
    return list(dict.fromkeys(cell.variant for cell in found if cell is not None))


def _cheapest(cells: Iterable[GemmTime]) -> GemmTime | None:
    sound = [cell for cell in cells if cell.variant in SOUND]
    return min(sound, key=lambda cell: cell.microseconds, default=None)


def _lone(plain: GemmTime, best: GemmTime | None, lone: Sequence[LoneTile]) -> float | None:
    for tile in lone:
        same = (tile.kernel, tile.k) == (plain.kernel, plain.k)
        if best is not None and same and tile.variant == best.variant:
            return tile.adds_microseconds
    return None


def _sizes(cell: GemmTime) -> Sizes:
    return cell.groups, cell.m, cell.n, cell.k
