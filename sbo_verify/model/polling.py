"""The other question about a hand-over: can the poll fail for ever?

A stale read is about safety and looks at the poll that passes; this is about liveness and looks
at the one that does not. It can go on for ever where the signal ends at a value that the test
refuses, or where nothing says that the value ever reaches the poll.

Doubt: the ISA promises no time by which a write is seen. Read here as: a strong read, repeated,
sees in the end a write that is morally strong with it; a weak read, or one whose scope leaves the
writer out, is promised nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sbo_verify.model.condition import Both, Compare, MemoryAt
from sbo_verify.model.events import Event
from sbo_verify.model.hand_over import Query, queries
from sbo_verify.model.program import Program, Require
from sbo_verify.model.relation import bits
from sbo_verify.model.search import all_witnesses, find
from sbo_verify.protocols.signal_publish.sites import Poll, SignalPublish, Test

# The comparison that says that a test has failed.
FAILS = {"==": "!=", ">=": "<"}


@dataclass(frozen=True, slots=True)
class PollAnswer:
    """`may_fail_for_ever`, why in sentences, and whether the search behind it was complete."""

    may_fail_for_ever: bool
    reasons: list[str]
    complete: bool


def poll_answer(variant: SignalPublish, *, producers: int = 1, leftover: int = 0) -> PollAnswer:
    """Can the variant's poll fail for ever, with `producers` CTAs that add to the signal?

    `leftover` is what the signal holds before the round: 0 where it was zeroed. A flag that is
    reused without a reset holds its threshold instead, whatever is given.
    """
    if variant.poll is Poll.NONE:
        return PollAnswer(may_fail_for_ever=False, reasons=[], complete=True)
    reasons: list[str] = []
    complete = True
    for query in queries(variant, producers=producers):
        if variant.test is not Test.EQUAL_REUSED:
            initial = query.program.initial | {query.signal: leftover}
            program = replace(query.program, initial=initial)
        else:
            program = query.program
        refused, done = _ends_refused(program, query)
        reasons += refused
        complete &= done
        reasons += _unheard(query)
    unique = list(dict.fromkeys(reasons))
    return PollAnswer(bool(unique), unique, complete)


def _ends_refused(program: Program, query: Query) -> tuple[list[str], bool]:
    """Does some execution of the producers leave a value that the test refuses?"""
    passing = _passing(query)
    refused = replace(passing, comparison=FAILS[passing.comparison])
    ends = Compare(MemoryAt(query.signal), refused.comparison, _threshold(refused))
    alone = tuple(thread for thread in program.threads if not _consumes(thread.name))
    outcome = find(replace(program, threads=alone, condition=ends), ends)
    if outcome.witness is None:
        return [], outcome.complete
    value = outcome.witness.final[MemoryAt(query.signal)]
    what = f"{query.signal} can end at {value}, which is not {passing.comparison}"
    return [f"{what} {_threshold(passing)}: the poll never passes"], True


def _unheard(query: Query) -> list[str]:
    """Is every publishing write morally strong with the read that is repeated?"""
    reasons = []
    for witness in all_witnesses(query.program, Both(())):
        s, strong = witness.orders.skeleton, witness.orders.patterns.morally_strong
        repeated = [read for read in bits(s.reads) if _spins(query, s.events[read])]
        for read in repeated:
            for write in s.writers(query.signal):
                if s.events[write].thread >= 0 and (write, read) not in strong:
                    ends = f"{s.events[read].text!r} and {s.events[write].text!r}"
                    reasons.append(
                        f"{ends} are not morally strong: the poll may never see the signal's value"
                    )
        if repeated:
            break  # moral strength is the same in every execution that comes to the spin
    return reasons


def _spins(query: Query, event: Event) -> bool:
    """Is this the read that the spin loop repeats? A first look before the loop is not."""
    thread = query.program.threads[event.thread] if event.thread >= 0 else None
    if thread is None or event.location is None or event.location.memory != query.signal:
        return False
    following = thread.instructions[event.step + 1 : event.step + 2]
    return _consumes(thread.name) and isinstance(next(iter(following), None), Require)


def _passing(query: Query) -> Require:
    """The comparison with which the poll passes."""
    return next(
        instruction
        for thread in query.program.threads
        if _consumes(thread.name)
        for instruction in thread.instructions
        if isinstance(instruction, Require) and instruction.left == "r0"
    )


def _threshold(passing: Require) -> int:
    return passing.right if isinstance(passing.right, int) else 0


def _consumes(name: str) -> bool:
    return name.startswith("consumer")
