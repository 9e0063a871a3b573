"""Events: what one execution of a program does, in the words of the PTX memory model.

PTX ISA, chapter "Memory Consistency Model": operation types, scope, proxies. An event of a bulk
copy belongs to no program order; it is related to its issuing thread by completion only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum

from sbo_verify.vocabulary import Order, Scope, Space


class Proxy(StrEnum):
    """The path by which memory is accessed (PTX ISA, "Proxies").

    `ALIAS` only fences. `NON_COHERENT` is `ld.global.nc`, which no fence reaches: it is outside
    the model.
    """

    GENERIC = "generic"
    SURFACE = "surface"
    TEXTURE = "texture"
    CONSTANT = "constant"
    ASYNC = "async"
    ALIAS = "alias"
    NON_COHERENT = "non-coherent (outside the model)"


class EventKind(Enum):
    """What an event is."""

    READ = "read"
    WRITE = "write"
    FENCE = "fence"
    PROXY_FENCE = "proxy fence"
    BARRIER = "barrier"
    ISSUE = "issue of a bulk copy"
    COMPLETION = "wait for completion"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a thread runs: the tree of threads, CTAs, clusters and GPUs.

    A CTA is named by its GPU, cluster and own number. A CTA that no cluster is given for is a
    cluster of its own, as a kernel launched without clusters has it.
    """

    cta: int = 0
    gpu: int = 0
    cluster: int | None = None
    warp: int | None = None

    @property
    def cta_name(self) -> tuple[object, ...]:
        """The CTA, told apart from those of other clusters and GPUs."""
        return self.unit(Scope.CTA)

    def unit(self, scope: Scope) -> tuple[object, ...]:
        """What two threads must share to be included in each other's `scope`."""
        if scope is Scope.SYS:
            return ()
        if scope is Scope.GPU:
            return (self.gpu,)
        cluster = ("alone", self.cta) if self.cluster is None else ("cluster", self.cluster)
        if scope is Scope.CLUSTER:
            return (self.gpu, cluster)
        return (self.gpu, cluster, self.cta)


@dataclass(frozen=True, slots=True)
class Location:
    """A memory location as an address names it: aliases have different names, one `memory`."""

    address: str
    memory: str
    space: Space = Space.ANY
    proxy: Proxy = Proxy.GENERIC


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `thread` is -1 for the write of an initial value.

    `text` is the instruction that made it, `step` that instruction's place in its thread. `ordered`
    is False for the accesses of a bulk copy and the implicit proxy fence at its completion: they
    have no place in program order. A fence's `order` says which patterns it can open or close.
    `reduction` marks the accesses of `red`.
    """

    thread: int
    step: int
    kind: EventKind
    text: str
    order: Order = Order.WEAK
    scope: Scope | None = None
    proxy: Proxy = Proxy.GENERIC
    location: Location | None = None
    value: int | None = None
    ordered: bool = True
    space: Space = Space.ANY
    reduction: bool = False

    @property
    def is_read(self) -> bool:
        """True for a read of memory."""
        return self.kind is EventKind.READ

    @property
    def is_write(self) -> bool:
        """True for a write of memory."""
        return self.kind is EventKind.WRITE

    @property
    def is_memory(self) -> bool:
        """True for a read or a write."""
        return self.kind in {EventKind.READ, EventKind.WRITE}

    @property
    def strong(self) -> bool:
        """Fences and every access that is not weak (PTX ISA, "Operation Types")."""
        if self.kind is EventKind.FENCE:
            return True
        return self.is_memory and self.order is not Order.WEAK

    @property
    def releases(self) -> bool:
        """A release operation or a fence that can open a release pattern."""
        if self.kind is EventKind.FENCE:
            return self.order in {Order.RELEASE, Order.ACQ_REL, Order.SC}
        return self.is_write and self.order in {Order.RELEASE, Order.ACQ_REL}

    @property
    def acquires(self) -> bool:
        """An acquire operation or a fence that can close an acquire pattern."""
        if self.kind is EventKind.FENCE:
            return self.order in {Order.ACQUIRE, Order.ACQ_REL, Order.SC}
        return self.is_read and self.order in {Order.ACQUIRE, Order.ACQ_REL}
