"""Machine code against the PTX it was made from: what is kept, and what must be noticed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest

from sbo_verify.compiled.flow import read
from sbo_verify.compiled.lowering import Word, needed, stronger
from sbo_verify.compiled.machine_order import MachineReading, read_machine_code
from sbo_verify.compiled.nvdisasm import disassemble
from sbo_verify.compiled.sass import Listing, SassInstruction
from sbo_verify.device.build import build
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.verdict import MachineVerdict
from sbo_verify.vocabulary import Instruction, Kind, Order, Scope, Space

RELEASE = ["MEMBAR.ALL.CTA", "MEMBAR.ALL.GPU", "ERRBAR", "CGAERRBAR"]
FULL = "full_wait-red_release"
CLUSTER = "full_wait-release_by_cluster_peer"
PROXY = "read_tma-proxy_fence"
# Not MEMBAR.ALL.CTA: one stands before every wider MEMBAR.
ORDERING = (
    *("UTMASTG", "UTMACMDFLUSH", "UTMALDG", "DEPBAR.LE", "CCTL.IVALL", "BAR.SYNC"),
    *("MEMBAR.ALL.GPU", "FENCE.VIEW", "REDG", "ATOMG", "LDG.E.STRONG"),
    *("SYNCS.ARRIVE", "SYNCS.PHASECHK"),
)
Change = Callable[[list[SassInstruction]], None]


@cache
def compiled(row: str) -> tuple[str, Listing]:
    """PTX and machine code of one row, from the cache, whose key is all that counts, or made."""
    artefact = build(SIGNAL_PUBLISH, SIGNAL_PUBLISH.row(row).variant)
    return artefact.ptx, disassemble(artefact.cubin)


def changed(row: str, *changes: Change) -> MachineReading:
    """The reading of a row whose machine code was changed behind the compiler's back."""
    ptx, listing = compiled(row)
    function = listing.only()
    instructions = list(function.instructions)
    for change in changes:
        change(instructions)
    other = replace(function, instructions=tuple(instructions))
    return read_machine_code(ptx, replace(listing, functions={function.name: other}))


def site_lines(row: str, site: str) -> range:
    """The PTX lines of a site, from its first begin marker to the end marker behind it."""
    lines = compiled(row)[0].splitlines()
    first = lines.index(next(line for line in lines if line.strip() == f"// sbo:begin {site}"))
    last = lines.index(next(line for line in lines[first:] if f"sbo:end {site}" in line), first)
    return range(first + 1, last + 2)


def find(instructions: list[SassInstruction], row: str, site: str, opcode: str) -> int:
    """Index of the first instruction of a site whose opcode begins with `opcode`."""
    lines = site_lines(row, site)
    return next(
        index
        for index, each in enumerate(instructions)
        if each.ptx_line in lines and each.opcode.startswith(opcode)
    )


def become(row: str, site: str, opcode: str, new: str, operands: str | None = None) -> Change:
    def change(instructions: list[SassInstruction]) -> None:
        index = find(instructions, row, site, opcode)
        old = instructions[index]
        there = old.operands if operands is None else operands
        instructions[index] = replace(old, opcode=new, operands=there)

    return change


def swap(row: str, one: tuple[str, str], other: tuple[str, str]) -> Change:
    """Two instructions change places; each keeps the PTX line that it was made from."""

    def change(instructions: list[SassInstruction]) -> None:
        i, j = find(instructions, row, *one), find(instructions, row, *other)
        first, second = instructions[i], instructions[j]
        instructions[i] = replace(second, address=first.address)
        instructions[j] = replace(first, address=second.address)

    return change


def test_the_full_wait_and_the_release_are_these_words() -> None:
    reading = changed(FULL)
    assert reading.verdict is MachineVerdict.KEPT
    assert reading.reasons == []
    assert reading.notes == []
    assert reading.skeleton == [
        ("producer.source_fence", ["MEMBAR.ALL.CTA", "FENCE.VIEW.ASYNC.S"]),
        ("producer.source_join", ["BAR.SYNC.DEFER_BLOCKING"]),
        ("producer.store", ["UTMASTG.2D", "UTMACMDFLUSH"]),
        ("producer.drain", ["DEPBAR.LE SB0, 0", "CCTL.IVALL"]),
        ("producer.join", ["BAR.SYNC.DEFER_BLOCKING"]),
        ("producer.publish", [*RELEASE, "REDG.STRONG.GPU"]),
        ("consumer.poll", ["LDG.STRONG.GPU", "CCTL.IVALL"]),
        ("consumer.read", ["@LDG"]),
    ]


def test_the_two_waits_differ_by_the_invalidation_of_l1_alone() -> None:
    full = changed("full_wait-relaxed").skeleton
    read = changed("read_wait-relaxed")
    drained = [(site, words) for site, words in full if site == "producer.drain"]
    assert drained == [("producer.drain", ["DEPBAR.LE SB0, 0", "CCTL.IVALL"])]
    without = [
        (site, [word for word in words if site != "producer.drain" or word != "CCTL.IVALL"])
        for site, words in full
    ]
    assert read.skeleton == without
    assert read.notes[0] == (
        "producer.drain: cp.async.bulk.wait_group.read 0 is DEPBAR.LE SB0, 0; "
        "cp.async.bulk.wait_group 0 is the same and CCTL.IVALL"
    )


@pytest.mark.parametrize(
    ("row", "change", "said"),
    [
        (
            FULL,
            become(FULL, "producer.publish", "MEMBAR.ALL.GPU", "NOP"),
            "producer.publish, red.release.gpu.global at PTX line ",
        ),
        (
            FULL,
            become(FULL, "producer.publish", "MEMBAR.ALL.GPU", "MEMBAR.ALL.CTA"),
            "needs MEMBAR.GPU before REDG.E.ADD.S32.STRONG.GPU",
        ),
        (
            FULL,
            become(FULL, "producer.publish", "REDG", "REDG.E.ADD.S32.STRONG.SM"),
            "needs REDG|RED|ATOMG|ATOM|UREDGR.STRONG.GPU, found MEMBAR.ALL.CTA",
        ),
        (
            FULL,
            swap(FULL, ("producer.publish", "MEMBAR.ALL.GPU"), ("producer.publish", "REDG")),
            "needs MEMBAR.GPU before REDG",
        ),
        (
            FULL,
            swap(FULL, ("producer.drain", "DEPBAR"), ("producer.publish", "REDG")),
            "DEPBAR.LE SB0, 0x0 at ",
        ),
        (
            FULL,
            swap(FULL, ("producer.drain", "CCTL"), ("producer.publish", "MEMBAR.ALL.GPU")),
            "CCTL.IVALL at ",
        ),
        (
            FULL,
            swap(FULL, ("producer.join", "BAR"), ("producer.publish", "MEMBAR.ALL.GPU")),
            "does not stand behind BAR.SYNC",
        ),
        (
            FULL,
            become(FULL, "producer.drain", "DEPBAR", "DEPBAR.LE", "SB0, 0x1"),
            "needs DEPBAR.LE SB0, 0, found DEPBAR.LE SB0, 0x1",
        ),
        (
            FULL,
            become(FULL, "producer.drain", "CCTL", "NOP"),
            "needs CCTL.IVALL behind DEPBAR.LE SB0, 0x0",
        ),
        (
            FULL,
            swap(FULL, ("producer.store", "UTMACMDFLUSH"), ("producer.drain", "DEPBAR")),
            "UTMACMDFLUSH at ",
        ),
        (
            FULL,
            become(FULL, "producer.source_fence", "FENCE", "NOP"),
            "needs FENCE.VIEW.ASYNC, found MEMBAR.ALL.CTA",
        ),
        (
            FULL,
            become(FULL, "consumer.poll", "CCTL", "NOP"),
            "needs CCTL.IVALL behind LDG.E.STRONG.GPU",
        ),
        (
            FULL,
            become(FULL, "consumer.poll", "LDG", "LDG.E"),
            "needs LDG|LD.STRONG.GPU, found LDG.E",
        ),
        (
            FULL,
            swap(FULL, ("consumer.poll", "CCTL"), ("consumer.read", "LDG")),
            "consumer.poll, ld.acquire.gpu.global at PTX line ",
        ),
        (
            CLUSTER,
            become(CLUSTER, "producer.join", "MEMBAR.ALL.GPU", "NOP"),
            "needs MEMBAR.GPU before UCGABAR_ARV",
        ),
        (
            CLUSTER,
            become(CLUSTER, "producer.join", "CCTL", "NOP"),
            "needs CCTL.IVALL behind UCGABAR_WAIT",
        ),
        (
            PROXY,
            swap(PROXY, ("consumer.read", "FENCE"), ("consumer.read", "UTMALDG")),
            "consumer.read, fence.proxy.async at PTX line ",
        ),
    ],
)
def test_an_order_that_the_machine_code_lost_is_found(row: str, change: Change, said: str) -> None:
    reading = changed(row, change)
    assert reading.verdict is MachineVerdict.LOST
    assert any(said in reason for reason in reading.reasons), reading.reasons


def test_a_barrier_that_is_gone_everywhere_is_found() -> None:
    """Its slow path, for warps that are not together, is a second copy."""
    gone = become(FULL, "producer.join", "BAR", "NOP")
    assert changed(FULL, gone, gone).verdict is MachineVerdict.LOST


@pytest.mark.parametrize("row", [FULL, PROXY, "deferred-newest_pending-release"])
def test_no_ordering_word_can_be_left_out(row: str) -> None:
    """Each copy of a barrier, too: a path that leads round one of them is a path without it."""
    sites = {
        found.line
        for found in read(compiled(row)[0]).instructions
        if found.region is not None and not found.region.site.startswith("harness.")
    }
    left_out = []
    for index, each in enumerate(compiled(row)[1].only().instructions):
        if each.ptx_line not in sites or not each.opcode.startswith(ORDERING):
            continue

        def drop(instructions: list[SassInstruction], index: int = index) -> None:
            instructions[index] = replace(instructions[index], opcode="NOP")

        left_out.append(str(each))
        assert changed(row, drop).verdict is not MachineVerdict.KEPT, each
    assert len(left_out) >= 12


def test_a_cluster_barrier_is_read_in_both_of_its_forms() -> None:
    """The code asks at run time whether there are clusters; without, it takes a CTA barrier."""
    reading = changed(CLUSTER)
    assert reading.verdict is MachineVerdict.KEPT
    assert reading.reasons == []
    assert ("producer.join", [*RELEASE, "UCGABAR_ARV", "UCGABAR_WAIT", "CCTL.IVALL"]) == (
        reading.skeleton[4][0],
        reading.skeleton[4][1][:7],
    )


@pytest.mark.parametrize("opcode", ["UCGABAR_ARV", "UCGABAR_WAIT", "BAR.SYNC"])
def test_neither_form_of_a_cluster_barrier_can_be_left_out(opcode: str) -> None:
    reading = changed(CLUSTER, become(CLUSTER, "producer.join", opcode, "NOP"))
    assert reading.verdict is not MachineVerdict.KEPT


def test_a_way_round_a_cluster_barrier_that_asks_nothing_is_found() -> None:
    """The branch to the second form was made from another line."""

    def elsewhere(instructions: list[SassInstruction]) -> None:
        index = find(instructions, CLUSTER, "producer.join", "BRA")
        instructions[index] = replace(instructions[index], ptx_line=1)

    reading = changed(CLUSTER, elsewhere)
    assert reading.verdict is MachineVerdict.CANNOT_TELL
    assert any("round UCGABAR_" in reason for reason in reading.reasons)


def drop_line(instructions: list[SassInstruction]) -> None:
    index = find(instructions, FULL, "producer.publish", "MEMBAR.ALL.GPU")
    instructions[index] = replace(instructions[index], ptx_line=None)


def predicate(instructions: list[SassInstruction]) -> None:
    index = find(instructions, FULL, "producer.publish", "MEMBAR.ALL.GPU")
    instructions[index] = replace(instructions[index], predicate="@P3")


def jump(instructions: list[SassInstruction]) -> None:
    instructions[0] = replace(instructions[0], opcode="BRX")


def stray(instructions: list[SassInstruction]) -> None:
    """A barrier that was made from a line that has none."""
    index = next(i for i, each in enumerate(instructions) if each.opcode == "MOV")
    instructions[index] = replace(instructions[index], opcode="MEMBAR.SC.SYS")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (predicate, "is executed with it cannot be told"),
        (jump, "it cannot be told where this jump leads"),
        (stray, "it cannot be told which PTX instruction it was made from"),
    ],
)
def test_what_cannot_be_told_is_never_called_kept(change: Change, said: str) -> None:
    reading = changed(FULL, change)
    assert reading.verdict is MachineVerdict.CANNOT_TELL
    assert any(said in reason for reason in reading.reasons), reading.reasons


def test_a_word_without_a_line_is_never_counted() -> None:
    reading = changed(FULL, drop_line)
    assert reading.verdict is not MachineVerdict.KEPT
    assert any("cannot be told which PTX" in reason for reason in reading.reasons)


def test_ptx_that_cannot_be_read_is_never_called_kept() -> None:
    ptx, listing = compiled(FULL)
    reading = read_machine_code(
        ptx.replace("fence.proxy.async.", "fence.proxy.tensormap."), listing
    )
    assert reading.verdict is MachineVerdict.CANNOT_TELL
    assert "no word for fence.proxy.tensormap" in reading.reasons[0]


def test_every_instruction_of_the_catalogue_has_its_words() -> None:
    used = {
        instruction
        for row in SIGNAL_PUBLISH
        for step in SIGNAL_PUBLISH.steps(row.variant)
        for instruction in step.instructions
    }
    assert [str(each) for each in used if needed(each) is None] == []
    assert needed(Instruction(Kind.WGMMA)) is None


def test_a_narrower_word_does_not_do_and_a_wider_one_does() -> None:
    (anchor,) = needed(Instruction(Kind.RED, Order.RELAXED, Scope.GPU, Space.GLOBAL)) or ()

    def is_enough(opcode: str) -> bool:
        return anchor.matches(SassInstruction(0, "", opcode, ""))

    assert is_enough("REDG.E.ADD.S32.STRONG.GPU")
    assert is_enough("ATOMG.E.ADD.S32.STRONG.SYS")
    assert not is_enough("REDG.E.ADD.S32.STRONG.SM")
    assert not is_enough("REDG.E.ADD.S32")
    assert not is_enough("STG.E.STRONG.GPU")


def test_what_orders_already_has_no_stronger_form() -> None:
    assert stronger(Instruction(Kind.RED, Order.RELEASE, Scope.GPU, Space.GLOBAL)) is None
    relaxed = Instruction(Kind.LOAD, Order.RELAXED, Scope.GPU, Space.GLOBAL)
    acquire = stronger(relaxed)
    assert acquire == Instruction(Kind.LOAD, Order.ACQUIRE, Scope.GPU, Space.GLOBAL)
    assert needed(acquire) == (*(needed(relaxed) or ()), Word(("CCTL",), ("IVALL",)))
