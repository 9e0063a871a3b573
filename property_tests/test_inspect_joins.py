"""Where threads meet: mbarriers, warp barriers, named barriers, elected lanes; sound and broken.

What does not join the storing threads with the publisher must never be called ordered.
"""

from __future__ import annotations

import pytest
from test_inspect_ways import (
    ACQUIRE,
    BARRIER,
    BULK,
    CANNOT_TELL,
    FULL,
    NOT_ORDERED,
    ORDERED,
    READ,
    RELEASE,
    STORE,
    THREAD_0,
    THREAD_64,
    kernel,
    only,
)

from sbo_verify.compiled.inspection.files import inspect_ptx
from sbo_verify.compiled.inspection.handoffs import HandOffVerdict

# %p10: warp 0; %p11: lane 0 of each warp; %p12: elected in each warp.
ROLES = (
    "setp.lt.u32 %p10, %r1, 32;",
    "and.b32 %r10, %r1, 31;",
    "setp.eq.s32 %p11, %r10, 0;",
    "elect.sync %r11|%p12, -1;",
    "setp.ge.u32 %p13, %r1, 64;",
)
WARP_0, LANE_0, ELECTED = "%p10", "%p11", "%p12"
ARRIVE = "mbarrier.arrive.shared::cta.b64 %rd9, [bar];"
WARP_SYNC = "bar.warp.sync -1;"


def init(count: int) -> tuple[str, ...]:
    return (f"@{THREAD_0} mbarrier.init.shared::cta.b64 [bar], {count};", BARRIER)


def wait(parity: object = 0, label: str = "$W", name: str = "bar") -> tuple[str, ...]:
    asked = f"mbarrier.try_wait.parity.shared::cta.b64 %p9, [{name}], {parity};"
    return (f"{label}:", asked, f"@!%p9 bra {label};")


def poll(guard: str) -> tuple[str, ...]:
    """Threads for which the guard holds poll; the others go on."""
    opposite = guard.removeprefix("!") if guard.startswith("!") else f"!{guard}"
    tested = ("$L:", ACQUIRE, "setp.lt.s32 %p4, %r3, 1;", "@%p4 bra $L;")
    return (f"@{opposite} bra $S;", *tested, "$S:")


TOKEN = (
    "mbarrier.arrive.shared::cta.b64 %rd9, [bar];",
    "$W:",
    "mbarrier.test_wait.shared::cta.b64 %p9, [bar], %rd9;",
    "@!%p9 bra $W;",
)
ONE_PRODUCES = only(THREAD_0, *BULK, FULL, ARRIVE)
TURNS = ("mov.u32 %r20, 0;", "mov.u32 %r21, 0;", "$T:")
NEXT = ("add.s32 %r21, %r21, 1;", "setp.lt.s32 %p8, %r21, 9;", "@%p8 bra $T;")
PRODUCES_IN_TURNS = (
    *("mov.u32 %r31, 0;", "$A:", *BULK, FULL, ARRIVE),
    *("add.s32 %r31, %r31, 1;", "setp.lt.s32 %p20, %r31, 9;", "@%p20 bra $A;"),
)
FLIP = "xor.b32 %r20, %r20, 1;"


def two_roles(producer: tuple[str, ...], publisher: tuple[str, ...]) -> tuple[str, ...]:
    """Thread 0 in one branch, thread 64 in another."""
    return (
        "@%p1 bra $OTHER;",
        *producer,
        "bra.uni $END;",
        "$OTHER:",
        "@%p2 bra $END;",
        *publisher,
        "$END:",
    )


CASES: dict[str, tuple[tuple[str, ...], HandOffVerdict]] = {
    "all store, arrive and wait": (
        (*init(128), STORE, ARRIVE, *wait(), *only(THREAD_64, RELEASE)),
        ORDERED,
    ),
    "fewer are counted than arrive": (
        (*init(64), STORE, ARRIVE, *wait(), *only(THREAD_64, RELEASE)),
        CANNOT_TELL,
    ),
    "the count is not known": (
        (
            "@!%p1 mbarrier.init.shared::cta.b64 [bar], %r2;",
            *(BARRIER, STORE, ARRIVE, *wait(), *only(THREAD_64, RELEASE)),
        ),
        CANNOT_TELL,
    ),
    "they arrive before they store": (
        (*init(128), ARRIVE, STORE, *wait(), *only(THREAD_64, RELEASE)),
        NOT_ORDERED,
    ),
    "the wait asks for the phase before": (
        (*init(128), STORE, ARRIVE, *wait(1), *only(THREAD_64, RELEASE)),
        NOT_ORDERED,
    ),
    "nobody waits": ((*init(128), STORE, ARRIVE, *only(THREAD_64, RELEASE)), NOT_ORDERED),
    "the answer is not looked at": (
        (*init(128), STORE, ARRIVE, wait()[1], *only(THREAD_64, RELEASE)),
        CANNOT_TELL,
    ),
    "the loop goes on when the phase has not ended": (
        (*init(128), STORE, ARRIVE, "$W:", wait()[1], "@%p9 bra $W;", *only(THREAD_64, RELEASE)),
        NOT_ORDERED,
    ),
    "the answer passes through a word": (
        (
            *(*init(128), STORE, ARRIVE, "$W:", wait()[1], "selp.u32 %r12, 1, 0, %p9;"),
            *("setp.eq.s32 %p14, %r12, 0;", "@%p14 bra $W;", *only(THREAD_64, RELEASE)),
        ),
        ORDERED,
    ),
    "they arrive relaxed": (
        (
            *(*init(128), STORE, ARRIVE.replace("arrive.", "arrive.relaxed.cta.")),
            *(*wait(), *only(THREAD_64, RELEASE)),
        ),
        NOT_ORDERED,
    ),
    "they wait relaxed": (
        (
            *(*init(128), STORE, ARRIVE),
            *(each.replace("parity.", "parity.relaxed.cta.") for each in wait()),
            *only(THREAD_64, RELEASE),
        ),
        NOT_ORDERED,
    ),
    "they wait at another mbarrier": (
        (*init(128), STORE, ARRIVE, *wait(name="bar+8"), *only(THREAD_64, RELEASE)),
        CANNOT_TELL,
    ),
    "by the token of their own arrival": (
        (*init(128), STORE, *TOKEN, *only(THREAD_64, RELEASE)),
        ORDERED,
    ),
    "one drains and arrives, all wait, another publishes": (
        (*init(1), *ONE_PRODUCES, *wait(), *only(THREAD_64, RELEASE)),
        ORDERED,
    ),
    "one arrives and another, in its own branch, publishes": (
        (*init(1), *two_roles((*BULK, FULL, ARRIVE), (*wait(), RELEASE))),
        ORDERED,
    ),
    "one arrives before its drain, another publishes": (
        (*init(1), *two_roles((*BULK, ARRIVE, FULL), (*wait(), RELEASE))),
        NOT_ORDERED,
    ),
    "one waits for the reading only, another publishes": (
        (
            *init(1),
            *two_roles(
                (*BULK, FULL.replace("group 0", "group.read 0"), ARRIVE), (*wait(), RELEASE)
            ),
        ),
        NOT_ORDERED,
    ),
    "another publishes relaxed": (
        (
            *init(1),
            *two_roles((*BULK, FULL, ARRIVE), (*wait(), RELEASE.replace("release", "relaxed"))),
        ),
        NOT_ORDERED,
    ),
    "one lane arrives for its warp": (
        (
            *(*init(1), *only(WARP_0, STORE), "@!%p10 bra $S;", f"@{ELECTED} {ARRIVE}"),
            *("$S:", *wait(), *only(THREAD_64, RELEASE)),
        ),
        NOT_ORDERED,
    ),
    "one lane arrives for its warp behind a warp barrier": (
        (
            *(*init(1), *only(WARP_0, STORE), WARP_SYNC, "@!%p10 bra $S;"),
            *(f"@{ELECTED} {ARRIVE}", "$S:", *wait(), *only(THREAD_64, RELEASE)),
        ),
        ORDERED,
    ),
    "lane 0 of each warp arrives behind a warp barrier": (
        (*init(4), STORE, WARP_SYNC, f"@{LANE_0} {ARRIVE}", *wait(), *only(THREAD_64, RELEASE)),
        ORDERED,
    ),
    "lane 0 of each warp arrives": (
        (*init(4), STORE, f"@{LANE_0} {ARRIVE}", *wait(), *only(THREAD_64, RELEASE)),
        NOT_ORDERED,
    ),
    "phases by turn": (
        (*init(128), *TURNS, STORE, ARRIVE, *wait("%r20"), *only(THREAD_64, RELEASE), FLIP, *NEXT),
        ORDERED,
    ),
    "phases by turn, counted": (
        (
            *(*init(128), *TURNS, STORE, ARRIVE, "and.b32 %r22, %r21, 1;", *wait("%r22")),
            *(*only(THREAD_64, RELEASE), *NEXT),
        ),
        ORDERED,
    ),
    "the same phase in every turn": (
        (*init(128), *TURNS, STORE, ARRIVE, *wait(0), *only(THREAD_64, RELEASE), *NEXT),
        CANNOT_TELL,
    ),
    "the phase of the turn before": (
        (*init(128), *TURNS, STORE, ARRIVE, FLIP, *wait("%r20"), *only(THREAD_64, RELEASE), *NEXT),
        CANNOT_TELL,
    ),
    "a turn that may not flip the parity": (
        (
            *(*init(128), *TURNS, STORE, ARRIVE, *wait("%r20"), *only(THREAD_64, RELEASE)),
            *(f"@%p3 {FLIP}", *NEXT),
        ),
        CANNOT_TELL,
    ),
    "they may arrive again before others have": (
        (
            *(*init(128), *TURNS, STORE, ARRIVE, "@%p3 bra $N;", *wait("%r20")),
            *(*only(THREAD_64, RELEASE), "$N:", FLIP, *NEXT),
        ),
        CANNOT_TELL,
    ),
    "a store behind the wait of its turn": (
        (*init(128), *TURNS, ARRIVE, *wait("%r20"), STORE, *only(THREAD_64, RELEASE), FLIP, *NEXT),
        NOT_ORDERED,
    ),
    "one stores and arrives in its loop, another publishes in its own": (
        (
            *init(1),
            *two_roles(
                PRODUCES_IN_TURNS,
                (*TURNS, *wait("%r20"), RELEASE, FLIP, *NEXT),
            ),
        ),
        ORDERED,
    ),
    "another publishes in its loop before it waits": (
        (
            *init(1),
            *two_roles(
                PRODUCES_IN_TURNS,
                (*TURNS, RELEASE, *wait("%r20"), FLIP, *NEXT),
            ),
        ),
        CANNOT_TELL,
    ),
    # ---- warp barriers
    "one warp stores and meets, a lane publishes": (
        (*only(WARP_0, STORE), WARP_SYNC, *only(THREAD_0, RELEASE)),
        ORDERED,
    ),
    "one warp stores, a lane publishes": (
        (*only(WARP_0, STORE), *only(THREAD_0, RELEASE)),
        NOT_ORDERED,
    ),
    "one warp stores and meets, an elected lane publishes": (
        (
            *("@!%p10 bra $S;", STORE, WARP_SYNC, "elect.sync _|%p15, -1;"),
            *(*only("%p15", RELEASE), "$S:"),
        ),
        ORDERED,
    ),
    "one warp stores, an elected lane publishes": (
        ("@!%p10 bra $S;", STORE, *only(ELECTED, RELEASE), "$S:"),
        NOT_ORDERED,
    ),
    "one warp stores and meets, a lane of another publishes": (
        (*only(WARP_0, STORE), WARP_SYNC, *only(THREAD_64, RELEASE)),
        NOT_ORDERED,
    ),
    "all store and only their warps meet": (
        (STORE, WARP_SYNC, *only(THREAD_0, RELEASE)),
        NOT_ORDERED,
    ),
    "half of the warp meets": (
        (*only(WARP_0, STORE), "bar.warp.sync 65535;", *only(THREAD_0, RELEASE)),
        NOT_ORDERED,
    ),
    "which lanes meet is not known": (
        (*only(WARP_0, STORE), "bar.warp.sync %r2;", *only(THREAD_0, RELEASE)),
        CANNOT_TELL,
    ),
    "a lane of each warp publishes behind its warp's barrier": (
        (STORE, WARP_SYNC, *only(LANE_0, RELEASE)),
        CANNOT_TELL,
    ),
    "a warp barrier before the store": (
        (WARP_SYNC, *only(WARP_0, STORE), *only(THREAD_0, RELEASE)),
        NOT_ORDERED,
    ),
    "lane 0 of each warp polls, the warps meet": (
        (*poll(LANE_0), WARP_SYNC, READ),
        ORDERED,
    ),
    "lane 0 of each warp polls": ((*poll(LANE_0), READ), NOT_ORDERED),
    "lane 0 of one warp polls, the warps meet": (
        (*poll(THREAD_0), WARP_SYNC, READ),
        NOT_ORDERED,
    ),
    "a lane of each warp stores what its warp wrote": (
        (
            *("st.shared.u32 [tile], 7;", "fence.proxy.async.shared::cta;", WARP_SYNC),
            *("mov.u32 %r30, tile;", *only(LANE_0, *(e.replace("%r9", "%r30") for e in BULK))),
        ),
        CANNOT_TELL,
    ),
    "a lane of each warp stores what its warp wrote, with no proxy fence": (
        (
            *("st.shared.u32 [tile], 7;", WARP_SYNC),
            *("mov.u32 %r30, tile;", *only(LANE_0, *(e.replace("%r9", "%r30") for e in BULK))),
        ),
        NOT_ORDERED,
    ),
    "a lane of each warp stores what its warp wrote, with no barrier": (
        (
            *("st.shared.u32 [tile], 7;", "fence.proxy.async.shared::cta;"),
            *("mov.u32 %r30, tile;", *only(LANE_0, *(e.replace("%r9", "%r30") for e in BULK))),
        ),
        NOT_ORDERED,
    ),
    # ---- named barriers
    "a barrier of each warpgroup by its number": (
        (
            *("shr.u32 %r13, %r1, 6;", "add.s32 %r14, %r13, 1;", "@%p13 bra $M;", STORE, "$M:"),
            *("barrier.sync %r14, 64;", *only(THREAD_0, RELEASE)),
        ),
        ORDERED,
    ),
    "barriers of two warpgroups do not join them": (
        (
            *("shr.u32 %r13, %r1, 6;", "add.s32 %r14, %r13, 1;", STORE),
            *("barrier.sync %r14, 64;", *only(THREAD_0, RELEASE)),
        ),
        NOT_ORDERED,
    ),
    "a barrier that half of its comers complete": (
        (STORE, "barrier.sync 1, 64;", *only(THREAD_0, RELEASE)),
        CANNOT_TELL,
    ),
    "a barrier whose number is not known": (
        (STORE, "barrier.sync %r2, 128;", *only(THREAD_0, RELEASE)),
        CANNOT_TELL,
    ),
    "arrivals at a barrier that one half waits at": (
        (
            *only("!%p13", STORE, "barrier.arrive 1, 128;"),
            *only("%p13", "barrier.sync 1, 128;"),
            *only(THREAD_64, RELEASE),
        ),
        ORDERED,
    ),
    "arrivals before the store": (
        (
            *only("!%p13", "barrier.arrive 1, 128;", STORE),
            *only("%p13", "barrier.sync 1, 128;"),
            *only(THREAD_64, RELEASE),
        ),
        NOT_ORDERED,
    ),
    "arrivals at another barrier": (
        (
            *only("!%p13", STORE, "barrier.arrive 2, 128;"),
            *only("%p13", "barrier.sync 1, 64;"),
            *only(THREAD_64, RELEASE),
        ),
        NOT_ORDERED,
    ),
    "two barriers of one name, one for each half": (
        (
            *only("!%p13", STORE, "barrier.sync 1, 64;"),
            *only("%p13", "barrier.sync 1, 64;"),
            *only(THREAD_64, RELEASE),
        ),
        NOT_ORDERED,
    ),
    "a poll that its warp may go around, before a barrier": (
        ("@%p3 bra $S;", *poll(THREAD_0)[1:-1], "$S:", BARRIER, READ),
        CANNOT_TELL,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_threads_meet_or_do_not(name: str) -> None:
    body, expected = CASES[name]
    assert inspect_ptx(kernel(*ROLES, *body)).verdict == expected
