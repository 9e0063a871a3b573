"""Hand-overs to a reader on the host: their catalogue, the model on it, and what is compiled."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_model_asp_catalogue import stale_by_logic, stale_by_search

from sbo_verify.compiled.conformance import compare
from sbo_verify.compiled.host_rules import HOST
from sbo_verify.device.build import BuildError, build
from sbo_verify.device.host_build import build_host
from sbo_verify.model import judge
from sbo_verify.model.hand_over import queries
from sbo_verify.model.readings import AsyncFence
from sbo_verify.protocol import RefusedVariantError, Row
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.protocols.signal_publish.combine import overlap_refusals
from sbo_verify.protocols.signal_publish.host import HOST_READER, TO_HOST, host_steps
from sbo_verify.protocols.signal_publish.sites import (
    Moment,
    Place,
    Publish,
    SignalPublish,
    SignalScope,
)
from sbo_verify.verdict import CodeVerdict, ModelVerdict

PUBLISHED = "host-full_wait-red_release_sys"
ROWS = pytest.mark.parametrize("row", HOST_READER.rows, ids=lambda row: row.name)


def variant_of(row: Row) -> SignalPublish:
    assert isinstance(row.variant, SignalPublish)
    return row.variant


def test_every_row_reads_on_the_host_and_none_is_the_micro_kernels() -> None:
    assert all(variant_of(row).place is Place.HOST for row in HOST_READER)
    assert all(variant_of(row).place is not Place.HOST for row in SIGNAL_PUBLISH)
    sound = [row for row in HOST_READER if row.sound]
    assert len(sound) >= 8
    assert len(HOST_READER.rows) - len(sound) >= 8
    assert not any(row.canary for row in sound)


@ROWS
def test_the_model_gives_the_expected_verdict(row: Row) -> None:
    assert judge(HOST_READER.name, row.variant).verdict is row.expected


@ROWS
def test_both_engines_answer_alike(row: Row) -> None:
    for query in queries(variant_of(row)):
        answer = stale_by_logic(query)
        assert answer == stale_by_search(query), query.name
        assert answer[AsyncFence.STRICT] <= (not row.sound)


def test_gpu_scope_is_enough_for_another_gpu_thread_and_not_for_the_host() -> None:
    """The one thing in which the host differs from a reader on another SM."""
    narrow = TO_HOST.with_choices(publish_scope=SignalScope.GPU)
    on_gpu = narrow.with_choices(place=Place.OTHER_SM)
    assert judge(HOST_READER.name, narrow).verdict is ModelVerdict.ALLOWED
    assert judge(HOST_READER.name, on_gpu).verdict is ModelVerdict.FORBIDDEN


@pytest.mark.parametrize("scope", list(SignalScope))
@pytest.mark.parametrize("publish", [Publish.RED_RELEASE, Publish.FENCE_ACQ_REL_RED])
def test_of_all_scopes_sys_alone_includes_the_host(scope: SignalScope, publish: Publish) -> None:
    variant = TO_HOST.with_choices(publish=publish, publish_scope=scope)
    sound = judge(HOST_READER.name, variant).verdict is ModelVerdict.FORBIDDEN
    assert sound == (scope is SignalScope.SYS)


def test_the_witness_names_a_host_thread() -> None:
    [first, *_] = queries(TO_HOST)
    assert first.name.endswith("read by host thread 0")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"moment": Moment.DEFERRED}, "the host is signalled tile by tile"),
        ({"place": Place.OTHER_SM}, "the reader is a thread of the host"),
    ],
)
def test_what_the_host_cannot_play_is_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(RefusedVariantError, match=said):
        build_host(replace(TO_HOST, **change))  # type: ignore[arg-type]


def test_no_other_kernel_takes_a_reader_on_the_host() -> None:
    assert any("place=other_sm" in reason for reason in overlap_refusals(TO_HOST))
    with pytest.raises(BuildError, match="no CTA polls for the host"):
        build(SIGNAL_PUBLISH, TO_HOST)


@ROWS
def test_every_variant_compiles_to_what_it_declares(row: Row) -> None:
    reading = compare(host_steps(variant_of(row)), build_host(variant_of(row)).ptx, HOST)
    assert reading.differences == []
    assert reading.verdict is CodeVerdict.AS_DECLARED


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ("host-full_wait-red_release_gpu", "compiled red.release.gpu.global"),
        ("host-read_wait-red_release_sys", "compiled cp.async.bulk.wait_group.read 0"),
        ("host-no_wait-red_release_sys", "site producer.drain: declared"),
    ],
)
def test_another_variants_code_is_told_apart(other: str, said: str) -> None:
    """The host's scope above all: it is one word of one instruction."""
    declared = host_steps(variant_of(HOST_READER.row(PUBLISHED)))
    reading = compare(declared, build_host(variant_of(HOST_READER.row(other))).ptx, HOST)
    assert reading.verdict is CodeVerdict.DIFFERS
    assert any(said in difference for difference in reading.differences)
