"""What a protocol is: sites, variants, catalogue rows, and the hash that joins their records.

A *site* is a place in a hand-over where an author has a choice; a *variant* picks one choice for
every site; a *row* is a variant with a name, an expected verdict, a reason and a source.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from enum import Enum
from typing import Any, Self

from sbo_verify.verdict import ModelVerdict
from sbo_verify.vocabulary import Instruction

HASH_LENGTH = 12
NAMES_HINTED = 5


class UnknownNameError(ValueError):
    """A variant, site, choice or protocol that does not exist; the message lists what does."""


class RefusedVariantError(ValueError):
    """A combination of choices that has no meaning; the message says which and why."""


class Site(Enum):
    """Base of every site: members are the choices, `word` their name in reports and C++."""

    def __init__(self, word: str, meaning: str) -> None:
        self.word = word
        self.meaning = meaning

    @classmethod
    def from_word(cls, word: str) -> Self:
        """The choice called `word`; raises `UnknownNameError` that lists the choices."""
        for choice in cls:
            if choice.word == word:
                return choice
        allowed = ", ".join(choice.word for choice in cls)
        message = f"{cls.__name__} has no choice {word!r}; choose one of: {allowed}"
        raise UnknownNameError(message)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One choice for every site. Subclasses declare the sites as fields, in protocol order."""

    def choices(self) -> dict[str, Site]:
        """Site name to choice, in the order of declaration."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def words(self) -> dict[str, str]:
        """Site name to the choice's word: the form that records keep."""
        return {site: choice.word for site, choice in self.choices().items()}

    def with_choices(self, **changes: Site) -> Self:
        """The same variant with other choices at the sites named."""
        return replace(self, **changes)

    def differences(self, other: Variant) -> dict[str, tuple[Site, Site]]:
        """Sites at which the two variants differ, with the choices (self's, other's)."""
        theirs = other.choices()
        return {s: (c, theirs[s]) for s, c in self.choices().items() if theirs[s] is not c}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A variant of the catalogue with what is expected of it.

    `because` is one sentence, `source` a thread, a file or a section of the PTX ISA. A `canary` is
    a variant that the silicon must show as broken for a stress run to count.
    """

    name: str
    variant: Variant
    expected: ModelVerdict
    because: str
    source: str
    canary: bool = False

    @property
    def sound(self) -> bool:
        """True where a stale read is expected to be forbidden."""
        return self.expected is ModelVerdict.FORBIDDEN


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question that engineers have left open, to be answered by rows of the catalogue.

    The answer is yes where a stale read is forbidden for every row in `enough`. The rows in
    `beside` are shown with them. `producers` CTAs add to the signal; with `on_another_gpu` the
    consumer runs on another GPU than the producer.
    """

    text: str
    where: str
    enough: tuple[str, ...]
    beside: tuple[str, ...] = ()
    producers: int = 1
    on_another_gpu: bool = False


@dataclass(frozen=True, kw_only=True)
class Step:
    """The instructions of one site: `side` is producer or consumer, `site` a field's name.

    `repeats` marks a data access that the compiler may unroll: one or more of the same. `branches`
    marks instructions of different threads, on the branches of one condition and so in no order.
    """

    side: str
    site: str
    instructions: tuple[Instruction, ...]
    repeats: bool = False
    branches: bool = False

    @property
    def label(self) -> str:
        """The name that the kernel's markers carry: `producer.drain`."""
        return f"{self.side}.{self.site}"


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A hand-over protocol: its sites, its kernel, its catalogue and its meaning.

    `questions` are those that reviews left open, `cases` the rows taken from code in use.
    """

    name: str
    summary: str
    kernel: str
    variant_type: type[Variant]
    sites: Mapping[str, type[Site]]
    rows: tuple[Row, ...]
    refusals: Callable[[Any], list[str]]
    steps: Callable[[Any], tuple[Step, ...]]
    questions: tuple[Question, ...] = ()
    cases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [row.name for row in self.rows]
        hashes = [self.hash_of(row.variant) for row in self.rows]
        for what, values in (("name", names), ("variant", hashes)):
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                message = f"catalogue of {self.name}: the same {what} twice: {', '.join(twice)}"
                raise ValueError(message)
        for row in self.rows:
            self.check(row.variant)
        asked = [name for each in self.questions for name in (*each.enough, *each.beside)]
        for name in (*asked, *self.cases):
            self.row(name)

    def row(self, name: str) -> Row:
        """The row called `name`, or with the hash `name`; else `UnknownNameError`."""
        for row in self.rows:
            if name in {row.name, self.hash_of(row.variant)}:
                return row
        near = _near(name, [row.name for row in self.rows])
        hint = f"did you mean {', '.join(near)}?" if near else "see `sbo-verify list`"
        message = f"no variant {name!r} in the catalogue of {self.name}; {hint}"
        raise UnknownNameError(message)

    def hash_of(self, variant: Variant) -> str:
        """Joins the model's, the code's and the silicon's records of one variant."""
        words = sorted(variant.words().items())
        text = "\n".join([self.name, *(f"{site}={word}" for site, word in words)])
        return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]

    def variant(self, words: Mapping[str, str]) -> Variant:
        """The variant with these words, every site named once; checked like `check`."""
        if unknown := sorted(set(words) - set(self.sites)):
            message = f"{self.name} has no site {unknown}; its sites: {', '.join(self.sites)}"
            raise UnknownNameError(message)
        if missing := [site for site in self.sites if site not in words]:
            message = f"no choice given for the sites {', '.join(missing)} of {self.name}"
            raise UnknownNameError(message)
        choices = {site: kind.from_word(words[site]) for site, kind in self.sites.items()}
        variant = self.variant_type(**choices)
        self.check(variant)
        return variant

    def check(self, variant: Variant) -> None:
        """Raises `RefusedVariantError` when the combination of choices has no meaning."""
        if reasons := self.refusals(variant):
            message = f"{self.name}: this combination has no meaning: {'; '.join(reasons)}"
            raise RefusedVariantError(message)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)


def _near(name: str, names: list[str]) -> list[str]:
    """The names that hold `name`, or else those that are spelled much like it; few of them."""
    word = name.lower()
    holding = [each for each in names if word and word in each]
    return (holding or get_close_matches(word, names))[:NAMES_HINTED]
