"""Threads that can change places: of executions that differ in nothing else, one is enough.

N producers that add to one signal do so in N! orders. Where they run the same code, each alone in a
CTA of one GPU, exchanging two of them turns an execution into another that is allowed as much and
ends in the same condition, as long as that asks of no register of theirs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from sbo_verify.model.condition import Condition, RegisterOf, terms
from sbo_verify.model.program import Program
from sbo_verify.model.trace import Trace

Groups = tuple[tuple[int, ...], ...]


def interchangeable(program: Program, condition: Condition) -> Groups:
    """The groups of threads, by index, whose members can change places; two or more in each."""
    asked = {term.thread for term in terms(condition) if isinstance(term, RegisterOf)}
    in_cta = Counter(thread.placement.cta_name for thread in program.threads)
    in_cluster = Counter((t.placement.gpu, t.placement.cluster) for t in program.threads)
    groups: dict[object, list[int]] = {}
    for index, thread in enumerate(program.threads):
        place = thread.placement
        alone = in_cta[place.cta_name] == 1
        if place.cluster is not None:
            alone &= in_cluster[place.gpu, place.cluster] == 1
        if alone and index not in asked:
            key = (place.gpu, thread.instructions, thread.registers)
            groups.setdefault(key, []).append(index)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def first_of_its_kind(groups: Groups, traces: Sequence[Trace]) -> bool:
    """Do the members of every group follow paths in ascending order? One arrangement of them does.

    Paths that are the same, values included, can stand in any order; all of those are kept.
    """
    for group in groups:
        keys = [_key(traces[index]) for index in group]
        if any(one > two for one, two in pairwise(keys)):
            return False
    return True


def _key(trace: Trace) -> tuple[str, tuple[int, ...]]:
    values = tuple(event.value for event in trace.events if event.value is not None)
    return (repr(trace.path), values)
