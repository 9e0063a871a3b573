"""Machine code of the corpus: compiled here by NVRTC, and what is expected of it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

from inspected.build import SOURCE

from sbo_verify.compiled.elf import KernelFacts, kernel_facts, read_elf
from sbo_verify.compiled.inspection.files import Inspection
from sbo_verify.compiled.inspection.machine import MachineModule, module_of
from sbo_verify.compiled.nvdisasm import Disassembly, disassemble_with_registers
from sbo_verify.compiled.sass import SassFunction, SassInstruction
from sbo_verify.device.nvrtc import compile_source

CORPUS = Path(__file__).parent / "inspected"
SOUND = "bulk_full_release"


def rows(name: str) -> list[dict[str, str]]:
    """The lines of a table beside the corpus."""
    with (CORPUS / name).open() as file:
        return list(csv.DictReader(file))


EXPECTED = {row["file"].removesuffix(".ptx"): row for row in rows("inspected.csv")}
DIFFERENT = {row["kernel"]: row for row in rows("machine.csv")}
KERNELS = [name for name, row in EXPECTED.items() if row["origin"] == "nvcc"]


@cache
def cubin(*options: str, target: str = "sm_90a") -> bytes:
    """All kernels of the corpus."""
    made = compile_source(SOURCE.read_text(), SOURCE.name, {}, [f"-arch={target}", *options])
    assert made.ok, made.log
    return made.cubin


@cache
def disassembly(
    target: str = "sm_90a", *options: str
) -> tuple[Disassembly, dict[str, KernelFacts]]:
    """Their machine code, and what the cubin says of each."""
    content = cubin(*options, target=target)
    code = disassemble_with_registers(content)
    elf = read_elf(content)
    return code, {name: kernel_facts(elf, name) for name in code.listing.functions}


def rules(inspection: Inspection) -> set[str]:
    """The rules that are broken."""
    return {each.rule for one in inspection.hand_offs for each in one.broken}


Change = Callable[[list[SassInstruction]], None]


def module(name: str, *changes: Change, build: tuple[str, ...] = ("sm_90a",)) -> MachineModule:
    """One kernel as PTX, its machine code changed before."""
    code, facts = disassembly(*build)
    function = code.listing.functions[name]
    instructions = list(function.instructions)
    for change in changes:
        change(instructions)
    other = SassFunction(name, tuple(instructions), function.labels)
    listing = replace(code.listing, functions={name: other})
    return module_of(Disassembly(listing, code.registers), facts)
