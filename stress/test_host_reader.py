"""The reader on the host beside real producers: it sees what is broken, and nobody hangs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from sbo_verify.device.gpu import Gpu
from sbo_verify.harness.host_bench import HostBench
from sbo_verify.harness.tally import tally
from sbo_verify.protocol import Row
from sbo_verify.protocols.signal_publish.host import HOST_READER
from sbo_verify.rates import upper_bound
from sbo_verify.record import Launch
from sbo_verify.verdict import SiliconVerdict

pytestmark = pytest.mark.silicon

SOUND = HOST_READER.row("host-full_wait-red_release_sys")
EARLY = HOST_READER.row("host-signal_before_store")
SEED = 20
CALM = {"producer_sms": "16", "noise_sms": "0", "tile_bytes": "4096", "rounds": "100"}
# One CPU thread reads some hundred thousand tiles a second.
FLOOR = 20_000
SECONDS = 0.3
SOON_SECONDS = 10.0


@pytest.fixture(scope="module")
def host_bench(leased_gpu: Gpu) -> HostBench:
    return HostBench(HOST_READER, leased_gpu, os.environ.get("PYTEST_XDIST_WORKER", ""))


def launched(bench: HostBench, row: Row, **knobs: object) -> Launch:
    fixed = CALM | {name: str(value).lower() for name, value in knobs.items()}
    return bench.launch(row, SEED, 0, fixed)


def stressed(bench: HostBench, row: Row, *, observations: int = 0) -> list[Launch]:
    found = bench.stress(row, SEED, seconds=SECONDS, observations=observations)
    return list(found)


@pytest.mark.parametrize(
    "name", ["host-full_wait-red_release_sys", "host-full_wait-st_release_sys"]
)
def test_a_sound_hand_over_to_the_host_is_never_stale(host_bench: HostBench, name: str) -> None:
    counted = tally(stressed(host_bench, HOST_READER.row(name), observations=FLOOR))
    assert counted.word is SiliconVerdict.NEVER, counted.notes
    assert counted.observations >= FLOOR


def test_a_signal_before_its_tile_is_seen_by_the_host(host_bench: HostBench) -> None:
    # The store is behind its signal by up to some microseconds, as long as a look takes.
    launch = launched(host_bench, EARLY, warp_skew_cycles=20_000)
    assert launch.fault is None
    assert launch.observations == launch.planned
    assert launch.stale_tiles > 0
    assert sum(launch.histogram) == launch.stale_words
    for witness in launch.witnesses:
        assert witness["seen"] < witness["expected"]
        assert witness["consumer_sm"] == -1
        assert 0 <= witness["producer_sm"] < host_bench.gpu.sm_count


@pytest.mark.parametrize("row", [row for row in HOST_READER if not row.sound and row != EARLY])
def test_of_a_broken_hand_over_a_stale_tile_or_a_bound_is_told(
    row: Row, host_bench: HostBench, record_property: Callable[[str, object], None]
) -> None:
    """What the model allows and this chip may never show is no failure: the bound is recorded."""
    counted = tally([host_bench.launch(row, SEED, index) for index in range(1)])
    assert counted.word in {
        SiliconVerdict.NEVER,
        SiliconVerdict.SOMETIMES,
        SiliconVerdict.ALWAYS,
    }, counted.notes
    told = f"{counted.stale} stale of {counted.observations}"
    if not counted.stale:
        told += f", below {upper_bound(0, counted.observations):.1e}"
    record_property("host reader", f"{row.name}: {told}")


@pytest.mark.parametrize("tail_first", [True, False])
def test_every_planted_violation_is_counted(host_bench: HostBench, *, tail_first: bool) -> None:
    launch = launched(host_bench, SOUND, plant_one_in=20, plant_held=True, tail_first=tail_first)
    assert launch.fault is None
    assert launch.observations == launch.planned
    assert launch.stale_tiles == launch.planted > 0


def test_a_silent_host_is_a_named_fault_and_no_hang(host_bench: HostBench) -> None:
    began = time.monotonic()
    launch = launched(host_bench, SOUND, silent_round=30, timeout_ms=100)
    assert time.monotonic() - began < SOON_SECONDS
    assert launch.fault is not None
    assert launch.fault["what"] == "acknowledgement never came"
    assert launch.fault["waiter"] == "producer"
    assert launch.observations < launch.planned
    assert launch.stale_tiles == 0


def test_a_signal_that_never_comes_is_a_named_fault_and_no_hang(host_bench: HostBench) -> None:
    began = time.monotonic()
    launch = launched(host_bench, SOUND, withheld_round=30, timeout_ms=100)
    assert time.monotonic() - began < SOON_SECONDS
    assert launch.fault is not None
    assert launch.fault["what"] == "threshold never reached"
    assert launch.fault["waiter"] == "reader on the host"
    assert launch.fault["round"] == 30
    assert tally([launch]).word is SiliconVerdict.THRESHOLD_NEVER_REACHED
    # What a host that gave up left behind does not reach the next launch.
    after = launched(host_bench, SOUND)
    assert (after.fault, after.observations) == (None, after.planned)


def test_a_signal_that_comes_twice_is_a_named_fault(host_bench: HostBench) -> None:
    launch = launched(host_bench, SOUND, doubled_round=30)
    assert launch.fault is not None
    assert launch.fault["what"] == "signal overshot"
    assert launch.fault["seen"] == launch.fault["wanted"] + 1


@pytest.mark.parametrize(
    ("name", "tile_bytes", "ring"),
    [
        ("host-full_wait-red_release_sys", 256, 2),
        ("host-full_wait-red_release_sys", 226 * 1024, 3),
        ("host-bulk_1d-full_wait-release_sys", 48, 3),
        ("host-generic_store-release_sys", 16, 5),
    ],
)
def test_every_hand_over_is_observed_at_odd_sizes(
    host_bench: HostBench, name: str, tile_bytes: int, ring: int
) -> None:
    row = HOST_READER.row(name)
    launch = launched(host_bench, row, tile_bytes=tile_bytes, ring=ring, in_flight=2)
    assert launch.fault is None
    assert launch.observations == launch.planned
    assert launch.stale_tiles == launch.ahead_words == launch.overshoots == 0
