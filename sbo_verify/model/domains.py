"""Which values each memory can ever hold: the values that reads are tried with.

No value appears out of thin air, so a value reaches a memory through a chain of writes in which
every write of the execution stands once. Chains are kept with each value: without them two atomic
additions would seem to reach 3, 4, 5, ... by feeding one another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from sbo_verify.model.program import Branch, Instruction, Label, Program
from sbo_verify.model.trace import Domains, Trace

# A chain is the set of instructions, as (thread, step), whose writes hand a value on.
Chain = frozenset[tuple[int, int]]
# More chains than this for one value are forgotten; the value then counts as free of chains.
CHAINS_KEPT = 128


class ValueFlow:
    """The values found so far, each with the chains of writes that lead to it."""

    def __init__(self, program: Program) -> None:
        self.chains: dict[str, dict[int, list[Chain]]] = {}
        for location in program.locations.values():
            first = program.initial.get(location.memory, 0)
            self.chains[location.memory] = {first: [frozenset()]}
        self.repeated = [_repeated(thread.instructions) for thread in program.threads]

    def domains(self) -> Domains:
        """The values of every memory."""
        return {memory: frozenset(values) for memory, values in self.chains.items()}

    def grow(self, paths: Sequence[Sequence[Trace]]) -> bool:
        """Add what these paths write; whether anything was new."""
        grown = False
        for traces in paths:
            for trace in traces:
                for memory, value, chain in self._written(trace):
                    grown |= _keep(self.chains[memory].setdefault(value, []), chain)
        for values in self.chains.values():
            for value in [value for value, chains in values.items() if not chains]:
                del values[value]
        return grown

    def _written(self, trace: Trace) -> Iterator[tuple[str, int, Chain]]:
        reads: Mapping[int, list[int]] = _reads_behind(trace)
        for index, event in enumerate(trace.events):
            if not event.is_write or event.location is None or event.value is None:
                continue
            step = (event.thread, event.step)
            own = frozenset() if event.step in self.repeated[event.thread] else frozenset({step})
            options = []
            for read in reads.get(index, []):
                place, value = trace.events[read].location, trace.events[read].value
                if place is not None and value is not None:
                    options.append(self.chains[place.memory].get(value, []))
            for choice in product(*options):
                behind: Chain = frozenset().union(*choice)
                if not own & behind:
                    yield event.location.memory, event.value, behind | own


def _reads_behind(trace: Trace) -> dict[int, list[int]]:
    behind: dict[int, list[int]] = {}
    for read, event in trace.dependencies:
        behind.setdefault(event, []).append(read)
    return behind


def _keep(chains: list[Chain], chain: Chain) -> bool:
    """Keep a chain unless a shorter one within it is known; whether it was kept."""
    if any(known <= chain for known in chains):
        return False
    chains[:] = [known for known in chains if not chain <= known]
    chains.append(chain)
    if len(chains) > CHAINS_KEPT:
        chains[:] = [frozenset()]
    return True


def _repeated(instructions: Sequence[Instruction]) -> set[int]:
    """The instructions that a backward branch can repeat: their writes may stand twice."""
    labels = {ins.name: at for at, ins in enumerate(instructions) if isinstance(ins, Label)}
    return {
        step
        for at, ins in enumerate(instructions)
        if isinstance(ins, Branch) and labels[ins.label] <= at
        for step in range(labels[ins.label], at + 1)
    }
