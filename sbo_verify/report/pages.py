"""What a report says of one variant, level by level: a page within the page of an HTML report.

Picked from the records like the outline; the picture is drawn from the recorded steps and edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sbo_verify.model.steps import Edge, Step
from sbo_verify.record import CodeReading, Launch, ModelReading, RowVerdict
from sbo_verify.report.figures import bound_text, counts_text
from sbo_verify.report.outline import Findings, WorstRow, worst_row
from sbo_verify.report.picture import draw


@dataclass(frozen=True, kw_only=True)
class Page:
    """One variant. `picture` is an SVG made here, every other text is to be escaped."""

    row: str
    joint: str
    outcome: str
    canary: bool
    model: str
    readings: list[str]
    picture: str
    missing: list[str]
    ordering: list[str]
    code: str
    differences: list[str]
    skeleton: list[tuple[str, str]]
    machine: str
    machine_texts: list[str]
    machine_skeleton: list[tuple[str, str]]
    silicon: str
    counts: str
    bound: str
    seen: WorstRow | None
    notes: list[str]
    repeat: str


def pages(findings: Findings) -> list[Page]:
    """A page for every row that has a verdict, in the order of the run."""
    model = {each.row: each for each in findings.model_readings}
    code = {each.row: each for each in findings.code_readings}
    return [
        _page(findings, verdict, model.get(verdict.row), code.get(verdict.row))
        for verdict in findings.verdicts
    ]


def _page(
    findings: Findings,
    verdict: RowVerdict,
    model: ModelReading | None,
    code: CodeReading | None,
) -> Page:
    mine = [launch for launch in findings.launches if launch.row == verdict.row]
    seconds = f"{findings.settings.seconds_per_row:g}"
    return Page(
        row=verdict.row,
        joint=verdict.joint,
        outcome=verdict.outcome,
        canary=verdict.canary,
        model=f"{verdict.model} ({verdict.model_source})",
        readings=[*([] if model is None else _readings(model)), *_of_code(code)],
        picture="" if model is None else picture_of(model),
        missing=[] if model is None else list(model.missing),
        ordering=[] if model is None else list(model.ordering),
        code=verdict.code,
        differences=[] if code is None else list(code.differences),
        skeleton=[] if code is None else [(s, "\n".join(found)) for s, found in code.skeleton],
        machine="" if code is None else code.machine,
        machine_texts=[] if code is None else [*code.machine_reasons, *code.machine_notes],
        machine_skeleton=[]
        if code is None
        else [(s, "\n".join(found)) for s, found in code.machine_skeleton],
        silicon=verdict.silicon,
        counts=counts_text(verdict.stale, verdict.observations),
        bound=bound_text(verdict.bound),
        seen=worst_row(verdict, mine) if verdict.stale else None,
        notes=list(verdict.notes),
        repeat=_repeat(findings.settings.seed, seconds, verdict, mine),
    )


def picture_of(model: ModelReading) -> str:
    """The recorded execution, or the first recorded chain, as SVG; empty where there is neither."""
    witness = [Step(**step) for step in model.witness or []]
    chains = {name: [Edge(**edge) for edge in chain] for name, chain in model.chains.items()}
    if not witness and not chains:
        return ""
    what = "stale execution" if witness else "what orders the store before the read"
    return draw(witness, chains, name=f"{model.row}: {what}")


def _readings(model: ModelReading) -> list[str]:
    others = {name: word for name, word in model.readings.items() if word != model.verdict}
    return [f"under the reading {name} it is {word}" for name, word in others.items()]


def _of_code(code: CodeReading | None) -> list[str]:
    """The model's verdict on the compiled program; records older than that say nothing."""
    if code is None or not code.model:
        return []
    return ["; ".join([f"of the program in the compiled PTX: {code.model}", *code.model_notes])]


def _repeat(seed: int, seconds: str, verdict: RowVerdict, launches: Sequence[Launch]) -> str:
    """The command that repeats the first launch with a stale tile, or else the row."""
    seen: Any = next((launch for launch in launches if launch.stale_tiles), None)
    if seen is not None:
        return f"sbo-verify replay {verdict.row} --seed {seen.seed} --index {seen.index}"
    if launches:
        return f"sbo-verify stress --variants {verdict.row} --seed {seed} --seconds {seconds}"
    return f"sbo-verify explain {verdict.row}"
