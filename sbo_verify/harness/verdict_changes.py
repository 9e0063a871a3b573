"""What it means that a level's word is another one in a later run: worse, changed, or unknown."""

from __future__ import annotations

from dataclasses import dataclass

from sbo_verify.record import RowVerdict
from sbo_verify.verdict import (
    CodeVerdict,
    MachineVerdict,
    ModelVerdict,
    Outcome,
    SiliconVerdict,
)

SAME, CHANGED, WORSE, UNKNOWN = "same", "changed", "worse", "unknown"

# From best to worst; what has no place says nothing that can be trusted.
_MODEL = (ModelVerdict.FORBIDDEN, ModelVerdict.ALLOWED)
_CODE = (CodeVerdict.AS_DECLARED, CodeVerdict.DIFFERS)
_MACHINE = (MachineVerdict.KEPT, MachineVerdict.LOST)
_OUTCOME = (Outcome.PASS, Outcome.FAIL)
_SEEN = {SiliconVerdict.SOMETIMES, SiliconVerdict.ALWAYS}
_LIVENESS = {SiliconVerdict.THRESHOLD_NEVER_REACHED, SiliconVerdict.OVERSHOT}


@dataclass(frozen=True, kw_only=True)
class WordChange:
    """One level's words, and what the change is called."""

    level: str
    before: str
    after: str
    change: str

    def __str__(self) -> str:
        return f"{self.level}: {self.before} became {self.after}"


def word_changes(
    before: RowVerdict, after: RowVerdict, machine_before: str, machine_after: str
) -> list[WordChange]:
    """Every level whose word is another. Machine code is compared where both runs recorded it."""
    levels = [
        ("model", before.model, after.model, _ranked(_MODEL, after.model)),
        ("code", before.code, after.code, _ranked(_CODE, after.code)),
        ("silicon", before.silicon, after.silicon, _of_silicon(before, after)),
        ("outcome", before.outcome, after.outcome, _ranked(_OUTCOME, after.outcome)),
    ]
    if machine_before and machine_after:
        change = _ranked(_MACHINE, machine_after)
        levels.insert(2, ("machine code", machine_before, machine_after, change))
    return [
        WordChange(level=level, before=one, after=other, change=change)
        for level, one, other, change in levels
        if one != other
    ]


def _ranked(ranks: tuple[str, ...], after: str) -> str:
    """Of a word that is another now: the best is an improvement, the worst is worse."""
    if after not in ranks:
        return UNKNOWN
    return WORSE if after == ranks[-1] else CHANGED


def _of_silicon(before: RowVerdict, after: RowVerdict) -> str:
    """What another word of the silicon level is called.

    A violation of a sound row is worse, however rare. Whether a broken row shows itself is chance
    where it is rare, so that its rate is tested instead; a canary that no longer does is unknown.
    """
    word = after.silicon
    if word in _LIVENESS:
        return WORSE
    if word in _SEEN:
        return WORSE if after.expected == ModelVerdict.FORBIDDEN.value else CHANGED
    if word == SiliconVerdict.NEVER.value:
        return UNKNOWN if after.canary and before.silicon in _SEEN else CHANGED
    return UNKNOWN
