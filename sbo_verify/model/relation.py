"""Relations over the events of one execution: a row of bits for every event.

The axioms need union, intersection, composition, inverse, closure and a test for cycles, on a few
dozen events and many thousand times over, so that a relation is a list of Python integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def bits(mask: int) -> Iterator[int]:
    """The indices of the bits that are set, in ascending order."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


class Relation:
    """A set of ordered pairs of event indices below `size`; operations return new relations."""

    __slots__ = ("rows",)

    def __init__(self, rows: list[int]) -> None:
        self.rows = rows

    @classmethod
    def empty(cls, size: int) -> Relation:
        """No pair at all."""
        return cls([0] * size)

    @classmethod
    def of(cls, size: int, pairs: Iterable[tuple[int, int]]) -> Relation:
        """Exactly these pairs."""
        rows = [0] * size
        for first, second in pairs:
            rows[first] |= 1 << second
        return cls(rows)

    def __or__(self, other: Relation) -> Relation:
        return Relation([a | b for a, b in zip(self.rows, other.rows, strict=True)])

    def __and__(self, other: Relation) -> Relation:
        return Relation([a & b for a, b in zip(self.rows, other.rows, strict=True)])

    def __sub__(self, other: Relation) -> Relation:
        return Relation([a & ~b for a, b in zip(self.rows, other.rows, strict=True)])

    def __contains__(self, pair: tuple[int, int]) -> bool:
        return bool(self.rows[pair[0]] >> pair[1] & 1)

    def __bool__(self) -> bool:
        return any(self.rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Relation) and self.rows == other.rows

    def __hash__(self) -> int:
        return hash(tuple(self.rows))

    def __repr__(self) -> str:
        return f"Relation({sorted(self.pairs())})"

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Every pair, by first and then by second member."""
        for first, row in enumerate(self.rows):
            for second in bits(row):
                yield first, second

    def then(self, other: Relation) -> Relation:
        """Composition: x to z where x is related to some y here and y to z in `other`."""
        rows = other.rows
        result: list[int] = []
        for row in self.rows:
            reached, rest = 0, row
            while rest:
                low = rest & -rest
                reached |= rows[low.bit_length() - 1]
                rest ^= low
            result.append(reached)
        return Relation(result)

    def inverse(self) -> Relation:
        """Every pair turned round."""
        rows = [0] * len(self.rows)
        for first, row in enumerate(self.rows):
            bit = 1 << first
            for second in bits(row):
                rows[second] |= bit
        return Relation(rows)

    def contradicts(self, other: Relation) -> bool:
        """True where some pair stands the other way round in `other`."""
        rows = other.rows
        return any(rows[second] >> first & 1 for first, second in self.pairs())

    def closure(self) -> Relation:
        """The transitive closure."""
        rows = list(self.rows)
        for middle, _ in enumerate(rows):
            through, bit = rows[middle], 1 << middle
            if through:
                rows = [row | through if row & bit else row for row in rows]
        return Relation(rows)

    def within(self, first: int, second: int) -> Relation:
        """Only the pairs from the set `first` to the set `second`, given as bit masks."""
        return Relation(
            [row & second if first >> index & 1 else 0 for index, row in enumerate(self.rows)]
        )

    def optional(self) -> Relation:
        """The relation or identity."""
        return Relation([row | 1 << index for index, row in enumerate(self.rows)])

    def irreflexive(self) -> bool:
        """True where no event is related to itself."""
        return not any(row >> index & 1 for index, row in enumerate(self.rows))

    def acyclic(self) -> bool:
        """True where no chain of pairs returns to its start."""
        return self.closure().irreflexive()
