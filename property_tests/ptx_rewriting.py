"""PTX text rewritten so that it means the same: reordered, renamed, unrolled, padded.

Works on kernels with one statement a line, as nvcc writes them. What cannot be proved to mean the
same is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from sbo_verify.compiled.inspection.text import Mark, Op, read_module
from sbo_verify.compiled.inspection.values import defined
from sbo_verify.vocabulary import transfer

# Read and write registers alone. Loads of parameters do too.
_PURE_OPCODES = """
    abs add and bfe bfi brev clz cnot cvt cvta div lop3 mad mad24 max min mov mul mul24 neg not or
    popc prmt rem selp set setp shf shl shr slct sub xor
"""
PURE = frozenset(_PURE_OPCODES.split())
_NAME = re.compile(r"[%A-Za-z_$][\w$]*")
_SPECIAL = re.compile(r"%(n?tid|n?ctaid|laneid|warpid|cluster_\w+|SPL?|clock\w*)\b")


@dataclass(frozen=True)
class Kernel:
    """The lines of a file, what stands in each, and where the body of its kernel is."""

    lines: list[str]
    ops: dict[int, list[Op]]
    labels: dict[str, int]
    begin: int
    end: int

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"

    def alone(self, line: int) -> Op | None:
        """The only instruction of a line with nothing else in it."""
        found = self.ops.get(line, [])
        plain = self.lines[line].strip()
        return (
            found[0] if len(found) == 1 and plain.endswith(";") and "{" not in plain[:1] else None
        )


def _plain(label: str) -> str:
    """A label as it is written: the reader puts the number of an inner block behind it."""
    return label.split("'", maxsplit=1)[0]


def kernel(text: str) -> Kernel:
    """Read the one kernel of a file."""
    lines = text.splitlines()
    (function,) = read_module(text).functions
    ops: dict[int, list[Op]] = {}
    labels: dict[str, int] = {}
    for each in function.body:
        if isinstance(each, Op):
            ops.setdefault(each.line - 1, []).append(each)
        elif isinstance(each, Mark):
            labels[_plain(each.name)] = each.line - 1
    begin = next(n for n, each in enumerate(lines) if n >= function.line - 1 and each == "{")
    end = max(n for n, each in enumerate(lines) if each == "}")
    return Kernel(lines, ops, labels, begin, end)


def _pure(op: Op) -> bool:
    head, *words = op.mnemonic.split(".")
    return head in PURE or (head == "ld" and "param" in words)


def _touched(op: Op) -> tuple[set[str], set[str]]:
    """The registers that an instruction writes, and all that it names."""
    text = " ".join(op.operands) + (f" {op.guard[0]}" if op.guard else "")
    return set(defined(op)), set(_NAME.findall(text))


def independent(first: Op, second: Op) -> bool:
    """Whether two instructions that follow each other may change places."""
    if transfer(first.mnemonic) or transfer(second.mnemonic):
        return False
    if not (_pure(first) or _pure(second)):
        return False
    (a_writes, a_names), (b_writes, b_names) = _touched(first), _touched(second)
    return not (a_writes & b_names or b_writes & a_names)


def _swappable(found: Kernel) -> Iterator[tuple[int, int]]:
    """Lines of instructions with nothing but comments and positions between."""
    last: int | None = None
    for line in range(found.begin + 1, found.end):
        text = found.lines[line].strip()
        op = found.alone(line)
        if op is not None and line not in found.labels.values():
            if last is not None:
                previous = found.alone(last)
                if previous is not None and independent(previous, op):
                    yield last, line
            last = line
        elif text and not text.startswith(("//", ".loc")):
            last = None


@st.composite
def reordered(draw: st.DrawFn, text: str) -> str:
    """Independent neighbours change places, several times."""
    for _ in range(draw(st.integers(1, 12))):
        found = kernel(text)
        pairs = list(_swappable(found))
        if not pairs:
            break
        first, second = draw(st.sampled_from(pairs))
        lines = list(found.lines)
        lines[first], lines[second] = lines[second], lines[first]
        text = "\n".join(lines) + "\n"
    return text


@st.composite
def renamed(draw: st.DrawFn, text: str) -> str:
    """Registers and labels get other names, those of one type in any order."""
    found = kernel(text)
    body = "\n".join(found.lines[found.begin : found.end + 1])
    names = {n for n in re.findall(r"%[A-Za-z]+\d+", body) if not _SPECIAL.match(n)}
    numbers = draw(st.permutations(range(len(names))))
    stem = draw(st.sampled_from(["%x", "%reg_", "%p", "%zz"]))
    registers = {name: f"{stem}{7000 + n}" for name, n in zip(sorted(names), numbers, strict=True)}
    plain = draw(st.permutations(sorted(found.labels)))
    labels = {name: f"$M_{n}" for n, name in enumerate(plain)}
    both = {**registers, **labels}
    head = "\n".join(found.lines[: found.begin])
    tail = "\n".join(found.lines[found.end + 1 :])
    return "\n".join([head, _NAME.sub(lambda m: both.get(m.group(), m.group()), body), tail]) + "\n"


@dataclass(frozen=True)
class Loop:
    """A loop whose lines stand together: from the label to the only branch back to it."""

    label: str
    first: int
    last: int


def loops(found: Kernel) -> list[Loop]:
    """The loops that nothing outside jumps into, and in which no block is opened."""
    branches = [
        (line, _plain(op.operands[0]))
        for line, ops in found.ops.items()
        for op in ops
        if op.mnemonic.startswith("bra") and op.operands
    ]
    good = []
    for label, first in found.labels.items():
        backs = [line for line, target in branches if target == label and line >= first]
        entries = [line for line, target in branches if target == label and line < first]
        if len(backs) != 1 or entries or found.alone(backs[0]) is None:
            continue
        last = backs[0]
        inside = {name for name, line in found.labels.items() if first <= line <= last}
        outside = [line for line, target in branches if target in inside - {label}]
        braces = any(each.strip() in {"{", "}"} for each in found.lines[first:last])
        if all(first <= line <= last for line in outside) and not braces:
            good.append(Loop(label, first, last))
    return good


def _copy(found: Kernel, loop: Loop, mark: str) -> list[str]:
    """The lines of a loop, without its branch back, with labels of their own."""
    inside = {name for name, line in found.labels.items() if loop.first <= line < loop.last}
    new = {name: f"{name}_{mark}" for name in inside}
    return [
        _NAME.sub(lambda m: new.get(m.group(), m.group()), each)
        for each in found.lines[loop.first : loop.last]
    ]


def _branch(found: Kernel, loop: Loop, target: str) -> str:
    """The loop's branch back, to another place."""
    return re.sub(rf"{re.escape(loop.label)}(?![\w$])", target, found.lines[loop.last])


def peeled(text: str, loop: Loop) -> str:
    """The first turn of a loop stands before it."""
    found = kernel(text)
    end = f"{loop.label}_end"
    lines = [
        *found.lines[: loop.first],
        *_copy(found, loop, "peeled"),
        _branch(found, loop, loop.label),
        f"bra.uni {end};",
        *found.lines[loop.first : loop.last + 1],
        f"{end}:",
        *found.lines[loop.last + 1 :],
    ]
    return "\n".join(lines) + "\n"


def unrolled(text: str, loop: Loop) -> str:
    """Two turns of a loop stand in one."""
    found = kernel(text)
    end, second = f"{loop.label}_end", f"{loop.label}_second"
    lines = [
        *found.lines[: loop.last],
        _branch(found, loop, second),
        f"bra.uni {end};",
        f"{second}:",
        *_copy(found, loop, "copy"),
        _branch(found, loop, loop.label),
        f"{end}:",
        *found.lines[loop.last + 1 :],
    ]
    return "\n".join(lines) + "\n"


_UNRELATED: Sequence[Sequence[str]] = (
    ("mov.u32 %unrelated{n}, 7;", "add.s32 %unrelated{n}x, %unrelated{n}, 3;"),
    ("mov.u32 %unrelated{n}, %ctaid.x;", "mul.lo.s32 %unrelated{n}y, %unrelated{n}, 5;"),
    ("mov.u32 %unrelated{n}, %tid.x;", "setp.lt.s32 %unrelated{n}p, %unrelated{n}, 77;"),
    ("nanosleep.u32 20;",),
    (".loc 1 1 1",),
    ("// an unrelated line",),
    (
        "mov.u32 %unrelated{n}, 0;",
        "$unrelated{n}:",
        "add.s32 %unrelated{n}, %unrelated{n}, 1;",
        "setp.lt.s32 %unrelated{n}p, %unrelated{n}, 5;",
        "@%unrelated{n}p bra $unrelated{n};",
    ),
    (
        "mov.u32 %unrelated{n}, %clock;",
        "setp.lt.u32 %unrelated{n}p, %unrelated{n}, 5;",
        "@%unrelated{n}p bra $unrelated{n};",
        "add.s32 %unrelated{n}x, %unrelated{n}, 1;",
        "$unrelated{n}:",
    ),
    ("shfl.sync.idx.b32 %unrelated{n}, %unrelated{n}s, 0, 31, -1;",),
    ("st.local.u32 [%unrelated{n}a], 3;", "ld.local.u32 %unrelated{n}, [%unrelated{n}a];"),
)


def places(found: Kernel) -> list[int]:
    """The lines before which a statement may be put."""
    return [
        line
        for line in range(found.begin + 1, found.end)
        if found.alone(line) is not None and line not in found.labels.values()
    ]


@st.composite
def padded(draw: st.DrawFn, text: str) -> str:
    """Unrelated statements stand between the others."""
    for number in range(draw(st.integers(1, 4))):
        found = kernel(text)
        line = draw(st.sampled_from(places(found)))
        more = draw(st.sampled_from(_UNRELATED))
        new = [each.format(n=f"{number}") for each in more]
        text = "\n".join([*found.lines[:line], *new, *found.lines[line:]]) + "\n"
    return text


_ORDERS = re.compile(
    r"^\s*(@!?%\w+\s+)?(cp\.async\.bulk\.(wait|commit)_group|bar(rier)?\.|fence\.|membar|mbarrier\.(arrive|init))"
)


def ordering_lines(found: Kernel) -> list[int]:
    """The lines whose instruction orders something, and that can be deleted alone."""
    return [
        line
        for line in range(found.begin + 1, found.end)
        if _ORDERS.match(found.lines[line]) and found.alone(line) is not None
    ]


def without(found: Kernel, line: int) -> str:
    """The text without one line."""
    return "\n".join([*found.lines[:line], *found.lines[line + 1 :]]) + "\n"
