"""Changes to the kernels around the wrappers that conformance must notice: order and position."""

from __future__ import annotations

from mutations import POLL, PUBLISH, PUBLISHED, Mutation

STORE_TILE = "    store_tile<V>(p, slot, source, group, tag);\n"
FLOW = 'SBO_BEGIN("harness.flow"); group.sync(); SBO_END("harness.flow");\n'
FLAG = "      if (may_read) ptx::st_relaxed_cta_shared(&control.flag, tag);\n    }"


def _site(change: tuple[str, str], row: str, site: str, declared: str, compiled: str) -> Mutation:
    return Mutation("", change, row, site, declared, compiled, "signal.cuh")


def _kernel(change: tuple[str, str], row: str, site: str, declared: str, compiled: str) -> Mutation:
    return Mutation("", change, row, site, declared, compiled, "signal_publish.cuh")


def _around_store(site: str) -> tuple[str, str]:
    return (STORE_TILE, f'SBO_BEGIN("{site}");\n{STORE_TILE}SBO_END("{site}");\n')


OF_KERNELS = (
    _site(
        (
            "    threadfence<S>();\n    atomic_add<S>(signal, increment);",
            "    atomic_add<S>(signal, increment);\n    threadfence<S>();",
        ),
        "full_wait-fence-atomic_add",
        PUBLISH,
        "fence.sc.gpu",
        "atom.relaxed.gpu.global at PTX line",
    ),
    _site(
        (
            "    ptx::fence_acq_rel<S>();\n",
            "    if (increment > 1) ptx::fence_acq_rel<S>(); else\n",
        ),
        "full_wait-fence_acq_rel-red",
        PUBLISH,
        "fence.acq_rel.gpu and red.relaxed.gpu.global one behind the other",
        "otherwise at PTX lines",
    ),
    _site(
        ("fetch_add(increment, cuda::memory_order_release)", "fetch_add(increment)"),
        "full_wait-atomic_ref_release",
        PUBLISH,
        "atom.release.gpu.global",
        "fence.sc.gpu",
    ),
    _kernel(
        (
            "    source_fence<V>();\n    source_join(group);",
            "    source_join(group);\n    source_fence<V>();",
        ),
        PUBLISHED,
        "producer.source_join",
        "barrier.cta after producer.source_fence",
        "nothing there",
    ),
    # One site or the other, by turns: each is there, and no thread passes both.
    _kernel(
        ("    source_join(group);\n", "    if (tag % 2 == 0) source_join(group); else\n"),
        "published_too_early",
        PUBLISH,
        "after producer.source_join",
        "where no path leads",
    ),
    _kernel(
        (STORE_TILE, f"{STORE_TILE}{STORE_TILE}"),
        PUBLISHED,
        "producer.store",
        "nothing after producer.source_join",
        "cp.async.bulk.tensor (store) at PTX line",
    ),
    # A repeated step may repeat its data accesses, and nothing else.
    _kernel(
        (
            "    ptx::cp_async_bulk_commit_group();\n",
            "    ptx::cp_async_bulk_commit_group();\n" * 2,
        ),
        PUBLISHED,
        "producer.store",
        "nothing",
        "cp.async.bulk.commit_group at PTX line",
    ),
    # The producer's threads would consume too: their own program would order what they read.
    _kernel(
        (
            "  } else if (in_one_cta || part.role == Role::CONSUMER) {",
            "  } if (in_one_cta || part.role != Role::NOISE) {",
        ),
        PUBLISHED,
        POLL,
        "in another program than producer.publish",
        "behind it, PTX lines",
    ),
    _kernel(
        (f"{FLAG} else {{", f"{FLAG} {{"),
        "poll_one_thread-others_unordered",
        "consumer.fan_out",
        "on branches of one condition",
        "otherwise at PTX lines",
    ),
    _kernel(
        ("      delay(p.delay_before_publish_cycles);\n", "      __threadfence();\n"),
        "full_wait-relaxed",
        "outside every site",
        "nothing",
        "fence.sc.gpu",
    ),
    # The harness alone would mend a variant that declares no barrier.
    _kernel(
        (STORE_TILE, f"{STORE_TILE}{FLOW}"),
        "hip_port-per_warp_drain-no_barrier",
        "harness.flow",
        "outside the hand-over",
        "barrier.cta at PTX line",
    ),
    _kernel(
        _around_store("producer.other"),
        PUBLISHED,
        "producer.other",
        "neither as a step nor as part of the harness",
        "at PTX line",
    ),
    _kernel(
        _around_store("producer.join"),
        PUBLISHED,
        "producer.store",
        "beside producer.join",
        "inside it at PTX line",
    ),
    _kernel(
        (STORE_TILE, f'{STORE_TILE}SBO_BEGIN("harness.flow");\n'),
        PUBLISHED,
        "",
        "producer.publish: atom.release.gpu.global",
        "harness.flow",
    ),
)
