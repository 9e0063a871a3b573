"""Launches with a reader on the host: drawn within bounds, refused in words, recorded in full."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbo_verify import api
from sbo_verify.cli import main
from sbo_verify.device.geometry import GeometryError
from sbo_verify.device.host_launch import RawHostLaunch
from sbo_verify.device.host_reader import HostFault, HostWitness, Seen, WeakHostError
from sbo_verify.device.layout import COUNTERS, FAULT, FaultKind, Role
from sbo_verify.device.micro_kernel import RawLaunch
from sbo_verify.device.pinned_pool import PINNED_POOL_BYTES
from sbo_verify.harness.host_bench import decide_host, places, shot_of
from sbo_verify.harness.host_knobs import HostKnobs
from sbo_verify.harness.host_results import host_record
from sbo_verify.harness.knob_set import KnobError
from sbo_verify.harness.knobs import generator
from sbo_verify.harness.stressed_kernels import host_reading, knobs_of, protocol_for
from sbo_verify.harness.tally import tally
from sbo_verify.protocols.signal_publish.host import HOST_READER
from sbo_verify.record import HOST
from sbo_verify.verdict import CodeVerdict, MachineVerdict, SiliconVerdict

SMS = 132
SOUND = HOST_READER.row("host-full_wait-red_release_sys")
BROKEN = HOST_READER.row("host-no_wait-red_release_sys")
NAME = {"row": SOUND.name, "variant": "0" * 12, "seed": 1, "index": 2}
CLOCK_KHZ = 1_980_000
UNKNOWN, USAGE = 2, 254


@given(st.integers(0, 2**32 - 1), st.sampled_from(HOST_READER.rows), st.sampled_from((96, 132)))
def test_what_is_drawn_can_run_at_once(seed: int, row: object, sms: int) -> None:
    knobs = decide_host(generator(seed, "host", 0), row, sms, {})  # type: ignore[arg-type]
    assert knobs.producer_sms + knobs.noise_sms <= sms
    assert knobs.pairs * knobs.ring * knobs.tile_bytes <= PINNED_POOL_BYTES
    assert knobs.in_flight <= knobs.ring
    assert HostKnobs.from_json(knobs.to_json()) == knobs


@pytest.mark.parametrize(
    ("fixed", "bent"),
    [
        ({"in_flight": "64"}, lambda knobs: knobs.ring >= 64),
        ({"ring": "1"}, lambda knobs: knobs.in_flight == 1),
        ({"ctas_per_sm": "8"}, lambda knobs: knobs.threads == 128),
        ({"tile_bytes": "231424"}, lambda knobs: knobs.ctas_per_sm == 1),
        ({"producer_sms": "132"}, lambda knobs: knobs.noise_sms == 0),
        ({"tile_bytes": "1024", "producer_sms": "1"}, lambda knobs: knobs.rounds == 1500),
    ],
)
def test_what_is_fixed_bends_the_rest(
    fixed: dict[str, str], bent: Callable[[HostKnobs], bool]
) -> None:
    for index in range(40):
        assert bent(decide_host(generator(3, SOUND.name, index), SOUND, SMS, fixed))


@pytest.mark.parametrize(
    ("fixed", "said"),
    [
        ({"producer_sms": "200"}, "producer_sms=200 and noise_sms=0 take 200 SMs of 132"),
        ({"ring": "1", "in_flight": "4"}, "knob ring is 1; with 4 rounds in flight"),
        ({"tile_bytes": "17"}, "knob tile_bytes is 17; it must be a multiple of 16 bytes"),
        (
            {"tile_bytes": "16384", "ring": "1000000"},
            "bytes of pinned memory; allowed is 268435456",
        ),
        ({"silent_round": "-2"}, "knob silent_round is -2; allowed is -1 to 1000000"),
        ({"place": "host"}, "no knob 'place'; the knobs are: producer_sms, "),
    ],
)
def test_what_cannot_be_is_refused(fixed: dict[str, str], said: str) -> None:
    with pytest.raises(KnobError, match=re.escape(said)):
        decide_host(generator(3, SOUND.name, 0), SOUND, SMS, fixed)


def test_a_tile_that_cannot_be_cut_is_refused() -> None:
    with pytest.raises(GeometryError, match="must be a multiple of 256 bytes"):
        decide_host(generator(3, SOUND.name, 0), SOUND, SMS, {"tile_bytes": "48"})


def test_faults_are_planted_in_sound_variants_alone() -> None:
    fixed = {"plant_one_in": "100"}
    assert decide_host(generator(3, "a", 0), SOUND, SMS, fixed).plant_one_in == 100
    with pytest.raises(KnobError, match="for host-no_wait-red_release_sys it must be 0"):
        decide_host(generator(3, "a", 0), BROKEN, SMS, fixed)


def test_every_pair_has_one_producer_and_noise_its_sms() -> None:
    knobs = HostKnobs(producer_sms=7, ctas_per_sm=2, noise_sms=5)
    entries = places(knobs, SMS, np.random.default_rng(4))
    producers = entries[entries["role"] == Role.PRODUCER]
    assert sorted(producers["first_pair"]) == list(range(0, 14, 2))
    assert int((entries["role"] == Role.NOISE).sum()) == 5
    idle = entries[entries["role"] == Role.IDLE]
    assert len(idle) == SMS - 12
    assert (idle["first_pair"] >= knobs.pairs).all()
    shot = shot_of(knobs, entries, 9)
    assert (shot.pairs, shot.grid) == (14, 2 * SMS)


def launched(
    seen: Seen, *, faulted: FaultKind = FaultKind.NONE, hung: bool = False
) -> RawHostLaunch:
    """A launch of 32 pairs that left this on the GPU and showed this to the host."""
    counters = np.zeros(1, COUNTERS.dtype())
    fault = np.zeros(1, FAULT.dtype())
    if faulted:
        counters["fault_claimed"] = 1
        fault["what"], fault["waiter"], fault["sm"] = faulted, Role.PRODUCER, 17
    counters["planted"] = 3
    sms = np.stack([np.arange(32), np.zeros(32)], axis=1).astype(np.uint32)
    witnesses = np.zeros(0)
    return RawHostLaunch(
        RawLaunch(counters, witnesses, fault, bool(faulted), sms, 0.5, hung),  # type: ignore[arg-type]
        seen,
    )


WITNESS = HostWitness(
    round=5,
    pair=9,
    tile=73,
    offset_bytes=64,
    expected=12,
    seen=4,
    signal=1,
    seconds_since_signal=1e-6,
)
GAVE_UP = HostFault(
    what=FaultKind.THRESHOLD_NEVER_REACHED,
    pair=9,
    round=5,
    wanted=1,
    seen=0,
    waited_seconds=2.0,
)


def test_what_the_host_saw_is_recorded() -> None:
    histogram = np.zeros(64, np.int64)
    histogram[3] = 2
    seen = Seen(6400, 1, 2, histogram=histogram, witnesses=[WITNESS])
    record = host_record(launched(seen), knobs=HostKnobs(), clock_khz=CLOCK_KHZ, name=NAME)
    assert (record.planned, record.observations, record.planted) == (6400, 6400, 3)
    assert (record.stale_tiles, record.stale_words, sum(record.histogram)) == (1, 2, 2)
    [witness] = record.witnesses
    assert (witness["producer_sm"], witness["consumer_sm"]) == (9, -1)
    assert witness["cycles_since_signal"] == 1980
    assert record.fault is None
    counted = tally([record])
    assert (counted.stale, counted.word, counted.notes) == (1, SiliconVerdict.SOMETIMES, [])


def test_a_host_that_gave_up_is_a_fault_with_a_name_and_no_sm() -> None:
    raw = launched(Seen(10, fault=GAVE_UP))
    record = host_record(raw, knobs=HostKnobs(), clock_khz=CLOCK_KHZ, name=NAME)
    counted = tally([record])
    assert counted.word is SiliconVerdict.THRESHOLD_NEVER_REACHED
    [note] = counted.notes
    assert note == (
        "launch 2: threshold never reached; reader on the host of pair 9 wanted 1 and saw 0 in "
        "round 5, after 2 s"
    )


@pytest.mark.parametrize("seen", [Seen(10), Seen(10, fault=GAVE_UP)])
def test_the_gpus_own_fault_comes_first(seen: Seen) -> None:
    raw = launched(seen, faulted=FaultKind.ACKNOWLEDGEMENT_NEVER_CAME)
    record = host_record(raw, knobs=HostKnobs(), clock_khz=CLOCK_KHZ, name=NAME)
    assert record.fault is not None
    assert (record.fault["what"], record.fault["sm"]) == ("acknowledgement never came", 17)


def test_the_code_of_the_producers_is_read_and_judged() -> None:
    """The host's own half is no PTX; with it the compiled program has the declared verdict."""
    reading = host_reading(HOST_READER, SOUND)
    assert reading.verdict == CodeVerdict.AS_DECLARED.value
    assert (reading.model, reading.model_notes) == ("Forbidden", [])
    assert reading.machine in {MachineVerdict.KEPT.value, MachineVerdict.NOT_READ.value}
    assert all(label.startswith("producer.") for label, _ in reading.skeleton)
    narrow = host_reading(HOST_READER, HOST_READER.row("host-full_wait-red_release_gpu"))
    assert (narrow.verdict, narrow.model) == (CodeVerdict.AS_DECLARED.value, "Allowed")


def test_the_kernel_has_its_own_catalogue_and_knobs() -> None:
    assert protocol_for("signal_publish", HOST) is HOST_READER
    assert knobs_of(HOST) is HostKnobs


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            "--knob ring=1 --knob in_flight=4",
            USAGE,
            "with 4 rounds in flight it must be at least 4",
        ),
        ("--knob mask=full", USAGE, "no knob 'mask'; the knobs are: producer_sms"),
        ("--variants full_wait-atom_release", USAGE, "no variant 'full_wait-atom_release'"),
        ("--producer a:b", USAGE, "--producer names a GEMM; choose --kernel gemm with it"),
    ],
)
def test_wrong_words_are_refused(
    words: str, code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["stress", "--kernel", "host", "--seed", "1", "--out", str(tmp_path), *words.split()]
    assert main(asked) == code
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_processor_that_reorders_loads_is_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert main(["stress", "--kernel", "host", "--out", str(tmp_path)]) == UNKNOWN
    assert "this host's processor is aarch64" in capsys.readouterr().err
    with pytest.raises(WeakHostError):
        api.examine(kernel="host", gpu=None, out=tmp_path)


def test_a_laptop_answers_by_model_and_code(tmp_path: Path) -> None:
    run = api.examine([SOUND.name, BROKEN.name], kernel="host", gpu=None, out=tmp_path, seed=1)
    assert run.verdict(SOUND.name).model == "Forbidden"
    assert run.verdict(BROKEN.name).model == "Allowed"
    assert run.verdict(SOUND.name).code == CodeVerdict.AS_DECLARED.value
    assert run.passed


def test_the_catalogue_is_listed_and_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--kernel", "host"]) == 0
    assert "22 variants: 8 sound, 1 canaries" in capsys.readouterr().out
    name = "host-full_wait-red_release_gpu"
    assert main(["explain", name, "--kernel", "host"]) == 0
    told = capsys.readouterr().out
    assert "host thread 0: ld.weak r9, tile0half0 - reads tile0half0 = 0" in told
    assert "publish_scope=sys" in told
    assert main(["explain", SOUND.name, "--kernel", "host", "--compiled"]) == 0
    assert "red.release.sys.add signal0, 1 -> host thread 0: ld.acquire.sys" in (
        capsys.readouterr().out
    )


def test_the_program_of_the_gemm_and_combine_send_is_explained(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["explain", "full_wait-atom_release", "--kernel", "gemm", "--compiled"]
    assert main(words) == 0
    assert "the declared program: Forbidden, the same" in capsys.readouterr().out
