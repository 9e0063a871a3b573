"""From what a run left on disk to what it says: raw records in, verdicts and a summary out.

A pure function of its evidence, so that `sbo-verify report RUN` on an old run repeats it. Words are
joined and judged by `verdict` alone; what is decided here is which word the silicon level earned
when launches ended in faults, and what keeps a run as a whole from a pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from sbo_verify.harness.tally import Tally, tally
from sbo_verify.protocol import Protocol, Row, UnknownNameError
from sbo_verify.rates import lower_bound, power
from sbo_verify.record import CodeReading, Launch, ModelReading, RowVerdict, Settings, Summary
from sbo_verify.store import Run
from sbo_verify.verdict import (
    CodeVerdict,
    Joint,
    ModelVerdict,
    Outcome,
    SiliconVerdict,
    exit_code,
    join,
    judge,
    worst,
)

DECLARED = "declared"
COMPUTED = "computed"
INTERRUPTED = "the run ended before it was complete"

ModelAnswer = tuple[ModelVerdict, Sequence[str]]


class JudgementError(ValueError):
    """Records that do not belong to the settings or to the catalogue; says which and why."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything that a judgement rests on.

    `model_answers` maps a row's name to the verdict that a checker computed, with its notes; rows
    that are missing there keep their declared verdict, marked as such. `torn_lines` describe
    records that were lost. `finished` is an ISO 8601 time.
    """

    protocol: Protocol
    settings: Settings
    code_readings: Sequence[CodeReading]
    launches: Sequence[Launch]
    finished: str
    model_answers: Mapping[str, ModelAnswer] = field(default_factory=dict)
    torn_lines: Sequence[str] = ()
    interrupted: bool = False

    @classmethod
    def of_run(
        cls,
        protocol: Protocol,
        run: Run,
        model_answers: Mapping[str, ModelAnswer] | None = None,
        *,
        finished: datetime | None = None,
        interrupted: bool | None = None,
    ) -> Self:
        """The evidence in the folder of `run`; raises `StoreError` when it cannot be read.

        Model answers that are not given are those that the run recorded; the rest comes from the
        verdict that the run itself wrote. A run that ended before its verdict was interrupted,
        and finishes now.
        """
        raw, before = run.raw(), run.verdict()
        if interrupted is None:
            interrupted = before is None or INTERRUPTED in before[1].reasons
        interrupted = interrupted or run.cut_short
        if finished is None and before is not None:
            finished = datetime.fromisoformat(before[1].finished)
        return cls(
            protocol=protocol,
            settings=run.settings,
            code_readings=raw.code_readings,
            launches=raw.launches,
            finished=(finished or datetime.now(UTC)).isoformat(timespec="seconds"),
            model_answers=_answers(raw.model_readings) if model_answers is None else model_answers,
            torn_lines=run.losses_by(raw.torn_lines),
            interrupted=interrupted,
        )


def _answers(readings: Sequence[ModelReading]) -> dict[str, ModelAnswer]:
    """Recorded answers of the model level; where the ISA is open to readings, that is noted."""
    answers: dict[str, ModelAnswer] = {}
    for each in readings:
        others = {name: word for name, word in each.readings.items() if word != each.verdict}
        open_to = [f"under the reading {name!r} the model says {others[name]}" for name in others]
        answers[each.row] = (ModelVerdict(each.verdict), [*open_to, *each.notes])
    return answers


@dataclass(frozen=True, kw_only=True)
class _Words:
    """What the levels answered for one row, and how the model level came to its answer."""

    model: ModelVerdict
    source: str
    code: CodeVerdict
    silicon: SiliconVerdict
    joint: Joint
    notes: list[str]


def judge_run(evidence: Evidence) -> tuple[list[RowVerdict], Summary]:
    """The verdict of every row of the settings, in their order, and the run's summary.

    Raises `JudgementError` when a record speaks of a row that was not part of the run, or of a
    variant that the catalogue no longer holds under that name.
    """
    rows = [_row(evidence.protocol, name) for name in evidence.settings.rows]
    _check(evidence, rows)
    verdicts: list[RowVerdict] = []
    reasons: list[str] = []
    for row in rows:
        verdict, why = _find(evidence, row)
        verdicts.append(verdict)
        reasons.extend(why)
    missing, blind = _missing(evidence), _blind(verdicts)
    outcome = worst(
        [
            *(Outcome(verdict.outcome) for verdict in verdicts),
            *(Outcome.UNKNOWN for _ in [*missing, *blind]),
        ]
    )
    summary = Summary(
        outcome=outcome.value,
        exit_code=int(exit_code(outcome)),
        complete=not missing and all(_examined(evidence.settings, each) for each in verdicts),
        reasons=[*reasons, *missing, *blind],
        finished=evidence.finished,
        power=_power(verdicts),
    )
    return verdicts, summary


def _row(protocol: Protocol, name: str) -> Row:
    try:
        return protocol.row(name)
    except UnknownNameError as error:
        message = f"the catalogue has changed since this run: {error}"
        raise JudgementError(message) from error


def _check(evidence: Evidence, rows: Sequence[Row]) -> None:
    hashes = {row.name: evidence.protocol.hash_of(row.variant) for row in rows}
    if evidence.launches and not evidence.settings.silicon:
        message = "the settings say that silicon does not take part, yet there are launches"
        raise JudgementError(message)
    if strangers := sorted(set(evidence.model_answers) - set(hashes)):
        message = f"the model answered for rows that are not in this run: {', '.join(strangers)}"
        raise JudgementError(message)
    records: list[CodeReading | Launch] = [*evidence.code_readings, *evidence.launches]
    for record in records:
        if record.row not in hashes:
            message = f"a {record.kind} record is of row {record.row!r}, not one of this run"
            raise JudgementError(message)
        if record.variant != hashes[record.row]:
            message = (
                f"the catalogue has changed since this run: {record.row} was variant "
                f"{record.variant} and is now {hashes[record.row]}; read the verdict that the "
                f"run wrote, or judge it with commit {evidence.settings.commit}"
            )
            raise JudgementError(message)


def _find(evidence: Evidence, row: Row) -> tuple[RowVerdict, list[str]]:
    """The row's verdict and the reasons that keep it from a pass."""
    counts = tally([each for each in evidence.launches if each.row == row.name])
    words = _words(evidence, row, counts)
    silicon_ran = evidence.settings.silicon
    # A launch that ended badly does not take back the stale tiles that the others counted.
    answers = [counts.word]
    if counts.counted is not None and counts.stale > 0:
        answers.append(counts.counted)
    readings = [each for each in evidence.code_readings if each.row == row.name]
    doubts = [*_doubts(row, words), *_unjudged(readings)]
    outcome = worst(
        [
            *(
                judge(
                    join(words.model, words.code, answer),
                    answer,
                    sound=row.sound,
                    canary=row.canary,
                    silicon_ran=silicon_ran,
                )
                for answer in answers
            ),
            *(Outcome.UNKNOWN for _ in doubts),
        ]
    )
    verdict = RowVerdict(
        row=row.name,
        variant=evidence.protocol.hash_of(row.variant),
        expected=row.expected.value,
        canary=row.canary,
        model=words.model.value,
        model_source=words.source,
        code=words.code.value,
        silicon=words.silicon.value,
        joint=words.joint.value,
        outcome=outcome.value,
        stale=counts.stale,
        observations=counts.observations,
        bound=counts.bound,
        elapsed_seconds=counts.elapsed_seconds,
        rounds_per_second=counts.rounds_per_second,
        seconds_to_first_stale=counts.seconds_to_first_stale,
        notes=[*_contract(row, words), *words.notes, *counts.notes, *doubts],
    )
    if outcome is Outcome.PASS:
        return verdict, []
    why = [*_reasons(words, counts, row, silicon_ran=silicon_ran), *doubts]
    return verdict, [f"{_title(row)} {reason}" for reason in why]


def _words(evidence: Evidence, row: Row, counts: Tally) -> _Words:
    model, source, model_notes = row.expected, DECLARED, list[str]()
    if row.name in evidence.model_answers:
        model, told = evidence.model_answers[row.name]
        source, model_notes = COMPUTED, list(told)
    code, code_notes = _code([each for each in evidence.code_readings if each.row == row.name])
    joint = join(model, code, counts.word)
    if counts.counted is not None and join(model, code, counts.counted) is Joint.ALARM:
        joint = Joint.ALARM
    return _Words(
        model=model,
        source=source,
        code=code,
        silicon=counts.word,
        joint=joint,
        notes=[*model_notes, *code_notes],
    )


def _code(readings: Sequence[CodeReading]) -> tuple[CodeVerdict, list[str]]:
    """The code level's word: one reading that differs outweighs any number that do not."""
    if not readings:
        return CodeVerdict.NOT_READ, []
    notes = list(dict.fromkeys(text for each in readings for text in each.differences))
    if len({each.cubin_sha256 for each in readings}) > 1:
        notes.append("the code was read from cubins that are not the same")
    found = {CodeVerdict(each.verdict) for each in readings}
    gravest = (CodeVerdict.DIFFERS, CodeVerdict.NOT_READ, CodeVerdict.AS_DECLARED)
    return next(word for word in gravest if word in found), notes


def _contract(row: Row, words: _Words) -> list[str]:
    """What the PTX ISA says, for rows whose counts alone would mislead a reader."""
    if words.model is not row.expected or words.joint not in {Joint.BROKEN_UNSEEN, Joint.ALARM}:
        return []
    says = "forbids" if row.sound else "allows"
    return [f"the PTX ISA {says} a stale read here: {row.because} ({row.source})"]


def _doubts(row: Row, words: _Words) -> list[str]:
    """What keeps a row from a pass although no level's own word does."""
    doubts: list[str] = []
    if words.model not in {row.expected, ModelVerdict.UNKNOWN}:
        doubts.append(
            f"was computed as {words.model.value}, and the catalogue declares {row.expected.value}"
        )
    if words.code is CodeVerdict.NOT_READ and words.silicon is SiliconVerdict.NOT_RUN:
        doubts.append("was examined neither in compiled code nor on silicon")
    return doubts


def _unjudged(readings: Sequence[CodeReading]) -> list[str]:
    """Compiled code on which the model has no verdict: what was declared may not be what runs."""
    unknown = [each for each in readings if each.model == ModelVerdict.UNKNOWN.value]
    notes = dict.fromkeys("; ".join(each.model_notes) for each in unknown)
    return [f"has compiled code that the model could not judge: {why}" for why in notes]


def _title(row: Row) -> str:
    return f"canary {row.name}" if row.canary else row.name


def _reasons(words: _Words, counts: Tally, row: Row, *, silicon_ran: bool) -> list[str]:
    """The plain reasons, each to follow the row's title, why the row's own words are no pass."""
    observed = f"{counts.stale:,} of {counts.observations:,} hand-overs"
    differs = "has compiled code that is not what was declared"
    table: list[tuple[bool, str]] = [
        (
            words.joint is Joint.ALARM,
            f"is forbidden to be stale by the {words.source} verdict, yet was so in {observed}",
        ),
        (
            words.joint is not Joint.ALARM and row.sound and counts.stale > 0,
            f"is declared sound, yet was stale in {observed}",
        ),
        (
            words.joint is Joint.CODE_DIFFERS,
            ": ".join([differs, *words.notes[:1]]),
        ),
        (
            words.silicon is SiliconVerdict.OVERSHOT,
            "has a signal that went past its threshold",
        ),
        (
            words.silicon is SiliconVerdict.THRESHOLD_NEVER_REACHED,
            "has a signal that never reached its threshold within the time allowed",
        ),
        (
            words.silicon is SiliconVerdict.UNRELIABLE,
            f"has counts that cannot be trusted: {'; '.join(counts.notes[:1])}",
        ),
        (
            words.model is ModelVerdict.UNKNOWN,
            "has no verdict from the model level",
        ),
        (
            silicon_ran and words.silicon is SiliconVerdict.NOT_RUN,
            "has no observation, although silicon took part",
        ),
        (
            silicon_ran and row.canary and words.silicon is SiliconVerdict.NEVER,
            f"unseen in {counts.observations:,} observations",
        ),
    ]
    return [reason for holds, reason in table if holds]


def _examined(settings: Settings, verdict: RowVerdict) -> bool:
    """Whether the levels that this run had were applied to the row."""
    if settings.silicon:
        return verdict.silicon != SiliconVerdict.NOT_RUN.value
    return verdict.code != CodeVerdict.NOT_READ.value


def _missing(evidence: Evidence) -> list[str]:
    """Why the record of the run as a whole is not complete."""
    lost = [f"a record was lost: {line}" for line in evidence.torn_lines]
    if evidence.interrupted:
        return [INTERRUPTED, *lost]
    return lost


def _blind(verdicts: Sequence[RowVerdict]) -> list[str]:
    """A detector that cannot fire has no right to say pass: some canary must have taken part."""
    never = [each.row for each in verdicts if each.silicon == SiliconVerdict.NEVER.value]
    if not never or any(each.canary for each in verdicts):
        return []
    return ["no canary took part, so that nothing shows what this run could have seen"]


def power_basis(verdicts: Sequence[RowVerdict]) -> tuple[RowVerdict, RowVerdict] | None:
    """The canary and the row that the detection power is computed from: the worst of the run.

    That is the canary whose rate has the lowest lower bound, and the row that stayed Never on the
    fewest hand-overs, whether it is sound or works by luck. None where there is no such canary or
    row, or where a canary's counts cannot be trusted.
    """
    never = [
        each for each in verdicts if each.silicon == SiliconVerdict.NEVER.value and not each.canary
    ]
    canaries = [each for each in verdicts if each.canary]
    if not never or not canaries or any(each.bound is None for each in canaries):
        return None
    weakest = min(canaries, key=lambda each: lower_bound(each.stale, each.observations))
    return weakest, min(never, key=lambda each: each.observations)


def _power(verdicts: Sequence[RowVerdict]) -> float | None:
    """Detection power; None where there is nothing that it could be computed from."""
    basis = power_basis(verdicts)
    if basis is None:
        return None
    canary, row = basis
    return power([(canary.stale, canary.observations)], row.observations)
