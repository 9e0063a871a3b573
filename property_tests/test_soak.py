"""A soak stays small over many thousand launches, and goes on after any interruption."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from steady_bench import (
    LAUNCH_SECONDS,
    OBSERVATIONS,
    STALE_ONE_IN,
    SteadyBench,
    read,
)
from written_runs import settings

from sbo_verify.device.micro_kernel import GpuMemoryError, LaunchFailedError
from sbo_verify.disk import RESERVE_FILE
from sbo_verify.harness.folding import launches_in
from sbo_verify.harness.gate import share_of
from sbo_verify.harness.judgement import judge_run
from sbo_verify.harness.session import Plan, conclude
from sbo_verify.harness.soak import ODD_LIMIT, Soak, is_complete
from sbo_verify.harness.summing import SumError, differences, evidence_of_sum
from sbo_verify.harness.tally import tally
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.record import Footprint, Launch, Settings
from sbo_verify.store import RAW_FILE, Run, StoreError

ROOT = Path(__file__).resolve().parents[1]
SOUND, CANARY, LUCKY = "full_wait-atom_release", "no_wait-relaxed", "read_wait-release"
ROWS = (SOUND, CANARY, LUCKY)
MIB = 1 << 20


def plan_of(seconds: float, seed: int = 7) -> Plan:
    rows = [SIGNAL_PUBLISH.row(name) for name in ROWS]
    return Plan(protocol=SIGNAL_PUBLISH, rows=rows, seed=seed, seconds=seconds)


def run_of(folder: Path, seed: int = 7) -> Run:
    return Run.create(folder, settings(ROWS, seed=seed, seconds_in_all=1.0))


def bench_of(**changes: Any) -> SteadyBench:  # noqa: ANN401 - any field
    return SteadyBench(SIGNAL_PUBLISH, stale=frozenset([CANARY]), **changes)


def soak(run: Run, bench: SteadyBench, seconds: float, fold_bytes: int = 64 << 10) -> bool:
    return Soak(run, bench, plan_of(seconds), read, fold_bytes=fold_bytes).go_on()


def counted(run: Run) -> dict[str, tuple[int, int, int]]:
    """Launches, hand-overs and stale tiles of every row on disk."""
    found = {}
    for row in ROWS:
        mine = [each for each in run.launches() if each.row == row]
        sums = tally(mine)
        found[row] = (sum(map(launches_in, mine)), sums.observations, sums.stale)
    return found


def expected(launches: int, row: str) -> tuple[int, int, int]:
    """The same of launches 0, 1, 2 and so on of the bench."""
    stale = sum(index % STALE_ONE_IN == 3 for index in range(launches)) if row == CANARY else 0
    return launches, launches * OBSERVATIONS, stale


# ---- it stays small -------------------------------------------------------------------------


def growing(footprints: list[Footprint], fold_bytes: int) -> list[str]:
    """What grew from the first quarter of a soak to its end."""
    quarter = footprints[: len(footprints) // 4]
    complaints = []
    if footprints[-1].rss_bytes > max(each.rss_bytes for each in quarter) + 4 * MIB:
        complaints.append("memory grows")
    if max(each.raw_bytes for each in footprints) > 2 * fold_bytes:
        complaints.append("disk use grows")
    return complaints


def test_memory_and_disk_stay_flat_over_many_thousand_launches(tmp_path: Path) -> None:
    run, bench, fold_bytes = run_of(tmp_path), bench_of(), 256 << 10
    bench.asked = Forgetful()
    assert soak(run, bench, 40.0, fold_bytes)
    found = counted(run)
    assert sum(launches for launches, _, _ in found.values()) >= 5_000
    assert found == {row: expected(found[row][0], row) for row in ROWS}
    footprints = run.raw().footprints
    assert len(footprints) > 40
    assert growing(footprints, fold_bytes) == []
    assert (run.path / RAW_FILE).stat().st_size < 64 << 10
    assert is_complete(run) == []


class Forgetful(list[tuple[str, int]]):
    """What was asked, counted and not kept."""

    asked = 0

    def append(self, _each: tuple[str, int]) -> None:
        self.asked += 1

    def __len__(self) -> int:
        return self.asked


def test_growth_is_noticed() -> None:
    def at(n: int, rss: int, raw: int) -> Footprint:
        return Footprint(
            process=1, launches=n, seconds=n, gpu_seconds=n, rss_bytes=rss, raw_bytes=raw
        )

    flat = [at(n, 50 * MIB, 1000 + n % 7) for n in range(100)]
    assert growing(flat, 1000) == []
    assert growing([at(n, (50 + n) * MIB, 1) for n in range(100)], 1000) == ["memory grows"]
    assert growing([at(n, MIB, 100 * n) for n in range(100)], 1000) == ["disk use grows"]


def test_rows_get_the_time_of_their_shares(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    assert soak(run, bench_of(), 10.0)
    rows = {row.name: row for row in SIGNAL_PUBLISH if row.name in ROWS}
    total = sum(share_of(row) for row in rows.values())
    for name, (launches, _, _) in counted(run).items():
        share = share_of(rows[name]) / total
        assert launches * LAUNCH_SECONDS == pytest.approx(10.0 * share, rel=0.05)


# ---- it goes on -----------------------------------------------------------------------------


def interrupt() -> None:
    raise KeyboardInterrupt


def lose() -> None:
    message = "an illegal address"
    raise LaunchFailedError(message)


@pytest.mark.parametrize("at", [0, 5, 150, 299])
def test_after_ctrl_c_every_launch_is_made_once_and_none_is_lost(at: int, tmp_path: Path) -> None:
    run, first, second = run_of(tmp_path), bench_of(fault=interrupt, fault_at=at), bench_of()
    with pytest.raises(KeyboardInterrupt):
        soak(run, first, 3.0, fold_bytes=8 << 10)
    _, summary = conclude(run, SIGNAL_PUBLISH, interrupted=True)
    assert summary.outcome == "unknown"
    assert soak(Run.open(run.path), second, 3.0, fold_bytes=8 << 10)
    _, summary = conclude(run, SIGNAL_PUBLISH)
    assert summary.outcome == "pass"
    # Of the launch that was interrupted nothing is known: it alone is made again.
    interrupted, others = first.asked[-1], first.asked[:-1]
    assert interrupted in second.asked
    assert set(others).isdisjoint(second.asked)
    found = counted(run)
    assert found == {row: expected(found[row][0], row) for row in ROWS}
    assert sum(launches for launches, _, _ in found.values()) == len(others) + len(second.asked)
    assert is_complete(run) == []
    assert {each.process for each in run.raw().footprints} == {1, 2}


def test_what_a_soak_needs_to_go_on_is_on_disk_alone(tmp_path: Path) -> None:
    """In four pieces it makes as many launches as in one."""
    whole, pieces = run_of(tmp_path / "whole"), run_of(tmp_path / "pieces")
    assert soak(whole, bench_of(), 2.0)
    for part in range(1, 5):
        assert soak(Run.open(pieces.path), bench_of(), 0.5 * part)
    for run in (whole, pieces):
        assert sum(launches for launches, _, _ in counted(run).values()) == 256
        assert is_complete(run) == []


def test_a_soak_whose_time_is_used_launches_nothing_more(tmp_path: Path) -> None:
    run, again = run_of(tmp_path), bench_of()
    assert soak(run, bench_of(), 1.0)
    assert soak(run, again, 1.0)
    assert again.asked == []


def test_a_lost_gpu_is_recorded_and_the_next_process_goes_on_behind_it(tmp_path: Path) -> None:
    run, second = run_of(tmp_path), bench_of()
    first = bench_of(fault=lose, fault_at=20)
    with pytest.raises(LaunchFailedError):
        soak(run, first, 1.0)
    assert soak(run, second, 1.0)
    assert set(first.asked).isdisjoint(second.asked)
    ((row, lost),) = run.faults
    assert (row, lost.what) == (first.asked[-1][0], "launch failed")
    assert is_complete(run) == []
    assert conclude(run, SIGNAL_PUBLISH)[1].outcome == "unknown"


def test_where_no_row_can_be_launched_the_soak_ends(tmp_path: Path) -> None:
    class Full(SteadyBench):
        """A GPU without any room."""

        def launch(self, *_words: object, **_more: object) -> Launch:
            message = "out of memory"
            raise GpuMemoryError(message)

    run = run_of(tmp_path)
    assert not soak(run, Full(SIGNAL_PUBLISH), 1.0)
    assert len(run.faults) == len(ROWS)
    assert {fault.what for _, fault in run.faults} == {"out of GPU memory"}
    assert conclude(run, SIGNAL_PUBLISH, interrupted=True)[1].outcome == "unknown"


def test_a_row_that_fails_again_and_again_is_left_and_the_others_go_on(tmp_path: Path) -> None:
    class Crowded(SteadyBench):
        """No room for one row."""

        def launch(self, row, *words, **more):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN002, ANN003, ANN202
            if row.name == LUCKY:
                message = "out of memory"
                raise GpuMemoryError(message)
            return super().launch(row, *words, **more)

    run = run_of(tmp_path)
    assert soak(run, Crowded(SIGNAL_PUBLISH), 5.0)
    assert 1 < len(run.faults) <= ODD_LIMIT
    assert counted(run)[SOUND][0] > 200


def test_two_processes_do_not_soak_one_run(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    words = "import sys; from pathlib import Path; from sbo_verify.store import Run\n"
    words += "with Run.open(Path(sys.argv[1])).alone():\n    print(1, flush=True); input()"
    with subprocess.Popen(  # noqa: S603 - this interpreter, on the text above
        [sys.executable, "-c", words, str(run.path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(StoreError, match="another process is at work in"):
            soak(run, bench_of(), 1.0)
        other.kill()
    assert soak(run, bench_of(), 1.0)


def test_the_reserve_is_taken_again_when_a_soak_goes_on(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    assert soak(run, bench_of(), 0.5)
    conclude(run, SIGNAL_PUBLISH)
    assert not (run.path / RESERVE_FILE).exists()
    with run.alone():
        assert (run.path / RESERVE_FILE).stat().st_size == MIB


# ---- sums -----------------------------------------------------------------------------------


def other(**changes: Any) -> Settings:  # noqa: ANN401 - any field
    return settings(ROWS, seed=8, **changes)


REFUSED = [
    (other(commit="f" * 40), "commit is '0123456789abcdef0123456789abcdef01234567' in one"),
    (other(compiler="NVRTC 13.1.0"), "compiler is 'NVRTC 13.0.88' in one and 'NVRTC 13.1.0'"),
    (other(knobs={"ring": "3"}), "knobs is {} in one and {'ring': '3'} in the other"),
    (other(kernel="gemm"), "kernel is 'micro' in one and 'gemm' in the other"),
    (other(machine=other().machine | {"gpu": "H100"}), "gpu is 'NVIDIA H200' in one and 'H100'"),
    (other(machine=other().machine | {"driver": "590"}), "driver is '580.95.05' in one and '590'"),
    (other(dirty=True), "was changed and not committed: the code is not known"),
    (other(commit=""), "a commit is not known: name it in $SBO_VERIFY_COMMIT"),
]


@pytest.mark.parametrize(("settings_", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_runs_of_other_code_or_machines_are_not_added(settings_: Settings, said: str) -> None:
    assert any(said in each for each in differences(settings(ROWS), settings_))


def test_two_gpus_of_one_kind_may_be_added() -> None:
    twin = other().machine | {"gpu_uuid": "GPU-1"}
    assert differences(settings(ROWS), other(machine=twin)) == []


def test_a_sum_has_the_hand_overs_of_all_its_runs(tmp_path: Path) -> None:
    runs = [run_of(tmp_path, seed) for seed in (7, 8)]
    for run in runs:
        bench = bench_of()
        Soak(run, bench, plan_of(2.0, run.settings.seed), read).go_on()
        conclude(run, SIGNAL_PUBLISH)
    verdicts, summary = judge_run(evidence_of_sum(runs, "sum"))
    for verdict in verdicts:
        assert verdict.observations == sum(counted(run)[verdict.row][1] for run in runs)
        assert verdict.stale == sum(counted(run)[verdict.row][2] for run in runs)
    assert summary.outcome == "pass"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda run: run, "both are of seed 7"),
        (lambda run: replace(run, settings=other(commit="f" * 40)), "cannot be added: commit is"),
    ],
)
def test_what_is_not_added_is_said(change: Callable[[Run], Run], said: str, tmp_path: Path) -> None:
    run = run_of(tmp_path)
    with pytest.raises(SumError, match=said):
        evidence_of_sum([run, change(run)], "sum")
    with pytest.raises(SumError, match="no run was named"):
        evidence_of_sum([], "sum")


def test_an_interrupted_run_keeps_a_sum_from_a_pass(tmp_path: Path) -> None:
    runs = [run_of(tmp_path, seed) for seed in (7, 8)]
    for run in runs:
        Soak(run, bench_of(), plan_of(2.0, run.settings.seed), read).go_on()
    conclude(runs[0], SIGNAL_PUBLISH)
    assert judge_run(evidence_of_sum(runs, "sum"))[1].outcome == "unknown"
