"""Machine code of the corpus: judged as its PTX is, but for what the table says and why.

The cubins are made by NVRTC; those of Triton's files by ptxas where one is found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from machine_corpus import (
    CORPUS,
    DIFFERENT,
    EXPECTED,
    KERNELS,
    SOUND,
    Change,
    disassembly,
    module,
    rules,
)

from sbo_verify.compiled.inspection.binaries import COMPARED, inspect_binary, inspect_machine
from sbo_verify.compiled.inspection.files import Inspection
from sbo_verify.compiled.inspection.handoffs import HandOffVerdict
from sbo_verify.compiled.inspection.machine import module_of
from sbo_verify.compiled.nvdisasm import Disassembly
from sbo_verify.compiled.sass import SassInstruction
from sbo_verify.compiled.sass_registers import Access
from sbo_verify.device.ptxas import assemble, find_ptxas

ORDERED, NOT_ORDERED, CANNOT_TELL = HandOffVerdict
NOTHING = "nothing found"
TRITON = [name for name in EXPECTED if name.startswith("triton")]


def judged(name: str, *changes: Change, build: tuple[str, ...] = ("sm_90a",)) -> Inspection:
    return inspect_machine(module(name, *changes, build=build))


def place(instructions: list[SassInstruction], opcode: str, number: int = 0) -> int:
    """The index of an instruction, the last ones counted from -1."""
    return [i for i, each in enumerate(instructions) if each.opcode.startswith(opcode)][number]


def become(opcode: str, new: str, operands: str = "", number: int = 0) -> Change:
    def change(instructions: list[SassInstruction]) -> None:
        index = place(instructions, opcode, number)
        instructions[index] = replace(
            instructions[index], opcode=new, operands=operands or instructions[index].operands
        )

    return change


def drop(index: int) -> Change:
    def change(instructions: list[SassInstruction]) -> None:
        instructions[index] = replace(instructions[index], opcode="NOP", operands="", predicate="")

    return change


# ---- the corpus -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", KERNELS)
def test_machine_code_is_judged_as_its_ptx_or_as_the_table_says(name: str) -> None:
    found = judged(name)
    if name in DIFFERENT:
        assert str(found.verdict or NOTHING) == DIFFERENT[name]["machine"]
        return
    assert found.verdict == EXPECTED[name]["verdict"]
    assert rules(found) == set(EXPECTED[name]["rules"].split())


def test_what_differs_differs() -> None:
    """A line of the table that is not needed any more is found."""
    for name, row in DIFFERENT.items():
        assert row["machine"] != EXPECTED[name]["verdict"]
        assert row["because"]


BUILDS = [("sm_90a",), ("sm_90a", "--ptxas-options=-O0"), ("sm_100a",)]


@pytest.mark.parametrize("build", BUILDS, ids=" ".join)
def test_no_build_is_called_ordered_unless_its_ptx_is_or_the_table_says_why(
    build: tuple[str, ...],
) -> None:
    verdicts = {name: judged(name, build=build).verdict for name in KERNELS}
    for name, verdict in verdicts.items():
        if verdict is ORDERED:
            said = DIFFERENT.get(name, {}).get("machine", EXPECTED[name]["verdict"])
            assert said == ORDERED, name
    told = [name for name, verdict in verdicts.items() if verdict in {ORDERED, NOT_ORDERED}]
    assert len(told) >= 0.75 * len(KERNELS)


@pytest.mark.parametrize("name", TRITON)
def test_what_triton_compiled_is_judged_as_its_ptx(name: str) -> None:
    text = (CORPUS / f"{name}.ptx").read_text()
    made = find_ptxas()
    if not made:
        pytest.skip("no ptxas is found")
    content = assemble(made[-1], text, "sm_90a").cubin
    parts = inspect_binary(content)
    assert {each.inspection.verdict for each in parts} == {EXPECTED[name]["verdict"]}


# ---- what orders cannot be taken away -------------------------------------------------------

ORDERING = ("MEMBAR", "DEPBAR", "CCTL", "BAR", "FENCE", "UTMACMDFLUSH", "UCGABAR")
# The kernel's own thread publishes what it drained, so that the barrier between is not needed; a
# release needs no CCTL.IVALL; of two waits for the same one is enough.
NOT_NEEDED = {
    "loop_full_release": {"BAR"},
    "generic_threadfence_atomic": {"CCTL"},
    "bulk_full_fence_acq_rel_red": {"BAR", "CCTL"},
    "bulk_full_threadfence_atomic": {"BAR", "CCTL"},
    "bulk_full_fence_volatile": {"BAR"},
    "bulk_full_acq_rel": {"BAR", "CCTL"},
    "bulk_read_then_full": {"BAR", "DEPBAR"},
    "bulk_full_release": {"BAR"},
    "tensor_full_release": {"BAR"},
    "bulk_full_atom_release": {"BAR"},
    "bulk_full_release_sys": {"BAR"},
    "bulk_full_st_release": {"BAR"},
    "bulk_full_all_threads_wait": {"BAR"},
    "bulk_release_cluster": {"BAR"},
}


def sound() -> Iterator[str]:
    for name in KERNELS:
        row = DIFFERENT.get(name)
        if (row["machine"] if row else EXPECTED[name]["verdict"]) == ORDERED:
            yield name


@pytest.mark.parametrize("name", list(sound()))
def test_sound_machine_code_that_lost_an_ordering_word_is_sound_no_longer(name: str) -> None:
    code, _ = disassembly()
    assert judged(name).verdict is ORDERED
    kept = set()
    left_out = 0
    for index, each in enumerate(code.listing.functions[name].instructions):
        if each.opcode.startswith(ORDERING):
            left_out += 1
            if judged(name, drop(index)).verdict is ORDERED:
                kept.add(each.words[0])
    assert left_out
    assert kept == NOT_NEEDED.get(name, set())


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (become("MEMBAR.ALL.GPU", "MEMBAR.ALL.CTA"), "narrow-publish"),
        (become("MEMBAR.ALL.GPU", "NOP"), "relaxed-publish"),
        (become("DEPBAR", "DEPBAR.LE", "SB1, 0x0"), "no-drain"),
        (become("CCTL", "NOP"), "signal-after-read-wait"),
        (become("REDG", "REDG.E.ADD.S32.STRONG.SM"), "narrow-publish"),
        # The MEMBAR is the proxy fence's, and no release.
        (become("CGAERRBAR", "FENCE.VIEW.ASYNC.S"), "relaxed-publish"),
    ],
)
def test_weaker_machine_code_breaks_a_rule(change: Change, rule: str) -> None:
    assert rule in rules(judged(SOUND, change))


@pytest.mark.parametrize("name", KERNELS)
def test_numbers_of_registers_mean_nothing(name: str) -> None:
    code, facts = disassembly()
    function = code.listing.functions[name]

    def renamed(text: str) -> str:
        return re.sub(r"\b(U?)R(\d+)\b", lambda m: f"{m[1]}R{int(m[2]) + 20}", text)

    instructions = tuple(
        replace(each, operands=renamed(each.operands)) for each in function.instructions
    )
    listing = replace(code.listing, functions={name: replace(function, instructions=instructions)})
    registers = {
        address: Access(*(frozenset(map(renamed, s)) for s in (each.reads, each.writes)))
        for address, each in code.registers[name].items()
    }
    found = inspect_machine(module_of(Disassembly(listing, {name: registers}), facts))
    assert (found.verdict, rules(found)) == (judged(name).verdict, rules(judged(name)))


# ---- what cannot be told --------------------------------------------------------------------


def load_before_the_invalidation(instructions: list[SassInstruction]) -> None:
    """`LDG.STRONG; DEPBAR; CCTL`: an acquire's word that was moved, or the full wait's."""
    index = place(instructions, "UTMACMDFLUSH")
    instructions[index] = replace(
        instructions[index], opcode="LDG.E.STRONG.GPU", operands="RZ, desc[UR4][R2.64]"
    )


def store_before_the_signal(instructions: list[SassInstruction]) -> None:
    """A store between the MEMBAR and the access that it is of."""
    index = place(instructions, "ERRBAR")
    instructions[index] = replace(
        instructions[index], opcode="STG.E", operands="desc[UR4][R2.64+0x8], R5"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (become("ERRBAR", "FROBNICATE"), "FROBNICATE is not read"),
        (become("ERRBAR", "LDGSTS.E.128", "[R5], desc[UR4][R2.64]"), "LDGSTS is not read"),
        (become("ERRBAR", "CALL.ABS.NOINC", "`(elsewhere)"), "call is not read"),
        (become("BAR", "BAR.SYNC.DEFER_BLOCKING", "R0, R0", number=-1), "BAR is not read"),
        (become("MEMBAR.ALL.GPU", "MEMBAR.ALL.VC"), "MEMBAR is not read"),
        (become("DEPBAR", "DEPBAR.LE", "SB0, 0x1"), "leaves the newest group pending"),
        (store_before_the_signal, "MEMBAR is not read"),
    ],
)
def test_what_is_not_known_is_never_called_ordered(change: Change, said: str) -> None:
    found = judged(SOUND, change)
    assert found.verdict is not ORDERED
    reasons = [why for one in found.hand_offs for why in one.unknown]
    assert any(said in why for why in reasons), reasons


def test_a_word_of_two_readings_is_counted_for_neither() -> None:
    assert judged(SOUND, load_before_the_invalidation).verdict is not ORDERED


def test_a_word_that_is_not_known_may_be_the_store_itself() -> None:
    found = judged(SOUND, become("UBLKCP", "UBLKNEW.G.S"))
    assert {one.verdict for one in found.hand_offs} == {CANNOT_TELL}
    assert found.verdict is CANNOT_TELL
    assert found.unread == [f"{SOUND}: UBLKNEW.G.S at 0x00f0 is not known; it may store the tile"]


def test_a_function_whose_ways_are_not_known_cannot_be_told() -> None:
    found = judged(SOUND, become("BRA", "BRX", "R2"))
    assert found.verdict is CANNOT_TELL
    assert found.unread == [
        f"{SOUND}: @P0 BRX R2 at 0x00c0: it cannot be told where this jump leads"
    ]


def test_an_election_among_a_part_of_a_warp_names_no_certain_thread() -> None:
    """The same election behind a branch that divides the warp."""
    assert judged("bulk_elect").verdict is ORDERED

    def divide(instructions: list[SassInstruction]) -> None:
        index = place(instructions, "ISETP.GT.U32")
        instructions[index] = replace(instructions[index], operands="P0, PT, R3, 0xf, PT")

    found = judged("bulk_elect", divide)
    assert found.verdict is not ORDERED


def test_an_architecture_that_was_not_compared_cannot_be_told() -> None:
    lifted = module(SOUND)
    for target in ("sm_80", "sm_75", ""):
        found = inspect_machine(replace(lifted, target=target))
        assert found.verdict is CANNOT_TELL
    assert min(COMPARED) == 90
