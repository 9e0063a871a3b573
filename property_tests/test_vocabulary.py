"""The vocabulary spells what it parses, and parses nothing that it has no word for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbo_verify.vocabulary import (
    Instruction,
    Kind,
    Order,
    Scope,
    Space,
    Transfer,
    UnknownInstructionError,
    parse,
    spell,
    transfer,
)

SPACES = st.sampled_from(Space)
SCOPES = st.sampled_from(Scope)
PLAIN = st.builds(
    Instruction,
    st.sampled_from([Kind.LOAD, Kind.STORE]),
    st.sampled_from([Order.WEAK, Order.VOLATILE]),
    space=SPACES,
)
LOADS = st.builds(
    Instruction, st.just(Kind.LOAD), st.sampled_from([Order.RELAXED, Order.ACQUIRE]), SCOPES, SPACES
)
STORES = st.builds(
    Instruction,
    st.just(Kind.STORE),
    st.sampled_from([Order.RELAXED, Order.RELEASE]),
    SCOPES,
    SPACES,
)
ATOMICS = st.builds(
    Instruction,
    st.sampled_from([Kind.ATOM, Kind.RED]),
    st.sampled_from([Order.RELAXED, Order.ACQUIRE, Order.RELEASE, Order.ACQ_REL]),
    SCOPES,
    SPACES,
)
FENCES = st.builds(
    Instruction, st.just(Kind.FENCE), st.sampled_from([Order.ACQ_REL, Order.SC]), SCOPES
)
PROXY_FENCES = st.builds(Instruction, st.just(Kind.PROXY_FENCE), space=SPACES)
CLUSTER = st.sampled_from(
    [
        Instruction(Kind.CLUSTER_ARRIVE, Order.RELEASE, Scope.CLUSTER),
        Instruction(Kind.CLUSTER_ARRIVE, Order.RELAXED, Scope.CLUSTER),
        Instruction(Kind.CLUSTER_WAIT, Order.ACQUIRE, Scope.CLUSTER),
    ]
)
SPELLED_IN_FULL = st.one_of(PLAIN, LOADS, STORES, ATOMICS, FENCES, PROXY_FENCES, CLUSTER)
TYPES = st.sampled_from(["", ".u32", ".v4.u32", ".add.s32", ".L1::no_allocate.b64"])


@given(SPELLED_IN_FULL)
def test_parsing_undoes_spelling(instruction: Instruction) -> None:
    assert parse(spell(instruction)) == instruction
    assert str(instruction) == spell(instruction)


@given(st.one_of(PLAIN, LOADS, STORES, ATOMICS), TYPES)
def test_types_and_cache_hints_change_nothing(instruction: Instruction, rest: str) -> None:
    assert parse(spell(instruction) + rest, "%r1, [%rd1]") == instruction


@given(st.integers(0, 7), st.booleans())
def test_a_wait_keeps_its_number_and_its_read(groups: int, source_only: bool) -> None:  # noqa: FBT001 - drawn
    instruction = Instruction(Kind.WAIT_GROUP, groups=groups, source_only=source_only)
    mnemonic = f"cp.async.bulk.wait_group{'.read' if source_only else ''}"
    assert parse(mnemonic, f" {groups}") == instruction
    assert spell(instruction) == f"{mnemonic} {groups}"


@pytest.mark.parametrize(
    ("mnemonic", "word"),
    [
        ("membar.gl", "fence.sc.gpu"),
        ("membar.cta", "fence.sc.cta"),
        ("fence.acq_rel.cluster", "fence.acq_rel.cluster"),
        ("bar.sync", "barrier.cta"),
        ("barrier.sync.aligned", "barrier.cta"),
        ("barrier.cta.sync", "barrier.cta"),
        ("barrier.cta.red.or.pred", "barrier.cta.red"),
        ("bar.warp.sync", "bar.warp.sync"),
        ("barrier.cluster.arrive", "barrier.cluster.arrive.release.cluster"),
        ("barrier.cluster.wait.aligned", "barrier.cluster.wait.acquire.cluster"),
        ("atom.global.add.u32", "atom.relaxed.gpu.global"),
        ("atom.add.release.gpu.s32", "atom.release.gpu"),
        ("red.shared.add.u32", "red.relaxed.gpu.shared"),
        ("ld.u32", "ld.weak"),
        ("ld.acquire.global.s32", "ld.acquire.sys.global"),
        ("ld.global.nc.v4.u32", "ld.nc.global"),
        ("st.shared::cta.u32", "st.weak.shared"),
        ("fence.proxy.async.shared::cta", "fence.proxy.async.shared"),
        ("cp.async.bulk.commit_group", "cp.async.bulk.commit_group"),
        (
            "cp.async.bulk.tensor.2d.global.shared::cta.bulk_group",
            "cp.async.bulk.tensor (store)",
        ),
        ("cp.async.bulk.global.shared::cta.bulk_group", "cp.async.bulk (store)"),
        (
            "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes",
            "cp.async.bulk (load)",
        ),
        ("mbarrier.init.shared::cta.b64", "mbarrier.init"),
        ("mbarrier.arrive.expect_tx.shared.b64", "mbarrier.arrive.expect_tx.release.cta"),
        ("mbarrier.try_wait.parity.shared.b64", "mbarrier.try_wait.acquire.cta"),
    ],
)
def test_what_is_left_out_has_the_default_of_the_isa(mnemonic: str, word: str) -> None:
    assert str(parse(mnemonic)) == word


@pytest.mark.parametrize(
    "mnemonic",
    [
        "mov.u32",
        "add.s64",
        "setp.ne.u32",
        "shfl.sync.idx.b32",
        "ld.param.u64",
        "st.local.u32",
        "bra",
    ],
)
def test_silent_instructions_have_no_word(mnemonic: str) -> None:
    assert parse(mnemonic) is None


@pytest.mark.parametrize(
    "mnemonic",
    [
        "call.uni",
        "brx.idx",
        "fence.proxy.alias",
        "fence.proxy.tensormap::generic.acquire.gpu",
        "fence.proxy.async::generic.acquire.sync_restrict::shared::cluster.cluster",
        "fence.mbarrier_init.release.cluster",
        "fence.acq_rel",
        "membar.cluster",
        "bar.arrive",
        "barrier.cluster.sync",
        "cp.async.ca.shared.global",
        "cp.async.bulk.prefetch.L2.global",
        "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32",
        "mbarrier.test_wait.shared.b64",
        "multimem.red.release.gpu.global.add.s32",
        "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.u32",
        "red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.inc.u32",
        "ld.mmio.relaxed.sys.global.u32",
        "tcgen05.wait::ld.sync.aligned",
        "griddepcontrol.wait",
        "",
    ],
)
def test_an_ordering_instruction_with_no_word_is_refused(mnemonic: str) -> None:
    with pytest.raises(UnknownInstructionError):
        parse(mnemonic)


def test_every_kind_has_a_spelling_of_its_own() -> None:
    spellings = {spell(Instruction(kind)) for kind in Kind}
    assert len(spellings) == len(Kind)


@pytest.mark.parametrize(
    ("mnemonic", "where"),
    [
        ("bra", Transfer.BRANCH),
        ("bra.uni", Transfer.BRANCH),
        ("ret", Transfer.RETURN),
        ("exit", Transfer.EXIT),
        ("trap", Transfer.TRAP),
        ("brx.idx", None),
        ("bar.sync", None),
    ],
)
def test_only_what_ends_a_block_transfers_control(mnemonic: str, where: Transfer | None) -> None:
    assert transfer(mnemonic) is where
