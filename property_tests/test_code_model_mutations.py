"""Kernels with one thing changed: the model judges what they hold, or says why it does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from kernel_mutations import OF_KERNELS
from mutations import OF_WRAPPERS, Mutation

from sbo_verify.compiled.flow import read
from sbo_verify.device.build import build
from sbo_verify.device.source import KERNELS
from sbo_verify.harness.code_model import CodeModel, micro_program, model_of_code
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.protocols.signal_publish.sites import SignalPublish
from sbo_verify.verdict import ModelVerdict
from sbo_verify.vocabulary import Order

AGREES, DIFFERS, UNJUDGED = True, False, None
# Stronger than declared, of no weight for the verdict, or outside the hand-over.
NO_OTHER_VERDICT = {
    "red_add_relaxed-producer.publish-red.relaxed.cta.global",
    "red_add_release-harness.flow-red.relaxed.gpu.global",
    "st_relaxed-producer.publish-st.relaxed.cta.global",
    "st_volatile-producer.publish-st.weak.global",
    "ld_relaxed-consumer.poll-ld.relaxed.cta.global",
    "ld_volatile-consumer.poll-ld.acquire.gpu.global",
    "fence_acq_rel-consumer.poll-fence.sc.gpu",
    "barrier_cta_red_or-harness.done-without",
    "barrier_cta_red_or-harness.done-fence.sc.gpu",
    "mbarrier_init-harness.setup-without",
    "mbarrier_arrive_expect_tx-consumer.read-mbarrier.arrive.expect_tx.relaxed.cta",
    "ld_weak_v4-consumer.read-ld.relaxed.gpu.global",
    "ld_relaxed_gpu_v4-consumer.read-ld.weak.global",
    "st_weak_v4-producer.store-st.relaxed.gpu.global",
    "ld_weak_shared_v4-consumer.read-ld.relaxed.cta.shared",
    "st_weak_shared_v4-harness.fill-st.relaxed.cta.shared",
    "st_relaxed_cta_shared-consumer.fan_out-st.release.cta.shared",
    "ld_relaxed_cta_shared-consumer.fan_out-ld.acquire.cta.shared",
    # The atomic's fence is stronger than the release that was declared.
    "signal.cuh-producer.publish-fence.sc.gpu",
    # The issuing threads' fence stands behind the barrier then, and covers what others wrote.
    "signal_publish.cuh-producer.source_join-nothing_there",
}
# Why the model is not asked about a program: part of what is said.
NOT_JUDGED = {
    "st_relaxed-producer.publish-st.release.gpu.global": "of harness.stop, orders consumer.poll",
    "ld_relaxed-consumer.poll-ld.acquire.gpu.global": "of harness.patience, orders consumer.poll",
    "fence_proxy_async-unreadable-no_word_for_fence.proxy.alias": "no word for fence.proxy.alias",
    "cp_async_bulk_tensor_2d_load-consumer.read-nothing": "is left out on a path",
    "cp_async_bulk_load-consumer.read-nothing": "is left out on a path",
    "mbarrier_try_wait_acquire-consumer.read-mbarrier.try_wait.relaxed.cta": "is no acquire",
    "signal.cuh-producer.publish-otherwise_at_PTX_lines": "fence.acq_rel.gpu is left out",
    "signal_publish.cuh-producer.publish-where_no_path_leads": "does not pass producer.source_join",
    "signal_publish.cuh-producer.store-cp.async.bulk.tensor_(store)_at_PTX_line": "2 times",
    "signal_publish.cuh-producer.store-cp.async.bulk.commit_group_at_PTX_line": "and its group",
    "signal_publish.cuh-consumer.poll-behind_it,_PTX_lines": "one thread hands over and polls",
    "signal_publish.cuh-consumer.fan_out-otherwise_at_PTX_lines": "not a flag that one stores",
    "signal_publish.cuh-outside_every_site-fence.sc.gpu": "stands outside every site",
    "signal_publish.cuh-harness.flow-barrier.cta_at_PTX_line": "of harness.flow, orders",
    "signal_publish.cuh-producer.other-at_PTX_line": "stands inside another site",
    "signal_publish.cuh-producer.store-inside_it_at_PTX_line": "stands inside another site",
    # The harness adds to the signal by the same wrapper where it plants a fault.
    "red_add_relaxed-producer.publish-red.release.gpu.global": "of harness.plant, orders",
    "signal_publish.cuh-unreadable-harness.flow": "one path comes here in harness.flow",
}


# What a sound row does not rest on: generic stores have no source to join, and of a read that is
# unrolled one load is as good as four.
NEEDLESS = {("producer.source_join", "generic"), ("consumer.read", "tensor")}


def variant_of(row: str) -> SignalPublish:
    variant = SIGNAL_PUBLISH.row(row).variant
    assert isinstance(variant, SignalPublish)
    return variant


def asked(row: str, ptx: str) -> CodeModel:
    return model_of_code("signal_publish", variant_of(row), micro_program(ptx))


@pytest.mark.parametrize("mutation", [*OF_WRAPPERS, *OF_KERNELS], ids=lambda m: m.name)
def test_a_changed_kernel_is_judged_by_what_it_holds_or_not_at_all(
    mutation: Mutation, cache: Path, tmp_path: Path
) -> None:
    kernels = tmp_path / "kernels"
    shutil.copytree(KERNELS, kernels)
    mutation.apply(kernels)
    variant = variant_of(mutation.row)
    ptx = build(SIGNAL_PUBLISH, variant, kernels=kernels, cache_in=cache).ptx
    model = asked(mutation.row, ptx)
    if mutation.name in NO_OTHER_VERDICT:
        assert model.agrees is AGREES, model.notes
        assert model.notes == []
    elif mutation.name in NOT_JUDGED:
        assert model.agrees is UNJUDGED
        assert NOT_JUDGED[mutation.name] in "; ".join(model.notes)
    else:
        assert model.agrees is DIFFERS, model.notes


def test_no_mutation_that_is_named_above_is_missing() -> None:
    names = {mutation.name for mutation in (*OF_WRAPPERS, *OF_KERNELS)}
    assert names >= NO_OTHER_VERDICT | NOT_JUDGED.keys()


@pytest.mark.parametrize("row", [row.name for row in SIGNAL_PUBLISH if row.sound])
def test_a_sound_row_without_any_one_of_its_ordering_instructions_is_not_forbidden(
    row: str, cache: Path
) -> None:
    ptx = build(SIGNAL_PUBLISH, variant_of(row), cache_in=cache).ptx
    lines = ptx.splitlines()
    verdicts = []
    for found in read(ptx).instructions:
        site = found.region.site if found.region else "harness."
        if site.startswith("harness.") or found.instruction.order in {Order.WEAK, Order.VOLATILE}:
            continue
        without = "\n".join([*lines[: found.line - 1], "", *lines[found.line :]])
        model = asked(row, without)
        verdicts.append(model.verdict)
        if (site, variant_of(row).store.word) not in NEEDLESS:
            assert model.agrees is not True, found
            assert model.verdict is not ModelVerdict.FORBIDDEN, found
    assert ModelVerdict.ALLOWED in verdicts


@pytest.mark.parametrize(
    ("row", "site", "why"),
    [
        ("full_wait-atom_release", "producer.source_fence", "does not pass producer.source_fence"),
        ("full_wait-atom_release", "producer.source_join", "does not pass producer.source_join"),
        ("full_wait-atom_release", "producer.drain", "and not pass producer.drain"),
        ("full_wait-atom_release", "producer.join", "does not pass producer.join"),
        ("deferred-newest_pending-release", "producer.flush", "and not pass producer.flush"),
        ("poll_one_thread-cta_barrier", "consumer.fan_out", "does not pass consumer.fan_out"),
    ],
)
def test_a_site_that_a_condition_of_its_own_leaves_out_is_not_taken_for_passed(
    row: str, site: str, why: str, cache: Path
) -> None:
    """Its instructions are all there; only the paths tell that some threads go round them."""
    ptx = build(SIGNAL_PUBLISH, variant_of(row), cache_in=cache).ptx
    begin, end = f"// sbo:begin {site}\n", f"// sbo:end {site}\n"
    around = ptx.replace(begin, f"@%p0 bra $L__around;\n{begin}", 1)
    around = around.replace(end, f"{end}$L__around:\n", 1)
    assert around != ptx
    model = asked(row, around)
    assert model.agrees is None
    assert why in "; ".join(model.notes)
