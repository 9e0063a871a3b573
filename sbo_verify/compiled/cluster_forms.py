"""The two forms of a cluster barrier in machine code: with clusters, and for a launch without them.

ptxas cannot know how a kernel is launched, so that each half of the barrier asks at run time: the
arrival is `UCGABAR_ARV` or nothing, the wait is `UCGABAR_WAIT` or a `BAR.SYNC`: where a cluster
is one CTA, its barrier is the CTA's. No launch takes one half in one form and the other half in the
other, so that the forms are read one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sbo_verify.compiled.flow import Code
from sbo_verify.compiled.lowering import CTA_BARRIER, Word, needed
from sbo_verify.compiled.sass import UNIT_BYTES, SassFunction, SassInstruction
from sbo_verify.compiled.sass_flow import SassFlow, read_flow, successors
from sbo_verify.vocabulary import Instruction, Kind

_HALVES = {Kind.CLUSTER_ARRIVE, Kind.CLUSTER_WAIT}
Way = tuple[int, int]


@dataclass(frozen=True)
class Form:
    """The ways of one kind of launch; `clustered` where the barrier's own words are taken."""

    flow: SassFlow
    clustered: bool

    def needed(self, instruction: Instruction) -> tuple[Word, ...] | None:
        """The words of an instruction in this form; () where it needs none, None where unknown."""
        if self.clustered or instruction.kind not in _HALVES:
            return needed(instruction)
        return () if instruction.kind is Kind.CLUSTER_ARRIVE else (CTA_BARRIER,)


def cluster_forms(code: Code, function: SassFunction, flow: SassFlow) -> Iterator[Form]:
    """The forms of a function; one where it does not ask how it was launched.

    A branch made from a line of a cluster barrier is that question where one of its ways has the
    barrier's own word and the other has none; in any other shape it is no question, both its ways
    stay, and that one leads round the barrier is found.
    """
    lines = {found.line for found in code.instructions if found.instruction.kind in _HALVES}
    with_clusters: set[Way] = set()
    without: set[Way] = set()
    after = successors(function)
    for index, each in enumerate(function.instructions):
        ways = after[index]
        if each.ptx_line not in lines or each.words[0] != "BRA" or len(ways) == 1:
            continue
        own, other = (_has_word(function, after, way, each) for way in ways)
        if own and not other:
            place = each.address
            with_clusters.add((place, ways[0] * UNIT_BYTES))
            without.add((place, ways[1] * UNIT_BYTES))
    if not with_clusters:
        yield Form(flow, clustered=True)
        return
    yield Form(read_flow(function, cut=without), clustered=True)
    yield Form(read_flow(function, cut=with_clusters), clustered=False)


def _has_word(
    function: SassFunction, after: list[list[int]], start: int, branch: SassInstruction
) -> bool:
    """Whether a straight way from `start`, of one line, has a word of the barrier's own."""
    index = start
    while function.instructions[index].ptx_line == branch.ptx_line:
        if function.instructions[index].words[0].startswith("UCGABAR"):
            return True
        if len(after[index]) != 1:
            return False
        (index,) = after[index]
    return False
