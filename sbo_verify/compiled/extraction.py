"""The steps of a hand-over as the compiled PTX has them, with no look at what was declared.

For every site marker the ordering instructions that stand there, in the order in which a thread
meets them: what the memory model is to be asked about. What a list of steps cannot say is a doubt,
and a program with a doubt is not judged: an instruction that a path leaves out although a later one
runs, one with a predicate, one that orders between two sites, one with no word.

Taken from the markers: that an access in a site goes to that site's memory, the tile or the signal.
Read beside the steps: which threads come to a site, as far as conditions on %tid.x say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from sbo_verify.compiled.flow import Code, Located, Region, read
from sbo_verify.compiled.harness_rules import (
    BOOKKEEPING_ANYWHERE,
    BOOKKEEPING_OUTSIDE,
    Harness,
    orders,
)
from sbo_verify.compiled.ptx import PtxError
from sbo_verify.protocol import Step
from sbo_verify.vocabulary import Instruction, Kind, Space, UnknownInstructionError

PRODUCER, CONSUMER, MATH = "producer", "consumer", "math"
SIDES = (PRODUCER, CONSUMER, MATH)
# The harness's region in which the tile is written to shared memory: a step of the program, too.
FILL_REGION = "harness.fill"
FILL = "fill"
# One after the other, as the threads that multiply have them.
SOURCE = (FILL, "source_fence", "source_join")

_COPIES = {Kind.BULK_STORE, Kind.TENSOR_STORE, Kind.BULK_LOAD, Kind.TENSOR_LOAD}
_ACCESSES = {Kind.LOAD, Kind.LOAD_NC, Kind.STORE, Kind.ATOM, Kind.RED}
# What a thread does for the copy that it issues itself; others go on to the wait.
_OF_THE_ISSUER = {Kind.PROXY_FENCE, Kind.MBARRIER_EXPECT}
# Sites in which one access of the source may have become several.
_UNROLLED = {FILL, "store", "poll", "read"}
# Sites that every thread of its program comes to, so that none may pass them by.
_OF_ALL_THREADS = {"source_fence", "source_join", "join", "fan_out"}


@dataclass(frozen=True, slots=True)
class Extracted:
    """The steps in program order, producer first, and why they may not be the whole program.

    `ranks` maps a site's label to the threads that come to it, counted from the first that stores
    or takes over, where conditions on %tid.x alone tell them apart.
    """

    steps: tuple[Step, ...]
    doubts: tuple[str, ...]
    ranks: Mapping[str, frozenset[int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Site:
    """A site as compiled: its region and the instructions that stand directly in it."""

    side: str
    name: str
    region: Region
    found: tuple[Located, ...]


def read_steps(ptx: str, harness: Harness) -> Extracted:
    """The steps of the only kernel in `ptx`; `harness` says which regions are no sites.

    Of the GEMM's two programs, the multiplying threads' and the storing threads', one is made: the
    barrier between them is the source's join in both. PTX that cannot be read has no steps.
    """
    try:
        code = read(ptx)
    except (PtxError, UnknownInstructionError) as error:
        return Extracted((), (f"the PTX cannot be read: {error}",))
    doubts: list[str] = []
    sites = _sites(code, harness, doubts)
    doubts += _strays(code, sites, harness)
    doubts += [each for site in sites for each in _skipped(code, site)]
    doubts += _passed_by(code, sites)
    doubts += _undrained(code, sites)
    doubts += _joined(code, sites)
    steps = [_step(code, site) for site in sites]
    program = tuple(_one_producer(steps, doubts))
    return Extracted(program, tuple(dict.fromkeys(doubts)), _ranks(code, sites))


def _ranks(code: Code, sites: Sequence[_Site]) -> dict[str, frozenset[int]]:
    """Rank 0 stores, and is the first of those that take over."""
    ranks: dict[str, frozenset[int]] = {}
    for side, reference in ((PRODUCER, "store"), (CONSUMER, "fan_out")):
        mine = [(site, code.threads(site.region.line)) for site in sites if site.side == side]
        first = min(
            (min(those) for site, those in mine if site.name == reference and those), default=0
        )
        for site, those in mine:
            if those is not None:
                label = f"{side}.{site.name}"
                shifted = frozenset(thread - first for thread in those)
                ranks[label] = ranks.get(label, frozenset()) | shifted
    return ranks


def _sites(code: Code, harness: Harness, doubts: list[str]) -> list[_Site]:
    inside: dict[Region, list[Located]] = {}
    for found in code.instructions:
        if found.region is not None and found.instruction not in BOOKKEEPING_ANYWHERE:
            inside.setdefault(found.region, []).append(found)
    sites: list[_Site] = []
    fills_in_math = any(region.site.startswith(MATH) for region, _ in code.regions)
    for region, around in code.regions:
        side, _, name = region.site.partition(".")
        if region.site == FILL_REGION:
            side, name = MATH if fills_in_math else PRODUCER, FILL
        elif region.site in harness.rules:
            continue
        elif side not in SIDES:
            doubts.append(f"PTX line {region.line}: {region.site} is no site of a hand-over")
            continue
        if any(each.site not in harness.rules for each in around):
            doubts.append(f"PTX line {region.line}: {region.site} stands inside another site")
        sites.append(_Site(side, name, region, tuple(inside.get(region, ()))))
    return sites


def _strays(code: Code, sites: Sequence[_Site], harness: Harness) -> Iterator[str]:
    """Instructions outside the sites that take part in a hand-over none the less."""
    for found in code.instructions:
        if found.region is None:
            if found.instruction not in BOOKKEEPING_OUTSIDE:
                yield f"{_at(found)} stands outside every site"
        elif found.region.site in harness.rules and orders(found.instruction):
            before = [s for s in sites if code.reaches(s.region.line, found.line)]
            behind = [s for s in sites if code.reaches(found.line, s.region.line)]
            ends = (before[-1].region.site, behind[0].region.site) if before and behind else None
            if ends is not None and not _between_turns(ends, harness):
                yield f"{_at(found)}, of {found.region.site}, orders {ends[0]} and {ends[1]}"


def _between_turns(ends: tuple[str, str], harness: Harness) -> bool:
    """Whether one hand-over is at its end there and the next one's tile not yet written."""
    return ends in harness.turns or (
        ends[1] == FILL_REGION and any(ends[0] == last for last, _ in harness.turns)
    )


def _skipped(code: Code, site: _Site) -> Iterator[str]:
    """Instructions of one site that a path leaves out although a later one of the site runs.

    An ordering instruction with nothing behind it must be on every path through the site. Accesses
    may be left out, with what follows from it for the model: a poll's later loads are those behind
    a first look that failed, so that the first must be on every path.
    """
    loads = [found for found in site.found if found.instruction.kind is Kind.LOAD]
    polls = loads[:1] if site.name == "poll" else []
    for place, found in enumerate(site.found):
        kind = found.instruction.kind
        if (kind in _ACCESSES or kind in _COPIES) and found not in polls:
            continue
        if found.predicate:
            yield f"{_at(found)} has the predicate {found.predicate}"
        later = [each.line for each in site.found[place + 1 :]]
        if kind in _OF_THE_ISSUER:
            copies = [e.line for e in site.found[place + 1 :] if e.instruction.kind in _COPIES]
            later = copies or later
        if found in polls:
            later += code.ends(site.region)
        for line in later or code.ends(site.region):
            if line != found.line and not code.dominates(found.line, line):
                yield f"{_at(found)} is left out on a path through {site.region.site}"
                break


def _passed_by(code: Code, sites: Sequence[_Site]) -> Iterator[str]:
    """Sites of all threads that a path to the next site goes round."""
    for place, site in enumerate(sites):
        if site.name not in _OF_ALL_THREADS or not site.found:
            continue
        behind = [s for s in sites[place + 1 :] if code.reaches(site.region.line, s.region.line)]
        needed = [*behind[:1], *[s for s in behind if s.name in {"store", "publish", "read"}][:1]]
        for other in dict.fromkeys(needed):
            if not code.dominates(site.region.line, other.region.line):
                yield (
                    f"PTX line {other.region.line}: a path leads to {other.region.site} that does "
                    f"not pass {site.region.site} (line {site.region.line})"
                )


def _undrained(code: Code, sites: Sequence[_Site]) -> Iterator[str]:
    """Waits that a thread which has stored goes round on its way to the next site."""
    for place, site in enumerate(sites):
        if site.name not in {"drain", "flush"} or not site.found:
            continue
        line = site.region.line
        stores = [
            s for s in sites[:place] if s.name == "store" and code.reaches(s.region.line, line)
        ]
        behind = [s for s in sites[place + 1 :] if code.reaches(line, s.region.line)]
        if stores and behind and code.bypasses(stores[-1].region.line, line, behind[0].region.line):
            yield (
                f"PTX line {line}: a thread that has stored can go to {behind[0].region.site} "
                f"and not pass {site.region.site}"
            )


def _joined(code: Code, sites: Sequence[_Site]) -> Iterator[str]:
    """The two ends in one program although one of them polls, or in two although none is to."""
    polls = any(site.name == "poll" and site.found for site in sites)
    is_to_poll = any(site.name == "poll" for site in sites)
    makers = [site for site in sites if site.side != CONSUMER]
    takers = [site for site in sites if site.side == CONSUMER]
    for one in makers:
        for other in takers:
            lines = one.region.line, other.region.line
            behind = code.reaches(*lines)
            if polls and (behind or code.reaches(*reversed(lines))):
                yield f"PTX lines {lines[0]} and {lines[1]}: one thread hands over and polls"
            elif not is_to_poll and not behind:
                yield f"PTX lines {lines[0]} and {lines[1]}: nobody polls, and no path leads on"


def _step(code: Code, site: _Site) -> Step:
    found = [_in_words_of_steps(each.instruction) for each in site.found]
    if site.name in _UNROLLED:
        accesses = _ACCESSES | _COPIES
        later = (b for a, b in pairwise(found) if a != b or b.kind not in accesses)
        found = [*found[:1], *later]
    branches = site.name == "fan_out" and _on_branches(code, site.found)
    if branches:
        # The thread that polled stores the flag, the others load it.
        found.sort(key=lambda each: each.kind is not Kind.STORE)
    return Step(side=site.side, site=site.name, instructions=tuple(found), branches=branches)


def _on_branches(code: Code, found: Sequence[Located]) -> bool:
    apart = [(a, b) for a in found for b in found if a.line < b.line]
    return bool(apart) and not any(
        code.reaches(a.line, b.line) or code.reaches(b.line, a.line) for a, b in apart
    )


def _in_words_of_steps(instruction: Instruction) -> Instruction:
    """An access as a declaration names it.

    One with a generic address, as cuda::atomic_ref has it, is to global memory: those to shared
    memory always say so.
    """
    if instruction.kind in _ACCESSES and instruction.space is Space.ANY:
        return replace(instruction, space=Space.GLOBAL)
    return instruction


def _one_producer(steps: list[Step], doubts: list[str]) -> list[Step]:
    """Producer's steps, then the consumer's; the multiplying threads' stand before their join."""
    producer, consumer, math = (_merged([s for s in steps if s.side == side]) for side in SIDES)
    if math:
        sites = tuple(step.site for step in math)
        joins = [s for s in producer if s.site == "source_join"]
        if sites != SOURCE or len(joins) != 1:
            doubts.append(
                f"the multiplying threads have {', '.join(sites)}, the storing threads "
                f"{len(joins)} source_join: read are {', '.join(SOURCE)} and one"
            )
        elif joins[0].instructions != math[-1].instructions:
            doubts.append("the multiplying threads' source_join is not the storing threads'")
        else:
            place = producer.index(joins[0])
            producer[place:place] = [replace(step, side=PRODUCER) for step in math[:-1]]
    return [*producer, *consumer]


def _merged(steps: list[Step]) -> list[Step]:
    """The writing of one tile in several regions is one step."""
    later = (b for a, b in pairwise(steps) if not a.site == b.site == FILL)
    return [*steps[:1], *later]


def _at(found: Located) -> str:
    return f"PTX line {found.line}: {found.instruction}"
