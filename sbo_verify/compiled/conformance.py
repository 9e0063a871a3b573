"""Does the compiled kernel order what its variant declares, no more and no less?

The declaration is `Protocol.steps`; the compiled side is read from PTX by `flow`. Every difference
is a sentence that names both and says where, so that either can be looked up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Protocol as Shape

from sbo_verify.compiled.flow import Code, Located, Region, read
from sbo_verify.compiled.harness_rules import (
    BOOKKEEPING_ANYWHERE,
    BOOKKEEPING_OUTSIDE,
    MICRO_KERNEL,
    Harness,
    orders,
)
from sbo_verify.compiled.ptx import PtxError
from sbo_verify.protocol import Protocol, Row, Step, Variant
from sbo_verify.record import CodeReading
from sbo_verify.verdict import CodeVerdict
from sbo_verify.vocabulary import Instruction, Kind, Space, UnknownInstructionError

Skeleton = list[tuple[str, list[str]]]
_Run = tuple[list[int], list[int], list[tuple[int, int]]]

# Kinds of which one access of the source may become several: unrolled loops, split copies.
_DATA = {
    Kind.LOAD,
    Kind.LOAD_NC,
    Kind.STORE,
    Kind.BULK_STORE,
    Kind.TENSOR_STORE,
    Kind.BULK_LOAD,
    Kind.TENSOR_LOAD,
}
_ADDRESSED = {Kind.LOAD, Kind.STORE, Kind.ATOM, Kind.RED}


class Compiled(Shape):
    """What `code_reading` needs of a compiled variant: its PTX and where it came from."""

    @property
    def ptx(self) -> str:
        """The PTX text, the same that the cubin was made from."""

    @property
    def compiler(self) -> str:
        """The compiler and its version."""

    @property
    def ptx_sha256(self) -> str:
        """Hash of the PTX text, hexadecimal."""

    @property
    def cubin_sha256(self) -> str:
        """Hash of the cubin, hexadecimal."""


@dataclass(frozen=True)
class Reading:
    """The verdict, every difference, and the skeleton that the comparison was made on.

    `skeleton` has each site that holds instructions, in program order, with its instructions.
    """

    verdict: CodeVerdict
    differences: list[str]
    skeleton: Skeleton


@dataclass(frozen=True)
class _Site:
    """A site as compiled: its region and the ordering instructions that stand directly in it."""

    label: str
    region: Region
    found: tuple[Located, ...]


def read_back(protocol: Protocol, variant: Variant, ptx: str) -> Reading:
    """Compare the PTX of one variant with its declaration.

    PTX that cannot be read is a difference too: it is not known to be as declared.
    """
    return compare(protocol.steps(variant), ptx, MICRO_KERNEL)


def compare(steps: Sequence[Step], ptx: str, harness: Harness) -> Reading:
    """Compare PTX with the steps declared for it and with the rules of the code around them."""
    try:
        code = read(ptx)
    except (PtxError, UnknownInstructionError) as error:
        unread = f"declared {_steps_text(steps)}, compiled to what cannot be read: {error}"
        return Reading(CodeVerdict.DIFFERS, [unread], [])
    sites = _sites(code, steps)
    differences = [
        *_region_differences(code, steps, harness),
        *_sequence_differences(code, steps, sites),
        *_harness_differences(code, harness),
        *_position_differences(code, sites, harness),
        *_outside_differences(code),
    ]
    verdict = CodeVerdict.DIFFERS if differences else CodeVerdict.AS_DECLARED
    return Reading(verdict, differences, _skeleton(steps, sites))


def code_reading(protocol: Protocol, row: Row, artefact: Compiled) -> CodeReading:
    """The record of what was read back from one row's compiled kernel."""
    reading = read_back(protocol, row.variant, artefact.ptx)
    variant = protocol.hash_of(row.variant)
    return code_reading_of(reading, row=row.name, variant=variant, artefact=artefact)


def code_reading_of(reading: Reading, *, row: str, variant: str, artefact: Compiled) -> CodeReading:
    """The record of a comparison of one kernel, of the row and the variant's hash named."""
    return CodeReading(
        row=row,
        variant=variant,
        verdict=reading.verdict.value,
        differences=reading.differences,
        skeleton=reading.skeleton,
        ptx_sha256=artefact.ptx_sha256,
        cubin_sha256=artefact.cubin_sha256,
        compiler=artefact.compiler,
    )


def _sites(code: Code, steps: Sequence[Step]) -> list[_Site]:
    """The regions of declared sites in program order, bookkeeping left out."""
    declared = {step.label for step in steps}
    inside: dict[Region, list[Located]] = {}
    for found in code.instructions:
        if found.region is not None and found.instruction not in BOOKKEEPING_ANYWHERE:
            inside.setdefault(found.region, []).append(found)
    return [
        _Site(region.site, region, tuple(inside.get(region, ())))
        for region, _ in code.regions
        if region.site in declared
    ]


def _region_differences(code: Code, steps: Sequence[Step], harness: Harness) -> Iterator[str]:
    """Regions with a name that nobody declared, and sites inside sites."""
    declared = {step.label for step in steps}
    for region, around in code.regions:
        if region.site not in declared and region.site not in harness.rules:
            yield (
                f"site {region.site}: declared neither as a step nor as part of the harness, "
                f"compiled at PTX line {region.line}"
            )
        outer = next((each.site for each in around if each.site in declared), None)
        if region.site in declared and outer is not None:
            yield (
                f"site {region.site}: declared beside {outer}, compiled inside it "
                f"at PTX line {region.line}"
            )


def _sequence_differences(
    code: Code, steps: Sequence[Step], sites: Sequence[_Site]
) -> Iterator[str]:
    """The sites of each program in their order, and the instructions of each site."""
    side_of = {step.label: step.side for step in steps}
    sides = list(dict.fromkeys(step.side for step in steps))
    # With a signal two programs run at once; with no more than a read behind the producer's steps
    # one thread executes all of them.
    waits = sum(1 for step in steps if step.side == sides[-1] and step.instructions) > 1
    programs = [[side] for side in sides] if waits else [sides]
    for program in programs:
        yield from _program_differences(
            code,
            [step for step in steps if step.side in program],
            [site for site in sites if side_of[site.label] in program],
        )
    if waits:
        yield from _joined_programs(code, sites, side_of)


def _joined_programs(code: Code, sites: Sequence[_Site], side_of: dict[str, str]) -> Iterator[str]:
    for first in sites:
        for second in sites:
            apart = side_of[first.label] != side_of[second.label]
            if apart and code.reaches(first.region.line, second.region.line):
                yield (
                    f"site {second.label}: declared in another program than {first.label}, "
                    f"compiled behind it, PTX lines {first.region.line} and {second.region.line}"
                )


def _program_differences(
    code: Code, steps: Sequence[Step], sites: Sequence[_Site]
) -> Iterator[str]:
    """One thread's steps against the sites that hold instructions; an empty site may be absent."""
    declared = [step for step in steps if step.instructions]
    compiled = [site for site in sites if site.found]
    empty = [site for site in sites if not site.found]
    matched: list[_Site] = []
    for missing, extra, same in _aligned(
        [step.label for step in declared], [site.label for site in compiled]
    ):
        for step, site in ((declared[i], compiled[j]) for i, j in same):
            matched.append(site)
            yield from _instruction_differences(code, step, site)
        for i in missing:
            after = f" after {declared[i - 1].label}" if i else " first"
            place = next((s for s in empty if s.label == declared[i].label), None)
            where = f"nothing at PTX line {place.region.line}" if place else "nothing there"
            yield (
                f"site {declared[i].label}: declared {_text(declared[i].instructions)}{after}, "
                f"compiled {where}"
            )
        for j in extra:
            after = f" after {compiled[j - 1].label}" if j else " first"
            yield (
                f"site {compiled[j].label}: declared nothing{after}, "
                f"compiled {_located_text(compiled[j].found)}"
            )
    for first, second in pairwise(matched):
        # Sites of one program follow each other: they may not be branches of one condition.
        if not code.reaches(first.region.line, second.region.line):
            yield (
                f"site {second.label}: declared after {first.label}, compiled where no path leads "
                f"from PTX line {first.region.line} to line {second.region.line}"
            )


def _instruction_differences(code: Code, step: Step, site: _Site) -> Iterator[str]:
    declared = _collapsed(step.instructions) if step.repeats else list(step.instructions)
    found = [replace(each, instruction=_in_words_of_steps(each.instruction)) for each in site.found]
    if step.repeats:
        found = [*found[:1], *(b for a, b in pairwise(found) if not _repeated(a, b))]
    if step.branches:
        found = _at_their_places(declared, found)
    compiled = [each.instruction for each in found]
    in_place = len(declared) == len(compiled)
    for missing, extra, _ in (_in_place if in_place else _aligned)(declared, compiled):
        if missing or extra:
            yield (
                f"site {step.label}: declared {_text([declared[i] for i in missing])}, "
                f"compiled {_located_text([found[j] for j in extra], site.region)}"
            )
    for first, second in pairwise(found):
        ordered = code.reaches(first.line, second.line)
        if step.branches:
            ordered = ordered or code.reaches(second.line, first.line)
        if ordered == step.branches:
            together = "on branches of one condition" if step.branches else "one behind the other"
            yield (
                f"site {step.label}: declared {first.instruction} and {second.instruction} "
                f"{together}, compiled otherwise at PTX lines {first.line} and {second.line}"
            )


def _at_their_places(declared: Sequence[Instruction], found: list[Located]) -> list[Located]:
    """`found` in the declared order as far as it is declared, the others where there is room."""
    others = list(found)
    placed: list[Located | None] = []
    for instruction in declared:
        place = next((each for each in others if each.instruction == instruction), None)
        placed.append(place)
        if place is not None:
            others.remove(place)
    filled = [others.pop(0) if each is None and others else each for each in placed]
    return [*(each for each in filled if each is not None), *others]


def _in_words_of_steps(instruction: Instruction) -> Instruction:
    """An access as a declaration names it.

    cuda::atomic_ref compiles to generic addresses; the sites' own accesses are to global memory,
    and those to shared memory always say so.
    """
    if instruction.kind in _ADDRESSED and instruction.space is Space.ANY:
        return replace(instruction, space=Space.GLOBAL)
    return instruction


def _repeated(before: Located, after: Located) -> bool:
    return before.instruction == after.instruction and after.instruction.kind in _DATA


def _collapsed(instructions: Sequence[Instruction]) -> list[Instruction]:
    """Runs of one data access as a single one."""
    later = (b for a, b in pairwise(instructions) if a != b or b.kind not in _DATA)
    return [*instructions[:1], *later]


def _harness_differences(code: Code, harness: Harness) -> Iterator[str]:
    """Regions of the harness hold what their rule allows, and what it needs is there."""
    present: dict[str, set[Instruction]] = {region.site: set() for region, _ in code.regions}
    for found in code.instructions:
        if found.region is None or found.region.site not in harness.rules:
            continue
        present[found.region.site].add(found.instruction)
        rule = harness.rules[found.region.site]
        if found.instruction not in rule.allowed:
            yield (
                f"site {found.region.site}: declared {_text(sorted(rule.allowed, key=str))}, "
                f"compiled {_located_text([found])}"
            )
    for label, rule in harness.rules.items():
        for instruction in sorted(rule.needed, key=str):
            if label in present and instruction not in present[label]:
                yield f"site {label}: declared {instruction}, compiled to code without it"


def _position_differences(code: Code, sites: Sequence[_Site], harness: Harness) -> Iterator[str]:
    """What orders in the harness stands before or behind a hand-over, never inside it."""
    for found in code.instructions:
        if (
            found.region is None
            or found.region.site not in harness.rules
            or not orders(found.instruction)
        ):
            continue
        before = [site for site in sites if code.reaches(site.region.line, found.line)]
        behind = [site for site in sites if code.reaches(found.line, site.region.line)]
        if before and behind and (before[-1].label, behind[0].label) not in harness.turns:
            yield (
                f"site {found.region.site}: declared outside the hand-over, compiled "
                f"{_located_text([found])}, between {before[-1].label} and {behind[0].label}"
            )


def _outside_differences(code: Code) -> Iterator[str]:
    for found in code.instructions:
        if found.region is None and found.instruction not in BOOKKEEPING_OUTSIDE:
            yield f"outside every site: declared nothing, compiled {_located_text([found])}"


def _in_place(declared: Sequence[object], compiled: Sequence[object]) -> Iterator[_Run]:
    """As `_aligned` for two of one length: each against the one at its own place."""
    for i, (one, other) in enumerate(zip(declared, compiled, strict=True)):
        yield ([], [], [(i, i)]) if one == other else ([i], [i], [])


def _aligned(declared: Sequence[object], compiled: Sequence[object]) -> Iterator[_Run]:
    """Indices that are missing, extra, or pairs that agree, in runs."""
    matcher = SequenceMatcher(None, declared, compiled, autojunk=False)
    for tag, i, i_end, j, j_end in matcher.get_opcodes():
        if tag == "equal":
            yield [], [], list(zip(range(i, i_end), range(j, j_end), strict=True))
        else:
            yield list(range(i, i_end)), list(range(j, j_end)), []


def _text(instructions: Sequence[Instruction]) -> str:
    return ", ".join(str(each) for each in instructions) or "nothing"


def _located_text(found: Sequence[Located], region: Region | None = None) -> str:
    if not found:
        return f"nothing at PTX line {region.line}" if region else "nothing"
    return ", ".join(f"{each.instruction} at PTX line {each.line}" for each in found)


def _steps_text(steps: Sequence[Step]) -> str:
    return "; ".join(f"{s.label}: {_text(s.instructions)}" for s in steps if s.instructions)


def _skeleton(steps: Sequence[Step], sites: Sequence[_Site]) -> Skeleton:
    repeating = {step.label for step in steps if step.repeats}
    skeleton: Skeleton = []
    for site in sites:
        instructions = [found.instruction for found in site.found]
        shown = _collapsed(instructions) if site.label in repeating else instructions
        if shown:
            skeleton.append((site.label, [str(each) for each in shown]))
    return skeleton
