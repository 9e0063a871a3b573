"""Can the poll of a variant fail for ever, and what would it wait for?"""

from __future__ import annotations

from dataclasses import replace

from sbo_verify.model.hand_over import queries
from sbo_verify.model.liveness import Liveness, liveness_of
from sbo_verify.model.search import Budget
from sbo_verify.protocols.signal_publish.sites import Poll, SignalPublish, Test


def poll_answer(
    variant: SignalPublish,
    *,
    producers: int = 1,
    leftover: int = 0,
    budget: Budget | None = None,
) -> Liveness:
    """Can the variant's poll fail for ever, with `producers` CTAs that add to the signal?

    `leftover` is what the signal holds before the round: 0 where it was zeroed. A flag that is
    reused without a reset holds its threshold instead, whatever is given.
    """
    if variant.poll is Poll.NONE:
        return Liveness(may_last_for_ever=False, reasons=[], complete=True)
    answers = []
    for query in queries(variant, producers=producers):
        program = query.program
        if variant.test is not Test.EQUAL_REUSED:
            initial = program.initial | {query.signal: leftover}
            program = replace(program, initial=initial)
        answers.append(liveness_of(program, budget))
    reasons = list(dict.fromkeys(reason for each in answers for reason in each.reasons))
    complete = all(each.complete for each in answers)
    known = {
        name: _any_of([each.readings[name] for each in answers]) for name in answers[0].readings
    }
    return Liveness(bool(reasons), reasons, complete, known)


def _any_of(answers: list[bool | None]) -> bool | None:
    """True where one is, None where none is and one is unknown."""
    if True in answers:
        return True
    return None if None in answers else False
