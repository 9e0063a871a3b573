"""The micro-kernel's tiles in pinned memory of the host, read by CTAs across the bus."""

from __future__ import annotations

import pytest

from sbo_verify.harness.runner import Bench
from sbo_verify.protocols import PROTOCOLS

pytestmark = pytest.mark.silicon

PROTOCOL = PROTOCOLS["signal_publish"]
PINNED = {"memory": "pinned", "rounds": "100", "noise_share": "0.2", "tile_bytes": "4096"}
SEED = 20


@pytest.mark.parametrize(
    "name", ["full_wait-atom_release", "read_tma-proxy_fence", "generic_store-release"]
)
def test_a_sound_hand_over_across_the_bus_is_observed_and_never_stale(
    bench: Bench, name: str
) -> None:
    launch = bench.launch(PROTOCOL.row(name), SEED, 0, PINNED)
    assert launch.knobs["memory"] == "pinned"
    assert launch.fault is None
    assert launch.observations == launch.planned
    assert launch.stale_tiles == launch.ahead_words == 0


def test_a_planted_violation_is_counted_across_the_bus(bench: Bench) -> None:
    planted = {"plant_one_in": "20", "plant_held": "true", "ring": "8", "in_flight": "1"}
    row = PROTOCOL.row("full_wait-atom_release")
    launch = bench.launch(row, SEED, 0, PINNED | planted)
    assert launch.fault is None
    assert launch.stale_tiles == launch.planted > 0


def test_tiles_on_the_gpu_follow_tiles_on_the_host_with_no_word_of_either(bench: Bench) -> None:
    """Tags go on from pool to pool: what lies in one is older than what comes in the other."""
    row = PROTOCOL.row("full_wait-atom_release")
    for memory in ("device", "pinned", "device"):
        launch = bench.launch(row, SEED, 1, PINNED | {"memory": memory})
        assert (launch.fault, launch.stale_tiles, launch.ahead_words) == (None, 0, 0)
