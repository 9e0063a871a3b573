"""The catalogue of `signal_publish`: named variants with verdict, reason and source.

Three groups: the history of the public signal GEMM in order, real cases from other code, and
single-site mutants of the sound hand-over. Expected verdicts follow the PTX ISA, not the silicon.
A canary is a variant that an H200 shows as broken within two seconds under every seed tried; a
broken variant that shows more seldom is no canary, however often it was seen.
"""

from __future__ import annotations

from sbo_verify.protocol import Row
from sbo_verify.protocols.signal_publish.sites import (
    Drain,
    FanOut,
    Issuers,
    Join,
    Moment,
    Place,
    Poll,
    Publish,
    Publisher,
    Read,
    SignalPublish,
    SignalScope,
    SourceFence,
    Store,
    Test,
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


def _row(  # noqa: PLR0913 - a row of a table has as many columns as it has
    name: str,
    variant: SignalPublish,
    expected: ModelVerdict,
    because: str,
    source: str,
    *,
    canary: bool = False,
) -> Row:
    return Row(
        name=name,
        variant=variant,
        expected=expected,
        because=because,
        source=source,
        canary=canary,
    )


HISTORY = (
    _row(
        "no_wait-relaxed",
        RELAXED.with_choices(drain=Drain.NONE),
        BROKEN,
        "nothing orders the bulk store before the signal",
        f"{DEEPGEMM}, 2025-08-28",
        canary=True,
    ),
    _row(
        "read_wait-fence-atomic_add",
        FENCED_ADD.with_choices(drain=Drain.READ),
        BROKEN,
        "`.read` waits for the source to be read, not for the tile to be written, and the fence "
        "orders program order, in which the bulk store is not",
        f"{DEEPGEMM}, 2025-09-02",
    ),
    _row(
        "read_wait-release",
        PUBLISHED.with_choices(drain=Drain.READ),
        BROKEN,
        "`.read` waits for the source to be read, and a release covers no pending bulk store",
        f"{DEEPGEMM}, 2025-09-05; ThunderKittens#194",
    ),
    _row(
        "full_wait-fence-atomic_add",
        FENCED_ADD,
        SOUND,
        "the full wait makes the writes visible to the issuers, the barrier and the fence "
        "carry them to the signal",
        f"{DEEPGEMM}, 2025-09-08",
    ),
    _row(
        "full_wait-atom_release",
        PUBLISHED,
        SOUND,
        "full wait by the issuers, barrier, release at gpu scope: causality is cumulative, so "
        "one thread's release covers the others' drained stores",
        f"{DEEPGEMM}, as published",
    ),
    _row(
        "full_wait-atomic_ref_release",
        PUBLISHED.with_choices(publish=Publish.ATOMIC_REF_RELEASE),
        SOUND,
        "cuda::atomic_ref::fetch_add(release) is the same release atomic",
        f"{DEEPGEMM}, proposed in review",
    ),
)

REAL_CASES = (
    _row(
        "triton-single_issuer-read_wait-release",
        PUBLISHED.with_choices(
            issuers=Issuers.ONE,
            drain=Drain.READ,
            join=Join.NONE,
        ),
        BROKEN,
        "one thread stores, waits with `.read` and releases: its write may still be pending",
        "triton#10415, before the change",
    ),
    _row(
        "triton-single_issuer-full_wait-release",
        PUBLISHED.with_choices(issuers=Issuers.ONE, join=Join.NONE),
        SOUND,
        "one thread stores, waits in full and releases: no barrier is needed for its own stores",
        "triton#10415, as merged",
    ),
    _row(
        "thunderkittens-read_wait-release_sys-no_acquire",
        RELEASE.with_choices(
            drain=Drain.READ,
            publish_scope=SignalScope.SYS,
            poll=Poll.LD_RELAXED,
            poll_scope=SignalScope.SYS,
            fan_out=FanOut.CTA_BARRIER,
        ),
        BROKEN,
        "`.read` on one side, and on the other a relaxed poll that acquires nothing",
        "ThunderKittens#194, gemm_ar and gemm_rs",
        canary=True,
    ),
    _row(
        "deepep_legacy-read_wait-st_release_sys-tma_load",
        PUBLISHED.with_choices(
            issuers=Issuers.ONE,
            drain=Drain.READ,
            publish=Publish.ST_RELEASE,
            publish_scope=SignalScope.SYS,
            poll_scope=SignalScope.SYS,
            fan_out=FanOut.CTA_BARRIER,
            read=Read.TMA,
        ),
        BROKEN,
        "`.read` before the signal, and a bulk load with no proxy fence after the acquire",
        "DeepEP before b306af0",
    ),
    _row(
        "deepep_combine-tma_load",
        PUBLISHED.with_choices(fan_out=FanOut.CTA_BARRIER, read=Read.TMA, test=Test.EQUAL),
        BROKEN,
        "the acquire orders the generic proxy; the bulk load reads through the async proxy "
        "with no fence.proxy.async between",
        "DeepEP#621, DeepEP#642, overlap mode of antgroup-opt",
    ),
    _row(
        "deepep_plain_first_poll",
        PUBLISHED.with_choices(poll=Poll.PLAIN_THEN_ACQUIRE),
        BROKEN,
        "when the weak load already sees the threshold, no acquire is executed at all",
        "DeepEP#249, mended in DeepEP#468",
    ),
    _row(
        "flashinfer-deferred_by_one_tile",
        RELEASE.with_choices(moment=Moment.DEFERRED),
        SOUND,
        "the signal follows the full wait that the next tile makes anyway; later is not weaker",
        "flashinfer grouped_gemm_masked, dst_signals",
    ),
    _row(
        "flashinfer_split_k-read_wait-no_fence",
        RELAXED.with_choices(drain=Drain.READ, poll=Poll.LD_RELAXED),
        BROKEN,
        "`.read`, an atomicAdd with no fence, and a reader with no acquire",
        "flashinfer#4742",
        canary=True,
    ),
    _row(
        "vllm-volatile_flags",
        GENERIC.with_choices(publish=Publish.ST_VOLATILE, poll=Poll.LD_VOLATILE),
        BROKEN,
        "a volatile flag is relaxed: it neither releases nor acquires",
        "vLLM#8404, vLLM#8558",
        canary=True,
    ),
    _row(
        "vllm-relaxed_flags",
        GENERIC.with_choices(
            publish=Publish.ST_RELAXED,
            publish_scope=SignalScope.SYS,
            poll=Poll.LD_RELAXED,
            poll_scope=SignalScope.SYS,
        ),
        BROKEN,
        "a relaxed flag neither releases nor acquires, at whatever scope",
        "vLLM#57059",
        canary=True,
    ),
    _row(
        "hip_port-per_warp_drain-no_barrier",
        RELEASE.with_choices(join=Join.NONE),
        BROKEN,
        "the publisher drained its own half; nothing orders the other issuer's half",
        "HIP port of the signal GEMM",
    ),
    _row(
        "mega_moe-generic_store-tma_load",
        GENERIC.with_choices(read=Read.TMA),
        BROKEN,
        "written and released through the generic proxy, read through the async proxy with no "
        "fence.proxy.async between",
        "DeepGEMM mega_moe, scale factors",
    ),
    _row(
        "nccl-equality_on_reused_flag",
        PUBLISHED.with_choices(publish=Publish.ST_RELEASE, test=Test.EQUAL_REUSED),
        BROKEN,
        "the flag of an earlier round equals the fresh one, so the poll proves nothing",
        "nccl#2306",
        canary=True,
    ),
    _row(
        "cutlass_split_k-semaphore-no_fence",
        GENERIC.with_choices(publish=Publish.ST_RELAXED, fan_out=FanOut.CTA_BARRIER),
        BROKEN,
        "the semaphore is stored with no release and no fence before it",
        "cutlass#2775",
        canary=True,
    ),
)

# Sound: other spellings of the same ordering, one site away from a sound row.
SOUND_SPELLINGS = (
    _row("full_wait-red_release", RELEASE, SOUND, "a red is a release write as an atom is", SYNCHRONIZES),
    _row(
        "full_wait-fence_acq_rel-red",
        PUBLISHED.with_choices(publish=Publish.FENCE_ACQ_REL_RED),
        SOUND,
        "a fence followed by a strong write is a release pattern",
        SYNCHRONIZES,
    ),
    _row(
        "full_wait-st_release",
        PUBLISHED.with_choices(publish=Publish.ST_RELEASE),
        SOUND,
        "with a single publisher a release store serves as well as an add",
        SYNCHRONIZES,
    ),
    _row(
        "full_wait-release_sys",
        RELEASE.with_choices(publish_scope=SignalScope.SYS, poll_scope=SignalScope.SYS),
        SOUND,
        "sys scope includes every thread that gpu scope includes",
        SCOPES,
    ),
    _row(
        "bulk_1d-full_wait-release",
        RELEASE.with_choices(store=Store.BULK),
        SOUND,
        "a bulk 1D store completes by bulk groups as a tensor store does",
        BULK_GROUPS,
    ),
    _row("generic_store-release", GENERIC, SOUND, "weak stores, barrier, release", SYNCHRONIZES),
    _row(
        "generic_store-fence-atomic_add",
        GENERIC.with_choices(publish=Publish.FENCE_SC_ATOMIC_ADD),
        SOUND,
        "weak stores, barrier, fence.sc, relaxed atomic: fence.sc is at least acq_rel",
        SYNCHRONIZES,
    ),
    _row(
        "full_wait-release_by_other_warp",
        RELEASE.with_choices(publisher=Publisher.OTHER_WARP),
        SOUND,
        "the barrier orders the issuers' drained stores before any thread that passed it",
        BARRIERS,
    ),
    _row(
        "full_wait-release_by_cluster_peer",
        RELEASE.with_choices(join=Join.CLUSTER_BARRIER, publisher=Publisher.CLUSTER_PEER),
        SOUND,
        "barrier.cluster arrives with release and waits with acquire; causality is cumulative",
        BARRIERS,
    ),
    _row(
        "full_wait-cluster_barrier-release",
        RELEASE.with_choices(join=Join.CLUSTER_BARRIER),
        SOUND,
        "a cluster barrier orders the threads of the producing CTA too",
        BARRIERS,
    ),
    _row(
        "deferred-newest_pending-release",
        RELEASE.with_choices(moment=Moment.DEFERRED, drain=Drain.FULL_BUT_NEWEST),
        SOUND,
        "wait_group 1 behind the next tile's commit covers the tile that is signalled",
        BULK_GROUPS,
    ),
    _row(
        "poll_relaxed-fence",
        PUBLISHED.with_choices(poll=Poll.LD_RELAXED_FENCE),
        SOUND,
        "a strong read followed by a fence is an acquire pattern",
        SYNCHRONIZES,
    ),
    _row(
        "poll_atomic_ref",
        PUBLISHED.with_choices(poll=Poll.ATOMIC_REF_ACQUIRE),
        SOUND,
        "cuda::atomic_ref::load(acquire) is ld.acquire",
        SYNCHRONIZES,
    ),
    _row(
        "poll_one_thread-cta_barrier",
        PUBLISHED.with_choices(fan_out=FanOut.CTA_BARRIER),
        SOUND,
        "one thread's acquire reaches the others through the barrier",
        "DeepEP#380",
    ),
    _row(
        "poll_one_lane-syncwarp",
        PUBLISHED.with_choices(fan_out=FanOut.SYNCWARP),
        SOUND,
        "__syncwarp orders memory among the lanes that take part",
        "DeepEP#380; PTX ISA, bar.warp.sync",
    ),
    _row(
        "poll_one_thread-reads_alone",
        PUBLISHED.with_choices(fan_out=FanOut.ALONE),
        SOUND,
        "the thread that acquired reads the tile itself",
        SYNCHRONIZES,
    ),
    _row(
        "poll_equal",
        PUBLISHED.with_choices(test=Test.EQUAL),
        SOUND,
        "equality orders as >= does; it hangs when the signal overshoots",
        "DeepEP, overlap mode",
    ),
    _row(
        "read_relaxed",
        PUBLISHED.with_choices(read=Read.RELAXED),
        SOUND,
        "a strong read behind an acquire is ordered as a weak one is",
        SYNCHRONIZES,
    ),
    _row(
        "read_tma-proxy_fence",
        PUBLISHED.with_choices(read=Read.TMA_AFTER_FENCE),
        SOUND,
        "fence.proxy.async between the acquire and the bulk load joins the proxies",
        PROXIES,
    ),
    _row(
        "generic_store-tma_load-proxy_fence",
        GENERIC.with_choices(read=Read.TMA_AFTER_FENCE),
        SOUND,
        "the missing fence of mega_moe-generic_store-tma_load put back",
        PROXIES,
    ),
    _row(
        "same_sm",
        PUBLISHED.with_choices(place=Place.SAME_SM),
        SOUND,
        "the model knows no SM: the acquire orders the read wherever it runs",
        SCOPES,
    ),
    _row(
        "producer_cta-other_warps",
        PUBLISHED.with_choices(place=Place.PRODUCER_CTA),
        SOUND,
        "release and acquire at gpu scope include the threads of one CTA",
        SCOPES,
    ),
    _row(
        "producer_cta-cta_scope",
        PUBLISHED.with_choices(
            place=Place.PRODUCER_CTA,
            publish_scope=SignalScope.CTA,
            poll_scope=SignalScope.CTA,
        ),
        SOUND,
        "cta scope is enough where both threads are of one CTA",
        SCOPES,
    ),
    _row(
        "readback-full_wait",
        READBACK,
        SOUND,
        "the full wait makes the writes visible to the executing thread",
        BULK_GROUPS,
    ),
    _row(
        "readback_cta-full_wait-barrier",
        READBACK.with_choices(join=Join.CTA_BARRIER, fan_out=FanOut.EVERY_THREAD),
        SOUND,
        "visible to the issuer by the wait, to its CTA by the barrier",
        BULK_GROUPS,
    ),
)

# Broken: one site (or one site and what it entails) away from a sound row.
MUTANTS = (
    _row(
        "no_wait-release",
        RELEASE.with_choices(drain=Drain.NONE),
        BROKEN,
        "a release covers program order, in which the bulk store is not",
        BULK_ORDER,
        canary=True,
    ),
    _row(
        "no_wait-fence-atomic_add",
        FENCED_ADD.with_choices(drain=Drain.NONE),
        BROKEN,
        "a fence covers program order, in which the bulk store is not",
        BULK_ORDER,
        canary=True,
    ),
    _row(
        "read_wait-relaxed",
        RELAXED.with_choices(drain=Drain.READ),
        BROKEN,
        "neither the store's completion nor the signal's order is there",
        BULK_GROUPS,
        canary=True,
    ),
    _row(
        "full_wait-relaxed",
        RELAXED,
        BROKEN,
        "a relaxed signal releases nothing: the drained store is ordered before it for the "
        "publisher alone",
        SYNCHRONIZES,
        canary=True,
    ),
    _row(
        "full_wait-relaxed_by_other_warp",
        RELAXED.with_choices(publisher=Publisher.OTHER_WARP),
        BROKEN,
        "a relaxed signal releases nothing, whoever sends it",
        SYNCHRONIZES,
        canary=True,
    ),
    _row(
        "full_wait-st_relaxed",
        PUBLISHED.with_choices(publish=Publish.ST_RELAXED),
        BROKEN,
        "a relaxed store releases nothing",
        SYNCHRONIZES,
        canary=True,
    ),
    _row(
        "full_wait-release_by_other_warp-no_barrier",
        RELEASE.with_choices(join=Join.NONE, publisher=Publisher.OTHER_WARP),
        BROKEN,
        "the publisher never learns that the issuers have drained",
        BARRIERS,
        canary=True,
    ),
    _row(
        "read_wait-release_by_other_warp",
        RELEASE.with_choices(drain=Drain.READ, publisher=Publisher.OTHER_WARP),
        BROKEN,
        "the barrier passes on a `.read` wait's knowledge: that the source was read",
        BULK_GROUPS,
    ),
    _row(
        "read_wait-release_by_cluster_peer",
        RELEASE.with_choices(
            drain=Drain.READ,
            join=Join.CLUSTER_BARRIER,
            publisher=Publisher.CLUSTER_PEER,
        ),
        BROKEN,
        "the cluster barrier passes on a `.read` wait's knowledge: that the source was read",
        BULK_GROUPS,
    ),
    _row(
        "full_wait-cluster_relaxed-release_by_peer",
        RELEASE.with_choices(join=Join.CLUSTER_RELAXED, publisher=Publisher.CLUSTER_PEER),
        BROKEN,
        "barrier.cluster.arrive.relaxed releases nothing to the peer that publishes",
        BARRIERS,
        canary=True,
    ),
    _row(
        "wait_but_newest-release",
        RELEASE.with_choices(drain=Drain.FULL_BUT_NEWEST),
        BROKEN,
        "wait_group 1 leaves the newest group pending, and the newest is the tile signalled",
        BULK_GROUPS,
        canary=True,
    ),
    _row(
        "deferred-read_wait-release",
        RELEASE.with_choices(moment=Moment.DEFERRED, drain=Drain.READ),
        BROKEN,
        "the wait before refilling shared memory is a `.read` wait: deferring to it adds time, "
        "not order",
        BULK_GROUPS,
    ),
    _row(
        "published_too_early",
        PUBLISHED.with_choices(moment=Moment.EARLY),
        BROKEN,
        "the signal is sent before the tile is stored",
        "mutant: order of two lines",
        canary=True,
    ),
    _row(
        "no_source_fence",
        PUBLISHED.with_choices(source_fence=SourceFence.NONE),
        BROKEN,
        "the copy engine may read what shared memory held before the generic writes",
        PROXIES,
    ),
    _row(
        "generic_store-relaxed",
        GENERIC.with_choices(publish=Publish.RED_RELAXED),
        BROKEN,
        "a relaxed signal releases nothing",
        SYNCHRONIZES,
        canary=True,
    ),
    _row(
        "generic_store-no_barrier-release",
        GENERIC.with_choices(join=Join.NONE),
        BROKEN,
        "the publisher's release covers its own stores, not the other threads'",
        BARRIERS,
    ),
    _row(
        "bulk_1d-no_wait-release",
        RELEASE.with_choices(store=Store.BULK, drain=Drain.NONE),
        BROKEN,
        "a release covers program order, in which the bulk store is not",
        BULK_ORDER,
        canary=True,
    ),
    _row(
        "publish_cta_scope",
        PUBLISHED.with_choices(publish_scope=SignalScope.CTA),
        BROKEN,
        "a cta-scope release does not include a consumer in another CTA",
        SCOPES,
        canary=True,
    ),
    _row(
        "publish_cluster_scope",
        PUBLISHED.with_choices(publish_scope=SignalScope.CLUSTER),
        BROKEN,
        "a cluster-scope release does not include a consumer in another cluster",
        SCOPES,
    ),
    _row(
        "poll_cta_scope",
        PUBLISHED.with_choices(poll_scope=SignalScope.CTA),
        BROKEN,
        "a cta-scope acquire does not include a producer in another CTA",
        SCOPES,
    ),
    _row(
        "poll_relaxed",
        PUBLISHED.with_choices(poll=Poll.LD_RELAXED),
        BROKEN,
        "a relaxed poll acquires nothing: lines already in L1 may be read again",
        SYNCHRONIZES,
        canary=True,
    ),
    _row(
        "poll_volatile",
        PUBLISHED.with_choices(poll=Poll.LD_VOLATILE),
        BROKEN,
        "a volatile poll is relaxed: it acquires nothing",
        SYNCHRONIZES,
        canary=True,
    ),
    _row(
        "poll_relaxed-read_relaxed",
        PUBLISHED.with_choices(poll=Poll.LD_RELAXED, read=Read.RELAXED),
        BROKEN,
        "two relaxed reads of different locations are not ordered",
        SYNCHRONIZES,
    ),
    _row(
        "poll_one_thread-others_unordered",
        PUBLISHED.with_choices(fan_out=FanOut.UNORDERED),
        BROKEN,
        "one thread acquires, the others read with nothing but a relaxed flag between",
        "DeepEP#380",
    ),
    _row(
        "read_nc",
        PUBLISHED.with_choices(read=Read.NC),
        BROKEN,
        "ld.global.nc of memory written during the kernel is outside the model",
        "DeepEP#136; PTX ISA, ld.global.nc",
    ),
    _row(
        "same_sm-poll_relaxed",
        PUBLISHED.with_choices(place=Place.SAME_SM, poll=Poll.LD_RELAXED),
        BROKEN,
        "a relaxed poll acquires nothing, on the same SM too",
        SYNCHRONIZES,
    ),
    _row(
        "same_sm-read_wait-poll_relaxed",
        PUBLISHED.with_choices(place=Place.SAME_SM, drain=Drain.READ, poll=Poll.LD_RELAXED),
        BROKEN,
        "neither `.read` nor a relaxed poll makes the tile's writes visible: old lines in the "
        "SM's L1 may be read again",
        BULK_GROUPS,
        canary=True,
    ),
    _row(
        "same_sm-read_wait-release",
        PUBLISHED.with_choices(place=Place.SAME_SM, drain=Drain.READ),
        BROKEN,
        "`.read` waits for the source to be read, not for the tile to be written",
        BULK_GROUPS,
    ),
    _row(
        "producer_cta-read_wait-cta_scope",
        PUBLISHED.with_choices(
            place=Place.PRODUCER_CTA,
            drain=Drain.READ,
            publish_scope=SignalScope.CTA,
            poll_scope=SignalScope.CTA,
        ),
        BROKEN,
        "cta scope reaches the reader, but `.read` gave the release nothing to carry",
        BULK_GROUPS,
        canary=True,
    ),
    _row(
        "readback-no_wait",
        READBACK.with_choices(drain=Drain.NONE),
        BROKEN,
        "a bulk store is not in its issuer's program order",
        BULK_ORDER,
        canary=True,
    ),
    _row(
        "readback-read_wait",
        READBACK.with_choices(drain=Drain.READ),
        BROKEN,
        "`.read` does not make the writes visible to the executing thread",
        BULK_GROUPS,
        canary=True,
    ),
    _row(
        "readback_cta-read_wait-barrier",
        READBACK.with_choices(
            drain=Drain.READ, join=Join.CTA_BARRIER, fan_out=FanOut.EVERY_THREAD
        ),
        BROKEN,
        "the barrier passes on a `.read` wait's knowledge: that the source was read",
        BULK_GROUPS,
        canary=True,
    ),
)

ROWS = (*HISTORY, *REAL_CASES, *SOUND_SPELLINGS, *MUTANTS)
