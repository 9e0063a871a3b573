"""The project's own variants, read as anybody's PTX: the verdict agrees with the declared one.

Only the hand-over itself is looked at: the harness around it counts and stops with relaxed atomics.
What agrees with nothing is listed, and docs/inspect.md says how many of each kind there are.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sbo_verify.compiled.flow import read
from sbo_verify.compiled.inspection.files import inspect_ptx
from sbo_verify.compiled.inspection.handoffs import HandOffVerdict
from sbo_verify.device.build import build
from sbo_verify.protocol import Row
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.verdict import ModelVerdict

PAGE = Path(__file__).resolve().parents[1] / "docs" / "inspect.md"
NOT_TOLD = {
    "flashinfer-deferred_by_one_tile",
    "deferred-newest_pending-release",
    "wait_but_newest-release",
    "published_too_early",
    "producer_cta-cta_scope",
    "publish_cta_scope",
    "publish_cluster_scope",
    "poll_cta_scope",
}
SILENT = {row.name for row in SIGNAL_PUBLISH if row.variant.words()["poll"] == "none"}
BROKEN_BY_VALUE = {"nccl-equality_on_reused_flag"}
SITES = {"producer.publish", "consumer.poll", "producer.store"}


def verdict_of(row: Row, cache: Path | None = None) -> HandOffVerdict | None:
    """The worst verdict on the hand-offs at the row's own sites; None where there are none."""
    ptx = build(SIGNAL_PUBLISH, row.variant, cache_in=cache).ptx
    lines = {
        each.line for each in read(ptx).instructions if each.region and each.region.site in SITES
    }
    return inspect_ptx(ptx, at=lambda op: op.line in lines).verdict


def agrees(row: Row, verdict: HandOffVerdict | None) -> bool | None:
    """Whether a verdict is the declared one; None where none was reached."""
    if verdict in {None, HandOffVerdict.CANNOT_TELL}:
        return None
    return (verdict is HandOffVerdict.ORDERED) == (row.expected is ModelVerdict.FORBIDDEN)


@pytest.mark.parametrize(
    "name", ["full_wait-atom_release", "read_wait-release", "generic_store-relaxed"]
)
def test_a_variant_is_judged_as_declared(name: str) -> None:
    row = SIGNAL_PUBLISH.row(name)
    assert agrees(row, verdict_of(row)) is True


def test_a_tile_that_is_read_back_with_no_signal_is_no_hand_off() -> None:
    assert verdict_of(SIGNAL_PUBLISH.row("readback-read_wait")) is None


def test_a_signal_that_comes_too_early_is_not_called_ordered() -> None:
    row = SIGNAL_PUBLISH.row("published_too_early")
    assert verdict_of(row) is HandOffVerdict.CANNOT_TELL


@pytest.mark.parametrize("name", [row.name for row in SIGNAL_PUBLISH])
def test_every_variant_is_judged_as_declared_or_listed(name: str, cache: Path) -> None:
    row = SIGNAL_PUBLISH.row(name)
    verdict = verdict_of(row, cache)
    if name in SILENT:
        assert verdict is None
    elif name in NOT_TOLD:
        assert verdict is HandOffVerdict.CANNOT_TELL
    else:
        assert agrees(row, verdict) is (name not in BROKEN_BY_VALUE)


def test_the_page_counts_what_is_listed() -> None:
    rows = len(list(SIGNAL_PUBLISH))
    agreeing = rows - len(NOT_TOLD | SILENT | BROKEN_BY_VALUE)
    text = " ".join(PAGE.read_text().split())
    assert f"own {rows} variants" in text
    assert f"{agreeing} are judged as declared; {len(NOT_TOLD)} are *cannot tell*" in text
    assert f"{len(SILENT)} read back with no signal; {len(BROKEN_BY_VALUE)}, a flag" in text
