"""Reading PTX: statements from text, regions and program order from control flow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbo_verify.compiled.flow import read
from sbo_verify.compiled.ptx import Label, Marker, PtxError, Statement, scan
from sbo_verify.vocabulary import UnknownInstructionError

FENCE = "fence.sc.gpu;"
POLL = "ld.acquire.gpu.global.s32 %r1, [%rd1];"


def kernel(*body: str) -> str:
    """PTX text of a kernel; its body begins on line 8."""
    head = (
        ".version 9.0",
        ".target sm_90a",
        ".address_size 64",
        ".visible .entry example(",
        "\t.param .u64 example_param_0",
        ")",
        "{",
    )
    return "\n".join([*head, *body, "}", "\t.section\t.debug_str", "\t{", "$L__info:", "\t}"])


def region(site: str, *body: str) -> tuple[str, ...]:
    return (f"// sbo:begin {site}", *body, f"// sbo:end {site}")


def read_sites(text: str) -> list[tuple[str, str]]:
    """Each ordering instruction with its innermost site, in program order."""
    return [
        (found.region.site if found.region else "", str(found.instruction))
        for found in read(text).instructions
    ]


def test_a_statement_keeps_its_line_guard_and_operands() -> None:
    items = scan(kernel("\t.loc\t1 12 3", "\t@!%p3 bra.uni \t$L__BB0_2; // away", "$L__BB0_2:"))
    assert items == [
        Statement(9, "bra.uni", "$L__BB0_2", "@!%p3"),
        Label(10, "$L__BB0_2"),
    ]


def test_inline_assembly_with_a_block_of_its_own_is_read_through() -> None:
    items = scan(
        kernel(
            "// begin inline asm",
            "{",
            ".reg .pred mine, all;",
            "setp.ne.u32 mine, %r3, 0;",
            "barrier.cta.red.or.pred all, %r1, %r2, mine;",
            "}",
            "// end inline asm",
            "ret;",
        )
    )
    assert items == [
        Statement(11, "setp.ne.u32", "mine, %r3, 0", ""),
        Statement(12, "barrier.cta.red.or.pred", "all, %r1, %r2, mine", ""),
        Statement(15, "ret", "", ""),
    ]


def test_statements_may_share_a_line_or_take_several() -> None:
    items = scan(kernel("$L1: mov.u32 %r1, 0; mov.u32 %r2,", "  %r1", "  ; ret;"))
    assert items == [
        Label(8, "$L1"),
        Statement(8, "mov.u32", "%r1, 0", ""),
        Statement(8, "mov.u32", "%r2, %r1", ""),
        Statement(10, "ret", "", ""),
    ]


def test_vector_operands_are_no_blocks() -> None:
    items = scan(kernel("ld.weak.global.v4.u32 {%r1, %r2, %r3, %r4}, [%rd1];"))
    assert items == [
        Statement(8, "ld.weak.global.v4.u32", "{%r1, %r2, %r3, %r4}, [%rd1]", ""),
    ]


def test_markers_are_the_only_comments_that_count() -> None:
    items = scan(kernel("// sbo:begin producer.drain", "// sbo is mentioned", "//sbo:end a.b"))
    assert items == [
        Marker(8, begins=True, site="producer.drain"),
        Marker(10, begins=False, site="a.b"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected PTX of one kernel, found 0 .entry directives"),
        (kernel() + kernel(), "expected PTX of one kernel, found 2 .entry directives"),
        (".func hidden()\n" + kernel(), "PTX line 1: a function beside the kernel is not read"),
        (".visible .entry e()", "PTX line 1: the kernel has no body"),
        (".visible .entry e()\n{\nret;", "PTX line 2: the kernel's body does not end"),
        (kernel("= 3;"), "PTX line 8: not an instruction: '= 3'"),
        (kernel("// sbo:begin"), "PTX line 8: a marker is `sbo:begin SITE` or `sbo:end SITE`"),
        (kernel("// sbo:start a.b"), "PTX line 8: a marker is `sbo:begin SITE`"),
        (kernel("$L1:", "$L1:"), "PTX line 9: label $L1 stands twice"),
        (kernel("ret;", "bra $L9;"), "PTX line 9: a branch to $L9, which is nowhere"),
        (kernel("// sbo:end a.b"), "PTX line 8: end of a.b in no region"),
        (kernel("// sbo:begin a.b"), "PTX line 8: region a.b is never closed"),
        (
            kernel("// sbo:begin a.b", "// sbo:begin c.d", "// sbo:end a.b"),
            "PTX line 10: end of a.b in a.b (line 8) > c.d (line 9)",
        ),
        (
            kernel("@%p1 bra $L1;", "// sbo:begin a.b", "$L1:", "// sbo:end a.b"),
            "PTX line 11: one path comes here in a.b (line 9), another in no region",
        ),
        (
            kernel("$L1:", "// sbo:begin a.b", "bra $L1;"),
            "PTX line 9: one path comes here in a.b (line 9), another in no region",
        ),
        (kernel("ret;", FENCE), "PTX line 9: fence.sc.gpu can never be reached"),
    ],
)
def test_text_that_is_not_one_readable_kernel_is_refused(text: str, message: str) -> None:
    with pytest.raises(PtxError) as refused:
        read(text)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "unread", ["call (%r1), hidden", "multimem.red.release.gpu.add.s32 [%rd1], 1"]
)
def test_an_instruction_with_no_word_gives_its_line(unread: str) -> None:
    with pytest.raises(UnknownInstructionError, match=f"PTX line 9: no word for {unread[:4]}"):
        read(kernel("mov.u32 %r1, 0;", f"{unread};"))


def test_the_innermost_region_and_the_guard_are_kept() -> None:
    code = read(kernel(*region("consumer.read", *region("harness.count", f"@%p1 {FENCE}"))))
    (found,) = code.instructions
    assert found.predicate == "@%p1"
    assert found.line == 10
    assert [each.site for each in found.regions] == ["consumer.read", "harness.count"]
    assert [(each.site, len(around)) for each, around in code.regions] == [
        ("consumer.read", 0),
        ("harness.count", 1),
    ]


def test_a_block_moved_behind_the_marker_keeps_its_region() -> None:
    """As compilers place rare paths: behind the hot one, in the text of another region."""
    text = kernel(
        "// sbo:begin consumer.poll",
        "@%p1 bra $RARE;",
        "$BACK:",
        "// sbo:end consumer.poll",
        "// sbo:begin consumer.read",
        "ld.weak.global.u32 %r1, [%rd1];",
        "@%p2 bra $END;",
        "bra $END;",
        "$RARE:",
        FENCE,
        "bra $BACK;",
        "$END:",
        "// sbo:end consumer.read",
        "ret;",
    )
    assert read_sites(text) == [
        ("consumer.poll", "fence.sc.gpu"),
        ("consumer.read", "ld.weak.global"),
    ]


def test_program_order_cuts_a_loop_at_its_back_edge() -> None:
    code = read(
        kernel(
            "bra $TEST;",
            "$BODY:",
            *region("consumer.read", "ld.weak.global.u32 %r1, [%rd1];"),
            "$TEST:",
            *region("consumer.poll", POLL),
            "@%p1 bra $BODY;",
            *region("harness.report", FENCE),
            "ret;",
        )
    )
    poll, read_, report = (region.line for region, _ in code.regions)
    assert [region.site for region, _ in code.regions] == [
        "consumer.poll",
        "consumer.read",
        "harness.report",
    ]
    assert code.reaches(poll, read_)
    assert not code.reaches(read_, poll)
    assert code.reaches(poll, report)
    assert not code.reaches(read_, report), "only through the back edge"


def test_branches_of_one_condition_do_not_reach_each_other() -> None:
    code = read(
        kernel(
            "@%p1 bra $ELSE;",
            *region("a.left", FENCE),
            "bra $END;",
            "$ELSE:",
            *region("a.right", FENCE),
            "$END:",
            "ret;",
        )
    )
    left, right = (region.line for region, _ in code.regions)
    assert not code.reaches(left, right)
    assert not code.reaches(right, left)


@given(st.permutations(range(5)))
def test_the_layout_of_the_blocks_changes_nothing(layout: list[int]) -> None:
    """The same five regions, chained by branches, laid out in any order."""
    blocks = [
        (f"$B{number}:", *region(f"site.{number}", FENCE), f"bra $B{number + 1};")
        for number in range(5)
    ]
    text = kernel(
        "bra $B0;", *(line for number in layout for line in blocks[number]), "$B5:", "ret;"
    )
    assert read_sites(text) == [(f"site.{number}", "fence.sc.gpu") for number in range(5)]


def test_what_may_be_skipped_does_not_dominate_and_every_way_out_of_a_region_is_kept() -> None:
    text = kernel(
        "// sbo:begin a",
        "@%p1 bra $L__skip;",
        FENCE,
        "$L__skip:",
        "// sbo:end a",
        "membar.gl;",
        POLL,
        "ret;",
    )
    code = read(text)
    fence, membar, poll = (found.line for found in code.instructions)
    ((region, _),) = code.regions
    assert code.reaches(fence, poll)
    assert not code.dominates(fence, poll)
    assert code.dominates(membar, poll)
    assert not code.dominates(poll, membar)
    (end,) = code.ends(region)
    assert not code.dominates(fence, end)
    assert code.dominates(region.line, end)


ISSUER = ("and.b32 %r2, %r8, 31;", "setp.ne.s32 %p1, %r2, 0;")
# The same condition once more, in other registers, as the one half of another.
ISSUER_AND_MORE = (
    "and.b32 %r3, %r8, 31;",
    "setp.eq.s32 %p2, %r3, 0;",
    "not.pred %p3, %p2;",
    "setp.ge.u32 %p4, %r4, %r5;",
    "or.pred %p5, %p3, %p4;",
)


@pytest.mark.parametrize(
    ("change", "passes"),
    [
        (("", ""), True),
        # Another comparison, another operand, a register that is written twice or behind its use.
        (("eq.s32 %p2", "ge.s32 %p2"), False),
        (("%r8, 31;\nsetp.eq", "%r8, 63;\nsetp.eq"), False),
        (("or.pred %p5", "and.pred %p5"), False),
        (("mov.u32 %r8, %tid.x;", "mov.u32 %r8, %tid.x;\nmov.u32 %r8, 0;"), False),
        (("mov.u32 %r8, %tid.x;", ""), False),
        (("@%p1 bra", "@!%p1 bra"), False),
    ],
)
def test_two_branches_on_one_condition_go_the_same_way(
    change: tuple[str, str],
    passes: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    text = kernel(
        "mov.u32 %r8, %tid.x;",
        "mov.u32 %r4, 1;",
        "mov.u32 %r5, 2;",
        *ISSUER,
        "@%p1 bra $L__skip;",
        FENCE,
        "$L__skip:",
        *ISSUER_AND_MORE,
        "@%p5 bra $L__end;",
        POLL,
        "$L__end:",
        "ret;",
    )
    assert change[0] in text
    code = read(text.replace(*change))
    fence, poll = (found.line for found in code.instructions)
    assert code.dominates(fence, poll) is passes


@pytest.mark.parametrize(
    ("condition", "threads"),
    [
        (("and.b32 %r2, %r8, -33;", "setp.ne.s32 %p1, %r2, 0;"), {0, 32}),
        (("setp.ne.s32 %p1, %r8, 5;",), {5}),
        (("add.s32 %r2, %r8, -60;", "setp.ge.u32 %p1, %r2, 2;"), {60, 61}),
        # With a sign all threads before the 60th are below 2, too.
        (("add.s32 %r2, %r8, -60;", "setp.ge.s32 %p1, %r2, 2;"), set(range(62))),
        (("setp.eq.s32 %p1, %r8, 5;",), set(range(64)) - {5}),
        (("ld.param.u32 %r2, [p];", "setp.ne.s32 %p1, %r8, %r2;"), None),
        (("setp.lt.u32 %p1, %r8, 0;",), None),
    ],
)
def test_the_threads_that_a_condition_lets_pass_are_read(
    condition: tuple[str, ...], threads: set[int] | None
) -> None:
    body = ("mov.u32 %r8, %tid.x;", *condition, "@%p1 bra $L__skip;", FENCE, "$L__skip:", "ret;")
    text = kernel(*body).replace(")\n{", ")\n.maxntid 64, 1, 1\n{")
    (fence,) = read(text).instructions
    assert read(text).threads(fence.line) == threads
