"""Mbarriers whose phases can be counted: then a wait is told by the arrivals of its phase.

An mbarrier is followed where one `init` gives its count, exactly that many threads can arrive in a
phase, and the wait asks for the phase that they end: by the token of the thread's own arrival, by
parity 0 where nothing arrives in a loop, or by a parity that changes in every turn of the loop in
which they arrive. Source: PTX ISA 9.0, "mbarrier", "mbarrier.test_wait / mbarrier.try_wait".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sbo_verify.compiled.inspection.events import Event, Events, Part
from sbo_verify.compiled.inspection.graph import Graph
from sbo_verify.compiled.inspection.joins import WARPS, Coming, Joins, Meeting
from sbo_verify.compiled.inspection.text import Op
from sbo_verify.compiled.inspection.values import ALL_THREADS, Values, uniform
from sbo_verify.vocabulary import Order

# One mbarrier: what its address is computed from, and the offset in it.
_Object = tuple[str, int]
_Loop = frozenset[int]


@dataclass
class _Phases:
    """What is needed to count phases."""

    joins: Joins
    values: Values
    events: Events
    coming: Mapping[int, Coming]

    @property
    def graph(self) -> Graph:
        return self.joins.graph

    def address(self, event: Event) -> _Object | None:
        return (event.root, event.offset) if event.root and event.buffer else None

    def threads(self, event: Event) -> int | None:
        """How many arrivals one phase can get here, None if that is not known."""
        come = self.coming[id(event.op)]
        count = come.mask.bit_count()
        if come.elected:
            count = sum(bool(come.mask & warp) for warp in WARPS)
        operands = event.op.operands
        place = next(i for i, each in enumerate(operands) if each.startswith("["))
        if "expect_tx" in event.op.mnemonic or len(operands) == place + 1:
            return count
        each = uniform(self.values.of(operands[place + 1]))
        return None if each is None else each * count


def follow_mbarriers(
    joins: Joins, values: Values, events: Events, coming: Mapping[int, Coming]
) -> None:
    """Add the meetings at mbarriers; what cannot be counted goes to the others."""
    phases = _Phases(joins, values, events, coming)
    arrivals = [e for e in events.of(Part.MBARRIER_ARRIVE) if coming[id(e.op)].mask]
    waits = events.of(Part.MBARRIER_WAIT)
    _answers(joins, values, waits)
    counted: set[int] = set()
    for wait in waits:
        meeting = _meeting(phases, wait, arrivals)
        asked = any(event is wait for event, _ in joins.waits.values())
        if meeting is None or not asked:
            joins.others.append(wait)
        else:
            joins.add(wait, meeting)
            counted |= {id(each.op) for each in meeting.arrivals}
    joins.others += [each for each in arrivals if id(each.op) not in counted]


def _meeting(phases: _Phases, wait: Event, arrivals: Sequence[Event]) -> Meeting | None:
    name = phases.address(wait)
    here = [each for each in arrivals if phases.address(each) == name]
    count = _count(phases, wait, name) if name is not None else None
    unknown = [
        each
        for each in (*arrivals, *phases.events.of(Part.MBARRIER_INIT, Part.OTHER_SYNC))
        if phases.address(each) is None and _may_be(each, wait)
    ]
    threads = [phases.threads(each) for each in here]
    if unknown or not here or count is None or None in threads:
        return None
    if not all(_initialized(phases, name, each) for each in (*here, wait)):
        return None
    if sum(each or 0 for each in threads) != count:
        return None
    loops = {phases.graph.loop_of(each.op) for each in here}
    told = _one_phase(phases, wait, here) if loops == {None} else None
    if None not in loops and len(loops) == 1:
        told = _phase_of_turn(phases, wait, here, count)
    if told is None:
        return None
    relaxed = any(e.instruction and e.instruction.order is Order.RELAXED for e in (*here, wait))
    return Meeting((ALL_THREADS,), tuple(here), partial=True, told=told and not relaxed)


def _count(phases: _Phases, wait: Event, name: _Object) -> int | None:
    """The arrivals that end a phase, where one instruction says so, once."""
    inits = [e for e in phases.events.of(Part.MBARRIER_INIT) if phases.address(e) == name]
    others = [e for e in phases.events.of(Part.OTHER_SYNC) if _may_be(e, wait)]
    if len(inits) != 1 or others or len(inits[0].op.operands) < 2:  # noqa: PLR2004 - address, count
        return None
    if phases.graph.loop_of(inits[0].op) is not None:
        return None
    return uniform(phases.values.of(inits[0].op.operands[1]))


def _initialized(phases: _Phases, name: _Object | None, event: Event) -> bool:
    """Whether a barrier stands between the initialization and a use by other threads."""
    inits = [e for e in phases.events.of(Part.MBARRIER_INIT) if phases.address(e) == name]
    before = phases.graph.before
    return any(
        before(init.op, barrier.op) and before(barrier.op, event.op)
        for init in inits
        for barrier in phases.events.of(Part.BARRIER, Part.CLUSTER_WAIT)
        if id(barrier.op) in phases.joins.meetings
    )


def _may_be(event: Event, wait: Event) -> bool:
    return not event.buffer or event.buffer == wait.buffer


def _asks(wait: Event) -> str:
    """The operand that says which phase is asked for."""
    place = next(i for i, each in enumerate(wait.op.operands) if each.startswith("["))
    return wait.op.operands[place + 1] if len(wait.op.operands) > place + 1 else ""


def _own_token(phases: _Phases, wait: Event, here: Sequence[Event]) -> bool:
    """Whether the phase is that of the waiting thread's own arrival."""
    found = phases.values.definitions(_asks(wait))
    places = {id(each.op) for each in here}
    return bool(found) and all(id(op) in places for op in found)


def _one_phase(phases: _Phases, wait: Event, here: Sequence[Event]) -> bool | None:
    """Where each thread arrives once: phase 0 is the only one, and parity 1 is over at once."""
    if ".parity" not in wait.op.mnemonic:
        return True if _own_token(phases, wait, here) else None
    parity = uniform(phases.values.of(_asks(wait)))
    return None if parity is None else parity & 1 == 0


def _phase_of_turn(phases: _Phases, wait: Event, here: Sequence[Event], count: int) -> bool | None:
    """Where the threads arrive in each turn of a loop, and the wait asks for this turn's phase."""
    graph = phases.graph
    loop = graph.loop_of(here[0].op)
    if loop is None:
        return None
    if ".parity" in wait.op.mnemonic:
        found = _turns(phases, wait)
        if found is None or found[1] != 0:
            return None
        if found[0] != loop and not found[0].isdisjoint(loop):
            return None
    elif not _own_token(phases, wait, here) or not _inside(graph, wait, loop):
        return None
    if count == 1:
        return True
    held = [each.op for each in phases.events.of(Part.MBARRIER_WAIT) if _holds(phases, each, wait)]
    held += _barriers(phases, here)
    once = graph.always(loop, None, [each.op for each in here])
    again = all(graph.always(loop, each.op, held) for each in here)
    return True if once and again else None


def _inside(graph: Graph, wait: Event, loop: _Loop) -> bool:
    return graph.home[id(wait.op)][0] in loop


def _holds(phases: _Phases, event: Event, wait: Event) -> bool:
    same = phases.address(event) == phases.address(wait)
    return same and event.op.guard is None


def _barriers(phases: _Phases, here: Sequence[Event]) -> list[Op]:
    """Barriers that all arriving threads meet at."""
    arriving = 0
    for each in here:
        arriving |= phases.coming[id(each.op)].mask
    return [
        each.op
        for each in phases.events.of(Part.BARRIER)
        if (meeting := phases.joins.meetings.get(id(each.op))) is not None
        and len(meeting.groups) == 1
        and not arriving & ~phases.coming[id(each.op)].mask
        and each.op.guard is None
    ]


# ---- parity ---------------------------------------------------------------------------------


def _turns(phases: _Phases, wait: Event) -> tuple[_Loop, int] | None:
    """The loop whose turns a parity counts, and the parity in its first turn."""
    graph, values = phases.graph, phases.values
    register, flipped, reader = _unflipped(values, wait)
    steps = [op for op in values.definitions(register) if graph.loop_of(op)]
    starts = [op for op in values.definitions(register) if op not in steps]
    first = {uniform(values.of(op.operands[1])) if _is(op, "mov") else None for op in starts}
    if len(steps) != 1 or len(first) != 1 or not _steps(values, steps[0], register):
        return None
    start, loop = first.pop(), graph.loop_of(steps[0])
    if start is None or loop is None or not _inside(graph, wait, loop):
        return None
    moved = graph.before(steps[0], reader)
    if not graph.always(loop, None, steps) or (moved and graph.before(reader, steps[0])):
        return None
    return loop, (start + flipped + moved) & 1


def _is(op: Op, *heads: str) -> bool:
    return op.guard is None and op.mnemonic.split(".")[0] in heads and len(op.operands) > 1


def _unflipped(values: Values, wait: Event) -> tuple[str, int, Op]:
    """Through copies, `and 1` and `xor 1`, to the register that changes, and who reads it."""
    register, flipped, reader = _asks(wait), 0, wait.op
    for _ in range(8):
        op = values.definition(register)
        if op is None or not _is(op, "mov", "and", "xor"):
            break
        if not _is(op, "mov") and op.operands[-1] != "1":
            break
        flipped ^= _is(op, "xor")
        register, reader = op.operands[1], op
    return register, flipped, reader


def _steps(values: Values, op: Op, register: str) -> bool:
    """Whether an instruction changes the lowest bit of a register: `+ 1`, `xor 1`, `1 -`."""
    if _is(op, "mov"):
        inner = values.definition(op.operands[1])
        return inner is not None and not _is(inner, "mov") and _steps(values, inner, register)
    operands = op.operands[1:]
    if _is(op, "add", "xor"):
        return set(operands) == {register, "1"}
    return _is(op, "sub") and operands in {("1", register), (register, "1")}


# ---- the answer of a wait -------------------------------------------------------------------


def _answers(joins: Joins, values: Values, waits: Sequence[Event]) -> None:
    """Which predicates say that a wait is over, through what compilers put between."""
    asked = {
        each.op.operands[0]: each
        for each in waits
        if each.op.guard is None and values.definition(each.op.operands[0]) is each.op
    }
    branches = [b.branch for b in joins.graph.blocks if b.branch is not None and b.branch.guard]
    for register in {branch.guard[0] for branch in branches if branch.guard}:
        name, yes = _asked(values, register, asked)
        if name in asked:
            joins.waits[register] = (asked[name], yes)


def _asked(values: Values, register: str, asked: Mapping[str, Event]) -> tuple[str, bool]:
    name, yes = register, True
    for _ in range(8):
        op = values.definition(name)
        if name in asked or op is None or len(op.operands) < 2:  # noqa: PLR2004 - a result and a source
            break
        head, *words = op.mnemonic.split(".")
        last = op.operands[-1]
        if head == "selp" and op.operands[1:3] in {("1", "0"), ("-1", "0"), ("0", "1")}:
            name, yes = last, yes == (op.operands[1] != "0")
        elif head == "setp" and words[0] in {"eq", "ne"} and last in {"0", "1"}:
            name, yes = op.operands[1], yes == ((words[0] == "ne") == (last == "0"))
        elif head in {"mov", "cvt"} or (head == "not" and "pred" in words):
            name, yes = last, yes == (head != "not")
        elif (head, last) in {("and", "1"), ("and", "255"), ("xor", "1")} and "pred" not in words:
            name, yes = op.operands[1], yes == (head == "and")
        else:
            break
    return name, yes
