"""The detector itself on silicon: it fires, it counts right, and it never hangs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sbo_verify.harness.runner import Bench
from sbo_verify.harness.tally import tally
from sbo_verify.protocol import Row
from sbo_verify.protocols import PROTOCOLS
from sbo_verify.record import Launch
from sbo_verify.verdict import SiliconVerdict

pytestmark = pytest.mark.silicon

PROTOCOL = PROTOCOLS["signal_publish"]
CALM = {"rounds": "200", "noise_share": "0.2"}
SEED = 20


def _launch(bench: Bench, name: str, **knobs: object) -> Launch:
    fixed = CALM | {knob: str(value) for knob, value in knobs.items()}
    return bench.launch(PROTOCOL.row(name), SEED, 0, fixed)


def test_a_threshold_that_never_comes_is_a_named_result(bench: Bench) -> None:
    launch = _launch(bench, "full_wait-atom_release", withheld_round=50, timeout_ms=400)
    assert launch.fault is not None
    assert launch.fault["what"] == "threshold never reached"
    assert launch.fault["waiter"] == "consumer"
    assert launch.fault["round"] == 50
    assert launch.fault["seen"] == launch.fault["wanted"] - 1
    assert launch.observations < launch.planned
    assert tally([launch]).word is SiliconVerdict.THRESHOLD_NEVER_REACHED


@pytest.mark.parametrize("name", ["poll_equal", "full_wait-atom_release"])
def test_a_signal_that_overshoots_is_a_named_result(bench: Bench, name: str) -> None:
    launch = _launch(bench, name, doubled_round=50)
    assert launch.fault is not None
    assert launch.fault["what"] == "signal overshot"
    assert launch.fault["seen"] == launch.fault["wanted"] + 1
    assert tally([launch]).word is SiliconVerdict.OVERSHOT


def test_a_launch_that_outlives_its_limit_is_stopped_and_recorded(bench: Bench) -> None:
    row = PROTOCOL.row("full_wait-atom_release")
    fixed = CALM | {"withheld_round": "50", "timeout_ms": "10000"}
    kernel, shot = bench.shot(row, SEED, 0, fixed)
    # The host's patience ends long before the kernel's own bound.
    raw = kernel.run(replace(shot, limit_seconds=0.2))
    assert raw.hung
    assert raw.elapsed_seconds < 5


def test_read_and_full_wait_are_told_apart_on_silicon(bench: Bench) -> None:
    """The issuing thread reads its own tile back, its old lines being in the SM's L1."""
    sizes = {"prime_l1": True, "tile_bytes": 4096, "threads": 256, "ctas_per_sm": 2}
    read = _launch(bench, "readback-read_wait", **sizes)
    full = _launch(bench, "readback-full_wait", **sizes)
    assert read.stale_tiles > 0
    assert full.stale_tiles == 0
    assert full.observations == full.planned


@pytest.mark.parametrize(
    ("name", "tile_bytes", "ctas"),
    [
        ("full_wait-atom_release", 256, 4),
        ("full_wait-atom_release", 16384 + 256, 2),
        ("full_wait-atom_release", 226 * 1024, 1),
        ("triton-single_issuer-full_wait-release", 128, 2),
        ("bulk_1d-full_wait-release", 16, 2),
        ("bulk_1d-full_wait-release", 48, 1),
        ("generic_store-release", 16, 2),
        ("generic_store-release", 4080, 4),
        ("read_tma-proxy_fence", 1280, 2),
        ("deferred-newest_pending-release", 16384, 2),
        ("producer_cta-other_warps", 4096, 2),
    ],
)
def test_every_hand_over_is_observed_at_odd_sizes(
    bench: Bench, name: str, tile_bytes: int, ctas: int
) -> None:
    launch = _launch(bench, name, tile_bytes=tile_bytes, ctas_per_sm=ctas, ring=3)
    assert launch.fault is None
    assert launch.observations == launch.planned
    assert launch.stale_tiles == launch.ahead_words == launch.overshoots == 0


def test_witnesses_and_histogram_agree_with_the_counts(bench: Bench) -> None:
    launch = _launch(bench, "no_wait-relaxed", noise="store", noise_share=0.4, rounds=2000)
    assert launch.stale_tiles > 0
    assert sum(launch.histogram) == launch.stale_words
    assert launch.witnesses
    tile_bytes = launch.knobs["tile_bytes"]
    for witness in launch.witnesses:
        assert witness["seen"] < witness["expected"]
        assert witness["offset_bytes"] < tile_bytes
        assert witness["producer_sm"] != witness["consumer_sm"]
        assert witness["signal"] >= 1


def test_a_launch_draws_the_same_knobs_when_it_is_repeated(bench: Bench) -> None:
    row: Row = PROTOCOL.row("no_wait-relaxed")
    first, again = (bench.launch(row, SEED, 4) for _ in range(2))
    assert first.knobs == again.knobs
    assert first.planned == again.planned
