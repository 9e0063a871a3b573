"""Programs: threads with a place, and the instructions that the model gives a meaning to.

A register is named by a string and a constant is an integer; a value is either. Locations are
named as the program names them; `Program.locations` says what a name stands for. Every instruction
keeps the `text` that a reader knows it by.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sbo_verify.model.condition import Condition
from sbo_verify.model.events import Location, Placement, Proxy
from sbo_verify.vocabulary import Order, Scope, Space

Value = int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """`ld`, and the loads of the other proxies, `ld.global.nc` among them."""

    register: str
    address: str
    order: Order = Order.WEAK
    scope: Scope | None = None
    proxy: Proxy = Proxy.GENERIC
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """`st`, and the stores of the other proxies."""

    address: str
    value: Value
    order: Order = Order.WEAK
    scope: Scope | None = None
    proxy: Proxy = Proxy.GENERIC
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Atomic:
    """`atom`, and `red` where `register` is None. `operation` is add, sub, ..., cas or exch.

    `cas` takes (expected, new), every other operation one operand.
    """

    operation: str
    address: str
    operands: tuple[Value, ...]
    register: str | None = None
    order: Order = Order.RELAXED
    scope: Scope = Scope.GPU
    proxy: Proxy = Proxy.GENERIC
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """`fence` in its memory-ordering forms."""

    order: Order
    scope: Scope
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyFence:
    """`fence.proxy.*`; `space` narrows the async form to one state space."""

    proxy: Proxy
    space: Space = Space.ANY
    text: str = ""


class Arrival(tuple[bool, bool]):
    """Does a barrier instruction arrive, and does it wait? Built by the three names below."""

    __slots__ = ()


ARRIVE = Arrival((True, False))
WAIT = Arrival((False, True))
SYNC = Arrival((True, True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Barrier:
    """`barrier.cta`, `barrier.cluster` and `bar.warp.sync`.

    `unit` is the set of threads whose barrier it is: cta, cluster or warp. `resource` is the number
    of the logical barrier, `count` how many threads complete it; without a count it takes every
    thread of the unit that names the barrier. `ordered` is False for an arrival with `.relaxed`.
    """

    unit: str
    arrival: Arrival
    resource: Value = 0
    count: Value | None = None
    ordered: bool = True
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkCopy:
    """`cp.async.bulk` and `.tensor`, or `cp.reduce.async.bulk` with an `operation`.

    One pair (destination, source) for each location: they are not ordered among themselves.
    Completion is by the thread's bulk groups, or by `mbarrier` where one is named.
    """

    pairs: tuple[tuple[str, str], ...]
    mbarrier: str | None = None
    operation: str | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitGroup:
    """`cp.async.bulk.commit_group`."""

    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitGroup:
    """`cp.async.bulk.wait_group groups`, with `.read` where `source_only`."""

    groups: int
    source_only: bool = False
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MbarrierArrive:
    """`mbarrier.arrive`: release at cta scope unless said otherwise.

    With `.expect_tx` (`expects`) the phase also waits for the bulk copies that complete on it.
    """

    mbarrier: str
    expects: bool = False
    order: Order = Order.RELEASE
    scope: Scope = Scope.CTA
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MbarrierWait:
    """The `mbarrier.try_wait` that succeeds: acquire at cta scope unless said otherwise."""

    mbarrier: str
    order: Order = Order.ACQUIRE
    scope: Scope = Scope.CTA
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """Arithmetic on registers: `register = left operation right`, or a move."""

    register: str
    left: Value
    operation: str = "mov"
    right: Value = 0
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """Jump to `label` where `left comparison right` holds; no operands: always."""

    label: str
    comparison: str = "always"
    left: Value = 0
    right: Value = 0
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A place to jump to."""

    name: str
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Require:
    """The exit of a spin loop: only the iteration in which the comparison holds is followed.

    The failed iterations of a loop that does nothing but read are left out. That changes no
    verdict: they add reads, and with them constraints, and every execution without them is one of
    the program's own, in which the first iteration succeeds.
    """

    comparison: str
    left: Value
    right: Value
    text: str = ""


Instruction = (
    Load
    | Store
    | Atomic
    | Fence
    | ProxyFence
    | Barrier
    | BulkCopy
    | CommitGroup
    | WaitGroup
    | MbarrierArrive
    | MbarrierWait
    | Local
    | Branch
    | Label
    | Require
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """A thread: its name in reports, its place, its instructions, its registers at the start."""

    name: str
    placement: Placement
    instructions: tuple[Instruction, ...]
    registers: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Threads, locations with their initial values, and the condition asked about.

    `initial` maps a memory (not an alias) to its value at the start, 0 where nothing is said.
    `arrivals` is the number of arrivals that completes the one phase of each mbarrier.
    `quantifier` is `exists`, `~exists` or `forall`.
    """

    name: str
    threads: tuple[Thread, ...]
    locations: dict[str, Location]
    condition: Condition
    quantifier: str = "exists"
    initial: dict[str, int] = field(default_factory=dict)
    arrivals: dict[str, int] = field(default_factory=dict)
    comment: str = ""
