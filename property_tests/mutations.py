"""Changes to single wrappers that conformance must notice, one row of the table each.

A *removal* puts `if (false)` before a wrapper's instruction; a *respelling* changes one word of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kernel_text import functions

REMOVED = ("asm volatile(", "if (false) asm volatile(")
AT_CTA_SCOPE = ("SBO_AT_SCOPE(S, SBO_OP)", "SBO_AT_SCOPE(Scope::cta, SBO_OP)")

PUBLISH, POLL, READ = "producer.publish", "consumer.poll", "consumer.read"
PUBLISHED = "full_wait-atom_release"
RED_RELEASE = "full_wait-red_release"
VOLATILE = "vllm-volatile_flags"
PEER = "full_wait-release_by_cluster_peer"
TMA_READ = "read_tma-proxy_fence"
BULK_READ = "generic_store-tma_load-proxy_fence"
FLAG = "poll_one_thread-others_unordered"


@dataclass(frozen=True)
class Mutation:
    """`change` in `wrapper` (all of `file` if empty), and what a message at `site` then names."""

    wrapper: str
    change: tuple[str, str]
    row: str
    site: str
    declared: str
    compiled: str
    file: str = "ptx.cuh"

    @property
    def name(self) -> str:
        """The test's id: the wrapper or file, the site, and what the compiled code then holds."""
        words = (self.wrapper or self.file, self.site or "unreadable", self.compiled)
        return "-".join(words).replace(" ", "_")

    def apply(self, kernels: Path) -> None:
        """Change the file in `kernels`; an assertion fails if there is nothing to change."""
        path = kernels / self.file
        text = path.read_text()
        old, new = self.change
        if not self.wrapper:
            assert text.count(old) == 1, f"{self.file} does not hold once: {old}"
            path.write_text(text.replace(old, new))
            return
        body = functions(text)[self.wrapper]
        assert old in body, f"{self.wrapper} does not hold {old}"
        path.write_text(text.replace(body, body.replace(old, new)))


def _respelled(wrapper: str, words: tuple[str, str], row: str, site: str, shape: str) -> Mutation:
    """`shape` is the instruction as conformance names it, with {} for the word that changes."""
    old, new = words
    return Mutation(wrapper, words, row, site, shape.format(old), shape.format(new))


def _at_cta_scope(wrapper: str, row: str, site: str, shape: str) -> Mutation:
    """The scope alone: `shape` has {} in its place."""
    return Mutation(wrapper, AT_CTA_SCOPE, row, site, shape.format("gpu"), shape.format("cta"))


def _removed(wrapper: str, row: str, site: str, declared: str) -> Mutation:
    return Mutation(wrapper, REMOVED, row, site, declared, "nothing")


RELEASED = ("relaxed.", "release.")
RELAXED = ("release.", "relaxed.")
ACQUIRED = ("relaxed.", "acquire.")

SIGNALS = (
    _respelled("red_add_relaxed", RELEASED, "full_wait-relaxed", PUBLISH, "red.{}gpu.global"),
    _at_cta_scope("red_add_relaxed", "full_wait-relaxed", PUBLISH, "red.relaxed.{}.global"),
    _respelled("red_add_release", RELAXED, RED_RELEASE, PUBLISH, "red.{}gpu.global"),
    _at_cta_scope("red_add_release", RED_RELEASE, PUBLISH, "red.release.{}.global"),
    # The acknowledgement is of the harness: its order is held too, in a row that publishes by atom.
    _respelled("red_add_release", RELAXED, PUBLISHED, "harness.flow", "red.{}gpu.global"),
    _respelled("atom_add_release", RELAXED, PUBLISHED, PUBLISH, "atom.{}gpu.global"),
    _at_cta_scope("atom_add_release", PUBLISHED, PUBLISH, "atom.release.{}.global"),
    _respelled("st_release", RELAXED, "full_wait-st_release", PUBLISH, "st.{}gpu.global"),
    _at_cta_scope("st_release", "full_wait-st_release", PUBLISH, "st.release.{}.global"),
    _respelled("st_relaxed", RELEASED, "full_wait-st_relaxed", PUBLISH, "st.{}gpu.global"),
    _at_cta_scope("st_relaxed", "full_wait-st_relaxed", PUBLISH, "st.relaxed.{}.global"),
    _respelled("st_volatile", ("volatile.", "weak."), VOLATILE, PUBLISH, "st.{}global"),
    _respelled("ld_acquire", ("acquire.", "relaxed."), PUBLISHED, POLL, "ld.{}gpu.global"),
    _at_cta_scope("ld_acquire", PUBLISHED, POLL, "ld.acquire.{}.global"),
    _respelled("ld_relaxed", ACQUIRED, "poll_relaxed", POLL, "ld.{}gpu.global"),
    _at_cta_scope("ld_relaxed", "poll_relaxed", POLL, "ld.relaxed.{}.global"),
    _respelled("ld_volatile", ("volatile.", "acquire.gpu."), VOLATILE, POLL, "ld.{}global"),
    _respelled(
        "ld_weak", ("weak.", "acquire.gpu."), "deepep_plain_first_poll", POLL, "ld.{}global"
    ),
)

FENCES = (
    _removed("fence_acq_rel", "poll_relaxed-fence", POLL, "fence.acq_rel.gpu"),
    _respelled("fence_acq_rel", ("acq_rel.", "sc."), "poll_relaxed-fence", POLL, "fence.{}gpu"),
    _at_cta_scope("fence_acq_rel", "full_wait-fence_acq_rel-red", PUBLISH, "fence.acq_rel.{}"),
    _removed("fence_proxy_async", TMA_READ, READ, "fence.proxy.async"),
    Mutation(
        "fence_proxy_async",
        ("fence.proxy.async;", "fence.proxy.async.shared::cta;"),
        TMA_READ,
        READ,
        "declared fence.proxy.async,",
        "fence.proxy.async.shared",
    ),
    # A fence of another proxy is one that the vocabulary has no word for.
    Mutation(
        "fence_proxy_async",
        ("fence.proxy.async;", "fence.proxy.alias;"),
        TMA_READ,
        "",
        "consumer.read: fence.proxy.async, mbarrier.arrive",
        "no word for fence.proxy.alias",
    ),
    _removed(
        "fence_proxy_async_shared_cta",
        PUBLISHED,
        "producer.source_fence",
        "fence.proxy.async.shared",
    ),
)

BARRIERS = (
    _removed("barrier_cta_sync", PUBLISHED, "producer.join", "barrier.cta"),
    Mutation(
        "barrier_cta_sync",
        ('"barrier.cta.sync %0, %1;"', '"bar.warp.sync 0xffffffff;"'),
        PUBLISHED,
        "producer.source_join",
        "barrier.cta",
        "bar.warp.sync",
    ),
    Mutation(
        "barrier_cta_red_or", REMOVED, PUBLISHED, "harness.done", "barrier.cta.red", "without"
    ),
    Mutation(
        "barrier_cta_red_or",
        ('"barrier.cta.red', '"fence.sc.gpu;\\n"\n      "barrier.cta.red'),
        PUBLISHED,
        "harness.done",
        "barrier.cta.red",
        "fence.sc.gpu",
    ),
    _respelled(
        "barrier_cluster_arrive_release",
        RELAXED,
        PEER,
        "producer.join",
        "barrier.cluster.arrive.{}cluster",
    ),
    _respelled(
        "barrier_cluster_arrive_relaxed",
        RELEASED,
        "full_wait-cluster_relaxed-release_by_peer",
        "producer.join",
        "barrier.cluster.arrive.{}cluster",
    ),
    _removed(
        "barrier_cluster_wait_acquire",
        PEER,
        "producer.join",
        "barrier.cluster.wait.acquire.cluster",
    ),
)

COPIES = (
    _removed(
        "cp_async_bulk_tensor_2d_store",
        PUBLISHED,
        "producer.store",
        "cp.async.bulk.tensor (store)",
    ),
    _removed(
        "cp_async_bulk_store",
        "bulk_1d-full_wait-release",
        "producer.store",
        "cp.async.bulk (store)",
    ),
    _removed("cp_async_bulk_tensor_2d_load", TMA_READ, READ, "cp.async.bulk.tensor (load)"),
    _removed("cp_async_bulk_load", BULK_READ, READ, "cp.async.bulk (load)"),
    _removed(
        "cp_async_bulk_commit_group",
        PUBLISHED,
        "producer.store",
        "cp.async.bulk.commit_group",
    ),
    _removed("cp_async_bulk_wait_group", PUBLISHED, "producer.drain", "cp.async.bulk.wait_group 0"),
    _respelled(
        "cp_async_bulk_wait_group",
        ("wait_group ", "wait_group.read "),
        PUBLISHED,
        "producer.drain",
        "cp.async.bulk.{}0",
    ),
    Mutation(
        "cp_async_bulk_wait_group",
        ('"n"(N)', '"n"(N + 1)'),
        PUBLISHED,
        "producer.drain",
        "cp.async.bulk.wait_group 0",
        "cp.async.bulk.wait_group 1",
    ),
    _respelled(
        "cp_async_bulk_wait_group_read",
        ("wait_group.read ", "wait_group "),
        "read_wait-release",
        "producer.drain",
        "cp.async.bulk.{}0",
    ),
    Mutation("mbarrier_init", REMOVED, TMA_READ, "harness.setup", "mbarrier.init", "without"),
    _respelled(
        "mbarrier_arrive_expect_tx",
        ("release.cta", "relaxed.cta"),
        TMA_READ,
        READ,
        "mbarrier.arrive.expect_tx.{}",
    ),
    _respelled(
        "mbarrier_try_wait_acquire",
        ("acquire.cta", "relaxed.cta"),
        TMA_READ,
        READ,
        "mbarrier.try_wait.{}",
    ),
)

DATA = (
    _respelled("ld_weak_v4", ("weak.", "relaxed.gpu."), PUBLISHED, READ, "ld.{}global"),
    _respelled("ld_relaxed_gpu_v4", ("relaxed.gpu.", "weak."), "read_relaxed", READ, "ld.{}global"),
    Mutation(
        "ld_nc_v4",
        ("ld.global.nc.", "ld.weak.global."),
        "read_nc",
        READ,
        "ld.nc.global",
        "ld.weak.global",
    ),
    _respelled(
        "st_weak_v4",
        ("weak.", "relaxed.gpu."),
        "generic_store-release",
        "producer.store",
        "st.{}global",
    ),
    _respelled("ld_weak_shared_v4", ("weak.", "relaxed.cta."), TMA_READ, READ, "ld.{}shared"),
    _respelled(
        "st_weak_shared_v4", ("weak.", "relaxed.cta."), PUBLISHED, "harness.fill", "st.{}shared"
    ),
    _respelled("st_relaxed_cta_shared", RELEASED, FLAG, "consumer.fan_out", "st.{}cta.shared"),
    _respelled("ld_relaxed_cta_shared", ACQUIRED, FLAG, "consumer.fan_out", "ld.{}cta.shared"),
)

OF_WRAPPERS = (*SIGNALS, *FENCES, *BARRIERS, *COPIES, *DATA)
