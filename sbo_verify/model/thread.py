"""Every path of one thread through its instructions, spin loops included.

Values read are taken from the domains of the locations. Domains are built up from the initial
values by running the threads until nothing new is written, so that no value appears that the
program cannot compute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sbo_verify.model import accesses, bulk
from sbo_verify.model.condition import COMPARISONS, RegisterOf, terms
from sbo_verify.model.program import (
    Atomic,
    Barrier,
    Branch,
    BulkCopy,
    CommitGroup,
    Fence,
    Instruction,
    Label,
    Load,
    Local,
    MbarrierArrive,
    MbarrierWait,
    Program,
    ProxyFence,
    Require,
    Store,
    WaitGroup,
)
from sbo_verify.model.registers import live_registers
from sbo_verify.model.trace import Domains, Frame, Spin, State, Trace, apply

MEMORY_STEPS: dict[type[Instruction], Callable[..., list[State]]] = {
    Load: accesses.load,
    Store: accesses.store,
    Atomic: accesses.atomic,
    Fence: accesses.fence,
    ProxyFence: accesses.proxy_fence,
    Barrier: accesses.barrier,
    BulkCopy: bulk.copy,
    CommitGroup: bulk.commit,
    WaitGroup: bulk.wait_group,
    MbarrierArrive: accesses.mbarrier,
    MbarrierWait: accesses.mbarrier,
}


class ThreadRunner:
    """Enumerates the paths of one thread of a program.

    `rewritable` names the memories whose failed atomics may be left out of a spin loop, `unroll`
    how often a loop with effects is followed; `incomplete` says afterwards whether that cut
    anything off. With `endless` the paths that never end are enumerated, too.
    """

    def __init__(
        self,
        program: Program,
        index: int,
        *,
        rewritable: frozenset[str],
        unroll: int,
        endless: bool = False,
    ) -> None:
        self.frame = Frame(program, index, rewritable)
        self.endless = endless
        self.instructions = program.threads[index].instructions
        self.unroll = unroll
        self.incomplete = False
        self.labels = {
            instruction.name: place
            for place, instruction in enumerate(self.instructions)
            if isinstance(instruction, Label)
        }
        asked = {
            term.register
            for term in terms(program.condition)
            if isinstance(term, RegisterOf) and term.thread == index
        }
        self.live = live_registers(self.instructions, self.labels, asked)

    def traces(self, domains: Domains) -> Iterator[Trace]:
        """Every complete path, depth first; paths without end only where they are asked for."""
        stack = [State(Trace(registers=dict(self.frame.thread.registers)))]
        while stack:
            state = stack.pop()
            if state.trace.spin or state.trace.blocked:
                state.trace.withheld = self._withheld(state.position)
                yield state.trace
                continue
            if state.position >= len(self.instructions):
                yield state.trace
                continue
            waits = len(state.trace.barriers)
            following = self._step(state, domains)
            if self.endless:
                following += [_blocked(s) for s in following if _waits(s.trace, waits)]
            stack.extend(following)

    def _withheld(self, position: int) -> frozenset[str]:
        later = self.instructions[position:]
        return frozenset(c.mbarrier for c in later if isinstance(c, BulkCopy) and c.mbarrier)

    def _step(self, state: State, domains: Domains) -> list[State]:
        instruction = self.instructions[state.position]
        if isinstance(instruction, Branch):
            return [self._branch(state, instruction)]
        if isinstance(instruction, Label):
            return self._label(state, instruction)
        if isinstance(instruction, Local):
            return [self._local(state, instruction)]
        if isinstance(instruction, Require):
            return self._require(state, instruction)
        return MEMORY_STEPS[type(instruction)](self.frame, state, instruction, domains)

    def _require(self, state: State, instruction: Require) -> list[State]:
        """Go on where the comparison holds; where it fails for ever, what it read is repeated."""
        if self._compare(state, instruction):
            return [self.frame.go_on(state)]
        reads = self.frame.taint(state, instruction.left, instruction.right)
        if not self.endless or not reads:
            return []
        return [self._spin(state, instruction.text or "a spin", min(reads))]

    def _spin(self, state: State, place: str, start: int) -> State:
        state.trace.spin = Spin(place, start)
        return self.frame.go_on(state, "for ever", start)

    def _compare(self, state: State, instruction: Branch | Require) -> bool:
        """The comparison's outcome; what follows depends on it."""
        frame = self.frame
        state.control |= frame.taint(state, instruction.left, instruction.right)
        left = frame.value(state, instruction.left)
        right = frame.value(state, instruction.right)
        return COMPARISONS[instruction.comparison](left, right)

    def _branch(self, state: State, instruction: Branch) -> State:
        taken = instruction.comparison == "always" or self._compare(state, instruction)
        if not taken:
            return self.frame.go_on(state, taken)
        state.trace.path = (*state.trace.path, state.position, taken)
        state.position = self.labels[instruction.label]
        return state

    def _label(self, state: State, instruction: Label) -> list[State]:
        """Follow another turn of a loop only where it can add an outcome.

        A turn without effects that left the live registers as they were is not followed: the same
        path without that turn is followed too, and has fewer constraints (see `Require`).
        """
        registers = state.trace.registers
        alive = self.live[state.position]
        turn = (state.effects, tuple((name, registers.get(name, 0)) for name in sorted(alive)))
        turns = state.turns.setdefault(instruction.name, {})
        if turn in turns:
            return [self._spin(state, instruction.name, turns[turn])] if self.endless else []
        if len(turns) > self.unroll:
            self.incomplete = True
            return []
        turns[turn] = len(state.trace.events)
        return [self.frame.go_on(state)]

    def _local(self, state: State, instruction: Local) -> State:
        frame = self.frame
        left, right = frame.value(state, instruction.left), frame.value(state, instruction.right)
        moves = instruction.operation == "mov"
        result = left if moves else apply(instruction.operation, left, [right])
        state.taint[instruction.register] = frame.taint(state, instruction.left, instruction.right)
        state.trace.registers[instruction.register] = result
        return frame.go_on(state)


def _waits(trace: Trace, before: int) -> bool:
    """Was the last instruction one that waits at a barrier? `before` it there were so many."""
    return len(trace.barriers) > before and trace.barriers[-1].arrival[1]


def _blocked(state: State) -> State:
    """The same path, never to pass the barrier instruction that it has come to."""
    other = state.copy()
    other.trace.blocked = True
    other.trace.path = (*other.trace.path, "for ever")
    return other
