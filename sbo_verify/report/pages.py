"""What a report says of one variant, level by level: a page within the page of an HTML report.

Picked from the records like the outline; the pictures are drawn from recorded steps and edges and
from the sums over the variant's launches.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sbo_verify.harness.beside import Beside
from sbo_verify.harness.digest import Digest, Offsets, Share
from sbo_verify.model.steps import Edge, Step
from sbo_verify.protocol import Row
from sbo_verify.record import CodeReading, Launch, ModelReading, RowVerdict
from sbo_verify.repeat import repeat_command
from sbo_verify.report.figures import (
    bound_text,
    cost_text,
    counts_text,
    percent_text,
    rate_text,
    share_text,
)
from sbo_verify.report.outline import Findings, WorstRow, rate_of, worst_row
from sbo_verify.report.picture import draw

KNOB_COLUMNS = ("knob", "value", "launches that showed it", "stale", "rate")
DECLARATION_COLUMNS = ("site", "choice", "what it means")
DELAY_COLUMNS = ("cycles since the signal", "witnesses")
COST_COLUMNS = ("groups x m x n x k", "plain us", "with the signal us", "added us", "%")
CHANGED = "the catalogue has changed since this run, so that its declaration is not shown"
# Words that order, in PTX and in SASS; the others move data, end a group of copies, or stand beside
# a word that orders. Machine code that a predicate guards begins with an at sign.
_ORDERS = re.compile(
    r"fence|\bbarrier|\bbar\.|wait|\.acquire|\.release|\.acq_rel"
    r"|^@?(?:MEMBAR|FENCE|DEPBAR|CCTL|BAR|UCGABAR_ARV|UCGABAR_WAIT|SYNCS)\b"
)

# A site and its instructions, each with whether it orders.
Skeleton = list[tuple[str, list[tuple[str, bool]]]]


@dataclass(frozen=True, kw_only=True)
class Page:
    """One variant. `picture` is an SVG made here, every other text is to be escaped.

    `declaration` has site, choice and what it means. `machine_from` says which record the machine
    code comes from where it is not the run's own.
    """

    row: str
    joint: str
    outcome: str
    canary: bool
    expected: str
    because: str
    source: str
    declaration: list[tuple[str, str, str]]
    model: str
    readings: list[str]
    picture: str
    steps: list[str]
    missing: list[str]
    ordering: list[str]
    code: str
    differences: list[str]
    skeleton: Skeleton
    machine: str
    machine_from: str
    machine_texts: list[str]
    machine_skeleton: Skeleton
    silicon: str
    counts: str
    rate: str
    bound: str
    speed: str
    seen: WorstRow | None
    digest: Digest | None
    knobs: list[list[str]]
    costs: list[list[str]]
    notes: list[str]
    repeat: str


def pages(findings: Findings) -> list[Page]:
    """A page for every row that has a verdict, in the order of the run."""
    model = {each.row: each for each in findings.model_readings}
    code = {each.row: each for each in findings.code_readings}
    mine: dict[str, list[Launch]] = {}
    for launch in findings.launches:
        mine.setdefault(launch.row, []).append(launch)
    return [
        _page(findings, verdict, model.get(verdict.row), code.get(verdict.row), mine)
        for verdict in findings.verdicts
    ]


def _page(
    findings: Findings,
    verdict: RowVerdict,
    model: ModelReading | None,
    code: CodeReading | None,
    launches: dict[str, list[Launch]],
) -> Page:
    mine = launches.get(verdict.row, [])
    declared = findings.details.declared.get(verdict.row)
    digest = findings.details.digests.get(verdict.row)
    machine, machine_from, words = _machine(code, verdict.variant, findings.beside)
    return Page(
        row=verdict.row,
        joint=verdict.joint,
        outcome=verdict.outcome,
        canary=verdict.canary,
        expected=verdict.expected,
        because="" if declared is None else declared.because,
        source="" if declared is None else declared.source,
        declaration=[] if declared is None else _declaration(declared),
        model=f"{verdict.model} ({verdict.model_source})",
        readings=[*([] if model is None else _readings(model)), *_of_code(code)],
        picture="" if model is None else picture_of(model),
        steps=[] if model is None else [str(Step(**step)) for step in model.witness or []],
        missing=[] if model is None else list(model.missing),
        ordering=[] if model is None else list(model.ordering),
        code=verdict.code,
        differences=[] if code is None else list(code.differences),
        skeleton=[] if code is None else _marked(code.skeleton),
        machine=machine,
        machine_from=machine_from,
        machine_texts=[] if code is None else [*code.machine_reasons, *code.machine_notes],
        machine_skeleton=_marked(words),
        silicon=verdict.silicon,
        counts=counts_text(verdict.stale, verdict.observations),
        rate=share_text(rate_of(verdict)),
        bound=bound_text(verdict.bound),
        speed=rate_text(verdict.rounds_per_second),
        seen=worst_row(verdict, mine) if verdict.stale else None,
        digest=digest,
        knobs=_knobs(digest) if verdict.stale and digest is not None else [],
        costs=_costs(verdict.row, findings.beside),
        notes=list(verdict.notes),
        repeat=_repeat(findings, verdict.row, mine),
    )


def picture_of(model: ModelReading) -> str:
    """The recorded execution, or the first recorded chain, as SVG; empty where there is neither."""
    witness = [Step(**step) for step in model.witness or []]
    chains = {name: [Edge(**edge) for edge in chain] for name, chain in model.chains.items()}
    if not witness and not chains:
        return ""
    what = "stale execution" if witness else "what orders the store before the read"
    # The steps stand beside the picture in words.
    return draw(witness, chains, name=f"{model.row}: {what}", embedded=True)


def histogram_caption(offsets: Offsets) -> str:
    """What a histogram by offset counts, and how much its highest column is."""
    size = "" if offsets.tile_bytes is None else f", tiles of {offsets.tile_bytes:,} bytes"
    plural = "" if offsets.launches == 1 else "es"
    return (
        f"stale words by offset{size}, over {offsets.launches:,} launch{plural} that showed some; "
        f"the highest column is {max(offsets.counts):,} of {sum(offsets.counts):,} words"
    )


def delays_caption(digest: Digest) -> str:
    """What a histogram by delay counts, and how much its highest column is."""
    most = max(each.witnesses for each in digest.delays)
    return (
        "recorded witnesses by cycles between the signal and the stale read, in bins that double; "
        f"the highest column is {most:,} of {digest.witnesses:,} witnesses"
    )


def _declaration(row: Row) -> list[tuple[str, str, str]]:
    choices = row.variant.choices()
    return [(site, choice.word, choice.meaning) for site, choice in choices.items()]


def _readings(model: ModelReading) -> list[str]:
    others = {name: word for name, word in model.readings.items() if word != model.verdict}
    return [f"under the reading {name} it is {word}" for name, word in others.items()]


def _of_code(code: CodeReading | None) -> list[str]:
    """The model's verdict on the compiled program; records older than that say nothing."""
    if code is None or not code.model:
        return []
    return ["; ".join([f"of the program in the compiled PTX: {code.model}", *code.model_notes])]


def _marked(skeleton: Sequence[tuple[str, Sequence[str]]]) -> Skeleton:
    return [
        (site, [(word, _ORDERS.search(word) is not None) for word in words])
        for site, words in skeleton
    ]


def _machine(
    code: CodeReading | None, variant: str, beside: Beside
) -> tuple[str, str, Sequence[tuple[str, Sequence[str]]]]:
    """Verdict, where it is from, and words: of the run itself, or of a record given beside it."""
    if code is not None and code.machine:
        return code.machine, "", code.machine_skeleton
    found = beside.machine.get(variant)
    if found is None:
        return "", "", []
    where = f"ptxas {found.ptxas} for {found.target}; from {beside.sources['machine']}"
    return found.verdict, where, found.skeleton


def _knobs(digest: Digest) -> list[list[str]]:
    return [_knob_cells(knob, share) for knob, shares in digest.knobs.items() for share in shares]


def _knob_cells(knob: str, share: Share) -> list[str]:
    return [
        knob,
        share.value,
        f"{share.shown:,} of {share.launches:,}",
        counts_text(share.stale, share.observations),
        share_text(share.rate) if share.stale else f"below {bound_text(share.bound)}",
    ]


def _costs(row: str, beside: Beside) -> list[list[str]]:
    cost = beside.costs.get(row)
    return [
        [
            each.shape,
            cost_text(each.plain_microseconds),
            cost_text(each.microseconds),
            cost_text(each.added_microseconds),
            percent_text(each.costs),
        ]
        for each in ([] if cost is None else cost.shapes)
    ]


def _repeat(findings: Findings, row: str, launches: Sequence[Launch]) -> str:
    """The command that repeats what was seen; without silicon, the one that explains the row."""
    if not launches:
        return f"sbo-verify explain {row}"
    return repeat_command(findings.settings, launches, row)
