"""A GPU that answers what it is told to, for tests of the gate on machines without one.

In a gate of its own, `pytest -p fake_bench stress/test_handover.py` puts it in the GPU's place;
$FAKE_STALE then names the rows that show stale tiles. The first worker that stresses the row in
$FAKE_DEATH_ROW sees $FAKE_DEATH_STALE stale tiles there, makes the file $FAKE_DEATH, and dies; with
$FAKE_GPU_DIES no GPU is found from then on. The row in $FAKE_ENDLESS is stressed for ever.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from written_runs import launch

from sbo_verify.device import gpu as gpus
from sbo_verify.device.gpu import Gpu, NoGpuError
from sbo_verify.harness import runner
from sbo_verify.protocol import Protocol, Row
from sbo_verify.record import Launch

STALE = "FAKE_STALE"
DEATH, DEATH_ROW, DEATH_STALE = "FAKE_DEATH", "FAKE_DEATH_ROW", "FAKE_DEATH_STALE"
GPU_DIES, ENDLESS = "FAKE_GPU_DIES", "FAKE_ENDLESS"
GPU = Gpu(
    index=0,
    name="a made-up Hopper GPU",
    uuid="GPU-0",
    capability=(9, 0),
    sm_count=132,
    l2_bytes=62914560,
    memory_bytes=150754820096,
    sm_clock_khz=1980000,
    driver="13.0",
)


@dataclass
class FakeBench:
    """What `Gate` uses of a `Bench`; `answers` maps rows to launches, or to an error instead."""

    protocol: Protocol
    gpu: Gpu = GPU
    worker: str = ""
    answers: dict[str, Sequence[Launch | Exception]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def kernel(self, row: Row) -> None:
        """Nothing is loaded."""

    def stress(self, row: Row, seed: int, **how: Any) -> Iterator[Launch]:  # noqa: ANN401 - any option
        """The answers told, one by one."""
        self.asked.append((row.name, {"seed": seed, **how}))
        for answer in self.answers.get(row.name, [launch(row.name)]):
            if isinstance(answer, Exception):
                raise answer
            yield answer


class GateBench(FakeBench):
    """Answers what the environment says."""

    def stress(self, row: Row, seed: int, **how: Any) -> Iterator[Launch]:  # noqa: ANN401 - any option
        """One launch of a million hand-overs."""
        if row.name == os.environ.get(DEATH_ROW) and not Path(os.environ[DEATH]).exists():
            seen = int(os.environ[DEATH_STALE])
            yield launch(row.name, seen, seed=seed, worker=self.worker)
            Path(os.environ[DEATH]).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if row.name == os.environ.get(ENDLESS):
            for index in count():
                yield launch(row.name, seed=seed, index=index, worker=self.worker)
                time.sleep(0.02)
        stale = 3 if row.name in os.environ[STALE].split(",") else 0
        first = how.get("first", 0)
        shown = launch(row.name, stale, seed=seed, worker=self.worker, index=first)
        self.answers = {row.name: [shown]}
        yield from super().stress(row, seed, **how)


def _describe(index: int = 0) -> Gpu:  # noqa: ARG001 - as `describe_gpu`
    if GPU_DIES in os.environ and Path(os.environ[DEATH]).exists():
        message = "no CUDA device is visible"
        raise NoGpuError(message)
    return GPU


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """As a plugin: stands in the GPU's place before the gate looks for one."""
    assert early_config is not None
    gpus.describe_gpu = _describe
    gpus.open_gpu = gpus.describe_gpu
    gpus.visible_gpus = lambda: 1
    runner.Bench = GateBench  # type: ignore[misc,assignment]
