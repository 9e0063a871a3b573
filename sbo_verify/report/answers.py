"""The answers to a protocol's open questions as Markdown: the model's beside the silicon's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from string import ascii_uppercase

from sbo_verify.harness.answers import Answer, Answers, RowAnswer
from sbo_verify.record import RowVerdict, Settings
from sbo_verify.report.figures import bound_text, counts_text
from sbo_verify.report.markdown_words import code_span, escape, markdown_table

TITLE = "Questions that reviews left open, answered"
OPENING = (
    "Made by `sbo-verify answers`, from the memory model and from recorded runs. The model's word "
    "is the answer: *Forbidden* is a promise of the PTX ISA as it is read here, *Allowed* means "
    "that nothing in it rules a stale read out. Silicon that showed none is no promise: its column "
    "says how seldom it could have been, on one chip, with one compiler."
)
SAID = {
    True: "Yes: by the PTX ISA a stale read is forbidden.",
    False: "No: the PTX ISA allows a stale read.",
    None: "Not always: the PTX ISA allows a stale read for some of these.",
}
NOT_TRIED = "not tried"


def answers_text(found: Answers, runs: Sequence[Settings]) -> str:
    """The whole document; `runs` are the settings of the runs whose silicon is quoted."""
    columns = [f"{letter}: stale of hand-overs (rate below)" for letter, _ in _lettered(runs)]
    parts = [f"# {TITLE}", OPENING, _silicon(runs)]
    for number, answer in enumerate(found.questions, start=1):
        parts += _answer(number, answer, columns)
    if found.cases:
        head = ["where", "variant", "PTX model", *columns, "mended by any one of"]
        rows = [_case_cells(case) for case in found.cases]
        parts += ["## The same hand-over in code in use", markdown_table(head, rows, columns)]
    return "\n\n".join(parts) + "\n"


def _lettered(runs: Sequence[Settings]) -> Iterator[tuple[str, Settings]]:
    return zip(ascii_uppercase, runs, strict=False)


def _silicon(runs: Sequence[Settings]) -> str:
    """Which runs the columns quote."""
    if not runs:
        return "No run on silicon was given, so that none is quoted."
    lines = []
    for letter, settings in _lettered(runs):
        machine = settings.machine
        made = (
            f"{machine['gpu']}, driver {machine['driver']}, {settings.compiler}, commit "
            f"{settings.commit}, seed {settings.seed}, {settings.started}"
        )
        lines.append(f"- {letter}: {escape(made)}")
    told = "Silicon, with the upper bound of the rate (95 %, one-sided):"
    return "\n".join([told, "", *lines])


def _answer(number: int, answer: Answer, columns: Sequence[str]) -> list[str]:
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
    head = ["variant", "PTX model", *columns, "because"]
    parts.append(markdown_table(head, [_cells(row) for row in rows], columns))
    allowed = [row for row in answer.enough if row.missing]
    # The chains of rows that answer one question alike are alike: one is shown.
    forbidden = [row for row in answer.enough if row.chain][:1]
    parts += [line for row in allowed for line in _gap(row)]
    parts += [line for row in forbidden for line in _chain(row)]
    return parts


def _seen(rows: Sequence[RowAnswer]) -> str:
    """What silicon adds to the answer, in one sentence."""
    tried = [row for row in rows if any(row.silicon)]
    if not tried:
        return ""
    seen = [row for row in tried if any(run is not None and run.stale for run in row.silicon)]
    if not seen:
        return " On silicon none was seen."
    if len(seen) == len(tried):
        return " Silicon shows it."
    names = ", ".join(code_span(row.row.name) for row in seen)
    return f" Silicon shows it for {names}, and not for the others."


def _cells(answer: RowAnswer) -> list[str]:
    others = [f"{word} under {name}" for name, word in answer.readings.items()]
    return [
        code_span(answer.row.name, in_table=True),
        escape("; ".join([answer.model.value, *others])),
        *(_silicon_cell(verdict) for verdict in answer.silicon),
        escape(answer.row.because),
    ]


def _silicon_cell(verdict: RowVerdict | None) -> str:
    if verdict is None:
        return NOT_TRIED
    if not verdict.observations:
        # A poll that never passes hands nothing over, and that is what was seen.
        return verdict.silicon
    counts = counts_text(verdict.stale, verdict.observations)
    return f"{counts} ({bound_text(verdict.bound)})"


def _case_cells(answer: RowAnswer) -> list[str]:
    _, model, *silicon, _ = _cells(answer)
    mended = ", ".join(code_span(change, in_table=True) for change in answer.mending)
    nothing = "-" if answer.chain else "no single change"
    name = code_span(answer.row.name, in_table=True)
    return [escape(answer.row.source), name, model, *silicon, mended or nothing]


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
