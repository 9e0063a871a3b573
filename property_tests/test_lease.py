"""Leases of GPU slots: one process a slot, spread over GPUs, free again however a process ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from sbo_verify.harness import lease as leasing
from sbo_verify.harness.lease import Lease, LeaseError, lease_folder, take_lease

ROOT = Path(__file__).resolve().parents[1]
GPUS = ["GPU-a", "GPU-b", "GPU-c"]

Take = Callable[[list[str]], Lease]

# Takes a lease, says which, and holds it until its standard input is closed or it is killed.
HOLD = """
import sys
from pathlib import Path
from sbo_verify.harness.lease import take_lease
lease = take_lease(sys.argv[2:], Path(sys.argv[1]))
sys.stdout.write(f"{lease.gpu} {lease.slot}\\n")
sys.stdout.flush()
sys.stdin.read()
"""


@contextmanager
def holder(folder: Path, gpus: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that takes a lease and holds it; it is ended behind the body."""
    with subprocess.Popen(  # noqa: S603 - this interpreter, on the text above
        [sys.executable, "-c", HOLD, str(folder), *gpus],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def held(process: subprocess.Popen[str]) -> tuple[int, int]:
    """GPU and slot that a holder said it has."""
    assert process.stdout is not None
    gpu, slot = process.stdout.readline().split()
    return int(gpu), int(slot)


@pytest.fixture
def take(tmp_path: Path) -> Iterator[Take]:
    """Takes leases in this process, and releases them behind the test."""
    leases: list[Lease] = []

    def taken(gpus: list[str]) -> Lease:
        leases.append(take_lease(gpus, tmp_path))
        return leases[-1]

    yield taken
    for each in leases:
        each.release()


def test_processes_never_share_a_slot(tmp_path: Path) -> None:
    with ExitStack() as stack:
        started = [stack.enter_context(holder(tmp_path, GPUS[:2])) for _ in range(5)]
        slots = [held(process) for process in started]
    assert len(set(slots)) == 5
    assert sorted(slots) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]


def test_a_killed_processes_lease_is_free_again(tmp_path: Path, take: Take) -> None:
    with holder(tmp_path, GPUS[:1]) as process:
        assert held(process) == (0, 0)
        beside = take(GPUS[:1])
        assert beside.slot == 1
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=30) == -signal.SIGKILL
        assert take(GPUS[:1]).slot == 0


def test_a_process_that_ends_in_order_gives_its_lease_back(tmp_path: Path, take: Take) -> None:
    with holder(tmp_path, GPUS[:1]) as process:
        assert held(process) == (0, 0)
        other = take(GPUS[:1])
        assert (other.gpu, other.slot) == (0, 1)
        process.communicate("")
        assert process.returncode == 0
        again = take(GPUS[:1])
        assert (again.gpu, again.slot) == (0, 0)


def test_leases_spread_over_gpus_before_they_double_up(take: Take) -> None:
    leases = [take(GPUS) for _ in range(7)]
    assert [each.gpu for each in leases] == [0, 1, 2, 0, 1, 2, 0]
    assert [each.slot for each in leases] == [0, 0, 0, 1, 1, 1, 2]


def test_the_emptiest_gpu_is_taken_next(take: Take) -> None:
    leases = [take(GPUS) for _ in range(6)]
    leases[4].release()
    again = take(GPUS)
    assert (again.gpu, again.slot) == (1, 1)


def test_a_gpu_is_known_by_its_uuid_and_not_by_its_place(take: Take) -> None:
    """Gates that see the GPUs in another order, or not all of them, still see each other."""
    assert take(GPUS).gpu == 0
    assert [(each.gpu, each.slot) for each in (take(GPUS[1:]), take(GPUS[::-1]))] == [
        (0, 0),
        (0, 0),
    ]
    assert take(GPUS[:1]).slot == 1


def test_without_a_gpu_there_is_no_lease(tmp_path: Path, take: Take) -> None:
    with pytest.raises(LeaseError, match=rf"no free slot on 0 GPU\(s\); .* kept in {tmp_path}$"):
        take([])


def test_where_every_slot_is_taken_there_is_no_lease(
    take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leasing, "MAX_SLOTS", 2)
    kept = [take(GPUS[:2]) for _ in range(4)]
    with pytest.raises(LeaseError, match=r"no free slot on 2 GPU\(s\)"):
        take(GPUS[:2])
    kept[3].release()
    again = take(GPUS[:2])
    assert (again.gpu, again.slot) == (1, 1)


def test_all_processes_of_a_user_look_in_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    assert lease_folder() == tmp_path / f"sbo_verify-leases-{os.getuid()}"
    take_lease(GPUS).release()
    assert [path.name for path in lease_folder().iterdir()] == ["GPU-a-0.lock"]
    assert lease_folder().stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_hold_leases_is_named_with_what_to_do(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    with pytest.raises(LeaseError, match=r"cannot lease a GPU in .*file: .*; set \$TMPDIR to"):
        take_lease(GPUS, in_the_way)
