"""Hand-offs that were overlooked once, or called ordered for what stands behind the poll alone.

Each broken kernel has a sound twin that must stay ordered. The kernels are as in
`test_inspect_traps`.
"""

from __future__ import annotations

import pytest
from test_inspect_traps import (
    BARRIER,
    CALL,
    CANNOT_TELL,
    LOAD,
    NOT_ORDERED,
    ORDERED,
    READ,
    RELAXED,
    RELAXED_SPIN,
    RELEASE,
    SPIN,
    STORE,
    arms,
    by_thread_0,
    called,
    kernel,
)

from sbo_verify.compiled.inspection.files import inspect_ptx
from sbo_verify.compiled.inspection.handoffs import HandOffVerdict

FIRST = "ld.global.v4.u32 {%r20, %r21, %r22, %r23}, [%rd11];\n"
SECOND = "ld.global.u32 %r24, [%rd11+2048];\n"
WRITE = "add.u32 %r25, %r20, %r24;\nst.global.u32 [%rd3], %r25;\n"
OTHER = FIRST.replace("%rd11", "%rd3")
MAP = LOAD.replace("@%p1 ", "").replace("bulk.", "bulk.tensor.1d.", 1)
MAP = MAP.replace("[%rd1], 1024", "[%rd1, {%r1}]")
ADD = "red.global.add.u32 [%rd11], %r1;\n"
SWAP = """$C: atom.relaxed.gpu.global.cas.b32 %r44, [%rd2], %r45, %r46;
setp.ne.u32 %p27, %r44, %r45;
mov.u32 %r45, %r44;
@%p27 bra $C;
"""
SHARED_SPIN = """$S: @%p2 bra $W;
ld.relaxed.gpu.global.u32 %r10, [%rd2];
st.shared.u32 [buf], %r10;
$W: bar.sync 0;
ld.shared.u32 %r12, [buf];
bar.sync 0;
setp.ne.u32 %p10, %r12, 7;
@%p10 bra $S;
"""
ALL_FLAGS = """$S: mov.u32 %r30, 0;
mov.u32 %r31, 1;
mov.u64 %rd20, %rd2;
$F: ld.relaxed.gpu.global.u32 %r10, [%rd20];
setp.eq.u32 %p10, %r10, 7;
selp.u32 %r32, 1, 0, %p10;
and.b32 %r31, %r31, %r32;
add.s64 %rd20, %rd20, 4;
add.u32 %r30, %r30, 1;
setp.lt.u32 %p11, %r30, 8;
@%p11 bra $F;
setp.eq.u32 %p12, %r31, 0;
@%p12 bra $S;
"""
FENCE = "fence.acq_rel.gpu;\n"
VECTOR = RELAXED_SPIN.replace("global.u32 %r10", "global.v2.u32 {%r10, %r11}")
ARRIVE = RELEASE.replace("@%p1 ", "")

ONCE = """ld.relaxed.gpu.global.u32 %r10, [%rd2];
setp.ne.u32 %p10, %r10, 7;
@%p10 bra $E;
"""
LAST = """fence.acq_rel.gpu;
atom.relaxed.gpu.global.add.u32 %r10, [%rd2], 1;
setp.ne.u32 %p10, %r10, 7;
@%p10 bra $X;
ld.global.u32 %r20, [%rd1+4096];
st.shared.u32 [%r3], %r20;
$X:
"""
UPPER = STORE.replace("st.global", "@%p4 st.global")
LOWER = STORE.replace("st.global", "@%p3 st.global")
WAITING_SWAP = SWAP.replace("mov.u32 %r45, %r44;\n", "").replace("%r45", "0").replace("%r46", "1")

CASES: dict[str, tuple[str, HandOffVerdict | None]] = {
    # ---- read before the poll
    "a part of the tile is read before the poll": (FIRST + SPIN + SECOND + WRITE, CANNOT_TELL),
    "another buffer is read before the poll": (OTHER + SPIN + READ, ORDERED),
    "a pointer is read from the tile's buffer before the poll": (
        f"ld.global.u64 %rd20, [%rd1];\n{SPIN}{SECOND}st.global.u32 [%rd20], %r24;\n",
        ORDERED,
    ),
    "a part is read before the poll in each turn": (
        (
            f"$L:\n{FIRST}{SPIN}{SECOND}{WRITE}{BARRIER}"
            "add.u32 %r30, %r30, 1;\nsetp.lt.u32 %p20, %r30, %r9;\n@%p20 bra $L;\n"
        ),
        CANNOT_TELL,
    ),
    "what was read before the poll decides behind it": (
        f"{FIRST}{SPIN}{SECOND}setp.eq.u32 %p20, %r20, 0;\n@%p20 st.global.u32 [%rd3], %r24;\n",
        CANNOT_TELL,
    ),
    "a part of the tile is loaded by the same tensor map before the poll": (
        by_thread_0(f"{MAP}{SPIN}fence.proxy.async;\n{MAP}"),
        CANNOT_TELL,
    ),
    "another tensor map is loaded before the poll": (
        by_thread_0(f"{MAP.replace('%rd1,', '%rd3,')}{SPIN}fence.proxy.async;\n{MAP}"),
        ORDERED,
    ),
    "all of the tile is read before the poll": (
        FIRST + SPIN + "st.global.u32 [%rd3], %r20;\n",
        CANNOT_TELL,
    ),
    "the tile is staged in shared memory before the poll": (
        (
            f"{FIRST}st.shared.u32 [buf], %r20;\n{SPIN}ld.shared.u32 %r25, [buf];\n"
            "st.global.u32 [%rd3], %r25;\n"
        ),
        CANNOT_TELL,
    ),
    "other threads read beside the poll": (
        arms(BARRIER + SPIN + BARRIER, BARRIER + READ + BARRIER),
        CANNOT_TELL,
    ),
    "other threads read behind the barrier that the poll stands before": (
        arms(BARRIER + SPIN + BARRIER, BARRIER + BARRIER + READ),
        ORDERED,
    ),
    "a header of the tile is read before the poll": (
        (
            f"ld.global.u32 %r20, [%rd1];\n{SPIN}$H:\nadd.u32 %r30, %r30, 1;\n"
            f"ld.global.u32 %r24, [%rd11+16];\nst.global.u32 [%rd3], %r24;\n"
            "setp.lt.u32 %p20, %r30, %r20;\n@%p20 bra $H;\n"
        ),
        CANNOT_TELL,
    ),
    "a header is read before the poll, and the data at an unknown place": (
        (
            f"ld.global.u32 %r20, [%rd1];\nld.global.u64 %rd20, [%rd3];\n{SPIN}"
            "ld.global.u32 %r24, [%rd20];\nadd.u32 %r24, %r24, %r20;\n"
            "st.global.u32 [%rd3+8], %r24;\n"
        ),
        CANNOT_TELL,
    ),
    # ---- polls
    "a relaxed poll of two words": (VECTOR + READ, NOT_ORDERED),
    "a relaxed poll of two words, and a fence": (VECTOR + FENCE + READ, ORDERED),
    "data in the words beside the signal": (
        VECTOR + FENCE + "st.global.u32 [%rd3], %r11;\n",
        CANNOT_TELL,
    ),
    "a relaxed spin through shared memory": (SHARED_SPIN + READ, NOT_ORDERED),
    "an acquiring spin through shared memory": (
        SHARED_SPIN.replace("relaxed", "acquire") + READ,
        ORDERED,
    ),
    "relaxed polls of all flags in turn": (ALL_FLAGS + READ, NOT_ORDERED),
    "relaxed polls of all flags in turn, and a fence": (ALL_FLAGS + FENCE + READ, ORDERED),
    "a grid barrier with a relaxed poll": (
        by_thread_0(ARRIVE + RELAXED_SPIN) + BARRIER + READ,
        CANNOT_TELL,
    ),
    "a grid barrier behind stores": (
        STORE + BARRIER + by_thread_0(ARRIVE + SPIN) + BARRIER + READ,
        ORDERED,
    ),
    "a flag that is asked for once, relaxed": (ONCE + READ + "$E:\n", CANNOT_TELL),
    "a flag that is asked for once, and a fence": (ONCE + FENCE + READ + "$E:\n", None),
    "the last that counts reads, with no fence of its own": (
        f"{STORE}{BARRIER}{by_thread_0(LAST)}",
        CANNOT_TELL,
    ),
    "the last that counts reads, behind a fence of its own": (
        f"{STORE}{BARRIER}{by_thread_0(LAST.replace('ld.', FENCE + 'ld.'))}",
        ORDERED,
    ),
    # ---- publishes
    "a publish by compare-and-swap": (STORE + BARRIER + by_thread_0(SWAP), NOT_ORDERED),
    "a releasing publish by compare-and-swap": (
        STORE + BARRIER + by_thread_0(SWAP.replace("relaxed", "release")),
        ORDERED,
    ),
    "a part of the tile is stored behind the signal": (
        LOWER + BARRIER + RELEASE + UPPER,
        CANNOT_TELL,
    ),
    "other threads store beside the signal": (
        f"{STORE.replace('st.', '@%p1 st.')}@%p1 bra $P;\n{STORE}bra $E;\n$P:\n{ARRIVE}$E:\n",
        CANNOT_TELL,
    ),
    "another buffer is stored behind the signal": (
        LOWER + BARRIER + RELEASE + UPPER.replace("%rd11", "%rd3"),
        ORDERED,
    ),
    "the next tile is stored behind the signal, and has its own": (
        LOWER + BARRIER + RELEASE + UPPER + BARRIER + RELEASE,
        ORDERED,
    ),
    "a compare-and-swap that waits, behind stores": (
        STORE + BARRIER + by_thread_0(WAITING_SWAP),
        CANNOT_TELL,
    ),
    "a compare-and-swap that waits, and a release behind it": (
        STORE + BARRIER + by_thread_0(WAITING_SWAP) + RELEASE.replace("%rd2", "%rd3"),
        ORDERED,
    ),
    "sums of integers, and no barrier": (ADD + RELEASE, CANNOT_TELL),
    "sums of integers": (ADD + BARRIER + RELEASE, ORDERED),
    "sums of integers, and a relaxed signal": (ADD + BARRIER + RELAXED, CANNOT_TELL),
    "a tile and sums, and no barrier behind the sums": (
        STORE + BARRIER + ADD + RELEASE,
        CANNOT_TELL,
    ),
    "a tile and sums": (STORE + ADD + BARRIER + RELEASE, ORDERED),
    "a tile that is stored volatile, and no barrier": (
        f"st.volatile.global.u32 [%rd11], %r1;\n{RELEASE}",
        CANNOT_TELL,
    ),
    "a tile that is stored volatile": (
        f"st.volatile.global.u32 [%rd11], %r1;\n{BARRIER}{RELEASE}",
        ORDERED,
    ),
    "a relaxed signal beside a release of another word": (
        (
            f"{SPIN.replace('%rd2', '%rd3')}{STORE}{BARRIER}"
            f"{RELEASE.replace('[%rd2]', '[%rd3+4]')}{RELAXED}"
        ),
        CANNOT_TELL,
    ),
    "a release of each of two words": (
        (
            f"{SPIN.replace('%rd2', '%rd3')}{STORE}{BARRIER}"
            f"{RELEASE.replace('[%rd2]', '[%rd3+4]')}{RELEASE}"
        ),
        ORDERED,
    ),
}


@pytest.mark.parametrize(("body", "verdict"), CASES.values(), ids=list(CASES))
def test_what_was_overlooked_is_judged(body: str, verdict: HandOffVerdict | None) -> None:
    assert inspect_ptx(kernel(body)).verdict is verdict


@pytest.mark.parametrize(
    ("function", "body"),
    [
        ("ld.global.u32 %r1, [%rd1];\nst.global.u32 [%rd1+8], %r1;\n", CALL + SPIN),
        (RELAXED_SPIN, CALL + READ),
    ],
    ids=["it reads before the poll", "it polls"],
)
def test_what_a_chosen_kernel_calls_is_chosen_too(function: str, body: str) -> None:
    assert inspect_ptx(kernel(body, called(function)), "k").verdict is CANNOT_TELL
