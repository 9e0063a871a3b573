"""A made-up Hopper GPU on which producers of the GEMM's interface are stressed as they are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from fake_bench import GPU, FakeBench
from written_runs import code_reading, fault, launch

from sbo_verify.device import gpu as gpus
from sbo_verify.device.micro_kernel import LaunchHungError
from sbo_verify.harness import examination, stressed_kernels
from sbo_verify.harness.session import Plan
from sbo_verify.protocol import Protocol, Row
from sbo_verify.protocols.signal_publish.combine import FOREIGN, with_foreign
from sbo_verify.record import CodeReading, Launch, LiveLaunch

LIVE: dict[str, Any] = {
    "block_m": 128,
    "threshold": 2,
    "waited": 100,
    "rows": 1000,
    "wrong_words": 0,
    "audit": {
        "slots_short": 0,
        "slots_over": 0,
        "slots_stray": 0,
        "signal_lowest": 2,
        "signal_highest": 2,
    },
}


def live_launch(protocol: Protocol, row: Row, stale: int, **changes: Any) -> LiveLaunch:  # noqa: ANN401 - any field
    """A launch of a producer beside Combine Send in which all counts add up."""
    variant = protocol.hash_of(row.variant)
    plain = launch(row.name, stale, variant=variant, **changes).to_json()
    del plain["kind"]
    return LiveLaunch(**plain, producer=row.source, **LIVE)


def answers(protocol: Protocol, stale: Sequence[str], lost: bool) -> dict[str, Any]:  # noqa: FBT001 - as told
    """One launch of every row, stale where told; or the GPU is lost to the foreign producer."""
    told: dict[str, Sequence[Launch | Exception]] = {
        row.name: [live_launch(protocol, row, 3 if row.name in stale else 0)] for row in protocol
    }
    if lost:
        told[FOREIGN] = [LaunchHungError("made up")]
    return told


def overshot(protocol: Protocol) -> LiveLaunch:
    """A launch of the foreign producer in which a signal went past its threshold."""
    over = live_launch(protocol, protocol.row(FOREIGN), 0, fault=fault("signal overshot"))
    return replace(over, overshoots=1, audit={**over.audit, "slots_over": 1, "signal_highest": 3})


def put_in_place(
    patch: pytest.MonkeyPatch, *stale: str, lost: bool = False, over: bool = False
) -> list[FakeBench]:
    """Stand in the GPU's place; returns the benches that are made, in order."""
    made: list[FakeBench] = []

    def bench_for(plan: Plan, *_rest: object) -> FakeBench:
        told = answers(plan.protocol, stale, lost)
        if over:
            told[FOREIGN] = [overshot(plan.protocol)]
        made.append(FakeBench(plan.protocol, answers=told))
        return made[-1]

    def read(protocol: Protocol, row: Row) -> CodeReading | None:
        if row.name == FOREIGN:
            return None
        return code_reading(row.name, variant=protocol.hash_of(row.variant))

    patch.setattr(gpus, "usable_gpus", lambda: [GPU])
    patch.setattr(examination, "open_gpu", lambda _index=0: GPU)
    patch.setattr(examination, "bench_for", bench_for)
    patch.setattr(examination, "reader_of", lambda _kernel: read)
    assert stressed_kernels.protocol_for("signal_publish", "gemm", "a:b") == with_foreign("a:b")
    return made
