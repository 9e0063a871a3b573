"""What each choice of `signal_publish` stands for, in instructions and in program order.

The compiled PTX of every variant is read back against this declaration. Data accesses that a
compiler may unroll are marked as repeating; everything else must be there exactly once.
"""

from __future__ import annotations

from sbo_verify.protocol import Step
from sbo_verify.protocols.signal_publish.sites import (
    NEWEST_PENDING,
    Drain,
    FanOut,
    Join,
    Moment,
    Poll,
    Publish,
    Read,
    SignalPublish,
    SourceFence,
    Store,
)
from sbo_verify.vocabulary import Instruction, Kind, Order, Scope, Space

CTA_BARRIER = Instruction(Kind.CTA_BARRIER)
COMMIT = Instruction(Kind.COMMIT_GROUP)

_STORE: dict[Store, tuple[Instruction, ...]] = {
    Store.TENSOR: (Instruction(Kind.TENSOR_STORE), COMMIT),
    Store.BULK: (Instruction(Kind.BULK_STORE), COMMIT),
    Store.GENERIC: (Instruction(Kind.STORE, Order.WEAK, None, Space.GLOBAL),),
}
_SOURCE_FENCE: dict[SourceFence, tuple[Instruction, ...]] = {
    SourceFence.PROXY_ASYNC: (Instruction(Kind.PROXY_FENCE, space=Space.SHARED),),
    SourceFence.NONE: (),
}
_DRAIN: dict[Drain, tuple[Instruction, ...]] = {
    Drain.FULL: (Instruction(Kind.WAIT_GROUP, groups=0),),
    Drain.READ: (Instruction(Kind.WAIT_GROUP, groups=0, source_only=True),),
    Drain.FULL_BUT_NEWEST: (Instruction(Kind.WAIT_GROUP, groups=1),),
    Drain.READ_BUT_NEWEST: (Instruction(Kind.WAIT_GROUP, groups=1, source_only=True),),
    Drain.NONE: (),
}
_ALL_GROUPS = {Drain.FULL_BUT_NEWEST: Drain.FULL, Drain.READ_BUT_NEWEST: Drain.READ}
_CLUSTER_WAIT = Instruction(Kind.CLUSTER_WAIT, Order.ACQUIRE, Scope.CLUSTER)
_JOIN: dict[Join, tuple[Instruction, ...]] = {
    Join.CTA_BARRIER: (CTA_BARRIER,),
    Join.CLUSTER_BARRIER: (
        Instruction(Kind.CLUSTER_ARRIVE, Order.RELEASE, Scope.CLUSTER),
        _CLUSTER_WAIT,
    ),
    Join.CLUSTER_RELAXED: (
        Instruction(Kind.CLUSTER_ARRIVE, Order.RELAXED, Scope.CLUSTER),
        _CLUSTER_WAIT,
    ),
    Join.NONE: (),
}
_FAN_OUT: dict[FanOut, tuple[Instruction, ...]] = {
    FanOut.EVERY_THREAD: (),
    FanOut.CTA_BARRIER: (CTA_BARRIER,),
    FanOut.SYNCWARP: (Instruction(Kind.WARP_BARRIER),),
    FanOut.ALONE: (),
    FanOut.UNORDERED: (
        Instruction(Kind.STORE, Order.RELAXED, Scope.CTA, Space.SHARED),
        Instruction(Kind.LOAD, Order.RELAXED, Scope.CTA, Space.SHARED),
    ),
}


def publish(v: SignalPublish) -> tuple[Instruction, ...]:
    """The fence and the write of the signal, at the declared scope."""
    scope = Scope(v.publish_scope.word)
    red = Instruction(Kind.RED, Order.RELAXED, scope, Space.GLOBAL)
    table: dict[Publish, tuple[Instruction, ...]] = {
        Publish.RED_RELAXED: (red,),
        # atomicAdd() is relaxed; it stays an `atom` although its result is not used.
        Publish.FENCE_SC_ATOMIC_ADD: (
            Instruction(Kind.FENCE, Order.SC, scope),
            Instruction(Kind.ATOM, Order.RELAXED, scope, Space.GLOBAL),
        ),
        Publish.FENCE_ACQ_REL_RED: (Instruction(Kind.FENCE, Order.ACQ_REL, scope), red),
        Publish.RED_RELEASE: (Instruction(Kind.RED, Order.RELEASE, scope, Space.GLOBAL),),
        Publish.ATOM_RELEASE: (Instruction(Kind.ATOM, Order.RELEASE, scope, Space.GLOBAL),),
        Publish.ATOMIC_REF_RELEASE: (Instruction(Kind.ATOM, Order.RELEASE, scope, Space.GLOBAL),),
        Publish.ST_RELEASE: (Instruction(Kind.STORE, Order.RELEASE, scope, Space.GLOBAL),),
        Publish.ST_RELAXED: (Instruction(Kind.STORE, Order.RELAXED, scope, Space.GLOBAL),),
        Publish.ST_VOLATILE: (Instruction(Kind.STORE, Order.VOLATILE, None, Space.GLOBAL),),
        Publish.NONE: (),
    }
    return table[v.publish]


def poll(v: SignalPublish) -> tuple[Instruction, ...]:
    """The loads and fences with which one thread waits for the signal."""
    scope = Scope(v.poll_scope.word)
    acquire = Instruction(Kind.LOAD, Order.ACQUIRE, scope, Space.GLOBAL)
    relaxed = Instruction(Kind.LOAD, Order.RELAXED, scope, Space.GLOBAL)
    table: dict[Poll, tuple[Instruction, ...]] = {
        Poll.LD_ACQUIRE: (acquire,),
        Poll.LD_RELAXED_FENCE: (relaxed, Instruction(Kind.FENCE, Order.ACQ_REL, scope)),
        Poll.LD_RELAXED: (relaxed,),
        Poll.LD_VOLATILE: (Instruction(Kind.LOAD, Order.VOLATILE, None, Space.GLOBAL),),
        Poll.PLAIN_THEN_ACQUIRE: (
            Instruction(Kind.LOAD, Order.WEAK, None, Space.GLOBAL),
            acquire,
        ),
        Poll.ATOMIC_REF_ACQUIRE: (acquire,),
        Poll.NONE: (),
    }
    return table[v.poll]


def read(v: SignalPublish) -> tuple[Instruction, ...]:
    """The accesses that bring the tile to the reading threads."""
    copy = Kind.TENSOR_LOAD if v.store is Store.TENSOR else Kind.BULK_LOAD
    by_tma = (
        Instruction(Kind.MBARRIER_EXPECT, Order.RELEASE, Scope.CTA),
        Instruction(copy),
        Instruction(Kind.MBARRIER_WAIT, Order.ACQUIRE, Scope.CTA),
        Instruction(Kind.LOAD, Order.WEAK, None, Space.SHARED),
    )
    table: dict[Read, tuple[Instruction, ...]] = {
        Read.WEAK: (Instruction(Kind.LOAD, Order.WEAK, None, Space.GLOBAL),),
        Read.RELAXED: (Instruction(Kind.LOAD, Order.RELAXED, Scope.GPU, Space.GLOBAL),),
        Read.NC: (Instruction(Kind.LOAD_NC, space=Space.GLOBAL),),
        Read.TMA: by_tma,
        Read.TMA_AFTER_FENCE: (Instruction(Kind.PROXY_FENCE), *by_tma),
    }
    return table[v.read]


def steps(v: SignalPublish) -> tuple[Step, ...]:
    """The sites' instructions in the kernel's program order, producer first, then consumer."""
    return (
        *_producer_steps(v),
        Step(side="consumer", site="poll", instructions=poll(v)),
        Step(
            side="consumer",
            site="fan_out",
            instructions=_FAN_OUT[v.fan_out],
            # The thread that polled stores the flag, the others load it.
            branches=v.fan_out is FanOut.UNORDERED,
        ),
        Step(side="consumer", site="read", instructions=read(v), repeats=True),
    )


def _producer(site: str, instructions: tuple[Instruction, ...], *, repeats: bool = False) -> Step:
    return Step(side="producer", site=site, instructions=instructions, repeats=repeats)


def _producer_steps(v: SignalPublish) -> tuple[Step, ...]:
    """One turn of the producer's loop, and where the signal of a tile stands in it.

    A deferred signal belongs to the tile before. With N = 0 it is sent at the wait that precedes
    the refill of shared memory, with N = 1 at the wait behind the next tile's own stores; the last
    tile's is flushed behind the loop, where every group must have drained.
    """
    source = (
        _producer("source_fence", _SOURCE_FENCE[v.source_fence]),
        # The tile is written to shared memory by all threads and stored by one or two of them.
        _producer("source_join", (CTA_BARRIER,)),
    )
    store = _producer("store", _STORE[v.store], repeats=True)
    drain = _producer("drain", _DRAIN[v.drain])
    join = _producer("join", _JOIN[v.join])
    signal = _producer("publish", publish(v))
    if v.moment is Moment.EARLY:
        return (*source, signal, store, drain, join)
    if v.moment is Moment.AFTER_TILE:
        return (*source, store, drain, join, signal)
    last = (_producer("flush", _DRAIN[_ALL_GROUPS.get(v.drain, v.drain)]), join, signal)
    if v.drain in NEWEST_PENDING:
        return (*source, store, drain, join, signal, *last)
    return (drain, join, signal, *source, store, *last)
