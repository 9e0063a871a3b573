"""Bulk copies, their groups and mbarriers as a litmus file writes them: this project's extension.

Described in `property_tests/litmus/bulk/README.md`; the words are those of PTX.
"""

from __future__ import annotations

import re

from sbo_verify.model.cell import Cell
from sbo_verify.model.program import (
    BulkCopy,
    CommitGroup,
    Instruction,
    MbarrierArrive,
    MbarrierWait,
    WaitGroup,
)
from sbo_verify.model.trace import ARITHMETIC
from sbo_verify.vocabulary import Order, Scope

# Destination and source; the completion that each pair has in PTX.
BY_GROUP = {("global", "shared::cta")}
BY_MBARRIER = {
    ("shared::cta", "global"),
    ("shared::cluster", "global"),
    ("shared::cluster", "shared::cta"),
}
# Shape and mode of a tensor copy: they say which elements, not in which order.
_SHAPE = re.compile(r"[1-5]d|tile")


def async_copy(cell: Cell) -> Instruction:
    """`cp.async.bulk`, its tensor and reducing forms, `commit_group` and `wait_group`."""
    words = cell.words[1:]
    reduces = words[:1] == ["reduce"]
    words = words[1:] if reduces else words
    if words[:2] != ["async", "bulk"]:
        cell.scanner.fail("cp.async.bulk or cp.reduce.async.bulk", cell.start)
    words = words[2:]
    if words == ["commit_group"]:
        return CommitGroup(text=cell.text)
    if words in (["wait_group"], ["wait_group", "read"]):
        groups = cell.scanner.integer("the number of groups that may stay pending")
        return WaitGroup(groups=groups, source_only="read" in words, text=cell.text)
    if words[:1] == ["tensor"]:
        words = [word for word in words[1:] if not _SHAPE.fullmatch(word)]
    return _copy(cell, words, reduces=reduces)


def _copy(cell: Cell, words: list[str], *, reduces: bool) -> Instruction:
    ends = tuple(words[:2])
    operation = words[3] if reduces and words[3:] and words[3] in ARITHMETIC else None
    by_group = words[2:3] == ["bulk_group"] and ends in BY_GROUP
    by_mbarrier = words[2:3] == ["mbarrier::complete_tx::bytes"] and ends in BY_MBARRIER
    if not (by_group or by_mbarrier) or (reduces and operation is None):
        expected = (
            "cp.async.bulk[.tensor].global.shared::cta.bulk_group, "
            ".shared::cta.global.mbarrier::complete_tx::bytes, .commit_group or .wait_group[.read]"
        )
        cell.scanner.fail(expected, cell.start)
    place = cell.scanner.position
    destinations = cell.addresses()
    cell.comma()
    sources = cell.addresses()
    if len(destinations) != len(sources):
        cell.scanner.fail("as many sources as destinations", place)
    mbarrier = None
    if by_mbarrier:
        cell.comma()
        mbarrier = cell.address()
    pairs = tuple(zip(destinations, sources, strict=True))
    return BulkCopy(pairs=pairs, mbarrier=mbarrier, operation=operation, text=cell.text)


def mbarrier(cell: Cell) -> Instruction:
    """`mbarrier.arrive`, with `.expect_tx`, and `.try_wait` or `.test_wait`."""
    orders = {Order.ACQUIRE.value, Order.RELEASE.value, Order.RELAXED.value}
    action = ".".join(word for word in cell.words[1:] if word not in orders | set(Scope))
    if action in {"arrive", "arrive.expect_tx"}:
        order = cell.order({Order.RELEASE, Order.RELAXED}, Order.RELEASE)
        scope = cell.scope(order, Scope.CTA) or Scope.CTA
        return MbarrierArrive(
            mbarrier=cell.address(),
            expects=action.endswith("expect_tx"),
            order=order,
            scope=scope,
            text=cell.text,
        )
    if action in {"try_wait", "test_wait"}:
        order = cell.order({Order.ACQUIRE, Order.RELAXED}, Order.ACQUIRE)
        scope = cell.scope(order, Scope.CTA) or Scope.CTA
        return MbarrierWait(mbarrier=cell.address(), order=order, scope=scope, text=cell.text)
    expected = "mbarrier.arrive, mbarrier.arrive.expect_tx or mbarrier.try_wait"
    return cell.scanner.fail(expected, cell.start)
