"""Ways that mislead a reader of PTX: what looks ordered and is not must never be called ordered."""

from __future__ import annotations

import pytest

from sbo_verify.compiled.inspection.files import inspect_ptx
from sbo_verify.compiled.inspection.handoffs import HandOffVerdict

ORDERED, NOT_ORDERED, CANNOT_TELL = HandOffVerdict
STORE = "st.global.u32 [%rd1], 7;"
BULK = (
    "cp.async.bulk.global.shared::cta.bulk_group [%rd1], [%r9], 1024;",
    "cp.async.bulk.commit_group;",
)
FULL = "cp.async.bulk.wait_group 0;"
RELEASE = "red.release.gpu.global.add.s32 [%rd2], 1;"
ACQUIRE = "ld.acquire.gpu.global.s32 %r3, [%rd2];"
READ = "ld.global.u32 %r4, [%rd1];"
BARRIER = "bar.sync 0;"
# %p1: not thread 0; %p2: not thread 64; %p3: unknown.
HEAD = (
    "ld.param.u64 %rd1, [k_param_0];",
    "ld.param.u64 %rd2, [k_param_1];",
    "mov.u32 %r1, %tid.x;",
    "setp.ne.s32 %p1, %r1, 0;",
    "setp.ne.s32 %p2, %r1, 64;",
    "ld.global.u32 %r2, [%rd2+64];",
    "setp.ne.s32 %p3, %r2, 0;",
)


def kernel(*body: str, threads: str = ".maxntid 128, 1, 1") -> str:
    head = (
        ".version 9.0",
        ".target sm_90a",
        ".address_size 64",
        ".visible .entry k(.param .u64 k_param_0, .param .u64 k_param_1)",
        threads,
    )
    return "\n".join([*head, "{", *HEAD, *body, "ret;", "}", ""])


def only(guard: str, *body: str) -> tuple[str, ...]:
    """The instructions, each under one guard."""
    return tuple(f"@{guard} {each}" for each in body)


THREAD_0, THREAD_64 = "!%p1", "!%p2"

CASES = {
    "one thread does all": (only(THREAD_0, *BULK, FULL, RELEASE), ORDERED),
    "the drain is skipped on a way": (
        (*only(THREAD_0, *BULK), *only("%p3", FULL), *only(THREAD_0, RELEASE)),
        NOT_ORDERED,
    ),
    "no group was committed": (only(THREAD_0, BULK[0], FULL, RELEASE), NOT_ORDERED),
    "the group is committed after the wait": (
        only(THREAD_0, BULK[0], FULL, BULK[1], RELEASE),
        NOT_ORDERED,
    ),
    "the barrier stands before the drain": (
        (*only(THREAD_0, *BULK), BARRIER, *only(THREAD_0, FULL), *only(THREAD_64, RELEASE)),
        NOT_ORDERED,
    ),
    "the barrier of the last turn is no barrier of this one": (
        ("$L:", *only(THREAD_0, STORE), *only(THREAD_64, RELEASE), BARRIER, "@%p3 bra $L;"),
        NOT_ORDERED,
    ),
    "the barrier at the top of the turn is none behind the store": (
        ("$L:", BARRIER, *only(THREAD_0, *BULK, FULL), *only(THREAD_64, RELEASE), "@%p3 bra $L;"),
        NOT_ORDERED,
    ),
    "a barrier of some threads does not order the others": (
        (
            "setp.lt.u32 %p4, %r1, 32;",
            *only(THREAD_0, STORE),
            "@%p4 barrier.sync 1, 32;",
            *only(THREAD_64, RELEASE),
        ),
        NOT_ORDERED,
    ),
    "the publisher meets others than the storing thread": (
        (
            "setp.ge.u32 %p4, %r1, 32;",
            *only(THREAD_0, STORE),
            "@%p4 barrier.sync 1, 96;",
            *only(THREAD_64, RELEASE),
        ),
        NOT_ORDERED,
    ),
    "a signal before the store of its turn": (
        ("$L:", BARRIER, *only(THREAD_0, RELEASE, *BULK, FULL), "@%p3 bra $L;"),
        CANNOT_TELL,
    ),
    "a signal before the store of its turn, behind another store": (
        (
            *only(THREAD_0, STORE),
            "$L:",
            BARRIER,
            *only(THREAD_0, RELEASE, *BULK, FULL),
            "@%p3 bra $L;",
        ),
        CANNOT_TELL,
    ),
    "an early signal with a right one behind the loop": (
        (
            "$L:",
            BARRIER,
            *only(THREAD_0, RELEASE, *BULK, FULL),
            "@%p3 bra $L;",
            *only(THREAD_0, RELEASE),
        ),
        CANNOT_TELL,
    ),
    "the same flag in every turn": (
        (
            "$L:",
            *only(THREAD_0, *BULK, FULL, "st.release.gpu.global.u32 [%rd2], 1;"),
            "@%p3 bra $L;",
        ),
        CANNOT_TELL,
    ),
    "an arrival tells those that wait": (
        (
            *only(THREAD_0, STORE, "bar.arrive 1, 128;"),
            *only("%p1", "bar.sync 1, 128;"),
            *only(THREAD_64, RELEASE),
        ),
        ORDERED,
    ),
    "every thread publishes for itself": ((STORE, RELEASE), CANNOT_TELL),
    "a call may do anything": (
        (*only(THREAD_0, *BULK, FULL), "call.uni other, ();", *only(THREAD_0, RELEASE)),
        CANNOT_TELL,
    ),
    "something with no word may publish": (
        (*only(THREAD_0, *BULK), "multimem.red.release.gpu.global.add.s32 [%rd2], 1;"),
        CANNOT_TELL,
    ),
    "the second result of a comparison is the other one": (
        (
            "setp.eq.s32 %p5|%p6, %r1, 0;",
            *only("%p5", STORE),
            *only("%p6", RELEASE),
        ),
        NOT_ORDERED,
    ),
    "a predicate that changed between": (
        (
            "setp.eq.s32 %p5, %r2, 0;",
            *only("%p5", *BULK),
            "setp.eq.s32 %p5, %r1, 0;",
            *only("%p5", FULL, RELEASE),
        ),
        NOT_ORDERED,
    ),
    "acquire, then read": (
        ("$L:", ACQUIRE, "setp.lt.s32 %p4, %r3, 1;", "@%p4 bra $L;", READ),
        ORDERED,
    ),
    "an acquire of the last turn is none of this one": (
        (
            *("$M:", "@%p1 bra $S;", "$L:", ACQUIRE, "setp.lt.s32 %p4, %r3, 1;", "@%p4 bra $L;"),
            *("$S:", READ, BARRIER, "@%p3 bra $M;"),
        ),
        NOT_ORDERED,
    ),
    "the fence stands before the poll": (
        (
            *("fence.acq_rel.gpu;", "$L:", ACQUIRE.replace("acquire", "relaxed")),
            *("setp.lt.s32 %p4, %r3, 1;", "@%p4 bra $L;", READ),
        ),
        NOT_ORDERED,
    ),
    "a way around the poll": (
        ("@%p3 bra $S;", "$L:", ACQUIRE, "setp.lt.s32 %p4, %r3, 1;", "@%p4 bra $L;", "$S:", READ),
        CANNOT_TELL,
    ),
    "a poll that gives up and reads all the same": (
        (
            *("mov.u32 %r5, 0;", "$L:", ACQUIRE, "setp.ge.s32 %p4, %r3, 1;", "@%p4 bra $S;"),
            *("add.s32 %r5, %r5, 1;", "setp.lt.s32 %p5, %r5, 9;", "@%p5 bra $L;", "$S:", READ),
        ),
        CANNOT_TELL,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_misleads_is_judged_rightly(name: str) -> None:
    body, expected = CASES[name]
    assert inspect_ptx(kernel(*body)).verdict == expected


def test_threads_of_a_flat_number_are_not_one_thread_in_a_two_dimensional_cta() -> None:
    body = only(THREAD_0, *BULK, FULL, RELEASE)
    assert inspect_ptx(kernel(*body, threads=".maxntid 1, 64, 1")).verdict is not ORDERED
    assert inspect_ptx(kernel(*body, threads=".maxntid 64, 1, 1")).verdict is ORDERED
