"""Several consumers of one signal: each sees every hand-over, and is missed if it stays away."""

from __future__ import annotations

import pytest

from sbo_verify.harness.runner import Bench
from sbo_verify.harness.tally import tally
from sbo_verify.protocols import PROTOCOLS
from sbo_verify.record import Launch
from sbo_verify.verdict import SiliconVerdict

pytestmark = pytest.mark.silicon

PROTOCOL = PROTOCOLS["signal_publish"]
CALM = {"rounds": "200", "noise_share": "0.2"}
SEED = 60
PUBLISHED = "full_wait-atom_release"


def _launch(bench: Bench, name: str, index: int = 0, **knobs: object) -> Launch:
    fixed = CALM | {knob: str(value) for knob, value in knobs.items()}
    return bench.launch(PROTOCOL.row(name), SEED, index, fixed)


@pytest.mark.parametrize("consumers", [2, 4])
@pytest.mark.parametrize(
    "name",
    [
        PUBLISHED,
        "full_wait-release_by_cluster_peer",
        "flashinfer-deferred_by_one_tile",
        "read_tma-proxy_fence",
        "full_wait-st_release",
    ],
)
def test_every_consumer_observes_every_hand_over(bench: Bench, name: str, consumers: int) -> None:
    # No slot more than the rounds in flight: one that is written too soon is read too new.
    launch = _launch(
        bench, name, consumers=consumers, in_flight=2, ring=3, consumer_skew_cycles=2000
    )
    assert launch.fault is None
    assert launch.observations == launch.planned == consumers * launch.hand_overs > 0
    assert launch.stale_tiles == launch.ahead_words == launch.overshoots == 0


def test_a_canary_is_seen_by_each_consumer(bench: Bench) -> None:
    seen: set[int] = set()
    for index in range(8):
        launch = _launch(bench, "no_wait-relaxed", index, consumers=3, rounds=1000, noise="store")
        assert launch.fault is None
        seen |= {witness["consumer"] for witness in launch.witnesses}
        if len(seen) == 3:
            break
    assert seen == {0, 1, 2}


def test_a_planted_violation_is_counted_by_all(bench: Bench) -> None:
    planted = {"plant_one_in": 100, "plant_held": True, "rounds": 1000}
    launch = _launch(bench, PUBLISHED, consumers=3, **planted)
    assert launch.fault is None
    assert launch.stale_tiles == 3 * launch.planted > 0
    assert tally([launch]).word is SiliconVerdict.SOMETIMES


@pytest.mark.parametrize("absent", [0, 2])
def test_a_consumer_that_does_not_come_is_named(bench: Bench, absent: int) -> None:
    launch = _launch(bench, PUBLISHED, consumers=3, absent_consumer=absent, timeout_ms=200)
    assert launch.fault is not None
    assert launch.fault["what"] == "acknowledgement never came"
    assert launch.fault["waiter"] == "consumer"
    assert launch.fault["consumer"] == absent
    assert (launch.fault["wanted"], launch.fault["seen"]) == (1, 0)
    assert launch.observations < launch.planned


def test_an_only_consumer_that_does_not_come_is_missed_by_its_producer(bench: Bench) -> None:
    launch = _launch(bench, PUBLISHED, consumers=1, absent_consumer=0, timeout_ms=200)
    assert launch.fault is not None
    assert launch.fault["what"] == "acknowledgement never came"
    assert (launch.fault["waiter"], launch.fault["seen"]) == ("producer", 0)


def test_a_signal_that_is_sent_to_nobody_is_no_consumers_fault(bench: Bench) -> None:
    launch = _launch(bench, PUBLISHED, consumers=3, withheld_round=50, timeout_ms=200)
    assert launch.fault is not None
    assert launch.fault["what"] == "threshold never reached"
    assert (launch.fault["waiter"], launch.fault["round"]) == ("consumer", 50)
