"""A long run's records made small: quiet launches added up, everything that tells kept whole.

Of each row there remain the launches that tell something and, of each kind of environment, at most
the sum of the quiet ones before the row's first stale tile and the sum of those after it. Counters,
GPU time and the moment of the first stale tile come out as from the launches themselves; folding
what was folded changes nothing. A folded launch can be launched again by its seed and index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from typing import Any

from sbo_verify.harness.tally import tally
from sbo_verify.record import Footprint, Launch, LaunchSum, LiveLaunch
from sbo_verify.store import RawRecord
from sbo_verify.verdict import SiliconVerdict

# Stale launches that are kept whole: of a sound row, where each is an alarm, and of any other row.
KEPT_ALARMS = 1000
KEPT_STALE = 8
# Footprints of a run: beyond so many, every second one goes.
KEPT_FOOTPRINTS = 256
# Values of a knob that a sum names.
NAMED_VALUES = 8

# What adds up: every figure of a launch but its name's.
COUNTERS = tuple(
    item.name
    for item in fields(Launch)
    if item.type in {"int", "float"} and item.name not in {"seed", "index"}
)
# Words that a sum has where all its launches agree.
_WORDS = tuple(
    item.name
    for item in fields(Launch)
    if item.type == "str" and item.name not in {"row", "variant", "environment"}
)
_COUNTED = {SiliconVerdict.NEVER, SiliconVerdict.SOMETIMES, SiliconVerdict.ALWAYS}
_STRAYS = ("slots_short", "slots_over", "slots_stray")


def is_odd(launch: Launch) -> bool:
    """Whether a launch tells more than its counts: a fault, an overshoot, counts in doubt."""
    if tally([launch]).word not in _COUNTED:
        return True
    return isinstance(launch, LiveLaunch) and any(launch.audit[word] for word in _STRAYS)


def launches_in(record: Launch) -> int:
    """How many launches a record is of."""
    return record.launches if isinstance(record, LaunchSum) else 1


def last_index(record: Launch) -> int:
    """The index of a launch, or the last of those that were added up."""
    return record.last_index if isinstance(record, LaunchSum) else record.index


@dataclass
class _Row:
    """What remains of one row's launches."""

    may_keep: int
    before: dict[str, LaunchSum] = field(default_factory=dict)
    whole: list[Launch] = field(default_factory=list)
    after: dict[str, LaunchSum] = field(default_factory=dict)
    stale_kept: int = 0

    def take(self, record: Launch) -> None:
        if isinstance(record, LaunchSum):
            self._fold(record)
        elif is_odd(record) or (record.stale_tiles and self.stale_kept < self.may_keep):
            self.whole.append(record)
            self.stale_kept += record.stale_tiles > 0
        else:
            self._fold(record)

    def _fold(self, record: Launch) -> None:
        sums = self.after if self.stale_kept else self.before
        kind = kind_of(record.environment)
        sums[kind] = added(sums.get(kind), record)

    def records(self) -> Iterator[Launch]:
        yield from self.before.values()
        yield from self.whole
        yield from self.after.values()


def kind_of(environment: str) -> str:
    """The kind of an environment: its first word, behind which stands which one it was."""
    return environment.split(maxsplit=1)[0] if environment else ""


def folder(is_sound: Callable[[str], bool]) -> Callable[[Sequence[RawRecord]], list[RawRecord]]:
    """A function that folds a run's records; `is_sound` says of a row's name what it is declared.

    Readings keep their order and come first, then each row's launches, then the footprints.
    """

    def folded(records: Sequence[RawRecord]) -> list[RawRecord]:
        rows: dict[str, _Row] = {}
        readings: list[RawRecord] = []
        footprints: list[Footprint] = []
        for record in records:
            if isinstance(record, Launch):
                if record.row not in rows:
                    rows[record.row] = _Row(KEPT_ALARMS if is_sound(record.row) else KEPT_STALE)
                rows[record.row].take(record)
            elif isinstance(record, Footprint):
                footprints.append(record)
            else:
                readings.append(record)
        launches = [each for row in rows.values() for each in row.records()]
        return [*readings, *launches, *thinned(footprints)]

    return folded


def added(so_far: LaunchSum | None, record: Launch) -> LaunchSum:
    """The sum with one record more."""
    if so_far is None:
        values = {item.name: getattr(record, item.name) for item in fields(Launch)}
        return LaunchSum(
            **values
            | {
                "environment": kind_of(record.environment),
                "knobs": _values({}, record.knobs),
                "witnesses": [],
                "launches": launches_in(record),
                "last_index": last_index(record),
            }
        )
    sums: dict[str, Any] = {
        name: getattr(so_far, name) + getattr(record, name) for name in COUNTERS
    }
    words: dict[str, Any] = {
        name: getattr(so_far, name) if getattr(so_far, name) == getattr(record, name) else ""
        for name in _WORDS
    }
    return replace(
        so_far,
        **sums,
        **words,
        index=min(so_far.index, record.index),
        last_index=max(so_far.last_index, last_index(record)),
        launches=so_far.launches + launches_in(record),
        knobs=_values(so_far.knobs, record.knobs),
        histogram=_histogram(so_far.histogram, record.histogram),
    )


def _values(so_far: dict[str, Any], more: dict[str, Any]) -> dict[str, list[Any]]:
    """The values that each knob had; a plain value is one launch's, a list those of a sum."""
    merged = {name: list(values) for name, values in so_far.items()}
    for name, value in more.items():
        known = merged.setdefault(name, [])
        for each in value if isinstance(value, list) else [value]:
            if each not in known and len(known) < NAMED_VALUES:
                known.append(each)
    return merged


def _histogram(one: Sequence[int], other: Sequence[int]) -> list[int]:
    if not one or not other:
        return list(one or other)
    return [a + b for a, b in zip(one, other, strict=True)]


def thinned(footprints: Sequence[Footprint]) -> list[Footprint]:
    """Footprints of which, where they are many, every second one is left, and the last."""
    kept = list(footprints)
    while len(kept) > KEPT_FOOTPRINTS:
        kept = [*kept[:-1:2], kept[-1]]
    return kept


def gaps(launches: Iterable[Launch]) -> list[str]:
    """Where a row's launches, folded or not, are not each of 0, 1, 2 and so on exactly once."""
    by_row: dict[tuple[str, int], list[Launch]] = {}
    for record in launches:
        by_row.setdefault((record.row, record.seed), []).append(record)
    found = []
    for (row, seed), records in by_row.items():
        count = sum(launches_in(each) for each in records)
        end = max(last_index(each) for each in records) + 1
        if count != end:
            found.append(f"{row} (seed {seed}) has {count:,} launches up to index {end - 1:,}")
        whole = sorted(each.index for each in records if not isinstance(each, LaunchSum))
        twice = sorted({one for one, other in pairwise(whole) if one == other})
        if twice:
            found.append(f"{row} (seed {seed}) has launch {twice[0]} twice")
    return found
