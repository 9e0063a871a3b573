"""The history of the public signal GEMM, every step in order."""

from __future__ import annotations

from sbo_verify.protocols.signal_publish.catalogue.base import (
    BROKEN,
    DEEPGEMM,
    FENCED_ADD,
    PUBLISHED,
    RELAXED,
    SOUND,
    row,
)
from sbo_verify.protocols.signal_publish.sites import Drain, Publish

HISTORY = (
    row(
        "no_wait-relaxed",
        RELAXED.with_choices(drain=Drain.NONE),
        BROKEN,
        "nothing orders the bulk store before the signal",
        f"{DEEPGEMM}, 2025-08-28",
        canary=True,
    ),
    row(
        "read_wait-fence-atomic_add",
        FENCED_ADD.with_choices(drain=Drain.READ),
        BROKEN,
        "`.read` waits for the source to be read, not for the tile to be written, and the fence "
        "orders program order, in which the bulk store is not",
        f"{DEEPGEMM}, 2025-09-02",
    ),
    row(
        "read_wait-release",
        PUBLISHED.with_choices(drain=Drain.READ),
        BROKEN,
        "`.read` waits for the source to be read, and a release covers no pending bulk store",
        f"{DEEPGEMM}, 2025-09-05; ThunderKittens#194",
    ),
    row(
        "full_wait-fence-atomic_add",
        FENCED_ADD,
        SOUND,
        "the full wait makes the writes visible to the issuers, the barrier and the fence "
        "carry them to the signal",
        f"{DEEPGEMM}, 2025-09-08",
    ),
    row(
        "full_wait-atom_release",
        PUBLISHED,
        SOUND,
        "full wait by the issuers, barrier, release at gpu scope: causality is cumulative, so "
        "one thread's release covers the others' drained stores",
        f"{DEEPGEMM}, as published",
    ),
    row(
        "full_wait-atomic_ref_release",
        PUBLISHED.with_choices(publish=Publish.ATOMIC_REF_RELEASE),
        SOUND,
        "cuda::atomic_ref::fetch_add(release) is the same release atomic",
        f"{DEEPGEMM}, proposed in review",
    ),
)
