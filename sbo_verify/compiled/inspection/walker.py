"""Every way through a function, as the sets of facts that threads may hold at each instruction.

States with the same facts are joined; their number is bounded, and a function that needs more is
given up, never guessed. What meetings tell is found by repeating the walk until nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from sbo_verify.compiled.inspection.conditions import Conditions
from sbo_verify.compiled.inspection.events import Event, Events, Part
from sbo_verify.compiled.inspection.facts import (
    ACQUIRED,
    Key,
    SeenKey,
    commit,
    fence,
    issue,
    proxy_fence,
    strength,
    wait,
)
from sbo_verify.compiled.inspection.forgetting import Forgetting
from sbo_verify.compiled.inspection.graph import Graph
from sbo_verify.compiled.inspection.joins import Joins
from sbo_verify.compiled.inspection.text import Op
from sbo_verify.compiled.inspection.ways import (
    GivenUpError,
    State,
    Summary,
    Ways,
    assume,
    forget,
    join,
    summary,
    warp_summary,
)

MOST_STATES = 100
# States of one block with the same facts are kept apart, by their conditions, up to this number.
MOST_APART = 16
MOST_ROUNDS = 12
MOST_STEPS = 30_000


@dataclass
class Budget:
    """The steps that all walks through one function may take together."""

    left: int

    def spend(self, steps: int = 1) -> None:
        """One block entered with one state is a step.

        Raises `GivenUpError` when nothing is left.
        """
        self.left -= steps
        if self.left < 0:
            message = "the function has more ways than are followed"
            raise GivenUpError(message)


@dataclass(frozen=True)
class Function:
    """What does not change from walk to walk."""

    graph: Graph
    conditions: Conditions
    forgetting: Forgetting
    joins: Joins
    threads: int
    budget: Budget


def follow(function: Function, events: Events, targets: Iterable[Event] | None = None) -> Ways:
    """The states at every event, or only on the ways to `targets`.

    Raises `GivenUpError` for a function with too many ways or barriers that never settle.
    """
    function.budget.spend(1 + len(events.all) // 8)
    walker = _Walker(function, events, targets)
    for _ in range(MOST_ROUNDS):
        ways = walker.walk()
        if not walker.learn(ways):
            return ways
    message = f"what its barriers tell did not settle in {MOST_ROUNDS} rounds"
    raise GivenUpError(message)


def visits(function: Function, events: Events) -> Ways:
    """Who comes to each event, with no facts."""
    return _Walker(function, events, None, effects=False).walk()


class _Walker:
    def __init__(
        self,
        function: Function,
        events: Events,
        targets: Iterable[Event] | None,
        *,
        effects: bool = True,
    ) -> None:
        self._function = function
        self._graph = function.graph
        self._joins = function.joins
        self._events = events
        self._effects = effects
        self._by_op = {id(each.op): each for each in events.all}
        self._by_place = {each.op.place: each for each in events.all}
        self._conditions = function.conditions
        polls = events.of(Part.POLL) if effects else []
        self._polls = [(each, self._graph.loop_of(each.op)) for each in polls]
        self._summaries: dict[tuple[int, int], Summary] = {}
        self._meetings = {
            op: meeting for op, meeting in self._joins.meetings.items() if op in self._by_op
        }
        self._needed = self._leading(targets) if targets is not None else -1
        self._stops = self._places()

    def _leading(self, targets: Iterable[Event]) -> int:
        """The blocks, as bits, from which a target can be reached, or an arrival that tells."""
        graph = self._graph
        aims = _bits(graph.home[id(each.op)][0] for each in targets)
        pending = dict(self._meetings)
        grown = True
        while grown:
            grown = False
            for op, meeting in list(pending.items()):
                block = graph.home[op][0]
                if (graph.reach[block] | 1 << block) & aims:
                    aims |= _bits(graph.home[id(each.op)][0] for each in meeting.arrivals)
                    del pending[op]
                    grown = True
        return _bits(n for n in graph.reachable if (graph.reach[n] | 1 << n) & aims)

    def _places(self) -> list[list[tuple[Op, frozenset[str]]]]:
        """For each block, the instructions that change a state."""
        found: list[dict[int, tuple[Op, frozenset[str]]]] = [
            {index: (op, frozenset(changed)) for index, op, changed in each}
            for each in self._function.forgetting.blocks
        ]
        for event in self._events.all:
            block, index = self._graph.home[id(event.op)]
            found[block].setdefault(index, (event.op, frozenset()))
        return [[each[index] for index in sorted(each)] for each in found]

    def walk(self) -> Ways:
        """One walk with what the meetings are known to tell."""
        ways = Ways()
        known: list[dict[object, State]] = [{} for _ in self._graph.blocks]
        start = State({}, {}, self._function.threads, frozenset())
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
            self._function.budget.spend()
            for target, state in self._through(number, known[number][facts], at):
                if self._needed >> target & 1 and join(known[target], state):
                    _check(known[target])
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
                states = [forget(each, forgotten) for each in states]
            if len(states) > MOST_APART:
                states = _merged(states)
            _check(states)
        block = self._graph.blocks[number]
        for each in states:
            if block.branch is None or block.branch.guard is None:
                goes = block.taken or ([] if block.following is None else [block.following])
                yield from ((target, self._crossed(number, target, each)) for target in goes)
                continue
            register, wanted = block.branch.guard
            condition = self._conditions.of(register)
            yes = condition if wanted else condition.negated()
            ends = [(target, yes, wanted) for target in block.taken]
            if block.following is not None:
                ends.append((block.following, yes.negated(), not wanted))
            for target, holds, value in ends:
                assumed = assume(each, holds, self._function.forgetting.once)
                if assumed is not None:
                    for new in self._answered(register, assumed, value=value):
                        yield target, self._decided(number, target, register, new)

    def _answered(self, register: str, state: State, *, value: bool) -> list[State]:
        """Where a branch tests whether an mbarrier's phase is over, and it is."""
        event, yes = self._joins.waits.get(register, (None, False))
        if event is None or value is not yes or ("w", event.op.place) not in state.own:
            return [state]
        own = {key: word for key, word in state.own.items() if key != ("w", event.op.place)}
        return self._told(event, replace(state, own=own))

    def _decided(self, number: int, target: int, register: str, state: State) -> State:
        """A conditional branch: it may leave a poll's loop for another reason than the signal."""
        if dead := self._function.forgetting.dead(number, target):
            kept = frozenset(each for each in state.literals if each[0] not in dead)
            state = replace(state, literals=kept)
        if not self._polls:
            return self._crossed(number, target, state)
        own = {key: word for key, word in state.own.items() if key[0] != "t"}
        for place, tests in self._exits(number, target):
            if register not in tests:
                own["t", place] = "weak"
        return self._crossed(number, target, replace(state, own=own))

    def _exits(self, number: int, target: int) -> Iterator[tuple[int, frozenset[str]]]:
        """The polls whose loop ends here, with what depends on them or others of their signal."""
        for each, loop in self._polls:
            if loop is not None and number in loop and target not in loop:
                yield each.op.place, tests(each, self._events, self._graph)

    def _crossed(self, number: int, target: int, state: State) -> State:
        """Over a back edge, what others did in this turn becomes what they did in the last one."""
        asked = any(key[0] == "w" for key in state.own)
        if not (state.seen or asked) or not self._is_back(number, target):
            return state
        around = [each for each in self._graph.loops if number in each and target in each]
        loop = min(around, key=len)
        seen: dict[SeenKey, str] = {}
        for (what, place, turn), word in state.seen.items():
            block = self._graph.home[id(self._by_place[place].op)][0]
            inner = self._graph.inner[block]
            # A loop of other threads' may go on beside this one.
            over = inner is None or loop <= inner or self._graph.ahead[block] >> target & 1
            if block not in loop and over:
                seen[what, place, turn] = word
            elif turn:
                seen[what, place, False] = word
        own = {key: word for key, word in state.own.items() if key[0] != "w"}
        return replace(state, own=own, seen=seen)

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
        join(at.setdefault(id(op), {}), state)
        if not self._effects:
            yield state
        elif id(op) in self._meetings and event.part is not Part.MBARRIER_WAIT:
            yield from self._told(event, state)
        else:
            yield self._effect(event, state)

    def _effect(self, event: Event, state: State) -> State:
        own = dict(state.own)
        seen = dict(state.seen)
        place = event.op.place
        if event.part is Part.BULK_STORE:
            issue(own, place)
        elif event.part is Part.STORE:
            own["s", place] = "done"
        elif event.part is Part.SHARED_STORE:
            own["h", place] = "dirty"
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
        elif event.part is Part.MBARRIER_WAIT and id(event.op) in self._meetings:
            own["w", place] = "weak"
        else:
            return state
        return replace(state, own=own, seen=seen)

    def _poll(self, event: Event, own: dict[Key, str], seen: dict[SeenKey, str]) -> None:
        """The latest poll of a signal is the one that counts."""
        for key in [key for key in own if key[0] == "p" and self._over(key[1], own[key], event)]:
            del own[key]
        for other in [key for key in seen if key[0] == "p"]:
            if self._over(other[1], seen[other], event):
                del seen[other]
        own["p", event.op.place] = strength(event)

    def _over(self, place: int, word: str, event: Event) -> bool:
        """Whether a later poll counts: of the same word, or where the earlier one acquired."""
        other = self._by_place[place]
        if event.buffer != other.buffer:
            return False
        return event.address == other.address or bool(event.buffer and word in ACQUIRED)

    def _told(self, event: Event, state: State) -> list[State]:
        """What a meeting tells, in place of what was known before; threads of no group go on."""
        meeting = self._meetings[id(event.op)]
        found: list[State] = []
        rest = state.mask
        for number, group in enumerate(meeting.groups):
            if not state.mask & group:
                continue
            rest &= ~group
            told = self._summaries.get((id(event.op), number), {})
            seen = dict(state.seen)
            for (what, place), (word, fresh) in told.items():
                done = self._by_place[place].op
                turn = fresh and any(self._joins.before(done, e.op) for e in meeting.arrivals)
                seen.pop((what, place, False), None)
                seen.pop((what, place, True), None)
                seen[what, place, turn] = word
            found.append(State(state.own, seen, state.mask & group, state.literals))
        if rest:
            found.append(replace(state, mask=rest))
        return _merged(found)

    def learn(self, ways: Ways) -> bool:
        """Takes from a walk what each meeting tells; True where that is news."""
        executed = {each.op.place: ways.coming(each) for each in self._events.all}
        new: dict[tuple[int, int], Summary] = {}
        for op, meeting in self._meetings.items():
            warp = self._by_op[op].part is Part.WARP_BARRIER
            for number, group in enumerate(meeting.groups if meeting.told else ()):
                sites = [
                    (executed[each.op.place], _within(ways.states(each), group))
                    for each in meeting.arrivals
                ]
                if not any(state.own or state.seen for _, states in sites for state in states):
                    continue
                told = summary(sites, executed, partial=meeting.partial)
                if warp:
                    told = warp_summary(told, sites, executed, group)
                new[op, number] = told
        news = new != self._summaries
        self._summaries = new
        return news


def tests(poll: Event, events: Events, graph: Graph) -> frozenset[str]:
    """The registers that depend on a poll, or on another of its signal in its loop."""
    loop = graph.loop_of(poll.op)
    found = events.tested_by[id(poll.op)]
    for each in events.of(Part.POLL):
        same = (each.buffer or each.address) == (poll.buffer or poll.address)
        if same and graph.loop_of(each.op) == loop:
            found |= events.tested_by[id(each.op)]
    return found


def _bits(numbers: Iterable[int]) -> int:
    found = 0
    for number in numbers:
        found |= 1 << number
    return found


def _within(states: list[State], group: int) -> list[State]:
    return [
        each if not each.mask & ~group else replace(each, mask=each.mask & group)
        for each in states
        if each.mask & group
    ]


def _merged(states: list[State]) -> list[State]:
    found: dict[object, State] = {}
    for each in states:
        join(found, each)
    return list(found.values())


def _check(states: object) -> None:
    if len(states) > MOST_STATES:  # type: ignore[arg-type]
        message = f"more than {MOST_STATES} states at one place"
        raise GivenUpError(message)
