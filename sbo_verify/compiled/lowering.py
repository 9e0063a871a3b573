"""What machine code each ordering instruction of PTX becomes, as measured, word by word.

NVIDIA documents no meaning of SASS. This table is what ptxas makes of every instruction that the
catalogue uses, read from the cubins of every release in `reports/toolchains-*`; it says which word
stands for which part of an instruction, not what the word does in silicon. Of each instruction the
needed words are named; those beside them are shown and are not asked for.

| PTX | machine code that must be there, in this order |
|---|---|
| cp.async.bulk.tensor store / load | `UTMASTG` / `UTMALDG` |
| cp.async.bulk store / load | `UBLKCP.G.S` / `UBLKCP.S.G` |
| commit_group | `UTMACMDFLUSH` |
| wait_group.read N | `DEPBAR.LE SB0, N` |
| wait_group N | `DEPBAR.LE SB0, N`, then `CCTL.IVALL` |
| fence.acq_rel, fence.sc | `MEMBAR` at the scope, then `CCTL.IVALL` |
| a release: red, atom, st, cluster arrive | `MEMBAR` at the scope, then the access |
| an acquire: ld, cluster wait | the access, then `CCTL.IVALL`, but for cta scope |
| fence.proxy.async.shared::cta / any | `MEMBAR` at cta / gpu scope, then `FENCE.VIEW.ASYNC` |
| barrier.cta | `BAR.SYNC`, `BAR.RED` |
| barrier.cluster arrive / wait | `UCGABAR_ARV` / `UCGABAR_WAIT`, where the launch has clusters |

Whether it has is asked at run time: the other form is a `BAR.SYNC` in place of the wait
(`cluster_forms`).

`ERRBAR` and `CGAERRBAR` follow a `MEMBAR` at gpu scope or wider; a `MEMBAR.ALL.CTA` comes before
every wider one. Neither is asked for: the releases differ in them (see the recorded matrix).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from sbo_verify.compiled.sass import SassInstruction
from sbo_verify.vocabulary import Instruction, Kind, Order, Scope, Space

# How far a word reaches; a wider one does as well. Machine code has no word for cluster scope.
_REACH = {"CTA": 0, "SM": 0, "GPU": 1, "SYS": 2}
_NEEDED_REACH = {Scope.CTA: 0, Scope.CLUSTER: 1, Scope.GPU: 1, Scope.SYS: 2}
_RELEASES = {Order.RELEASE, Order.ACQ_REL, Order.SC}
_ACQUIRES = {Order.ACQUIRE, Order.ACQ_REL, Order.SC}

# Roots of the words that this project reads; the rest of a function is arithmetic and jumps.
_ROOT_WORDS = """
    UTMASTG UTMALDG UTMAREDG UTMACMDFLUSH UTMAPF UTMACCTL UBLKCP UBLKRED UBLKPF DEPBAR CCTL CCTLL
    CCTLT MEMBAR ERRBAR CGAERRBAR FENCE BAR UCGABAR_ARV UCGABAR_WAIT UCGABAR_GET UCGABAR_SET
    RED REDG ATOM ATOMG LD LDG ST STG LDS STS ATOMS LDSM STSM LDGSTS LDGDEPBAR SYNCS WARPSYNC
    UREDGR ACQBULK ACQSHMINIT ARRIVES UCPBAR REDAS STAS CREATEPOLICY
"""
_ROOTS = frozenset(_ROOT_WORDS.split())
# Words that the compiler puts beside others and that order nothing by themselves.
_BESIDE = {"WARPSYNC", "ERRBAR", "CGAERRBAR", "CREATEPOLICY"}
_ACCESSES = {"RED", "REDG", "ATOM", "ATOMG", "LD", "LDG", "ST", "STG", "UREDGR"}
# Shown of an instruction that becomes them, and of no other: elsewhere they are the compiler's own,
# such as DEPBAR for a scoreboard, WARPSYNC before a barrier, a value kept in shared memory.
_OWN = {"WARPSYNC", "DEPBAR", "LDS", "STS", "LD", "LDG", "ST", "STG"}


@dataclass(frozen=True, slots=True)
class Word:
    """One needed word: `root` alternatives, words among its modifiers, and how far it must reach.

    `reach` None asks for none. `count` is the N of DEPBAR. `anchor` marks the instruction itself,
    of which each copy stands for one execution of the PTX instruction.
    """

    roots: tuple[str, ...]
    modifiers: tuple[str, ...] = ()
    reach: int | None = None
    count: int | None = None
    anchor: bool = False

    def matches(self, instruction: SassInstruction) -> bool:
        """Whether `instruction` is this word, or a stronger one."""
        root, *modifiers = instruction.words
        if root not in self.roots or not set(self.modifiers) <= set(modifiers):
            return False
        if self.count is not None and depbar_count(instruction) != self.count:
            return False
        return self.reach is None or reach(instruction) >= self.reach

    def __str__(self) -> str:
        text = ".".join(("|".join(self.roots), *self.modifiers))
        if self.reach is not None:
            text += "." + next(name for name in ("CTA", "GPU", "SYS") if _REACH[name] == self.reach)
        return text if self.count is None else f"{text} SB0, {self.count}"


_DEPBAR = re.compile(r"SB0, (0x[0-9a-f]+|\d+)\b")


def depbar_count(instruction: SassInstruction) -> int | None:
    """The N of `DEPBAR.LE SB0, N`; None where the operands are others."""
    match = _DEPBAR.match(instruction.operands)
    return int(match[1], 0) if match is not None else None


def reach(instruction: SassInstruction) -> int:
    """How far a word reaches: 0 CTA, 1 GPU, 2 system; -1 where it says nothing."""
    return max((_REACH[word] for word in instruction.words[1:] if word in _REACH), default=-1)


def is_read(instruction: SassInstruction) -> bool:
    """Whether an instruction of machine code belongs to those that may order, or be ordered."""
    root, *modifiers = instruction.words
    # A prefetch promises nothing (PTX ISA, "prefetch").
    prefetches = root in {"CCTL", "UTMACCTL"} and any(word.startswith("PF") for word in modifiers)
    return root in _ROOTS and not prefetches


def is_beside(instruction: SassInstruction) -> bool:
    """Whether it may stand anywhere and change nothing; copies are counted on scoreboard SB0."""
    root = instruction.words[0]
    # ptxas looks at an mbarrier again in a loop of its own, which no PTX line stands for.
    again = root == "SYNCS" and "PHASECHK" in instruction.words
    return root in _BESIDE or again or (root == "DEPBAR" and depbar_count(instruction) is None)


def is_shown(word: SassInstruction, instruction: Instruction) -> bool:
    """Whether a skeleton shows `word`, which was made from `instruction`."""
    root = word.words[0]
    if not is_read(word) or root not in _OWN:
        return is_read(word)
    return any(root in each.roots for each in needed(instruction) or ())


def short(instruction: SassInstruction) -> str:
    """The word as a skeleton shows it: no types and widths, which say nothing of order."""
    root, *modifiers = instruction.words
    if root in _ACCESSES:
        kept = [word for word in modifiers if word in _REACH or word in {"STRONG", "CONSTANT"}]
        text = ".".join((root, *kept))
    elif root in {"LDS", "STS", "ATOMS"}:
        text = root
    elif root == "DEPBAR":
        count = depbar_count(instruction)
        text = instruction.opcode + (f" SB0, {count}" if count is not None else "")
    else:
        text = instruction.opcode
    return f"@{text}" if instruction.predicate else text


def stronger(instruction: Instruction) -> Instruction | None:
    """The same instruction with the ordering that it lacks; None where it lacks none.

    A wait for the source of copies lacks the wait for their writes; a relaxed access lacks acquire
    or release.
    """
    if instruction.kind is Kind.WAIT_GROUP and instruction.source_only:
        return replace(instruction, source_only=False)
    if instruction.order in {Order.RELAXED, Order.VOLATILE} and instruction.space is not (
        Space.SHARED
    ):
        order = Order.ACQUIRE if instruction.kind is Kind.LOAD else Order.RELEASE
        return replace(instruction, order=order, scope=instruction.scope or Scope.SYS)
    return None


def needed(instruction: Instruction) -> tuple[Word, ...] | None:
    """The words that must be there for one PTX instruction, in order; None where it is not known.

    A caller must not take None for "nothing is needed".
    """
    anchor = _anchor(instruction)
    if anchor is None:
        return None
    return (*_before(instruction), anchor, *_behind(instruction))


_INVALIDATE = Word(("CCTL",), ("IVALL",))
# mbarrier operations order by themselves, at the scope of the CTA that owns the mbarrier.
_ORDERED_BY_THEMSELVES = {Kind.MBARRIER_EXPECT, Kind.MBARRIER_ARRIVE, Kind.MBARRIER_WAIT}


def _before(instruction: Instruction) -> tuple[Word, ...]:
    if instruction.kind is Kind.PROXY_FENCE:
        return (Word(("MEMBAR",), reach=0 if instruction.space is Space.SHARED else 1),)
    releases = instruction.order in _RELEASES and instruction.scope is not None
    if not releases or instruction.kind in {Kind.FENCE, *_ORDERED_BY_THEMSELVES}:
        return ()
    return (_membar(instruction.scope),)


def _behind(instruction: Instruction) -> tuple[Word, ...]:
    if instruction.kind is Kind.WAIT_GROUP:
        return () if instruction.source_only else (_INVALIDATE,)
    acquires = instruction.order in _ACQUIRES and instruction.scope not in {None, Scope.CTA}
    return (_INVALIDATE,) if acquires else ()


# What a wait at a cluster's barrier is where the launch has no clusters.
CTA_BARRIER = Word(("BAR",), ("SYNC",), anchor=True)


def _membar(scope: Scope | None) -> Word:
    # An order without a scope is no PTX; should one come, the widest is asked for.
    return Word(("MEMBAR",), reach=_NEEDED_REACH[scope or Scope.SYS])


_ANCHORS: dict[Kind, Word] = {
    Kind.TENSOR_STORE: Word(("UTMASTG",)),
    Kind.TENSOR_LOAD: Word(("UTMALDG",)),
    Kind.BULK_STORE: Word(("UBLKCP",), ("G", "S")),
    Kind.BULK_LOAD: Word(("UBLKCP",), ("S", "G")),
    Kind.COMMIT_GROUP: Word(("UTMACMDFLUSH",)),
    Kind.PROXY_FENCE: Word(("FENCE",), ("VIEW", "ASYNC")),
    Kind.CTA_BARRIER: Word(("BAR",), ("SYNC",)),
    Kind.CTA_BARRIER_RED: Word(("BAR",), ("RED",)),
    Kind.WARP_BARRIER: Word(("WARPSYNC",)),
    Kind.CLUSTER_ARRIVE: Word(("UCGABAR_ARV",)),
    Kind.CLUSTER_WAIT: Word(("UCGABAR_WAIT",)),
    Kind.MBARRIER_EXPECT: Word(("SYNCS",), ("ARRIVE",)),
    Kind.MBARRIER_ARRIVE: Word(("SYNCS",), ("ARRIVE",)),
    Kind.MBARRIER_WAIT: Word(("SYNCS",), ("PHASECHK",)),
    Kind.MBARRIER_INIT: Word(("SYNCS",), ("EXCH",)),
}
_GLOBAL_ROOTS: dict[Kind, tuple[str, ...]] = {
    Kind.LOAD: ("LDG", "LD"),
    Kind.LOAD_NC: ("LDG",),
    Kind.STORE: ("STG", "ST"),
    # An atomic whose result is not used may become a reduction, and a reduction an atomic.
    Kind.ATOM: ("ATOMG", "ATOM", "REDG", "RED"),
    Kind.RED: ("REDG", "RED", "ATOMG", "ATOM", "UREDGR"),
}
_SHARED_ROOTS: dict[Kind, tuple[str, ...]] = {
    Kind.LOAD: ("LDS",),
    Kind.STORE: ("STS",),
    Kind.ATOM: ("ATOMS",),
}


def _anchor(instruction: Instruction) -> Word | None:
    """The word that is the instruction itself."""
    word = _ANCHORS.get(instruction.kind)
    if instruction.kind is Kind.WAIT_GROUP:
        word = Word(("DEPBAR",), ("LE",), count=instruction.groups)
    elif instruction.kind is Kind.FENCE:
        word = _membar(instruction.scope)
    elif instruction.kind in _GLOBAL_ROOTS:
        word = _access(instruction)
    return None if word is None else replace(word, anchor=True)


def _access(instruction: Instruction) -> Word | None:
    """A load, store or atomic: strong and at its scope, unless it is weak."""
    shared = instruction.space is Space.SHARED
    roots = (_SHARED_ROOTS if shared else _GLOBAL_ROOTS).get(instruction.kind)
    if roots is None:
        return None
    if shared or instruction.order in {None, Order.WEAK}:
        return Word(roots)
    # Volatile is relaxed at system scope (PTX ISA, "ld", "st").
    return Word(roots, ("STRONG",), _NEEDED_REACH[instruction.scope or Scope.SYS])
