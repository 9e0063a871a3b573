"""What the rows of the catalogue are made from: reference variants and names of sources."""

from __future__ import annotations

from sbo_verify.protocol import Row
from sbo_verify.protocols.signal_publish.sites import (
    Drain,
    FanOut,
    Issuers,
    Join,
    Place,
    Poll,
    Publish,
    SignalPublish,
    SourceFence,
    Store,
)
from sbo_verify.verdict import ModelVerdict

SOUND = ModelVerdict.FORBIDDEN
BROKEN = ModelVerdict.ALLOWED

BULK_GROUPS = "PTX ISA, cp.async.bulk.wait_group"
SYNCHRONIZES = "PTX ISA, Memory Consistency Model: release and acquire patterns"
SCOPES = "PTX ISA, Memory Consistency Model: scope and morally strong operations"
BARRIERS = "PTX ISA, barrier.cta and barrier.cluster"
PROXIES = "PTX ISA, Memory Consistency Model: proxies; fence.proxy.async"
BULK_ORDER = "PTX ISA, cp.async.bulk: asynchronous operations and program order"
DEEPGEMM = "DeepGEMM#183"

PUBLISHED = SignalPublish()
GENERIC = SignalPublish(
    store=Store.GENERIC,
    source_fence=SourceFence.NONE,
    drain=Drain.NONE,
    publish=Publish.RED_RELEASE,
)
# A reader in the producing CTA with no signal: ordered by its own program alone.
READBACK = SignalPublish(
    issuers=Issuers.ONE,
    join=Join.NONE,
    publish=Publish.NONE,
    poll=Poll.NONE,
    fan_out=FanOut.ALONE,
    place=Place.PRODUCER_CTA,
)
RELEASE = PUBLISHED.with_choices(publish=Publish.RED_RELEASE)
RELAXED = PUBLISHED.with_choices(publish=Publish.RED_RELAXED)
FENCED_ADD = PUBLISHED.with_choices(publish=Publish.FENCE_SC_ATOMIC_ADD)


def row(  # noqa: PLR0913 - a row of a table has as many columns as it has
    name: str,
    variant: SignalPublish,
    expected: ModelVerdict,
    because: str,
    source: str,
    *,
    canary: bool = False,
) -> Row:
    """One line of the catalogue."""
    return Row(
        name=name,
        variant=variant,
        expected=expected,
        because=because,
        source=source,
        canary=canary,
    )
