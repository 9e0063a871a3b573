"""The data of an explanation: the steps of an execution, the edges of a chain.

Sentences and pictures are made from these and nothing else; records keep them as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One event of a witness. `value` is what was read or written, `source` the step read from."""

    number: int
    actor: str
    instruction: str
    does: str
    value: int | None = None
    memory: str | None = None
    source: int | None = None
    note: str = ""

    def __str__(self) -> str:
        text = f"{self.number}. {self.actor}: {self.instruction} - {self.does}"
        return f"{text} ({self.note})" if self.note else text


@dataclass(frozen=True, slots=True)
class Edge:
    """One edge of base causality: the rule, and the instructions at its ends."""

    rule: str
    first_actor: str
    first: str
    second_actor: str
    second: str

    def __str__(self) -> str:
        return (
            f"{self.first_actor}: {self.first} -> {self.second_actor}: {self.second} [{self.rule}]"
        )


def as_data(items: Sequence[Step] | Sequence[Edge]) -> list[dict[str, object]]:
    """Steps or edges as plain data for JSON."""
    return [asdict(item) for item in items]
