"""The benchmark of overlap: what it refuses, how figures come from times, and what was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from overlap_cells import SMS, layer_cells, pair_cells

from sbo_verify.cli import main, overlap_command
from sbo_verify.device.combine_layout import slots_of
from sbo_verify.device.gemm_layout import Shape
from sbo_verify.device.gpu import NoGpuError
from sbo_verify.device.lanes import Step, Work
from sbo_verify.gemm import chosen_variant
from sbo_verify.gemm.masked import PUBLISHED
from sbo_verify.harness import overlap_benchmark
from sbo_verify.harness.overlap_benchmark import (
    GEMM_ALONE,
    IN_TURN,
    OVERLAPPED,
    RECEIVE_ALONE,
    SBO,
    SEND_ALONE,
    TBO,
    WHOLE_DEVICE,
    OverlapError,
    Scope,
    checked_graph,
    layer_contenders,
    measured,
    pair_contenders,
)
from sbo_verify.harness.overlap_findings import Finding, findings_of
from sbo_verify.harness.overlap_schedules import complaints_of
from sbo_verify.harness.overlap_work import MADE_BY, SLOT_OVERHEAD_ROWS, rows_of_slot
from sbo_verify.protocols.signal_publish.sites import SignalPublish

UNKNOWN, USAGE = 2, 254
SCOPE = Scope(
    experts=[8],
    rows=[16],
    link_sms=[3, 16],
    variants={PUBLISHED: chosen_variant(PUBLISHED)},
    seed=1,
)


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        ("", UNKNOWN, "no CUDA device on this machine"),
        ("--rows 12", USAGE, "12 rows; allowed are multiples of 8, which has two halves"),
        ("--experts 1 --rows 8", USAGE, "1 experts of 8 rows; allowed are products that are mult"),
        ("--experts 0", USAGE, "'0' are no whole numbers from 1 such as 3,8"),
        ("--link-sms 3,x", USAGE, "'3,x' are no whole numbers from 1 such as 3,8"),
        ("--variants hope", USAGE, "no variant 'hope' in the catalogue"),
        ("--variants full_wait-relaxed", USAGE, "full_wait-relaxed is not sound"),
        ("--kind all", USAGE, "'all' is not one of 'pair', 'layer'"),
    ],
)
def test_a_benchmark_that_cannot_run_says_why(
    words: str,
    code: int,
    complaint: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_index: int = 0) -> None:
        message = "no CUDA device on this machine"
        raise NoGpuError(message)

    monkeypatch.setattr(overlap_command, "open_gpu", refuse)
    assert main(["bench", "overlap", *words.split()]) == code
    assert complaint in capsys.readouterr().err


def test_all_that_is_measured_can_run() -> None:
    for contender in (*pair_contenders(SCOPE, SMS), *layer_contenders(SCOPE, SMS)):
        assert complaints_of(contender.steps, SMS) == [], contender.schedule


def test_every_work_is_known_by_what_it_makes() -> None:
    assert set(MADE_BY) == set(Work)


@given(st.integers(1, 64), st.integers(1, 300), st.integers(1, 132))
def test_no_size_of_slot_keeps_the_busiest_cta_shorter(groups: int, rows: int, ctas: int) -> None:
    """Counted slot by slot, as Combine Send deals them out."""

    def busiest(block_m: int) -> int:
        taken = [0] * ctas
        for place, slot in enumerate(slots_of([rows] * groups, rows, block_m)):
            taken[place % ctas] += slot.rows + SLOT_OVERHEAD_ROWS
        return max(taken)

    chosen = busiest(rows_of_slot(groups, rows, ctas))
    # The last slot of a group may have fewer rows than the model takes it for.
    assert all(chosen <= busiest(size) + rows for size in (1, rows, max(1, rows // 2)))


# ---- outputs are checked before times count --------------------------------------------------


class FakeWork:
    """A workload whose outputs are wrong when told, by how it was run."""

    def __init__(self, wrong: Sequence[list[str]] = ()) -> None:
        self.wrong = list(wrong)
        self.done: list[str] = []

    def launcher(self, variant: SignalPublish) -> Callable[[Step, Any], None]:
        return lambda step, _stream: self.done.append(f"{step.work.value} {variant.publish.word}")

    def before(self, _stream: Any) -> None:  # noqa: ANN401 - as the protocol has it
        self.done.append("before")

    def spoil(self) -> None:
        self.done.append("spoil")

    def complaints(self, _steps: list[Step]) -> list[str]:
        return self.wrong.pop(0) if self.wrong else []


class FakeLanes:
    """Runs steps at once, and says the times that it was given for each graph."""

    streams = ("main", "link")

    def __init__(self, times: dict[int, list[list[float]]] | None = None) -> None:
        self.times = times or {}
        self.ran: list[list[Step]] = []

    def run(self, steps: list[Step], launch: Callable[[Step, Any], None]) -> None:
        self.ran.append(steps)
        for step in steps:
            launch(step, "main")

    def capture(self, _steps: list[Step], _launch: Callable[[Step, Any], None]) -> int:
        return len(self.ran)

    def replay(self, _graph: int) -> None:
        """Nothing."""

    def settle(self) -> None:
        """Nothing."""

    def microseconds(self, graph: int, samples: int, _before: Callable[[Any], None]) -> list[float]:
        assert samples == overlap_benchmark.SAMPLES
        return self.times[graph].pop(0)


def quiet() -> str:
    return ""


PAIRS = pair_contenders(SCOPE, SMS)
BESIDE = next(each for each in PAIRS if each.schedule == OVERLAPPED)


def test_steps_run_in_turn_before_they_run_at_once() -> None:
    """So that every kernel is loaded, and right, before one of them spins beside another."""
    work, lanes = FakeWork(), FakeLanes()
    checked_graph(work, BESIDE, lanes, quiet)  # type: ignore[arg-type]  # fakes
    (steps,) = lanes.ran
    assert [(step.lane, step.after) for step in steps] == [(0, ())] * 2
    launches = ["down by signals atom_release", "send by signals atom_release"]
    assert work.done == ["spoil", "before", *launches, "spoil", "before"]


@pytest.mark.parametrize(
    ("wrong", "fault", "complaint"),
    [
        ([["D"]], "", "overlapped, 3 SMs of a link, .*, one step after another: wrong: D"),
        ([[], ["the destination"]], "", "as scheduled: wrong: the destination"),
        ([], "Combine Send gave up", "wrong: Combine Send gave up"),
    ],
)
def test_wrong_outputs_are_refused_before_they_are_timed(
    wrong: list[list[str]], fault: str, complaint: str
) -> None:
    with pytest.raises(OverlapError, match=complaint):
        checked_graph(FakeWork(wrong), BESIDE, FakeLanes(), lambda: fault)  # type: ignore[arg-type]  # fakes


def test_times_are_medians_and_a_fault_while_timed_is_told() -> None:
    times = {1: [[1.0, 9.0, 2.0], [3.0], [4.0]], 2: [[5.0], [6.0, 8.0], [7.0]]}
    contenders = [BESIDE, PAIRS[0]]
    lanes: Any = FakeLanes({graph: [*found] for graph, found in times.items()})
    assert measured(FakeWork(), contenders, lanes, quiet) == [[2.0, 3.0, 4.0], [5.0, 7.0, 7.0]]
    faults = iter(["", "", "gave up"])
    lanes = FakeLanes({1: [[1.0]] * 3})
    with pytest.raises(OverlapError, match="gave up"):
        measured(FakeWork(), [BESIDE], lanes, lambda: next(faults))


# ---- figures ---------------------------------------------------------------------------------


def test_what_a_pair_saves_and_how_near_it_came_to_the_longer_of_the_two() -> None:
    cells = pair_cells()
    beside = cells[OVERLAPPED, 3]
    assert (beside.microseconds, beside.repeats) == (80.0, [80.0, 75.0, 88.0])
    assert beside.saves == pytest.approx(1 - 80 / 110)
    assert beside.saves_whole == pytest.approx(1 - 80 / 90)
    assert beside.of_ideal == pytest.approx(60 / 80)
    in_turn = cells[IN_TURN, 3]
    assert (in_turn.saves, in_turn.of_ideal) == (None, None)
    assert in_turn.saves_whole == pytest.approx(1 - 110 / 90)
    assert cells[SEND_ALONE, 3].bytes_per_second == pytest.approx(1e6 / 50e-6)
    alone = cells[GEMM_ALONE, 3]
    assert (alone.saves, alone.saves_whole, alone.bytes_per_second) == (None, None, None)


def test_a_layers_time_is_its_share_of_the_graph_and_a_links_own_is_not() -> None:
    cells = {cell.schedule: cell for cell in layer_cells((8, 16), 80.0, 120.0)}
    assert cells[SBO].microseconds == pytest.approx(80.0)
    assert cells[SBO].saves == pytest.approx(0.2)
    assert cells[TBO].saves == pytest.approx(-0.2)
    assert cells[RECEIVE_ALONE].microseconds == pytest.approx(10.0)
    assert cells[RECEIVE_ALONE].bytes_per_second == pytest.approx(4e8)


def found(against: str, schedule: str) -> Finding:
    cells = [
        *layer_cells((8, 16), 80.0, 120.0),
        *layer_cells((8, 64), 110.0, 90.0),
        *layer_cells((8, 256), 96.0, 100.0),
    ]
    (only,) = [
        each for each in findings_of(cells) if (each.against, each.schedule) == (against, schedule)
    ]
    return only


def test_findings_count_problems_and_name_the_best_and_the_worst() -> None:
    sbo = found(IN_TURN, SBO)
    assert (sbo.problems, sbo.faster, sbo.variant) == (3, 2, PUBLISHED)
    assert (sbo.best_at, sbo.worst_at) == ((8, 16), (8, 64))
    assert (sbo.best, sbo.median, sbo.worst) == pytest.approx((0.2, 0.04, -0.1))
    against_tbo = found(TBO, SBO)
    assert (against_tbo.faster, against_tbo.best_at) == (2, (8, 16))
    assert against_tbo.worst == pytest.approx(1 - 110 / 90)
    assert found(WHOLE_DEVICE, TBO).faster == 0


class OnePlan:
    """A down GEMM whose tile has as many rows as there are SMs, to tell where it was asked."""

    sm_count = SMS

    @property
    def gemm(self) -> OnePlan:
        return self

    def plan(self, sms: int, _variant: SignalPublish) -> SimpleNamespace:
        return SimpleNamespace(shape=Shape(sms, 32, 1, 1))


def test_slots_are_those_of_the_tile_on_the_other_sms() -> None:
    cells = pair_cells()
    down: Any = OnePlan()
    beside = replace(cells[OVERLAPPED, 3], experts=2, rows=130)
    found = overlap_benchmark._with_slots(beside, BESIDE, down)  # noqa: SLF001 - the part without a GPU
    assert (found.tile, found.slots) == (f"m{SMS - 3}n32s1c1", 2 * 2)
    assert overlap_benchmark._with_slots(beside, PAIRS[0], down) == beside  # noqa: SLF001 - as above
