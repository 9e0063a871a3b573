"""Combine Send on silicon: every row that counts arrives, no other is touched, nothing hangs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from sbo_verify.device.combine_layout import name_of, slots_of
from sbo_verify.device.live_shot import RawLive
from sbo_verify.device.live_tensors import LiveTensors
from sbo_verify.harness.live_bench import LiveBench, shot_of, variant_of
from sbo_verify.harness.live_knobs import LiveKnobs
from sbo_verify.harness.producers import announcement
from sbo_verify.protocols.signal_publish.combine import OVERLAP
from sbo_verify.protocols.signal_publish.sites import SourceFence

pytestmark = [pytest.mark.silicon, pytest.mark.live_gemm]

PUBLISHED = "full_wait-atom_release"
ROUNDS = 7
CALM = LiveKnobs(
    rounds=ROUNDS, rounds_per_graph=3, gemm_sms=20, consumers=3, noise_sms=0, timeout_ms=500
)
# One of each way to read: by all threads, by TMA, by TMA behind a fence, by one thread alone.
READERS = (
    PUBLISHED,
    "deepep_combine-tma_load",
    "read_tma-proxy_fence",
    "poll_one_lane-syncwarp",
    "poll_one_thread-reads_alone",
)


@dataclass(frozen=True)
class Case:
    """Sizes and masks of one launch."""

    groups: int
    m: int
    n: int
    k: int
    masks: tuple[int, ...]


CASES = (
    Case(1, 1, 8, 128, (1,)),
    Case(3, 130, 136, 256, (0, 130, 65)),
    Case(5, 40, 904, 128, (40, 1, 0, 39, 7)),
    Case(2, 200, 2048, 384, (200, 129)),
)


def launched(
    bench: LiveBench, name: str, case: Case, knobs: LiveKnobs
) -> tuple[RawLive, LiveTensors, int]:
    """One launch, its tensors, and the slots of a round."""
    row = OVERLAP.row(name)
    sizes = (case.groups, case.m, case.n, case.k)
    fitted = replace(knobs, groups=case.groups, m=case.m, n=case.n, k=case.k)
    producer = bench.producer_of(row, fitted)
    tensors = bench.arena.tensors(sizes, case.masks, 1)
    expected_m = max(1, sum(case.masks) // case.groups)

    def produce() -> object:
        return producer.call(tensors, expected_m)

    block_m, threshold = announcement(producer.name, bench.arena.once(produce))
    shot = shot_of(fitted, variant_of(row), (block_m, threshold), 1)
    raw = bench.arena.run(shot, bench.kernel(row), tensors, produce)
    return raw, tensors, sum(1 for _ in slots_of(case.masks, case.m, block_m))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.groups}x{case.m}x{case.n}")
@pytest.mark.parametrize("name", READERS)
def test_every_row_that_counts_is_sent_and_no_other(
    live_bench: LiveBench, name: str, case: Case
) -> None:
    raw, tensors, slots = launched(live_bench, name, case, CALM)
    counters: Any = raw.counters[0]
    assert not counters["fault_claimed"]
    assert int(counters["observations"]) == ROUNDS * slots
    assert int(counters["rows"]) == ROUNDS * sum(case.masks)
    assert int(counters["stale_tiles"] + counters["wrong_words"] + counters["ahead_words"]) == 0
    torch = live_bench.arena.torch
    # The destination holds the last round where rows count, and what it held before elsewhere.
    expected = torch.zeros_like(tensors.destination).view(torch.int16)
    for group, rows in enumerate(case.masks):
        expected[group, :rows] = name_of(ROUNDS)
    assert torch.equal(tensors.destination.view(torch.int16), expected)


@pytest.mark.parametrize("consumers", [1, 3, 90])
def test_any_number_of_consumers_will_do(live_bench: LiveBench, consumers: int) -> None:
    raw, _, slots = launched(
        live_bench, PUBLISHED, CASES[1], replace(CALM, consumers=consumers, rounds_per_graph=0)
    )
    assert int(raw.counters[0]["observations"]) == ROUNDS * slots


@pytest.mark.parametrize("unfenced", [False, True])
def test_words_of_no_round_are_stale_only_where_the_copy_is_not_fenced(
    live_bench: LiveBench, *, unfenced: bool
) -> None:
    """NaN, which names no round, in place of every product."""
    row = OVERLAP.row(PUBLISHED)
    case = CASES[1]
    fitted = replace(CALM, groups=case.groups, m=case.m, n=case.n, k=case.k)
    producer = live_bench.producer_of(row, fitted)
    tensors = live_bench.arena.tensors((case.groups, case.m, case.n, case.k), case.masks, 1)
    tensors.b[1].fill_(float("nan"))

    def produce() -> object:
        return producer.call(tensors, 64)

    announced = announcement(producer.name, live_bench.arena.once(produce))
    variant = variant_of(row)
    if unfenced:
        variant = variant.with_choices(source_fence=SourceFence.NONE)
    shot = shot_of(fitted, variant, announced, 1)
    raw = live_bench.arena.run(shot, live_bench.kernel(row), tensors, produce)
    counters: Any = raw.counters[0]
    words = ROUNDS * sum(case.masks) * case.n // 2
    assert int(counters["stale_words"]) == (words if unfenced else 0)
    assert int(counters["wrong_words"]) == (0 if unfenced else words)


def test_rounds_that_outlive_their_limit_are_stopped(live_bench: LiveBench) -> None:
    """A producer that never signals, and a host with less patience than the kernels."""
    bench, case = live_bench, CASES[1]
    tensors = bench.arena.tensors((case.groups, case.m, case.n, case.k), case.masks, 1)
    row = OVERLAP.row(PUBLISHED)
    calm = replace(CALM, rounds_per_graph=0, timeout_ms=10_000)
    shot = shot_of(calm, variant_of(row), (64, 1), 1)
    kernel = bench.kernel(row)
    raw = bench.arena.run(replace(shot, limit_seconds=0.2), kernel, tensors, lambda: None)
    assert raw.hung
    assert raw.elapsed_seconds < 5
