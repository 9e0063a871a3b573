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
}


@pytest.mark.parametrize(("body", "verdict"), CASES.values(), ids=list(CASES))
def test_a_trap_is_not_called_ordered(body: str, verdict: HandOffVerdict) -> None:
    assert inspect_ptx(kernel(body)).verdict is verdict


def test_the_model_allows_a_stale_read_behind_another_threads_fence() -> None:
    """What the verdict on "another thread fences behind the barrier" rests on."""
    folder = Path(__file__).parent / "inspected"
    assert judge_litmus(folder / "fence_by_another-acq_rel.litmus").condition_holds
