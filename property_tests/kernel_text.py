"""Kernel headers as text: their functions, and the assembly statements in them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sbo_verify.vocabulary import UnknownInstructionError, parse

FIRST_LINE = re.compile(r"^__device__ __forceinline__ [^;{]*?\b(\w+)\(", re.MULTILINE)
ASM = "asm volatile("
SCOPE = '" SCOPE "'  # how a wrapper of several scopes leaves its scope open
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Assembly:
    """One `asm volatile`: its line, the PTX instructions it spells, and whether it clobbers."""

    line: int
    mnemonics: tuple[str, ...]
    clobbers_memory: bool
    is_marker: bool


def functions(text: str) -> dict[str, str]:
    """Function name to text, from its first line to its closing brace."""
    found: dict[str, str] = {}
    for match in FIRST_LINE.finditer(text):
        end = text.index("\n}\n", match.start())
        assert match[1] not in found, f"two functions are called {match[1]}"
        found[match[1]] = text[match.start() : end + len("\n}\n")]
    return found


def without_comments(text: str) -> str:
    """The same text and lines with `//` comments blanked, strings that hold `//` kept."""
    return re.sub(
        r'^((?:[^"/\n]|/(?!/)|"(?:[^"\\\n]|\\.)*")*)//[^\n]*', r"\1", text, flags=re.MULTILINE
    )


def assemblies(text: str) -> list[Assembly]:
    """Every `asm volatile` in the order of the text; a scope left open counts as gpu."""
    found: list[Assembly] = []
    code = without_comments(text)
    start = code.find(ASM)
    while start >= 0:
        statement = code[start : _closing(code, start + len(ASM))]
        statement = statement.replace(SCOPE, "gpu")
        colon = _outside_strings(statement, ":")
        template, operands = statement[:colon], statement[colon:]
        ptx = "".join(STRING.findall(template)).replace("\\n", "")
        found.append(
            Assembly(
                line=code.count("\n", 0, start) + 1,
                mnemonics=tuple(_mnemonics(ptx)),
                clobbers_memory='"memory"' in operands,
                is_marker=ptx.startswith("// sbo:"),
            )
        )
        start = code.find(ASM, start + 1)
    return found


def orders(mnemonic: str) -> bool:
    """Whether conformance reads this instruction back; one without a word counts too."""
    try:
        return parse(mnemonic, "0") is not None
    except UnknownInstructionError:
        return True


def _closing(code: str, index: int) -> int:
    """Index of the parenthesis that closes the one before `index`, strings skipped."""
    depth = 1
    inside_string = False
    while depth:
        if code[index] == '"':
            inside_string = not inside_string
        elif not inside_string:
            depth += {"(": 1, ")": -1}.get(code[index], 0)
        index += 1
    return index - 1


def _outside_strings(text: str, character: str) -> int:
    """Index of the first `character` that is in no string; the text's length without one."""
    blanked = STRING.sub(lambda match: "-" * len(match[0]), text)
    index = blanked.find(character)
    return len(text) if index < 0 else index


def _mnemonics(ptx: str) -> list[str]:
    """The instructions of an assembly template, without directives, braces and operands."""
    if ptx.startswith("//"):
        return []
    pieces = (piece.strip(" {}") for piece in ptx.split(";"))
    return [piece.split()[0] for piece in pieces if piece and not piece.startswith(".")]
