"""`signal_publish` as the masked GEMM and Combine Send play it together.

The GEMM is a row's producer half, Combine Send its consumer half; a row that both can run keeps its
name, its choices and its hash, so that the micro-kernel's records and theirs speak of one variant.
"""

from __future__ import annotations

from dataclasses import replace

from sbo_verify.protocol import Protocol, Row, Step
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.protocols.signal_publish.gemm import gemm_refusals
from sbo_verify.protocols.signal_publish.sites import (
    Drain,
    Issuers,
    Join,
    Moment,
    Place,
    Poll,
    Publish,
    Publisher,
    SignalPublish,
    SignalScope,
    SourceFence,
    Store,
    Test,
)
from sbo_verify.protocols.signal_publish.steps import steps

CONSUMER = "consumer"
# The row of a producer that is not this project's.
FOREIGN = "foreign"


def consumer_half(v: SignalPublish) -> SignalPublish:
    """The variant with the published producer, its tiles stored by 1D copies.

    Variants that differ in the producer alone are one kernel. Rows are brought by 1D copies,
    whatever stored them: a token is one row.
    """
    return replace(
        v,
        store=Store.BULK,
        issuers=Issuers.TWO,
        source_fence=SourceFence.PROXY_ASYNC,
        drain=Drain.FULL,
        join=Join.CTA_BARRIER,
        publisher=Publisher.ISSUER,
        publish=Publish.ATOM_RELEASE,
        publish_scope=SignalScope.GPU,
        moment=Moment.AFTER_TILE,
    )


def combine_refusals(v: SignalPublish) -> list[str]:
    """Why Combine Send cannot run this variant; empty for every variant that it can.

    Every reason ends in "choose SITE=CHOICE", as those of `sites.refusals`.
    """
    rules = [
        (v.poll is Poll.NONE, "Combine Send waits for a signal: choose poll=ld_acquire"),
        (
            v.place is not Place.OTHER_SM,
            "Combine Send runs on SMs of its own: choose place=other_sm",
        ),
        (
            v.test is Test.EQUAL_REUSED,
            "the GEMM counts up to the threshold: choose test=at_least or test=equal",
        ),
    ]
    return [why for refused, why in rules if refused]


def combine_steps(v: SignalPublish) -> tuple[Step, ...]:
    """The consumer's steps as Combine Send plays them."""
    return tuple(step for step in steps(consumer_half(v)) if step.side == CONSUMER)


def overlap_refusals(v: SignalPublish) -> list[str]:
    """Why the GEMM and Combine Send cannot run this variant between them."""
    return [*gemm_refusals(v), *combine_refusals(v)]


# Seen stale under every seed so far with drawn knobs, on an H100: within 0.3 s of GPU time under
# five seeds, poll_relaxed under two. Which rows those are differs from the micro-kernel, and twenty
# seeds as there have not been tried.
CANARIES = frozenset(
    {
        "no_wait-relaxed",
        "read_wait-relaxed",
        "full_wait-relaxed",
        "full_wait-relaxed_by_other_warp",
        "flashinfer_split_k-read_wait-no_fence",
        "poll_relaxed",
    }
)


def _rows() -> tuple[Row, ...]:
    return tuple(
        replace(row, canary=row.name in CANARIES)
        for row in SIGNAL_PUBLISH
        if isinstance(row.variant, SignalPublish) and not overlap_refusals(row.variant)
    )


# Names and hashes are those of `signal_publish`; which rows are canaries is measured for itself.
OVERLAP: Protocol = replace(
    SIGNAL_PUBLISH,
    summary="the masked GEMM stores tiles and signals; Combine Send polls and reads them",
    rows=_rows(),
    questions=(),
    cases=(),
)


def with_foreign(producer: str) -> Protocol:
    """`OVERLAP` with a row for the foreign producer MODULE:FUNCTION.

    It is taken at its word: to hand over as the published GEMM does, so that a stale read is not to
    be seen. It stands in the place of that row, whose variant, and so whose hash, it shares.
    """
    published = next(row for row in OVERLAP if row.variant == SignalPublish())
    foreign = replace(
        published,
        name=FOREIGN,
        because=f"{producer} is taken at its word, to hand over as {published.name} does",
        source=producer,
        canary=False,
    )
    return replace(OVERLAP, rows=(foreign, *(row for row in OVERLAP.rows if row is not published)))
