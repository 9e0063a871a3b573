"""Records that are cut off, folders that are shared, clocks that step, and disks that are full."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tried import PROPERTY, RecordProperty, Tried, missing, outcome_of, records, tried
from written_runs import code_reading, launch, settings

import sbo_verify
from sbo_verify.disk import LOST_FILE, RESERVE_BYTES, RESERVE_FILE
from sbo_verify.harness import session
from sbo_verify.harness.session import Plan, conclude, settings_of
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.record import Launch
from sbo_verify.store import RAW_FILE, DiskError, Run, runs_below

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(sbo_verify.__file__).parent
SOUND, CANARY = "full_wait-atom_release", "no_wait-relaxed"
ROWS = [SOUND, CANARY]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run that passes."""
    made = Run.create(tmp_path, settings(ROWS))
    for row in ROWS:
        made.append(code_reading(row))
        made.append(launch(row, stale=5 if row == CANARY else 0))
    return made


# ---- a record cut off -----------------------------------------------------------------------


def test_a_record_cut_off_at_any_byte_loses_itself_alone_and_is_said(
    run: Run, record_property: RecordProperty
) -> None:
    whole = (run.path / RAW_FILE).read_bytes()
    run.append(launch(SOUND, index=1))
    line = (run.path / RAW_FILE).read_bytes()[len(whole) :]
    entries = []
    for cut in range(1, len(line)):
        (run.path / RAW_FILE).write_bytes(whole + line[:cut])
        kept = cut == len(line) - 1
        # Cut behind its last byte but the line's end, the record is there.
        assert [each.index for each in run.launches() if each.row == SOUND] == [0, 1][: 1 + kept]
        run.append(launch(SOUND, index=2))
        assert [each.index for each in run.launches() if each.row == SOUND][-1] == 2
        assert len(run.losses) == int(not kept)
        after = records(run.path / RAW_FILE)
        entries.append((len(records_of(whole)), len(after), missing(records_of(whole), after)))
    (run.path / RAW_FILE).write_bytes(whole + line[:100])
    entry = Tried(
        fault="record cut off",
        how="in mid-line, at every byte of it; another record is written behind it",
        times=len(entries),
        before=sum(before for before, _, _ in entries),
        after=sum(after for _, after, _ in entries),
        lost=sum(lost for _, _, lost in entries),
        verdict=outcome_of(run),
        exit_code="none",
        then="reads on",
    )
    record_property(PROPERTY, asdict(entry))
    assert (entry.lost, entry.verdict) == (0, "unknown")


def records_of(text: bytes) -> list[bytes]:
    """Its whole lines."""
    return [each for each in text.split(b"\n")[:-1] if each]


def test_a_record_behind_another_ones_torn_half_is_not_lost(run: Run) -> None:
    """Two processes: one is killed in mid-write when the other has seen that the file is whole."""
    half = (run.path / RAW_FILE).read_bytes()[:-70].split(b"\n")[-1]
    text = (run.path / RAW_FILE).read_bytes()
    run.append(launch(CANARY, index=7))
    behind = (run.path / RAW_FILE).read_bytes()[len(text) :]
    (run.path / RAW_FILE).write_bytes(text + half + behind)
    assert [each.index for each in run.launches() if each.row == CANARY] == [0, 7]
    (torn,) = run.torn_lines
    assert torn.text == half


def test_a_torn_line_stays_where_a_run_is_folded(run: Run) -> None:
    raw = run.path / RAW_FILE
    raw.write_bytes(raw.read_bytes() + b'{"kind":"launch","row"')
    said = run.losses
    run.rewrite(lambda found: found[:1])
    assert [line.text for line in run.torn_lines] == [b'{"kind":"launch","row"']
    assert len(run.losses) == len(said) == 1
    assert len(records(raw)) == 2


# ---- two runs in one folder -----------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from written_runs import launch, settings
from sbo_verify.store import Run
run = Run.create(Path(sys.argv[1]), settings(["full_wait-atom_release"]))
for index in range(100):
    run.append(launch("full_wait-atom_release", index=index, worker=sys.argv[2]))
print(run.path)
"""


def test_runs_that_begin_in_one_folder_in_one_second_stay_apart(
    tmp_path: Path, record_property: RecordProperty
) -> None:
    folders = [str(ROOT), str(ROOT / "property_tests")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    writers = [
        subprocess.Popen(  # noqa: S603 - this interpreter, on the text above
            [sys.executable, "-c", WRITER, str(tmp_path), name],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in "ab"
    ]
    told = [writer.communicate(timeout=60)[0].strip() for writer in writers]
    runs = [Run.open(path) for path in runs_below(tmp_path)]
    assert sorted(told) == [str(run.path) for run in runs]
    for run in runs:
        found = run.launches()
        assert [each.index for each in found] == list(range(100))
        assert len({each.worker for each in found}) == 1
    entry = Tried(
        fault="two runs in one folder",
        how="two processes that begin in one second and write at once",
        times=1,
        before=200,
        after=sum(len(records(run.path / RAW_FILE)) for run in runs),
        lost=200 - sum(len(run.launches()) for run in runs),
        verdict=outcome_of(runs[0]),
        exit_code=", ".join(str(writer.returncode) for writer in writers),
        then="apart",
    )
    record_property(PROPERTY, asdict(entry))
    assert (entry.lost, entry.exit_code) == (0, "0, 0")


# ---- clocks ---------------------------------------------------------------------------------


class Stepping(datetime):
    """A wall clock that goes back an hour whenever it is asked."""

    asked = 0

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
        assert tz is UTC
        cls.asked += 1
        return datetime(2026, 11, 24, 12, tzinfo=UTC) - timedelta(hours=cls.asked)


def test_a_clock_that_goes_back_changes_no_verdict_and_joins_no_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: RecordProperty
) -> None:
    monkeypatch.setattr(session, "datetime", Stepping)
    rows = [SIGNAL_PUBLISH.row(name) for name in ROWS]
    plan = Plan(protocol=SIGNAL_PUBLISH, rows=rows, seed=7, seconds=1.0)
    made = []
    for _ in range(3):
        stepped = settings(ROWS, started=settings_of(plan, None, "no GPU").started)
        run = Run.create(tmp_path, stepped)
        for row in ROWS:
            run.append(code_reading(row))
            run.append(launch(row, stale=5 if row == CANARY else 0))
        before = records(run.path / RAW_FILE)
        assert conclude(run, SIGNAL_PUBLISH)[1].outcome == "pass"
        assert outcome_of(run) == "pass"
        made.append(run.path)
    assert len(set(made)) == 3
    assert sorted(made, reverse=True) == made, "each began before the one before it"
    entry = tried(
        record_property,
        run,
        fault="clock steps",
        how="the wall clock goes back an hour whenever it is asked",
        before=before,
        exit_code="none",
        then="pass",
    )
    assert (entry.lost, entry.verdict) == (0, "pass")


def wall_clocks(text: str) -> list[str]:
    """Where a module asks what time it is, rather than how long something took."""
    asking = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today"}
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    return [ast.unparse(call.func) for call in calls if ast.unparse(call.func) in asking]


def test_only_what_names_a_moment_asks_the_wall_clock() -> None:
    """Beginnings and ends that a record tells; no limit, no budget and no order follows from it."""
    found = {
        str(path.relative_to(PACKAGE)): asked
        for path in PACKAGE.rglob("*.py")
        if (asked := wall_clocks(path.read_text()))
    }
    naming = {"harness/judgement.py", "harness/session.py", "harness/summing.py"}
    records_of_commands = {path for path in found if path not in naming}
    for path in records_of_commands:
        text = (PACKAGE / path).read_text()
        assert text.count("datetime.now(UTC)") == text.count('.isoformat(timespec="seconds")'), path
    assert naming <= set(found)
    assert not any("time.time" in asked for asked in found.values())


def test_asking_the_wall_clock_is_noticed() -> None:
    assert wall_clocks("import time\nlimit = time.time() + 5\n") == ["time.time"]
    assert wall_clocks("import time\nlimit = time.monotonic() + 5\n") == []


# ---- a full disk ----------------------------------------------------------------------------

# In a name space of its own, so that nobody else sees the small disk.
FILL = """
set -e
mount -t tmpfs -o size=2m tmpfs "$1"
"$2" -c "$3" "$1" "$4" || echo "code $?"
cp -r "$1" "$5"
"""
FILLER = """
import sys
from pathlib import Path
from written_runs import code_reading, launch, settings
from sbo_verify.harness.session import conclude
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.store import DiskError, Run
rows = ["full_wait-atom_release", "no_wait-relaxed"]
run = Run.create(Path(sys.argv[1]), settings(rows))
for row in rows:
    run.append(code_reading(row))
index = 0
try:
    while True:
        run.append(launch(rows[index % 2], stale=5 * (index % 2), index=index // 2))
        index += 1
except DiskError as error:
    print(index, error)
if sys.argv[2] == "again":
    try:
        while True:
            run.append(launch(rows[0], index=index))
    except DiskError as error:
        print("again", error)
verdicts, summary = conclude(run, SIGNAL_PUBLISH, interrupted=True)
print(summary.outcome, summary.exit_code)
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Callable[[str], tuple[list[str], Path]]:
    """Fills a disk of 2 MiB; what was said, and a copy of what is on it."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("needs unshare, to mount a small disk")
    folders = [str(ROOT), str(ROOT / "property_tests")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}

    def fill(way: str) -> tuple[list[str], Path]:
        disk, copy = tmp_path / "disk", tmp_path / "copy"
        disk.mkdir()
        shell = ["sh", "-c", FILL, "sh", str(disk), sys.executable, FILLER, way, str(copy)]
        done = subprocess.run(  # noqa: S603 - fixed words
            [unshare, "--map-root-user", "--mount", *shell],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if "unshare:" in done.stderr or "mount:" in done.stderr:
            pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines(), copy

    return fill


def test_a_disk_that_is_really_full_costs_no_record(
    small_disk: Callable[[str], tuple[list[str], Path]], record_property: RecordProperty
) -> None:
    said, copy = small_disk("once")
    count = int(said[0].split()[0])
    assert "No space left on device; the record is kept, in the room that was reserved" in said[0]
    assert said[1] == "unknown 2"
    (path,) = runs_below(copy)
    run = Run.open(path)
    # The record that found the disk full is there too.
    assert len(run.launches()) == count + 1
    assert run.losses == []
    assert (path / RESERVE_FILE).stat().st_size == 0
    assert run.verdict() is not None
    found = records(path / RAW_FILE)
    entry = tried(
        record_property,
        run,
        fault="disk full",
        how="a tmpfs of 2 MiB, written until it is full",
        before=found[: 2 + count],
        exit_code=said[1].split()[1],
        then="none",
    )
    assert (entry.lost, entry.verdict, entry.after) == (0, "unknown", 2 + count + 1)


def test_a_disk_that_stays_full_is_said_to_have_lost_one(
    small_disk: Callable[[str], tuple[list[str], Path]],
) -> None:
    """The reserve is used up as well: the record at hand is lost, and everything else is kept."""
    said, copy = small_disk("again")
    assert said[1].startswith("again ")
    assert said[1].endswith("No space left on device; the record is not kept")
    (path,) = runs_below(copy)
    run = Run.open(path)
    assert (path / LOST_FILE).exists()
    assert run.losses == ["the disk was full, and a record could not be kept"]
    assert run.torn_lines == []
    assert outcome_of(run) == "unknown"


def test_a_run_is_refused_where_its_reserve_finds_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sbo_verify.disk.os.write", no_room)
    with pytest.raises(Exception, match="No space left on device; nothing was launched"):
        Run.create(tmp_path, settings(ROWS))
    assert list((tmp_path / "signal_publish").iterdir()) == []


def no_room(_descriptor: int, _text: bytes) -> int:
    """As a full disk answers."""
    raise OSError(28, os.strerror(28))


def test_the_reserve_is_given_back_with_the_verdict(run: Run) -> None:
    assert (run.path / RESERVE_FILE).stat().st_size == RESERVE_BYTES
    conclude(run, SIGNAL_PUBLISH)
    assert not (run.path / RESERVE_FILE).exists()


def test_a_write_that_fails_half_way_is_taken_back(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of it would tear the next record, or be taken for a loss."""
    whole = os.write
    before = (run.path / RAW_FILE).read_bytes()

    def half(descriptor: int, text: bytes) -> int:
        if len(text) < 100:
            return no_room(descriptor, text)
        return whole(descriptor, text[: len(text) // 2])

    with monkeypatch.context() as patched:
        patched.setattr("sbo_verify.disk.os.write", half)
        with pytest.raises(DiskError):
            run.append(launch(SOUND, index=1))
    assert (run.path / RAW_FILE).read_bytes() == before
    run.append(launch(SOUND, index=2))
    assert run.torn_lines == []
    indices = [each.index for each in run.launches() if isinstance(each, Launch)]
    assert indices == [0, 0, 2]
