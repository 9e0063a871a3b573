"""Registers of machine code under names that each stand for one value, as PTX has them.

A register of machine code holds one thing after the other. All assignments that one use may see
belong together and get one name; a name with a single assignment then holds one value. This is the
web of definitions and uses of a register allocator, formed backwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sbo_verify.compiled.sass import UNIT_BYTES, SassError, SassFunction, SassInstruction
from sbo_verify.compiled.sass_registers import NOTHING, Access

# Index of the instruction that assigns, -1 for what a register holds at the entry.
Definition = tuple[int, str]
_ENTRY = -1
_Reaching = dict[str, frozenset[int]]


class Names:
    """The names of one function's registers."""

    def __init__(
        self,
        function: SassFunction,
        accesses: Mapping[int, Access],
        successors: Sequence[Sequence[int]],
        clobbered: Mapping[int, frozenset[str]],
    ) -> None:
        self._function = function
        self._accesses = [accesses.get(each.address, NOTHING) for each in function.instructions]
        for index, registers in clobbered.items():
            # Of a call nvdisasm knows no more than that it may write anything.
            self._accesses[index] = Access(self._accesses[index].reads, registers)
        self._successors = successors
        self._parent: dict[Definition, Definition] = {}
        self._seen: dict[Definition, Definition] = {}
        self._members: dict[Definition, list[Definition]] = {}
        self._follow()
        for each in list(self._parent):
            self._members.setdefault(self._root(each), []).append(each)

    def instruction(self, index: int) -> SassInstruction:
        """An instruction by its index."""
        return self._function.instructions[index]

    def accesses(self, index: int) -> Access:
        """What an instruction reads and writes."""
        return self._accesses[index]

    def read(self, index: int, register: str) -> str:
        """The name of what an instruction reads from a register.

        Raises `SassError` where nvdisasm does not say that it reads it.
        """
        if (index, register) not in self._seen:
            message = f"{self.instruction(index)}: what {register} holds here is not known"
            raise SassError(message)
        return self._name(self._seen[index, register])

    def written(self, index: int, register: str) -> str:
        """The name of what an instruction assigns to a register."""
        return self._name((index, register))

    def assigned_by(self, index: int, register: str) -> int | None:
        """The only instruction that assigns what is read here, where it is always executed."""
        if (index, register) not in self._seen:
            return None
        (first, *others) = self._members[self._root(self._seen[index, register])]
        if others or first[0] == _ENTRY or self._function.instructions[first[0]].predicate:
            return None
        return first[0]

    def _name(self, definition: Definition) -> str:
        index, register = min(self._members[self._root(definition)])
        return f"%{register}_{index * UNIT_BYTES:x}" if index >= 0 else f"%{register}_entry"

    def _root(self, definition: Definition) -> Definition:
        parent = self._parent.setdefault(definition, definition)
        while parent != self._parent[parent]:
            self._parent[parent] = self._parent[self._parent[parent]]
            parent = self._parent[parent]
        return parent

    def _follow(self) -> None:
        """Carry assignments forward until nothing changes, and join those that meet at a use."""
        count = len(self._function.instructions)
        before: list[_Reaching | None] = [None] * count
        heads = self._heads()
        if not count:
            return
        before[0] = {}
        pending = [0]
        while pending:
            start = pending.pop()
            reaching = dict(before[start] or {})
            index = start
            while True:
                self._through(index, reaching)
                after = self._successors[index]
                if len(after) != 1 or after[0] in heads:
                    break
                index = after[0]
            pending += [each for each in after if self._merge(before, each, reaching)]

    def _heads(self) -> set[int]:
        """Where blocks begin: the entry, and whatever is not the only way on from its neighbour."""
        heads = {0}
        for index, after in enumerate(self._successors):
            if after != [index + 1]:
                heads.update(after)
        return heads

    def _through(self, index: int, reaching: _Reaching) -> None:
        access = self._accesses[index]
        for register in access.reads:
            found = reaching.get(register, frozenset({_ENTRY}))
            self._join(index, register, found)
        sure = not self._function.instructions[index].predicate
        for register in access.writes:
            self._root((index, register))
            old = frozenset() if sure else reaching.get(register, frozenset({_ENTRY}))
            reaching[register] = old | {index}

    def _join(self, index: int, register: str, found: frozenset[int]) -> None:
        first, *others = sorted(found)
        root = self._root((first, register))
        for each in others:
            other = self._root((each, register))
            self._parent[max(root, other)] = min(root, other)
            root = min(root, other)
        self._seen[index, register] = (first, register)

    @staticmethod
    def _merge(before: list[_Reaching | None], target: int, reaching: _Reaching) -> bool:
        known = before[target]
        if known is None:
            before[target] = dict(reaching)
            return True
        news = False
        for register in known.keys() | reaching.keys():
            entry = frozenset({_ENTRY})
            both = known.get(register, entry) | reaching.get(register, entry)
            if both != known.get(register):
                known[register] = both
                news = True
        return news
