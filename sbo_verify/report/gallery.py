"""The pictures that stand before the variants: verdicts, environments, detection, cost, times.

Each is drawn only where the records have the figures; where they have not, that is said.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from sbo_verify.harness.beside import Beside
from sbo_verify.harness.digest import FEWEST_LAUNCHES, Details, Digest, Share
from sbo_verify.record import RowVerdict
from sbo_verify.report.charts import (
    Line,
    Point,
    bound_span,
    line_told,
    lines_chart,
    plane_chart,
    shares_bar,
    spans_chart,
    told_point,
)
from sbo_verify.report.costs import IN_BENCHMARK, IN_RUN, cost_of
from sbo_verify.report.figures import cost_text, counts_text, percent_text
from sbo_verify.report.outline import KINDS, Findings, joint_counts

MOST_VALUES = 6
MOST_GROUPS = 3
MOST_SPANS = 60
WAITS_TOLD = (
    "Variants that differ in nothing but what the producer waits for ({rows}). Shown is not the "
    "wait alone but a whole round, fill, store, wait, publish, poll, read and acknowledge; median "
    "over the launches without noise and delays."
)
DRAINS_TOLD = (
    "Variants that differ in nothing but what the producer waits for ({rows}), by the SM's clock "
    "around the issuing thread's wait, which two readings of the clock lengthen; a launch's mean, "
    "median over the launches. Other knobs, above all how many CTAs share an SM, differ between "
    "launches, so that size and wait are not the only reasons."
)
SLOTS_TOLD = (
    "Slots that the consumer polled before they were ready, of sizes with at least {least} "
    "launches. How long it waited is in no record. Shapes, masks and SMs differ between launches, "
    "so that size is not the only reason; where the line is low, most slots were ready before the "
    "consumer came, and little was seen of their hand-over."
)
PER_CENT = "% of the slots"
NONE_SEEN = "\u00b7"
# Powers of ten of a rate to one of five shades; what is rarer has the palest.
_SHADES = ((-1, 5), (-2, 4), (-3, 3), (-4, 2))
ENVIRONMENTS_TOLD = (
    "Each number is the power of ten of the stale rate, rounded down, over all launches in which "
    "the knob had that value: -3 is from 0.001 to below 0.01. A dot: none was seen; empty: not "
    "tried. The other knobs were drawn at random in each launch."
)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A chart with its title and what there is to say of it; `svg` is made here.

    `figures` are the same in words, a line for every mark.
    """

    title: str
    svg: str
    told: str
    figures: list[str]


@dataclass(frozen=True, kw_only=True)
class HeatCell:
    """A variant under one value of a knob: what is printed, its shade from 0 to 5, in words."""

    text: str
    shade: int
    told: str


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """Rates by environment: knobs with their values, then a line of cells for every variant."""

    knobs: list[tuple[str, list[str]]]
    rows: list[tuple[str, list[HeatCell]]]


def verdict_bar(findings: Findings) -> str:
    """How many variants have which joint verdict; empty where there is none."""
    counts = [
        (joint, count, KINDS[joint]) for joint, count in joint_counts(findings.verdicts).items()
    ]
    return shares_bar(counts, "variants by verdict") if counts else ""


def heat_map(findings: Findings) -> HeatMap | None:
    """The variants that showed a stale tile, by knob; None where none did."""
    digests = findings.details.digests
    shown = [each.row for each in findings.verdicts if each.stale and each.row in digests]
    values: dict[str, dict[str, None]] = {}
    for row in shown:
        for knob, shares in digests[row].knobs.items():
            values.setdefault(knob, {}).update((share.value, None) for share in shares)
    knobs = [
        (knob, sorted(found, key=_by_size))
        for knob, found in values.items()
        if 1 < len(found) <= MOST_VALUES
    ]
    if not knobs:
        return None
    rows = []
    for row in shown:
        by_value = {
            (knob, share.value): share
            for knob, found in digests[row].knobs.items()
            for share in found
        }
        cells = [
            _heat_cell(by_value.get((knob, value))) for knob, found in knobs for value in found
        ]
        rows.append((row, cells))
    titles = [(knob.replace("_", " "), [_in_units(knob, word) for word in w]) for knob, w in knobs]
    return HeatMap(knobs=titles, rows=rows)


def _in_units(knob: str, word: str) -> str:
    """Sizes in KiB or MiB, which fit into a narrow column."""
    if not knob.endswith("_bytes") or not word.isdecimal():
        return word
    size = int(word)
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if size and size % unit == 0:
            return f"{size // unit} {name}"
    return word


def _by_size(word: str) -> tuple[bool, float, str]:
    try:
        return False, float(word), ""
    except ValueError:
        return True, 0.0, word


def _heat_cell(share: Share | None) -> HeatCell:
    if share is None or not share.observations:
        return HeatCell(text="", shade=0, told="")
    told = counts_text(share.stale, share.observations)
    if not share.stale:
        return HeatCell(text=NONE_SEEN, shade=0, told=told)
    power = math.floor(math.log10(share.rate))
    shade = next((level for least, level in _SHADES if power >= least), 1)
    return HeatCell(text=str(power), shade=shade, told=told)


def pictures(findings: Findings) -> list[Picture]:
    """Detection, cost, round times and waits, as far as the records go."""
    found = [
        _detection(findings),
        _sighted(findings.beside),
        _cost_and_safety(findings),
        *_drain_times(findings.details),
        *_round_times(findings.details),
        _slot_waits(findings.details),
    ]
    return [each for each in found if each is not None]


def _detection(findings: Findings) -> Picture | None:
    seen = [
        bound_span(each.row, [each.seconds_to_first_stale])
        for each in findings.verdicts
        if each.seconds_to_first_stale
    ]
    if not seen:
        return None
    spans = sorted(seen, key=lambda span: span.middle)[-MOST_SPANS:]
    return Picture(
        title="Time to detection",
        svg=spans_chart(spans, "time to the first stale tile in this run", "seconds of GPU time"),
        told=(
            "GPU time of all launches of a variant up to and with the first that saw a stale "
            "tile: the launch is the resolution."
        ),
        figures=[span.told for span in spans],
    )


def _sighted(beside: Beside) -> Picture | None:
    spans = [bound_span(row, each.seconds) for row, each in beside.sighted.items() if each.seconds]
    if not spans:
        return None
    spans.sort(key=lambda span: span.middle)
    unseen = sum(each.unseen for each in beside.sighted.values())
    return Picture(
        title="Time to detection of the canaries, over many seeds",
        svg=spans_chart(spans, "time to the first stale tile", "seconds of GPU time"),
        told=f"{unseen} times a canary stayed unseen. From {beside.sources['sighted']}.",
        figures=[span.told for span in spans],
    )


def _cost_and_safety(findings: Findings) -> Picture | None:
    points = [point for each in findings.verdicts if (point := _point(each, findings)) is not None]
    if not points:
        return None
    in_benchmark = bool(findings.beside.costs)
    return Picture(
        title="Cost against safety",
        svg=plane_chart(points, IN_BENCHMARK if in_benchmark else IN_RUN),
        told=(
            "Circle: sound; square: broken, and nothing was seen; cross: broken, and seen. Height "
            "is the upper bound of the stale rate (95 %, one-sided), so that more hand-overs lower "
            "it, and it is no measure of what the PTX ISA promises."
        ),
        figures=[point.told for point in points],
    )


def _point(verdict: RowVerdict, findings: Findings) -> Point | None:
    cost, share = cost_of(verdict.row, findings.details, findings.beside)
    if cost is None or not verdict.bound:
        return None
    words = f"{cost_text(cost)} us"
    if share is not None:
        words += f", {percent_text(share)} %"
    return Point(
        name=verdict.row,
        cost=cost if share is None else 100 * share,
        bound=verdict.bound,
        kind=KINDS.get(verdict.joint, "warn"),
        told=told_point(verdict.row, words, verdict.bound),
    )


def _round_times(details: Details) -> list[Picture]:
    """Round times by size of the tile, of rows that differ in the wait alone."""
    return _by_wait(
        details,
        lambda digest: [(each.tile_bytes, each.microseconds) for each in digest.rounds],
        ("Time of a hand-over by the producer's wait and the size of the tile", "us a round"),
        WAITS_TOLD,
    )


def _drain_times(details: Details) -> list[Picture]:
    """The waits themselves by size of the tile, where they were measured."""
    return _by_wait(
        details,
        lambda digest: [(each.tile_bytes, each.cycles) for each in digest.drains],
        ("How long the producer waits, by the size of the tile", "cycles"),
        DRAINS_TOLD,
    )


def _by_wait(
    details: Details,
    points_of: Callable[[Digest], list[tuple[int, float]]],
    named: tuple[str, str],
    told: str,
) -> list[Picture]:
    """A picture of each group of rows that differ in the wait alone, those of most points first."""
    title, unit = named
    found = []
    for group in details.wait_groups:
        points = {
            wait: points_of(details.digests[row])
            for wait, row in group.items()
            if row in details.digests
        }
        lines = [Line(name=wait, points=each) for wait, each in points.items() if len(each) > 1]
        if len(lines) > 1:
            rows = ", ".join(f"{line.name}: {group[line.name]}" for line in lines)
            picture = Picture(
                title=f"{title}: {group[lines[0].name]} and its kin",
                svg=lines_chart(lines, unit, f"{title}, in {unit}"),
                told=told.format(rows=rows),
                figures=[line_told(line, unit) for line in lines],
            )
            found.append((sum(len(line.points) for line in lines), picture))
    most_first = sorted(found, key=lambda pair: -pair[0])
    return [picture for _, picture in most_first[:MOST_GROUPS]]


def _slot_waits(details: Details) -> Picture | None:
    """How often the GEMM's consumer waited, by size of the slot."""
    points = [
        (each.slot_bytes, 100 * each.waited / each.slots)
        for each in details.slot_waits
        if each.launches >= FEWEST_LAUNCHES and each.slots
    ]
    if len(points) < 2:  # noqa: PLR2004 - one size shows no difference
        return None
    line = Line(name="all variants", points=points)
    return Picture(
        title="Slots that were waited for, by size of the slot",
        svg=lines_chart([line], PER_CENT, "slots that were waited for by size of the slot", "slot"),
        told=SLOTS_TOLD.format(least=FEWEST_LAUNCHES),
        figures=[line_told(line, PER_CENT)],
    )
