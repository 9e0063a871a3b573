"""CUDA source beside the PTX: inline assembly that orders memory and does not say so.

Source: CUDA, "Inline PTX Assembly", section "Incorrect Optimization".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_ASM = re.compile(r"\basm\b\s*(?:volatile|__volatile__)?\s*\(")
_ORDERS = re.compile(
    r"\b(?:\w+\.)*(?:release|acquire|acq_rel)\b|\bfence\.|\bmembar\.|\bbar(?:rier)?\.(?:sync|cta|cluster|red)"
    r"|\bcp\.async\.bulk|\b(?:red|atom)\."
)
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Unclobbered:
    """An `asm` statement at `line` with what it says, shortened."""

    line: int
    text: str


def unclobbered(text: str) -> list[Unclobbered]:
    """The `asm` statements of CUDA source that order memory with no "memory" clobber."""
    code = _COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)
    found = []
    for start in _ASM.finditer(code):
        body = _balanced(code, start.end())
        if _ORDERS.search(body) and '"memory"' not in body:
            line = code.count("\n", 0, start.start()) + 1
            words = " ".join(body.split())
            found.append(Unclobbered(line, f"asm({words[:80]}"))
    return found


def _balanced(code: str, start: int) -> str:
    """From behind an opening parenthesis to the one that closes it; strings are skipped."""
    depth, place, quoted = 1, start, False
    while place < len(code) and depth:
        sign = code[place]
        if sign == "\\" and quoted:
            place += 1
        elif sign == '"':
            quoted = not quoted
        elif not quoted and sign in "()":
            depth += 1 if sign == "(" else -1
        place += 1
    return code[start:place]
