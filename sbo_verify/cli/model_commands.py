"""The commands of the model level: `model` judges litmus files, `explain` a variant."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from sbo_verify.cli.app import app
from sbo_verify.cli.examination import findings_of
from sbo_verify.cli.options import (
    SECONDS,
    as_json,
    complete_variants,
    kernel_option,
    protocol_option,
)
from sbo_verify.cli.rule_pages import page_command
from sbo_verify.compiled.extraction import Extracted
from sbo_verify.harness.answers import answers
from sbo_verify.harness.code_model import TAKEN, CodeModel, model_of_code
from sbo_verify.harness.stressed_kernels import compiled_program, protocol_for
from sbo_verify.model import (
    Budget,
    LitmusAnswer,
    Liveness,
    ModelAnswer,
    judge,
    judge_litmus,
    poll_answer,
    single_changes,
)
from sbo_verify.model.gaps import gap_said
from sbo_verify.model.litmus import read_file
from sbo_verify.model.worth import Worth, worth
from sbo_verify.protocol import Protocol, Row
from sbo_verify.protocols import protocol_named
from sbo_verify.report.answers import answers_text
from sbo_verify.report.picture import draw
from sbo_verify.store import Run
from sbo_verify.verdict import ExitCode, ModelVerdict

HOLDS = {True: "holds", False: "does not hold", None: "unknown"}
MAY = {True: "may", False: "cannot", None: "may or may not: the search was cut off"}


@app.command("model")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--seconds",
    type=SECONDS,
    default=Budget().seconds,
    show_default=True,
    help="Budget of one file; a search that exceeds it answers unknown.",
)
@click.option(
    "--worth",
    "asks_worth",
    is_flag=True,
    help="Say, too, whether a file can tell one model from another.",
)
@as_json
def model_command(
    files: tuple[Path, ...], seconds: float, *, asks_worth: bool, as_json: bool
) -> int:
    """Judge PTX litmus files under the memory model.

    \b
      sbo-verify model property_tests/litmus/bulk/*.litmus
      sbo-verify model test.litmus --json --worth

    Says of each file whether its final condition holds, and whether a thread can spin or wait at a
    barrier for ever. Exits with 2 when a search for the condition was cut off.
    """  # noqa: D301 - click keeps the lines behind a backspace
    judged = [judge_litmus(file, Budget(seconds=seconds)) for file in files]
    worths = [worth(read_file(file)) if asks_worth else None for file in files]
    if as_json:
        told = [
            answer.to_json() | ({} if of is None else {"worth": asdict(of)})
            for answer, of in zip(judged, worths, strict=True)
        ]
        click.echo(json.dumps(told, indent=2))
    else:
        for answer, of in zip(judged, worths, strict=True):
            click.echo("; ".join([_litmus_line(answer), *([] if of is None else [_worth(of)])]))
    unknown = any(answer.condition_holds is None for answer in judged)
    return ExitCode.UNKNOWN if unknown else ExitCode.PASS


@app.command("explain")
@click.argument("variant", shell_complete=complete_variants)
@click.option(
    "--svg",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write the stale execution as a picture, too; only for a variant that allows one.",
)
@click.option(
    "--compiled",
    is_flag=True,
    help="Explain the program that is read from the variant's compiled PTX.",
)
@kernel_option
@protocol_option
@as_json
def explain_command(  # noqa: PLR0913 - the options of the command
    variant: str, svg: Path | None, kernel: str, protocol: str, *, compiled: bool, as_json: bool
) -> int:
    """Say why a stale read is allowed or forbidden for a variant of the catalogue.

    \b
      sbo-verify explain read_wait-release
      sbo-verify explain read_wait-release --svg stale.svg
      sbo-verify explain read_wait-release --compiled
      sbo-verify explain host-full_wait-red_release_gpu --kernel host

    Allowed: the execution as numbered steps, the ordering that is missing, and every change of a
    single site that would forbid it. Forbidden: the chain of edges that orders the store before
    the read, each with its rule and its instructions. With --compiled it exits with 1 where the
    compiled program has another verdict than the declared one, with 2 where it has none.
    """  # noqa: D301 - click keeps the lines behind a backspace
    chosen = protocol_for(protocol, kernel)
    row = chosen.row(variant)
    if compiled:
        return _explain_compiled(chosen, kernel, row, svg, as_json=as_json)
    answer = judge(chosen.name, row.variant)
    mending = _mending(row) if answer.verdict is ModelVerdict.ALLOWED else []
    poll = poll_answer(row.variant)  # type: ignore[arg-type]  # judged above, so of its type
    _draw(row, answer, svg)
    if as_json:
        data = {
            "row": row.name,
            **answer.to_json(),
            "single_changes_that_forbid": mending,
            "poll": asdict(poll),
        }
        click.echo(json.dumps(data, indent=2))
    else:
        click.echo("\n".join(_explanation(row, answer, poll, mending)))
    return ExitCode.UNKNOWN if answer.verdict is ModelVerdict.UNKNOWN else ExitCode.PASS


def _explain_compiled(
    protocol: Protocol, kernel: str, row: Row, svg: Path | None, *, as_json: bool
) -> int:
    """The same of the program in the kernel's PTX; exit code 1 where it is another one."""
    compiler, program = compiled_program(kernel, protocol, row)
    model = model_of_code(protocol.name, row.variant, program)
    _draw(row, model.answer, svg)
    if as_json:
        data = {
            "row": row.name,
            "compiler": compiler,
            "program": [
                [step.label, [str(i) for i in step.instructions]] for step in program.steps
            ],
            "verdict": model.verdict.value,
            "declared": model.declared.verdict.value,
            "agrees": model.agrees,
            "taken_from_the_declaration": _taken(row),
            "notes": model.notes,
            "answer": None if model.answer is None else model.answer.to_json(),
        }
        click.echo(json.dumps(data, indent=2))
    else:
        click.echo("\n".join(_explanation_of_code(row, compiler, program, model)))
    if model.agrees is None:
        return ExitCode.UNKNOWN
    return ExitCode.PASS if model.agrees else ExitCode.FAIL


def _explanation_of_code(
    row: Row, compiler: str, program: Extracted, model: CodeModel
) -> list[str]:
    lines = [f"{row.name}, compiled by {compiler}: a stale read is {model.verdict}"]
    agrees = {True: "the same", False: "another verdict", None: "not to be compared"}
    lines += [f"the declared program: {model.declared.verdict}, {agrees[model.agrees]}"]
    lines += [f"taken from the declaration: {', '.join(_taken(row))}"]
    lines += [line for note in model.notes for line in _with_page(f"note: {note}", note, "  ")]
    lines += ["", "The program in the PTX:"]
    for step in program.steps:
        held = ", ".join(str(each) for each in step.instructions)
        lines.append(f"  {step.label}: {held or 'nothing'}")
    return lines if model.answer is None else [*lines, *_execution(model.answer)]


def _taken(row: Row) -> list[str]:
    return [f"{site}={word}" for site, word in row.variant.words().items() if site in TAKEN]


def _draw(row: Row, answer: ModelAnswer | None, svg: Path | None) -> None:
    if svg is None:
        return
    if answer is None or answer.witness is None:
        message = f"{row.name} allows no stale read, so there is no execution to draw"
        raise click.UsageError(message)
    svg.write_text(draw(answer.witness, answer.chains, answer.missing))


@app.command("answers")
@click.option(
    "--run",
    "paths",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A recorded run, whose silicon is quoted beside the model; may be repeated.",
)
@protocol_option
def answers_command(paths: tuple[Path, ...], protocol: str) -> int:
    """Answer the questions that reviews left open about this hand-over, as Markdown.

    \b
      sbo-verify answers
      sbo-verify answers --run reports/signal_publish/RUN

    The model answers now; silicon is quoted from the runs that are given.
    """  # noqa: D301 - click keeps the lines behind a backspace
    runs = [Run.open(path) for path in paths]
    found = answers(protocol_named(protocol), [findings_of(run).verdicts for run in runs])
    click.echo(answers_text(found, [run.settings for run in runs]), nl=False)
    return ExitCode.PASS


def _litmus_line(answer: LitmusAnswer) -> str:
    line = (
        f"{answer.file}: {answer.quantifier} {HOLDS[answer.condition_holds]} "
        f"({answer.candidates} executions, {answer.seconds:.3f} s)"
    )
    others = {n: h for n, h in answer.readings.items() if h != answer.condition_holds}
    notes = [f"under the reading {name!r} it {HOLDS[holds]}" for name, holds in others.items()]
    if answer.liveness.known is not False:
        told, *why = (each.strip() for each in _liveness("a thread", answer.liveness))
        notes.append(f"{told} {', '.join(why)}".strip())
    return "; ".join([line, *notes])


def _worth(of: Worth) -> str:
    if of.vacuous:
        return "vacuous: no execution of any model ends in the state asked for"
    if of.interleaved:
        return "allowed under sequential consistency already"
    return "can tell a weaker model from a stronger one"


def _liveness(what: str, answer: Liveness) -> list[str]:
    """Whether `what` may go on for ever, why, and under which other reading it is otherwise."""
    if answer.known is None:
        return [f"whether {what} can go on for ever is unknown: the search was cut off"]
    told = "may go on for ever" if answer.known else "cannot go on for ever"
    lines = [f"{what} {told}{':' if answer.reasons else ''}"]
    lines += [line for why in answer.reasons for line in _with_page(f"  {why}", why, "    ")]
    others = {name: known for name, known in answer.readings.items() if known != answer.known}
    return [*lines, *(f"  under the reading {name!r} it {MAY[k]}" for name, k in others.items())]


def _with_page(line: str, sentence: str, indent: str) -> list[str]:
    """A line, and under it where its sentence is explained."""
    gap = gap_said(sentence)
    return [line] if gap is None else [line, f"{indent}see: {page_command(gap.name)}"]


def _mending(row: Row) -> list[str]:
    changes = single_changes(row.variant)  # type: ignore[arg-type]  # judged above, so of its type
    return [change for change, verdict in changes.items() if verdict is ModelVerdict.FORBIDDEN]


def _explanation(row: Row, answer: ModelAnswer, poll: Liveness, mending: list[str]) -> list[str]:
    lines = [f"{row.name}: a stale read is {answer.verdict} ({answer.seconds:.3f} s)"]
    lines += [line for note in answer.notes for line in _with_page(f"note: {note}", note, "  ")]
    lines += [
        f"under the reading {name!r} it is {word}"
        for name, word in answer.readings.items()
        if word != answer.verdict
    ]
    lines += _liveness("a poll", poll)
    lines += _execution(answer)
    if answer.witness is not None:
        told = mending or ["none: no change of a single site is enough"]
        lines += ["", "Single changes that forbid it:", *(f"  {change}" for change in told)]
    return lines


def _execution(answer: ModelAnswer) -> list[str]:
    """The stale execution and what it shows to be missing; or what orders every read."""
    lines: list[str] = []
    if answer.witness is not None:
        lines += ["", f"An execution with a stale read ({answer.question}):"]
        lines += [f"  {step}" for step in answer.witness]
        lines += ["", "What is missing:"]
        lines += [line for gap in answer.missing for line in _with_page(f"  {gap}", gap, "    ")]
    for question, chain in answer.chains.items():
        lines += ["", f"What orders the store before the read ({question}):"]
        lines += [f"  {number}. {edge}" for number, edge in enumerate(chain, start=1)]
    return lines
