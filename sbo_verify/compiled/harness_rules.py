"""What a kernel's own code may do around the sites, so that it cannot order the hand-over.

A hand-over that is declared broken must not be mended by a barrier of the machinery around it. So
every region of the harness names the instructions it may hold, and those that order anything may
not stand between two sites of one hand-over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sbo_verify.vocabulary import Instruction, Kind, Order, Scope, Space

PREFIX = "harness."

_ATOM = Instruction(Kind.ATOM, Order.RELAXED, Scope.GPU, Space.GLOBAL)
_ATOM_SHARED = Instruction(Kind.ATOM, Order.RELAXED, Scope.GPU, Space.SHARED)
_RED = Instruction(Kind.RED, Order.RELAXED, Scope.GPU, Space.GLOBAL)
_RED_RELEASE = Instruction(Kind.RED, Order.RELEASE, Scope.GPU, Space.GLOBAL)
_LOAD = Instruction(Kind.LOAD, Order.WEAK, None, Space.GLOBAL)
_LOAD_RELAXED = Instruction(Kind.LOAD, Order.RELAXED, Scope.GPU, Space.GLOBAL)
_LOAD_SHARED = Instruction(Kind.LOAD, Order.WEAK, None, Space.SHARED)
_LOAD_SHARED_VOLATILE = Instruction(Kind.LOAD, Order.VOLATILE, None, Space.SHARED)
_STORE = Instruction(Kind.STORE, Order.WEAK, None, Space.GLOBAL)
_STORE_RELAXED = Instruction(Kind.STORE, Order.RELAXED, Scope.GPU, Space.GLOBAL)
_STORE_SHARED = Instruction(Kind.STORE, Order.WEAK, None, Space.SHARED)
_STORE_SHARED_VOLATILE = Instruction(Kind.STORE, Order.VOLATILE, None, Space.SHARED)
_BARRIER = Instruction(Kind.CTA_BARRIER)
_BARRIER_RED = Instruction(Kind.CTA_BARRIER_RED)
_FENCE = Instruction(Kind.FENCE, Order.SC, Scope.GPU)
_PROXY_FENCE = Instruction(Kind.PROXY_FENCE, space=Space.SHARED)
_MBARRIER_INIT = Instruction(Kind.MBARRIER_INIT)
_LOAD_NC = Instruction(Kind.LOAD_NC, space=Space.GLOBAL)
_WARP_BARRIER = Instruction(Kind.WARP_BARRIER)
_CLUSTER_BARRIER = (
    Instruction(Kind.CLUSTER_ARRIVE, Order.RELEASE, Scope.CLUSTER),
    Instruction(Kind.CLUSTER_WAIT, Order.ACQUIRE, Scope.CLUSTER),
)
_MBARRIER_WAIT = Instruction(Kind.MBARRIER_WAIT, Order.ACQUIRE, Scope.CTA)
_MBARRIER_EXPECT = Instruction(Kind.MBARRIER_EXPECT, Order.RELEASE, Scope.CTA)
_MBARRIER_ARRIVE = Instruction(Kind.MBARRIER_ARRIVE, Order.RELEASE, Scope.CTA)
_TENSOR_LOAD = Instruction(Kind.TENSOR_LOAD)
_PRODUCTS = (
    Instruction(Kind.WGMMA_FENCE),
    Instruction(Kind.WGMMA),
    Instruction(Kind.WGMMA_COMMIT),
    Instruction(Kind.WGMMA_WAIT, groups=0),
)
_WAIT = Instruction(Kind.WAIT_GROUP, groups=0)
_WAIT_READ = Instruction(Kind.WAIT_GROUP, groups=0, source_only=True)
_WAIT_READ_BUT_NEWEST = Instruction(Kind.WAIT_GROUP, groups=1, source_only=True)


@dataclass(frozen=True, slots=True)
class HarnessRule:
    """`allowed` in every region of this label; each of `needed` in at least one of them."""

    allowed: frozenset[Instruction]
    needed: frozenset[Instruction] = frozenset()


@dataclass(frozen=True)
class Harness:
    """One kernel's rules, by the labels of its regions, and its turns.

    `turns` are the sites between which the harness may order, as (last site before, first site
    after) in one turn of a loop: a deferred signal ends one hand-over, and the next tile's begins
    with its source.
    """

    rules: Mapping[str, HarnessRule]
    turns: frozenset[tuple[str, str]]


def _rule(*others: Instruction, needed: tuple[Instruction, ...] = ()) -> HarnessRule:
    return HarnessRule(frozenset((*others, *needed)), frozenset(needed))


_MICRO_KERNEL_RULES: dict[str, HarnessRule] = {
    # Before any round: places are taken, and everything is made visible to everyone once.
    "harness.setup": _rule(
        *(_ATOM, _LOAD, _LOAD_RELAXED, _LOAD_SHARED, _STORE_RELAXED, _STORE_SHARED),
        needed=(_BARRIER, _FENCE, _PROXY_FENCE, _MBARRIER_INIT),
    ),
    # The producer's wait for the consumer, relaxed so that it cannot acquire; the consumer's
    # acknowledgement, which releases its reading of the old tile, before the next one is stored.
    "harness.flow": _rule(_LOAD_RELAXED, _STORE_SHARED, _RED_RELEASE, needed=(_BARRIER,)),
    # Shared memory is filled again, and outlives the copy engine's reading of it.
    "harness.reuse": _rule(_WAIT, _WAIT_READ, _WAIT_READ_BUT_NEWEST),
    "harness.fill": _rule(_STORE_SHARED),
    # A hand-over that is broken on purpose: a signal that orders nothing, and its count.
    "harness.plant": _rule(_ATOM, needed=(_RED, _LOAD_RELAXED)),
    # Behind all rounds.
    "harness.timed": _rule(needed=(_ATOM,)),
    "harness.prime": _rule(_STORE_SHARED_VOLATILE, needed=(_LOAD,)),
    "harness.patience": _rule(needed=(_LOAD_RELAXED,)),
    "harness.stop": _rule(needed=(_STORE_RELAXED,)),
    "harness.fault": _rule(_STORE, needed=(_ATOM,)),
    # Inside `consumer.read`, on the path of a stale word: nothing in it may order.
    "harness.count": _rule(_STORE, _LOAD_SHARED_VOLATILE, needed=(_ATOM, _ATOM_SHARED)),
    # All threads of a group have read the tile.
    "harness.done": _rule(needed=(_BARRIER_RED,)),
    "harness.report": _rule(_LOAD_SHARED, needed=(_BARRIER, _ATOM)),
    "harness.noise": _rule(_LOAD, _LOAD_RELAXED, _STORE, needed=(_RED,)),
}

_GEMM_RULES: dict[str, HarnessRule] = {
    # The stages' barriers are made visible to everyone, to the other CTA of a cluster too.
    "harness.setup": _rule(
        *(_BARRIER, _WARP_BARRIER, *_CLUSTER_BARRIER), needed=(_MBARRIER_INIT, _PROXY_FENCE)
    ),
    "harness.schedule": _rule(needed=(_LOAD_NC,)),
    "harness.scales": _rule(needed=(_LOAD_NC, _STORE_SHARED)),
    "harness.load": _rule(needed=(_MBARRIER_WAIT, _MBARRIER_EXPECT, _TENSOR_LOAD)),
    "harness.multiply": _rule(
        needed=(_MBARRIER_WAIT, _MBARRIER_ARRIVE, _LOAD_SHARED, *_PRODUCTS),
    ),
    "harness.fill": _rule(needed=(_STORE_SHARED,)),
    # Shared memory is filled again, once the copy engine and every storing thread have read it.
    "harness.reuse": _rule(_WAIT_READ, _WAIT_READ_BUT_NEWEST),
    "harness.free": _rule(needed=(_BARRIER,)),
    # No CTA of a cluster leaves while the other may still write to its memory.
    "harness.leave": _rule(_WARP_BARRIER, needed=_CLUSTER_BARRIER),
}

MICRO_KERNEL = Harness(
    _MICRO_KERNEL_RULES, frozenset({("producer.publish", "producer.source_fence")})
)
GEMM = Harness(_GEMM_RULES, frozenset({("producer.publish", "producer.source_join")}))

# Flags that a group keeps for itself: nothing of a hand-over lives in shared memory except tiles,
# and a volatile access is never one of a tile. Weak and volatile accesses order nothing.
BOOKKEEPING_ANYWHERE = frozenset((_LOAD_SHARED_VOLATILE, _STORE_SHARED_VOLATILE))
BOOKKEEPING_OUTSIDE = BOOKKEEPING_ANYWHERE | {_LOAD_SHARED, _STORE_SHARED}

_UNORDERED = {Order.WEAK, Order.RELAXED, Order.VOLATILE}
_ACCESSES = {Kind.LOAD, Kind.LOAD_NC, Kind.STORE, Kind.ATOM, Kind.RED}


def orders(instruction: Instruction) -> bool:
    """Whether an instruction orders others: everything but weak, relaxed and volatile accesses."""
    if instruction.kind not in _ACCESSES:
        return True
    return instruction.order is not None and instruction.order not in _UNORDERED
