"""The memory model asked about the program that was compiled, beside the one that was declared.

Read from the PTX: which instructions stand at each site, in which order, how the sites follow each
other, where the tile is written to shared memory; and who stores, publishes and polls, where
conditions on %tid.x alone say it: it must be whom the variant names. Taken from the variant: who
does so elsewhere, where the consumer runs, and what is compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sbo_verify.compiled.combine_rules import COMBINE
from sbo_verify.compiled.extraction import Extracted, read_steps
from sbo_verify.compiled.harness_rules import GEMM, MICRO_KERNEL
from sbo_verify.compiled.host_rules import HOST
from sbo_verify.model import ModelAnswer, judge
from sbo_verify.model.translation import UntranslatableError
from sbo_verify.protocol import Variant
from sbo_verify.protocols.signal_publish.sites import (
    FanOut,
    Issuers,
    Place,
    Publisher,
    SignalPublish,
    Store,
)
from sbo_verify.protocols.signal_publish.steps import steps
from sbo_verify.record import CodeReading
from sbo_verify.verdict import CodeVerdict, ModelVerdict

# Sites of a variant that no instruction stands for; who comes is held to the PTX where it says so.
TAKEN = ("issuers", "publisher", "fan_out", "place", "test")
WARP = 32
# `kOtherWarpPublisher` of signal.cuh.
OTHER_WARP = 64
# Threads that a sentence names.
SHOWN = 4


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
        {label: ranks for half in halves.values() for label, ranks in half.ranks.items()},
    )


def host_program(variant: SignalPublish, ptx: str) -> Extracted:
    """The producer's steps from the PTX; the reader on the host has those that it declares."""
    producer = read_steps(ptx, HOST)
    reader = tuple(step for step in steps(variant) if step.side == "consumer")
    return replace(producer, steps=(*producer.steps, *reader))


def model_of_code(protocol_name: str, variant: Variant, program: Extracted) -> CodeModel:
    """The model's answers for a program that was read and for the variant's declaration.

    Raises `UnknownNameError` for a protocol that the model has no translation of.
    """
    declared = judge(protocol_name, variant)
    if doubts := [*program.doubts, *_other_threads(variant, program)]:
        return CodeModel(declared, None, doubts)
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


def _other_threads(variant: Variant, program: Extracted) -> list[str]:
    """Sites to which other threads come than the variant's choices say."""
    if not isinstance(variant, SignalPublish):
        return []
    held = {step.label for step in program.steps if step.instructions}
    return [
        f"{label}: threads {_numbers(program.ranks[label])} come there, and with {choice} "
        f"threads {_numbers(expected)} do"
        for label, choice, expected in _who(variant, program.ranks)
        if label in held and program.ranks.get(label, expected) != expected
    ]


def _who(
    v: SignalPublish, ranks: Mapping[str, frozenset[int]]
) -> Iterator[tuple[str, str, frozenset[int]]]:
    """Site, choice and ranks of those sites to which not every thread comes (`signal.cuh`)."""
    # Where all threads store, the first of them is not to be told from the others.
    if v.store is not Store.GENERIC:
        issuers = frozenset({0} if v.issuers is Issuers.ONE else {0, WARP})
        for site in ("store", "drain", "flush"):
            yield f"producer.{site}", f"issuers={v.issuers.word}", issuers
        publisher = OTHER_WARP if v.publisher is Publisher.OTHER_WARP else 0
        yield "producer.publish", f"publisher={v.publisher.word}", frozenset({publisher})
    # Of one CTA's two programs the consumer's begins in the middle, which no condition says.
    if v.place is not Place.PRODUCER_CTA:
        known = ranks.get("consumer.poll", frozenset())
        polling = {
            FanOut.EVERY_THREAD: ranks.get("consumer.fan_out", frozenset()),
            FanOut.SYNCWARP: frozenset(range(0, max(known, default=0) + 1, WARP)),
        }
        those = polling.get(v.fan_out, frozenset({0}))
        yield "consumer.poll", f"fan_out={v.fan_out.word}", those


def _numbers(ranks: frozenset[int]) -> str:
    shown = sorted(ranks)
    more = f", ... ({len(shown)} in all)" if len(shown) > SHOWN else ""
    return ", ".join(map(str, shown[:SHOWN])) + more


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
