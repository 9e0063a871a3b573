"""Named values with ranges, read from text and written to records: the base of all knobs."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Any, ClassVar, Self

CHUNK_BYTES = 16
_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class KnobError(ValueError):
    """A knob that does not exist or a value it cannot take; the message says what is allowed."""


@dataclass(frozen=True, kw_only=True)
class KnobSet:
    """Knobs are the fields of a subclass; `RANGES` has the least and the largest value of some.

    Those named in `IN_CHUNKS` are sizes that copies of 16 bytes must divide.
    """

    RANGES: ClassVar[tuple[tuple[str, float, float], ...]] = ()
    IN_CHUNKS: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for name, low, high in self.RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                message = f"knob {name} is {value}; allowed is {low} to {high}"
                raise KnobError(message)
        for name in self.IN_CHUNKS:
            value = getattr(self, name)
            if value % CHUNK_BYTES:
                message = f"knob {name} is {value}; it must be a multiple of {CHUNK_BYTES} bytes"
                raise KnobError(message)

    @classmethod
    def names(cls) -> list[str]:
        """All knobs, in the order of declaration."""
        return [field.name for field in fields(cls)]

    def to_json(self) -> dict[str, Any]:
        """Plain values, enumerations by name."""
        values = {name: getattr(self, name) for name in self.names()}
        return {
            name: value.name.lower() if isinstance(value, IntEnum) else value
            for name, value in values.items()
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_json`; raises `KnobError` for unknown names or values."""
        return cls().with_values({name: str(value) for name, value in data.items()})

    def with_values(self, words: dict[str, str]) -> Self:
        """These knobs with some set from text; raises `KnobError` that says what is allowed."""
        known = {name: getattr(self, name) for name in self.names()}
        changes: dict[str, Any] = {}
        for name, word in words.items():
            if name not in known:
                message = f"no knob {name!r}; the knobs are: {', '.join(known)}"
                raise KnobError(message)
            changes[name] = _parse(name, word, known[name])
        return replace(self, **changes)


def _parse(name: str, word: str, default: object) -> object:
    if isinstance(default, IntEnum):
        kind = type(default)
        names = [member.name.lower() for member in kind]
        if word.lower() not in names:
            message = f"knob {name} is {word!r}; allowed is one of {', '.join(names)}"
            raise KnobError(message)
        return kind[word.upper()]
    if isinstance(default, bool):
        if word.lower() not in _TRUTH:
            message = f"knob {name} is {word!r}; allowed is true or false"
            raise KnobError(message)
        return _TRUTH[word.lower()]
    try:
        return float(word) if isinstance(default, float) else int(word)
    except ValueError as error:
        message = f"knob {name} is {word!r}; allowed is a number"
        raise KnobError(message) from error
