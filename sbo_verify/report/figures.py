"""How figures are printed: bounds round up, powers round down, nothing looks better than it is."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context

NO_FIGURE = "-"
ALL_BUT_SURE = 0.999999
BARS = "▁▂▃▄▅▆▇█"
BINS_A_LINE = 32

_UP = Context(prec=2, rounding=ROUND_CEILING)
_DOWN = Context(prec=6, rounding=ROUND_FLOOR)


def bound_text(bound: float | None) -> str:
    """An upper bound of a rate to two digits, rounded up."""
    if bound is None:
        return NO_FIGURE
    return f"{float(_UP.create_decimal_from_float(bound)):.2g}"


def power_text(power: float | None) -> str:
    """A probability to six digits, rounded down; never 1, which no run can show."""
    if power is None:
        return "not known"
    if power > ALL_BUT_SURE:
        return f"above {ALL_BUT_SURE}"
    return f"{float(_DOWN.create_decimal_from_float(power)):.6g}"


def rate_text(rounds_per_second: float) -> str:
    """Hand-overs a second, in thousands or millions."""
    if rounds_per_second <= 0:
        return NO_FIGURE
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if rounds_per_second >= size:
            return f"{rounds_per_second / size:.1f} {letter}/s"
    return f"{rounds_per_second:.1f} /s"


def share_text(rate: float | None) -> str:
    """A rate to two digits; never 1 where not all were."""
    if rate is None:
        return NO_FIGURE
    text = f"{rate:.2g}"
    return (
        f"{float(_DOWN.create_decimal_from_float(rate)):.6g}" if text == "1" and rate < 1 else text
    )


def cost_text(microseconds: float | None) -> str:
    """Microseconds to two decimals."""
    return NO_FIGURE if microseconds is None else f"{microseconds:.2f}"


def percent_text(share: float | None) -> str:
    """A share in percent, to one decimal, with its sign."""
    return NO_FIGURE if share is None else f"{100 * share:+.1f}"


def counts_text(stale: int, observations: int) -> str:
    """Stale tiles of hand-overs observed."""
    return f"{stale:,} of {observations:,}" if observations else NO_FIGURE


def bars(histogram: Sequence[int], tile_bytes: int | None) -> list[str]:
    """One character a bin, blank for none, full for the fullest; a label where a line begins.

    Labels are offsets in bytes when the tile's size is known, else numbers of bins.
    """
    fullest = max(histogram, default=0)
    if fullest == 0:
        return []
    marks = "".join(_mark(count, fullest) for count in histogram)
    starts = range(0, len(marks), BINS_A_LINE)
    scale, unit = (1, "bin") if tile_bytes is None else (tile_bytes / len(marks), "byte")
    width = len(f"{int(starts[-1] * scale)}")
    return [
        f"{unit} {int(start * scale):>{width}} |{marks[start : start + BINS_A_LINE]}|"
        for start in starts
    ]


def _mark(count: int, fullest: int) -> str:
    if count == 0:
        return " "
    return BARS[min(count * len(BARS) // fullest, len(BARS) - 1)]
