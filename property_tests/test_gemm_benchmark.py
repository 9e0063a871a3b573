"""The GEMM's benchmark: what it refuses, and how its figures come from times."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
from fake_bench import GPU
from fake_tensors import arguments

from sbo_verify.cli import gemm_commands, main
from sbo_verify.cli.gemm_commands import measured_names
from sbo_verify.device.gemm_inputs import Inputs
from sbo_verify.device.gpu import NoGpuError
from sbo_verify.device.kernel_timer import TimingError
from sbo_verify.device.library_products import LIBRARIES
from sbo_verify.gemm import GemmArgumentError, Problem, chosen_variant
from sbo_verify.gemm.heuristic import choose_shape
from sbo_verify.gemm.masked import PUBLISHED
from sbo_verify.harness import gemm_benchmark
from sbo_verify.harness.gemm_benchmark import (
    BROKEN,
    LARGEST_ERROR,
    OWN,
    PLAIN,
    SHAPES,
    SIGNAL,
    GemmBenchmark,
    GemmTime,
    LoneTile,
    Subject,
    foreign_producer,
    measured,
)
from sbo_verify.harness.gemm_goals import RELAXED, Goal, cheapest_signals, goals_of
from sbo_verify.harness.gemm_limits import FP8, MEMORY, Limits, least_time
from sbo_verify.protocol import UnknownNameError
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.protocols.signal_publish.gemm import NO_SIGNAL, gemm_runs
from sbo_verify.report.gemm_times import gemm_times_text, goal_lines

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
    assert main(["bench", "gemm", *words.split()]) == code
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
    """Says the times that it was given, of all subjects in each repeat."""

    def __init__(self, repeats: list[list[float]]) -> None:
        self.repeats = repeats

    def mean_microseconds(self, launches: list[Callable[[], object]], rounds: int) -> list[float]:
        assert rounds == 30
        for launch in launches:
            launch()
        return self.repeats.pop(0)


def subject(producer: str, variant: str, error: float = 0.001, **known: int) -> Subject:
    answer = {"own": (64, 2), "another": (128, 4)}.get(producer)
    returned = answer if variant == SIGNAL or producer == "own" else None
    return Subject(producer, variant, "m64n128s8c1", lambda: returned, lambda: error, **known)


def cells(repeats: list[list[float]], limits: Limits | None = None) -> list[GemmTime]:
    timer: Any = FakeTimer(repeats)
    subjects = [
        subject("own", PLAIN, tiles=200, sms=132),
        subject("own", SIGNAL),
        subject("another", PLAIN, error=float("nan")),
        subject("another", SIGNAL),
        subject("library", "block scales"),
    ]
    return list(measured(timer, SHAPE, subjects, 30, 3, limits))


REPEATED = [
    [50.0, 55.0, 80.0, 84.0, 1.0],
    [40.0, 54.0, 81.0, 80.0, 2.0],
    [60.0, 90.0, 79.0, 99.0, 3.0],
]


def test_a_cell_is_the_median_and_a_signal_costs_what_it_adds_to_its_own_producer() -> None:
    own, own_signal, another, another_signal, library = cells([*REPEATED])
    assert (own.microseconds, own.costs, own.repeats) == (50.0, None, [50.0, 40.0, 60.0])
    assert (own.tiles, own.waves) == (200, 2)
    assert own_signal.microseconds == 55.0
    assert own_signal.costs == pytest.approx(0.1)
    assert own.of_limit == pytest.approx(least_time(SHAPE).microseconds / 50.0)
    assert own.of_measured_limit is None
    assert (another.microseconds, another.block_m, another.threshold) == (80.0, 0, 0)
    assert (another_signal.block_m, another_signal.threshold) == (128, 4)
    assert another_signal.costs == pytest.approx(0.05)
    assert (library.microseconds, library.costs) == (2.0, None)


def test_anothers_wrong_product_is_told_and_the_own_one_is_not_timed() -> None:
    assert [cell.product_is_right for cell in cells([*REPEATED])] == [True, True, False, True, True]
    timer: Any = FakeTimer([])
    wrong = [subject(OWN, PLAIN, error=2 * LARGEST_ERROR)]
    with pytest.raises(TimingError, match=f"{OWN}, plain, on 2x128x256x512: its product is off"):
        list(measured(timer, SHAPE, wrong, 30, 3))
    wrong = [subject(OWN, PUBLISHED, error=float("nan"))]
    with pytest.raises(TimingError, match=f"{OWN}, {PUBLISHED}, on 2x128x256x512: its product is"):
        list(measured(timer, SHAPE, wrong, 30, 3))


def test_what_a_broken_variant_makes_wrong_is_told() -> None:
    timer: Any = FakeTimer([[10.0, 11.0]] * 3)
    both = [subject(OWN, PLAIN), subject(OWN, "no_source_fence", error=float("nan"))]
    plain, broken = measured(timer, SHAPE, both, 30, 3)
    assert (plain.product_is_right, broken.product_is_right) == (True, False)
    assert broken.costs == pytest.approx(0.1)


def test_the_share_of_a_measured_limit_is_by_what_binds_there() -> None:
    slow_memory = Limits(source="it", bytes_copied=1e9, bytes_read=2e9, fp8_operations=1e20)
    slow_cores = Limits(source="it", bytes_copied=1e20, bytes_read=1e20, fp8_operations=1e12)
    groups, m, n, k = SHAPE
    moved = groups * (m * k + n * k + 2 * m * n)
    by_memory, by_cores = (cells([*REPEATED], each)[0] for each in (slow_memory, slow_cores))
    assert (by_memory.bound, by_cores.bound) == (MEMORY, FP8)
    assert by_memory.of_measured_limit == pytest.approx(1e6 * moved / 2e9 / 50.0)
    assert by_cores.of_measured_limit == pytest.approx(1e6 * 2 * groups * m * n * k / 1e12 / 50.0)


# ---- goals ----------------------------------------------------------------------------------


def goal_cells(times: dict[tuple[str, str], float]) -> list[GemmTime]:
    plain = {producer: time for (producer, variant), time in times.items() if variant == PLAIN}
    model = cells([*REPEATED])[0]
    return [
        replace(
            model,
            producer=producer,
            variant=variant,
            microseconds=time,
            costs=None if variant == PLAIN else time / plain[producer] - 1,
        )
        for (producer, variant), time in times.items()
    ]


def goal(times: dict[tuple[str, str], float], lone: list[LoneTile] | None = None) -> Goal:
    (only,) = goals_of(goal_cells(times), lone or [])
    return only


OWN_TIMES = {
    (OWN, PLAIN): 100.0,
    (OWN, PUBLISHED): 102.0,
    (OWN, "full_wait-red_release"): 101.5,
    (OWN, RELAXED): 100.25,
}


def test_a_goal_takes_the_cheapest_sound_signal_and_what_is_measured_of_its_cost() -> None:
    lone = [
        LoneTile(kernel="m64n128s8c1", k=512, variant=PUBLISHED, adds_microseconds=9.0),
        LoneTile(kernel="another", k=512, variant="full_wait-red_release", adds_microseconds=8.0),
        LoneTile(
            kernel="m64n128s8c1", k=512, variant="full_wait-red_release", adds_microseconds=0.5
        ),
    ]
    found = goal(OWN_TIMES | {("a:b", PLAIN): 110.0, ("a:b", SIGNAL): 90.0}, lone)
    assert (found.beside, found.variant) == ("a:b", "full_wait-red_release")
    assert found.plain_ratio == pytest.approx(100 / 110)
    assert (found.adds, found.relaxed_adds, found.lone_adds) == (1.5, 0.25, 0.5)
    assert (found.plain_reached, found.signal_reached) == (True, False)


def test_a_goal_is_reached_at_its_bounds_and_not_where_nothing_was_measured() -> None:
    reached = goal({(OWN, PLAIN): 100.0, (OWN, PUBLISHED): 100.99, ("a:b", PLAIN): 100.0})
    assert (reached.plain_reached, reached.signal_reached) == (False, True)
    alone = goal({(OWN, PLAIN): 100.0, (OWN, RELAXED): 100.1, ("cublaslt", PLAIN): 200.0})
    assert (alone.plain_reached, alone.signal_reached) == (False, False)
    assert (alone.beside, alone.plain_ratio, alone.variant, alone.lone_adds) == ("", None, "", None)


def test_a_signal_that_is_sound_in_the_producers_cta_alone_is_no_goal() -> None:
    times = OWN_TIMES | {(OWN, "producer_cta-cta_scope"): 100.1}
    assert goal(times).variant == "full_wait-red_release"
    other = [replace(cell, k=1024) for cell in goal_cells({(OWN, PLAIN): 1.0, (OWN, PUBLISHED): 2})]
    assert cheapest_signals([*goal_cells(times), *other]) == ["full_wait-red_release", PUBLISHED]


def test_of_a_pattern_every_kernel_is_measured_once() -> None:
    names = measured_names(["*"])
    kernels = {chosen_variant(row.name) for row in SIGNAL_PUBLISH if gemm_runs(row.variant)}
    assert {chosen_variant(name) for name in names} == kernels
    assert len(names) == len(kernels) > 30
    # It goes by the name that is sound with its consumer elsewhere.
    assert "generic_store-release" in names
    assert "mega_moe-generic_store-tma_load" not in names
    assert measured_names(["poll_relaxed", PUBLISHED]) == ["poll_relaxed", PUBLISHED]
    with pytest.raises(UnknownNameError, match="no variant matches"):
        measured_names(["*such"])


def test_a_foreign_producer_is_called_as_the_public_interface_has_it() -> None:
    seen: list[dict[str, object]] = []

    def producer(*tensors: object, **options: object) -> tuple[int, int]:
        seen.append({"tensors": len(tensors), **options})
        return 128, 4

    inputs = replace(fake_inputs(), signal="the signal")
    for variant in (PLAIN, SIGNAL):
        made = gemm_benchmark._foreign("a:b", producer, SHAPE, inputs, variant)  # noqa: SLF001 - the part without a GPU
        assert made.launch() == (128, 4)
        assert (made.producer, made.variant) == ("a:b", variant)
    assert seen == [
        {"tensors": 5, "enable_overlap": False, "signal": None},
        {"tensors": 5, "enable_overlap": True, "signal": "the signal"},
    ]


def test_a_library_that_cannot_is_left_out_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    cannot, *others = LIBRARIES
    asked: list[tuple[object, ...]] = []

    def library_product(library: str, scales: str, _inputs: Inputs) -> Callable[[], object]:
        def launch() -> str:
            if (library, scales) == cannot:
                message = "not here\nand more"
                raise RuntimeError(message)
            return f"{library} {scales}"

        return launch

    def relative_error(*both: object) -> float:
        asked.append(both)
        return 0.5

    monkeypatch.setattr(gemm_benchmark, "library_product", library_product)
    monkeypatch.setattr(gemm_benchmark, "exact_product", lambda _inputs, scales: scales)
    monkeypatch.setattr(gemm_benchmark, "relative_error", relative_error)
    left_out: dict[str, str] = {}
    made = gemm_benchmark._libraries(fake_inputs(), left_out)  # noqa: SLF001 - the part without a GPU
    assert left_out == {", ".join(cannot): "RuntimeError: not here"}
    assert [(each.producer, each.variant) for each in made] == others
    assert [each.error() for each in made] == [0.5] * len(others)
    assert asked == [(f"{library} {scales}", scales) for library, scales in others]


def fake_inputs() -> Inputs:
    fakes = arguments(*SHAPE)
    return Inputs(
        (fakes.a, fakes.a_scales), (fakes.b, fakes.b_scales), fakes.d, fakes.masked_m, fakes.signal
    )


def test_what_the_command_prints_is_a_record_that_it_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(source="measured", bytes_copied=4e12, bytes_read=3e12, fp8_operations=1e15)
    lone = LoneTile(kernel="m64n128s8c1", k=512, variant=PUBLISHED, adds_microseconds=0.5)
    made = [replace(cell, of_measured_limit=0.5) for cell in goal_cells(OWN_TIMES)]
    monkeypatch.setattr(gemm_commands, "open_gpu", lambda _index: GPU)
    monkeypatch.setattr(gemm_commands, "KernelTimer", lambda: None)
    monkeypatch.setattr(gemm_commands, "measured_limits", lambda _timer: limits)
    monkeypatch.setattr(GemmBenchmark, "cells", lambda _self, _shapes: made)
    monkeypatch.setattr(GemmBenchmark, "lone_tiles", lambda _self, *_of: [lone])
    assert main(["bench", "gemm", "--variants", PUBLISHED, "--json"]) == 0
    printed = capsys.readouterr().out
    (tmp_path / "gemm.json").write_text(printed)
    told = json.loads(printed)
    assert [GemmTime(**cell) for cell in told["cells"]] == made
    assert [LoneTile(**tile) for tile in told["lone_tiles"]] == [lone]
    assert [limit["source"] for limit in told["limits"]] == ["datasheet", "measured"]
    assert main(["bench", "gemm", "--record", str(tmp_path / "gemm.json")]) == 0
    assert capsys.readouterr().out == gemm_times_text(told)
    assert main(["bench", "gemm", "--variants", PUBLISHED]) == 0
    assert goal_lines(told["goals"])[-1] in capsys.readouterr().out


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


def test_recorded_goals_are_what_the_recorded_cells_give() -> None:
    for record in recorded("gemm-benchmark.json"):
        found = [GemmTime(**cell) for cell in record["cells"]]
        lone = [LoneTile(**tile) for tile in record["lone_tiles"]]
        assert [asdict(each) for each in goals_of(found, lone)] == record["goals"]


def test_the_gemm_was_never_slower_than_what_was_measured_beside_it() -> None:
    """Plain against plain, and with the published hand-over against the other's signal."""
    for record in recorded("gemm-benchmark.json"):
        times = {
            (sizes_in(cell), cell["producer"] == OWN, cell["variant"]): cell["microseconds"]
            for cell in record["cells"]
        }
        own = [cell for cell in record["cells"] if cell["producer"] == OWN]
        assert all(cell["product_is_right"] for cell in own if cell["variant"] not in BROKEN)
        for sizes in SHAPES:
            assert times[sizes, True, PLAIN] <= times[sizes, False, PLAIN]
            assert times[sizes, True, PUBLISHED] <= times[sizes, False, SIGNAL]


def sizes_in(cell: dict[str, Any]) -> tuple[int, int, int, int]:
    return cell["groups"], cell["m"], cell["n"], cell["k"]
