"""What a report says and in which order, before it is set in type.

Everything here is picked from the records of one run: figures come from verdicts, the summary and
launches as they stand. Terminal and Markdown print the same outline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from sbo_verify.harness.beside import Beside
from sbo_verify.harness.digest import Details
from sbo_verify.record import (
    CodeReading,
    Launch,
    LaunchSum,
    ModelReading,
    RowVerdict,
    Settings,
    Summary,
    Witness,
)
from sbo_verify.report.costs import cost_of, cost_told
from sbo_verify.report.figures import (
    bars,
    bound_text,
    cost_text,
    counts_text,
    percent_text,
    share_text,
)
from sbo_verify.report.power_told import power_told
from sbo_verify.report.untried import untried
from sbo_verify.verdict import Joint, Outcome

QUESTION = "Can a consumer see the signal at its threshold and still read a stale tile?"
WORST_ROWS = 5
WITNESSES_A_ROW = 4

VARIANT_FIGURES = ("stale", "rate", "bound", "cost us", "cost %")
VARIANT_COLUMNS = ("variant", "model", "code", "silicon", "together", *VARIANT_FIGURES)
BOUND_TOLD = "bound: one-sided 95 % upper bound of the stale rate (Clopper-Pearson)"
WITNESS_COLUMNS = (
    "round",
    "pair",
    "tile",
    "offset",
    "expected",
    "seen",
    "signal",
    "SMs",
    "cycles since signal",
)

# Gravest first: the order of the answer and of the worst rows.
_MEANING = {
    Joint.ALARM: "the model forbids a stale read, and this GPU showed one",
    Joint.CODE_DIFFERS: "the compiled instructions are others, so nothing is said of the variant",
    Joint.LIVENESS: "the threshold was never reached, or the signal went past it",
    Joint.UNKNOWN: "a level gave no answer that can be trusted",
    Joint.BROKEN_SHOWN: "the model allows a stale read, and this GPU showed one",
    Joint.BROKEN_UNSEEN: "the model allows a stale read, and this GPU showed none; not safe",
    Joint.BROKEN_BY_MODEL: "the model allows a stale read",
    Joint.SOUND: "the model forbids a stale read, and this GPU showed none",
    Joint.SOUND_BY_MODEL: "the model forbids a stale read",
}
# What the eye sees first, from good to bad; the words beside a colour say the same.
KINDS = {
    Joint.SOUND.value: "good",
    Joint.SOUND_BY_MODEL.value: "good",
    Joint.BROKEN_UNSEEN.value: "warn",
    Joint.UNKNOWN.value: "warn",
    Joint.LIVENESS.value: "warn",
    Joint.BROKEN_BY_MODEL.value: "bad",
    Joint.BROKEN_SHOWN.value: "bad",
    Joint.CODE_DIFFERS.value: "bad",
    Joint.ALARM.value: "bad",
}
_GRAVITY = {joint.value: rank for rank, joint in enumerate(_MEANING)}
_NO = {Joint.SOUND.value, Joint.SOUND_BY_MODEL.value}
_YES = {
    joint.value
    for joint in (Joint.ALARM, Joint.BROKEN_SHOWN, Joint.BROKEN_UNSEEN, Joint.BROKEN_BY_MODEL)
}
# A pass without silicon promises only what the levels that ran can show.
_CLEARED_ON_SILICON = (
    "Pass: no stale tile was read where the model forbids one, and every canary that took part "
    "showed some."
)
_CLEARED_WITHOUT_SILICON = (
    "Pass, of the levels that ran: the compiled code of every variant is as declared."
)
_HEADLINE = {
    Outcome.UNKNOWN.value: "Unknown: this run has no right to say pass, because",
    Outcome.FAIL.value: "Fail, because",
}


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The records of one run with the verdict made from them."""

    settings: Settings
    code_readings: Sequence[CodeReading]
    launches: Sequence[Launch]
    verdicts: Sequence[RowVerdict]
    summary: Summary
    torn_lines: Sequence[str] = ()
    model_readings: Sequence[ModelReading] = ()
    details: Details = field(default_factory=Details)
    beside: Beside = field(default_factory=Beside)
    power: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class VariantLine:
    """One variant's line: a text for every column, and the figures by which it can be sorted."""

    row: str
    model: str
    code: str
    silicon: str
    joint: str
    counts: str
    rate: str
    bound: str
    cost: str
    share: str
    figures: dict[str, float | None]

    def cells(self) -> list[str]:
        """The texts in the order of `VARIANT_COLUMNS`."""
        return [getattr(self, item.name) for item in fields(self) if item.name != "figures"]


@dataclass(frozen=True, kw_only=True)
class WorstRow:
    """A row worth a look: what happened, the first witnesses, and where in the tile."""

    row: str
    sentence: str
    witness_caption: str
    witnesses: list[list[str]]
    histogram_caption: str
    histogram: list[str]


@dataclass(frozen=True, kw_only=True)
class Outline:
    """The report in reading order."""

    opening: str | None
    headline: str
    reasons: list[str]
    answer: str
    answer_by_joint: list[str]
    how_sure: list[str]
    machine: list[tuple[str, str]]
    variants: list[VariantLine]
    cost_told: str
    worst: list[WorstRow]
    worst_left_out: str | None
    by_luck: list[str]
    notes: list[str]
    not_tried: list[str]
    closing: str


def outline(findings: Findings) -> Outline:
    """The report on `findings`."""
    settings, summary, verdicts = findings.settings, findings.summary, findings.verdicts
    silent = None
    if not settings.silicon:
        silent = f"Silicon did not run: {settings.silicon_reason.rstrip('.')}."
    worst = _worst_verdicts(verdicts)
    rest = len(worst) - WORST_ROWS
    closing = f"Outcome: {summary.outcome} (exit code {summary.exit_code})"
    return Outline(
        opening=silent,
        headline=_HEADLINE.get(
            summary.outcome, _CLEARED_ON_SILICON if settings.silicon else _CLEARED_WITHOUT_SILICON
        ),
        reasons=list(summary.reasons),
        answer=_answer(verdicts),
        answer_by_joint=_answer_by_joint(verdicts),
        how_sure=_how_sure(findings),
        machine=_machine(settings, summary),
        variants=[_variant_line(verdict, findings) for verdict in verdicts],
        cost_told=cost_told(findings.details, findings.beside),
        worst=[worst_row(verdict, findings.launches) for verdict in worst[:WORST_ROWS]],
        worst_left_out=f"{rest} more rows with stale tiles are in the record."
        if rest > 0
        else None,
        by_luck=[_luck(v) for v in verdicts if v.joint == Joint.BROKEN_UNSEEN.value],
        notes=_notes(verdicts),
        not_tried=untried(settings, findings.launches, verdicts, summary, findings.torn_lines),
        closing=f"{closing}. {silent}" if silent else f"{closing}.",
    )


def _answer(verdicts: Sequence[RowVerdict]) -> str:
    """The question answered: with how many variants yes, with how many no."""
    found = [verdict.joint for verdict in verdicts]
    yes = sum(joint in _YES for joint in found)
    no = sum(joint in _NO for joint in found)
    text = f"Answer: yes with {yes} of {len(found)} variants, no with {no}"
    unknown = len(found) - yes - no
    return f"{text}, not known with {unknown}." if unknown else f"{text}."


def joint_counts(verdicts: Sequence[RowVerdict]) -> dict[str, int]:
    """How many variants have which joint verdict, gravest first; those that some variant has."""
    found = [verdict.joint for verdict in verdicts]
    return {joint.value: found.count(joint.value) for joint in _MEANING if joint.value in found}


def _answer_by_joint(verdicts: Sequence[RowVerdict]) -> list[str]:
    counts = joint_counts(verdicts)
    return [
        f"{counts[joint]} x {joint}: {told}" for joint, told in _MEANING.items() if joint in counts
    ]


def _how_sure(findings: Findings) -> list[str]:
    """What the silicon's silence is worth; nothing where it did not run."""
    if not findings.settings.silicon:
        return []
    lines = []
    sound = [each for each in findings.verdicts if each.joint == Joint.SOUND.value]
    if sound:
        tiles = {each.row: each.observations for each in sound}
        for launch in findings.launches:
            if launch.row in tiles:
                # What further consumers observe of a tile is no further hand-over.
                tiles[launch.row] -= launch.observations - launch.tiles
        least = min(sound, key=lambda each: tiles[each.row])
        lines.append(
            f"Sound variants: {len(sound)}; no stale tile in at least {tiles[least.row]:,} "
            f"hand-overs of each, so that the rate is below {bound_text(least.bound)} (95 %, "
            "one-sided)"
        )
    canaries = [each for each in findings.verdicts if each.canary]
    if canaries:
        seen = sum(each.stale > 0 for each in canaries)
        lines.append(f"Canaries seen stale: {seen} of {len(canaries)}")
    lines.append(power_told(findings.verdicts, findings.summary.power))
    return [*lines, *findings.power]


def _budget(settings: Settings) -> str:
    if settings.seconds_in_all:
        return f"{settings.seconds_in_all:g} s of GPU time in all"
    return f"{settings.seconds_per_row:g} s a row"


def _machine(settings: Settings, summary: Summary) -> list[tuple[str, str]]:
    machine = settings.machine
    gpu = "none"
    if machine.get("gpu"):
        gpu = (
            f"{machine['gpu']}, {machine.get('sm_count')} SMs, compute capability "
            f"{machine.get('compute_capability')}"
        )
    commit = settings.commit or "not recorded"
    return [
        ("GPU", gpu),
        ("driver", machine.get("driver") or "none"),
        ("compiler", settings.compiler or "none"),
        ("commit", f"{commit} with uncommitted changes" if settings.dirty else commit),
        ("seed", str(settings.seed)),
        ("command", settings.command),
        ("protocol", settings.protocol),
        ("time", f"{settings.started} to {summary.finished}"),
        ("budget", _budget(settings)),
    ]


def rate_of(verdict: RowVerdict) -> float | None:
    """Stale tiles of hand-overs; None without any."""
    return verdict.stale / verdict.observations if verdict.observations else None


def _variant_line(verdict: RowVerdict, findings: Findings) -> VariantLine:
    observed, rate = verdict.observations, rate_of(verdict)
    cost, share = cost_of(verdict.row, findings.details, findings.beside)
    return VariantLine(
        row=f"{verdict.row} (canary)" if verdict.canary else verdict.row,
        model=f"{verdict.model} ({verdict.model_source})",
        code=verdict.code,
        silicon=verdict.silicon,
        joint=verdict.joint,
        counts=counts_text(verdict.stale, observed),
        rate=share_text(rate),
        bound=bound_text(verdict.bound),
        cost=cost_text(cost),
        share=percent_text(share),
        figures={
            "stale": float(verdict.stale) if observed else None,
            "rate": rate,
            "bound": verdict.bound,
            "cost us": cost,
            "cost %": share,
        },
    )


def _worst_verdicts(verdicts: Sequence[RowVerdict]) -> list[RowVerdict]:
    """Rows that saw a stale tile or failed, gravest first, then by the bound of their rate.

    A word that this version does not know comes first.
    """
    loud = [each for each in verdicts if each.stale > 0 or each.outcome == Outcome.FAIL.value]
    return sorted(loud, key=lambda each: (_GRAVITY.get(each.joint, 0), -(each.bound or 0.0)))


def worst_row(verdict: RowVerdict, launches: Sequence[Launch]) -> WorstRow:
    """What was seen of one row, its own launches picked from `launches`."""
    mine = [each for each in launches if each.row == verdict.row]
    told = [each for each in mine if each.witnesses]
    first = told[0] if told else None
    fullest = max(mine, key=lambda each: each.stale_words, default=None)
    sentence = f"{verdict.joint}; stale {counts_text(verdict.stale, verdict.observations)}"
    if verdict.seconds_to_first_stale is not None:
        sentence += f"; seen within {verdict.seconds_to_first_stale:.3g} s of GPU time"
    drawn = [] if fullest is None else bars(fullest.histogram, _tile_bytes(fullest))
    return WorstRow(
        row=verdict.row,
        sentence=sentence,
        witness_caption="" if first is None else f"first witnesses, {_launch_name(first)}",
        witnesses=[] if first is None else [_cells(w) for w in first.witnesses[:WITNESSES_A_ROW]],
        histogram_caption=""
        if fullest is None or not drawn
        else (
            f"stale words by offset in the tile, {_launch_name(fullest)}; a full bar is "
            f"{max(fullest.histogram):,} of {fullest.stale_words:,} words"
        ),
        histogram=drawn,
    )


def _launch_name(launch: Launch) -> str:
    tile = _tile_bytes(launch)
    size = "" if tile is None else f", tile of {tile:,} bytes"
    if isinstance(launch, LaunchSum):
        return f"{launch.launches:,} launches up to {launch.last_index:,} (seed {launch.seed})"
    return f"launch {launch.index} (seed {launch.seed}{size})"


def _tile_bytes(launch: Launch) -> int | None:
    size = launch.knobs.get("tile_bytes")
    return size if isinstance(size, int) else None


def _cells(data: dict[str, int]) -> list[str]:
    # A record may say more of a witness than every kernel's does.
    known = [name for name in Witness.__dataclass_fields__ if name in data]
    witness = Witness(**{name: data[name] for name in known})
    # Of several consumers of a pair, the first is the one that is not numbered.
    which = f", its consumer {witness.consumer}" if witness.consumer else ""
    return [
        str(witness.round),
        str(witness.pair),
        str(witness.tile),
        str(witness.offset_bytes),
        str(witness.expected),
        str(witness.seen),
        str(witness.signal),
        f"{_sm(witness.producer_sm, 'unknown')} to {_sm(witness.consumer_sm, 'the host')}{which}",
        f"{witness.cycles_since_signal:,}",
    ]


def _sm(number: int, otherwise: str) -> str:
    """An SM, or who it was `otherwise`: D does not say its writer, and the host has no SMs."""
    return otherwise if number < 0 else str(number)


def _luck(verdict: RowVerdict) -> str:
    told = "; ".join(verdict.notes) or "the model allows a stale read here"
    return (
        f"{verdict.row}: {told}. None was seen in {verdict.observations:,} observations: the rate "
        f"was below {bound_text(verdict.bound)} (95 %, one-sided) on this GPU with this compiler, "
        "and another may show it."
    )


def _notes(verdicts: Sequence[RowVerdict]) -> list[str]:
    told = [verdict for verdict in verdicts if verdict.joint != Joint.BROKEN_UNSEEN.value]
    return [f"{verdict.row}: {note}" for verdict in told for note in verdict.notes]
