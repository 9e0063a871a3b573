"""Records of the detector's power as Markdown: environments, mutants, planted violations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sbo_verify.report.markdown_words import code_span, escape, markdown_table

SEARCH = "environment search"
MUTANTS = "mutants"
PLANTED = "planted violations"

_SOURCES = ("fresh", "tuned", "dense")
_PER = 1e6
# A knob that an environment leaves as it is by default is not in its record.
_USUAL_TILE_BYTES = 16 * 1024
_ABOUT_SEARCH = (
    "For each mutant: fresh draws (one in four dense), then the best of all that was tried, "
    "measured again in launches that took no part in the choice. Stale tiles a second of GPU time "
    "are its death rate; million/s are hand-overs observed."
)
_ABOUT_MUTANTS = (
    "Seconds of GPU time to the first stale tile over the seeds, as the gate launches; kills a "
    "second: seeds that saw one, by all the time used. Then stale tiles in a million hand-overs, "
    "and million hand-overs a second, in launches of each kind of environment."
)
_ABOUT_PLANTED = (
    "A sound producer broken once in so many hand-overs at random. A repetition is a stress of so "
    "many hand-overs; it finds the violation when it counts a stale tile. Stated power: the "
    "probability of that. p: exact two-sided binomial test of found against stated. Stale of "
    "planted: over all repetitions, equal unless the detector misses or invents some."
)


def power_text(records: Sequence[Mapping[str, Any]]) -> str:
    """One document of records that `search`, `power mutants` and `power planted` printed as JSON.

    Raises `KeyError` where one is something else.
    """
    writers = {SEARCH: _search, MUTANTS: _mutants, PLANTED: _planted}
    parts = ["# What the detector finds"]
    for record in records:
        parts += [*writers[record["kind"]](record), _made(record["settings"])]
    return "\n\n".join(parts) + "\n"


def _made(settings: Mapping[str, Any]) -> str:
    machine = settings["machine"]
    changed = " (changed since)" if settings["dirty"] else ""
    return (
        f"Made by {code_span(settings['command'])}, seed {settings['seed']}, on one "
        f"{escape(machine['gpu'])}, driver {machine['driver']}, {escape(settings['compiler'])}, "
        f"commit {code_span(settings['commit'])}{changed}, {settings['started']}."
    )


def _search(record: Mapping[str, Any]) -> list[str]:
    columns = (
        *("mutant", "fresh: stale a second", "kept: stale a second", "times", "kept: stale of"),
        *("tile bytes", "million/s"),
    )
    rows, unseen = [], []
    for each in record["found"]:
        before, best = each["before"], each["best"]
        if best is None:
            why = f" ({escape(each['fault'])})" if each["fault"] else ""
            unseen.append(f"{code_span(each['row'])}{why}")
            continue
        fresh = before["stale"] / before["seconds"] if before["seconds"] else 0.0
        death = best["stale"] / best["seconds"]
        rows.append(
            [
                code_span(each["row"], in_table=True),
                f"{fresh:,.0f}",
                f"{death:,.0f}",
                f"{death / fresh:,.1f}" if fresh else "-",
                f"{best['stale']:,} of {best['observations']:,}",
                f"{best['knobs'].get('tile_bytes', _USUAL_TILE_BYTES):,}",
                f"{best['observations'] / best['seconds'] / _PER:,.1f}",
            ]
        )
    parts = ["## Environments", _ABOUT_SEARCH, markdown_table(columns, rows, columns[1:])]
    if unseen:
        tries = {each["tried"] for each in record["found"] if each["best"] is None}
        parts.append(
            f"Seen in no environment, of up to {max(tries)} that were tried: {', '.join(unseen)}."
        )
    return parts


def _mutants(record: Mapping[str, Any]) -> list[str]:
    times = ("mutant", "seeds", "unseen", "median s", "95th percentile s", "kills a second")
    rates = tuple(
        f"{source}: {what}" for source in _SOURCES for what in ("stale in a million", "million/s")
    )
    columns = (*times, *rates)
    rows = [
        [
            code_span(each["row"], in_table=True),
            str(len(each["seconds"])),
            str(each["seconds"].count(None)),
            _seconds(each["median"]),
            _seconds(each["late"]),
            f"{each['kills_a_second']:,.1f}",
            *(cell for source in _SOURCES for cell in _rates(each["counts"].get(source))),
        ]
        for each in record["mutants"]
    ]
    killed = sum(None not in each["seconds"] for each in record["mutants"])
    told = (
        f"{killed} of {len(rows)} mutants seen under every seed within {record['within']:g} s; "
        f"{sum((each['median'] or record['within']) < 1.0 for each in record['mutants'])} with a "
        "median below 1 s."
    )
    return ["## Mutants", _ABOUT_MUTANTS, told, markdown_table(columns, rows, columns[1:])]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _rates(counts: Mapping[str, Any] | None) -> tuple[str, str]:
    if counts is None or not counts["observations"]:
        return "-", "-"
    return (
        f"{counts['stale'] / counts['observations'] * _PER:,.1f}",
        f"{counts['observations'] / counts['seconds'] / _PER:,.1f}",
    )


def _planted(record: Mapping[str, Any]) -> list[str]:
    columns = (
        *("rate", "hand-overs", "repetitions", "stated power", "found", "p", "stale of planted"),
        "million/s",
    )
    rows = [
        [
            f"{each['rate']:.4g}",
            f"{each['observations']:,}",
            str(each["repetitions"]),
            f"{each['power']:.3f}",
            f"{each['found']} ({each['found'] / each['repetitions']:.3f})",
            f"{each['p_value']:.2f}",
            f"{each['stale']:,} of {each['planted']:,}",
            f"{each['observed'] / each['seconds'] / _PER:,.1f}",
        ]
        for each in record["planted"]
    ]
    names = sorted({each["row"] for each in record["planted"]})
    doubts = [f"- {escape(doubt)}" for each in record["planted"] for doubt in each["doubts"]]
    told = f"In {', '.join(code_span(name) for name in names)}."
    parts = ["## Planted violations", _ABOUT_PLANTED, told]
    return [
        *parts,
        markdown_table(columns, rows, columns),
        *(["\n".join(doubts)] if doubts else []),
    ]
