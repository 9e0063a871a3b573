"""The record of compiled code with what its machine code says, where there is a disassembler.

A laptop without nvdisasm still gets the PTX and the model: the record then says what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sbo_verify.compiled.machine_order import MachineReading, read_machine_code
from sbo_verify.compiled.nvdisasm import DisassemblerError, disassemble, nvdisasm_version
from sbo_verify.compiled.sass import SassError
from sbo_verify.device.build import Artefact, cache_folder
from sbo_verify.record import CodeReading
from sbo_verify.verdict import MachineVerdict

# One order that is surely lost is worse than one that cannot be told, and that than none.
_WORST_FIRST = (
    MachineVerdict.LOST,
    MachineVerdict.CANNOT_TELL,
    MachineVerdict.NOT_READ,
    MachineVerdict.KEPT,
)


def with_machine_code(reading: CodeReading, artefacts: Sequence[Artefact]) -> CodeReading:
    """`reading` with what ptxas made of the kernels that it is about.

    The verdict on several kernels is the worst one. Nothing is raised: a missing nvdisasm is
    `not read`, a cubin that cannot be read `cannot tell`, both with the reason.
    """
    read = [_read(artefact) for artefact in artefacts]
    verdicts = {each.verdict for each in read}
    return replace(
        reading,
        machine=next(word for word in _WORST_FIRST if word in verdicts).value,
        machine_reasons=[reason for each in read for reason in each.reasons],
        machine_skeleton=[pair for each in read for pair in each.skeleton],
        machine_notes=[note for each in read for note in each.notes],
        disassembler=_disassembler(),
    )


def _read(artefact: Artefact) -> MachineReading:
    try:
        listing = disassemble(artefact.cubin, cache_in=cache_folder())
    except DisassemblerError as error:
        return MachineReading(MachineVerdict.NOT_READ, [str(error)], [], [])
    except SassError as error:
        return MachineReading(MachineVerdict.CANNOT_TELL, [str(error)], [], [])
    return read_machine_code(artefact.ptx, listing)


def _disassembler() -> str:
    try:
        return nvdisasm_version()
    except DisassemblerError:
        return ""
