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
from sbo_verify.model.trace import Domains, Frame, State, Trace, apply

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
    anything off.
    """

    def __init__(
        self, program: Program, index: int, *, rewritable: frozenset[str], unroll: int
    ) -> None:
        self.frame = Frame(program, index, rewritable)
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
        """Every complete path, depth first; spins that never succeed are left out."""
        stack = [State(Trace(registers=dict(self.frame.thread.registers)))]
        while stack:
            state = stack.pop()
            if state.position >= len(self.instructions):
                yield state.trace
                continue
            stack.extend(self._step(state, domains))

    def _step(self, state: State, domains: Domains) -> list[State]:
        instruction = self.instructions[state.position]
        if isinstance(instruction, Branch):
            return [self._branch(state, instruction)]
        if isinstance(instruction, Label):
            return self._label(state, instruction)
        if isinstance(instruction, Local):
            return [self._local(state, instruction)]
        if isinstance(instruction, Require):
            holds = self._compare(state, instruction)
            return [self.frame.go_on(state)] if holds else []
        return MEMORY_STEPS[type(instruction)](self.frame, state, instruction, domains)

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
        turns = state.turns.setdefault(instruction.name, [])
        if turn in turns:
            return []
        if len(turns) > self.unroll:
            self.incomplete = True
            return []
        turns.append(turn)
        return [self.frame.go_on(state)]

    def _local(self, state: State, instruction: Local) -> State:
        frame = self.frame
        left, right = frame.value(state, instruction.left), frame.value(state, instruction.right)
        moves = instruction.operation == "mov"
        result = left if moves else apply(instruction.operation, left, [right])
        state.taint[instruction.register] = frame.taint(state, instruction.left, instruction.right)
        state.trace.registers[instruction.register] = result
        return frame.go_on(state)
