"""A second engine, written for clarity alone, agrees with the search on thousands of programs.

It shares no code with the model: it enumerates every reads-from, every partial coherence order and
every order of fence.sc as plain sets, and tests the manual's axioms on each by definition.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations, permutations, product

import pytest
from random_programs import Case, draw

from sbo_verify.model.condition import Both, Compare, MemoryAt, RegisterOf
from sbo_verify.model.litmus import read_text
from sbo_verify.model.search import all_witnesses, find

Pair = tuple[int, int]
Pairs = frozenset[Pair]
Outcome = tuple[int, ...]


@dataclass(frozen=True)
class Ev:
    """An event of the oracle: `kind` is R, W, F (fence), P (proxy fence), I (issue) or C (wait)."""

    kind: str
    thread: int
    place: int
    loc: str = ""
    order: str = "weak"
    scope: str = ""
    const: int = 0
    adds: int = -1  # for the write of an atomic or a copy: index of the read it takes from
    is_async: bool = False
    ordered: bool = True


def closure(pairs: set[Pair] | Pairs) -> Pairs:
    """Transitive closure by repeated joining."""
    known = set(pairs)
    while True:
        more = {(a, d) for a, b in known for c, d in known if b == c} - known
        if not more:
            return frozenset(known)
        known |= more


def events_of(case: Case) -> tuple[list[Ev], Pairs, Pairs, list[tuple[int, str, int]]]:
    """Events, completion edges, atomic pairs, and the registers as (thread, name, read)."""
    events = [Ev("W", -1, -1, "x"), Ev("W", -1, -1, "y")]
    done: set[Pair] = set()
    atomics: set[Pair] = set()
    registers: list[tuple[int, str, int]] = []
    for thread, instructions in enumerate(case.threads):
        copies: list[Pair] = []
        for place, text in enumerate(instructions):
            name, *operands = text.replace(",", " ").split()
            words = name.split(".")
            base = Ev("F", thread, place)
            if words[0] == "ld":
                registers.append((thread, operands[0], len(events)))
                scope = words[2] if len(words) > 2 else ""
                events.append(replace(base, kind="R", loc=operands[1], order=words[1], scope=scope))
            elif words[0] == "st":
                scope = words[2] if len(words) > 2 else ""
                const = int(operands[1])
                events.append(
                    replace(
                        base, kind="W", loc=operands[0], order=words[1], scope=scope, const=const
                    )
                )
            elif words[0] == "atom":
                order, scope = words[1], words[2]
                read = replace(base, kind="R", loc=operands[1], order=order, scope=scope)
                registers.append((thread, operands[0], len(events)))
                atomics.add((len(events), len(events) + 1))
                write = replace(read, kind="W", const=int(operands[2]), adds=len(events))
                events += [read, write]
            elif name == "fence.proxy.async":
                events.append(replace(base, kind="P"))
            elif words[0] == "fence":
                events.append(replace(base, order=words[1], scope=words[2]))
            elif "bulk_group" in name:
                issue = len(events)
                read = replace(base, kind="R", loc=operands[1], is_async=True, ordered=False)
                write = replace(read, kind="W", loc=operands[0], adds=issue + 1)
                events += [replace(base, kind="I"), read, write]
                copies.append((issue + 1, issue + 2))
            elif "wait_group" in name:
                fence = len(events)
                events += [replace(base, kind="P", ordered=False), replace(base, kind="C")]
                covered = [r for r, _ in copies] + (
                    [] if "read" in name else [w for _, w in copies]
                )
                done |= {(access, fence) for access in covered} | (
                    {(fence, fence + 1)} if covered else set()
                )
    return events, frozenset(done), frozenset(atomics), registers


def partial_orders(items: list[int]) -> Iterator[Pairs]:
    """Every strict partial order, each as a transitive set of pairs."""
    pairs = [(a, b) for a in items for b in items if a != b]
    for size in range(len(pairs) + 1):
        for choice in combinations(pairs, size):
            chosen = frozenset(choice)
            if closure(chosen) == chosen and not any((b, a) in chosen for a, b in chosen):
                yield chosen


ORDERS = {n: list(partial_orders(list(range(n)))) for n in range(4)}


class Oracle:
    """Every outcome of a case, by definition."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.ev, self.done, self.rmw, self.registers = events_of(case)
        n = range(len(self.ev))
        ev = self.ev
        self.po = frozenset(
            (a, b)
            for a in n
            for b in n
            if a < b and ev[a].thread == ev[b].thread >= 0 and ev[a].ordered and ev[b].ordered
        )
        self.memory = [i for i in n if ev[i].kind in "RW"]
        self.ms = frozenset((a, b) for a in n for b in n if a != b and self.morally_strong(a, b))
        self.issues = frozenset(
            (a, b)
            for a in n
            for b in n
            if ev[a].kind == "I"
            and ev[b].is_async
            and ev[b].thread == ev[a].thread
            and ev[b].place == ev[a].place
        )

    def strong(self, i: int) -> bool:
        """Fences, and accesses that are not weak."""
        return self.ev[i].kind == "F" or (self.ev[i].kind in "RW" and self.ev[i].order != "weak")

    def in_scope(self, a: int, b: int) -> bool:
        """Does the scope of `a` include the thread of `b`?"""
        mine, other = self.case.places[self.ev[a].thread], self.case.places[self.ev[b].thread]
        return {"cta": mine == other, "gpu": mine[1] == other[1], "sys": True}[self.ev[a].scope]

    def morally_strong(self, a: int, b: int) -> bool:
        """Moral strength of two different events."""
        one, two = self.ev[a], self.ev[b]
        if one.is_async != two.is_async or one.kind == "P" or two.kind == "P":
            return False
        if one.kind in "RW" and two.kind in "RW" and one.loc != two.loc:
            return False
        if (a, b) in self.po or (b, a) in self.po:
            return True
        if min(one.thread, two.thread) < 0 or not (self.strong(a) and self.strong(b)):
            return False
        return self.in_scope(a, b) and self.in_scope(b, a)

    def outcomes(self) -> set[Outcome]:
        """The values of all registers, for every allowed execution."""
        found: set[Outcome] = set()
        for values, rf in self.valued():
            outcome = tuple(values[read] for _, _, read in self.registers)
            if outcome not in found and any(self.finals(rf, c, values) for c in self.causes(rf)):
                found.add(outcome)
        return found

    def final_states(self) -> set[tuple[int, int]]:
        """The values of x and y at the end, for every allowed execution."""
        return {
            state
            for values, rf in self.valued()
            for cause in self.causes(rf)
            for state in self.finals(rf, cause, values)
        }

    def valued(self) -> Iterator[tuple[dict[int, int], dict[int, int]]]:
        """Every reads-from with the values that follow from it."""
        reads = [i for i in self.memory if self.ev[i].kind == "R"]
        writes = [i for i in self.memory if self.ev[i].kind == "W"]
        sources = [[w for w in writes if self.ev[w].loc == self.ev[r].loc] for r in reads]
        for choice in product(*sources):
            rf = dict(zip(reads, choice, strict=True))
            values = self.values(rf)
            if values is not None:
                yield values, rf

    def values(self, rf: dict[int, int]) -> dict[int, int] | None:
        """Values of all events; None where one would justify itself."""
        values: dict[int, int] = {}
        for _ in range(2 * len(self.ev) + 1):
            for i in self.memory:
                event = self.ev[i]
                if event.kind == "R" and rf[i] in values:
                    values[i] = values[rf[i]]
                elif event.kind == "W" and event.adds < 0:
                    values[i] = event.const
                elif event.kind == "W" and event.adds in values:
                    values[i] = values[event.adds] + event.const
        return values if len(values) == len(self.memory) else None

    def causes(self, rf: dict[int, int]) -> Iterator[set[Pair]]:
        """Causality order for every order of fence.sc that does not contradict it."""
        observed = {(w, r) for r, w in rf.items() if (w, r) in self.ms}
        while True:
            more = {
                (w, r2)
                for w, r in observed
                for a, b in self.rmw
                for w2, r2 in observed
                if r == a and w2 == b
            } - observed
            if not more:
                break
            observed |= more
        sync = self.synchronizes(observed)
        fences = [i for i, e in enumerate(self.ev) if e.kind == "F" and e.order == "sc"]
        for order in permutations(fences):
            sc = {(a, b) for a, b in combinations(order, 2) if (a, b) in self.ms}
            base = closure(self.po | sync | sc | self.done)
            base |= {
                (a, d)
                for a, b in base | {(i, i) for i, _ in self.issues}
                for c, d in self.issues
                if b == c
            }
            if any((b, a) in base for a, b in sc):
                continue
            kept = {(a, b) for a in self.memory for b in self.memory if self.preserved(base, a, b)}
            cause = kept | {(w, y) for w, r in observed for z, y in kept if r == z}
            yield cause

    def synchronizes(self, observed: set[Pair]) -> set[Pair]:
        """Release patterns that acquire patterns observe, with ends that are morally strong."""
        n = range(len(self.ev))
        releases = [(a, b) for a in n for b in n if self.is_pattern(a, b, "release", "W")]
        acquires = [(a, b) for a in n for b in n if self.is_pattern(b, a, "acquire", "R")]
        return {
            (first, last)
            for first, w in releases
            for r, last in acquires
            if (w, r) in observed and (first, last) in self.ms
        }

    def is_pattern(self, end: int, access: int, order: str, kind: str) -> bool:
        """Does `end` release for the strong write `access`, or acquire for the strong read?"""
        outer, inner = self.ev[end], self.ev[access]
        if inner.kind != kind or not self.strong(access):
            return False
        pair = (end, access) if kind == "W" else (access, end)
        if outer.kind == "F":
            return outer.order in {order, "acq_rel", "sc"} and pair in self.po
        if outer.kind != kind or outer.order not in {order, "acq_rel"}:
            return False
        return end == access or (pair in self.po and outer.loc == inner.loc)

    def cta(self, i: int) -> tuple[int, int]:
        """The CTA of an event."""
        return self.case.places[self.ev[i].thread]

    def preserved(self, base: Pairs, a: int, b: int) -> bool:
        """Proxy-preserved base causality, strict reading."""
        one, two = self.ev[a], self.ev[b]
        if one.loc != two.loc or min(one.thread, two.thread) < 0:
            return False
        if one.is_async and two.is_async and self.cta(a) == self.cta(b) and (a, b) in base:
            return True
        fences = [i for i, e in enumerate(self.ev) if e.kind == "P"]
        out = (
            [a]
            if not one.is_async
            else [f for f in fences if (a, f) in base and self.cta(f) == self.cta(a)]
        )
        into = (
            [b]
            if not two.is_async
            else [f for f in fences if (f, b) in base and self.cta(f) == self.cta(b)]
        )
        return any((f, g) in base for f in out for g in into)

    def finals(
        self, rf: dict[int, int], cause: set[Pair], values: dict[int, int]
    ) -> set[tuple[int, int]]:
        """The final x and y under every coherence order that keeps the axioms; none: forbidden."""
        ends: list[set[int]] = []
        for first, loc in enumerate(("x", "y")):
            writes = [i for i in self.memory if self.ev[i].kind == "W" and self.ev[i].loc == loc]
            writes.remove(first)
            here = {r: w for r, w in rf.items() if self.ev[r].loc == loc}
            ends.append(set())
            if any((r, w) in cause for r, w in here.items()):
                return set()
            for shape in ORDERS[len(writes)]:
                co = {(writes[a], writes[b]) for a, b in shape} | {(first, w) for w in writes}
                if self.keeps(here, cause, co, writes):
                    last = set(writes or [first]) - {a for a, _ in co}
                    ends[-1] |= {values[w] for w in last or {first}}
        return set(product(ends[0], ends[1]))

    def keeps(self, rf: dict[int, int], cause: set[Pair], co: set[Pair], writes: list[int]) -> bool:
        """Coherence, causality and atomicity at one location, for one coherence order."""
        for a, b in product(writes, writes):
            if (a, b) in cause and (a == b or (a, b) not in co):
                return False
            if a != b and (a, b) in self.ms and (a, b) not in co and (b, a) not in co:
                return False
        fr = {(r, w) for r, s in rf.items() for c, w in co if c == s}
        if any((b, a) in cause for a, b in fr):
            return False
        return not any(
            (r, m) in fr and (m, w) in co and (r, m) in self.ms and (m, w) in self.ms
            for r, w in self.rmw
            for m in writes
        )


def of_the_model(case: Case) -> set[Outcome]:
    """The outcomes that the search finds."""
    program = read_text(case.text())
    registers = [RegisterOf(t, name) for t, name, _ in events_of(case)[3]]
    # True of every execution; it names the registers so that a witness reports them.
    asked = Both(tuple(Compare(register, "!=", 10**6) for register in registers))
    found = set()
    for witness in all_witnesses(program, asked):
        found.add(tuple(witness.final[register] for register in registers))
    return found


@pytest.mark.parametrize("seed", range(8))
def test_random_programs_have_the_outcomes_that_the_definitions_give(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(250):
        case = draw(rng)
        if not any(case.threads):
            continue
        assert of_the_model(case) == Oracle(case).outcomes(), case.text()


@pytest.mark.parametrize("seed", range(100, 104))
def test_random_programs_end_in_the_memories_that_the_definitions_give(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(25):
        case = draw(rng)
        if not any(case.threads):
            continue
        program = read_text(case.text())
        found = {
            (x, y)
            for x, y in product(range(7), range(7))
            if find(
                program,
                Both((Compare(MemoryAt("x"), "==", x), Compare(MemoryAt("y"), "==", y))),
            ).witness
        }
        assert found == Oracle(case).final_states(), case.text()


def test_the_oracle_itself_knows_message_passing() -> None:
    """A second engine that allows, or forbids, everything would agree with nothing."""
    writer = ("st.weak x, 1", "st.release.gpu y, 1")
    reader = ("ld.acquire.gpu r0, y", "ld.weak r1, x")
    near, far = ((0, 0), (1, 0)), ((0, 0), (1, 1))
    assert Oracle(Case(near, (writer, reader))).outcomes() == {(0, 0), (0, 1), (1, 1)}
    assert Oracle(Case(far, (writer, reader))).outcomes() == {(0, 0), (0, 1), (1, 1), (1, 0)}
