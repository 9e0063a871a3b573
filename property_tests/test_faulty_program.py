"""What plants faults on a GPU finds, here too, everything that it replaces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from faulty_program import ENDLESS_SECONDS, FAULTS, MORE_THAN_ANY_GPU_BYTES, plant
from written_runs import settings

from sbo_verify.device import micro_kernel
from sbo_verify.device.micro_kernel import Arena, MicroKernel, RawLaunch, Shot
from sbo_verify.store import Run

SHOT = Shot(
    entries=np.zeros(1, dtype=np.dtype([("a", np.int32)])),
    pairs=1,
    grid=4,
    tile_bytes=256,
    ring=2,
    ctas_per_sm=1,
    threads=128,
    rounds=200,
    noise_bytes=0,
    values={"timeout_ns": 4_000_000_000, "withheld_round": -1},
    limit_seconds=30.0,
)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[Shot]:
    """The launches that reach the kernel, which runs none; what a fault replaces is put back."""
    shots: list[Shot] = []

    def run(_kernel: MicroKernel, shot: Shot) -> RawLaunch:
        shots.append(shot)
        return cast("RawLaunch", None)

    run.__name__ = MicroKernel.run.__name__
    monkeypatch.setattr(MicroKernel, "run", run)
    for name in ("_wait", "TILE_POOL_BYTES"):
        monkeypatch.setattr(micro_kernel, name, getattr(micro_kernel, name))
    return shots


def kernel() -> Any:  # noqa: ANN401 - a kernel without a GPU
    """A kernel with an arena of the real one's attributes."""
    made = object.__new__(MicroKernel)
    made.arena = cast("Arena", SimpleNamespace(_tiles="tiles", raise_stop=Arena.raise_stop))
    return made


def changed(name: str, tmp_path: Path, launched: list[Shot]) -> tuple[Any, Shot]:
    """The kernel and the third launch, of four, with a fault in it."""
    run = Run.create(tmp_path / "runs", settings(["full_wait-atom_release"]))
    plant(FAULTS[name], 2, tmp_path / "runs", tmp_path / "before")
    made = kernel()
    for index in range(4):
        assert (tmp_path / "before").exists() == (index > 2)
        made.run(replace(SHOT, pairs=1 + index))
    assert (tmp_path / "before").read_bytes() == (run.path / "raw.jsonl").read_bytes()
    assert [shot.pairs for shot in launched] == [1, 2, 3, 4]
    assert launched[:2] + launched[3:] == [replace(SHOT, pairs=pairs) for pairs in (1, 2, 4)]
    return made, launched[2]


def test_an_illegal_address_takes_the_signals_place(tmp_path: Path, launched: list[Shot]) -> None:
    assert changed("illegal_address", tmp_path, launched)[1].values["signals"] == 8


def test_a_launch_without_a_grid_is_refused(tmp_path: Path, launched: list[Shot]) -> None:
    assert changed("refused_launch", tmp_path, launched)[1].grid == 0


def test_an_endless_launch_hears_of_no_stop_and_is_bounded(
    tmp_path: Path, launched: list[Shot], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, shot = changed("endless", tmp_path, launched)
    assert shot.values["withheld_round"] == 10
    assert shot.values["timeout_ns"] == ENDLESS_SECONDS * 1e9
    made.arena.raise_stop(0)
    never = SimpleNamespace(ptr=0)
    monkeypatch.setattr(micro_kernel, "has_passed", lambda _event: False)
    wait = vars(micro_kernel)["_wait"]
    assert not wait(never, 1000.0), "patience ends long before that"


def test_no_memory_is_a_pool_that_must_be_taken_again(tmp_path: Path, launched: list[Shot]) -> None:
    made, _ = changed("no_memory", tmp_path, launched)
    assert vars(made.arena)["_tiles"] is None
    assert micro_kernel.TILE_POOL_BYTES == MORE_THAN_ANY_GPU_BYTES


def test_the_arena_has_what_is_replaced_in_it() -> None:
    assert "_tiles" in Arena.__init__.__code__.co_names
    assert "raise_stop" in vars(Arena)
    assert "TILE_POOL_BYTES" in Arena.tiles.__code__.co_names
