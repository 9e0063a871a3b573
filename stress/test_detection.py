"""The detector's power on silicon: planted violations are all counted, mutants are killed."""

from __future__ import annotations

import pytest

from sbo_verify.harness.environments import kept
from sbo_verify.harness.planted import plant
from sbo_verify.harness.runner import Bench
from sbo_verify.protocols import PROTOCOLS
from sbo_verify.verdict import SiliconVerdict, classify

pytestmark = pytest.mark.silicon

PROTOCOL = PROTOCOLS["signal_publish"]
SEED = 40
# A right detector fails once in this many runs of each test.
ONCE_IN = 100_000
FEWEST_MUTANTS, TOLERATED_MUTANTS = 20, 2


@pytest.mark.parametrize(
    ("one_in", "observations", "repetitions"),
    [(10_000, 10_000, 60), (1_000_000, 1_000_000, 60), (100_000_000, 100_000_000, 2)],
)
def test_planted_violations_are_found_as_often_as_the_stated_power_says(
    bench: Bench, one_in: int, observations: int, repetitions: int
) -> None:
    row = PROTOCOL.row("full_wait-atom_release")
    (found,) = plant(bench, row, SEED, [(one_in, observations, repetitions)])
    assert found.doubts == []
    assert found.stale == found.planted
    assert found.p_value > 1 / ONCE_IN


@pytest.mark.parametrize(
    "name",
    [
        "bulk_1d-full_wait-release",
        "generic_store-release",
        "flashinfer-deferred_by_one_tile",
        "full_wait-st_release",
        "full_wait-release_by_cluster_peer",
        "producer_cta-other_warps",
        "same_sm",
        "read_tma-proxy_fence",
    ],
)
def test_every_planted_violation_is_seen_whatever_the_variant(bench: Bench, name: str) -> None:
    (found,) = plant(bench, PROTOCOL.row(name), SEED, [(1000, 100_000, 3)])
    assert found.doubts == []
    assert found.stale == found.planted > 0


def test_a_planted_violation_makes_a_sound_row_fail(bench: Bench) -> None:
    fixed = {"plant_one_in": "100", "plant_held": "true", "rounds": "500"}
    launch = bench.launch(PROTOCOL.row("full_wait-atom_release"), SEED, 0, fixed)
    assert launch.planted == launch.stale_tiles > 0
    assert classify(launch.stale_tiles, launch.observations) is SiliconVerdict.SOMETIMES


@pytest.mark.long
def test_mutants_are_seen_in_the_environments_that_are_kept_for_them(bench: Bench) -> None:
    """One launch each; those that a launch of the search saw every time, but for very few."""
    sure = [each for each in kept().environments if each.killed == each.launches]
    assert len(sure) >= FEWEST_MUTANTS
    unseen = []
    for index, each in enumerate(sure):
        launch = bench.launch_in(PROTOCOL.row(each.row), SEED, index, each.knobs)
        assert launch.fault is None
        if launch.stale_tiles == 0:
            unseen.append(each.row)
    assert len(unseen) <= TOLERATED_MUTANTS, unseen
