"""The kinds of ordering that a stale execution shows to be missing, each with its sentence.

`docs/explain.md` has a section for each, under its name. Sentences are made and recognised from
one text, so that the kind of a sentence in an old record can be told, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gap:
    """One kind: its stable name, and its sentence with names in braces for what is special."""

    name: str
    sentence: str

    def says(self, text: str) -> bool:
        """Whether `text` is a sentence of this kind."""
        fixed = re.split(r"\{\w+\}", self.sentence)
        return re.fullmatch(".+".join(map(re.escape, fixed)), text, re.DOTALL) is not None


NOT_WAITED_FOR = Gap(
    "not-waited-for",
    "nothing waits for {write}: it precedes no event of any thread, so that {read} may come first",
)
ORDERED_NO_FURTHER = Gap(
    "ordered-no-further",
    "{write} is ordered before {last}, and no further: not before {read}",
)
PROXY_FENCE_MISSING = Gap(
    "proxy-fence-missing",
    "{write} precedes {read} in base causality order, but not in proxy-preserved base causality "
    "order: a fence.proxy.async for the {proxy} access is missing between them, in the CTA of that "
    "access",
)
NON_COHERENT_LOAD = Gap(
    "non-coherent-load",
    "{read} is outside the model: nothing orders a non-coherent load",
)
USED_BEFORE_COMPLETE = Gap(
    "used-before-complete",
    "the bulk copy and the read of its destination are not ordered either way: the PTX ISA calls "
    "the use of a destination before its copy is complete undefined behaviour, not only a weak "
    "outcome (cp.async.bulk)",
)
POLL_NEVER_SEES = Gap(
    "poll-never-sees",
    "{poll} and {write} are not morally strong: the read may never see that write",
)

GAPS = (
    NOT_WAITED_FOR,
    ORDERED_NO_FURTHER,
    PROXY_FENCE_MISSING,
    NON_COHERENT_LOAD,
    USED_BEFORE_COMPLETE,
    POLL_NEVER_SEES,
)


def gap_said(text: str) -> Gap | None:
    """The kind that a sentence is of; None for one that speaks of no missing ordering."""
    return next((gap for gap in GAPS if gap.says(text)), None)
