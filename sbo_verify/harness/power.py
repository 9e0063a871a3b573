"""What a run could have seen: its mutation score, and how a violation would have to hide from it.

A mutant is a variant that the model allows to be stale; killed, when a stale tile was seen;
killable, when one was once seen on a GPU in a record that is kept. The score of a run is killed of
killable (MC Mutants, ASPLOS 2023). It weighs the run's bounds: "0 stale in n" is worth as much as
the share of such faults that the same run found.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf
from statistics import median

from sbo_verify.harness.environments import Source
from sbo_verify.rates import lower_bound, upper_bound
from sbo_verify.record import CodeReading, Launch, LaunchSum, RowVerdict, Settings
from sbo_verify.verdict import ModelVerdict, SiliconVerdict

# A violation is called hidden where it would have been missed with more than this probability.
MISSED = 0.05
_SOUND = ModelVerdict.FORBIDDEN.value


@dataclass(frozen=True, kw_only=True)
class Power:
    """The power of one run.

    `missed` are killable mutants that took part unseen. `rate` is the rate of stale hand-overs
    below which a violation of the sound row with the fewest observations, `row`, would be missed
    with more than 5 % probability; `share` the share of environments, likewise: of a violation that
    shows in some launches for sure and in the others never. Both are None without such a row.
    """

    killed: int
    killable: int
    missed: list[str]
    row: str
    observations: int
    launches: int
    rate: float | None
    share: float | None

    @property
    def score(self) -> float | None:
        """Killed of killable; None where no killable mutant took part."""
        return self.killed / self.killable if self.killable else None

    @property
    def score_bound(self) -> float | None:
        """One-sided lower 95 % bound of the share of such faults that a run like this finds."""
        return lower_bound(self.killed, self.killable) if self.killable else None


def power_of(
    verdicts: Sequence[RowVerdict], launches: Iterable[Launch], killable: Collection[str]
) -> Power:
    """The power of a run by its verdicts and launches; `killable` names mutants once seen killed.

    A mutant that this run is the first to kill is killable from now on.
    """
    made = list(launches)
    tiles = hand_overs(verdicts, made)
    mutants = [
        each
        for each in verdicts
        if each.expected != _SOUND and (each.stale > 0 or each.row in killable)
    ]
    quiet = [
        each
        for each in verdicts
        if each.expected == _SOUND and each.silicon == SiliconVerdict.NEVER.value
    ]
    weakest = min(quiet, key=lambda each: tiles[each.row], default=None)
    counts: dict[str, int] = {}
    for launch in made:
        number = launch.launches if isinstance(launch, LaunchSum) else 1
        counts[launch.row] = counts.get(launch.row, 0) + number
    tries = 0 if weakest is None else min(counts.get(each.row, 0) for each in quiet)
    return Power(
        killed=sum(each.stale > 0 for each in mutants),
        killable=len(mutants),
        missed=[each.row for each in mutants if each.stale == 0],
        row="" if weakest is None else weakest.row,
        observations=0 if weakest is None else tiles[weakest.row],
        launches=tries,
        rate=None if weakest is None else upper_bound(0, tiles[weakest.row], 1.0 - MISSED),
        share=upper_bound(0, tries, 1.0 - MISSED) if tries else None,
    )


def hand_overs(verdicts: Sequence[RowVerdict], launches: Iterable[Launch]) -> dict[str, int]:
    """The hand-overs of each row: its observations, less those of a tile by further consumers."""
    further: dict[str, int] = {}
    for launch in launches:
        more = launch.observations - launch.tiles
        further[launch.row] = further.get(launch.row, 0) + more
    return {each.row: each.observations - further.get(each.row, 0) for each in verdicts}


def consumers_sentence(verdicts: Sequence[RowVerdict], launches: Iterable[Launch]) -> str | None:
    """How many hand-overs a run's observations are of; None where each is of another."""
    observations = sum(each.observations for each in verdicts)
    tiles = sum(hand_overs(verdicts, launches).values())
    if tiles == observations:
        return None
    return (
        f"several consumers read the same tile: {observations:,} observations were of {tiles:,} "
        "hand-overs, and bounds are those of hand-overs"
    )


@dataclass(frozen=True, kw_only=True)
class SourcePower:
    """One kind of environment in a run: how many killable mutants it killed of those it tried.

    `observed` is its share of the hand-overs of the sound rows that stayed Never.
    """

    source: str
    killed: int
    tried: int
    observed: float


def by_source(
    verdicts: Sequence[RowVerdict], launches: Iterable[Launch], killable: Collection[str]
) -> list[SourcePower]:
    """The power of a run by `Source`; none of launches that do not say where they came from."""
    quiet = {
        each.row
        for each in verdicts
        if each.expected == _SOUND and each.silicon == SiliconVerdict.NEVER.value
    }
    tried: dict[str, set[str]] = {}
    killed: dict[str, set[str]] = {}
    observed: dict[str, int] = {}
    for each in launches:
        source = source_of(each)
        if each.row in quiet:
            observed[source] = observed.get(source, 0) + each.observations
        elif each.row in killable:
            tried.setdefault(source, set()).add(each.row)
            if each.stale_tiles:
                killed.setdefault(source, set()).add(each.row)
    everything = sum(observed.values())
    return [
        SourcePower(
            source=source.value,
            killed=len(killed.get(source.value, ())),
            tried=len(tried[source.value]),
            observed=observed.get(source.value, 0) / everything if everything else 0.0,
        )
        for source in Source
        if source.value in tried
    ]


def source_sentence(found: Sequence[SourcePower]) -> str:
    """What each kind of environment saw, and how much of the bounds it made."""
    told_of = [
        f"{each.source} killed {each.killed} of {each.tried} and made {each.observed:.0%}"
        for each in found
    ]
    return (
        f"by environment, of the mutants that had one and of sound hand-overs: {'; '.join(told_of)}"
    )


def told(
    settings: Settings, verdicts: Sequence[RowVerdict], launches: Iterable[Launch]
) -> list[str]:
    """The power of a run in words, and whose stress the wanted bound ended.

    Nothing of runs that do not say which mutants were killable, or what bound was wanted, and in
    which each tile had one consumer.
    """
    made = list(launches)
    power = power_of(verdicts, made, settings.killable) if settings.killable else None
    several = consumers_sentence(verdicts, made)
    return [
        *([several] if several else []),
        *(sentences(power) if power else []),
        *([reach_sentence(reach(verdicts, settings.bound))] if settings.bound else []),
    ]


def gate_told(
    settings: Settings,
    verdicts: Sequence[RowVerdict],
    launches: Iterable[Launch],
    readings: Iterable[CodeReading],
) -> list[str]:
    """What a gate says of itself: its power, then by environment, then of shared code."""
    words = {each.row: each.machine_skeleton for each in readings}
    if not settings.killable:
        return []
    made = list(launches)
    sources = by_source(verdicts, made, settings.killable)
    return [
        *told(settings, verdicts, made),
        *([source_sentence(sources)] if sources else []),
        *(pool_sentence(each) for each in pooled(verdicts, words, made) if len(each.rows) > 1),
    ]


def sentences(power: Power) -> list[str]:
    """The run's power in words, the mutation score first; empty where silicon showed nothing."""
    lines = []
    if power.score is not None and power.score_bound is not None:
        lines.append(
            f"mutation score {power.killed} of {power.killable} mutants once seen killed: a run "
            f"like this finds more than {power.score_bound:.0%} of such faults (95 %)"
        )
        if power.missed:
            lines.append(f"not killed: {', '.join(power.missed)}")
    if power.rate is not None and power.share is not None:
        lines.append(
            f"missed with more than {MISSED:.0%} probability: a violation rarer than "
            f"{power.rate:.1e} a hand-over ({power.row}, {power.observations:,} hand-overs, the "
            f"fewest of a sound variant), or one of fewer than {power.share:.1%} of the "
            f"environments drawn ({power.launches:,} launches)"
        )
    return lines


@dataclass(frozen=True, kw_only=True)
class Reach:
    """Which sound rows of a run reached a wanted bound, and with what bound the others ended."""

    wanted: float
    reached: list[str]
    short: list[tuple[str, float]]


def reach(verdicts: Sequence[RowVerdict], wanted: float) -> Reach:
    """How the stress of the sound rows that stayed Never ended: by the bound, or by the budget."""
    quiet = [
        (each.row, each.bound)
        for each in verdicts
        if each.expected == _SOUND
        and each.silicon == SiliconVerdict.NEVER.value
        and each.bound is not None
    ]
    return Reach(
        wanted=wanted,
        reached=[row for row, bound in quiet if bound <= wanted],
        short=[(row, bound) for row, bound in quiet if bound > wanted],
    )


def reach_sentence(found: Reach) -> str:
    """What ended the stress of the sound rows."""
    every = len(found.reached) + len(found.short)
    line = f"bound {found.wanted:.0e} reached by {len(found.reached)} of {every} sound variants"
    if not found.short:
        return line
    ended = ", ".join(
        f"{row} at {bound:.1e}" for row, bound in sorted(found.short, key=lambda each: each[1])
    )
    return f"{line}; ended by the budget: {ended}"


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """Sound rows that became the same ordering words of machine code, and what they saw."""

    rows: list[str]
    observations: int
    bound: float


def pooled(
    verdicts: Sequence[RowVerdict],
    words: Mapping[str, Sequence[tuple[str, Sequence[str]]]],
    launches: Iterable[Launch] = (),
) -> list[Skeleton]:
    """The bounds of machine code that several sound rows share, each of whom stayed Never.

    `words` maps a row to its ordering words by step. A bound of a skeleton speaks of that machine
    code in the launches of all its rows, and of none of their sources. `launches` are those of the
    verdicts, which say how many hand-overs were observed.
    """
    tiles = hand_overs(verdicts, launches)
    groups: dict[str, list[RowVerdict]] = {}
    for each in verdicts:
        never = each.silicon == SiliconVerdict.NEVER.value
        if each.expected == _SOUND and never and words.get(each.row):
            groups.setdefault(repr(words[each.row]), []).append(each)
    made = []
    for group in groups.values():
        observations = sum(tiles[each.row] for each in group)
        made.append(
            Skeleton(
                rows=[each.row for each in group],
                observations=observations,
                bound=upper_bound(0, observations),
            )
        )
    return made


def pool_sentence(pool: Skeleton) -> str:
    """What sound rows with the same ordering words saw together."""
    return (
        f"the same ordering words of machine code in {', '.join(pool.rows)}: 0 stale of "
        f"{pool.observations:,} together, rate below {pool.bound:.1e}"
    )


@dataclass(frozen=True, kw_only=True)
class Sightings:
    """How soon one mutant was seen, over seeds: GPU seconds, None where it stayed unseen.

    `used` are those of all seeds together.
    """

    row: str
    seconds: list[float | None]
    used: float

    @property
    def median(self) -> float | None:
        """Of all seeds, an unseen one counting as later than any; None where that is unseen."""
        return self._of_all(median)

    @property
    def late(self) -> float | None:
        """The 95th percentile, in the same way."""
        return self._of_all(lambda times: times[ceil(0.95 * len(times)) - 1])

    @property
    def kills_a_second(self) -> float:
        """Seeds that saw it in a second of GPU time, by all the time used."""
        return sum(each is not None for each in self.seconds) / self.used if self.used else 0.0

    def _of_all(self, pick: Callable[[list[float]], float]) -> float | None:
        times = sorted(inf if each is None else each for each in self.seconds)
        found = pick(times) if times else inf
        return None if found == inf else found


def source_of(launch: Launch) -> str:
    """What kind of environment a launch had, a `Source`; empty in records that do not say."""
    return next((each.value for each in Source if launch.environment.startswith(each.value)), "")
