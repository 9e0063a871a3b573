"""Charts of a report: SVG made of figures that a record or its sums hold.

Every chart says in words, for those who do not see it, what it shows; colour never stands alone.
Texts of records are escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from sbo_verify.harness.digest import Delay, Offsets
from sbo_verify.report.figures import bound_text

WIDTH_PX, PLOT_PX, ROW_PX = 640, 110, 18
LABEL_PX, AXIS_PX, PAD_PX = 330, 22, 12
SHOWN_LABELS = 14
LETTERS = 46
LOWEST_RATE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Span:
    """One line of a dot plot: a value, or from `low` over `middle` to `high`; all above 0."""

    name: str
    low: float
    middle: float
    high: float
    told: str


@dataclass(frozen=True, kw_only=True)
class Point:
    """One variant in the plane of cost and safety. `kind` is good, warn or bad."""

    name: str
    cost: float
    bound: float
    kind: str
    told: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line over sizes of tiles: (bytes, value) pairs."""

    name: str
    points: list[tuple[int, float]]


def offsets_chart(offsets: Offsets, row: str) -> str:
    """Stale words by offset in the tile, as columns without gaps."""
    size, counts = offsets.tile_bytes, offsets.counts
    ends = (0, size or len(counts))
    return _columns(counts, f"{row}: {offsets_told(offsets)}", [f"{end:,}" for end in ends])


def offsets_told(offsets: Offsets) -> str:
    """A histogram by offset in words: how many, where most, how many bins are empty."""
    counts = offsets.counts
    fullest, total = max(counts), sum(counts)
    size = offsets.tile_bytes
    unit = "bins" if size is None else f"bytes of {size:,}"
    place = counts.index(fullest)
    first, last = (place * (size or len(counts)) // len(counts) for place in (place, place + 1))
    return (
        f"{total:,} stale words over {unit}, most, {fullest:,}, from {first:,} to below "
        f"{last:,}; {counts.count(0)} of {len(counts)} bins are empty"
    )


def delays_chart(delays: Sequence[Delay], row: str) -> str:
    """Recorded witnesses by cycles between the signal and the stale read."""
    counts = [each.witnesses for each in delays]
    most = delays[counts.index(max(counts))]
    told = (
        f"{row}: {sum(counts):,} recorded witnesses by cycles since the signal, most, "
        f"{most.witnesses:,}, from {most.from_cycles:,} to below {most.below_cycles:,}"
    )
    return _columns(counts, told, [f"{delays[0].from_cycles:,}", f"{delays[-1].below_cycles:,}"])


def _columns(counts: Sequence[int], told: str, ends: Sequence[str]) -> str:
    """Columns side by side; one that is not empty is never lower than a pixel and a half."""
    fullest, step = max(counts), (WIDTH_PX - 2 * PAD_PX) / len(counts)
    path = [f"M{PAD_PX},{PLOT_PX}"]
    for count in counts:
        height = max(1.5, count / fullest * (PLOT_PX - PAD_PX)) if count else 0
        path.append(f"V{PLOT_PX - height:.4g}h{step:.4g}")
    path.append(f"V{PLOT_PX}z")
    bottom = PLOT_PX + AXIS_PX
    parts = [
        f'<path class="column" d="{"".join(path)}"/>',
        f'<path class="axis" d="M{PAD_PX},{PLOT_PX}H{WIDTH_PX - PAD_PX}"/>',
        _text(PAD_PX, bottom - 6, ends[0]),
        _text(WIDTH_PX - PAD_PX, bottom - 6, ends[-1], "end"),
    ]
    return _svg(WIDTH_PX, bottom, parts, told, "chart small")


def spans_chart(spans: Sequence[Span], what: str, unit: str) -> str:
    """A dot for every variant on a logarithmic axis, with a bar from its lowest to its highest."""
    low = _decade_below(min(span.low for span in spans))
    high = _decade_above(max(span.high for span in spans))
    height = PAD_PX + ROW_PX * len(spans) + 2 * AXIS_PX
    room = WIDTH_PX + 200 - LABEL_PX - 2 * PAD_PX

    def place(value: float) -> float:
        return LABEL_PX + room * (math.log10(value) - low) / (high - low)

    bottom = PAD_PX + ROW_PX * len(spans)
    parts = [
        f'<path class="grid" d="M{place(10.0**ten):.1f},{PAD_PX}V{bottom}"/>'
        + _text(place(10.0**ten), bottom + 14, _power(ten), "middle")
        for ten in range(low, high + 1)
    ]
    for line, span in enumerate(spans):
        y = PAD_PX + ROW_PX * line + ROW_PX // 2
        ends = f"M{place(span.low):.1f},{y}H{place(span.high):.1f}"
        bar = f'<path class="bar" d="{ends}"/>' if span.high > span.low else ""
        dot = f'<circle class="dot" cx="{place(span.middle):.1f}" cy="{y}" r="4"/>'
        name = _text(LABEL_PX - 10, y + 4, _short(span.name), "end")
        parts.append(f"<g><title>{escape(span.told)}</title>{bar}{dot}{name}</g>")
    parts.append(_text(LABEL_PX, height - 6, unit))
    first, last = spans[0], spans[-1]
    told = f"{what}, {len(spans)} variants, from {first.told} to {last.told}"
    return _svg(WIDTH_PX + 200, height, parts, told)


def plane_chart(points: Sequence[Point], cost: str) -> str:
    """Cost to the right, upper bound of the stale rate upwards: best is below on the left."""
    width, height, left, bottom = WIDTH_PX + 200, 380, 70, 340
    costs = [point.cost for point in points]
    low, high = min(0.0, *costs), max(costs) or 1.0
    least = _decade_below(max(LOWEST_RATE, min(point.bound for point in points)))

    def across(value: float) -> float:
        return left + PAD_PX + (width - left - 290) * (value - low) / (high - low)

    def up(bound: float) -> float:
        return PAD_PX + (bottom - 2 * PAD_PX) * math.log10(max(bound, LOWEST_RATE)) / least

    parts = [
        f'<path class="grid" d="M{left},{up(10.0**ten):.1f}H{width - PAD_PX}"/>'
        + _text(left - 8, up(10.0**ten) + 4, _power(ten), "end")
        for ten in range(least, 1)
    ]
    parts.append(f'<path class="axis" d="M{left},{bottom}H{width - PAD_PX}"/>')
    parts += [
        _text(across(value), bottom + 16, f"{value:.3g}", "middle")
        for value in (low, (low + high) / 2, high)
    ]
    parts.append(_text(left, height - 6, f"to the right: {cost}"))
    parts.append(_text(left + 6, PAD_PX + 14, "upwards: the stale rate is below"))
    labelled = len(points) <= SHOWN_LABELS
    taken: list[float] = []
    # From below and from the right, so that no line to a label crosses another.
    for point in sorted(points, key=lambda each: (-round(up(each.bound)), -each.cost)):
        x, y = across(point.cost), up(point.bound)
        label = ""
        if labelled:
            side, at = width - 250, _free(y + 4, taken, -1)
            label = f'<path class="grid" d="M{x + 7:.1f},{y:.1f}L{side - 4},{at - 4:.1f}"/>'
            label += _text(side, at, _short(point.name))
        parts.append(f"<g><title>{escape(point.told)}</title>{_mark(x, y, point.kind)}{label}</g>")
    told = "; ".join(point.told for point in points[:SHOWN_LABELS])
    more = len(points) - SHOWN_LABELS
    ending = f"; and {more} more" if more > 0 else ""
    return _svg(width, height, parts, f"cost against safety: {told}{ending}")


def _free(y: float, taken: list[float], way: int = 1) -> float:
    """A height for a label that is not on another one, further down or, with -1, up."""
    while any(abs(y - other) < ROW_PX - 4 for other in taken):
        y += way * (ROW_PX - 4)
    taken.append(y)
    return y


def _mark(x: float, y: float, kind: str) -> str:
    """A circle for good, a square for warn, a cross for bad."""
    if kind == "good":
        return f'<circle class="good" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
    if kind == "warn":
        return f'<rect class="warn" x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10"/>'
    return f'<path class="bad" d="M{x - 5:.1f},{y - 5:.1f}l10,10m0,-10l-10,10"/>'


def lines_chart(lines: Sequence[Line], unit: str, name: str, what: str = "tile") -> str:
    """One line a wait over the sizes of what is handed over, which are evenly spaced."""
    sizes = sorted({size for line in lines for size, _ in line.points})
    values = [value for line in lines for _, value in line.points]
    high, left, bottom = max(values), 60, 150
    step = (WIDTH_PX - left - 190) / max(1, len(sizes) - 1)

    def at(size: int, value: float) -> tuple[float, float]:
        return left + sizes.index(size) * step + 20, bottom - (bottom - 24) * value / high

    parts = [f'<path class="axis" d="M{left},{PAD_PX}V{bottom}H{WIDTH_PX - 150}"/>']
    parts += [_text(left - 6, bottom, "0", "end"), _text(left - 6, 28, _figure(high), "end")]
    parts += [_text(at(size, 0)[0], bottom + 15, f"{size / 1024:g}", "middle") for size in sizes]
    taken: list[float] = []
    for line in sorted(lines, key=lambda each: -each.points[-1][1]):
        spots = [at(size, value) for size, value in line.points]
        path = "L".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        dots = "".join(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in spots)
        end = spots[-1]
        label = _text(end[0] + 8, _free(end[1] + 4, taken), line.name)
        title = f"<title>{escape(line_told(line, unit))}</title>"
        parts.append(f'<g>{title}<path class="line" d="M{path}"/>{dots}{label}</g>')
    parts.append(_text(left, bottom + 34, f"{what} in KiB; upwards: {unit}"))
    told = "; ".join(line_told(line, unit) for line in lines)
    return _svg(WIDTH_PX, bottom + 40, parts, f"{name}: {told}")


def _figure(value: float) -> str:
    """Three figures, and all before the point."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"  # noqa: PLR2004 - three figures


def line_told(line: Line, unit: str) -> str:
    """A line in words."""
    spots = ", ".join(f"{size:,} bytes {_figure(value)} {unit}" for size, value in line.points)
    return f"{line.name}: {spots}"


def shares_bar(counts: Sequence[tuple[str, int, str]], name: str) -> str:
    """One bar cut by (words, count, kind); every part that has room is named in it."""
    total = sum(count for _, count, _ in counts)
    x, parts = 0.0, []
    for words, count, kind in counts:
        width = WIDTH_PX * count / total
        title = f"<title>{escape(f'{count} {words}')}</title>"
        box = f'<rect class="{kind}" x="{x:.1f}" y="0" width="{width:.1f}" height="28"/>'
        label = _text(x + width / 2, 19, str(count), "middle") if width > ROW_PX else ""
        parts.append(f"<g>{title}{box}{label}</g>")
        x += width
    told = ", ".join(f"{count} {words}" for words, count, _ in counts)
    return _svg(WIDTH_PX, 28, parts, f"{name}: {told}", "chart shares")


def bound_span(name: str, seconds: Iterable[float]) -> Span:
    """The span of some times, told by its least, middle and greatest."""
    times = sorted(seconds)
    low, middle, high = times[0], times[len(times) // 2], times[-1]
    told = f"{name} {low:.3g} s"
    if len(times) > 1:
        told = f"{name} {low:.3g} to {high:.3g} s, median {middle:.3g} s over {len(times)} seeds"
    return Span(name=name, low=low, middle=middle, high=high, told=told)


def told_point(name: str, cost: str, bound: float) -> str:
    """A variant's place in words."""
    return f"{name}: {cost}, stale rate below {bound_text(bound)}"


def _power(ten: int) -> str:
    return "1" if ten == 0 else f"1e{ten}"


def _decade_below(value: float) -> int:
    return math.floor(math.log10(value))


def _decade_above(value: float) -> int:
    return (
        math.ceil(math.log10(value))
        if value > 10.0 ** _decade_below(value)
        else (_decade_below(value) + 1)
    )


def _short(name: str) -> str:
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}\u2026"


def _text(x: float, y: float, text: str, anchor: str = "") -> str:
    where = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x:.0f}" y="{y:.0f}"{where}>{escape(text)}</text>'


def _svg(width: int, height: int, parts: Iterable[str], told: str, kind: str = "chart") -> str:
    head = (
        f'<svg class="{kind}" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(told)}">'
    )
    return "".join([head, *parts, "</svg>"])
