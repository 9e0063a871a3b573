"""The command that repeats what a run saw: it names the launch that told, and can be typed."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from written_runs import fault, launch, settings

from sbo_verify.cli.app import app
from sbo_verify.record import GEMM
from sbo_verify.repeat import repeat_command

SOUND = "full_wait-atom_release"
CANARY = "no_wait-relaxed"
GATE = "pytest stress/ --seed 7 --budget 60"


def test_the_launch_that_told_is_repeated() -> None:
    launches = [launch(SOUND, index=0), launch(CANARY, stale=5, index=1)]
    gate = settings([SOUND, CANARY], command=GATE)
    assert repeat_command(gate, launches, SOUND) == (
        f"pytest stress/ --seed 7 --variants {SOUND} --require-gpu"
    )
    launches += [
        launch(SOUND, index=2, fault=fault("launch hung")),
        launch(SOUND, stale=1, index=3),
    ]
    assert repeat_command(gate, launches, SOUND) == f"sbo-verify replay {SOUND} --seed 7 --index 2"


@pytest.mark.parametrize(
    ("command", "changes", "stale", "repeat"),
    [
        ("sbo-verify run --seed 7", {}, 0, f"sbo-verify stress --variants {SOUND} --seed 7"),
        (
            "sbo-verify run --seed 7 --knob noise=store --knob tile_bytes=4096",
            {"silicon": False, "knobs": {"noise": "store", "tile_bytes": "4096"}},
            0,
            f"sbo-verify run --variants {SOUND} --knob noise=store --knob tile_bytes=4096 --seed 7",
        ),
        # A run that is older than the record of its knobs has them in its command.
        (
            "sbo-verify stress --kernel gemm --knob n=8 --knob k=9 --out runs",
            {"kernel": GEMM},
            0,
            f"sbo-verify stress --variants {SOUND} --kernel gemm --knob n=8 --knob k=9 --seed 7",
        ),
        (
            "sbo-verify stress --knob noise=store",
            {"knobs": {"noise": "store"}},
            3,
            f"sbo-verify replay {SOUND} --knob noise=store --seed 7 --index 0",
        ),
        (
            "sbo_verify.api.examine(['a'], producer='a:b', seed=7)",
            {"kernel": GEMM, "producer": "a:b"},
            0,
            f"sbo-verify stress --variants {SOUND} --kernel gemm --producer a:b --seed 7",
        ),
        (
            "pytest tests/test_gemm.py::test_it --sbo-seed 7",
            {"kernel": GEMM, "producer": "tests.test_gemm:<lambda>"},
            3,
            "pytest tests/test_gemm.py::test_it --sbo-seed 7",
        ),
    ],
)
def test_what_the_run_was_started_with_is_kept(
    command: str, changes: dict[str, Any], stale: int, repeat: str
) -> None:
    asked = settings([SOUND], command=command, **changes)
    found = repeat_command(asked, [launch(SOUND, stale=stale)], SOUND)
    assert found == repeat
    program, *words = shlex.split(found)
    if program == "sbo-verify":
        name, *rest = words
        app.loaded().commands[name].make_context(name, rest)
