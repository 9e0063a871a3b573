"""The memory model asked about the program that was compiled, beside the one that was declared.

Read from the PTX: which instructions stand at each site, in which order, how the sites follow each
other, where the tile is written to shared memory. Taken from the variant: which threads come to a
site (issuers, publisher, fan-out), where the consumer runs and what it compares.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sbo_verify.compiled.combine_rules import COMBINE
from sbo_verify.compiled.extraction import Extracted, read_steps
from sbo_verify.compiled.harness_rules import GEMM, MICRO_KERNEL
from sbo_verify.model import ModelAnswer, judge
from sbo_verify.model.translation import UntranslatableError
from sbo_verify.protocol import Variant
from sbo_verify.record import CodeReading
from sbo_verify.verdict import CodeVerdict, ModelVerdict


@dataclass(frozen=True, slots=True)
class CodeModel:
    """What the model says of compiled code, and of the declaration.

    `answer` is None where the code could not be judged, `notes` then say why; where the two
    disagree they say in what, with the orderings that are missing or those that forbid.
    """

    declared: ModelAnswer
    answer: ModelAnswer | None
    notes: list[str]

    @property
    def verdict(self) -> ModelVerdict:
        """The verdict on the compiled program under the default reading."""
        return ModelVerdict.UNKNOWN if self.answer is None else self.answer.verdict

    @property
    def agrees(self) -> bool | None:
        """Whether both programs have one verdict under every reading; None where none was found."""
        if self.answer is None or ModelVerdict.UNKNOWN in {self.verdict, self.declared.verdict}:
            return None
        return not _apart(self.declared, self.answer)


def micro_program(ptx: str) -> Extracted:
    """The steps of both ends, from the PTX of a micro-kernel."""
    return read_steps(ptx, MICRO_KERNEL)


def overlap_program(gemm_ptx: str, combine_ptx: str) -> Extracted:
    """The producer's steps from the GEMM's PTX, the consumer's from Combine Send's."""
    halves = {
        "GEMM": read_steps(gemm_ptx, GEMM),
        "Combine Send": read_steps(combine_ptx, COMBINE),
    }
    return Extracted(
        tuple(step for half in halves.values() for step in half.steps),
        tuple(f"{name}: {doubt}" for name, half in halves.items() for doubt in half.doubts),
    )


def model_of_code(protocol_name: str, variant: Variant, program: Extracted) -> CodeModel:
    """The model's answers for a program that was read and for the variant's declaration.

    Raises `UnknownNameError` for a protocol that the model has no translation of.
    """
    declared = judge(protocol_name, variant)
    if program.doubts:
        return CodeModel(declared, None, list(program.doubts))
    try:
        answer = judge(protocol_name, variant, given=program.steps)
    except UntranslatableError as error:
        return CodeModel(declared, None, [str(error)])
    if answer.verdict is ModelVerdict.UNKNOWN:
        return CodeModel(declared, answer, ["the search of the compiled program was cut off"])
    return CodeModel(declared, answer, _differences(declared, answer))


def with_model(reading: CodeReading, model: CodeModel) -> CodeReading:
    """The record of compiled code with what the model says of it.

    Code on which the model says something else is not what was declared, whatever its instructions.
    """
    disagrees = model.agrees is False
    return replace(
        reading,
        verdict=CodeVerdict.DIFFERS.value if disagrees else reading.verdict,
        differences=[*reading.differences, *(model.notes if disagrees else [])],
        model=model.verdict.value,
        model_readings={} if model.answer is None else dict(model.answer.readings),
        model_notes=list(model.notes),
    )


def _apart(declared: ModelAnswer, compiled: ModelAnswer) -> list[tuple[str, str, str]]:
    """The readings under which the verdicts differ: name, declared, compiled.

    A program that a reading is not about has its verdict under it, too.
    """
    names = dict.fromkeys((*declared.readings, *compiled.readings))
    both = [(n, *(a.readings.get(n, a.verdict.value) for a in (declared, compiled))) for n in names]
    return [(name, one, other) for name, one, other in both if one != other]


def _differences(declared: ModelAnswer, compiled: ModelAnswer) -> list[str]:
    apart = _apart(declared, compiled)
    if not apart:
        return []
    notes = [
        f"model: a stale read is {other} in the compiled program and {one} in the declared one, "
        f"under the reading {name!r}"
        for name, one, other in apart
    ]
    notes += [f"model, missing in the compiled program: {gap}" for gap in compiled.missing]
    return [*notes, *(f"model, orders the compiled program: {edge}" for edge in compiled.ordering)]
