"""The GEMM's benchmark: what it refuses, and how its figures come from times."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
from fake_tensors import arguments

from sbo_verify.cli import gemm_commands, main
from sbo_verify.device.gemm_inputs import Inputs
from sbo_verify.device.gpu import NoGpuError
from sbo_verify.gemm import GemmArgumentError, Problem
from sbo_verify.gemm.heuristic import choose_shape
from sbo_verify.gemm.masked import PUBLISHED
from sbo_verify.harness import gemm_benchmark
from sbo_verify.harness.gemm_benchmark import (
    OWN,
    PLAIN,
    SHAPES,
    SIGNAL,
    GemmTime,
    Subject,
    foreign_producer,
    limit_microseconds,
    measured,
)
from sbo_verify.protocols.signal_publish.gemm import NO_SIGNAL

REPORTS = Path(__file__).resolve().parents[1] / "reports"
UNKNOWN, USAGE = 2, 254
SHAPE = (2, 128, 256, 512)


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_index: int = 0) -> NoReturn:
        message = "no CUDA device on this machine"
        raise NoGpuError(message)

    monkeypatch.setattr(gemm_commands, "open_gpu", refuse)


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        ("", UNKNOWN, "no CUDA device on this machine"),
        ("--shape 1x2x3", USAGE, "'1x2x3' is no shape such as 16x64x4096x7168"),
        ("--shape 1x2x0x128", USAGE, "'1x2x0x128' is no shape"),
        ("--variants hope", USAGE, "no variant 'hope' in the catalogue"),
        ("--variants full_wait-st_release", USAGE, "the GEMM cannot run variant full_wait-st_rel"),
    ],
)
def test_a_benchmark_that_cannot_run_says_why(
    words: str, code: int, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench-gemm", *words.split()]) == code
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("name", ["no_such_module:f", "json:no_such_function", "json", ":", ""])
def test_a_producer_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(GemmArgumentError, match="allowed is module:function"):
        foreign_producer(name)


def test_a_producer_is_a_function() -> None:
    assert foreign_producer("json:dumps") is json.dumps
    with pytest.raises(GemmArgumentError, match="json:__name__ is str; allowed is a function"):
        foreign_producer("json:__name__")


class FakeTimer:
    """Says the times that it was given, one for each measurement."""

    def __init__(self, times: list[float]) -> None:
        self.times = times

    def mean_microseconds(self, launch: Callable[[], object], launches: int) -> float:
        assert launches == 30
        launch()
        return self.times.pop(0)


def cells(times: list[float]) -> list[GemmTime]:
    timer: Any = FakeTimer(times)
    subjects = [
        Subject("own", PLAIN, "m64n128s8c1", lambda: (64, 2)),
        Subject("own", SIGNAL, "m64n128s8c1", lambda: (64, 2)),
        Subject("another", PLAIN, "", lambda: None),
        Subject("another", SIGNAL, "", lambda: (128, 4)),
    ]
    return list(measured(timer, SHAPE, subjects, 30, 3))


def test_a_cell_is_the_median_and_a_signal_costs_what_it_adds_to_its_own_producer() -> None:
    rounds = ([50.0, 55.0, 80.0, 84.0], [40.0, 54.0, 81.0, 80.0], [60.0, 90.0, 79.0, 99.0])
    own, own_signal, another, another_signal = cells([time for each in rounds for time in each])
    assert (own.microseconds, own.costs, own.repeats) == (50.0, None, [50.0, 40.0, 60.0])
    assert own_signal.microseconds == 55.0
    assert own_signal.costs == pytest.approx(0.1)
    assert own.of_limit == pytest.approx(limit_microseconds(SHAPE) / 50.0)
    assert (another.microseconds, another.block_m, another.threshold) == (80.0, 0, 0)
    assert (another_signal.block_m, another_signal.threshold) == (128, 4)
    assert another_signal.costs == pytest.approx(0.05)


def test_a_foreign_producer_is_called_as_the_public_interface_has_it() -> None:
    seen: list[dict[str, object]] = []

    def producer(*tensors: object, **options: object) -> tuple[int, int]:
        seen.append({"tensors": len(tensors), **options})
        return 128, 4

    inputs = replace(fake_inputs(), signal="the signal")
    for variant in (PLAIN, SIGNAL):
        subject = gemm_benchmark._foreign("a:b", producer, SHAPE, inputs, variant)  # noqa: SLF001 - the part without a GPU
        assert subject.launch() == (128, 4)
        assert (subject.producer, subject.variant) == ("a:b", variant)
    assert seen == [
        {"tensors": 5, "enable_overlap": False, "signal": None},
        {"tensors": 5, "enable_overlap": True, "signal": "the signal"},
    ]


def fake_inputs() -> Inputs:
    fakes = arguments(*SHAPE)
    return Inputs(
        (fakes.a, fakes.a_scales), (fakes.b, fakes.b_scales), fakes.d, fakes.masked_m, fakes.signal
    )


# ---- what was recorded ----------------------------------------------------------------------


def recorded(name: str) -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in sorted(REPORTS.glob(f"*/{name}"))]
    assert found
    return found


@pytest.mark.parametrize("name", ["gemm-benchmark.json", "gemm-tiles.json"])
def test_recorded_figures_were_made_by_committed_code_on_a_named_gpu(name: str) -> None:
    for record in recorded(name):
        settings = record["settings"]
        assert settings["commit"]
        assert not settings["dirty"]
        assert settings["machine"]["gpu"]
        assert settings["machine"]["driver"]
        assert settings["compiler"]
        assert {sizes_in(cell) for cell in record["cells"]} == set(SHAPES)


def test_the_choice_of_tile_was_near_the_fastest_of_every_recorded_sweep() -> None:
    for record in recorded("gemm-tiles.json"):
        for sizes in SHAPES:
            times = {
                cell["kernel"]: cell["microseconds"]
                for cell in record["cells"]
                if sizes_in(cell) == sizes
            }
            chosen = choose_shape(Problem(*sizes, device=0), sizes[1], 132, 256, NO_SIGNAL)
            assert times[chosen.name()] <= 1.03 * min(times.values()), sizes


def test_the_gemm_was_never_slower_than_what_was_measured_beside_it() -> None:
    """Plain against plain, and with the published hand-over against the other's signal."""
    for record in recorded("gemm-benchmark.json"):
        times = {
            (sizes_in(cell), cell["producer"] == OWN, cell["variant"]): cell["microseconds"]
            for cell in record["cells"]
        }
        for sizes in SHAPES:
            assert times[sizes, True, PLAIN] <= times[sizes, False, PLAIN]
            assert times[sizes, True, PUBLISHED] <= times[sizes, False, SIGNAL]


def sizes_in(cell: dict[str, Any]) -> tuple[int, int, int, int]:
    return cell["groups"], cell["m"], cell["n"], cell["k"]
