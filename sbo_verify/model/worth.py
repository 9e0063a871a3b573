"""What a litmus test is worth: can it tell one model from another?

A test is vacuous when no choice of values reaches the state asked for, whatever the model. It is
allowed under sequential consistency when some interleaving of the threads reaches it: then it says
nothing about weak memory.
"""

from __future__ import annotations

from dataclasses import dataclass

from sbo_verify.model import axioms
from sbo_verify.model.coherence import Chosen, final_values, join, linearized, memories
from sbo_verify.model.condition import Condition, Known, MemoryAt
from sbo_verify.model.program import Program
from sbo_verify.model.relation import Relation
from sbo_verify.model.search import find, goal


@dataclass(frozen=True, slots=True)
class Worth:
    """`vacuous`: no execution of any model reaches the state; `interleaved`: one under SC does."""

    vacuous: bool
    interleaved: bool


def worth(program: Program) -> Worth:
    """What the program's condition can tell."""
    reachable = find(program, goal(program), choose=choose_anything).witness is not None
    interleaved = find(program, goal(program), choose=choose_interleaving).witness is not None
    return Worth(vacuous=not reachable, interleaved=interleaved)


def choose_anything(orders: axioms.Orders, condition: Condition, known: Known) -> Chosen | None:
    """No axiom at all: any write may be the last of its memory."""
    nothing = Relation.empty(orders.skeleton.size)
    choices: list[list[Chosen]] = [
        [(nothing, {MemoryAt(memory): value}) for _, value in ends]
        for memory in memories(orders)
        for ends in [final_values(orders, memory, nothing)]
    ]
    return join(choices, nothing, condition, known)


def choose_interleaving(orders: axioms.Orders, condition: Condition, known: Known) -> Chosen | None:
    """Sequential consistency: one order of all events, in which every read sees the last write.

    Barriers and completion order as they do in the model; proxies and scopes mean nothing.
    """
    s, x = orders.skeleton, orders.candidate
    nothing = Relation.empty(s.size)
    # Threads that meet at a barrier pass it at one moment: what is before is before for each.
    base = (s.program_order | s.completion | s.issue | x.meetings).closure()
    base -= base.inverse()
    choices: list[list[Chosen]] = []
    for memory in memories(orders):
        writers = s.writers(memory)
        mask = sum(1 << write for write in writers)
        first = s.initial_first.within(mask, mask)
        pairs = [(a, b) for a in writers for b in writers if a < b]
        options: list[Chosen] = []
        for coherence in linearized(first, pairs):
            [(_, value)] = final_values(orders, memory, coherence)
            options.append((coherence, {MemoryAt(memory): value}))
        choices.append(options)

    def interleaved(chosen: Chosen) -> bool:
        from_reads = axioms.from_reads(x, chosen[0])
        if from_reads.then(chosen[0]) & s.atomics:
            return False  # an atomic is one step of an interleaving
        return (base | x.reads_from | chosen[0] | from_reads).acyclic()

    return join(choices, nothing, condition, known, interleaved)
