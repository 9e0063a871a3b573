"""The verdict on each hand-off: ordered, not ordered, or cannot tell, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from sbo_verify.compiled.inspection.text import Op


class HandOffVerdict(StrEnum):
    """Is the data ordered before the signal, or the signal before the reads, on every path?"""

    ORDERED = "ordered"
    NOT_ORDERED = "not ordered"
    CANNOT_TELL = "cannot tell"


class Side(StrEnum):
    """Which part of a hand-off was judged."""

    PUBLISH = "publish"
    POLL = "poll"
    SOURCE = "source of a bulk store"
    SPIN = "spin"


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule that a hand-off breaks: at `op`, because of `cause` (a store, a poll, a fence)."""

    rule: str
    op: Op
    cause: Op | None = None
    detail: str = ""


@dataclass
class HandOff:
    """One hand-off: `op` publishes, polls, stores or spins; `data` is what it hands over."""

    function: str
    side: Side
    op: Op
    data: list[Op] = field(default_factory=list)
    ordering: list[Op] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    provided: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> HandOffVerdict:
        """Not ordered comes before cannot tell, and that before ordered."""
        if self.broken:
            return HandOffVerdict.NOT_ORDERED
        return HandOffVerdict.CANNOT_TELL if self.unknown else HandOffVerdict.ORDERED

    def add(self, rule: str, op: Op, cause: Op | None, detail: str = "") -> None:
        """Note a broken rule at an instruction once, with the first cause of many alike."""
        if not any((e.rule, e.op, e.detail) == (rule, op, detail) for e in self.broken):
            self.broken.append(Broken(rule, op, cause, detail))

    def doubt(self, why: str) -> None:
        """Note once why nothing can be said."""
        if why not in self.unknown:
            self.unknown.append(why)

    def take(self, other: HandOff) -> None:
        """Note what was found apart."""
        for each in other.broken:
            self.add(each.rule, each.op, each.cause, each.detail)
        for why in other.unknown:
            self.doubt(why)

    def suppose(self, what: str) -> None:
        """Nothing is surely broken where it is not known that there is a hand-off."""
        for each in self.broken:
            self.doubt(f"{what}: if so, it breaks {each.rule}")
        self.broken.clear()
