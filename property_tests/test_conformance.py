"""Every variant compiles to what it declares, and conformance notices when one does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from kernel_mutations import OF_KERNELS
from kernel_text import assemblies, functions, orders
from mutations import OF_WRAPPERS, PUBLISHED, Mutation

from sbo_verify.compiled.conformance import code_reading, read_back
from sbo_verify.compiled.machine_order import read_machine_code
from sbo_verify.compiled.nvdisasm import disassemble
from sbo_verify.compiled.ptx import Statement, scan
from sbo_verify.device.build import Artefact, build
from sbo_verify.device.source import KERNELS
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.record import CodeReading
from sbo_verify.verdict import CodeVerdict, MachineVerdict
from sbo_verify.vocabulary import UnknownInstructionError, parse

# Cases that only a compiled kernel shows: which instructions stand in which order.
SKELETONS = {
    PUBLISHED: [
        ("producer.source_fence", ["fence.proxy.async.shared"]),
        ("producer.source_join", ["barrier.cta"]),
        ("producer.store", ["cp.async.bulk.tensor (store)", "cp.async.bulk.commit_group"]),
        ("producer.drain", ["cp.async.bulk.wait_group 0"]),
        ("producer.join", ["barrier.cta"]),
        ("producer.publish", ["atom.release.gpu.global"]),
        ("consumer.poll", ["ld.acquire.gpu.global"]),
        ("consumer.read", ["ld.weak.global"]),
    ],
    "deferred-newest_pending-release": [
        ("producer.source_fence", ["fence.proxy.async.shared"]),
        ("producer.source_join", ["barrier.cta"]),
        ("producer.store", ["cp.async.bulk.tensor (store)", "cp.async.bulk.commit_group"]),
        ("producer.drain", ["cp.async.bulk.wait_group 1"]),
        ("producer.join", ["barrier.cta"]),
        ("producer.publish", ["red.release.gpu.global"]),
        ("consumer.poll", ["ld.acquire.gpu.global"]),
        ("consumer.read", ["ld.weak.global"]),
        # What follows the last round stands behind the other role in the text.
        ("producer.flush", ["cp.async.bulk.wait_group 0"]),
        ("producer.join", ["barrier.cta"]),
        ("producer.publish", ["red.release.gpu.global"]),
    ],
    # The tile is stored, drained and read by one program, with no signal.
    "readback-full_wait": [
        ("producer.source_fence", ["fence.proxy.async.shared"]),
        ("producer.source_join", ["barrier.cta"]),
        ("producer.store", ["cp.async.bulk.tensor (store)", "cp.async.bulk.commit_group"]),
        ("producer.drain", ["cp.async.bulk.wait_group 0"]),
        ("consumer.read", ["ld.weak.global"]),
    ],
    "generic_store-tma_load-proxy_fence": [
        ("producer.source_join", ["barrier.cta"]),
        ("producer.store", ["st.weak.global"]),
        ("producer.join", ["barrier.cta"]),
        ("producer.publish", ["red.release.gpu.global"]),
        ("consumer.poll", ["ld.acquire.gpu.global"]),
        (
            "consumer.read",
            [
                "fence.proxy.async",
                "mbarrier.arrive.expect_tx.release.cta",
                "cp.async.bulk (load)",
                "mbarrier.try_wait.acquire.cta",
                "ld.weak.shared",
            ],
        ),
    ],
    # Generic addresses: cuda::atomic_ref does not say that its object is in global memory.
    "full_wait-atomic_ref_release": [
        ("producer.source_fence", ["fence.proxy.async.shared"]),
        ("producer.source_join", ["barrier.cta"]),
        ("producer.store", ["cp.async.bulk.tensor (store)", "cp.async.bulk.commit_group"]),
        ("producer.drain", ["cp.async.bulk.wait_group 0"]),
        ("producer.join", ["barrier.cta"]),
        ("producer.publish", ["atom.release.gpu"]),
        ("consumer.poll", ["ld.acquire.gpu.global"]),
        ("consumer.read", ["ld.weak.global"]),
    ],
}


def built(row: str, cache: Path, kernels: Path = KERNELS) -> Artefact:
    variant = SIGNAL_PUBLISH.row(row).variant
    return build(SIGNAL_PUBLISH, variant, kernels=kernels, cache_in=cache)


@pytest.mark.parametrize("row", [row.name for row in SIGNAL_PUBLISH])
def test_the_compiled_kernel_orders_what_its_row_declares(row: str, cache: Path) -> None:
    artefact = built(row, cache)
    reading = code_reading(SIGNAL_PUBLISH, SIGNAL_PUBLISH.row(row), artefact)
    assert reading.differences == []
    assert reading.verdict == CodeVerdict.AS_DECLARED.value
    assert reading.row == row
    assert reading.variant in artefact.ptx
    assert reading.ptx_sha256 == artefact.ptx_sha256
    assert reading.cubin_sha256 == artefact.cubin_sha256
    assert reading.compiler == artefact.compiler
    assert CodeReading.from_json(reading.to_json()) == reading
    # And ptxas kept what the PTX orders.
    machine = read_machine_code(artefact.ptx, disassemble(artefact.cubin))
    assert machine.reasons == []
    assert machine.verdict is MachineVerdict.KEPT


@pytest.mark.parametrize("row", SKELETONS)
def test_the_skeleton_of_a_row_is_pinned(row: str, cache: Path) -> None:
    reading = read_back(SIGNAL_PUBLISH, SIGNAL_PUBLISH.row(row).variant, built(row, cache).ptx)
    assert reading.skeleton == SKELETONS[row]


@pytest.mark.parametrize("mutation", [*OF_WRAPPERS, *OF_KERNELS], ids=lambda m: m.name)
def test_a_changed_kernel_differs_and_the_message_names_both_sides(
    mutation: Mutation, cache: Path, tmp_path: Path
) -> None:
    kernels = tmp_path / "kernels"
    shutil.copytree(KERNELS, kernels)
    mutation.apply(kernels)
    row = SIGNAL_PUBLISH.row(mutation.row)
    reading = read_back(SIGNAL_PUBLISH, row.variant, built(row.name, cache, kernels).ptx)
    assert reading.verdict is CodeVerdict.DIFFERS
    naming = [
        difference
        for difference in reading.differences
        if mutation.site in difference.split(": declared")[0] and names_both(difference, mutation)
    ]
    assert naming, "\n".join(reading.differences)


def names_both(difference: str, mutation: Mutation) -> bool:
    declared, compiled = difference.split(", compiled", 1)
    return mutation.declared in f"{declared}," and mutation.compiled in compiled


def test_every_wrapper_that_orders_is_mutated() -> None:
    """A wrapper added to ptx.cuh needs a row in the table of mutations."""
    assert ordering_wrappers((KERNELS / "ptx.cuh").read_text()) == {
        mutation.wrapper for mutation in OF_WRAPPERS
    }


def test_a_new_wrapper_would_be_missed() -> None:
    """The check above can fail: a wrapper beyond the table is found."""
    text = (KERNELS / "ptx.cuh").read_text()
    added = text + (
        "\n__device__ __forceinline__ void fence_sc_gpu() {\n"
        '  asm volatile("fence.sc.gpu;" ::: "memory");\n}\n'
    )
    assert ordering_wrappers(added) - ordering_wrappers(text) == {"fence_sc_gpu"}


def ordering_wrappers(text: str) -> set[str]:
    """The wrappers of a header whose assembly spells an instruction that conformance reads."""
    return {
        name
        for name, body in functions(text).items()
        if any(orders(mnemonic) for each in assemblies(body) for mnemonic in each.mnemonics)
    }


@pytest.mark.parametrize("row", [PUBLISHED, "deferred-read_wait-release", "readback-full_wait"])
def test_the_ptx_of_another_row_differs(row: str, cache: Path) -> None:
    """A reading that accepts whatever it is given would say that all rows are alike."""
    ptx = built("read_wait-relaxed", cache).ptx
    reading = read_back(SIGNAL_PUBLISH, SIGNAL_PUBLISH.row(row).variant, ptx)
    assert reading.verdict is CodeVerdict.DIFFERS


def test_no_ptx_at_all_differs() -> None:
    reading = read_back(SIGNAL_PUBLISH, SIGNAL_PUBLISH.row(PUBLISHED).variant, "")
    assert reading.verdict is CodeVerdict.DIFFERS
    assert reading.skeleton == []
    (difference,) = reading.differences
    assert difference.endswith(
        "compiled to what cannot be read: expected PTX of one kernel, found 0 .entry directives"
    )


def test_an_instruction_with_no_word_differs(cache: Path) -> None:
    """An instruction that is not understood is a difference that gives its line."""
    ptx = built(PUBLISHED, cache).ptx
    line = next(
        item.line
        for item in scan(ptx)
        if isinstance(item, Statement) and item.mnemonic.startswith("atom.release")
    )
    lines = ptx.splitlines()
    lines[line - 1] = "multimem.red.release.gpu.global.add.s32 [%rd1], %r1;"
    broken = "\n".join(lines)
    reading = read_back(SIGNAL_PUBLISH, SIGNAL_PUBLISH.row(PUBLISHED).variant, broken)
    assert f"PTX line {line}: no word for multimem.red.release" in reading.differences[0]
    with pytest.raises(UnknownInstructionError):
        parse("multimem.red.release.gpu.global.add.s32")
