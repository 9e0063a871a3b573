"""What the launches of a run say by environment: sums of the record, for reports to show.

Every figure here is a sum, a median or an exact bound over recorded launches; nothing is
estimated. Witnesses are the few that a launch keeps, so that what is counted over them is a share
of those, never of all stale words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from sbo_verify.harness.folding import launches_in
from sbo_verify.protocol import Protocol, Row
from sbo_verify.rates import upper_bound
from sbo_verify.record import Launch, LaunchSum, LiveLaunch, RowVerdict, Settings

# Knobs that inject a fault or bound a wait say nothing of the environment.
NO_ENVIRONMENT = ("withheld_round", "doubled_round", "timeout_ms", "rounds", "rounds_per_graph")
# How the knobs were drawn, shown as if it were one of them.
DRAWN = "drawn"
# The site whose choices are waits, and what is left of a variant without it.
WAIT_SITE = "drain"
FEWEST_LAUNCHES = 3
NO_NOISE = "none"
MICROSECONDS = 1e6
BF16_BYTES = 2


@dataclass(frozen=True, kw_only=True)
class Share:
    """The launches in which a knob had one value.

    `shown` of the `launches` saw a stale tile; `rate` is stale tiles of hand-overs, `bound` its
    one-sided 95 % upper bound, None without observations.
    """

    value: str
    launches: int
    shown: int
    stale: int
    observations: int
    rate: float
    bound: float | None


@dataclass(frozen=True, kw_only=True)
class Offsets:
    """Stale words by offset, in equal bins, over all launches with tiles of one size.

    `tile_bytes` is None where the bins are of something else than bytes of a tile.
    """

    tile_bytes: int | None
    launches: int
    counts: list[int]


@dataclass(frozen=True, kw_only=True)
class Delay:
    """Recorded witnesses that were read `from_cycles` to below `below_cycles` after the signal."""

    from_cycles: int
    below_cycles: int
    witnesses: int


@dataclass(frozen=True, kw_only=True)
class RoundTime:
    """GPU time of one round of a pair, the median over launches without noise or injected delay."""

    tile_bytes: int
    launches: int
    microseconds: float


@dataclass(frozen=True, kw_only=True)
class DrainTime:
    """How long a producer's wait for its store lasts: the median of the launches' means, cycles."""

    tile_bytes: int
    launches: int
    cycles: float


@dataclass(frozen=True, kw_only=True)
class SlotWaits:
    """GEMM launches whose slots had one size: `waited` of the `slots` were polled too early."""

    slot_bytes: int
    launches: int
    waited: int
    slots: int


@dataclass(frozen=True, kw_only=True)
class Digest:
    """One row's launches, summed. `knobs` maps a knob to its values, in the order of the record.

    `witnesses` were recorded, and are those that `delays` count.
    """

    row: str
    knobs: dict[str, list[Share]] = field(default_factory=dict)
    offsets: list[Offsets] = field(default_factory=list)
    witnesses: int = 0
    delays: list[Delay] = field(default_factory=list)
    rounds: list[RoundTime] = field(default_factory=list)
    drains: list[DrainTime] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Details:
    """What a report shows beside the verdicts.

    `declared` are the catalogue's rows of the run, without those that have changed since.
    `wait_groups` are rows that differ in the wait alone: choice of wait to row name. `slot_waits`
    are the slots of the GEMM's launches by size.
    """

    digests: dict[str, Digest] = field(default_factory=dict)
    declared: dict[str, Row] = field(default_factory=dict)
    wait_groups: list[dict[str, str]] = field(default_factory=list)
    slot_waits: list[SlotWaits] = field(default_factory=list)


def details_of(
    protocol: Protocol,
    settings: Settings,
    launches: Sequence[Launch],
    verdicts: Sequence[RowVerdict],
) -> Details:
    """Everything of a run that `protocol` (the one it was judged by) and its launches say."""
    declared = _declared(protocol, settings, verdicts)
    return Details(
        digests=_digests(launches, verdicts),
        declared=declared,
        wait_groups=_wait_groups(declared),
        slot_waits=_slot_waits(launches),
    )


def _digests(launches: Sequence[Launch], verdicts: Sequence[RowVerdict]) -> dict[str, Digest]:
    mine: dict[str, list[Launch]] = {each.row: [] for each in verdicts}
    for launch in launches:
        mine.setdefault(launch.row, []).append(launch)
    varied = _varied(launches)
    return {row: _digest(row, found, varied) for row, found in mine.items()}


def _varied(launches: Iterable[Launch]) -> list[str]:
    """The knobs that had more than one value in the run: the others explain no difference."""
    values: dict[str, set[str]] = {}
    for launch in launches:
        for knob, value in _settings_of(launch).items():
            values.setdefault(knob, set()).add(str(value))
    return [knob for knob, seen in values.items() if len(seen) > 1 and knob not in NO_ENVIRONMENT]


def _settings_of(launch: Launch) -> dict[str, Any]:
    """The launch's knobs, after how they were drawn, whatever they were tuned for."""
    drawn = launch.environment.partition(" ")[0]
    return {DRAWN: drawn, **launch.knobs} if drawn else launch.knobs


def _digest(row: str, launches: Sequence[Launch], varied: Sequence[str]) -> Digest:
    # Launches that were added up had several environments.
    whole = [launch for launch in launches if not isinstance(launch, LaunchSum)]
    return Digest(
        row=row,
        knobs={knob: _shares(knob, whole) for knob in varied} if whole else {},
        offsets=_offsets(launches),
        witnesses=sum(len(launch.witnesses) for launch in launches),
        delays=_delays(launches),
        rounds=_rounds(whole),
        drains=_drains(whole),
    )


def _shares(knob: str, launches: Sequence[Launch]) -> list[Share]:
    by_value: dict[Any, list[Launch]] = {}
    for launch in launches:
        settings = _settings_of(launch)
        if knob in settings:
            by_value.setdefault(settings[knob], []).append(launch)
    return [_share(_word(value), by_value[value]) for value in sorted(by_value, key=_order)]


def _order(value: object) -> tuple[bool, float, str]:
    """Numbers by size, before words by name."""
    if isinstance(value, int | float):
        return False, float(value), ""
    return True, 0.0, str(value)


def _word(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _share(value: str, launches: Sequence[Launch]) -> Share:
    """The sums over `launches`, all with one value of a knob."""
    stale = sum(each.stale_tiles for each in launches)
    observations = sum(each.observations for each in launches)
    tiles = sum(each.tiles for each in launches)
    possible = 0 <= stale <= observations and observations > 0
    return Share(
        value=value,
        launches=len(launches),
        shown=sum(each.stale_tiles > 0 for each in launches),
        stale=stale,
        observations=observations,
        rate=stale / observations if observations else 0.0,
        bound=upper_bound(min(stale, tiles), tiles) if possible else None,
    )


def _offsets(launches: Sequence[Launch]) -> list[Offsets]:
    by_size: dict[tuple[int, int], list[Launch]] = {}
    for launch in launches:
        if any(launch.histogram):
            size = launch.knobs.get("tile_bytes")
            known = size if isinstance(size, int) and not isinstance(launch, LiveLaunch) else 0
            by_size.setdefault((known, len(launch.histogram)), []).append(launch)
    return [
        Offsets(
            tile_bytes=size or None,
            launches=sum(launches_in(each) for each in found),
            counts=[sum(bins) for bins in zip(*(each.histogram for each in found), strict=True)],
        )
        for (size, _), found in sorted(by_size.items())
    ]


def _delays(launches: Sequence[Launch]) -> list[Delay]:
    """Recorded witnesses by cycles since the signal was seen, in bins that double."""
    counts: dict[int, int] = {}
    for launch in launches:
        for witness in launch.witnesses:
            bin_of = max(0, int(witness["cycles_since_signal"])).bit_length()
            counts[bin_of] = counts.get(bin_of, 0) + 1
    if not counts:
        return []
    return [
        Delay(
            from_cycles=(1 << place) >> 1,
            below_cycles=1 << place,
            witnesses=counts.get(place, 0),
        )
        for place in range(min(counts), max(counts) + 1)
    ]


def _rounds(launches: Sequence[Launch]) -> list[RoundTime]:
    """Round times by size of the tile, of launches of the micro-kernel without noise or delays."""
    by_size: dict[int, list[float]] = {}
    for launch in launches:
        if _is_quiet(launch):
            time = launch.elapsed_seconds / int(launch.knobs["rounds"]) * MICROSECONDS
            by_size.setdefault(int(launch.knobs["tile_bytes"]), []).append(time)
    return [
        RoundTime(tile_bytes=size, launches=len(times), microseconds=median(times))
        for size, times in sorted(by_size.items())
        if len(times) >= FEWEST_LAUNCHES
    ]


def _drains(launches: Sequence[Launch]) -> list[DrainTime]:
    """Waits by size of the tile, of the launches that measured them: a wait for each hand-over."""
    by_size: dict[int, list[float]] = {}
    for launch in launches:
        if launch.drain_cycles and launch.fault is None and launch.tiles:
            mean = launch.drain_cycles / launch.tiles
            by_size.setdefault(int(launch.knobs["tile_bytes"]), []).append(mean)
    return [
        DrainTime(tile_bytes=size, launches=len(means), cycles=median(means))
        for size, means in sorted(by_size.items())
    ]


def _is_quiet(launch: Launch) -> bool:
    knobs = launch.knobs
    timed = {"rounds", "tile_bytes", "noise"} <= set(knobs) and launch.fault is None
    delays = [value for knob, value in knobs.items() if knob.endswith("_cycles")]
    alone = not isinstance(launch, LiveLaunch) and knobs.get("noise") == NO_NOISE
    alone = alone and not knobs.get("time_drain")
    return timed and alone and not any(delays) and launch.elapsed_seconds > 0


def _slot_waits(launches: Iterable[Launch]) -> list[SlotWaits]:
    """Slots of the GEMM by their size: rows times N, two bytes each."""
    by_size: dict[int, list[LiveLaunch]] = {}
    for launch in launches:
        if isinstance(launch, LiveLaunch) and "n" in launch.knobs:
            size = launch.block_m * int(launch.knobs["n"]) * BF16_BYTES
            by_size.setdefault(size, []).append(launch)
    return [
        SlotWaits(
            slot_bytes=size,
            launches=len(same),
            waited=sum(each.waited for each in same),
            slots=sum(each.observations for each in same),
        )
        for size, same in sorted(by_size.items())
    ]


def _wait_groups(declared: Mapping[str, Row]) -> list[dict[str, str]]:
    """Groups of rows that differ in the wait alone, those with the most waits first."""
    found: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
    for name, row in declared.items():
        words = row.variant.words()
        if WAIT_SITE in words:
            rest = tuple((site, word) for site, word in words.items() if site != WAIT_SITE)
            found.setdefault(rest, {})[words[WAIT_SITE]] = name
    groups = [group for group in found.values() if len(group) > 1]
    return sorted(groups, key=lambda group: -len(group))


def _declared(
    protocol: Protocol, settings: Settings, verdicts: Sequence[RowVerdict]
) -> dict[str, Row]:
    if protocol.name != settings.protocol:
        return {}
    by_name = {row.name: row for row in protocol}
    return {
        each.row: by_name[each.row]
        for each in verdicts
        if each.row in by_name and protocol.hash_of(by_name[each.row].variant) == each.variant
    }
