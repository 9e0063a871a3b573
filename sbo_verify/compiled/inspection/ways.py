"""Every way through a function, as the sets of facts that threads may hold at each instruction.

A state is what a thread knows of tile stores, polls and shared-memory writes: its own (`own`), and
other threads', as far as barriers told it (`seen`), with the threads (`mask`, by `%tid.x`) and the
conditions that it holds for. States with the same facts are joined; their number is bounded, and a
function that needs more is given up, never guessed. What a barrier tells is the worst that any
arriving thread holds; it is found by repeating the walk until nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from sbo_verify.compiled.inspection.conditions import Condition, Conditions
from sbo_verify.compiled.inspection.events import Event, Events, Part
from sbo_verify.compiled.inspection.facts import (
    Key,
    Literal,
    SeenKey,
    commit,
    fence,
    issue,
    passed_on,
    proxy_fence,
    strength,
    wait,
    worse,
)
from sbo_verify.compiled.inspection.graph import Graph
from sbo_verify.compiled.inspection.text import Op
from sbo_verify.compiled.inspection.values import defined
from sbo_verify.vocabulary import Order

MOST_STATES = 100
MOST_ROUNDS = 12
MOST_STEPS = 30_000


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


Summary = dict[Key, str]


@dataclass
class Ways:
    """The states before each event, and the threads that execute it, by its instruction."""

    at: dict[int, list[State]] = field(default_factory=dict)

    def states(self, event: Event) -> list[State]:
        """The states in which threads come to an event."""
        return self.at.get(id(event.op), [])

    def mask(self, event: Event) -> int:
        """The threads that may execute it."""
        mask = 0
        for state in self.states(event):
            mask |= state.mask
        return mask

    def literals(self, event: Event) -> frozenset[Literal]:
        """The conditions under which alone it is executed."""
        states = self.states(event)
        common = states[0].literals if states else frozenset[Literal]()
        for state in states:
            common &= state.literals
        return common


def follow(graph: Graph, events: Events, conditions: Conditions, threads: int) -> Ways:
    """The states at every event.

    Raises `GivenUpError` for a function with too many ways or barriers that never settle.
    """
    walker = _Walker(graph, events, conditions, threads)
    for _ in range(MOST_ROUNDS):
        ways = walker.walk()
        if not walker.learn(ways):
            return ways
    message = f"what its barriers tell did not settle in {MOST_ROUNDS} rounds"
    raise GivenUpError(message)


class _Walker:
    def __init__(self, graph: Graph, events: Events, conditions: Conditions, threads: int) -> None:
        self._graph = graph
        self._events = events
        self._by_op = {id(each.op): each for each in events.all}
        self._by_line = {each.op.line: each for each in events.all}
        self._conditions = conditions
        self._threads = threads
        self._polls = [(each, graph.loop_of(each.op)) for each in events.of(Part.POLL)]
        self._summaries: dict[int, Summary] = {}
        self._partners = _partners(graph, events)
        guards = {
            op.guard[0]
            for block in graph.blocks
            for op in _all_ops(block.ops, block.branch)
            if op.guard
        }
        leaves = {leaf for name in guards for leaf in conditions.of(name).leaves}
        self._stops = [self._relevant(block.ops, leaves) for block in graph.blocks]

    def _relevant(self, ops: Iterable[Op], leaves: set[str]) -> list[tuple[Op, frozenset[str]]]:
        """The instructions of a block that change a state, with the conditions they make forget."""
        found = []
        for op in ops:
            forgotten = frozenset(defined(op)) & leaves
            if forgotten or id(op) in self._by_op:
                found.append((op, forgotten))
        return found

    def walk(self) -> Ways:
        """One walk with what the barriers are known to tell."""
        ways = Ways()
        known: list[dict[object, State]] = [{} for _ in self._graph.blocks]
        start = State({}, {}, self._threads, frozenset())
        known[0][start.facts] = start
        pending = [(0, start.facts)]
        at: dict[int, dict[object, State]] = {}
        steps = 0
        while pending:
            number, facts = pending.pop()
            steps += 1
            if steps > MOST_STEPS:
                message = f"more than {MOST_STEPS} steps"
                raise GivenUpError(message)
            for target, state in self._through(number, known[number][facts], at):
                if _join(known[target], state):
                    if len(known[target]) > MOST_STATES:
                        message = f"more than {MOST_STATES} states at one place"
                        raise GivenUpError(message)
                    pending.append((target, state.facts))
        ways.at = {op: list(states.values()) for op, states in at.items()}
        return ways

    def _through(
        self, number: int, state: State, at: dict[int, dict[object, State]]
    ) -> Iterator[tuple[int, State]]:
        """The states that leave a block, with the block that each goes to."""
        states = [state]
        for op, forgotten in self._stops[number]:
            states = [new for each in states for new in self._execute(op, each, at)]
            if forgotten:
                states = [_forget(each, forgotten) for each in states]
        block = self._graph.blocks[number]
        for each in states:
            if block.branch is None or block.branch.guard is None:
                goes = block.taken or ([] if block.following is None else [block.following])
                yield from ((target, self._crossed(number, target, each)) for target in goes)
                continue
            register, wanted = block.branch.guard
            condition = self._conditions.of(register)
            yes = condition if wanted else condition.negated()
            ends = [(target, yes) for target in block.taken]
            if block.following is not None:
                ends.append((block.following, yes.negated()))
            for target, holds in ends:
                if (new := assume(each, holds)) is not None:
                    yield target, self._decided(number, target, register, new)

    def _decided(self, number: int, target: int, register: str, state: State) -> State:
        """A conditional branch: it may leave a poll's loop for another reason than the signal."""
        if not self._polls:
            return self._crossed(number, target, state)
        own = {key: word for key, word in state.own.items() if key[0] != "t"}
        for line, tests in self._exits(number, target):
            if register not in tests:
                own["t", line] = "weak"
        return self._crossed(number, target, replace(state, own=own))

    def _exits(self, number: int, target: int) -> Iterator[tuple[int, frozenset[str]]]:
        for each, loop in self._polls:
            if loop is not None and number in loop and target not in loop:
                yield each.op.line, self._events.tested_by[id(each.op)]

    def _crossed(self, number: int, target: int, state: State) -> State:
        """Over a back edge, what others did in this turn becomes what they did in the last one."""
        if not state.seen or not self._is_back(number, target):
            return state
        around = [each for each in self._graph.loops if number in each and target in each]
        loop = min(around, key=len)
        seen: dict[SeenKey, str] = {}
        for (what, line, turn), word in state.seen.items():
            block = self._graph.home[id(self._by_line[line].op)][0]
            if block not in loop:
                seen[what, line, turn] = word
            elif turn:
                seen[what, line, False] = word
        return replace(state, seen=seen)

    def _is_back(self, number: int, target: int) -> bool:
        return target == number or bool(self._graph.ahead[target] >> number & 1)

    def _execute(self, op: Op, state: State, at: dict[int, dict[object, State]]) -> Iterator[State]:
        event = self._by_op.get(id(op))
        if event is None:
            yield state
            return
        if op.guard is not None:
            register, wanted = op.guard
            condition = self._conditions.of(register)
            yes = condition if wanted else condition.negated()
            if (skipped := assume(state, yes.negated())) is not None:
                yield skipped
            entered = assume(state, yes)
            if entered is None:
                return
            state = entered
        _join(at.setdefault(id(op), {}), state)
        yield self._effect(event, state)

    def _effect(self, event: Event, state: State) -> State:
        if event.part in {Part.BARRIER, Part.CLUSTER_WAIT}:
            return self._told(event, state)
        own = dict(state.own)
        seen = dict(state.seen)
        line = event.op.line
        if event.part is Part.BULK_STORE:
            issue(own, line)
        elif event.part is Part.STORE:
            own["s", line] = "done"
        elif event.part is Part.SHARED_STORE:
            own["h", line] = "dirty"
        elif event.part is Part.POLL:
            self._poll(event, own, seen)
        elif event.part is Part.COMMIT:
            commit(own)
        elif event.part is Part.WAIT:
            wait(own, event)
        elif event.part is Part.FENCE:
            fence(own, seen, event)
        elif event.part is Part.PROXY_FENCE:
            proxy_fence(own, seen, event)
        else:
            return state
        return replace(state, own=own, seen=seen)

    def _poll(self, event: Event, own: dict[Key, str], seen: dict[SeenKey, str]) -> None:
        """The latest poll of a signal is the one that counts."""
        for key in [key for key in own if key[0] == "p" and self._same_signal(key[1], event)]:
            del own[key]
        for other in [key for key in seen if key[0] == "p" and self._same_signal(key[1], event)]:
            del seen[other]
        own["p", event.op.line] = strength(event)

    def _same_signal(self, line: int, event: Event) -> bool:
        other = self._by_line[line]
        if event.buffer or other.buffer:
            return event.buffer == other.buffer
        return event.address == other.address

    def _told(self, event: Event, state: State) -> State:
        """What a barrier tells: what its summary says, in place of what was known before."""
        told = self._summaries.get(id(event.op), {})
        seen = dict(state.seen)
        for (what, line), word in told.items():
            turn = self._graph.before(self._by_line[line].op, event.op)
            seen.pop((what, line, False), None)
            seen.pop((what, line, True), None)
            seen[what, line, turn] = word
        return replace(state, seen=seen)

    def learn(self, ways: Ways) -> bool:
        """Takes from a walk what each barrier tells; True where that is news."""
        executed: dict[int, int] = {each.op.line: ways.mask(each) for each in self._events.all}
        new = {
            each: _summary([s for site in sites for s in ways.states(site)], executed)
            for each, sites in self._partners.items()
        }
        news = new != self._summaries
        self._summaries = new
        return news


def _all_ops(ops: list[Op], branch: Op | None) -> list[Op]:
    return [*ops, branch] if branch is not None else ops


def _partners(graph: Graph, events: Events) -> dict[int, list[Event]]:
    """For each place that waits, the places whose threads it waits for.

    Barriers of one name that stand one behind the other are different meetings; those on branches
    of one condition are one. An arrival tells, and is told nothing.
    """
    found: dict[int, list[Event]] = {}
    sites = events.of(Part.BARRIER, Part.ARRIVE)
    for site in events.of(Part.BARRIER):
        found[id(site.op)] = [
            each
            for each in sites
            if each is site
            or (
                each.barrier == site.barrier
                and not graph.before(each.op, site.op)
                and not graph.before(site.op, each.op)
            )
        ]
    arrivals = events.of(Part.CLUSTER_ARRIVE)
    relaxed = any(a.instruction and a.instruction.order is Order.RELAXED for a in arrivals)
    for site in events.of(Part.CLUSTER_WAIT):
        weak = site.instruction is not None and site.instruction.order is Order.RELAXED
        behind = [each for each in arrivals if graph.before(each.op, site.op)]
        newest = [a for a in behind if not any(graph.before(a.op, b.op) for b in behind)]
        found[id(site.op)] = [] if relaxed or weak else newest
    return found


def _summary(states: list[State], executed: Mapping[int, int]) -> Summary:
    """The worst that any arriving thread holds of each fact.

    Where a thread that may have done it never arrives, nothing is told of it.
    """
    own: Summary = {}
    masks: dict[Key, int] = {}
    for state in states:
        for key, word in state.own.items():
            if key[0] == "t":
                continue
            told_word = passed_on(key[0], word)
            own[key] = worse(own.get(key, told_word), told_word)
            masks[key] = masks.get(key, 0) | state.mask
    told = {
        key: word
        for key, word in own.items()
        if not executed.get(key[1], 0) & ~masks[key] or key[0] == "p"
    }
    for state in states:
        for (what, line, _), word in state.seen.items():
            if (what, line) not in own:
                told_word = passed_on(what, word)
                told[what, line] = worse(told.get((what, line), told_word), told_word)
    return told


def assume(state: State, condition: Condition) -> State | None:
    """The state of the threads for which a condition holds; None where it can hold for none."""
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
        literals |= {(each.key, each.positive, each.leaves)}
        pending.extend(each.parts_if_true)
    if mask == state.mask and literals == state.literals:
        return state
    return State(state.own, state.seen, mask, literals)


def _forget(state: State, registers: frozenset[str]) -> State:
    kept = frozenset(each for each in state.literals if not each[2] & registers)
    return State(state.own, state.seen, state.mask, kept)


def _join(known: dict[object, State], state: State) -> bool:
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
