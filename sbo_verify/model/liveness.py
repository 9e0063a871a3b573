"""Can a program go on for ever? The other question, beside that of a stale read.

A spin loop goes on for ever where one of its turns can be repeated with nothing changed: what it
reads is never overwritten by a write that it must see in the end (`readings.Progress`). A barrier
waits for ever where the arrivals that complete it never come. So the executions to look for are
finite: every thread has ended, repeats its last turn, or waits; and one at least has not ended.

Doubt: a fence.sc that is repeated comes after every other one; where two loops repeat one each,
their turns are not interleaved further, which can only add an answer "for ever".
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from sbo_verify.model import axioms
from sbo_verify.model.coherence import choose_under
from sbo_verify.model.condition import Both
from sbo_verify.model.gaps import POLL_NEVER_SEES
from sbo_verify.model.program import (
    Barrier,
    Branch,
    Instruction,
    Label,
    MbarrierWait,
    Program,
    Require,
)
from sbo_verify.model.readings import DEFAULT, Progress, Reading, varied
from sbo_verify.model.relation import Relation, bits
from sbo_verify.model.search import Budget, BudgetSpentError, Meter, Search, Witness
from sbo_verify.model.trace import Trace


@dataclass(frozen=True, slots=True)
class Liveness:
    """`may_last_for_ever`, why in sentences, and whether the search behind it was complete.

    Without a reason and without completeness nothing is known. `readings` maps every reading of
    `progress` to its answer, None where that is unknown.
    """

    may_last_for_ever: bool
    reasons: list[str]
    complete: bool
    readings: dict[str, bool | None] = field(default_factory=dict)

    @property
    def known(self) -> bool | None:
        """The answer, or None where the search was cut off before it found one."""
        return True if self.may_last_for_ever else (False if self.complete else None)


def liveness_of(program: Program, budget: Budget | None = None) -> Liveness:
    """Can some thread of the program never end? Under every reading of `progress`."""
    if not any(_may_stay(thread.instructions) for thread in program.threads):
        known: dict[str, bool | None] = {
            reading.named(("progress",)): False for reading in varied(("progress",))
        }
        return Liveness(may_last_for_ever=False, reasons=[], complete=True, readings=known)
    answers = {
        reading: _under(program, reading, budget or Budget()) for reading in varied(("progress",))
    }
    known = {reading.named(("progress",)): each.known for reading, each in answers.items()}
    first = answers[DEFAULT]
    return Liveness(first.may_last_for_ever, first.reasons, first.complete, known)


def _may_stay(instructions: Sequence[Instruction]) -> bool:
    """Is there anything that a thread can stay at: a loop, a spin, a wait at a barrier?"""
    seen: set[str] = set()
    for instruction in instructions:
        if isinstance(instruction, Label):
            seen.add(instruction.name)
        if isinstance(instruction, Require | MbarrierWait):
            return True
        if isinstance(instruction, Barrier) and instruction.arrival[1]:
            return True
        if isinstance(instruction, Branch) and instruction.label in seen:
            return True
    return False


def _under(program: Program, reading: Reading, budget: Budget) -> Liveness:
    rules: dict[str, axioms.Axiom] = {
        **axioms.AXIOMS,
        "Progress": partial(progress_axiom, reading.progress),
    }
    search = Search(
        program,
        Both(()),
        reading,
        Meter(budget, time.perf_counter()),
        choose=partial(choose_under, rules),
        endless=True,
    )
    reasons: list[str] = []
    try:
        paths = search.paths()
        for one in range(len(paths)):
            for traces in _by_place(paths[one]):
                waits = traces[0].blocked
                # Who waits for a thread that spins is no reason of its own.
                others = [[t for t in each if not (waits and t.spin)] for each in paths]
                others[one] = traces
                found = next(search.along(others), None)
                if found is not None:
                    reasons += _waits_for_ever(found, one) if waits else _spins_on(found, one)
    except BudgetSpentError:
        search.incomplete = True
    unique = list(dict.fromkeys(reasons))
    return Liveness(bool(unique), unique, not search.incomplete)


def _by_place(traces: list[Trace]) -> Iterator[list[Trace]]:
    """The paths without end, those that stay at one place together."""
    places: dict[object, list[Trace]] = {}
    for trace in traces:
        if trace.blocked:
            places.setdefault(trace.events[-1].step, []).append(trace)
        elif trace.spin is not None:
            places.setdefault(trace.spin.place, []).append(trace)
    yield from places.values()


def progress_axiom(progress: Progress, o: axioms.Orders, coherence: Relation) -> bool:
    """Progress: no repeated read misses for ever a write that it must see in the end.

    The repeated fences with `.sc` come after those that are executed once.
    """
    s = o.skeleton
    once = ~s.repeated
    missed = axioms.from_reads(o.candidate, coherence).within(s.repeated, once)
    must_be_seen = o.patterns.morally_strong
    if progress is Progress.STRONG:
        must_be_seen = must_be_seen | (s.both_strong & s.same_memory)
    return not (missed & must_be_seen) and not o.candidate.fence_order.within(s.repeated, once)


def _spins_on(witness: Witness, thread: int) -> list[str]:
    """What the thread's repeated reads see, and why no other write ends that."""
    s, x = witness.orders.skeleton, witness.orders.candidate
    name = s.program.threads[thread].name
    missed = axioms.from_reads(x, witness.coherence)
    reasons = []
    for read in bits(s.repeated & s.reads):
        event = s.events[read]
        if event.thread != thread or event.location is None:
            continue
        later = [w for w in bits(missed.rows[read]) if not s.repeated >> w & 1]
        if not later:
            reasons.append(
                f"{event.location.memory} can stay at {x.values[read]}, which {event.text!r} of "
                f"{name} then reads for ever"
            )
        reasons += [
            POLL_NEVER_SEES.sentence.format(
                poll=f"{event.text!r} of {name}", write=repr(s.events[w].text)
            )
            for w in later
        ]
    return reasons or [f"nothing that {name} repeats can end its loop"]


def _waits_for_ever(witness: Witness, thread: int) -> list[str]:
    s = witness.orders.skeleton
    offset, trace = s.threads[thread]
    waiting = s.events[offset + len(trace.events) - 1]
    name = s.program.threads[thread].name
    return [f"{name} can wait for ever at {waiting.text!r}: too few arrive there"]
