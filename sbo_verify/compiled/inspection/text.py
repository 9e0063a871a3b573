"""PTX text of any compiler to functions: statements, labels, guards, source lines, register scopes.

`compiled.ptx` reads one kernel of this project with its markers; this reader takes whole modules
as NVRTC, nvcc, Triton and CUTLASS leave them. Nothing that is read is executed. Source: PTX ISA
9.0, "Source Format", "Statements", "Kernel and Function Directives", ".loc", ".file".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from sbo_verify.compiled.ptx import PtxError


@dataclass(frozen=True, slots=True)
class Source:
    """Where the compiler says that an instruction comes from."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Op:
    """One instruction; `guard` is (register, wanted value) or None. Lines count from 1.

    `place` counts a function's instructions: a line may hold several.
    """

    line: int
    mnemonic: str
    operands: tuple[str, ...]
    guard: tuple[str, bool] | None = None
    loc: tuple[int, int] | None = None
    place: int = 0


def width(op: Op) -> int:
    """The bytes that an access touches."""
    words = op.mnemonic.split(".")
    count = next((int(each[1:]) for each in words if each in {"v2", "v4", "v8"}), 1)
    bits = re.search(r"(8|16|32|64|128)(x2)?$", words[-1])
    return count * (int(bits[1]) * (2 if bits[2] else 1) // 8 if bits else 16)


@dataclass(frozen=True, slots=True)
class Mark:
    """A label."""

    line: int
    name: str


@dataclass
class Function:
    """A kernel (`entry`) or a function: its body, and the threads of a CTA if it says so.

    `targets` are the lists of labels that its indirect branches name. One of machine code has lost
    many addresses.
    """

    name: str
    entry: bool
    line: int
    body: list[Op | Mark] = field(default_factory=list)
    threads: tuple[int, int, int] | None = None
    targets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    machine_code: bool = False


@dataclass
class Module:
    """All functions of a file, the source files that `.loc` counts, variables in shared memory."""

    functions: list[Function]
    files: dict[int, str]
    shared: frozenset[str] = frozenset()

    def source(self, op: Op) -> Source | None:
        """The source position of an instruction, where the compiler left one."""
        if op.loc is None:
            return None
        return Source(self.files.get(op.loc[0], f"file {op.loc[0]}"), op.loc[1])


_TOKEN = re.compile(
    r'(?P<space>[ \t\r]+)|(?P<newline>\n)|(?P<comment>//[^\n]*|/\*.*?\*/)|(?P<string>"[^"\n]*")'
    r'|(?P<open>/\*)|(?P<punct>[{};])|(?P<word>[^\s{};"/]+|/)|(?P<quote>")',
    re.DOTALL,
)
_HEADER = re.compile(r"\.(entry|func)\b(?:\s*\([^)]*\))?\s*([\w$.@]+)")
_THREADS = re.compile(r"\.(?:maxntid|reqntid)\s+(\d+)(?:\s*,\s*(\d+))?(?:\s*,\s*(\d+))?")
_LABEL = re.compile(r"([A-Za-z_$%][\w$]*)\s*:(?!:)")
_OP = re.compile(r"(?:@(!?)\s*([%\w$]+)\s+)?([a-z][\w.:]*)\s*(.*)", re.DOTALL)
_REGISTERS = re.compile(r"\.reg\s+(?:\.\w+\s+)+(.*)", re.DOTALL)
_NAME = re.compile(r"[%A-Za-z_$][\w$]*")
_LOC = re.compile(r"\.loc\s+(\d+)\s+(\d+)")
_FILE = re.compile(r'\.file\s+(\d+)\s+"([^"\n]*)"')
_PAIRS = (("[", "]"), ("{", "}"), ("(", ")"))
# Directives that end with their line, not with a semicolon.
_LINE_DIRECTIVES = (".loc", ".file", ".pragma", ".version", ".target", ".address_size", ".section")


def read_module(text: str) -> Module:
    """The functions of a PTX file.

    Raises `PtxError`, with the line, for text that is no PTX, holds no function or breaks off.
    """
    if not text.strip():
        message = "the file is empty"
        raise PtxError(message)
    if re.search(r"^\s*\.version\s+\d", text, re.MULTILINE) is None:
        message = "PTX line 1: no .version directive: this is no PTX"
        raise PtxError(message)
    reader = _Reader()
    reader.read(text)
    if not reader.functions:
        message = "PTX line 1: no .entry and no .func with a body"
        raise PtxError(message)
    files = {int(number): name for number, name in _FILE.findall(text)}
    return Module(reader.functions, files, frozenset(reader.shared))


@dataclass
class _Block:
    """An open block: the registers that it renames, and the labels that are its own."""

    number: int
    registers: dict[str, str] = field(default_factory=dict)
    labels: set[str] = field(default_factory=set)
    branches: list[int] = field(default_factory=list)


class _Reader:
    """Statements from tokens; `blocks` are those that are open."""

    def __init__(self) -> None:
        self.functions: list[Function] = []
        self.shared: set[str] = set()
        self._function: Function | None = None
        self._depth = 0
        self._pending: list[str] = []
        self._line = 1
        self._start = 1
        self._braces = 0
        self._loc: tuple[int, int] | None = None
        self._blocks: list[_Block] = []
        self._opened = 0

    def read(self, text: str) -> None:
        for token in _TOKEN.finditer(text):
            kind, value = token.lastgroup, token.group()
            if kind == "open":
                self._refuse(self._line, "a comment that does not end")
            if kind == "quote":
                self._refuse(self._line, "a string that does not end")
            if kind == "newline":
                self._end_of_line()
            elif kind == "punct":
                self._punctuation(value)
            elif kind in {"word", "string"}:
                if not self._pending:
                    self._start = self._line
                self._pending.append(value)
            self._line += value.count("\n")
        if self._function is not None:
            self._refuse(self._line, f"the body of {self._function.name} does not end")
        if any(word in {".entry", ".func"} for word in self._pending):
            self._refuse(self._start, "a function with no body")

    def _refuse(self, line: int, what: str) -> None:
        message = f"PTX line {line}: {what}"
        raise PtxError(message)

    def _end_of_line(self) -> None:
        if self._function is not None and not self._braces:
            self._in_operands()
        head = self._pending[0] if self._pending else ""
        if head.startswith(_LINE_DIRECTIVES):
            if (match := _LOC.match(" ".join(self._pending))) is not None:
                self._loc = (int(match[1]), int(match[2]))
            self._pending.clear()

    def _punctuation(self, sign: str) -> None:
        if sign == ";":
            if self._braces:
                self._refuse(self._line, "a vector operand that does not end")
            self._statement()
        elif self._braces or (self._function is not None and self._in_operands() and sign == "{"):
            self._braces += 1 if sign == "{" else -1
            self._pending.append(sign)
        elif sign == "{":
            self._open()
        else:
            self._close()

    def _in_operands(self) -> bool:
        """Inside a statement: a brace is a vector operand, or a list of initial values."""
        while self._pending and (match := _LABEL.match(" ".join(self._pending[:2]))) is not None:
            self._label(match)
        return bool(self._pending)

    def _label(self, match: re.Match[str]) -> None:
        """A label, which is its block's own: inline assembly repeats names."""
        rest = " ".join(self._pending[:2])[match.end() :].strip()
        name = match[1]
        if self._function is not None:
            block = self._blocks[-1]
            if self._depth > 1:
                block.labels.add(name)
                name = f"{name}'{block.number}"
            self._function.body.append(Mark(self._start, name))
        self._pending[:2] = [rest] if rest else []

    def _open(self) -> None:
        text = " ".join(self._pending)
        if self._function is None:
            header = _HEADER.search(text)
            if header is not None and self._depth == 0:
                self._function = Function(header[2], header[1] == "entry", self._start)
                if (size := _THREADS.search(text)) is not None:
                    x, y, z = (int(each) if each else 1 for each in size.groups())
                    self._function.threads = (x, y, z)
            elif self._depth == 0 and self._pending and not text.startswith("."):
                self._refuse(self._start, f"not a directive: {text[:60]!r}")
        self._pending.clear()
        self._depth += 1
        self._opened += 1
        self._blocks.append(_Block(self._opened))
        self._loc = None if self._depth == 1 else self._loc

    def _close(self) -> None:
        if self._depth == 0:
            self._refuse(self._line, "a closing brace that nothing opened")
        if self._function is not None and self._in_operands():
            text = " ".join(self._pending)
            if not text.startswith("."):
                self._refuse(self._start, f"a statement that does not end: {text[:60]!r}")
        self._pending.clear()
        self._depth -= 1
        self._leave(self._blocks.pop())
        if self._depth == 0 and self._function is not None:
            self.functions.append(self._function)
            self._function = None

    def _leave(self, block: _Block) -> None:
        """At the end of a block, its branches to labels of its own; the others are outer ones."""
        body = self._function.body if self._function is not None else []
        for index in block.branches:
            op = body[index]
            if isinstance(op, Op) and op.operands and op.operands[0] in block.labels:
                target = f"{op.operands[0]}'{block.number}"
                body[index] = replace(op, operands=(target, *op.operands[1:]))
            elif self._blocks:
                self._blocks[-1].branches.append(index)

    def _statement(self) -> None:
        self._in_operands()
        text = " ".join(self._pending)
        self._pending.clear()
        if text.startswith(".") and ".shared" in text.split("=")[0].split():
            self.shared.update(_names(text.split("=")[0]))
        if self._function is None:
            return
        if not text:
            return
        if text.startswith("."):
            self._directive(text)
            return
        match = _OP.fullmatch(text)
        if match is None:
            self._refuse(self._start, f"not an instruction: {text[:60]!r}")
            return
        negated, register, mnemonic, operands = match.groups()
        guard = (self._renamed(register), negated != "!") if register else None
        parts = tuple(self._renamed(part) for part in split_operands(operands))
        if any(part.count(opens) != part.count(ends) for part in parts for opens, ends in _PAIRS):
            self._refuse(self._start, f"brackets that do not match: {text[:60]!r}")
        body = self._function.body
        if mnemonic.startswith("bra"):
            self._blocks[-1].branches.append(len(body))
        body.append(Op(self._start, mnemonic, parts, guard, self._loc, len(body)))

    def _directive(self, text: str) -> None:
        """Registers that an inner block declares are its own: inline assembly repeats names."""
        if self._function is not None and text.startswith(".branchtargets"):
            mark = self._function.body[-1] if self._function.body else None
            if isinstance(mark, Mark):
                names = text.removeprefix(".branchtargets").split(",")
                self._function.targets[mark.name] = tuple(name.strip() for name in names)
        match = _REGISTERS.match(text)
        if match is not None and self._depth > 1:
            block = self._blocks[-1]
            for name in _NAME.findall(match[1]):
                block.registers[name] = f"{name}'{block.number}"

    def _renamed(self, text: str) -> str:
        scopes = [each.registers for each in self._blocks if each.registers]
        if not scopes:
            return text

        def rename(match: re.Match[str]) -> str:
            name = match.group()
            return next((s[name] for s in reversed(scopes) if name in s), name)

        return _NAME.sub(rename, text)


def _names(declaration: str) -> Iterator[str]:
    """The variables that a declaration such as `.shared .align 4 .b8 a[16], b` names."""
    for part in declaration.split(","):
        words = part.split("[")[0].split()
        if words:
            yield words[-1]


def split_operands(text: str) -> list[str]:
    """Operands of PTX or machine code at the outermost commas: `{a, b}, [c, {d}]` is two."""
    parts: list[str] = []
    depth = 0
    piece = ""
    for sign in text:
        if sign in "{[(":
            depth += 1
        elif sign in "}])":
            depth -= 1
        if sign == "," and depth == 0:
            parts.append(piece.strip())
            piece = ""
        else:
            piece += sign
    return [*parts, piece.strip()] if piece.strip() else parts
