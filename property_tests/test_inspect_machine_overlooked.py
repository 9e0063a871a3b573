"""Machine code that was overlooked once, and PTX of two meanings that becomes the same words.

The kernels are as in `test_inspect_traps`, assembled by ptxas where one is found.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest
from test_inspect_traps import (
    BARRIER,
    CALL,
    CANNOT_TELL,
    LOAD,
    NOT_ORDERED,
    ORDERED,
    READ,
    RELAXED_SPIN,
    RELEASE,
    SPIN,
    STORE,
    called,
    kernel,
)

from sbo_verify.compiled.inspection.binaries import (
    PROXY,
    STRONG_STORE,
    inspect_binary,
)
from sbo_verify.compiled.inspection.files import Inspection
from sbo_verify.compiled.inspection.handoffs import HandOffVerdict
from sbo_verify.compiled.inspection.machine import read_cubin
from sbo_verify.device.ptxas import find_ptxas

REGISTERS = """.reg .pred %p<40>;
.reg .b32 %r<80>;
.reg .b64 %rd<60>;
.reg .f32 %f<10>;
"""
KEPT = READ + "st.global.u32 [%rd3], %r20;\n"
SUM = "red.global.add.v4.f32 [%rd11], {%f1, %f1, %f1, %f1};\n"
TEXTURE = (
    "tex.1d.v4.s32.s32 {%r20, %r21, %r22, %r23}, [%rd1, {%r1}];\nst.global.u32 [%rd3], %r20;\n"
)
VOTE = """$S: mov.u32 %r10, 0;
@%p1 ld.relaxed.gpu.global.u32 %r10, [%rd2];
setp.eq.u32 %p10, %r10, 7;
barrier.cta.red.or.pred %p11, 0, %p10;
@!%p11 bra $S;
"""
WIDE = RELAXED_SPIN.replace("global.u32 %r10", "global.v2.u32 {%r10, %r11}")
WIDE += "fence.acq_rel.gpu;\nst.global.u32 [%rd3], %r11;\n"
FENCE = "fence.acq_rel.gpu;\n"
FLAG = "@%p1 st.relaxed.gpu.global.u32 [%rd2], 1;\n"


@cache
def cubin(body: str, functions: str = "") -> bytes:
    """Without lines: the PTX would stand in it, and be judged too."""
    made = find_ptxas()
    if not made:
        pytest.skip("no ptxas is found")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "kernel.ptx", Path(folder) / "kernel.cubin"
        text = re.sub(r"\{\n(?=\.shared|ld)", f"{{\n{REGISTERS}", kernel(body, functions))
        source.write_text(text)
        command = [str(made[-1].path), "-arch=sm_90a", str(source), "-o", str(target)]
        subprocess.run(command, check=True)  # noqa: S603 - the assembler that was found
        return target.read_bytes()


def judged(body: str, functions: str = "") -> Inspection:
    (part,) = inspect_binary(cubin(body, functions))
    return part.inspection


@pytest.mark.parametrize(
    ("body", "functions", "verdict"),
    [
        (CALL + KEPT, called(RELAXED_SPIN), CANNOT_TELL),
        (CALL + KEPT, called("add.s64 %rd1, %rd1, 4;\n"), None),
        (CALL, called(STORE.replace("%rd11", "%rd1") + RELEASE.removeprefix("@%p1 ")), CANNOT_TELL),
        (SPIN + TEXTURE, "", NOT_ORDERED),
        (SUM + RELEASE, "", NOT_ORDERED),
        (SUM + BARRIER + RELEASE, "", ORDERED),
        ("st.global.wt.u32 [%rd11], %r1;\n" + RELEASE, "", CANNOT_TELL),
        ("st.global.wt.u32 [%rd11], %r1;\n" + BARRIER + RELEASE, "", ORDERED),
        ("multimem.st.relaxed.sys.global.u32 [%rd11], %r1;\n" + RELEASE, "", CANNOT_TELL),
        ("multimem.st.relaxed.sys.global.u32 [%rd11], %r1;\n" + BARRIER + RELEASE, "", ORDERED),
        (VOTE + KEPT, "", NOT_ORDERED),
        (VOTE.replace("relaxed", "acquire") + KEPT, "", ORDERED),
        (WIDE, "", CANNOT_TELL),
    ],
    ids=[
        "a called function polls",
        "a called function does nothing",
        "a called function stores and publishes",
        "data read from a texture",
        "sums of vectors, and no barrier",
        "sums of vectors",
        "written through, and no barrier",
        "written through",
        "stored to all replicas, and no barrier",
        "stored to all replicas",
        "a poll of one thread that a barrier tells the others",
        "a poll with acquire that a barrier tells the others",
        "data beside the signal in 64 bits",
    ],
)
def test_what_was_overlooked_is_judged(
    body: str, functions: str, verdict: HandOffVerdict | None
) -> None:
    assert judged(body, functions).verdict is verdict


# What ptxas makes the same words of, and what an ordered verdict then says that it assumes.
SAME = {
    "a proxy fence of all spaces, or of the cluster's shared memory": (
        f"{SPIN}fence.proxy.async;\n{LOAD}",
        f"{SPIN}fence.proxy.async.shared::cluster;\n{LOAD}",
        PROXY,
    ),
    "a strong store, or one that goes around the L1": (
        STORE + BARRIER + FENCE + FLAG,
        STORE + BARRIER + FENCE + FLAG.replace("relaxed.gpu.global", "global.cg"),
        STRONG_STORE,
    ),
    "an ordinary read, or one of uniform data": (
        SPIN + KEPT,
        SPIN + KEPT.replace("ld.global", "ldu.global"),
        "",
    ),
}


@pytest.mark.parametrize(("one", "other", "assumed"), SAME.values(), ids=list(SAME))
def test_what_becomes_the_same_words_is_ordered_with_what_it_assumes(
    one: str, other: str, assumed: str
) -> None:
    def words(body: str) -> list[str]:
        module = read_cubin(cubin(body))
        (function,) = module.functions
        return [str(op) for op in function.body]

    assert words(one) == words(other)
    found = judged(one)
    assert found.verdict is ORDERED
    assert assumed in ("", *(note for each in found.hand_offs for note in each.provided))


def test_a_proxy_fence_of_the_ctas_shared_memory_is_another_word() -> None:
    assert judged(f"{SPIN}fence.proxy.async.shared::cta;\n{LOAD}").verdict is NOT_ORDERED
    assert judged(f"{SPIN}fence.proxy.async.global;\n{LOAD}").verdict is ORDERED


def test_a_read_before_the_poll_of_a_place_that_was_lost_is_said() -> None:
    """It decides how often the loop turns; what the loop's address leads to is not known."""
    header = "ld.global.u32 %r30, [%rd1];\n"
    pointer = "ld.global.u64 %rd20, [%rd3];\n"
    loop = """$H: ld.global.u32 %r20, [%rd20];
st.global.u32 [%rd3+8], %r20;
add.u32 %r31, %r31, 1;
setp.lt.u32 %p20, %r31, %r30;
@%p20 bra $H;
"""
    (poll,) = judged(pointer + header + SPIN + loop).hand_offs
    assert poll.verdict is ORDERED
    assert any("read before the poll, is of another buffer" in each for each in poll.provided)
