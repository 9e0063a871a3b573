"""The micro-kernel's tiles in pinned memory of the host: where they lie, and what that limits."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sbo_verify.device.micro_kernel import LAST_TAG, TILE_POOL_BYTES, Arena, ArenaError
from sbo_verify.device.pinned_pool import PINNED_POOL_BYTES, PinnedPool
from sbo_verify.harness.knobs import KnobError, Knobs, TileMemory, draw, generator
from sbo_verify.harness.runner import PINNED_LAUNCH_BYTES, fit_ring, geometry_of
from sbo_verify.harness.search import changed
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH

PUBLISHED = SIGNAL_PUBLISH.row("full_wait-atom_release")
DRAWN = [draw(generator(7, PUBLISHED.name, index)) for index in range(100)]
PAIRS = 264


class Pinned(bytearray):
    """Memory of the host with an address, as cupy gives it."""

    ptr = 4096


def cupy() -> tuple[Any, list[Pinned]]:
    """As much of cupy as the pool uses, and what it was asked for."""
    made: list[Pinned] = []

    def alloc(size: int) -> Pinned:
        made.append(Pinned(size))
        # What the driver gives may hold anything.
        made[-1][:16] = bytes(range(16))
        return made[-1]

    return SimpleNamespace(cuda=SimpleNamespace(alloc_pinned_memory=alloc)), made


def arena(library: object) -> Arena:
    """An arena on no GPU, of which the tiles in pinned memory alone are used."""
    made = object.__new__(Arena)
    vars(made).update(pinned=PinnedPool(library), _tiles=None, next_tag=1)
    return made


def test_pinned_memory_is_used_only_where_it_is_asked_for() -> None:
    assert {each.memory for each in DRAWN} == {TileMemory.DEVICE}
    assert Knobs().with_values({"memory": "pinned"}).memory is TileMemory.PINNED
    with pytest.raises(KnobError, match="knob memory is 'far'; allowed is one of device, pinned"):
        Knobs().with_values({"memory": "far"})


@pytest.mark.parametrize("fixed", [(), ("rounds",)])
def test_tiles_in_pinned_memory_fit_its_pool_and_the_bus(fixed: tuple[str, ...]) -> None:
    geometry = geometry_of(PUBLISHED)
    for knobs in DRAWN:
        far = fit_ring(replace(knobs, memory=TileMemory.PINNED), PAIRS, geometry, fixed)
        near = fit_ring(knobs, PAIRS, geometry)
        assert far.ring * PAIRS * far.tile_bytes <= PINNED_POOL_BYTES
        assert far.rounds <= near.rounds == knobs.rounds
        moved = far.rounds * PAIRS * far.tile_bytes
        assert far.rounds == knobs.rounds if fixed else moved <= PINNED_LAUNCH_BYTES


def test_a_search_tries_pinned_memory_too() -> None:
    rng = np.random.default_rng(3)
    seen = [changed(Knobs(), rng).memory for _ in range(400)]
    assert 0 < seen.count(TileMemory.PINNED) < len(seen) / 4


def test_the_pool_is_made_once_zeroed_and_shared_with_the_host() -> None:
    library, made = cupy()
    here = arena(library)
    assert here.tiles(1 << 20, pinned=True) == Pinned.ptr
    assert here.tiles(1 << 10, pinned=True) == Pinned.ptr
    assert [len(each) for each in made] == [PINNED_POOL_BYTES]
    assert not any(made[0][:16])
    here.pinned.words(8)[3] = 7
    assert made[0][12] == 7


def test_tiles_carry_no_tag_of_before_when_tags_begin_again() -> None:
    library, made = cupy()
    here = arena(library)
    here.tiles(1, pinned=True)
    here.pinned.words(4)[:] = LAST_TAG - 1
    here.next_tag = LAST_TAG - 5
    assert here.take_tags(10) == 1
    assert not any(made[0][:16])


@pytest.mark.parametrize(
    ("pinned", "allowed"), [(True, PINNED_POOL_BYTES), (False, TILE_POOL_BYTES)]
)
def test_more_tiles_than_a_pool_holds_are_refused(*, pinned: bool, allowed: int) -> None:
    library, made = cupy()
    with pytest.raises(ArenaError, match=f"allowed is {allowed}: fewer ring slots"):
        arena(library).tiles(allowed + 1, pinned=pinned)
    assert made == []
