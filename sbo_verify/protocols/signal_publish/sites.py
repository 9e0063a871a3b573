"""The protocol `signal_publish`: store a tile, signal it; poll the signal, read the tile.

A producer fills a tile in shared memory, stores it to global memory and adds 1 to a signal. A
consumer that runs at the same time polls the signal and, at the threshold, reads the tile. Every
place where authors have disagreed is a site below. The kernel beside it is
`kernels/signal_publish.cuh`; its policies for these sites are in `kernels/signal.cuh`.

The C++ enumerators and template arguments are made from these classes; there is no second list.
"""

from __future__ import annotations

from dataclasses import dataclass

from sbo_verify.protocol import Site, Variant


class Store(Site):
    """How the tile reaches global memory."""

    TENSOR = ("tensor", "bulk tensor copy (TMA), as in a GEMM's epilogue")
    BULK = ("bulk", "bulk 1D copy")
    GENERIC = ("generic", "st.global by every thread")


class Issuers(Site):
    """How many threads issue the tile's bulk stores; each owns its own bulk groups."""

    ONE = ("one", "thread 0 stores the whole tile")
    TWO = ("two", "threads 0 and 32 store half a tile each")


class SourceFence(Site):
    """What makes the generic writes to shared memory visible to the copy engine."""

    PROXY_ASYNC = ("proxy_async", "fence.proxy.async.shared::cta")
    NONE = ("none", "no proxy fence")


class Drain(Site):
    """What the issuing threads wait for before the signal."""

    FULL = ("full", "wait_group 0: sources read and destinations written")
    READ = ("read", "wait_group.read 0: sources read")
    FULL_BUT_NEWEST = ("full_but_newest", "wait_group 1: all groups but the newest")
    READ_BUT_NEWEST = ("read_but_newest", "wait_group.read 1: all sources but the newest's")
    NONE = ("none", "no wait")


class Join(Site):
    """How the publisher learns that the other threads have drained."""

    CTA_BARRIER = ("cta_barrier", "barrier.cta.sync")
    CLUSTER_BARRIER = ("cluster_barrier", "barrier.cluster arrive.release, wait.acquire")
    CLUSTER_RELAXED = ("cluster_relaxed", "barrier.cluster arrive.relaxed, wait.acquire")
    NONE = ("none", "no barrier")


class Publisher(Site):
    """Which thread adds to the signal."""

    ISSUER = ("issuer", "thread 0, which issued a store itself")
    OTHER_WARP = ("other_warp", "thread 64, which issued none")
    CLUSTER_PEER = ("cluster_peer", "thread 0 of the other CTA of the cluster")


class Publish(Site):
    """How the signal is written."""

    RED_RELAXED = ("red_relaxed", "red.relaxed")
    FENCE_SC_ATOMIC_ADD = ("fence_sc_atomic_add", "__threadfence() and atomicAdd()")
    FENCE_ACQ_REL_RED = ("fence_acq_rel_red", "fence.acq_rel and red.relaxed")
    RED_RELEASE = ("red_release", "red.release")
    ATOM_RELEASE = ("atom_release", "atom.add.release")
    ATOMIC_REF_RELEASE = ("atomic_ref_release", "cuda::atomic_ref::fetch_add(release)")
    ST_RELEASE = ("st_release", "st.release of the threshold")
    ST_RELAXED = ("st_relaxed", "st.relaxed of the threshold")
    ST_VOLATILE = ("st_volatile", "st.volatile of the threshold")
    NONE = ("none", "no signal: the reader is ordered by its own program")


class SignalScope(Site):
    """Scope of the fence and the atomic that publish, or of the load and the fence that poll."""

    CTA = ("cta", "threads of the same CTA")
    CLUSTER = ("cluster", "threads of the same cluster")
    GPU = ("gpu", "threads of the same GPU")
    SYS = ("sys", "all threads, other GPUs and the host included")


class Moment(Site):
    """When the signal is written."""

    AFTER_TILE = ("after_tile", "after the tile's own drain and join")
    DEFERRED = ("deferred", "after the next tile's drain and join; flushed at the end")
    EARLY = ("early", "before the tile is stored (a mutant)")


class Poll(Site):
    """How the consumer waits for the signal."""

    LD_ACQUIRE = ("ld_acquire", "ld.acquire")
    LD_RELAXED_FENCE = ("ld_relaxed_fence", "ld.relaxed, then fence.acq_rel")
    LD_RELAXED = ("ld_relaxed", "ld.relaxed and nothing more")
    LD_VOLATILE = ("ld_volatile", "ld.volatile and nothing more")
    PLAIN_THEN_ACQUIRE = ("plain_then_acquire", "a weak ld first, ld.acquire only if it misses")
    ATOMIC_REF_ACQUIRE = ("atomic_ref_acquire", "cuda::atomic_ref::load(acquire)")
    NONE = ("none", "no poll: the reader is ordered by its own program")


class FanOut(Site):
    """How the threads that read the tile learn that the signal was seen."""

    EVERY_THREAD = ("every_thread", "every reading thread polls")
    CTA_BARRIER = ("cta_barrier", "thread 0 polls, barrier.cta.sync")
    SYNCWARP = ("syncwarp", "lane 0 of each warp polls, __syncwarp()")
    ALONE = ("alone", "thread 0 polls and reads the whole tile alone")
    UNORDERED = ("unordered", "thread 0 polls, others see a relaxed flag (a mutant)")


class Read(Site):
    """How the tile is read."""

    WEAK = ("weak", "ld.weak")
    RELAXED = ("relaxed", "ld.relaxed.gpu")
    NC = ("nc", "ld.global.nc")
    TMA = ("tma", "bulk copy into shared memory")
    TMA_AFTER_FENCE = ("tma_after_fence", "fence.proxy.async, bulk copy into shared memory")


class Place(Site):
    """Where the consumer runs."""

    OTHER_SM = ("other_sm", "a CTA on another SM")
    SAME_SM = ("same_sm", "another CTA on the producer's SM")
    PRODUCER_CTA = ("producer_cta", "the producing CTA itself")
    HOST = ("host", "a CPU thread, on pinned memory of the host")


class Test(Site):
    """What the consumer compares."""

    AT_LEAST = ("at_least", "signal >= threshold")
    EQUAL = ("equal", "signal == threshold")
    EQUAL_REUSED = ("equal_reused", "flag == 1 in every round, never reset (a mutant)")


@dataclass(frozen=True, kw_only=True)
class SignalPublish(Variant):
    """A variant of `signal_publish`. The defaults are the published signal GEMM's hand-over."""

    store: Store = Store.TENSOR
    issuers: Issuers = Issuers.TWO
    source_fence: SourceFence = SourceFence.PROXY_ASYNC
    drain: Drain = Drain.FULL
    join: Join = Join.CTA_BARRIER
    publisher: Publisher = Publisher.ISSUER
    publish: Publish = Publish.ATOM_RELEASE
    publish_scope: SignalScope = SignalScope.GPU
    moment: Moment = Moment.AFTER_TILE
    poll: Poll = Poll.LD_ACQUIRE
    poll_scope: SignalScope = SignalScope.GPU
    fan_out: FanOut = FanOut.EVERY_THREAD
    read: Read = Read.WEAK
    place: Place = Place.OTHER_SM
    test: Test = Test.AT_LEAST


SITES: dict[str, type[Site]] = {
    "store": Store,
    "issuers": Issuers,
    "source_fence": SourceFence,
    "drain": Drain,
    "join": Join,
    "publisher": Publisher,
    "publish": Publish,
    "publish_scope": SignalScope,
    "moment": Moment,
    "poll": Poll,
    "poll_scope": SignalScope,
    "fan_out": FanOut,
    "read": Read,
    "place": Place,
    "test": Test,
}


PLAIN_STORES = {Publish.ST_RELEASE, Publish.ST_RELAXED, Publish.ST_VOLATILE}
NO_CLUSTER_SCOPE = {Publish.FENCE_SC_ATOMIC_ADD, Publish.ATOMIC_REF_RELEASE}
TMA_READS = {Read.TMA, Read.TMA_AFTER_FENCE}
CLUSTER_JOINS = {Join.CLUSTER_BARRIER, Join.CLUSTER_RELAXED}
NEWEST_PENDING = {Drain.FULL_BUT_NEWEST, Drain.READ_BUT_NEWEST}


def refusals(v: SignalPublish) -> list[str]:
    """Why this combination of choices has no meaning; empty for every meaningful variant.

    Every reason ends in "choose SITE=CHOICE", with "or" between choices that would each do.
    """
    rules = (
        *_store_rules(v),
        *_cluster_rules(v),
        *_signal_rules(v),
        *_readback_rules(v),
        *_host_rules(v),
    )
    return [why for refused, why in rules if refused]


def _store_rules(v: SignalPublish) -> list[tuple[bool, str]]:
    generic = v.store is Store.GENERIC
    return [
        (
            generic and v.drain is not Drain.NONE,
            "generic stores commit no bulk group: choose drain=none",
        ),
        (
            generic and v.source_fence is not SourceFence.NONE,
            "generic stores read no shared memory by the async proxy: choose source_fence=none",
        ),
        (
            generic and v.issuers is not Issuers.TWO,
            "generic stores are issued by every thread: choose issuers=two",
        ),
        (
            v.moment is Moment.EARLY and v.drain in NEWEST_PENDING,
            (
                "the early signal is built for one tile at a time: choose drain=full or drain=read "
                "or drain=none"
            ),
        ),
    ]


def _cluster_rules(v: SignalPublish) -> list[tuple[bool, str]]:
    clustered, silent = v.join in CLUSTER_JOINS, v.poll is Poll.NONE
    return [
        (
            v.publisher is Publisher.CLUSTER_PEER and not clustered and not silent,
            (
                "a cluster peer can only follow the producer through a cluster barrier: "
                "choose join=cluster_barrier or join=cluster_relaxed"
            ),
        ),
        (
            clustered and v.place is not Place.OTHER_SM and not silent,
            "cluster barriers are built for a consumer on another SM: choose place=other_sm",
        ),
        (
            clustered and v.moment is Moment.EARLY,
            (
                "the early signal is built without a cluster barrier: "
                "choose moment=after_tile or moment=deferred"
            ),
        ),
        (
            clustered and silent,
            "poll=none reads back in one CTA: choose join=cta_barrier or join=none",
        ),
        (
            v.publish in NO_CLUSTER_SCOPE and v.publish_scope is SignalScope.CLUSTER,
            (
                "CUDA C++ has no cluster scope for __threadfence() and cuda::atomic_ref: "
                "choose publish_scope=cta or publish_scope=gpu or publish_scope=sys"
            ),
        ),
        (
            v.poll is Poll.ATOMIC_REF_ACQUIRE and v.poll_scope is SignalScope.CLUSTER,
            (
                "CUDA C++ has no cluster scope for cuda::atomic_ref: "
                "choose poll_scope=cta or poll_scope=gpu or poll_scope=sys"
            ),
        ),
    ]


def _signal_rules(v: SignalPublish) -> list[tuple[bool, str]]:
    return [
        (
            v.test is Test.EQUAL_REUSED and v.publish not in PLAIN_STORES,
            (
                "a flag that is 1 in every round must be stored, not added to: "
                "choose publish=st_release or publish=st_relaxed or publish=st_volatile"
            ),
        ),
        (
            v.publish is Publish.NONE and v.poll is not Poll.NONE,
            "a poll without a signal never ends: choose poll=none",
        ),
        (
            v.poll is Poll.NONE and v.publish is not Publish.NONE,
            "a signal that nobody polls orders nothing: choose publish=none",
        ),
    ]


def _readback_rules(v: SignalPublish) -> list[tuple[bool, str]]:
    """A reader with no poll: the producing threads read their own tile back."""
    silent = v.poll is Poll.NONE
    return [
        (
            silent and v.place is not Place.PRODUCER_CTA,
            "poll=none reads back in the producing CTA: choose place=producer_cta",
        ),
        (
            silent and v.fan_out not in {FanOut.ALONE, FanOut.EVERY_THREAD},
            "poll=none has nothing to hand on: choose fan_out=alone or fan_out=every_thread",
        ),
        (
            silent and v.moment is not Moment.AFTER_TILE,
            "poll=none has no signal to move: choose moment=after_tile",
        ),
        (
            silent and v.read in TMA_READS,
            "poll=none reads with loads, not with TMA: choose read=weak or read=relaxed or read=nc",
        ),
        (
            silent and v.publisher is not Publisher.ISSUER,
            "poll=none has no publisher: choose publisher=issuer",
        ),
        (
            silent and v.test is not Test.AT_LEAST,
            "poll=none tests nothing: choose test=at_least",
        ),
    ]


def _host_rules(v: SignalPublish) -> list[tuple[bool, str]]:
    """A reader on the host: loads of a CPU thread, which has no caches of the GPU and no copies.

    On x86-64 every load is an acquire that all threads of the system are included in.
    """
    host = v.place is Place.HOST and v.poll is not Poll.NONE
    return [
        (
            host and v.poll is not Poll.LD_ACQUIRE,
            "a CPU thread's loads stay in order as acquires do: choose poll=ld_acquire",
        ),
        (
            host and v.poll_scope is not SignalScope.SYS,
            "a CPU thread is in no scope but the whole system: choose poll_scope=sys",
        ),
        (
            host and v.fan_out is not FanOut.ALONE,
            "the CPU thread that polls reads the tile itself: choose fan_out=alone",
        ),
        (
            host and v.read is not Read.WEAK,
            "a CPU thread reads with plain loads: choose read=weak",
        ),
        (
            host and v.test is not Test.AT_LEAST,
            "the reader on the host is built for counters: choose test=at_least",
        ),
    ]
