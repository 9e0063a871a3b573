"""Large files are judged in seconds, broken ones are refused with their line; neither hangs."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_inspect import ROWS, Expected

from sbo_verify.compiled.inspection.files import inspect_ptx
from sbo_verify.compiled.inspection.handoffs import HandOffVerdict
from sbo_verify.compiled.ptx import PtxError

CORPUS = Path(__file__).parent / "inspected"
LINES = 50_000
SECONDS = 10.0
ORDERED, NOT_ORDERED, CANNOT_TELL = HandOffVerdict

# ---- time -----------------------------------------------------------------------------------


def many_functions(lines: int) -> str:
    """The kernels of the corpus, again and again under other names."""
    shared: set[str] = set()
    bodies: list[str] = []
    length = number = 0
    while length < lines:
        text = ROWS[number % len(ROWS)].text
        body = re.search(r"\.visible \.entry (\w+)\(.*\n}\n", text, re.DOTALL)
        shared |= set(re.findall(r"^\.(?:shared|extern)[^\n]*;", text, re.MULTILINE))
        if body is not None:
            bodies.append(body.group().replace(body[1], f"kernel_{number}_{body[1]}"))
            length += bodies[-1].count("\n")
        number += 1
    head = [".version 9.0", ".target sm_90a", ".address_size 64", *sorted(shared)]
    return "\n".join([*head, *bodies])


def one_function(lines: int, parts: int, *, sound: bool = True) -> str:
    """Tiles handed over one behind the other, each behind arithmetic, loads and a loop."""
    body: list[str] = []
    number = 0
    for part in range(parts):
        body += [f"mov.u32 %count{part}, 0;", f"$part_{part}:"]
        for _ in range(lines // parts - 16):
            number += 1
            body.append(
                (
                    f"ld.global.f32 %f{number}, [%rd3+{4 * number}];",
                    f"fma.rn.f32 %f{number}, %f{number - 1}, %f{number - 2}, %f{number - 1};",
                    f"add.s32 %r{number + 9}, %r{number + 8}, {number};",
                    f"st.shared.f32 [tile+{4 * number % 4096}], %f{number - 1};",
                    f"@%cold bra $cold_{part};" if number % 199 == 0 else "// nothing",
                )[number % 5]
            )
        body += [
            *(f"$cold_{part}:", "fence.proxy.async.shared::cta;", "bar.sync 0;"),
            f"@%p1 bra $next_{part};",
            "cp.async.bulk.global.shared::cta.bulk_group [%rd1], [%tile], 4096;",
            "cp.async.bulk.commit_group;",
            f"cp.async.bulk.wait_group{'' if sound else '.read'} 0;",
            f"$next_{part}:",
            *("bar.sync 0;", "@%p1 bra " + f"$over_{part};"),
            f"red.release.gpu.global.add.s32 [%rd2+{4 * part}], 1;",
            f"$over_{part}:",
            *("bar.sync 0;", f"add.s32 %count{part}, %count{part}, 1;"),
            f"setp.lt.s32 %again{part}, %count{part}, 9;",
            f"@%again{part} bra $part_{part};",
        ]
    head = (
        *(".version 9.0", ".target sm_90a", ".address_size 64"),
        ".shared .align 128 .b8 tile[4096];",
        ".visible .entry k(.param .u64 k_0, .param .u64 k_1, .param .u64 k_2)",
        *(".maxntid 128, 1, 1", "{", "ld.param.u64 %rd1, [k_0];", "ld.param.u64 %rd2, [k_1];"),
        *("ld.param.u64 %rd3, [k_2];", "mov.u32 %tile, tile;", "mov.u32 %r1, %tid.x;"),
        *("setp.ne.s32 %p1, %r1, 0;", "ld.global.u32 %w, [%rd3];", "setp.eq.s32 %cold, %w, 77;"),
    )
    return "\n".join([*head, *body, "ret;", "}", ""])


@pytest.mark.parametrize(
    ("name", "text", "verdict"),
    [
        ("many functions", many_functions(LINES), NOT_ORDERED),
        ("one function of 3 tiles", one_function(LINES, 3), ORDERED),
        ("one function of 3 tiles, not ordered", one_function(LINES, 3, sound=False), NOT_ORDERED),
        ("one function of 100 tiles", one_function(LINES, 100), None),
    ],
    ids=lambda each: each if isinstance(each, str) and len(each) < 50 else "",
)
def test_a_long_file_is_judged_in_seconds(
    name: str, text: str, verdict: HandOffVerdict | None
) -> None:
    """Processor time: others may use the machine. Of 100 tiles not every pair may be followed."""
    assert text.count("\n") > 0.95 * LINES, name
    start = time.process_time()
    found = inspect_ptx(text).verdict
    assert time.process_time() - start < SECONDS
    assert found == verdict or (verdict is None and found in {ORDERED, CANNOT_TELL})


# ---- broken text ----------------------------------------------------------------------------

tries = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
POSITION = re.compile(r"^(PTX line \d+: |the file is empty)")


def refusal(text: str) -> str:
    """What an error says of a text; nothing where it is judged."""
    try:
        inspect_ptx(text)
    except PtxError as error:
        return str(error)
    return ""


def survives(text: str) -> None:
    """A verdict, or an error that says where."""
    said = refusal(text)
    assert not said or POSITION.match(said), said


# Pieces that break a text at its joints.
SHARDS = (
    *("{", "}", ";", "[", "]", "(", ")", "|", ",", "@", "@!%p1", "$L:", '"', "/*", "//", "%"),
    *(".reg", ".shared", "setp", "selp", "elect", "mov", "bra", "bar.sync", "mbarrier.try_wait"),
    *("%r1", "0x", "08", "-"),
)


@given(st.sampled_from(ROWS), st.floats(0, 1))
@tries
def test_a_file_cut_off_anywhere_is_judged_or_refused(row: Expected, share: float) -> None:
    survives(row.text[: int(share * len(row.text))])


@given(st.sampled_from(ROWS), st.data())
@tries
def test_a_file_edited_anywhere_is_judged_or_refused(row: Expected, data: st.DataObject) -> None:
    text = row.text
    for _ in range(data.draw(st.integers(1, 5))):
        begin = data.draw(st.integers(0, len(text)))
        end = min(len(text), begin + data.draw(st.integers(0, 12)))
        new = data.draw(st.one_of(st.text(max_size=6), st.sampled_from(SHARDS)))
        text = text[:begin] + new + text[end:]
    survives(text)


@given(st.sampled_from(ROWS), st.data())
@tries
def test_a_file_that_lost_or_doubled_lines_is_judged_or_refused(
    row: Expected, data: st.DataObject
) -> None:
    lines = row.text.splitlines()
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(lines) - 1))
        other = data.draw(st.integers(0, len(lines) - 1))
        lines[place : place + data.draw(st.integers(0, 2))] = [lines[other]]
    survives("\n".join(lines))


@pytest.mark.parametrize(
    "line",
    [
        *("setp;", "setp.lt.s32 %p9;", "mov.u32;", "mov.u32 %r9;", "selp.u32 %r9, 1, 0;", "bra;"),
        *("elect.sync;", "elect.sync %r9;", "shfl.sync.idx.b32 %r9, %r1;", "not.pred %p9;"),
        *("bar.sync;", "bar.warp.sync;", "barrier.cta.red.or.pred %p9;", "mbarrier.init;"),
        *("mbarrier.arrive.b64 %rd9;", "mbarrier.try_wait.b64 %p9;", "mbarrier;", "ld;", "st;"),
        *("ld.param.u64 %rd9;", "ld.global.u32 %r9;", "st.global.u32;", "red.global.add.u32;"),
        *("cp.async.bulk.wait_group x;", "cp.async.bulk.wait_group;", "cp.async.ca;", "cp;"),
        *("add.s32 %r9, %r9, 08;", "add.s32 %r9, 99999999999999999999999, 1;", "brx.idx %r9;"),
        *("mbarrier.init.b64 [x], 1; mbarrier.try_wait.parity.b64 %p9, [x];", "fence;", "membar;"),
        "@%p9 @%p8 mov.u32 %r1, 0;",
    ],
)
def test_an_instruction_with_too_few_operands_does_no_harm(line: str) -> None:
    text = (CORPUS / "bulk_full_release.ptx").read_text()
    survives(text.replace("bar.sync", f"{line}\n\tbar.sync", 1))


def test_a_long_chain_of_sums_and_a_deep_one_of_conditions_are_read() -> None:
    text = (CORPUS / "bulk_full_release.ptx").read_text()
    sums = [
        "mov.u64 %s0, %rd1;",
        *(f"add.s64 %s{n}, %s{n - 1}, %s{n - 1};" for n in range(1, 3000)),
    ]
    ands = ["setp.eq.s64 %t0, %s2999, 0;"]
    ands += [f"and.pred %t{n}, %t{n - 1}, %t{n - 1};" for n in range(1, 3000)]
    more = "\n".join([*sums, *ands, "@%t2999 st.global.u32 [%s2999], 1;"])
    survives(text.replace("\tbar.sync", f"{more}\n\tbar.sync", 1))
