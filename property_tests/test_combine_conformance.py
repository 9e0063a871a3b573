"""Combine Send takes over what its variant declares, and conformance notices when it does not."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from sbo_verify.compiled.combine_rules import COMBINE
from sbo_verify.compiled.conformance import Reading, compare
from sbo_verify.device.combine_build import build_combine, build_rounds
from sbo_verify.device.doctor import examine
from sbo_verify.device.source import KERNELS
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.protocols.signal_publish.combine import (
    FOREIGN,
    OVERLAP,
    combine_refusals,
    combine_steps,
    consumer_half,
    with_foreign,
)
from sbo_verify.protocols.signal_publish.gemm import gemm_refusals
from sbo_verify.protocols.signal_publish.sites import SITES, FanOut, Poll, Read, SignalPublish
from sbo_verify.verdict import CodeVerdict

PUBLISHED = "full_wait-atom_release"
DEEPEP = "deepep_combine-tma_load"


def variant_of(row: str) -> SignalPublish:
    variant = SIGNAL_PUBLISH.row(row).variant
    assert isinstance(variant, SignalPublish)
    return variant


def consumers() -> dict[str, SignalPublish]:
    """Every consumer of the rows that can be run, by the first row that has it."""
    found: dict[SignalPublish, str] = {}
    for row in OVERLAP:
        found.setdefault(consumer_half(variant_of(row.name)), row.name)
    return {name: half for half, name in found.items()}


CONSUMERS = consumers()
CHOICES = [
    consumer_half(SignalPublish(poll=poll, fan_out=fan_out, read=read))
    for poll in (Poll.LD_ACQUIRE, Poll.PLAIN_THEN_ACQUIRE)
    for fan_out in FanOut
    for read in Read
]


def read(variant: SignalPublish, cache: Path, kernels: Path = KERNELS) -> Reading:
    artefact = build_combine(variant, kernels=kernels, cache_in=cache)
    return compare(combine_steps(variant), artefact.ptx, COMBINE)


@pytest.mark.parametrize("row", CONSUMERS)
def test_the_compiled_consumer_orders_what_its_row_declares(row: str, cache: Path) -> None:
    reading = read(CONSUMERS[row], cache)
    assert reading.differences == []
    assert reading.verdict is CodeVerdict.AS_DECLARED


@pytest.mark.parametrize(
    "variant", CHOICES, ids=lambda v: f"{v.poll.word}-{v.fan_out.word}-{v.read.word}"
)
def test_every_fan_out_goes_with_every_read(variant: SignalPublish, cache: Path) -> None:
    assert read(variant, cache).differences == []


def test_the_skeleton_of_the_published_consumer_is_pinned(cache: Path) -> None:
    assert read(variant_of(DEEPEP), cache).skeleton == [
        ("consumer.poll", ["ld.acquire.gpu.global"]),
        ("consumer.fan_out", ["barrier.cta"]),
        (
            "consumer.read",
            [
                "mbarrier.arrive.expect_tx.release.cta",
                "cp.async.bulk (load)",
                "mbarrier.try_wait.acquire.cta",
                "ld.weak.shared",
            ],
        ),
    ]


def test_a_row_is_run_or_refused_with_a_way_out() -> None:
    for row in SIGNAL_PUBLISH:
        for reason in combine_refusals(variant_of(row.name)):
            assert ": choose " in reason


def test_rows_keep_their_names_and_hashes_and_only_what_is_refused_is_missing() -> None:
    kept = {row.name for row in OVERLAP}
    for row in OVERLAP:
        assert SIGNAL_PUBLISH.hash_of(SIGNAL_PUBLISH.row(row.name).variant) == OVERLAP.hash_of(
            row.variant
        )
    for row in SIGNAL_PUBLISH:
        variant = variant_of(row.name)
        refused = [*gemm_refusals(variant), *combine_refusals(variant)]
        assert (row.name in kept) == (not refused)


def test_every_choice_of_the_consumer_that_can_run_is_run() -> None:
    for site in ("poll", "fan_out", "read"):
        used = {half.words()[site] for half in CONSUMERS.values()}
        assert used == {choice.word for choice in SITES[site]} - {"none"}


def test_a_foreign_producer_stands_in_the_published_row() -> None:
    protocol = with_foreign("a.b:c")
    row = protocol.row(FOREIGN)
    assert row.variant == variant_of(PUBLISHED)
    assert row.source == "a.b:c"
    assert row.sound
    assert len(protocol.rows) == len(OVERLAP.rows)


# ---- the check can fail ---------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """A change to one header, and a part of the difference that it must cause."""

    name: str
    header: str
    old: str
    new: str
    difference: str
    row: str


CHANGES = (
    Change(
        "no barrier behind the poll",
        "combine_send.cuh",
        "  if constexpr (V::fan_out == FanOut::cta_barrier) group.sync();\n",
        "",
        "site consumer.fan_out: declared barrier.cta after consumer.poll",
        DEEPEP,
    ),
    Change(
        "a barrier that mends the mutant",
        "combine_send.cuh",
        "  if constexpr (V::fan_out == FanOut::cta_barrier) group.sync();\n",
        "  group.sync();\n",
        "site consumer.fan_out: declared nothing, compiled barrier.cta",
        "poll_one_thread-others_unordered",
    ),
    Change(
        "a proxy fence that nobody declared",
        "combine_send.cuh",
        "  if (issues && V::read == Read::tma_after_fence) ptx::fence_proxy_async();\n",
        "  if (issues) ptx::fence_proxy_async();\n",
        "site consumer.read: declared nothing, compiled fence.proxy.async",
        DEEPEP,
    ),
    Change(
        "read before the copy has arrived",
        "combine_send.cuh",
        "    const bool came = wait_for_piece(c, stages, done);\n",
        "    const bool came = true;\n",
        "site consumer.read: declared mbarrier.try_wait.acquire.cta",
        DEEPEP,
    ),
    Change(
        "a fence between poll and read",
        "combine_send.cuh",
        "      delay(p.delay_after_poll_cycles);\n",
        "      __threadfence();\n",
        "outside every site: declared nothing, compiled fence.sc.gpu",
        "poll_relaxed",
    ),
    Change(
        "an acquire while slots are counted",
        "slots.cuh",
        "__ldg(received_ + group_)",
        "ptx::ld_acquire<ptx::Scope::gpu>(received_ + group_)",
        "site harness.slots: declared ld.nc.global, compiled ld.acquire.gpu.global",
        PUBLISHED,
    ),
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_a_changed_consumer_differs_and_the_message_says_how(
    change: Change, cache: Path, tmp_path: Path
) -> None:
    kernels = changed(tmp_path, change.header, change.old, change.new)
    reading = read(variant_of(change.row), cache, kernels)
    assert reading.verdict is CodeVerdict.DIFFERS
    assert any(change.difference in each for each in reading.differences), reading.differences


def changed(folder: Path, header: str, old: str, new: str) -> Path:
    """A copy of the kernels with one change."""
    kernels = folder / "kernels"
    shutil.copytree(KERNELS, kernels)
    text = (kernels / header).read_text()
    assert text.count(old) == 1
    (kernels / header).write_text(text.replace(old, new))
    return kernels


def test_the_ptx_of_another_row_differs(cache: Path) -> None:
    ptx = build_combine(variant_of("poll_relaxed"), cache_in=cache).ptx
    steps = combine_steps(variant_of(PUBLISHED))
    assert compare(steps, ptx, COMBINE).verdict is CodeVerdict.DIFFERS


# ---- what conformance cannot see: ptxas drops weak loads whose result is not used --------------


def weak_loads(cubin: bytes, folder: Path) -> int:
    """Plain loads of global memory in the machine code."""
    file = folder / "kernel.cubin"
    file.write_bytes(cubin)
    nvdisasm = next(found.detail for found in examine() if "nvdisasm" in found.what)
    words = [nvdisasm, str(file)]
    text = subprocess.run(words, capture_output=True, text=True, check=True).stdout  # noqa: S603 - a file of ours
    return sum(" LDG.E R" in line or " LDG.E.128 R" in line for line in text.splitlines())


def test_old_lines_are_still_loaded_once_ptxas_is_done(cache: Path, tmp_path: Path) -> None:
    """The knob `prime_l1` is worth nothing where its loads are gone."""
    variant = variant_of("poll_relaxed")
    use = "  *const_cast<volatile unsigned*>(&sink) = used;\n"
    kernels = changed(tmp_path, "patience.cuh", use, "")
    loads = weak_loads(build_combine(variant, cache_in=cache).cubin, tmp_path)
    fewer = weak_loads(build_combine(variant, kernels=kernels, cache_in=cache).cubin, tmp_path)
    assert fewer < loads


def test_the_kernels_between_rounds_are_built(cache: Path) -> None:
    artefact = build_rounds(cache_in=cache)
    for entry in ("prepare_round", "gate_producer", "gate_noise", "make_noise"):
        assert f".entry {entry}(" in artefact.ptx
