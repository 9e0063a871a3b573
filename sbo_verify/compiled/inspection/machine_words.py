"""Ordering words of machine code, put together to the PTX that they stand for, block by block.

One instruction of PTX becomes several words (`compiled.lowering` has the table), and a word such as
`MEMBAR` or `CCTL.IVALL` is part of many. A word is counted for one instruction of PTX alone, the
nearest of its block that can have it, and only where no other reading is left; what fits nothing is
`unread`, and nothing is called ordered beside it. Where the cubin has lines of PTX, words of two
lines are never put together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sbo_verify.compiled.inspection.machine_names import Names
from sbo_verify.compiled.lowering import depbar_count, reach
from sbo_verify.compiled.sass import SassInstruction

_CTA, _GPU = 0, 1
_LOADS = {"LDG", "LD"}
_ATOMICS = {"ATOMG", "ATOM", "REDG", "RED", "UREDGR"}
_STORES = {"STG", "ST"}
ACCESSES = _LOADS | _ATOMICS | _STORES
TEXTURES = {"TEX", "TLD", "TLD4", "TXD", "SULD"}
_COPIES = {"UBLKCP", "UBLKRED", "UTMASTG", "UTMALDG", "UTMAREDG"}
# Reads that a MEMBAR need not come before: a release is about what precedes it, and its write.
_READS = _LOADS | TEXTURES | {"LDS", "LDL", "LDSM", "LDC", "LDCU", "ULDC", "LDT", "LDTM"}
_BARRIERS = {"BAR", "UCGABAR_ARV", "UCGABAR_WAIT"}
_BESIDE = {"ERRBAR", "CGAERRBAR", "NOP", "YIELD"}
_FENCE_SCOPES = ("cta", "gpu", "sys")


@dataclass
class Words:
    """What the ordering words of a function were found to be, by index.

    `fences` has the PTX of a fence where its first word stands; `absorbed` are words that belong to
    another instruction; `released` and `acquired` accesses and barriers have a MEMBAR before them
    and a CCTL.IVALL behind, `parts` says which; `joins`
    may be warp barriers; `unread` are words that fit nothing.
    """

    fences: dict[int, str] = field(default_factory=dict)
    absorbed: set[int] = field(default_factory=set)
    released: set[int] = field(default_factory=set)
    acquired: set[int] = field(default_factory=set)
    parts: dict[int, list[int]] = field(default_factory=dict)
    joins: set[int] = field(default_factory=set)
    unread: set[int] = field(default_factory=set)

    def take(self, index: int, part: int) -> None:
        """Counts a word for an instruction."""
        self.parts.setdefault(index, []).append(part)
        if part < index:
            self.absorbed.add(part)


def is_strong(instruction: SassInstruction) -> bool:
    """Whether an access is strong, at whatever scope."""
    return instruction.words[0] in ACCESSES and "STRONG" in instruction.words


def is_group_wait(instruction: SassInstruction) -> bool:
    """Whether a DEPBAR waits for groups of copies, which are counted on scoreboard SB0."""
    return instruction.words[0] == "DEPBAR" and depbar_count(instruction) is not None


def is_invalidation(instruction: SassInstruction) -> bool:
    """The word behind every acquire and full wait."""
    return instruction.opcode == "CCTL.IVALL"


def put_together(
    names: Names, blocks: Sequence[range], successors: Sequence[Sequence[int]]
) -> Words:
    """The ordering words of a function's reachable blocks."""
    words = Words()
    for block in blocks:
        _Reader(names, words, successors).read(block)
    if any(names.instruction(i).words[0] == "LDGDEPBAR" for block in blocks for i in block):
        # Groups of cp.async are counted on the same scoreboard: which a wait is for is not written.
        words.unread |= {i for i in words.acquired if is_group_wait(names.instruction(i))}
    return words


class _Reader:
    """One block: the last MEMBAR with nothing found for it, and what a CCTL.IVALL may be of."""

    def __init__(self, names: Names, words: Words, after: Sequence[Sequence[int]]) -> None:
        self._names = names
        self._after = after
        self._words = words
        self._membar: int | None = None
        self._loaded = False
        self._open: list[int] = []

    def read(self, block: range) -> None:
        for index in block:
            self._read(index, self._names.instruction(index))
        self._settle()

    def _before_barriers(self, index: int) -> bool:
        """Whether a barrier follows on every way: then a warp is only brought together for it."""
        pending, seen = list(self._after[index]), {index}
        while pending:
            place = pending.pop()
            if place in seen:
                continue
            seen.add(place)
            each = self._names.instruction(place)
            if each.words[0] in _BARRIERS:
                continue
            stops = is_ordering(each) and each.words[0] not in {"MEMBAR", "WARPSYNC"}
            if stops or not self._after[place]:
                return False
            pending.extend(self._after[place])
        return True

    def _read(self, index: int, each: SassInstruction) -> None:
        root = each.words[0]
        if root in {"MEMBAR", "FENCE"}:
            (self._wider if root == "MEMBAR" else self._proxy_fence)(index)
        elif is_invalidation(each):
            self._invalidation(index)
        elif is_strong(each) or root == "UCGABAR_ARV" or each.words[:2] == ("SYNCS", "ARRIVE"):
            self._release(index)
            if root in _LOADS | _ATOMICS:
                self._open.append(index)
        elif is_group_wait(each) or root == "UCGABAR_WAIT" or "PHASECHK" in each.words:
            self._settle()
            self._open.append(index)
        elif root in _READS:
            self._loaded = True
        elif root in {"WARPSYNC", "NOP"}:
            self._warp_barrier(index, root)
        elif root not in _BESIDE and is_ordering(each):
            self._settle()

    def _warp_barrier(self, index: int, root: str) -> None:
        """A warp barrier becomes WARPSYNC, and NOP where ptxas knows the warp to be together."""
        if root == "WARPSYNC":
            self._settle()
        if self._before_barriers(index):
            self._words.absorbed.add(index)
        elif root == "NOP":
            self._words.joins.add(index)

    def _together(self, first: int, second: int) -> bool:
        """Whether two words are executed by the same threads and may be of one PTX instruction."""
        one, other = self._names.instruction(first), self._names.instruction(second)
        if one.predicate != other.predicate:
            return False
        if None not in {one.ptx_line, other.ptx_line} and one.ptx_line != other.ptx_line:
            return False
        register = one.predicate.lstrip("@!")
        if not register or register in {"PT", "UPT"}:
            return True
        return self._names.read(first, register) == self._names.read(second, register)

    def _wider(self, index: int) -> None:
        """A MEMBAR of the CTA before a wider one is part of it."""
        before = self._membar
        if before is not None and not self._loaded and self._together(before, index):
            narrow = reach(self._names.instruction(before)) == _CTA
            if narrow and reach(self._names.instruction(index)) > _CTA:
                self._words.absorbed.add(before)
                self._membar = None
        self._settle()
        self._membar, self._loaded = index, False

    def _proxy_fence(self, index: int) -> None:
        membar, self._membar = self._membar, None
        if membar is not None and not (self._together(membar, index) and not self._loaded):
            self._membar = membar
            self._settle()
            membar = None
        kind = self._names.instruction(index).words[1:]
        if kind == ("VIEW", "ASYNC", "S") and membar is not None:
            narrow = reach(self._names.instruction(membar)) == _CTA
            self._words.take(index, membar)
            suffix = ".shared::cta" if narrow else ""
            self._words.fences[index] = f"fence.proxy.async{suffix}"
            return
        if membar is not None:
            self._membar = membar
            self._settle()
        if kind == ("VIEW", "ASYNC", "G"):
            self._words.fences[index] = "fence.proxy.async.global"
        elif kind == ("VIEW", "ASYNC", "S"):
            # Before an mbarrier is initialized it stands alone, and is no fence of PTX.
            self._words.absorbed.add(index)
        else:
            self._words.unread.add(index)

    def _invalidation(self, index: int) -> None:
        membar = self._membar
        if membar is not None and not self._loaded and self._together(membar, index):
            each = self._names.instruction(membar)
            order = "sc" if "SC" in each.words else "acq_rel"
            scope = reach(each)
            if scope > _CTA:
                self._words.take(membar, index)
                self._words.fences[membar] = f"fence.{order}.{_FENCE_SCOPES[scope]}"
                self._membar = None
                self._open.clear()
                return
        self._settle()
        if self._open and self._together(self._open[-1], index):
            nearest, others = self._open[-1], self._open[:-1]
            self._words.acquired.add(nearest)
            self._words.take(nearest, index)
            if self._ambiguous(nearest, others) and (
                self._names.instruction(index).ptx_line is None
            ):
                self._words.unread.add(index)
        self._open.clear()

    def _ambiguous(self, nearest: int, others: list[int]) -> bool:
        """Whether the word behind a wait may be that of an acquire, or of a weaker wait, before it.

        No compiler was seen to move one there; the words alone would look the same.
        """
        wait = self._names.instruction(nearest)
        if not is_group_wait(wait):
            return False
        counts = [depbar_count(self._names.instruction(each)) for each in others]
        return any(each is None or each > (depbar_count(wait) or 0) for each in counts)

    def _release(self, index: int) -> None:
        membar, each = self._membar, self._names.instruction(index)
        if membar is None:
            return
        wanted = _GPU if each.words[0] == "UCGABAR_ARV" else reach(each)
        wide = reach(self._names.instruction(membar)) >= wanted
        if each.words[0] in _LOADS or not wide or not self._together(membar, index):
            self._settle()
            return
        self._words.released.add(index)
        self._words.take(index, membar)
        self._membar = None

    def _settle(self) -> None:
        """A MEMBAR for which nothing was found: of the CTA it is a fence; else it fits nothing."""
        if self._membar is None:
            return
        if reach(self._names.instruction(self._membar)) == _CTA:
            self._words.fences[self._membar] = "fence.acq_rel.cta"
        else:
            self._words.unread.add(self._membar)
        self._membar = None


# Compute in registers, exchange values between threads, or are asked of no memory that a hand-off
# is about: local memory, constants, tensor memory. What is not named here is unread.
_SILENT_WORDS = """
    FADD FCHK FFMA FMNMX FMUL FSEL FSET FSETP FSWZADD MUFU HADD2 HFMA2 HMMA HMNMX2 HMUL2 HSET2
    HSETP2 DADD DFMA DMMA DMUL DSETP DMNMX BMMA BMSK BREV FLO IABS IADD IADD3 IDP IDP4A IMAD IMMA
    IMNMX IMUL ISCADD ISETP LEA LOP LOP3 POPC SHF SHL SHR VABSDIFF VABSDIFF4 VHMNMX VIADD VIADDMNMX
    VIMNMX VIMNMX3 F2F F2I I2F I2I I2IP I2FP F2IP FRND MOV MOVM PRMT SEL SGXT SHFL PLOP3 PSETP P2R
    R2P LDL STL LDC R2UR REDUX S2UR UBMSK UBREV UFLO UIADD3 UIMAD UISETP ULDC ULEA ULOP ULOP3 UMOV
    UP2UR UPLOP3 UPOPC UPRMT UPSETP UR2UP USEL USGXT USHF USHL USHR VOTEU VOTE MATCH QSPC S2R CS2R
    CS2UR B2R R2B NOP NANOSLEEP YIELD BSSY BSYNC BREAK BMOV BPT BRA BRX BRXU CALL EXIT RET KILL
    LEPC GETLMEMBASE SETLMEMBASE WARPGROUP HGMMA IGMMA QGMMA BGMMA USETMAXREG SETCTAID ELECT
    ENDCOLLECTIVE ERRBAR CGAERRBAR LDT STT LDTM STTM UTCATOMSWS LDCU UMEMSETS UFADD UFFMA UFMUL
    UFSETP UFSEL UFMNMX UF2F UF2I UI2F UIABS UVIMNMX UVIADD FADD2 FFMA2 FMUL2 FMNMX3 FHADD FHFMA
    R2UR PMTRIG CCTLT TMML TXQ ACQBULK PREEXIT UTMAPF UBLKPF CREATEPOLICY
    WARPSYNCALL VIADD2 VIMNMX16 I2FP UI2FP UF2FP F2FP UCGABAR_GET UCGABAR_SET QMMA OMMA LDS LDSM
    UTMACCTL PIXLD DEPBAR ACQSHMINIT UMEMBAR_NONE
"""
_SILENT = frozenset(_SILENT_WORDS.split())


# Words that order or access memory, and are read, or are known for what they are not.
_KNOWN = (
    ACCESSES
    | _BARRIERS
    | _COPIES
    | TEXTURES
    | {"UTMACMDFLUSH", "DEPBAR", "CCTL"}
    | {"MEMBAR", "FENCE", "SYNCS", "WARPSYNC", "ARRIVES", "UTCBAR", "LDGSTS", "LDGDEPBAR", "LDGMC"}
    | {"STS", "STSM", "ATOMS", "STAS", "REDAS"}
)


def may_hand_over(instruction: SassInstruction) -> bool:
    """Whether an instruction may publish, poll or copy a tile: not by ordinary accesses alone."""
    return is_strong(instruction) or instruction.words[0] in _COPIES | {"MEMBAR"}


def is_known(instruction: SassInstruction) -> bool:
    """Whether it is known that an instruction stores no tile, or it is read where it may."""
    return instruction.words[0] in _KNOWN or instruction.words[0] in _SILENT


def is_ordering(instruction: SassInstruction) -> bool:
    """Whether an instruction may access memory, order, or do what is not known."""
    root, *modifiers = instruction.words
    if root == "CCTL":
        return not any(each.startswith("PF") for each in modifiers)
    return is_group_wait(instruction) or root not in _SILENT
