"""The answers to a protocol's open questions as Markdown: the model's beside the silicon's."""

from __future__ import annotations

from collections.abc import Sequence

from sbo_verify.harness.answers import Answer, Answers, RowAnswer
from sbo_verify.record import Settings
from sbo_verify.report.figures import bound_text, counts_text
from sbo_verify.report.markdown import code_span, escape, markdown_table

TITLE = "Questions that reviews left open, answered"
OPENING = (
    "Made by `sbo-verify answers`, from the memory model and from a recorded run. The model's word "
    "is the answer: *Forbidden* is a promise of the PTX ISA as it is read here, *Allowed* means "
    "that nothing in it rules a stale read out. Silicon that showed none is no promise: its column "
    "says how seldom it could have been, on one chip, with one compiler."
)
COLUMNS = ("variant", "PTX model", "silicon: stale of hand-overs", "rate below (95 %)", "because")
CASES = ("where", "variant", "PTX model", "silicon: stale of hand-overs", "mended by any one of")
SAID = {
    True: "Yes: by the PTX ISA a stale read is forbidden.",
    False: "No: the PTX ISA allows a stale read.",
    None: "Not always: the PTX ISA allows a stale read for some of these.",
}
NOT_TRIED = "not tried in this setting"
NOT_RUN = "-"


def answers_text(found: Answers, settings: Settings | None) -> str:
    """The whole document; `settings` are those of the run whose silicon is quoted."""
    parts = [f"# {TITLE}", *_opening(settings)]
    for number, answer in enumerate(found.questions, start=1):
        parts += _answer(number, answer)
    if found.cases:
        rows = [_case_cells(case) for case in found.cases]
        parts += ["## The same hand-over in code in use", markdown_table(CASES, rows, CASES[3:4])]
    return "\n\n".join(parts) + "\n"


def _opening(settings: Settings | None) -> list[str]:
    if settings is None:
        return [OPENING, "No run on silicon was given, so that its columns are empty."]
    machine = settings.machine
    made = (
        f"{machine['gpu']}, driver {machine['driver']}, {settings.compiler}, commit "
        f"{settings.commit}, seed {settings.seed}, {settings.started}"
    )
    return [OPENING, f"Silicon: {escape(made)}."]


def _answer(number: int, answer: Answer) -> list[str]:
    question = answer.question
    rows = [*answer.enough, *answer.beside]
    parts = [
        f"## {number}. {escape_but_code(question.text)}",
        f"Asked in: {escape(question.where)}.",
    ]
    parts.append(f"**{SAID[answer.yes]}**{_seen(answer.enough)}")
    if question.on_another_gpu:
        parts.append("The consumer runs on another GPU than the producers.")
    if question.producers > 1:
        parts.append(f"{question.producers} CTAs add to the signal.")
    parts.append(markdown_table(COLUMNS, [_cells(row) for row in rows], COLUMNS[2:4]))
    allowed = [row for row in answer.enough if row.missing]
    # The chains of rows that answer one question alike are alike: one is shown.
    forbidden = [row for row in answer.enough if row.chain][:1]
    parts += [line for row in allowed for line in _gap(row)]
    parts += [line for row in forbidden for line in _chain(row)]
    return parts


def _seen(rows: Sequence[RowAnswer]) -> str:
    """What silicon adds to the answer, in one sentence."""
    tried = [row.silicon for row in rows if row.silicon is not None]
    if not tried:
        return ""
    seen = [verdict for verdict in tried if verdict.stale]
    if not seen:
        return " On this silicon none was seen."
    if len(seen) == len(tried):
        return " This silicon shows it."
    names = ", ".join(code_span(verdict.row) for verdict in seen)
    return f" This silicon shows it for {names}, and not for the others."


def _cells(answer: RowAnswer) -> list[str]:
    verdict = answer.silicon
    model = answer.model.value
    others = [f"{word} under {name}" for name, word in answer.readings.items()]
    cells = [code_span(answer.row.name, in_table=True), escape("; ".join([model, *others]))]
    if verdict is None:
        cells += [NOT_TRIED, NOT_RUN]
    else:
        # A poll that never passes hands nothing over, and that is what was seen.
        counts = counts_text(verdict.stale, verdict.observations)
        cells += [counts if verdict.observations else verdict.silicon, bound_text(verdict.bound)]
    return [*cells, escape(answer.row.because)]


def _case_cells(answer: RowAnswer) -> list[str]:
    _, model, stale, *_ = _cells(answer)
    mended = ", ".join(code_span(change, in_table=True) for change in answer.mending)
    nothing = "-" if answer.chain else "no single change"
    name = code_span(answer.row.name, in_table=True)
    return [escape(answer.row.source), name, model, stale, mended or nothing]


def _gap(answer: RowAnswer) -> list[str]:
    lines = [f"{code_span(answer.row.name)}, what is missing: {escape(answer.missing[0])}."]
    if answer.mending:
        mended = ", ".join(code_span(change) for change in answer.mending)
        lines.append(f"Any one of these changes forbids it: {mended}.")
    return lines


def _chain(answer: RowAnswer) -> list[str]:
    edges = [
        f"{place}. {escape(edge.first_actor)}: {code_span(edge.first)} before "
        f"{escape(edge.second_actor)}: {code_span(edge.second)} ({escape(edge.rule)})"
        for place, edge in enumerate(answer.chain, start=1)
    ]
    told = f"What orders the store before the read, in {code_span(answer.row.name)}:"
    return [told, "\n".join(edges)]


def escape_but_code(text: str) -> str:
    """Escaped, but for what stands between backticks."""
    parts = text.split("`")
    return "".join(
        code_span(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )
