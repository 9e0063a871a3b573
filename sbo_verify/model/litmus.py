"""Litmus files: the public PTX format read and written, with this project's extension.

A file has a name, a block of declarations, one column of instructions for every thread, and a
condition after `exists`, `~exists` or `forall`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from sbo_verify.model.cell import ADDRESS, REGISTER
from sbo_verify.model.cells import read_cell
from sbo_verify.model.condition import (
    Both,
    Compare,
    Condition,
    Either,
    MemoryAt,
    Not,
    RegisterOf,
    Term,
    terms,
)
from sbo_verify.model.events import Location, Placement, Proxy
from sbo_verify.model.program import (
    Atomic,
    Branch,
    BulkCopy,
    Instruction,
    Label,
    Load,
    MbarrierArrive,
    MbarrierWait,
    Program,
    Store,
    Thread,
)
from sbo_verify.model.scanner import LitmusError, Scanner
from sbo_verify.vocabulary import Space

SPACES = {"shared": Space.SHARED, "global": Space.GLOBAL}
_CONDITION = r"~?\s*exists\b|forall\b|not\s+exists\b"
_COMMENT = re.compile(r"\(\*.*?\*\)|//[^\n]*", re.DOTALL)
_BEFORE_IT = r"filter\b|locations\b"
_PLACES = ("cta", "gpu", "cluster", "warp")


@dataclass(slots=True)
class _Declared:
    locations: dict[str, Location] = field(default_factory=dict)
    initial: dict[str, int] = field(default_factory=dict)
    registers: dict[int, dict[str, int]] = field(default_factory=dict)
    arrivals: dict[str, int] = field(default_factory=dict)


def read_file(path: Path) -> Program:
    """The program of a litmus file; raises `LitmusError` with file, line and column."""
    raw = path.read_bytes()
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        found = f"byte 0x{raw[error.start]:02x}"
        raise LitmusError(str(path), line, column, "text in UTF-8", found) from error
    return read_text(text, str(path))


def read_text(text: str, file: str = "<text>") -> Program:
    """The program of a litmus text; `file` is the name that complaints carry."""
    scanner = Scanner(file, text)
    scanner.expect(r"(?i:ptx)\b", "'PTX' and a name")
    heading_end = text.find("{", scanner.position)
    if heading_end < 0:
        scanner.position = scanner.end
        scanner.fail("a block of declarations between braces")
    name, _, comment = text[scanner.position : heading_end].strip().partition("\n")
    # Behind the heading comments say nothing, whatever stands in them; places stay as they are.
    body = _COMMENT.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text[heading_end + 1 :])
    scanner = Scanner(file, text[: heading_end + 1] + body, heading_end + 1)
    declared = _declarations(scanner)
    ids, placements = _header(scanner)
    columns = _rows(scanner, len(ids))
    quantifier, condition = _final(scanner, ids, declared)
    threads = tuple(
        Thread(
            name=f"P{number}",
            placement=place,
            instructions=tuple(instruction for instruction, _ in column),
            registers=tuple(declared.registers.get(number, {}).items()),
        )
        for number, place, column in zip(ids, placements, columns, strict=True)
    )
    if unknown := sorted(set(declared.registers) - set(ids)):
        scanner.fail(f"a thread P{unknown[0]}, whose register is declared", heading_end)
    for column in columns:
        _check_column(scanner, column, declared)
    return Program(
        name=name.strip(),
        threads=threads,
        locations=declared.locations,
        condition=condition,
        quantifier=quantifier,
        initial=declared.initial,
        arrivals=declared.arrivals,
        comment=comment.strip(),
    )


def _declarations(scanner: Scanner) -> _Declared:
    declared = _Declared()
    while not scanner.accept(r"\}\s*;?"):
        if scanner.accept(";"):
            continue
        _declaration(scanner, declared)
        if scanner.peek(r"\}") is None:
            scanner.expect(";", "a semicolon or a closing brace")
    return declared


def _declaration(scanner: Scanner, declared: _Declared) -> None:
    thread = scanner.accept(r"P?[0-9]+\s*:")
    if thread is not None:
        register = scanner.expect(REGISTER, "a register (r0, r1, ...)")
        scanner.expect("=", "=")
        number = int(thread.rstrip(": \t").lstrip("P"))
        registers = declared.registers.setdefault(number, {})
        registers[register] = scanner.integer("a constant: registers hold no addresses here")
        return
    kind = scanner.accept(r"(?:shared|global|mbarrier)\b")
    place = scanner.position
    name = scanner.expect(ADDRESS, "a declaration: a location, P0:r0 or an alias")
    if name in declared.locations or name in declared.arrivals:
        scanner.fail(f"a name that is not declared already, as {name!r} is", place)
    if kind == "mbarrier":
        declared.arrivals[name] = scanner.integer("a count") if scanner.accept("=") else 1
    elif scanner.accept("@"):
        _alias(scanner, declared, name)
    else:
        space = SPACES.get(kind or "", Space.ANY)
        declared.locations[name] = Location(name, name, space)
        if scanner.accept("="):
            declared.initial[name] = scanner.integer("a constant: pointers have no meaning here")


def _alias(scanner: Scanner, declared: _Declared, name: str) -> None:
    """`y @ generic aliases x` is another address; other proxies reach x by x's own address."""
    word = scanner.expect(
        r"(?:generic|surface|texture|constant)\b", "generic, surface, texture or constant"
    )
    scanner.expect(r"aliases\b", "aliases")
    place = scanner.position
    target = scanner.expect(ADDRESS, "a location")
    if target not in declared.locations:
        scanner.fail(f"a location declared above, not {target!r}", place)
    of = declared.locations[target]
    proxy = Proxy(word)
    address = name if proxy is Proxy.GENERIC else of.address
    declared.locations[name] = Location(address, of.memory, of.space, proxy)


def _header(scanner: Scanner) -> tuple[list[int], list[Placement]]:
    ids: list[int] = []
    placements: list[Placement] = []
    while True:
        start = scanner.position
        thread = scanner.expect(r"P[0-9]+", "a thread (P0@cta 0,gpu 0)")
        number = int(thread[1:])
        if number in ids:
            scanner.fail(f"a thread other than {thread}", start)
        ids.append(number)
        scanner.expect("@", "@ and the thread's place")
        place: dict[str, int] = {}
        while True:
            word = scanner.expect(rf"(?:{'|'.join(_PLACES)})\b", "cta, cluster, gpu or warp")
            place[word] = scanner.integer(f"the number of the {word}")
            if not scanner.accept(","):
                break
        if not {"cta", "gpu"} <= place.keys():
            scanner.fail(f"cta and gpu of {thread}")
        placements.append(
            Placement(place["cta"], place["gpu"], place.get("cluster"), place.get("warp"))
        )
        if not scanner.accept(r"\|"):
            break
    scanner.expect(";", "a bar and another thread, or a semicolon")
    return ids, placements


def _rows(scanner: Scanner, threads: int) -> list[list[tuple[Instruction, int]]]:
    columns: list[list[tuple[Instruction, int]]] = [[] for _ in range(threads)]
    while scanner.peek(rf"{_CONDITION}|{_BEFORE_IT}") is None:
        if scanner.at_end():
            scanner.fail("exists, ~exists or forall")
        end = scanner.text.find(";", scanner.position)
        if end < 0:
            scanner.position = scanner.end
            scanner.fail("a semicolon at the end of the row")
        start, column = scanner.position, 0
        while start <= end:
            bar = scanner.text.find("|", start, end)
            stop = end if bar < 0 else bar
            cell = scanner.part(start, stop)
            if column >= threads:
                cell.fail(f"{threads} columns, one for every thread", start)
            instruction = read_cell(cell)
            if instruction is not None:
                columns[column].append((instruction, start))
            start, column = stop + 1, column + 1
        scanner.position = end + 1
    return columns


def _check_column(
    scanner: Scanner, column: list[tuple[Instruction, int]], declared: _Declared
) -> None:
    """Labels and mbarriers exist; a location that is not declared starts at 0, as in the format."""
    labels = [ins.name for ins, _ in column if isinstance(ins, Label)]
    for instruction, place in column:
        if isinstance(instruction, Branch) and instruction.label not in labels:
            scanner.fail(f"a label of this thread, not {instruction.label}", place)
        if isinstance(instruction, Label) and labels.count(instruction.name) > 1:
            scanner.fail(f"one label {instruction.name} in a thread", place)
        addresses: list[str] = []
        mbarriers: list[str] = []
        if isinstance(instruction, (Load, Store, Atomic)):
            addresses = [instruction.address]
        elif isinstance(instruction, BulkCopy):
            addresses = [address for pair in instruction.pairs for address in pair]
            mbarriers = [instruction.mbarrier] if instruction.mbarrier else []
        elif isinstance(instruction, (MbarrierArrive, MbarrierWait)):
            mbarriers = [instruction.mbarrier]
        for name in mbarriers:
            if name not in declared.arrivals:
                scanner.fail(f"an mbarrier declared as such, not {name!r}", place)
        for name in addresses:
            declared.locations.setdefault(name, Location(name, name))


def _final(scanner: Scanner, ids: list[int], declared: _Declared) -> tuple[str, Condition]:
    """The quantifier and its condition; a filter leaves out the executions that it refuses."""
    if scanner.accept(r"locations\b"):
        scanner.expect(r"\[[^\]]*\]", "the locations to show, between brackets")
    kept = _either(scanner, ids, declared) if scanner.accept(r"filter\b") else None
    scanner.accept(";")
    word = "".join(scanner.expect(_CONDITION, "exists, ~exists or forall").split())
    quantifier = "~exists" if word in {"~exists", "notexists"} else word
    condition = _either(scanner, ids, declared)
    scanner.accept(";")
    scanner.finish("/\\, \\/ or the end of the file")
    if kept is not None:
        forall = quantifier == "forall"
        condition = Either((Not(kept), condition)) if forall else Both((kept, condition))
    return quantifier, condition


def _either(scanner: Scanner, ids: list[int], declared: _Declared) -> Condition:
    parts = [_both(scanner, ids, declared)]
    while scanner.accept(r"\\/"):
        parts.append(_both(scanner, ids, declared))
    return parts[0] if len(parts) == 1 else Either(tuple(parts))


def _both(scanner: Scanner, ids: list[int], declared: _Declared) -> Condition:
    parts = [_atom(scanner, ids, declared)]
    while scanner.accept(r"/\\"):
        parts.append(_atom(scanner, ids, declared))
    return parts[0] if len(parts) == 1 else Both(tuple(parts))


def _atom(scanner: Scanner, ids: list[int], declared: _Declared) -> Condition:
    if scanner.accept(r"~|not\b"):
        return Not(_atom(scanner, ids, declared))
    if scanner.accept(r"\("):
        inner = _either(scanner, ids, declared)
        scanner.expect(r"\)", "a closing parenthesis")
        return inner
    left = _term(scanner, ids, declared)
    comparison = scanner.expect(r"==|!=|>=|<=|=|>|<", "a comparison (==, !=, >=, <=, >, <)")
    return Compare(left, "==" if comparison == "=" else comparison, _term(scanner, ids, declared))


def _term(scanner: Scanner, ids: list[int], declared: _Declared) -> Term:
    place = scanner.position
    thread = scanner.accept(r"P?[0-9]+\s*:")
    if thread is not None:
        number = int(thread.rstrip(": \t").lstrip("P"))
        if number not in ids:
            scanner.fail(f"a thread of the program, not P{number}", place)
        return RegisterOf(ids.index(number), scanner.expect(REGISTER, "a register (r0, r1, ...)"))
    if scanner.peek(r"-?[0-9]") is not None:
        return scanner.integer("a constant")
    bracket = scanner.accept(r"\[")
    name = scanner.expect(ADDRESS, "P0:r0, a location or a constant")
    if bracket:
        scanner.expect(r"\]", "a closing bracket")
    declared.locations.setdefault(name, Location(name, name))
    return MemoryAt(declared.locations[name].memory)


def write_text(program: Program) -> str:
    """The litmus text of a program whose instructions carry their text; `read_text` reads it back.

    A register of the condition is written with the name of its thread.
    """
    lines = [f"PTX {program.name}", *(program.comment.splitlines() if program.comment else [])]
    lines.append("{")
    lines += [f"{line};" for line in _declared_lines(program)]
    lines.append("}")
    columns = [
        [_heading(thread), *(instruction.text for instruction in thread.instructions)]
        for thread in program.threads
    ]
    height = max(map(len, columns))
    widths = [max(map(len, column)) for column in columns]
    for row in range(height):
        cells = [
            (column[row] if row < len(column) else "").ljust(width)
            for column, width in zip(columns, widths, strict=True)
        ]
        lines.append(f" {' | '.join(cells)} ;")
    lines.append(program.quantifier)
    names = {index: thread.name for index, thread in enumerate(program.threads)}
    text = str(program.condition)
    for term in sorted(set(terms(program.condition)), key=str, reverse=True):
        if isinstance(term, RegisterOf):
            text = text.replace(str(term), f"{names[term.thread]}:{term.register}")
    lines.append(f"({text})")
    return "\n".join(lines) + "\n"


def _declared_lines(program: Program) -> list[str]:
    lines = []
    for name, location in program.locations.items():
        if name == location.memory:
            kind = {Space.SHARED: "shared ", Space.GLOBAL: "global "}.get(location.space, "")
            lines.append(f"{kind}{name} = {program.initial.get(name, 0)}")
        else:
            base = location.memory if location.proxy is Proxy.GENERIC else location.address
            lines.append(f"{name} @ {location.proxy.value} aliases {base}")
    lines += [f"mbarrier {name} = {count}" for name, count in program.arrivals.items()]
    for thread in program.threads:
        lines += [f"{thread.name}:{register} = {value}" for register, value in thread.registers]
    return lines


def _heading(thread: Thread) -> str:
    place = thread.placement
    words = [f"cta {place.cta}"]
    if place.warp is not None:
        words.insert(0, f"warp {place.warp}")
    if place.cluster is not None:
        words.append(f"cluster {place.cluster}")
    return f"{thread.name}@{','.join([*words, f'gpu {place.gpu}'])}"
