"""Arithmetic of machine code: what is followed has the value that the instruction gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbo_verify.compiled.elf import KernelFacts
from sbo_verify.compiled.inspection.machine_logic import BitWords, PredicateWords, logic
from sbo_verify.compiled.inspection.machine_names import Names
from sbo_verify.compiled.inspection.machine_values import Translator
from sbo_verify.compiled.inspection.text import Op
from sbo_verify.compiled.inspection.values import Lanes, Term, Value, Values
from sbo_verify.compiled.sass import SassFunction, SassInstruction
from sbo_verify.compiled.sass_registers import Access

TID = np.arange(1024)
MASK = 0xFFFFFFFF
# R0 is the thread, R1 its warp, P0 thread 0, P1 the first warp; R9 or P9 is the result.
GIVEN = [
    Op(1, "mov.u32", ("%R0", "%tid.x"), place=0),
    Op(2, "shr.u32", ("%R1", "%R0", "5"), place=1),
    Op(3, "ld.param.u32", ("%R2", "[constants+0x240]"), place=2),
    Op(4, "setp.eq.s32", ("%P0", "%R0", "0"), place=3),
    Op(5, "setp.lt.u32", ("%P1", "%R0", "32"), place=4),
]


def value(text: str) -> Value:
    """What the last register that is named `R9` or `P9` holds behind one instruction."""
    opcode, _, operands = text.partition(" ")
    names = {word.strip("-~!,") for word in operands.replace("|", "").split()}
    reads = frozenset(n for n in names if n in {"R0", "R1", "R2", "P0", "P1"})
    writes = frozenset(names & {"R9", "P9"})
    function = SassFunction("k", (SassInstruction(0, "", opcode, operands),), {})
    accesses = {0: Access(reads, writes)}
    translator = Translator(Names(function, accesses, [[]], {}), KernelFacts(None, 0x210), None)
    lifted = translator.value(0, function.instructions[0])
    ops = [
        Op(9, mnemonic, tuple(each.replace("_entry", "") for each in inputs), place=5 + place)
        for place, (mnemonic, inputs) in enumerate(lifted)
    ]
    return Values([*GIVEN, *ops], flat=True).of("%" + min(writes) + "_0")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("MOV R9, R0", TID),
        ("IMAD.MOV.U32 R9, RZ, RZ, 0x7", TID * 0 + 7),
        ("IADD3 R9, R0, 0x5, -R1", (TID + 5 - TID // 32) & MASK),
        ("VIADD R9, R0, 0xffffffff", (TID - 1) & MASK),
        ("IMAD R9, R0, 0x3, R1", TID * 3 + TID // 32),
        ("IMAD.SHL.U32 R9, R0, 0x4, RZ", TID * 4),
        ("IMAD.IADD R9, R0, 0x1, -R1", TID - TID // 32),
        ("LEA R9, R1, R0, 0x2", (TID // 32) * 4 + TID),
        ("LEA.HI R9, R0, 0x1, RZ, 0x1a", TID // 64 + 1),
        ("SHF.R.U32.HI R9, RZ, 0x5, R0", TID // 32),
        ("SHF.L.U32 R9, R0, 0x3, RZ", TID * 8),
        ("SEL R9, R0, 0x40, P1", np.where(TID < 32, TID, 64)),
        ("SEL R9, R0, 0x40, !P1", np.where(TID < 32, 64, TID)),
        ("ISETP.NE.AND P9, PT, R0, RZ, PT", TID != 0),
        ("ISETP.GT.U32.AND P9, PT, R0, 0x1f, PT", TID > 31),
        ("ISETP.GE.AND P9, PT, R0, 0x20, P0", (TID >= 32) & (TID == 0)),
        ("ISETP.EQ.OR P9, PT, R0, 0x20, P0", (TID == 32) | (TID == 0)),
        ("ISETP.EQ.OR P9, PT, R0, 0x20, !P0", (TID == 32) | (TID != 0)),
        ("ISETP.LT.AND P9, PT, R0, -0x1, PT", TID < -1),
        ("LOP3.LUT R9, R0, 0x1f, RZ, 0xc0, !PT", TID & 31),
        ("LOP3.LUT R9, R0, 0x20, RZ, 0xfc, !PT", TID | 32),
        ("LOP3.LUT P9, RZ, R0, 0x1f, RZ, 0xc0, !PT", (TID & 31) != 0),
        ("PLOP3.LUT P9, PT, P0, P1, PT, 0xa2, 0x0", (TID == 0) | (TID >= 32)),
        ("PLOP3.LUT P9, PT, PT, PT, PT, 0x80, 0x0", TID >= 0),
        ("SHFL.IDX PT, R9, R1, RZ, 0x1f", TID // 32),
    ],
)
def test_what_is_followed_has_its_value(text: str, wanted: object) -> None:
    found = value(text)
    assert isinstance(found, Lanes)
    assert (found.numbers == wanted).all()


@pytest.mark.parametrize(
    "text",
    [
        "IADD3.X R9, R0, R1, RZ, P0, !PT",
        "ISETP.GE.U32.AND.EX P9, PT, R0, R1, PT, P0",
        "ISETP.GE.U64.AND P9, PT, R0, R1, PT",
        "ISETP.NE.AND PT, P9, R0, RZ, PT",
        "IMAD.HI.U32 R9, R0, R1, RZ",
        "LEA.HI R9, R0, 0x1, R1, 0x1a",
        "LEA.HI.SX32 R9, R0, 0x1, 0x1a",
        "LEA.HI.X R9, R0, R1, RZ, 0x2, P0",
        "SHF.R.U32 R9, R0, 0x3, R1",
        "SHF.R.W.U32.HI R9, R0, 0x3, R1",
        "LDC.U8 R9, c[0x0][0x240]",
        "MOV R9, 32@lo(symbol)",
        "HFMA2.MMA R9, -RZ, RZ, 0, 5.9604644775390625e-08",
        "PRMT R9, R0, 0x5410, R1",
        "SHFL.BFLY PT, R9, R0, 0x10, 0x1f",
        "S2R R9, SR_CLOCKLO",
    ],
)
def test_what_is_not_followed_is_unknown(text: str) -> None:
    assert value(text) is None


def test_the_shape_of_a_launch_is_known_by_its_place() -> None:
    assert value("LDC R9, c[0x0][RZ]") == Term("%ntid.x")
    assert value("S2R R9, SR_CTAID.X") == Term("%ctaid.x")
    assert isinstance(value("LDC R9, c[0x0][0x240]"), Term)


class _Held:
    """Three inputs with given values, and what is computed from them."""

    def __init__(self, values: dict[str, int], ones: int) -> None:
        self.values = values
        self.ones = ones

    def source(self, text: str) -> str:
        return text

    predicate = source

    def temporary(self, mnemonic: str, *inputs: str) -> str:
        name = f"t{len(self.values)}"
        self.values[name] = self.result(mnemonic, inputs)
        return name

    def result(self, mnemonic: str, inputs: tuple[str, ...]) -> int:
        held = [self.values[each] if each in self.values else int(each) for each in inputs]
        head = mnemonic.partition(".")[0]
        if head == "setp":
            return int((held[0] == held[1]) == mnemonic.startswith("setp.eq")) & self.ones
        if head in {"mov", "not"}:
            return (held[0] if head == "mov" else ~held[0]) & self.ones
        a, b = held
        return {"and": a & b, "or": a | b, "xor": a ^ b}[head] & self.ones


@given(
    st.integers(0, 255),
    st.lists(st.sampled_from([True, False, "a", "b", "c"]), min_size=3, max_size=3),
)
def test_every_table_is_the_operation_that_it_says(table: int, inputs: list[str | bool]) -> None:
    """All rows at once: bit i of each input is its value in row i."""
    rows = {"a": 0b11110000, "b": 0b11001100, "c": 0b10101010}
    columns = [rows[e] if isinstance(e, str) else (0xFF if e else 0) for e in inputs]
    wanted = 0
    for row in range(8):
        a, b, c = (column >> row & 1 for column in columns)
        wanted |= (table >> (a * 4 + b * 2 + c) & 1) << row
    held = _Held(dict(rows), 0xFF)
    assert held.result(*logic(inputs, table, BitWords(held))) == wanted
    for row in range(8):
        one = _Held({name: value >> row & 1 for name, value in rows.items()}, 1)
        assert one.result(*logic(inputs, table, PredicateWords(one))) == wanted >> row & 1
