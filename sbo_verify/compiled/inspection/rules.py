"""The rules that a hand-off can break: stable names, why each matters, the mend, the source.

`docs/inspect.md` has each of them with an example.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to get a hand-off wrong. `source` names the section of the PTX ISA."""

    name: str
    summary: str
    why: str
    mend: str
    source: str


_BULK = "PTX ISA, cp.async.bulk.wait_group"
_MODEL = "PTX ISA, Memory Consistency Model"
_PROXY = "PTX ISA, Async proxy; membar / fence"

_ALL = (
    Rule(
        "signal-after-read-wait",
        "the signal is published after a wait that covers only the reading of the source",
        "`.read` returns when the source was read; the tile may not have been written yet",
        "take `.read` off: cp.async.bulk.wait_group 0",
        _BULK,
    ),
    Rule(
        "no-drain",
        "the signal is published while the tile's bulk store may be pending",
        "neither a barrier nor a release waits for a bulk store; only its completion does",
        "cp.async.bulk.commit_group and cp.async.bulk.wait_group 0 in the issuing thread, before",
        _BULK,
    ),
    Rule(
        "drain-by-another-thread",
        "a thread that did not issue the bulk store waits for it",
        "bulk groups belong to the thread that issued them; another thread's wait covers nothing",
        "let the issuing thread execute wait_group 0, then a barrier",
        _BULK,
    ),
    Rule(
        "missing-barrier",
        "the publishing thread is not the only one that stored, and no barrier stands between",
        "a release covers other threads' stores only once a barrier has ordered them before it",
        "bar.sync between the stores (and their drain) and the publish",
        _MODEL + ", Causality Order",
    ),
    Rule(
        "relaxed-publish",
        "the signal is written relaxed, with no fence of the publishing thread before it",
        "a relaxed write orders nothing: the signal may be seen before the tile",
        "publish with .release.gpu, or put fence.acq_rel.gpu behind the barrier, before it",
        _MODEL + ", Release and Acquire Patterns",
    ),
    Rule(
        "weak-publish",
        "the signal is written by a weak store",
        "a weak write is no part of a release pattern, even behind a fence",
        "st.release.gpu, or a fence and then st.relaxed.gpu",
        _MODEL + ", Release and Acquire Patterns",
    ),
    Rule(
        "narrow-publish",
        "the release reaches only the CTA or the cluster",
        "a consumer in another CTA is outside the scope, so that nothing synchronizes",
        "gpu scope (sys where another GPU or the host reads)",
        _MODEL + ", Scope",
    ),
    Rule(
        "poll-without-acquire",
        "the signal is polled relaxed or volatile, with no fence before the data is read",
        "the reads may be done before the poll that let them through",
        "poll with ld.acquire.gpu, or put fence.acq_rel.gpu behind the loop",
        _MODEL + ", Release and Acquire Patterns",
    ),
    Rule(
        "weak-poll",
        "the signal is read by a weak load, and data is read if it passes",
        "a weak read is no part of an acquire pattern, even where a fence follows",
        "poll with ld.acquire.gpu every time, the first time too",
        _MODEL + ", Release and Acquire Patterns",
    ),
    Rule(
        "hoisted-spin",
        "a loop that can never end: the load it waited on stands before it",
        "a weak load may be done once for all turns; the compiler did",
        "poll with ld.acquire.gpu, or through a volatile or atomic reference",
        _MODEL + ", Weak operations",
    ),
    Rule(
        "narrow-acquire",
        "the acquire reaches only the CTA or the cluster",
        "a producer in another CTA is outside the scope, so that nothing synchronizes",
        "gpu scope (sys where another GPU or the host writes)",
        _MODEL + ", Scope",
    ),
    Rule(
        "lanes-not-ordered",
        "threads that did not poll read the data, and no barrier stands between",
        "an acquire orders the thread that executed it, and others only behind a barrier",
        "bar.sync between the poll and the reads, or let every reading thread poll",
        _MODEL + ", Causality Order",
    ),
    Rule(
        "load-without-proxy-fence",
        "a bulk load reads the data after an acquire, and no proxy fence stands between",
        "the acquire orders the generic proxy; the copy engine reads through the async proxy",
        "fence.proxy.async (or .global) between the acquire and the bulk load",
        _PROXY,
    ),
    Rule(
        "source-without-proxy-fence",
        "a bulk store reads shared memory that ordinary stores wrote, with no proxy fence",
        "the copy engine may store what was in shared memory before",
        "fence.proxy.async.shared::cta in the writing threads, then a barrier",
        _PROXY,
    ),
    Rule(
        "source-without-barrier",
        "other threads write the source of a bulk store, and no barrier stands between",
        "the copy engine may read before they have written",
        "a barrier behind the writes and their proxy fence",
        _MODEL + ", Causality Order",
    ),
    Rule(
        "non-coherent-read",
        "data of a hand-off is read by ld.global.nc",
        "the non-coherent path is outside the memory model: no acquire orders it",
        "an ordinary ld.global: drop __ldg, or const and __restrict__",
        "PTX ISA, ld.global.nc",
    ),
    Rule(
        "asm-without-memory-clobber",
        "inline assembly orders memory but does not tell the compiler so",
        'without "memory" among the clobbers plain accesses may be moved across it',
        'asm volatile("..." : outputs : inputs : "memory")',
        "CUDA, Inline PTX Assembly, Incorrect Optimization",
    ),
)

RULES: dict[str, Rule] = {rule.name: rule for rule in _ALL}
