"""`signal_publish` as the masked GEMM plays it: which variants it can run, and their steps.

The GEMM is the producer's half alone. Its multiplying threads put a tile into shared memory, its
storing threads hand it over; the barrier between them is the source's join, once in either program.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeGuard

from sbo_verify.protocol import Step, Variant
from sbo_verify.protocols.signal_publish.sites import (
    CLUSTER_JOINS,
    PLAIN_STORES,
    Drain,
    FanOut,
    Join,
    Place,
    Poll,
    Publish,
    Publisher,
    Read,
    SignalPublish,
    SignalScope,
    Test,
)
from sbo_verify.protocols.signal_publish.steps import steps

MATH = "math"

# The same stores with no hand-over, so that a signal's cost can be measured.
NO_SIGNAL = SignalPublish(
    drain=Drain.NONE,
    join=Join.NONE,
    publish=Publish.NONE,
    poll=Poll.NONE,
    fan_out=FanOut.ALONE,
    place=Place.PRODUCER_CTA,
)


def producer_half(v: SignalPublish) -> SignalPublish:
    """The variant with the published consumer: variants that differ there alone are one kernel."""
    if v == NO_SIGNAL:
        return v
    return replace(
        v,
        poll=Poll.LD_ACQUIRE,
        poll_scope=SignalScope.GPU,
        fan_out=FanOut.EVERY_THREAD,
        read=Read.WEAK,
        place=Place.OTHER_SM,
        test=Test.AT_LEAST,
    )


def gemm_runs(variant: Variant) -> TypeGuard[SignalPublish]:
    """Whether the GEMM can play the producer's half of a variant."""
    return isinstance(variant, SignalPublish) and not gemm_refusals(variant)


def gemm_refusals(v: SignalPublish) -> list[str]:
    """Why the GEMM cannot run this variant; empty for every variant that it can.

    Every reason ends in "choose SITE=CHOICE", as those of `sites.refusals`.
    """
    rules = [
        (
            v.join in CLUSTER_JOINS,
            (
                "a cluster barrier waits for every thread of the cluster, and the GEMM's loading "
                "and multiplying threads are at other work: choose join=cta_barrier or join=none"
            ),
        ),
        (
            v.publisher is Publisher.CLUSTER_PEER,
            (
                "a cluster peer can only follow through a cluster barrier, which the GEMM does not "
                "have: choose publisher=issuer or publisher=other_warp"
            ),
        ),
        (
            v.publish in PLAIN_STORES,
            (
                "the tiles of an m-block share one signal, and a store by the first would announce "
                "them all: choose publish=atom_release or publish=red_release"
            ),
        ),
        (
            v.publish is Publish.NONE and v != NO_SIGNAL,
            (
                "the GEMM has no reader of its own tiles: choose publish=atom_release, or leave "
                "the signal out with enable_overlap=False"
            ),
        ),
    ]
    return [why for refused, why in rules if refused]


def gemm_steps(v: SignalPublish) -> tuple[Step, ...]:
    """The two programs that run at once: the multiplying threads' and the storing threads'."""
    producer = [step for step in steps(v) if step.side == "producer"]
    source = [step for step in producer if step.site in {"source_fence", "source_join"}]
    return (
        *(replace(step, side=MATH) for step in source),
        *(step for step in producer if step.site != "source_fence"),
    )
