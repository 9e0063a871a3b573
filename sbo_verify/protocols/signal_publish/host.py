"""`signal_publish` with a reader on the host: tiles and signals lie in its pinned memory.

Who may release for a CPU thread is another question than who may for a CTA: gpu scope does not
include it. The producers are those of the micro-kernel; the consumer is a thread of an x86-64 host,
whose loads are what the poll and the read of `Place.HOST` say.
"""

from __future__ import annotations

from dataclasses import replace

from sbo_verify.protocol import Protocol, Row, Step
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.protocols.signal_publish.catalogue.base import (
    BARRIERS,
    BROKEN,
    BULK_GROUPS,
    BULK_ORDER,
    PROXIES,
    PUBLISHED,
    SCOPES,
    SOUND,
    SYNCHRONIZES,
    row,
)
from sbo_verify.protocols.signal_publish.sites import (
    Drain,
    FanOut,
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
    refusals,
)
from sbo_verify.protocols.signal_publish.steps import steps

PRODUCER = "producer"

# The published hand-over as a host may read it.
TO_HOST = PUBLISHED.with_choices(
    publish=Publish.RED_RELEASE,
    publish_scope=SignalScope.SYS,
    poll_scope=SignalScope.SYS,
    fan_out=FanOut.ALONE,
    place=Place.HOST,
)
GENERIC = TO_HOST.with_choices(store=Store.GENERIC, source_fence=SourceFence.NONE, drain=Drain.NONE)
GPU = SignalScope.GPU

# The canary was stale under both seeds tried on an H200, in 5 of 10 drawn launches. A signal before
# its store is none: it was in 1 of 10.
ROWS: tuple[Row, ...] = (
    row(
        "host-full_wait-red_release_sys",
        TO_HOST,
        SOUND,
        "the tile is written when the wait returns, and sys scope includes the host",
        SCOPES,
    ),
    row(
        "host-full_wait-atom_release_sys",
        TO_HOST.with_choices(publish=Publish.ATOM_RELEASE),
        SOUND,
        "an atom is a release write as a red is, and sys scope includes the host",
        SCOPES,
    ),
    row(
        "host-full_wait-fence_acq_rel_sys-red",
        TO_HOST.with_choices(publish=Publish.FENCE_ACQ_REL_RED),
        SOUND,
        "a fence at sys scope followed by a strong write is a release pattern for the host",
        SYNCHRONIZES,
    ),
    row(
        "host-full_wait-threadfence_system-atomicAdd_system",
        TO_HOST.with_choices(publish=Publish.FENCE_SC_ATOMIC_ADD),
        SOUND,
        "__threadfence_system() is fence.sc.sys, atomicAdd_system() a relaxed atomic at sys scope",
        SYNCHRONIZES,
    ),
    row(
        "host-full_wait-st_release_sys",
        TO_HOST.with_choices(publish=Publish.ST_RELEASE),
        SOUND,
        "with a single publisher a release store serves as well as an add",
        SYNCHRONIZES,
    ),
    row(
        "host-full_wait-release_sys_by_other_warp",
        TO_HOST.with_choices(publisher=Publisher.OTHER_WARP),
        SOUND,
        "the barrier orders the drained stores before the publisher, and its release for the host",
        BARRIERS,
    ),
    row(
        "host-bulk_1d-full_wait-release_sys",
        TO_HOST.with_choices(store=Store.BULK),
        SOUND,
        "a 1D bulk copy is waited for as a tensor copy is",
        BULK_GROUPS,
    ),
    row(
        "host-generic_store-release_sys",
        GENERIC,
        SOUND,
        "the barrier and the release order generic stores, and sys scope includes the host",
        SYNCHRONIZES,
    ),
    row(
        "host-full_wait-red_release_gpu",
        TO_HOST.with_choices(publish_scope=GPU),
        BROKEN,
        "gpu scope does not include a thread of the host: the release is none for it",
        SCOPES,
    ),
    row(
        "host-full_wait-threadfence-atomicAdd",
        TO_HOST.with_choices(publish=Publish.FENCE_SC_ATOMIC_ADD, publish_scope=GPU),
        BROKEN,
        "__threadfence() and atomicAdd() have gpu scope, which does not include the host",
        SCOPES,
    ),
    row(
        "host-full_wait-st_release_gpu",
        TO_HOST.with_choices(publish=Publish.ST_RELEASE, publish_scope=GPU),
        BROKEN,
        "gpu scope does not include a thread of the host, whatever writes the signal",
        SCOPES,
    ),
    row(
        "host-generic_store-release_gpu",
        GENERIC.with_choices(publish_scope=GPU),
        BROKEN,
        "gpu scope does not include a thread of the host, whatever stored the tile",
        SCOPES,
    ),
    row(
        "host-full_wait-red_relaxed_sys",
        TO_HOST.with_choices(publish=Publish.RED_RELAXED),
        BROKEN,
        "a relaxed signal releases nothing",
        SYNCHRONIZES,
    ),
    row(
        "host-full_wait-st_relaxed_sys",
        TO_HOST.with_choices(publish=Publish.ST_RELAXED),
        BROKEN,
        "a relaxed store releases nothing",
        SYNCHRONIZES,
    ),
    row(
        "host-full_wait-relaxed_by_other_warp-no_barrier",
        TO_HOST.with_choices(
            publish=Publish.ST_RELAXED, publisher=Publisher.OTHER_WARP, join=Join.NONE
        ),
        BROKEN,
        "the publisher learns nothing of the issuers' stores, and releases nothing",
        BARRIERS,
        canary=True,
    ),
    row(
        "host-generic_store-st_relaxed_sys",
        GENERIC.with_choices(publish=Publish.ST_RELAXED),
        BROKEN,
        "a relaxed store releases nothing, of generic stores neither",
        SYNCHRONIZES,
    ),
    row(
        "host-no_source_fence-release_sys",
        TO_HOST.with_choices(source_fence=SourceFence.NONE),
        BROKEN,
        "the copy engine may read shared memory before the generic writes to it",
        PROXIES,
    ),
    row(
        "host-read_wait-red_release_sys",
        TO_HOST.with_choices(drain=Drain.READ),
        BROKEN,
        "`.read` returns when the source is read: the tile may not be in the host's memory yet",
        BULK_GROUPS,
    ),
    row(
        "host-read_wait-st_release_sys",
        TO_HOST.with_choices(drain=Drain.READ, publish=Publish.ST_RELEASE),
        BROKEN,
        "`.read` returns when the source is read, and a release carries what came before it",
        BULK_GROUPS,
    ),
    row(
        "host-no_wait-red_release_sys",
        TO_HOST.with_choices(drain=Drain.NONE),
        BROKEN,
        "a release covers program order, in which the bulk store is not",
        BULK_ORDER,
    ),
    row(
        "host-no_wait-st_relaxed_sys",
        TO_HOST.with_choices(drain=Drain.NONE, publish=Publish.ST_RELAXED),
        BROKEN,
        "neither the store's completion nor the signal's order is there",
        BULK_ORDER,
    ),
    row(
        "host-signal_before_store",
        TO_HOST.with_choices(moment=Moment.EARLY),
        BROKEN,
        "the signal is sent before the tile is stored",
        SYNCHRONIZES,
    ),
)


def host_refusals(v: SignalPublish) -> list[str]:
    """Why the reader on the host cannot run this variant; empty for every one that it can.

    Every reason ends in "choose SITE=CHOICE", as those of `sites.refusals`, which come first.
    """
    rules = [
        (v.place is not Place.HOST, "the reader is a thread of the host: choose place=host"),
        (v.poll is Poll.NONE, "the host waits for a signal: choose poll=ld_acquire"),
        (
            v.moment is Moment.DEFERRED,
            ("the host is signalled tile by tile: choose moment=after_tile or moment=early"),
        ),
    ]
    return [*refusals(v), *(why for refused, why in rules if refused)]


def host_steps(v: SignalPublish) -> tuple[Step, ...]:
    """The steps that a kernel has of a hand-over to the host: the producer's."""
    return tuple(step for step in steps(v) if step.side == PRODUCER)


HOST_READER: Protocol = replace(
    SIGNAL_PUBLISH,
    summary="CTAs store tiles and signals into pinned memory; a CPU thread polls and reads them",
    kernel="host_hand_over.cuh",
    rows=ROWS,
    refusals=host_refusals,
    questions=(),
    cases=(),
)
