"""Two recorded runs compared: verdicts, rates, compiled words, cost; what is worse or unknown.

A run of a later commit, another driver, compiler or GPU is held against an earlier one. Nothing is
measured here, and the runs need not have had the same seed or length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sbo_verify.harness.beside import Beside
from sbo_verify.harness.comparison_figures import (
    TOLERANCE,
    Tested,
    costs_compared,
    rates_compared,
    times_compared,
)
from sbo_verify.harness.verdict_changes import WordChange, word_changes
from sbo_verify.record import CodeReading, Launch, RowVerdict, Settings, Summary
from sbo_verify.repeat import fixed_knobs
from sbo_verify.verdict import Outcome, exit_code, worst

LEVEL = 0.05
METHOD = (
    (
        "Rates are compared by a permutation test over launches, each launch with its own rate, "
        "since hand-overs of one launch share its environment; launches with equal knobs are "
        "exchanged among themselves. All rows are judged together (Tarone, Holm): the probability "
        "that any rate is called changed which is not is at most {level:g}."
    ),
    (
        "Times of a round are compared in the same way, and costs in the GEMM shape by shape, all "
        "costs together."
    ),
    (
        "A run that ended at a row's first stale tile shows that row's rate too high. Where "
        "launches were too few to tell, the counts stand there and nothing is said of them."
    ),
)


class Change(StrEnum):
    """What a comparison makes of one row."""

    SAME = "same"
    CHANGED = "changed"
    WORSE = "worse"
    UNKNOWN = "unknown"


OUTCOMES = {
    Change.SAME: Outcome.PASS,
    Change.CHANGED: Outcome.PASS,
    Change.WORSE: Outcome.FAIL,
    Change.UNKNOWN: Outcome.UNKNOWN,
}


@dataclass(frozen=True, kw_only=True)
class Side:
    """One run, judged: what a comparison needs of it."""

    settings: Settings
    verdicts: Sequence[RowVerdict]
    summary: Summary
    launches: Sequence[Launch]
    code_readings: Sequence[CodeReading]
    beside: Beside = field(default_factory=Beside)


@dataclass(frozen=True, kw_only=True)
class SkeletonChange:
    """Words of one site that are others now; `of` is PTX or SASS."""

    of: str
    site: str
    before: list[str]
    after: list[str]


@dataclass(frozen=True, kw_only=True)
class RowComparison:
    """One row of both runs; counts are (stale, hand-overs, bound of the rate)."""

    row: str
    canary: bool
    change: Change
    reasons: list[str]
    words: list[WordChange]
    before: tuple[int, int, float | None]
    after: tuple[int, int, float | None]
    rate: Tested
    time: Tested
    cost: Tested
    skeletons: list[SkeletonChange]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two runs compared. `circumstances` are (what, before, after) that differ between them."""

    before: dict[str, Any]
    after: dict[str, Any]
    circumstances: list[tuple[str, str, str]]
    level: float
    method: list[str]
    refusals: list[str]
    only_before: list[str]
    only_after: list[str]
    rows: list[RowComparison]
    outcome: str
    exit_code: int


def compare_runs(before: Side, after: Side, level: float = LEVEL) -> Comparison:
    """What changed from `before` to `after`; `level` is the error of all rows' tests together."""
    refusals = _refusals(before, after)
    earlier = {each.row: each for each in before.verdicts}
    later = {each.row: each for each in after.verdicts}
    common = [row for row in earlier if row in later]
    alike = [row for row in common if earlier[row].variant == later[row].variant]
    refusals += [
        f"{row} is another variant under the same name" for row in common if row not in alike
    ]
    if not alike:
        refusals.append("the runs have no row in common")
    rows = [] if _incomparable(before, after) else _rows(before, after, alike, level)
    missing = [row for row in earlier if row not in later]
    outcomes = [OUTCOMES[each.change] for each in rows]
    outcomes += [Outcome.UNKNOWN for _ in [*refusals, *missing]]
    outcome = worst(outcomes)
    return Comparison(
        before=_told(before),
        after=_told(after),
        circumstances=_circumstances(before.settings, after.settings),
        level=level,
        method=[line.format(level=level) for line in METHOD],
        refusals=refusals,
        only_before=missing,
        only_after=[row for row in later if row not in earlier],
        rows=rows,
        outcome=outcome.value,
        exit_code=int(exit_code(outcome)),
    )


def _told(side: Side) -> dict[str, Any]:
    settings, summary = side.settings, side.summary
    return {
        "settings": settings.to_json(),
        "outcome": summary.outcome,
        "finished": summary.finished,
        "launches": len(side.launches),
        "costs_from": side.beside.sources.get("costs", ""),
    }


def _circumstances(before: Settings, after: Settings) -> list[tuple[str, str, str]]:
    """What is not alike about the runs, of what may explain a change."""
    lines = []
    for what, first, second in (
        ("commit", _commit(before), _commit(after)),
        ("GPU", before.machine.get("gpu") or "none", after.machine.get("gpu") or "none"),
        ("driver", before.machine.get("driver") or "none", after.machine.get("driver") or "none"),
        ("compiler", before.compiler or "none", after.compiler or "none"),
        ("kernel", before.kernel, after.kernel),
        ("producer", before.producer or "own", after.producer or "own"),
        ("seed", str(before.seed), str(after.seed)),
        ("command", before.command, after.command),
        ("fixed knobs", _fixed(before), _fixed(after)),
    ):
        if first != second:
            lines.append((what, first, second))
    return lines


def _commit(settings: Settings) -> str:
    commit = settings.commit or "not recorded"
    return f"{commit} with uncommitted changes" if settings.dirty else commit


def _fixed(settings: Settings) -> str:
    knobs = fixed_knobs(settings).items()
    return ", ".join(sorted(f"{knob}={value}" for knob, value in knobs)) or "none"


def _incomparable(before: Side, after: Side) -> bool:
    first, second = before.settings, after.settings
    return first.protocol != second.protocol or first.kernel != second.kernel


def _refusals(before: Side, after: Side) -> list[str]:
    """Why the runs as a whole cannot be compared, or not on every level."""
    first, second = before.settings, after.settings
    lines = []
    for what, one, other in (
        ("protocol", first.protocol, second.protocol),
        ("kernel", first.kernel, second.kernel),
    ):
        if one != other:
            lines.append(f"the runs have not one {what}: {one} and {other}")
    drawn = [{each.environment for each in side.launches} for side in (before, after)]
    if fixed_knobs(first) != fixed_knobs(second) or (all(drawn) and not drawn[0] & drawn[1]):
        lines.append("rates and times are not compared: the runs did not draw their knobs alike")
    if first.silicon and not second.silicon:
        lines.append(f"silicon did not run in the later one: {second.silicon_reason}")
    if not after.summary.complete:
        lines.append("the later run is not complete")
    return lines


def _rows(before: Side, after: Side, alike: Sequence[str], level: float) -> list[RowComparison]:
    """The rows that both runs have; all rates are judged together, and so are all times."""
    alike_drawn = fixed_knobs(before.settings) == fixed_knobs(after.settings)
    launches = (before.launches, after.launches) if alike_drawn else ([], [])
    rated = rates_compared(*launches, alike, level)
    timed = times_compared(*launches, alike, level)
    costs = costs_compared(before.beside, after.beside, alike, level)
    same_gpu = before.settings.machine.get("gpu") == after.settings.machine.get("gpu")
    first = {each.row: each for each in before.verdicts}
    second = {each.row: each for each in after.verdicts}
    words = [
        word_changes(first[row], second[row], _machine(before, row), _machine(after, row))
        for row in alike
    ]
    found = []
    for place, row in enumerate(alike):
        one, other = first[row], second[row]
        change, reasons = _judge(
            other, words[place], rated[place], (timed[place], costs[place]), same_gpu=same_gpu
        )
        skeletons = _skeletons(before, after, row)
        if change is Change.SAME and skeletons:
            change = Change.CHANGED
        found.append(
            RowComparison(
                row=row,
                canary=other.canary,
                change=change,
                reasons=reasons,
                words=words[place],
                before=(one.stale, one.observations, one.bound),
                after=(other.stale, other.observations, other.bound),
                rate=rated[place],
                time=timed[place],
                cost=costs[place],
                skeletons=skeletons,
            )
        )
    return found


def _machine(side: Side, row: str) -> str:
    return next((each.machine for each in side.code_readings if each.row == row), "")


def _skeletons(before: Side, after: Side, row: str) -> list[SkeletonChange]:
    """Sites whose words are others, in the PTX and, where both runs recorded it, in the SASS."""
    readings = [
        next((each for each in side.code_readings if each.row == row), None)
        for side in (before, after)
    ]
    one, other = readings
    if one is None or other is None:
        return []
    found = _differing("PTX", one.skeleton, other.skeleton)
    if one.machine and other.machine:
        found += _differing("SASS", one.machine_skeleton, other.machine_skeleton)
    return found


Skeleton = Sequence[tuple[str, Sequence[str]]]


def _differing(of: str, before: Skeleton, after: Skeleton) -> list[SkeletonChange]:
    earlier, later = dict(before), dict(after)
    sites = [*earlier, *(site for site in later if site not in earlier)]
    return [
        SkeletonChange(
            of=of,
            site=site,
            before=list(earlier.get(site, [])),
            after=list(later.get(site, [])),
        )
        for site in sites
        if list(earlier.get(site, [])) != list(later.get(site, []))
    ]


def _judge(
    after: RowVerdict,
    words: Sequence[WordChange],
    rate: Tested,
    times: tuple[Tested, Tested],
    *,
    same_gpu: bool,
) -> tuple[Change, list[str]]:
    """The gravest of what changed, and every reason; `times` are a round's and the signal's."""
    found = [Change(each.change) for each in words]
    reasons = [str(each) for each in words]
    if rate.changed:
        # A canary that shows more is a better detector.
        found.append(Change.WORSE if rate.rose() and not after.canary else Change.CHANGED)
        reasons.append(f"the stale rate {'rose' if rate.rose() else 'fell'}")
    for what, tested in zip(("a round takes", "the signal costs"), times, strict=True):
        if tested.changed:
            worse = same_gpu and tested.rose(TOLERANCE)
            found.append(Change.WORSE if worse else Change.CHANGED)
            more = "more" if tested.rose() else "less"
            reasons.append(f"{what} {more} time" + ("" if same_gpu else ", on another GPU"))
    gravest = (Change.WORSE, Change.UNKNOWN, Change.CHANGED)
    return next((each for each in gravest if each in found), Change.SAME), reasons
