"""The signal GEMM on silicon: D to the bit, signals at their thresholds, nothing else touched."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from sbo_verify.cli import main
from sbo_verify.device.gemm_inputs import (
    Inputs,
    exact_inputs,
    expected_d,
)
from sbo_verify.device.gemm_layout import BLOCK_MS, BLOCK_NS, CLUSTERS, Shape, most_stages
from sbo_verify.device.library_products import LIBRARIES
from sbo_verify.device.torch_device import torch_module
from sbo_verify.gemm import (
    GemmArgumentError,
    check_tensors,
    chosen_variant,
    launch_plan,
    m_grouped_fp8_gemm_nt_masked,
    m_grouped_fp8_gemm_nt_signal,
    m_major,
    plan_for,
)
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.protocols.signal_publish.gemm import NO_SIGNAL, gemm_refusals, producer_half

pytestmark = [
    pytest.mark.silicon,
    pytest.mark.live_gemm,
    pytest.mark.usefixtures("live_bench"),
]

PUBLISHED = "full_wait-atom_release"
SEED = 31
DRAWS = 24


@dataclass(frozen=True)
class Case:
    """Sizes, masks and SMs of one launch."""

    groups: int
    m: int
    n: int
    k: int
    masked: tuple[int, ...]
    num_sms: int

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        return self.groups, self.m, self.n, self.k


def drawn_case(index: int) -> Case:
    """Masks empty, partial and full; K from one to many blocks; N with tails; few and all SMs."""
    random_ = random.Random(f"{SEED} {index}")
    groups, m = random_.choice((1, 2, 5, 33)), random_.choice((1, 40, 64, 129, 200, 256))
    n, k = 8 * random_.randint(1, 90), 128 * random_.choice((1, 2, 3, 5, 16, 33))
    masked = tuple(random_.choice((0, m, random_.randint(0, m))) for _ in range(groups))
    return Case(groups, m, n, k, masked, random_.choice((1, 2, 7, 76, 132)))


def expected_signals(inputs: Inputs, block_m: int, threshold: int) -> list[int]:
    """Each slot that is used at the threshold, 0 in the others, to the end of the tensor."""
    slots = -(-inputs.d.shape[1] // block_m)
    expected = [0] * len(inputs.signal)
    for group, rows in enumerate(inputs.masked_m.tolist()):
        for block in range(-(-rows // block_m)):
            expected[group * slots + block] = threshold
    return expected


def same(d: Any, expected: Any) -> bool:  # noqa: ANN401 - torch tensors
    return bool((d == expected).all())


@pytest.mark.parametrize("index", range(DRAWS))
def test_any_problem_is_exact_and_signals_reach_their_threshold(index: int) -> None:
    case = drawn_case(index)
    inputs = exact_inputs(case.sizes, case.masked, index)
    block_m, threshold = m_grouped_fp8_gemm_nt_signal(
        *(inputs.a, inputs.b, inputs.d, inputs.masked_m),
        max(1, sum(case.masked) // case.groups),
        inputs.signal,
        num_sms=case.num_sms,
    )
    assert same(inputs.d, expected_d(inputs)), case
    assert inputs.signal.tolist() == expected_signals(inputs, block_m, threshold), case


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize("block_n", BLOCK_NS)
@pytest.mark.parametrize("block_m", BLOCK_MS)
def test_every_tile_shape_is_exact(block_m: int, block_n: int, cluster: int) -> None:
    """Also those that the heuristic would not choose: odd numbers of blocks in either direction."""
    variant = chosen_variant(PUBLISHED)
    for sizes, masked in (
        ((3, 3 * block_m, 5 * block_n - 8, 640), (3 * block_m, 0, block_m + 3)),
        ((2, 70, 2 * block_n, 128), (70, 1)),
    ):
        inputs = exact_inputs(sizes, masked, block_n)
        stages = most_stages(block_m, block_n, variant, sizes[3])
        shape = Shape(block_m, block_n, stages, cluster)
        problem = check_tensors(inputs.a, inputs.b, inputs.d, inputs.masked_m, sizes[1])
        plan = plan_for(problem, sizes[1], variant=variant, shape=shape)
        launch_plan(plan, inputs.a, inputs.b, inputs.d, inputs.masked_m, signal=inputs.signal)
        assert same(inputs.d, expected_d(inputs)), shape
        assert inputs.signal.tolist() == expected_signals(inputs, block_m, plan.threshold), shape


def runnable_rows() -> list[str]:
    """The first row of every producer that the GEMM can run."""
    found: dict[Any, str] = {}
    for row in SIGNAL_PUBLISH:
        variant: Any = row.variant
        if not gemm_refusals(variant):
            found.setdefault(producer_half(variant), row.name)
    return list(found.values())


@pytest.mark.parametrize("row", runnable_rows())
def test_every_producer_computes_the_same(row: str) -> None:
    """A broken hand-over is broken for who reads too early; after the kernel all is in memory."""
    inputs = exact_inputs((3, 200, 520, 384), (200, 77, 0), 5)
    block_m, threshold = m_grouped_fp8_gemm_nt_masked(
        *(inputs.a, inputs.b, inputs.d, inputs.masked_m),
        128,
        enable_overlap=True,
        signal=inputs.signal,
        variant=row,
    )
    assert same(inputs.d, expected_d(inputs))
    assert inputs.signal.tolist() == expected_signals(inputs, block_m, threshold)


def test_without_overlap_no_signal_is_written() -> None:
    inputs = exact_inputs((2, 128, 256, 512), (128, 5), 1)
    plan = plan_for(check_tensors(inputs.a, inputs.b, inputs.d, inputs.masked_m, 64), 64)
    assert plan.variant == NO_SIGNAL
    launch_plan(plan, inputs.a, inputs.b, inputs.d, inputs.masked_m, signal=inputs.signal)
    assert same(inputs.d, expected_d(inputs))
    assert not inputs.signal.any()


def test_a_wrong_d_would_be_noticed() -> None:
    """One element of one row that counts, and one that does not."""
    inputs = exact_inputs((1, 128, 256, 128), (100,), 1)
    m_grouped_fp8_gemm_nt_masked(inputs.a, inputs.b, inputs.d, inputs.masked_m, 128)
    expected = expected_d(inputs)
    assert same(inputs.d, expected)
    for row in (99, 100):
        changed = inputs.d.clone()
        changed[0, row, 255] = 0.5
        assert not same(changed, expected)


def test_row_major_and_m_major_scales_give_the_same() -> None:
    inputs = exact_inputs((2, 130, 256, 1024), (130, 64), 3)
    problem = check_tensors(inputs.a, inputs.b, inputs.d, inputs.masked_m, 130)
    m_grouped_fp8_gemm_nt_masked(inputs.a, inputs.b, inputs.d, inputs.masked_m, 130)
    again = replace(inputs, a=(inputs.a[0], m_major(inputs.a[1], problem)), d=inputs.d.clone())
    m_grouped_fp8_gemm_nt_masked(again.a, again.b, again.d, again.masked_m, 130)
    assert same(inputs.d, again.d)


def test_a_captured_graph_computes_again() -> None:
    torch = torch_module()
    inputs = exact_inputs((2, 128, 512, 1024), (128, 31), 2)
    expected = expected_d(inputs)

    def call(*, check_inputs: bool) -> None:
        m_grouped_fp8_gemm_nt_signal(
            *(inputs.a, inputs.b, inputs.d, inputs.masked_m, 128, inputs.signal),
            check_inputs=check_inputs,
        )

    call(check_inputs=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call(check_inputs=False)
    for _ in range(2):
        inputs.d.zero_()
        graph.replay()
        torch.cuda.synchronize()
        assert same(inputs.d[0], expected[0])
        assert same(inputs.d[1, :31], expected[1, :31])
        assert not inputs.d[1, 31:].any()


@pytest.mark.parametrize("masks", [(500, 3), (-7, 128), (1 << 30, -(1 << 31))])
def test_masks_out_of_range_reach_no_other_memory_when_nobody_looks(
    masks: tuple[int, int],
) -> None:
    """With the check turned off, a mask counts as the nearest that is allowed."""
    inputs = exact_inputs((2, 128, 256, 256), (0, 0), 4)
    inputs.masked_m.copy_(inputs.masked_m.new_tensor(masks))
    block_m, threshold = m_grouped_fp8_gemm_nt_signal(
        *(inputs.a, inputs.b, inputs.d, inputs.masked_m, 128, inputs.signal), check_inputs=False
    )
    inputs.masked_m.clamp_(0, 128)
    assert same(inputs.d, expected_d(inputs))
    assert inputs.signal.tolist() == expected_signals(inputs, block_m, threshold)


def unchecked(*tensors: Any, **options: Any) -> tuple[int, int]:  # noqa: ANN401 - torch tensors
    """The GEMM as a foreign producer: nobody clears its signals between launches."""
    return m_grouped_fp8_gemm_nt_masked(*tensors, check_inputs=False, **options)


LONGEST_TURN = 20_000


def test_the_benchmark_measures_a_small_shape(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "gemm", "--json", "--shape", "2x64x256x512", "--variants", PUBLISHED]
    assert main([*words, "--beside", f"{__name__}:unchecked"]) == 0
    record = json.loads(capsys.readouterr().out)
    variants = [cell["variant"] for cell in record["cells"]]
    assert variants[:4] == ["plain", PUBLISHED, "plain", "signal"]
    assert len(variants[4:]) + len(record["left_out"]) == len(LIBRARIES)
    assert all(cell["product_is_right"] for cell in record["cells"])
    # Microseconds: other processes of a gate take turns of some milliseconds with each launch.
    assert all(1 < min(cell["repeats"]) < LONGEST_TURN for cell in record["cells"])
    assert [goal["variant"] for goal in record["goals"]] == [PUBLISHED]
    assert {limit["source"] for limit in record["limits"]} == {"datasheet", "measured"}
    assert record["settings"]["machine"]["gpu"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda i: i.masked_m.fill_(129), "masked_m holds 129; allowed is 0 to 128"),
        (lambda i: i.masked_m.fill_(-1), "masked_m holds -1; allowed is 0 to 128"),
        (lambda i: i.signal.fill_(1), "signal holds 4 elements that are not 0"),
    ],
)
def test_wrong_values_are_refused_before_the_launch(
    spoil: Callable[[Inputs], object], message: str
) -> None:
    inputs = exact_inputs((2, 128, 256, 128), (128, 128), 1)
    spoil(inputs)
    before = inputs.d.clone()
    with pytest.raises(GemmArgumentError, match=message):
        m_grouped_fp8_gemm_nt_signal(
            *(inputs.a, inputs.b, inputs.d, inputs.masked_m, 128, inputs.signal)
        )
    assert same(inputs.d, before)
