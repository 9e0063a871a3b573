"""The questions about this hand-over that reviews have left open, and the rows that answer them.

Each is put so that the answer is yes where a stale read is forbidden.
"""

from __future__ import annotations

from sbo_verify.protocol import Question

QUESTIONS = (
    Question(
        text="Is a relaxed atomicAdd enough as the signal, behind the full wait and the barrier?",
        where="sglang#9660; DeepGEMM#183",
        enough=("full_wait-relaxed", "full_wait-relaxed_by_other_warp"),
        beside=("generic_store-relaxed",),
    ),
    Question(
        text="Do `__threadfence` + atomicAdd and a release atomic serve alike?",
        where="sglang#9660; DeepGEMM#183",
        enough=(
            "full_wait-fence-atomic_add",
            "full_wait-fence_acq_rel-red",
            "full_wait-red_release",
            "full_wait-atom_release",
            "full_wait-atomic_ref_release",
        ),
    ),
    Question(
        text="Does one thread's release cover TMA stores that other threads issued and drained?",
        where="DeepGEMM#183",
        enough=(
            "full_wait-atom_release",
            "full_wait-release_by_other_warp",
            "full_wait-release_by_cluster_peer",
        ),
        beside=(
            "full_wait-release_by_other_warp-no_barrier",
            "hip_port-per_warp_drain-no_barrier",
            "full_wait-cluster_relaxed-release_by_peer",
        ),
    ),
    Question(
        text="Is `wait_group.read` enough before the signal?",
        where="DeepGEMM#183; ThunderKittens#194; triton#10415",
        enough=(
            "read_wait-release",
            "read_wait-fence-atomic_add",
            "triton-single_issuer-read_wait-release",
            "readback-read_wait",
        ),
        beside=("read_wait-relaxed", "full_wait-atom_release", "readback-full_wait"),
    ),
    Question(
        text="Does a release or a fence make up for no wait at all?",
        where="DeepGEMM#183, its first step",
        enough=("no_wait-release", "no_wait-fence-atomic_add"),
        beside=("no_wait-relaxed",),
    ),
    Question(
        text="May the signal wait for the full wait that the next tile makes anyway?",
        where="sglang#9660; flashinfer grouped_gemm_masked",
        enough=("flashinfer-deferred_by_one_tile", "deferred-newest_pending-release"),
        beside=("deferred-read_wait-release", "wait_but_newest-release"),
    ),
    Question(
        text="Is a relaxed or volatile poll enough, with no fence behind it?",
        where="vLLM#8404; vLLM#8558; vLLM#57059; ThunderKittens#194",
        enough=("poll_relaxed", "poll_volatile", "poll_relaxed-read_relaxed"),
        beside=("vllm-relaxed_flags", "vllm-volatile_flags"),
    ),
    Question(
        text="Does a relaxed poll serve with a fence behind it, or an acquiring cuda::atomic_ref?",
        where="DeepEP#380",
        enough=("poll_relaxed-fence", "poll_atomic_ref", "poll_equal"),
    ),
    Question(
        text="May a plain load look first, and the acquire come only where it misses?",
        where="DeepEP#249, mended in DeepEP#468",
        enough=("deepep_plain_first_poll",),
        beside=("full_wait-atom_release",),
    ),
    Question(
        text="Are threads ordered that did not poll themselves?",
        where="DeepEP#380",
        enough=(
            "poll_one_thread-cta_barrier",
            "poll_one_lane-syncwarp",
            "poll_one_thread-reads_alone",
        ),
        beside=("poll_one_thread-others_unordered",),
    ),
    Question(
        text="Is an acquire enough before a TMA load of the tile?",
        where="DeepEP#621; DeepEP#632; DeepEP#642",
        enough=("deepep_combine-tma_load", "mega_moe-generic_store-tma_load"),
        beside=("read_tma-proxy_fence", "generic_store-tma_load-proxy_fence"),
    ),
    Question(
        text="May `ld.global.nc` read a tile that was written during the kernel?",
        where="DeepEP#136",
        enough=("read_nc",),
    ),
    Question(
        text="Is gpu scope enough where the reader is on another GPU?",
        where="DeepEP ffc39ba; DeepEP#654",
        enough=("full_wait-atom_release",),
        beside=("full_wait-release_sys",),
        on_another_gpu=True,
    ),
    Question(
        text="Does cta scope serve within one CTA?",
        where="PTX ISA, Memory Consistency Model: scope",
        enough=("producer_cta-cta_scope",),
        beside=("publish_cta_scope", "poll_cta_scope"),
    ),
    Question(
        text="Does cta scope serve within one CTA where another CTA adds to the same signal?",
        where="PTX ISA, Memory Consistency Model: observation",
        enough=("producer_cta-cta_scope",),
        beside=("producer_cta-other_warps",),
        producers=2,
    ),
)
