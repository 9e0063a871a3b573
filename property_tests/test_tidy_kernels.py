"""The rules of style for kernels that a machine can check, each with an example that breaks it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from kernel_text import ASM, assemblies, functions, orders, without_comments

from sbo_verify.device.combine_build import KERNEL as COMBINE_KERNEL
from sbo_verify.device.combine_build import ROUNDS_KERNEL
from sbo_verify.device.gemm_build import KERNEL as GEMM_KERNEL
from sbo_verify.device.receive_build import KERNEL as RECEIVE_KERNEL
from sbo_verify.protocols import PROTOCOLS
from sbo_verify.protocols.signal_publish.host import HOST_READER
from sbo_verify.vocabulary import UnknownInstructionError, parse

KERNELS = Path(__file__).resolve().parents[1] / "kernels"
# One wrapper for each instruction: those of every kernel, and those of the GEMM alone.
WRAPPERS = ("ptx.cuh", "tma.cuh", "wgmma.cuh")
# `kernel_text` reads a scope that a wrapper leaves open as this one.
OPEN_SCOPE, SCOPE_STAND_IN = "SBO_AT_SCOPE", "gpu"
INCLUDE = re.compile(r'^\s*#include "([^"]+)"', re.MULTILINE)


def unguarded_assembly(text: str) -> list[str]:
    """The compiler may move plain accesses across assembly that clobbers no memory.

    Markers must do without: they are no instructions, and would hold the compiler back.
    """
    complaints = [
        f"line {each.line}: {'a marker clobbers' if each.is_marker else 'no clobber of'} memory"
        for each in assemblies(text)
        if each.clobbers_memory == each.is_marker
    ]
    plain = len(re.findall(r"\basm\b", without_comments(text))) - text.count(ASM)
    return [*complaints, *([f"{plain} asm without volatile"] if plain > 0 else [])]


def instructions_of(body: str) -> list[str]:
    """The ordering mnemonics of a wrapper; of one that orders nothing, all."""
    spelled = [mnemonic for each in assemblies(body) for mnemonic in each.mnemonics]
    return [mnemonic for mnemonic in spelled if orders(mnemonic)] or spelled


def crowded_wrappers(text: str) -> list[str]:
    """One wrapper holds one instruction, and no other wrapper holds the same."""
    owner: dict[str, str] = {}
    complaints = []
    for name, body in functions(text).items():
        if ASM not in body:
            continue
        spelled = instructions_of(body)
        if len(spelled) != 1:
            complaints.append(f"{name} holds {len(spelled)} instructions: {', '.join(spelled)}")
            continue
        # Special registers are all read by one silent instruction.
        other = owner.setdefault(spelled[0], name)
        if other != name and orders(spelled[0]):
            complaints.append(f"{name} and {other} both hold {spelled[0]}")
    return complaints


def misnamed_wrappers(text: str) -> list[str]:
    """Order and scope stand in the name, unless the instruction has them by default.

    A scope that is a template argument stands where the wrapper is called.
    """
    return [
        f"{name} does not say {word}: {mnemonic}"
        for name, body in functions(text).items()
        for mnemonic in (instructions_of(body) if ASM in body else [])
        for word in _spelled_order_and_scope(mnemonic)
        if word not in name and not (OPEN_SCOPE in body and word == SCOPE_STAND_IN)
    ]


def _spelled_order_and_scope(mnemonic: str) -> list[str]:
    """The words for order and scope that change what the instruction does."""
    if not orders(mnemonic) or (instruction := parse(mnemonic, "0")) is None:
        return []
    words = [word.value for word in (instruction.order, instruction.scope) if word is not None]
    return [word for word in words if not _is_default(mnemonic, word)]


def _is_default(mnemonic: str, word: str) -> bool:
    """Whether leaving the word out spells the same instruction."""
    parts = mnemonic.split(".")
    if word not in parts:
        return True
    rest = ".".join(part for part in parts if part != word)
    try:
        return parse(rest, "0") == parse(mnemonic, "0")
    except UnknownInstructionError:
        return False


def assembly_elsewhere(headers: dict[str, str], wrappers: tuple[str, ...]) -> list[str]:
    """Assembly stands in the headers of wrappers alone."""
    return [
        f"{name} spells assembly; {', '.join(wrappers)} have a wrapper for each instruction"
        for name, text in sorted(headers.items())
        if name not in wrappers and ASM in without_comments(text)
    ]


def unused_headers(headers: dict[str, str], roots: set[str]) -> list[str]:
    """Headers that no kernel of a protocol includes, nor the GEMM, directly or not."""
    used: set[str] = set()
    pending = sorted(roots)
    while pending:
        name = pending.pop()
        if name in headers and name not in used:
            used.add(name)
            pending.extend(INCLUDE.findall(headers[name]))
    return sorted(set(headers) - used)


def kernel_texts() -> dict[str, str]:
    return {path.name: path.read_text() for path in KERNELS.glob("*.cuh")}


def started_kernels() -> set[str]:
    """The headers that translation units include: of protocols, the GEMM, its links, the host."""
    kernels = (GEMM_KERNEL, COMBINE_KERNEL, ROUNDS_KERNEL, RECEIVE_KERNEL, HOST_READER.kernel)
    return {*kernels, *(protocol.kernel for protocol in PROTOCOLS.values())}


def wrapper_texts() -> str:
    return "".join((KERNELS / name).read_text() for name in WRAPPERS)


def test_assembly_clobbers_memory_and_markers_do_not() -> None:
    for name, text in kernel_texts().items():
        assert unguarded_assembly(text) == [], name


def test_a_wrapper_holds_one_instruction_of_its_own() -> None:
    assert crowded_wrappers(wrapper_texts()) == []


def test_a_wrapper_says_its_order_and_scope() -> None:
    assert misnamed_wrappers(wrapper_texts()) == []


def test_assembly_stands_in_wrappers_alone() -> None:
    assert assembly_elsewhere(kernel_texts(), WRAPPERS) == []


def test_every_header_is_included_by_a_kernel() -> None:
    assert unused_headers(kernel_texts(), started_kernels()) == []


def wrapper(name: str, *statements: str) -> str:
    """The text of one wrapper, for examples."""
    return f"__device__ __forceinline__ void {name}() {{\n" + "\n".join(statements) + "\n}\n"


FENCE = 'asm volatile("fence.sc.gpu;" ::: "memory");'
RED = 'asm volatile("red.release.gpu.global.add.s32 [%0], 1;" ::"l"(a) : "memory");'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('asm volatile("fence.sc.gpu;");', "line 1: no clobber of memory"),
        ('\nasm volatile("mov.u32 %0, 1;" : "=r"(memory));', "line 2: no clobber of memory"),
        ('asm volatile("// sbo:begin " SITE ::: "memory")', "line 1: a marker clobbers memory"),
        ('asm("fence.sc.gpu;" ::: "memory");', "1 asm without volatile"),
    ],
)
def test_unguarded_assembly_is_found(text: str, complaint: str) -> None:
    assert unguarded_assembly(text) == [complaint]


def test_assembly_in_a_comment_is_none() -> None:
    assert unguarded_assembly("// `asm volatile` and asm(x)\n" + FENCE) == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            wrapper("fence_and_red", FENCE, RED),
            "fence_and_red holds 2 instructions: fence.sc.gpu, red.release.gpu.global.add.s32",
        ),
        (
            wrapper("a", FENCE) + wrapper("b", FENCE),
            "b and a both hold fence.sc.gpu",
        ),
    ],
)
def test_a_crowded_wrapper_is_found(text: str, complaint: str) -> None:
    assert crowded_wrappers(text) == [complaint]


@pytest.mark.parametrize(
    ("name", "unsaid"),
    [
        ("red_add_release_sys", []),
        ("red_add_release", ["sys"]),
        ("red_add_sys", ["release"]),
        ("red_add", ["release", "sys"]),
    ],
)
def test_a_misnamed_wrapper_is_found(name: str, unsaid: list[str]) -> None:
    text = wrapper(name, RED.replace(".gpu.", ".sys."))
    mnemonic = "red.release.sys.global.add.s32"
    assert misnamed_wrappers(text) == [f"{name} does not say {w}: {mnemonic}" for w in unsaid]


def test_a_default_or_open_scope_need_not_be_said() -> None:
    opened = FENCE.replace(".gpu", '." SCOPE "') + "\nSBO_AT_SCOPE(S, SBO_OP)"
    assert misnamed_wrappers(wrapper("red_add_release", RED)) == []
    assert misnamed_wrappers(wrapper("fence_sc", opened)) == []
    assert misnamed_wrappers(wrapper("fence_sc", FENCE)) == [
        "fence_sc does not say gpu: fence.sc.gpu"
    ]


def test_assembly_elsewhere_is_found() -> None:
    headers = {"ptx.cuh": FENCE, "signal.cuh": FENCE, "clean.cuh": "// asm volatile(x)"}
    assert assembly_elsewhere(headers, ("ptx.cuh", "tma.cuh")) == [
        "signal.cuh spells assembly; ptx.cuh, tma.cuh have a wrapper for each instruction"
    ]


def test_an_unused_header_is_found() -> None:
    headers = {"a.cuh": '#include "b.cuh"', "b.cuh": "", "c.cuh": '#include "a.cuh"'}
    assert unused_headers(headers, {"a.cuh"}) == ["c.cuh"]
    assert unused_headers(headers, {"c.cuh"}) == []
