"""What threads may know at each instruction: states, and how conditions and meetings change them.

A state is what a thread knows of tile stores, polls and shared-memory writes: its own (`own`), and
other threads', as far as meetings told it (`seen`), with the threads (`mask`, by `%tid.x`) and the
conditions that it holds for. What a meeting tells is the worst that any arriving thread holds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sbo_verify.compiled.inspection.conditions import Condition
from sbo_verify.compiled.inspection.events import Event
from sbo_verify.compiled.inspection.facts import (
    Key,
    Literal,
    SeenKey,
    Told,
    of_the_cta,
    passed_on,
    worse,
)
from sbo_verify.compiled.inspection.joins import WARPS, Coming


class GivenUpError(RuntimeError):
    """A function with more ways through it than are followed."""


@dataclass(frozen=True, slots=True)
class State:
    """What one thread may know at one place."""

    own: Mapping[Key, str]
    seen: Mapping[SeenKey, str]
    mask: int
    literals: frozenset[Literal]

    @property
    def facts(self) -> tuple[frozenset[tuple[Key, str]], frozenset[tuple[SeenKey, str]]]:
        """What tells states apart."""
        return frozenset(self.own.items()), frozenset(self.seen.items())


Summary = dict[Key, Told]
# What a warp barrier tells of the stores of its own warp, by what they are.
_OF_A_WARP = {"s": "q", "h": "u"}


@dataclass
class Ways:
    """The states before each event, and the threads that execute it, by its instruction."""

    at: dict[int, list[State]] = field(default_factory=dict)
    _coming: dict[int, Coming] = field(default_factory=dict)

    def states(self, event: Event) -> list[State]:
        """The states in which threads come to an event."""
        return self.at.get(id(event.op), [])

    def mask(self, event: Event) -> int:
        """The threads that may execute it."""
        return self.coming(event).mask

    def literals(self, event: Event) -> frozenset[Literal]:
        """The conditions under which alone it is executed."""
        return self.coming(event).literals

    def coming(self, event: Event) -> Coming:
        """Both of these."""
        if id(event.op) not in self._coming:
            states = self.states(event)
            mask = 0
            common = states[0].literals if states else frozenset[Literal]()
            for state in states:
                mask |= state.mask
                common &= state.literals
            self._coming[id(event.op)] = Coming(mask, common)
        return self._coming[id(event.op)]


def summary(
    sites: Sequence[tuple[Coming, list[State]]],
    executed: Mapping[int, Coming],
    *,
    partial: bool,
) -> Summary:
    """The worst that any arriving thread holds of each fact.

    Where a thread that may have done it never arrives, nothing is told of it; `executed` has the
    threads that may, by place. Of the places of a warp that one elected thread comes to, it speaks
    for itself, and for the others where a warp barrier told it of them ("q").
    """
    own: dict[Key, str] = {}
    covered: dict[Key, int] = {}
    for come, states in sites:
        for state in states:
            for (what, place), word in state.own.items():
                if what in "tw":
                    continue
                key = what, place
                own[key] = worse(own.get(key, passed_on(what, word)), passed_on(what, word))
                spoken = _spoken_for(state, key, come, executed[place])
                covered[key] = covered.get(key, 0) | spoken
    told: Summary = {}
    for key, word in own.items():
        if key[0] == "p":
            told[key] = ("around" if _around(key, sites, executed) else word, True)
        elif not executed[key[1]].mask & ~covered[key]:
            told[key] = (word, True)
    for key, (word, fresh) in _heard(sites, partial=partial).items():
        if key not in told:
            told[key] = (worse(word, own.get(key, word)), fresh)
    return told


def _heard(sites: Iterable[tuple[Coming, list[State]]], *, partial: bool) -> Summary:
    """What arriving threads were told before; all of a place, where others need not come."""
    found: Summary = {}
    for _, states in sites:
        heard = [_seen_by(state) for state in states]
        for key in {key for each in heard for key in each}:
            have = [each[key] for each in heard if key in each]
            if partial and len(have) < len(heard):
                found[key] = ("", False)
                continue
            for word, fresh in have:
                old, was = found.get(key, (word, True))
                found[key] = (worse(old, word) if old else "", was and fresh)
    return {key: told for key, told in found.items() if told[0]}


def _seen_by(state: State) -> Summary:
    found: Summary = {}
    for (what, place, turn), word in state.seen.items():
        if what not in "qu" and (turn or (what, place, True) not in state.seen):
            found[what, place] = (passed_on(what, word), turn)
    return found


def _around(
    key: Key, sites: Iterable[tuple[Coming, list[State]]], executed: Mapping[int, Coming]
) -> bool:
    """Whether a thread that polls may arrive without having polled.

    One that was not elected is not such a thread, nor is one of a CTA that does not poll at all.
    """
    polling = executed[key[1]]
    opposite = {(name, not positive, leaves) for name, positive, leaves in polling.literals}
    for _, states in sites:
        for state in states:
            if any(what == "p" for what, _ in state.own) or not state.mask & polling.mask:
                continue
            excused = opposite & state.literals
            if not any(
                name.startswith("elect") or of_the_cta((name, positive, leaves))
                for name, positive, leaves in excused
            ):
                return True
    return False


def warp_summary(
    told: Summary,
    sites: Iterable[tuple[Coming, list[State]]],
    executed: Mapping[int, Coming],
    group: int,
) -> Summary:
    """What a warp barrier tells besides: stores of its own warp's threads alone ("q", "u")."""
    own: dict[Key, str] = {}
    covered: dict[Key, int] = {}
    for _, states in sites if group in WARPS else ():
        for state in states:
            for (what, place), word in state.own.items():
                if what in _OF_A_WARP:
                    key = _OF_A_WARP[what], place
                    own[key] = worse(own.get(key, passed_on(what, word)), passed_on(what, word))
                    covered[key] = covered.get(key, 0) | state.mask
    found = {
        key: (word, True)
        for key, word in own.items()
        if ({"q": "s", "u": "h"}[key[0]], key[1]) not in told
        and not executed[key[1]].mask & group & ~covered[key]
    }
    return {**told, **found}


def _spoken_for(state: State, key: Key, come: Coming, executed: Coming) -> int:
    """The threads that an arriving one speaks for."""
    what, place = key
    speaks = state.mask
    if come.elected and not executed.elected:
        speaks = 0
    if what == "s" and ("q", place, True) in state.seen:
        for warp in WARPS:
            if state.mask & warp:
                speaks |= warp
    return speaks


def assume(state: State, condition: Condition, once: Collection[str] = frozenset()) -> State | None:
    """The state of the threads for which a condition holds; None where it can hold for none.

    Conditions of `once` are asked for once only, and are not remembered.
    """
    mask, literals = state.mask, state.literals
    pending = [condition]
    while pending:
        each = pending.pop()
        if each.threads is not None:
            mask &= each.threads
            if mask == 0:
                return None
            continue
        if (each.key, not each.positive, each.leaves) in literals:
            return None
        if each.key not in once:
            literals |= {(each.key, each.positive, each.leaves)}
        pending.extend(each.parts_if_true)
    if mask == state.mask and literals == state.literals:
        return state
    return State(state.own, state.seen, mask, literals)


def forget(state: State, registers: frozenset[str]) -> State:
    """The state behind an instruction that changes registers that conditions are read from."""
    kept = frozenset(each for each in state.literals if not each[2] & registers)
    return State(state.own, state.seen, state.mask, kept)


def join(known: dict[object, State], state: State) -> bool:
    """Adds a state to those of one place; True where that is news."""
    facts = state.facts
    old = known.get(facts)
    if old is None:
        known[facts] = state
        return True
    mask, literals = old.mask | state.mask, old.literals & state.literals
    if mask == old.mask and literals == old.literals:
        return False
    known[facts] = State(old.own, old.seen, mask, literals)
    return True
