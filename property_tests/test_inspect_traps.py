"""Kernels broken where an expert could overlook it: none of them may be called ordered.

Each stands beside a sound one of its kind where there is one. Every kernel has 128 threads: all
store a tile to `param_0` or read it, and thread 0 (`%p1`) writes or polls the signal in `param_1`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sbo_verify.compiled.inspection.files import inspect_ptx
from sbo_verify.compiled.inspection.handoffs import HandOffVerdict
from sbo_verify.model import judge_litmus

ORDERED, NOT_ORDERED, CANNOT_TELL = HandOffVerdict
# %p1: thread 0; %p2: the others; %p3: the first two warps; %p4: the last two.
HEAD = """
ld.param.u64 %rd1, [k_param_0];
ld.param.u64 %rd2, [k_param_1];
ld.param.u64 %rd3, [k_param_2];
ld.param.u32 %r9, [k_param_3];
mov.u32 %r1, %tid.x;
setp.eq.u32 %p1, %r1, 0;
setp.ne.u32 %p2, %r1, 0;
setp.lt.u32 %p3, %r1, 64;
setp.ge.u32 %p4, %r1, 64;
mov.u32 %r3, buf;
mul.wide.u32 %rd10, %r1, 16;
add.s64 %rd11, %rd1, %rd10;
"""
STORE = "st.global.v4.u32 [%rd11], {%r1, %r1, %r1, %r1};\n"
BULK = "@%p1 cp.async.bulk.global.shared::cta.bulk_group [%rd1], [%r3], 1024;\n"
FULL = "@%p1 cp.async.bulk.commit_group;\n@%p1 cp.async.bulk.wait_group 0;\n"
BARRIER = "bar.sync 0;\n"
RELEASE = "@%p1 red.release.gpu.global.add.u32 [%rd2], 1;\n"
RELAXED = RELEASE.replace("release", "relaxed")
SPIN = """$S: ld.acquire.gpu.global.u32 %r10, [%rd2];
setp.ne.u32 %p10, %r10, 7;
@%p10 bra $S;
"""
RELAXED_SPIN = SPIN.replace("acquire", "relaxed")
READ = "ld.global.v4.u32 {%r20, %r21, %r22, %r23}, [%rd11];\nst.shared.u32 [%r3], %r20;\n"
LOAD = (
    "@%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
    "[%r3], [%rd1], 1024, [mb];\n"
)


def by_thread_0(body: str) -> str:
    return f"@%p2 bra $N;\n{body}$N:\n"


def arms(low: str, high: str) -> str:
    """What the first two warps do, and what the last two do."""
    return f"@%p4 bra $H;\n{low}bra $E;\n$H:\n{high}$E:\n"


def kernel(body: str, functions: str = "") -> str:
    names = ("u64", "u64", "u64", "u32")
    parameters = ", ".join(f".param .{kind} k_param_{n}" for n, kind in enumerate(names))
    return f""".version 9.0
.target sm_90a
.address_size 64
{functions}
.visible .entry k({parameters})
.maxntid 128, 1, 1
{{
.shared .align 128 .b8 buf[4096];
.shared .align 8 .b64 mb;
{HEAD}{body}ret;
}}
"""


CASES = {
    # ---- a fence makes an acquire only of its own thread's polls
    "another thread fences behind the barrier": (
        f"{by_thread_0(RELAXED_SPIN)}{BARRIER}fence.acq_rel.gpu;\n{READ}",
        NOT_ORDERED,
    ),
    "the polling thread fences before the barrier": (
        f"{by_thread_0(RELAXED_SPIN + 'fence.acq_rel.gpu;')}{BARRIER}{READ}",
        ORDERED,
    ),
    # ---- the proxy fence of another space
    "a proxy fence of the cluster's shared memory": (
        f"{SPIN}fence.proxy.async.shared::cluster;\n{LOAD}",
        NOT_ORDERED,
    ),
    "a proxy fence of global memory": (f"{SPIN}fence.proxy.async.global;\n{LOAD}", ORDERED),
    # ---- the n-th barrier of some meets the n-th of others
    "the store stands behind the first barrier, the signal too": (
        arms(BARRIER + RELEASE + BARRIER, BARRIER + STORE + BARRIER),
        CANNOT_TELL,
    ),
    "the signal stands behind the second barrier": (
        arms(BARRIER * 2 + RELEASE, BARRIER + STORE + BARRIER),
        ORDERED,
    ),
    "the same with a named barrier's arrivals": (
        arms(
            f"bar.sync 1, 128;\n{RELEASE}bar.sync 1, 128;\n",
            f"bar.arrive 1, 128;\n{STORE}bar.arrive 1, 128;\n",
        ),
        CANNOT_TELL,
    ),
    "one branch behind the other": (
        (
            f"@%p4 bra $H;\n{BARRIER}{RELEASE}{BARRIER}$H:\n"
            f"@%p3 bra $E;\n{BARRIER}{STORE}{BARRIER}$E:\n"
        ),
        NOT_ORDERED,
    ),
    "a barrier of some shifts all that follow": (
        f"@%p4 bar.sync 0;\n{STORE}{BARRIER}{RELEASE}@%p3 bar.sync 0;\n",
        CANNOT_TELL,
    ),
    "a barrier of some, and the others leave": (
        f"@%p4 bar.sync 0;\n{STORE}{BARRIER}{RELEASE}",
        CANNOT_TELL,
    ),
    "warp barriers of two branches": (
        (
            f"and.b32 %r5, %r1, 31;\nsetp.ge.u32 %p5, %r5, 16;\n@%p5 bra $H;\nbar.warp.sync -1;\n"
            f"{RELEASE}bar.warp.sync -1;\nbra $E;\n$H:\nbar.warp.sync -1;\n"
            f"@%p3 st.global.u32 [%rd1], 7;\nbar.warp.sync -1;\n$E:\n"
        ),
        CANNOT_TELL,
    ),
    # ---- two words of one buffer
    "another word of the signal's buffer is acquired": (
        (
            f"{RELAXED_SPIN}ld.acquire.gpu.global.u32 %r11, [%rd2+4];\nsetp.eq.u32 %p11, %r11, 9;\n"
            f"@%p11 bra $E;\n{READ}$E:\n"
        ),
        CANNOT_TELL,
    ),
    "the same word is acquired": (
        f"{RELAXED_SPIN}ld.acquire.gpu.global.u32 %r11, [%rd2];\n{READ}",
        ORDERED,
    ),
    "the tile's first word is the signal's": (
        "st.global.v4.u32 [%rd2], {%r1, %r1, %r1, %r1};\nadd.s64 %rd12, %rd2, %rd10;\n"
        "st.global.v4.u32 [%rd12+64], {%r1, %r1, %r1, %r1};\n" + RELEASE,
        NOT_ORDERED,
    ),
    "data beside the signal, and other data": (
        (
            f"{by_thread_0(SPIN)}@%p2 bra $M;\nld.global.u32 %r30, [%rd3];\n$M:\n"
            "add.s64 %rd12, %rd2, %rd10;\nld.global.v4.u32 {%r20, %r21, %r22, %r23}, [%rd12+128];\n"
        ),
        CANNOT_TELL,
    ),
    "half of a wide signal is polled": (
        (
            f"{SPIN.replace('%rd2', '%rd2+4')}{STORE}{BARRIER}"
            "@%p1 st.relaxed.gpu.global.u64 [%rd2], %rd10;\n"
        ),
        NOT_ORDERED,
    ),
    # ---- not one store, not one signal
    "half of the tile is stored behind the signal of its turn": (
        (
            f"$L:\n{BARRIER}@%p2 bra $E;\nst.global.u32 [%rd1], 7;\n"
            f"{RELEASE.removeprefix('@%p1 ')}st.global.u32 [%rd1+4], 7;\n"
            "$E:\nadd.u32 %r30, %r30, 1;\nsetp.lt.u32 %p20, %r30, %r9;\n@%p20 bra $L;\n"
        ),
        CANNOT_TELL,
    ),
    "the signal stands before the only store": (RELEASE + STORE, CANNOT_TELL),
    "a release of two words": (
        f"{STORE}@%p1 st.release.gpu.global.v2.u32 [%rd2], {{%r1, %r1}};\n",
        NOT_ORDERED,
    ),
    "an acquire of two words": (
        by_thread_0(SPIN.replace("global.u32 %r10", "global.v2.u32 {%r10, %r11}")) + READ,
        NOT_ORDERED,
    ),
    "a poll that a guarded move passes on": (
        (
            "$S: ld.relaxed.gpu.global.u32 %r10, [%rd2];\nsetp.eq.u32 %p10, %r10, 7;\n"
            f"mov.u32 %r12, 0;\n@%p10 mov.u32 %r12, 1;\nsetp.eq.u32 %p11, %r12, 0;\n"
            f"@%p11 bra $S;\n{READ}"
        ),
        NOT_ORDERED,
    ),
    "the consumer resets the signal": (
        f"{RELAXED_SPIN}{READ}{BARRIER}@%p1 st.relaxed.gpu.global.u32 [%rd2], 0;\n",
        NOT_ORDERED,
    ),
    "an address out of a table is not of the offset's buffer": (
        (
            f"{SPIN.replace('%rd2', '%rd3')}{STORE}{BARRIER}ld.global.u64 %rd41, [%rd3+64];\n"
            "add.s64 %rd42, %rd41, %rd2;\n@%p1 red.relaxed.gpu.global.add.u32 [%rd42], 1;\n"
        ),
        NOT_ORDERED,
    ),
    # ---- who stores, and who leaves
    "a thread that stored leaves before the barrier": (
        (
            f"{STORE}ld.global.u32 %r41, [%rd3];\nsetp.eq.u32 %p12, %r41, 0;\n@%p12 ret;\n"
            f"{BARRIER}{RELEASE}"
        ),
        CANNOT_TELL,
    ),
    "another CTA of the cluster stores": (
        (
            "mov.u32 %r60, %cluster_ctarank;\nsetp.eq.u32 %p15, %r60, 0;\n"
            "@!%p15 st.global.u32 [%rd11], 7;\n"
            f"{BARRIER}and.pred %p17, %p15, %p1;\n{RELEASE.replace('%p1', '%p17')}"
        ),
        CANNOT_TELL,
    ),
    "one CTA of the cluster publishes": (
        (
            f"mov.u32 %r60, %cluster_ctarank;\nsetp.eq.u32 %p15, %r60, 0;\n{STORE}{BARRIER}"
            f"and.pred %p17, %p15, %p1;\n{RELEASE.replace('%p1', '%p17')}"
        ),
        CANNOT_TELL,
    ),
    "the source is written by cp.async": (
        (
            f"cp.async.cg.shared.global [%r3], [%rd3], 16;\ncp.async.wait_all;\n{BARRIER}"
            f"{BULK}{FULL}{BARRIER}{RELEASE}"
        ),
        CANNOT_TELL,
    ),
    "the source is written at the end of the turn before": (
        f"$L:\n{BULK}{FULL}{BARRIER}st.shared.u32 [%r3], %r1;\n{BARRIER}"
        "add.u32 %r30, %r30, 1;\nsetp.lt.u32 %p20, %r30, %r9;\n@%p20 bra $L;\n" + RELEASE,
        CANNOT_TELL,
    ),
    "those who store meet twice in a turn, and the publisher once": (
        arms(
            f"$L:\n{STORE}bar.sync 1, 128;\n{STORE}bar.sync 1, 128;\n"
            "add.u32 %r30, %r30, 1;\nsetp.lt.u32 %p20, %r30, %r9;\n@%p20 bra $L;\n",
            "$K:\nbar.sync 1, 128;\nsetp.eq.u32 %p21, %r1, 64;\n"
            f"{RELEASE.replace('%p1', '%p21')}add.u32 %r31, %r31, 1;\n"
            "setp.lt.u32 %p22, %r31, %r9;\n@%p22 bra $K;\n",
        ),
        CANNOT_TELL,
    ),
    # ---- what is not read, and what reads beside the coherent path
    "data stored by an instruction with no word": (
        f"multimem.st.relaxed.sys.global.u32 [%rd11], %r1;\n{RELEASE}",
        CANNOT_TELL,
    ),
    "data read from a texture": (
        f"{SPIN}tex.1d.v4.s32.s32 {{%r20, %r21, %r22, %r23}}, [%rd1, {{%r1}}];\n",
        NOT_ORDERED,
    ),
    "data read by ldu": (f"{SPIN}{READ.replace('ld.global', 'ldu.global')}", NOT_ORDERED),
    # ---- numbers of threads
    "neither comparison holds of a NaN": (
        (
            f"{BULK}@%p1 cp.async.bulk.commit_group;\nld.param.f32 %f1, [k_param_3];\n"
            "setp.lt.f32 %p15, %f1, 0f40000000;\nsetp.ge.f32 %p16, %f1, 0f40000000;\n"
            "@%p2 bra $E;\n@%p15 cp.async.bulk.wait_group 0;\n@%p16 cp.async.bulk.wait_group 0;\n"
            f"{RELEASE}$E:\n"
        ),
        NOT_ORDERED,
    ),
    "a wide unsigned number is not negative": (
        (
            "add.s32 %r61, %r1, -5;\ncvt.u64.u32 %rd40, %r61;\nsetp.gt.u64 %p15, %rd40, 100;\n"
            "setp.ge.u32 %p16, %r1, 107;\n@%p16 bra $E;\n@%p15 st.global.u32 [%rd1], 7;\n"
            f"setp.eq.u32 %p17, %r1, 106;\n{RELEASE.replace('%p1', '%p17')}$E:\n"
        ),
        NOT_ORDERED,
    ),
}


@pytest.mark.parametrize(("body", "verdict"), CASES.values(), ids=list(CASES))
def test_a_trap_is_not_called_ordered(body: str, verdict: HandOffVerdict) -> None:
    assert inspect_ptx(kernel(body)).verdict is verdict


def test_the_model_allows_a_stale_read_behind_another_threads_fence() -> None:
    """What the verdict on "another thread fences behind the barrier" rests on."""
    folder = Path(__file__).parent / "inspected"
    assert judge_litmus(folder / "fence_by_another-acq_rel.litmus").condition_holds


CALL = "{ .param .b64 p0; st.param.b64 [p0], %rd2; call.uni called, (p0); }\n"


def called(body: str) -> str:
    return (
        ".func called(.param .b64 called_param_0)\n{\n"
        f"ld.param.b64 %rd2, [called_param_0];\nld.param.b64 %rd1, [called_param_0];\n"
        f"{body}ret;\n}}"
    )


@pytest.mark.parametrize(
    ("function", "body"),
    [
        (BULK.removeprefix("@%p1 ") + "cp.async.bulk.commit_group;\n", CALL + BARRIER + RELEASE),
        (RELAXED_SPIN, CALL + READ),
        ("ld.global.u32 %r1, [%rd1];\nst.global.u32 [%rd1+8], %r1;\n", RELAXED_SPIN + CALL),
    ],
    ids=["stores", "polls", "reads"],
)
def test_what_a_called_function_does_is_not_followed(function: str, body: str) -> None:
    assert inspect_ptx(kernel(body, called(function))).verdict is CANNOT_TELL


def test_what_a_function_is_called_with_may_be_another_value_for_each_thread() -> None:
    """A leader stores and publishes; the others' stores come to it behind no barrier."""
    text = kernel("").replace(".visible .entry k", ".func k").replace("mov.u32 %r1, %tid.x", "")
    text = text.replace(
        "ret;",
        "setp.eq.u32 %p21, %r9, 0;\n@!%p21 st.global.u32 [%rd1], 7;\n"
        "@%p21 st.global.u32 [%rd1+4], 7;\n@%p21 red.release.gpu.global.add.u32 [%rd2], 1;\nret;",
    )
    assert inspect_ptx(text).verdict is NOT_ORDERED
