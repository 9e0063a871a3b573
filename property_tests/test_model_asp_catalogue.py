"""The second engine gives every question about every variant the answer that the model gives.

Random programs say that the engines agree in general; this says it of the verdicts themselves.
"""

from __future__ import annotations

import pytest
from asp_engine import outcomes

from sbo_verify.model.condition import evaluate, terms
from sbo_verify.model.hand_over import queries
from sbo_verify.model.query import Query
from sbo_verify.model.readings import AsyncFence, Reading
from sbo_verify.model.search import find
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.protocols.signal_publish.sites import SignalPublish


def stale_by_logic(query: Query) -> dict[AsyncFence, bool]:
    """Is the stale read of the question allowed, under each reading?"""
    condition = query.program.condition
    answer = outcomes(query.program, dict.fromkeys(terms(condition)))
    return {
        reading: any(evaluate(condition, dict(zip(answer.terms, end, strict=True))) for end in ends)
        for reading, ends in answer.outcomes.items()
    }


def stale_by_search(query: Query) -> dict[AsyncFence, bool]:
    """The same by the model's search."""
    found = {}
    for reading in AsyncFence:
        outcome = find(query.program, query.program.condition, reading=Reading(async_fence=reading))
        assert outcome.complete
        found[reading] = outcome.witness is not None
    return found


@pytest.mark.parametrize("producers", [1, 2])
def test_both_engines_answer_every_question_about_the_catalogue_alike(producers: int) -> None:
    answers = []
    for row in SIGNAL_PUBLISH:
        assert isinstance(row.variant, SignalPublish)
        for query in queries(row.variant, producers=producers):
            answer = stale_by_logic(query)
            assert answer == stale_by_search(query), (row.name, query.name)
            answers.append(answer)
    # With one verdict alone the agreement would mean little.
    strict = [answer[AsyncFence.STRICT] for answer in answers]
    assert strict.count(True) > 10
    assert strict.count(False) > 10
    assert any(answer[AsyncFence.STRICT] != answer[AsyncFence.LENIENT] for answer in answers)
