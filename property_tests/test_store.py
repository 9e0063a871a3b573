"""What a run leaves on disk survives crashes, many writers and hands that cut it short."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from written_runs import code_reading, fault, launch, settings

from sbo_verify.disk import RESERVE_FILE
from sbo_verify.record import CodeReading, Fault, Launch, RowVerdict, Summary
from sbo_verify.store import (
    RAW_FILE,
    SETTINGS_FILE,
    VERDICT_FILE,
    Run,
    StoreError,
    TornLine,
    runs_below,
)

ROW = "full_wait-atom_release"
SUMMARY = Summary(
    outcome="pass",
    exit_code=0,
    complete=True,
    reasons=[],
    finished="2026-11-23T22:01:00+00:00",
    power=1.0,
)
VERDICT = RowVerdict(
    row=ROW,
    variant="0" * 12,
    expected="Forbidden",
    canary=False,
    model="Forbidden",
    model_source="declared",
    code="as declared",
    silicon="Never",
    joint="sound",
    outcome="pass",
    stale=0,
    observations=10,
    bound=0.26,
    elapsed_seconds=0.5,
    rounds_per_second=20.0,
    seconds_to_first_stale=None,
    notes=[],
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path, settings([ROW]))


def test_a_run_lies_under_its_protocol_by_utc_time_and_commit(tmp_path: Path) -> None:
    clean = Run.create(tmp_path, settings([ROW]))
    assert clean.path == tmp_path / "signal_publish" / "20261123T220000Z-0123456789ab"
    dirty = Run.create(
        tmp_path, settings([ROW], dirty=True, commit="", started="2026-11-24T00:30:00+02:00")
    )
    assert dirty.path.name == "20261123T223000Z-no_commit-dirty"


def test_settings_are_there_before_anything_runs_and_come_back_equal(run: Run) -> None:
    names = sorted(path.name for path in run.path.iterdir())
    assert names == [RAW_FILE, RESERVE_FILE, SETTINGS_FILE]
    again = Run.open(run.path)
    assert again.settings == run.settings
    assert (again.launches(), again.code_readings(), again.verdict()) == ([], [], None)


def test_two_runs_of_one_second_do_not_collide(tmp_path: Path) -> None:
    paths = [Run.create(tmp_path, settings([ROW])).path for _ in range(3)]
    assert len(set(paths)) == 3
    assert runs_below(tmp_path) == sorted(paths)
    assert runs_below(paths[0]) == [paths[0]]


def test_records_come_back_equal_and_in_order(run: Run) -> None:
    reading = code_reading(ROW)
    launches = [launch(ROW, stale, index=i) for i, stale in enumerate((0, 5, 0))]
    records: list[CodeReading | Launch] = [launches[0], reading, *launches[1:]]
    for record in records:
        run.append(record)
    assert run.launches() == launches
    assert run.code_readings() == [reading]
    assert run.torn_lines == []


@given(st.text(max_size=40), st.integers(0, 2**64 - 1))
def test_any_text_stays_on_one_line(
    tmp_path_factory: pytest.TempPathFactory, worker: str, seed: int
) -> None:
    run = Run.create(tmp_path_factory.mktemp("out"), settings([ROW]))
    record = launch(ROW, worker=worker, seed=seed)
    run.append(record)
    assert run.launches() == [record]
    assert (run.path / RAW_FILE).read_bytes().count(b"\n") == 1


WRITER = """
import sys
from pathlib import Path
from written_runs import launch
from sbo_verify.store import Run
run = Run.open(Path(sys.argv[1]))
for index in range(300):
    run.append(launch("full_wait-atom_release", index=index, worker=sys.argv[2] * 3000))
"""


def test_many_processes_write_one_run_and_lose_nothing(run: Run) -> None:
    folders = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    writers = [
        subprocess.Popen(  # noqa: S603 - this interpreter, on the text above
            [sys.executable, "-c", WRITER, str(run.path), name], env=environment
        )
        for name in "abcd"
    ]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0, 0]
    found = run.launches()
    assert run.torn_lines == []
    for name in "abcd":
        indices = [each.index for each in found if each.worker == name * 3000]
        assert indices == list(range(300))


def test_a_torn_last_line_is_reported_and_the_rest_is_read(run: Run) -> None:
    run.append(launch(ROW, index=0))
    run.append(launch(ROW, index=1))
    file = run.path / RAW_FILE
    file.write_bytes(file.read_bytes()[:-20])
    assert [each.index for each in run.launches()] == [0]
    (torn,) = run.torn_lines
    assert (torn.file, torn.number, torn.last) == (RAW_FILE, 2, True)
    assert str(torn).startswith("raw.jsonl line 2 (the last line, ")
    assert str(torn).endswith(" bytes) is torn: its record is lost")


def test_a_record_after_a_torn_line_is_kept_and_the_torn_one_is_reported(run: Run) -> None:
    run.append(launch(ROW, index=0))
    file = run.path / RAW_FILE
    begun = file.read_bytes()[:100]
    file.write_bytes(begun)
    run.append(launch(ROW, index=1))
    assert [each.index for each in run.launches()] == [1]
    assert run.torn_lines == [TornLine(file=RAW_FILE, number=1, text=begun, last=False)]


def test_faults_are_listed_with_their_rows(run: Run) -> None:
    run.append(launch(ROW))
    run.append(launch(ROW, observations=5, planned=10, fault=fault("launch hung")))
    assert run.faults == [(ROW, Fault(**fault("launch hung")))]


def test_a_verdict_is_written_whole_and_replaces_an_earlier_one(run: Run) -> None:
    run.finish([VERDICT, VERDICT], SUMMARY)
    run.finish([VERDICT], SUMMARY)
    assert run.verdict() == ([VERDICT], SUMMARY)
    names = sorted(path.name for path in run.path.iterdir())
    assert names == [RAW_FILE, SETTINGS_FILE, VERDICT_FILE]


def refusal(action: object, *arguments: object) -> str:
    with pytest.raises(StoreError) as caught:
        action(*arguments)  # type: ignore[operator]
    return str(caught.value)


def test_an_output_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    said = refusal(Run.create, blocked, settings([ROW]))
    assert said == (
        f"cannot make a run folder below {blocked}/signal_publish: Not a directory; nothing was "
        "launched; name an output folder that can be written"
    )


def test_settings_that_cannot_name_a_folder_are_refused(tmp_path: Path) -> None:
    assert "give an ISO 8601 time with its offset" in refusal(
        Run.create, tmp_path, settings([ROW], started="yesterday")
    )
    assert "give an ISO 8601 time with its offset" in refusal(
        Run.create, tmp_path, settings([ROW], started="2026-11-23T22:00:00")
    )
    assert "commit '../up' cannot name a folder" in refusal(
        Run.create, tmp_path, settings([ROW], commit="../up")
    )
    assert "this version writes 1" in refusal(
        Run.create, tmp_path, settings([ROW], format_version=2)
    )
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named_and_not_swallowed(run: Run) -> None:
    (run.path / RAW_FILE).unlink()
    (run.path / RAW_FILE).symlink_to("/dev/full")
    said = refusal(run.append, launch(ROW))
    assert said.endswith("No space left on device; the record is not kept")


def test_a_write_that_the_kernel_cuts_in_pieces_is_whole(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: whole(fd, data[:50]))
    run.append(launch(ROW))
    monkeypatch.undo()
    assert run.launches() == [launch(ROW)]


def test_a_verdict_that_cannot_be_written_says_that_the_records_are_kept(run: Run) -> None:
    (run.path / VERDICT_FILE).mkdir()
    assert "the verdict can be made from them again" in refusal(run.finish, [VERDICT], SUMMARY)


def test_what_is_no_run_is_refused_with_a_way_on(run: Run, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert refusal(Run.open, missing) == (
        f"{missing} does not exist; name the folder of one run (it holds settings.json)"
    )
    assert "is not a folder" in refusal(Run.open, run.path / RAW_FILE)
    assert refusal(Run.open, tmp_path).endswith(f"runs below it: {run.path}")
    (tmp_path / "empty").mkdir()
    assert refusal(Run.open, tmp_path / "empty").endswith("there is no run below it")


def test_another_format_version_is_refused_by_its_number_and_commit(run: Run) -> None:
    file = run.path / SETTINGS_FILE
    file.write_text(json.dumps({"kind": "settings", "format_version": 99, "commit": "abc"}))
    said = refusal(Run.open, run.path)
    assert said.endswith(
        "has format version 99, this version reads 1; read the run with the commit that wrote it "
        "(abc)"
    )
    file.write_text("{")
    assert "is not a JSON object" in refusal(Run.open, run.path)
    file.write_text(json.dumps({"kind": "settings", "format_version": 1}))
    assert "other fields than this version knows" in refusal(Run.open, run.path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            '{"kind": "verdikt"}',
            "line 1: unknown kind 'verdikt'; this version reads 'model', 'code',",
        ),
        ('{"row": "x"}', "line 1: unknown kind None"),
        ('{"kind": "summary"}', "line 1: unknown kind 'summary'"),
        ('{"kind": "launch", "row": "x"}', "line 1: record of kind 'launch' has other fields"),
    ],
)
def test_a_whole_line_that_is_no_known_record_is_an_error(run: Run, line: str, said: str) -> None:
    (run.path / RAW_FILE).write_text(line + "\n")
    assert said in refusal(run.launches)


def test_a_verdict_cut_short_by_a_later_hand_is_an_error(run: Run) -> None:
    run.finish([VERDICT], SUMMARY)
    file = run.path / VERDICT_FILE
    lines = file.read_text().splitlines()
    file.write_text(lines[0] + "\n")
    assert "has 0 summaries instead of one" in refusal(run.verdict)
    file.write_text(lines[0] + "\n" + lines[1][:30])
    assert "the verdict can be made again from the raw records" in refusal(run.verdict)


def test_a_figure_that_is_not_json_is_refused(run: Run) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        run.append(launch(ROW, elapsed_seconds=float("nan")))
    assert run.launches() == []


def test_packed_raw_records_read_as_unpacked_ones_do(run: Run) -> None:
    run.append(code_reading("read_wait-release"))
    run.append(launch("read_wait-release"))
    plain = run.raw()
    assert plain.launches
    raw = run.path / "raw.jsonl"
    packed = run.path / "raw.jsonl.gz"
    packed.write_bytes(gzip.compress(raw.read_bytes()))
    raw.unlink()
    assert Run.open(run.path).raw() == plain
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(StoreError, match="cannot unpack"):
        Run.open(run.path).raw()
