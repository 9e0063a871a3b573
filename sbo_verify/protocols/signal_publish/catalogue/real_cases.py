"""Real cases from other code, as far as one GPU can show them."""

from __future__ import annotations

from sbo_verify.protocols.signal_publish.catalogue.base import (
    BROKEN,
    GENERIC,
    PUBLISHED,
    RELAXED,
    RELEASE,
    SOUND,
    row,
)
from sbo_verify.protocols.signal_publish.sites import (
    Drain,
    FanOut,
    Issuers,
    Join,
    Moment,
    Poll,
    Publish,
    Read,
    SignalScope,
    Test,
)

REAL_CASES = (
    row(
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
    row(
        "triton-single_issuer-full_wait-release",
        PUBLISHED.with_choices(issuers=Issuers.ONE, join=Join.NONE),
        SOUND,
        "one thread stores, waits in full and releases: no barrier is needed for its own stores",
        "triton#10415, as merged",
    ),
    row(
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
    row(
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
    row(
        "deepep_combine-tma_load",
        PUBLISHED.with_choices(fan_out=FanOut.CTA_BARRIER, read=Read.TMA, test=Test.EQUAL),
        BROKEN,
        "the acquire orders the generic proxy; the bulk load reads through the async proxy "
        "with no fence.proxy.async between",
        "DeepEP#621, DeepEP#642, overlap mode of antgroup-opt",
    ),
    row(
        "deepep_plain_first_poll",
        PUBLISHED.with_choices(poll=Poll.PLAIN_THEN_ACQUIRE),
        BROKEN,
        "when the weak load already sees the threshold, no acquire is executed at all",
        "DeepEP#249, mended in DeepEP#468",
    ),
    row(
        "flashinfer-deferred_by_one_tile",
        RELEASE.with_choices(moment=Moment.DEFERRED),
        SOUND,
        "the signal follows the full wait that the next tile makes anyway; later is not weaker",
        "flashinfer grouped_gemm_masked, dst_signals",
    ),
    row(
        "flashinfer_split_k-read_wait-no_fence",
        RELAXED.with_choices(drain=Drain.READ, poll=Poll.LD_RELAXED),
        BROKEN,
        "`.read`, an atomicAdd with no fence, and a reader with no acquire",
        "flashinfer#4742",
        canary=True,
    ),
    row(
        "vllm-volatile_flags",
        GENERIC.with_choices(publish=Publish.ST_VOLATILE, poll=Poll.LD_VOLATILE),
        BROKEN,
        "a volatile flag is relaxed: it neither releases nor acquires",
        "vLLM#8404, vLLM#8558",
        canary=True,
    ),
    row(
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
    row(
        "hip_port-per_warp_drain-no_barrier",
        RELEASE.with_choices(join=Join.NONE),
        BROKEN,
        "the publisher drained its own half; nothing orders the other issuer's half",
        "HIP port of the signal GEMM",
    ),
    row(
        "mega_moe-generic_store-tma_load",
        GENERIC.with_choices(read=Read.TMA),
        BROKEN,
        "written and released through the generic proxy, read through the async proxy with no "
        "fence.proxy.async between",
        "DeepGEMM mega_moe, scale factors",
    ),
    row(
        "nccl-equality_on_reused_flag",
        PUBLISHED.with_choices(publish=Publish.ST_RELEASE, test=Test.EQUAL_REUSED),
        BROKEN,
        "the flag of an earlier round equals the fresh one, so the poll proves nothing",
        "nccl#2306",
        canary=True,
    ),
    row(
        "cutlass_split_k-semaphore-no_fence",
        GENERIC.with_choices(publish=Publish.ST_RELAXED, fan_out=FanOut.CTA_BARRIER),
        BROKEN,
        "the semaphore is stored with no release and no fence before it",
        "cutlass#2775",
        canary=True,
    ),
)
