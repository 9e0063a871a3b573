"""The open questions of reviews: answered by the model and the record, and by nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sbo_verify.cli import main
from sbo_verify.cli.examination import findings_of
from sbo_verify.harness import answers as answering
from sbo_verify.harness.answers import Answer, Answers, answers
from sbo_verify.model import judge
from sbo_verify.model.hand_over import queries
from sbo_verify.protocol import Question, UnknownNameError
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.protocols.signal_publish.catalogue import PUBLISHED
from sbo_verify.protocols.signal_publish.sites import Place
from sbo_verify.record import MICRO, RowVerdict, Settings
from sbo_verify.report.answers import answers_text, escape_but_code
from sbo_verify.store import Run, runs_below
from sbo_verify.verdict import ModelVerdict

REPORTS = Path(__file__).resolve().parents[1] / "reports"
SOUND, BROKEN, CANARY = "full_wait-atom_release", "read_wait-release", "no_wait-relaxed"
FORBIDDEN, ALLOWED = ModelVerdict.FORBIDDEN, ModelVerdict.ALLOWED


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    """The runs that the committed document quotes: the micro-kernel's, of every variant."""
    found = [Run.open(path) for path in sorted(runs_below(REPORTS), key=lambda path: path.name)]
    whole = [run for run in found if len(run.settings.rows) == len(SIGNAL_PUBLISH.rows)]
    return [run for run in whole if run.settings.kernel == MICRO]


@pytest.fixture(scope="module")
def settings(runs: list[Run]) -> list[Settings]:
    return [run.settings for run in runs]


@pytest.fixture(scope="module")
def recorded(runs: list[Run]) -> list[list[RowVerdict]]:
    return [list(findings_of(run).verdicts) for run in runs]


@pytest.fixture(scope="module")
def found(recorded: list[list[RowVerdict]]) -> Answers:
    return answers(SIGNAL_PUBLISH, recorded)


def test_the_committed_document_is_what_the_command_gives(
    settings: list[Settings], found: Answers
) -> None:
    assert len(settings) == 3
    assert (REPORTS / "answers.md").read_text() == answers_text(found, settings)


def test_an_answer_is_that_of_the_model_in_the_setting_of_the_question(found: Answers) -> None:
    for answer in found.questions:
        question = answer.question
        assert [each.row.name for each in answer.enough] == list(question.enough)
        for each in (*answer.enough, *answer.beside):
            given = judge(
                "signal_publish",
                each.row.variant,
                producers=question.producers,
                consumer_gpu=int(question.on_another_gpu),
            )
            assert each.model is given.verdict


def test_both_answers_are_among_them_and_every_case_in_use_is_listed(found: Answers) -> None:
    """A document that always said yes, or no, would settle nothing."""
    said = [answer.yes for answer in found.questions]
    assert said.count(True) >= 5
    assert said.count(False) >= 5
    assert [each.row.name for each in found.cases] == list(SIGNAL_PUBLISH.cases)


def test_silicon_is_quoted_where_it_tried_that_setting_and_nowhere_else(
    found: Answers, recorded: list[list[RowVerdict]]
) -> None:
    silicon = [{verdict.row: verdict for verdict in run} for run in recorded]
    for answer in found.questions:
        other = answer.question.producers > 1 or answer.question.on_another_gpu
        for each in (*answer.enough, *answer.beside):
            quoted = tuple(None if other else run[each.row.name] for run in silicon)
            assert each.silicon == quoted


def test_a_change_that_is_said_to_mend_does(found: Answers) -> None:
    mended = [each for each in found.cases if each.mending]
    assert mended
    for each in mended:
        assert each.model is ALLOWED
        for change in each.mending:
            site, word = change.split("=")
            words = {**each.row.variant.words(), site: word}
            variant = SIGNAL_PUBLISH.variant(words)
            assert judge("signal_publish", variant).verdict is FORBIDDEN, (each.row.name, change)


def one(*names: str, silicon: list[list[RowVerdict]]) -> Answer:
    """The answer to a made-up question about these rows."""
    question = Question(text="Is `a_b` enough?", where="here", enough=names)
    [answer] = answers(replace(SIGNAL_PUBLISH, questions=(question,), cases=()), silicon).questions
    return answer


def test_the_answer_follows_the_rows(recorded: list[list[RowVerdict]]) -> None:
    assert one(SOUND, silicon=recorded).yes is True
    assert one(BROKEN, silicon=recorded).yes is False
    assert one(SOUND, BROKEN, silicon=recorded).yes is None


@pytest.mark.parametrize(
    ("names", "silicon", "said"),
    [
        ((SOUND,), True, "**Yes: by the PTX ISA a stale read is forbidden.** On silicon none"),
        ((CANARY,), True, "**No: the PTX ISA allows a stale read.** Silicon shows it."),
        (
            (BROKEN,),
            True,
            "**No: the PTX ISA allows a stale read.** On silicon none was seen.",
        ),
        ((SOUND, BROKEN), True, "**Not always: the PTX ISA allows a stale read for some of these."),
        ((CANARY, BROKEN), True, f"Silicon shows it for `{CANARY}`, and not for the others."),
        ((CANARY,), False, "**No: the PTX ISA allows a stale read.**\n"),
    ],
)
def test_the_text_says_what_was_found(
    names: tuple[str, ...],
    silicon: bool,  # noqa: FBT001 - a column of the table
    said: str,
    settings: list[Settings],
    recorded: list[list[RowVerdict]],
) -> None:
    answer = one(*names, silicon=recorded if silicon else [])
    text = answers_text(Answers(questions=[answer], cases=[]), settings if silicon else [])
    assert said in text
    assert ("No run on silicon was given" in text) is not silicon
    assert "## 1. Is `a_b` enough?" in text
    if BROKEN in names:
        assert "what is missing: nothing waits for" in text
        assert "Any one of these changes forbids it: `drain=full`." in text


def test_another_model_would_give_another_document(
    monkeypatch: pytest.MonkeyPatch, recorded: list[list[RowVerdict]]
) -> None:
    """Nothing in the document is written by hand: with the verdict changes the answer."""

    def contrary(*args: object, **options: object) -> object:
        given = judge(*args, **options)  # type: ignore[arg-type]
        other = ALLOWED if given.verdict is FORBIDDEN else FORBIDDEN
        return replace(given, verdict=other)

    monkeypatch.setattr(answering, "judge", contrary)
    assert one(SOUND, silicon=recorded).yes is False


def test_a_question_about_a_row_that_does_not_exist_is_refused() -> None:
    question = Question(text="?", where="here", enough=("full_wait-atom_releese",))
    with pytest.raises(UnknownNameError, match="did you mean full_wait-atom_release"):
        replace(SIGNAL_PUBLISH, questions=(question,))
    with pytest.raises(UnknownNameError):
        replace(SIGNAL_PUBLISH, cases=("nothing",))


def test_a_reader_in_the_producing_cta_runs_on_its_gpu() -> None:
    near = PUBLISHED.with_choices(place=Place.PRODUCER_CTA)
    with pytest.raises(ValueError, match="cannot run on GPU 1"):
        next(queries(near, consumer_gpu=1))
    far = next(queries(PUBLISHED, consumer_gpu=1)).program
    gpus = {thread.name: thread.placement.gpu for thread in far.threads}
    assert {name for name, gpu in gpus.items() if gpu == 1} == {"consumer thread 0"}


def test_only_what_stands_between_backticks_is_code() -> None:
    assert escape_but_code("a # `ld.nc` _b_") == "a \\# `ld.nc` \\_b\\_"


def test_the_command_answers_without_a_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "_mending", lambda _row: [])
    assert main(["answers"]) == 0
    out = capsys.readouterr().out
    assert "No run on silicon was given" in out
    assert "A: stale" not in out
    assert f"## {len(SIGNAL_PUBLISH.questions)}. " in out
    assert main(["answers", "--run", "nowhere"]) == 254
