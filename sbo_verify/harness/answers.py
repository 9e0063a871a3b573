"""The open questions of a protocol, answered: by the model now, by silicon as it was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sbo_verify.model import judge, single_changes
from sbo_verify.model.steps import Edge
from sbo_verify.protocol import Protocol, Question, Row
from sbo_verify.record import RowVerdict
from sbo_verify.verdict import ModelVerdict, SiliconVerdict


@dataclass(frozen=True, kw_only=True)
class RowAnswer:
    """One row in the setting of a question. `silicon` has the verdict of each run that tried it.

    `mending` are the changes of a single site after which a stale read is forbidden.
    """

    row: Row
    model: ModelVerdict
    readings: dict[str, str]
    missing: list[str]
    mending: list[str]
    chain: list[Edge]
    silicon: tuple[RowVerdict | None, ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A question with its rows; `enough` are those that decide it."""

    question: Question
    enough: list[RowAnswer]
    beside: list[RowAnswer]

    @property
    def yes(self) -> bool | None:
        """True where every deciding row is Forbidden, False where none is, None where some are."""
        forbidden = [each.model is ModelVerdict.FORBIDDEN for each in self.enough]
        if all(forbidden):
            return True
        return None if any(forbidden) else False


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Every question with its answer, and the rows that were taken from code in use."""

    questions: list[Answer]
    cases: list[RowAnswer]


def answers(protocol: Protocol, recorded: Sequence[Sequence[RowVerdict]]) -> Answers:
    """All answers of the protocol; `recorded` are the verdicts of each run that is quoted."""
    runs = [
        {each.row: each for each in verdicts if each.silicon != SiliconVerdict.NOT_RUN}
        for verdicts in recorded
    ]

    def row(name: str, question: Question | None, *, decides: bool) -> RowAnswer:
        silicon = tuple(run.get(name) for run in runs)
        return _row_answer(protocol, name, silicon, question, decides=decides)

    found = [
        Answer(
            question=question,
            enough=[row(name, question, decides=True) for name in question.enough],
            beside=[row(name, question, decides=False) for name in question.beside],
        )
        for question in protocol.questions
    ]
    return Answers(
        questions=found, cases=[row(name, None, decides=True) for name in protocol.cases]
    )


def _row_answer(
    protocol: Protocol,
    name: str,
    silicon: tuple[RowVerdict | None, ...],
    question: Question | None,
    *,
    decides: bool,
) -> RowAnswer:
    """The row in the setting of the question, or as it stands; only what decides is mended."""
    row = protocol.row(name)
    producers = 1 if question is None else question.producers
    elsewhere = question is not None and question.on_another_gpu
    given = judge(protocol.name, row.variant, producers=producers, consumer_gpu=int(elsewhere))
    as_it_stands = producers == 1 and not elsewhere
    mends = decides and as_it_stands and given.verdict is ModelVerdict.ALLOWED
    return RowAnswer(
        row=row,
        model=given.verdict,
        readings={n: word for n, word in given.readings.items() if word != given.verdict},
        missing=given.missing,
        mending=_mending(row) if mends else [],
        chain=next(iter(given.chains.values()), []),
        silicon=silicon if as_it_stands else (None,) * len(silicon),
    )


def _mending(row: Row) -> list[str]:
    changes = single_changes(row.variant)  # type: ignore[arg-type]  # judged before, so of its type
    return [change for change, verdict in changes.items() if verdict is ModelVerdict.FORBIDDEN]
