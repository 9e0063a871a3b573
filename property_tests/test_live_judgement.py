"""Launches of a producer beside Combine Send: recorded, told, judged, kept and read again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import written_runs
from fake_bench import GPU, FakeBench

from sbo_verify.cli import commands, main
from sbo_verify.cli.examination import findings_of
from sbo_verify.device.combine_layout import (
    COMBINE_COUNTERS,
    POISON,
    SLOT_WITNESS,
    name_of,
)
from sbo_verify.device.layout import FAULT, FaultKind, Role
from sbo_verify.device.live_shot import RawLive
from sbo_verify.harness import examination, stressed_kernels
from sbo_verify.harness.diagnosis import diagnose
from sbo_verify.harness.live_knobs import LiveKnobs
from sbo_verify.harness.live_results import live_record
from sbo_verify.harness.session import conclude
from sbo_verify.harness.stressed_kernels import overlap_reading, protocol_for
from sbo_verify.harness.tally import tally
from sbo_verify.protocols.signal_publish.combine import FOREIGN, OVERLAP
from sbo_verify.record import GEMM, Launch, LiveLaunch
from sbo_verify.repeat import repeat_command
from sbo_verify.report.markdown import markdown_text
from sbo_verify.store import Run, runs_below
from sbo_verify.verdict import SiliconVerdict

SOUND, CANARY = "full_wait-atom_release", "no_wait-relaxed"
KNOBS = LiveKnobs(rounds=100)
PLANNED = 100 * 128


def raw(changes: dict[str, Any] | None = None, **fault: int) -> RawLive:
    """What the GPU answers where nothing is wrong, with changes."""
    counters = np.zeros(1, dtype=COMBINE_COUNTERS.dtype())
    told = {"observations": PLANNED, "waited": 3200, "rows": 128 * PLANNED}
    ended = {"signal_lowest": 2, "signal_highest": 2}
    for name, value in (told | ended | (changes or {})).items():
        counters[name] = value
    claimed = np.zeros(1, dtype=FAULT.dtype())
    for name, value in fault.items():
        claimed[name] = value
    counters["fault_claimed"] = int(bool(fault))
    return RawLive(
        counters=counters,
        witnesses=np.zeros(0, dtype=SLOT_WITNESS.dtype()),
        fault=claimed,
        elapsed_seconds=0.01,
        hung=False,
        announced=frozenset({(128, 2)}),
    )


def record(answer: RawLive, row: str = SOUND, **changes: Any) -> LiveLaunch:  # noqa: ANN401 - any field
    name = {"row": row, "variant": written_runs.variant(row), "seed": 7, "index": 0}
    made = live_record(
        answer,
        knobs=KNOBS,
        planned=PLANNED,
        announced=(128, 2),
        returned=(128, 2),
        name=name | {"worker": "", "gpu": "GPU-0", "producer": "a:b"},
    )
    return replace(made, **changes)


def stale(slots: int = 5) -> dict[str, Any]:
    """Counts of `slots` stale slots of four words."""
    bins = [0] * 64
    bins[3] = 4 * slots
    return {"stale_tiles": slots, "stale_words": 4 * slots, "histogram": bins}


def test_a_launch_where_nothing_is_wrong_says_nothing() -> None:
    launch = record(raw())
    assert diagnose(launch) == []
    told = tally([launch])
    assert (told.word, told.notes, told.observations) == (SiliconVerdict.NEVER, [], PLANNED)


OVERSHOT, SHORT = SiliconVerdict.OVERSHOT, SiliconVerdict.THRESHOLD_NEVER_REACHED
STRAYED = {"what": int(FaultKind.SIGNAL_STRAYED), "waiter": int(Role.PRODUCER), "seen": 2}
OVER = {"what": int(FaultKind.SIGNAL_OVERSHOT), "waiter": int(Role.PRODUCER), "wanted": 2}
NEVER = {"what": int(FaultKind.THRESHOLD_NEVER_REACHED), "waiter": int(Role.CONSUMER), "wanted": 2}


@pytest.mark.parametrize(
    ("answer", "word", "named"),
    [
        (
            raw({"slots_over": 128, "signal_lowest": 4, "signal_highest": 4}, **OVER, seen=4),
            OVERSHOT,
            (
                "every signal ended at 4 and the threshold returned is 2: the threshold is too "
                "low, and slots are taken too early"
            ),
        ),
        (
            raw({"slots_over": 1, "signal_highest": 3}, **OVER, seen=3),
            OVERSHOT,
            "1 signals went past the threshold 2, up to 3: some tile signalled more than once",
        ),
        (
            raw(
                {
                    "observations": 0,
                    "waited": 0,
                    "slots_short": 128,
                    "signal_lowest": 1,
                    "signal_highest": 1,
                },
                **NEVER,
                seen=1,
            ),
            SHORT,
            (
                "every signal ended at 1 and the threshold returned is 2: the threshold is too "
                "high, or every slot lacks a signal"
            ),
        ),
        (
            raw({"observations": 90, "slots_short": 1, "signal_lowest": 1}, **NEVER, seen=1),
            SHORT,
            "1 signals ended below the threshold 2, the lowest at 1: a signal is missing",
        ),
        (
            raw({"slots_stray": 4}, **STRAYED),
            OVERSHOT,
            (
                "4 signals of slots without rows were written: they do not lie at "
                "g * ceil(M / 128) + m_block"
            ),
        ),
        (
            raw(stale()),
            SiliconVerdict.SOMETIMES,
            (
                "5 slots held stale words behind their threshold: the signal was seen before the "
                "tile was"
            ),
        ),
        (
            raw({"wrong_words": 9, "ahead_words": 1}),
            SiliconVerdict.UNRELIABLE,
            "10 words are of no round up to their own: the product is wrong",
        ),
        (
            raw({"waited": 0}),
            SiliconVerdict.UNRELIABLE,
            "no slot was waited for: the consumer came after the producer, every time",
        ),
    ],
    ids=[
        "too low",
        "doubled",
        "too high",
        "missing",
        "elsewhere",
        "early",
        "wrong product",
        "nothing live",
    ],
)
def test_every_planted_fault_is_named(answer: RawLive, word: SiliconVerdict, named: str) -> None:
    launch = record(answer)
    told = tally([launch])
    assert told.word is word
    assert f"launch 0: {named}" in told.notes
    assert named in diagnose(launch)


def test_a_fault_speaks_of_slots() -> None:
    told = tally([record(raw({"observations": 7}, **NEVER, seen=1, pair=31, sm=9, round=4))])
    assert told.notes[0] == (
        "launch 0: threshold never reached; consumer of slot 31 on SM 9 wanted 2 and saw 1 in "
        "round 4, after 0 s"
    )


def test_a_producer_that_changes_its_word_is_a_fault() -> None:
    answer = replace(raw(), announced=frozenset({(128, 2), (64, 4)}))
    launch = record(answer)
    assert launch.fault is not None
    assert launch.fault["what"] == "announcement changed"
    assert tally([launch]).word is SiliconVerdict.UNRELIABLE


def test_a_lost_slot_is_no_pass() -> None:
    launch = record(raw({"observations": PLANNED - 1}))
    assert tally([launch]).word is SiliconVerdict.UNRELIABLE


def test_a_witness_says_group_row_and_column() -> None:
    entry = np.zeros(1, dtype=SLOT_WITNESS.dtype())
    values = {"round": 3, "group": 1, "slot": 6, "row": 5, "column": 17, "sm": 88, "signal": 2}
    for name, value in values.items():
        entry[name] = value
    entry["expected"], entry["seen"] = name_of(3), POISON
    witness = record(replace(raw(stale()), witnesses=entry)).witnesses[0]
    # Slot 6 of 4 slots a group is m-block 2 of group 1.
    assert (witness["pair"], witness["row"], witness["column"]) == (1, 2 * 128 + 5, 17)
    assert witness["offset_bytes"] == (5 * KNOBS.n + 17) * 2
    assert (witness["producer_sm"], witness["consumer_sm"]) == (-1, 88)


# ---- a run ----------------------------------------------------------------------------------


def run_of(tmp_path: Path, launches: list[LiveLaunch], rows: list[str], producer: str = "") -> Run:
    run = Run.create(
        tmp_path, written_runs.settings(rows, kernel=GEMM, producer=producer, started=STARTED)
    )
    protocol = protocol_for("signal_publish", GEMM, producer)
    for row in rows:
        if (reading := overlap_reading(protocol, protocol.row(row))) is not None:
            run.append(reading)
    for launch in launches:
        run.append(launch)
    return run


STARTED = "2026-11-24T12:00:00+00:00"


def seen_canary() -> LiveLaunch:
    return record(raw(stale(900)), CANARY)


def test_a_run_is_judged_kept_and_reported_again(tmp_path: Path) -> None:
    run = run_of(tmp_path, [record(raw()), seen_canary()], [SOUND, CANARY])
    verdicts, summary = conclude(run, OVERLAP)
    assert [each.joint for each in verdicts] == ["sound", "broken, shown"]
    assert summary.outcome == "pass"
    again = Run.open(run.path)
    assert all(isinstance(each, LiveLaunch) for each in again.launches())
    assert again.launches()[0] == record(raw())
    findings = findings_of(again)
    assert findings.verdicts == verdicts
    assert "two kernels on one GPU" in markdown_text(findings)


def test_an_unseen_canary_leaves_the_run_unknown(tmp_path: Path) -> None:
    run = run_of(tmp_path, [record(raw()), record(raw(), CANARY)], [SOUND, CANARY])
    _, summary = conclude(run, OVERLAP)
    assert summary.outcome == "unknown"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (raw, "pass"),
        (lambda: raw(stale()), "fail"),
        (lambda: raw({"slots_over": 1, "signal_highest": 3}, **OVER, seen=3), "fail"),
        (lambda: raw({"observations": 0, "slots_short": 1}, **NEVER, seen=1), "unknown"),
    ],
    ids=["sound", "stale", "overshot", "never reached"],
)
def test_a_foreign_producer_is_judged_beside_a_canary(
    tmp_path: Path, answer: Callable[[], RawLive], outcome: str
) -> None:
    variant = OVERLAP.hash_of(OVERLAP.row(SOUND).variant)
    foreign = record(answer(), FOREIGN, variant=variant)
    run = run_of(tmp_path, [foreign, seen_canary()], [FOREIGN, CANARY], "a:b")
    verdicts, summary = conclude(run, protocol_for("signal_publish", GEMM, "a:b"))
    assert summary.outcome == outcome
    assert (verdicts[0].row, verdicts[0].model_source, verdicts[0].code) == (
        FOREIGN,
        "declared",
        "not read",
    )
    assert findings_of(run).summary.outcome == outcome


def test_every_failure_names_the_command_that_repeats_it(tmp_path: Path) -> None:
    rows = [FOREIGN, CANARY]
    variant = OVERLAP.hash_of(OVERLAP.row(SOUND).variant)
    run = run_of(tmp_path, [record(raw(stale()), FOREIGN, variant=variant)], rows, "a:b")
    assert repeat_command(run.settings, run.launches(), FOREIGN) == (
        "sbo-verify replay foreign --kernel gemm --producer a:b --seed 7 --index 0"
    )


# ---- the command line, where a GPU answers ------------------------------------------------------


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> FakeBench:
    """A GPU on which foreign and sound rows are never stale and canaries are."""
    variant = OVERLAP.hash_of(OVERLAP.row(SOUND).variant)
    answers: dict[str, Sequence[Launch | Exception]] = {
        row.name: [record(raw(stale(900) if row.canary else None), row.name)] for row in OVERLAP
    }
    answers[FOREIGN] = [record(raw(), FOREIGN, variant=variant)]
    fake = FakeBench(OVERLAP, answers=answers)
    monkeypatch.setattr(stressed_kernels, "LiveBench", lambda *_arguments: fake)
    monkeypatch.setattr(examination, "open_gpu", lambda _index: GPU)
    monkeypatch.setattr(commands, "open_gpu", lambda _index: GPU)
    return fake


def test_a_stress_of_the_gemm_passes_and_lies_on_disk(
    tmp_path: Path, answering: FakeBench, capsys: pytest.CaptureFixture[str]
) -> None:
    names = f"{SOUND},{CANARY}"
    words = ["stress", "--kernel", "gemm", "--variants", names, "--seed", "7", "--knob", "k=128"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    assert "sound" in capsys.readouterr().out
    (run,) = (Run.open(path) for path in runs_below(tmp_path))
    assert (run.settings.kernel, run.settings.rows) == (GEMM, [SOUND, CANARY])
    assert [each.row for each in run.launches()] == [SOUND, CANARY]
    assert answering.asked[0][1]["fixed"] == {"k": "128"}
    assert main(["report", str(run.path)]) == 0


def test_a_stress_of_a_foreign_producer_brings_the_canaries(
    tmp_path: Path, answering: FakeBench
) -> None:
    words = ["stress", "--kernel", "gemm", "--producer", "json:dumps", "--seed", "7"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    canaries = [row.name for row in OVERLAP if row.canary]
    assert [name for name, _ in answering.asked] == [FOREIGN, *canaries]
    (run,) = (Run.open(path) for path in runs_below(tmp_path))
    assert run.settings.producer == "json:dumps"
    assert main(["report", str(run.path), "--format", "json"]) == 0


@pytest.mark.parametrize(
    "row", [SOUND, "deepep_combine-tma_load", "hip_port-per_warp_drain-no_barrier"]
)
def test_the_code_of_both_kernels_is_read_as_one(row: str) -> None:
    reading = overlap_reading(OVERLAP, OVERLAP.row(row))
    assert reading is not None
    assert (reading.verdict, reading.differences) == ("as declared", [])
    sites = [site for site, _ in reading.skeleton]
    assert "producer.store" in sites
    assert "consumer.read" in sites
