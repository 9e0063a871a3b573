"""Each instruction of a function of machine code as the PTX that it stands for.

What computes is `machine_values`' affair, which fences and orders there are `machine_words`'; here
are accesses, copies, barriers and branches. Whatever is not known becomes an instruction that PTX
does not have, so that nothing is called ordered beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from sbo_verify.compiled.inspection.machine_flow import MachineFlow
from sbo_verify.compiled.inspection.machine_logic import Lifted, NotFollowedError
from sbo_verify.compiled.inspection.machine_values import (
    BARRIER_RESULT,
    PREDICATE,
    Translator,
)
from sbo_verify.compiled.inspection.machine_words import (
    ACCESSES,
    TEXTURES,
    Words,
    is_invalidation,
    is_ordering,
    is_strong,
    may_hand_over,
)
from sbo_verify.compiled.inspection.text import split_operands
from sbo_verify.compiled.lowering import depbar_count
from sbo_verify.compiled.sass import UNIT_BYTES, SassInstruction

_LABEL = re.compile(r"`\(([^)]+)\)")
_SCOPES = {"SM": "cta", "GPU": "gpu", "SYS": "sys"}
_HEADS = {
    **dict.fromkeys(("LDG", "LD"), "ld"),
    **dict.fromkeys(("STG", "ST"), "st"),
    **dict.fromkeys(("ATOMG", "ATOM"), "atom"),
    **dict.fromkeys(("REDG", "RED", "UREDGR"), "red"),
}
_GENERIC = {"LD", "ST", "ATOM", "RED"}
_WIDTHS = {
    "64": "b64",
    "128": "v4.b32",
    "256": "v8.b32",
    **dict.fromkeys(("U8", "S8"), "b8"),
    **dict.fromkeys(("U16", "S16"), "b16"),
}
# `F32`, `F16x2`, `BF16_V2`, `F32x4` and others: sums of floating-point numbers, in vectors too.
_FLOAT = re.compile(r"B?F(16|32|64)(\D.*)?")
_WORDS = {"64": 2, "128": 4, "256": 8}
_OPERATIONS = {"ADD", "MIN", "MAX", "AND", "OR", "XOR", "INC", "DEC", "EXCH", "CAS"}
_STORE = "cp.async.bulk{tensor}.global.shared::cta.bulk_group"
_LOAD = "cp.async.bulk{tensor}.shared::cluster.global.mbarrier::complete_tx::bytes"
_REDUCE = "cp.reduce.async.bulk{tensor}.global.shared::cta.bulk_group.add.u32"
_SHARED = {"STS", "STSM", "ATOMS"}
# Join threads in ways that are not followed: mbarriers, and what ptxas or the source says of warps.
_JOINS = {"SYNCS", "WARPSYNC", "ARRIVES", "UTCBAR"}
_JOIN = "mbarrier.of_machine_code"
# Marks a call of code that may publish, poll or copy a tile.
HANDS_OVER = "(hands over)"


@dataclass
class Lifter:
    """One function; `lift` gives the PTX of one instruction, which its guard then stands before."""

    translator: Translator
    words: Words
    flow: MachineFlow

    def lift(self, index: int) -> list[Lifted]:
        """The PTX of an instruction that is no branch, values before what uses them."""
        each = self.translator.names.instruction(index)
        self.translator.index, self.translator.out = index, []
        if each.words[0] == "ELECT":
            return self._elected(index, each)
        if each.words[0] == "LDS":
            return self._from_shared(index, each)
        if not self._takes_part(index, each):
            return self.translator.value(index, each)
        try:
            event = self._event(index, each)
        except NotFollowedError:
            event = _unread(each)
        written = set(self.translator.names.accesses(index).writes)
        out = list(self.translator.out)
        if event is not None:
            out.append(event)
            if event[0].startswith(("ld.", "atom.", "tex.")):
                return out
        return [*out, *self.translator.unknown(index, written)]

    def _from_shared(self, index: int, each: SassInstruction) -> list[Lifted]:
        try:
            load = self.shared_load(index, each)
        except NotFollowedError:
            return self.translator.value(index, each)
        return [*self.translator.out, load]

    def _takes_part(self, index: int, each: SassInstruction) -> bool:
        return (
            index in self.words.fences
            or index in self.words.unread
            or index in self.words.joins
            or index in self.flow.calls
            or is_ordering(each)
        )

    def _event(self, index: int, each: SassInstruction) -> Lifted | None:
        if index in self.words.unread:
            return _unread(each)
        if index in self.words.joins:
            return _JOIN, ()
        if index in self.words.fences:
            return self.words.fences[index], ()
        if index in self.flow.calls:
            return self._call(index)
        if index in self.words.absorbed or is_invalidation(each):
            return None
        handler = _EVENTS.get(each.words[0])
        if handler is None:
            raise NotFollowedError
        return handler(self, index, each)

    def _call(self, index: int) -> Lifted | None:
        """A call of code that neither orders nor accesses memory only changes registers."""
        body = self.flow.calls[index]
        names = self.translator.names
        silent = body is not None and not any(
            is_ordering(names.instruction(each)) or each in self.flow.calls for each in body
        )
        if silent:
            return None
        match = _LABEL.search(names.instruction(index).operands)
        name = match[1] if match else "unknown"
        hands_over = any(may_hand_over(names.instruction(each)) for each in body or ())
        return "call", (name, HANDS_OVER) if hands_over else (name,)

    def _addresses(self, each: SassInstruction) -> list[str]:
        found = [
            self.translator.address(operand)
            for operand in split_operands(each.operands)
            if "[" in operand and not operand.startswith("c[")
        ]
        if not found:
            raise NotFollowedError
        return found

    def access(self, index: int, each: SassInstruction) -> Lifted:
        """A load, store or atomic on global memory, or on a generic address."""
        root, *modifiers = each.words
        head = _HEADS[root]
        weak = head in {"ld", "st"} and not is_strong(each)
        if "MMIO" in modifiers or (not weak and not _SCOPES.keys() & set(modifiers)):
            raise NotFollowedError
        mnemonic = [head, *self._order(index, head, modifiers)]
        if root not in _GENERIC:
            mnemonic.append("global")
        if "CONSTANT" in modifiers:
            mnemonic = [head, "global", "nc"]
        mnemonic += [each.lower() for each in modifiers if each in _OPERATIONS]
        sums = any(_FLOAT.fullmatch(each) for each in modifiers)
        widths = (_WIDTHS[each] for each in modifiers if each in _WIDTHS)
        mnemonic.append("f32" if sums else next(widths, "b32"))
        address = self._addresses(each)[0]
        operands = split_operands(each.operands)
        place = next(i for i, operand in enumerate(operands) if "[" in operand)
        values = [self._value(operand) for operand in operands[place + 1 :]]
        if head == "st":
            values = list(self._values(index, each)) or values
        if head in {"st", "red"}:
            return ".".join(mnemonic), (address, *values)
        return ".".join(mnemonic), (self._results(index), address, *values)

    def _order(self, index: int, head: str, modifiers: list[str]) -> list[str]:
        if head in {"ld", "st"} and "STRONG" not in modifiers:
            return ["weak"]
        released, acquired = index in self.words.released, index in self.words.acquired
        order = "relaxed"
        if released or acquired:
            order = "acq_rel" if released and acquired else "release" if released else "acquire"
        scope = next(_SCOPES[each] for each in modifiers if each in _SCOPES)
        # An acquire at the scope of the CTA has no word; that is no order between CTAs either way.
        return [order, scope]

    def _results(self, index: int) -> str:
        names = self.translator.names
        written = sorted(names.accesses(index).writes)
        if not written:
            return "_"
        results = [names.written(index, each) for each in written]
        return results[0] if len(results) == 1 else "{" + ", ".join(results) + "}"

    def _values(self, index: int, each: SassInstruction) -> tuple[str, ...]:
        """The registers that a store writes: as many from the one it names as it is wide."""
        reads = self.translator.names.accesses(index).reads
        match = re.fullmatch(r"(U?R)(\d+)(\.reuse)?", split_operands(each.operands)[-1])
        if match is None:
            return ()
        words = next((_WORDS[word] for word in each.words if word in _WORDS), 1)
        names = (f"{match[1]}{int(match[2]) + step}" for step in range(words))
        return tuple(self.translator.names.read(index, name) for name in names if name in reads)

    def _value(self, operand: str) -> str:
        try:
            return self.translator.source(operand)
        except NotFollowedError:
            return "0"

    def _elected(self, index: int, each: SassInstruction) -> list[Lifted]:
        """One thread of the warp; where only some threads come to it, which one is not known."""
        names = self.translator.names
        written = set(names.accesses(index).writes)
        operands = split_operands(each.operands)
        if each.predicate or operands[1:] != ["URZ", "PT"] or written != {operands[0]}:
            return list(self.translator.unknown(index, written))
        return [("elect.sync", (f"_|{names.written(index, operands[0])}", "-1"))]

    # ---- events by their opcode ---------------------------------------------------------------

    def texture(self, index: int, _each: SassInstruction) -> Lifted:
        """A read beside the coherent path; which memory it is of is not written."""
        return "tex.of_machine_code", (self._results(index),)

    def shared_store(self, index: int, each: SassInstruction) -> Lifted:
        """A write to shared memory, with the registers that are written."""
        values = self._values(index, each) or ("0",)
        return "st.shared.b32", (self._addresses(each)[0], *values)

    def shared_load(self, index: int, each: SassInstruction) -> Lifted:
        """A read of shared memory: it orders nothing, and has what was written there."""
        return "ld.shared.b32", (self._results(index), self._addresses(each)[0])

    def group_wait(self, index: int, each: SassInstruction) -> Lifted:
        """The full wait is the one with an invalidation behind it."""
        read = "" if index in self.words.acquired else ".read"
        return f"cp.async.bulk.wait_group{read}", (str(depbar_count(each)),)

    def join(self, _index: int, each: SassInstruction) -> Lifted | None:
        """What may join threads; an mbarrier that is only initialized does not."""
        return None if "EXCH" in each.words else (_JOIN, ())

    def copy(self, _index: int, each: SassInstruction) -> Lifted:
        """`UBLKCP.G.S` stores from shared memory, `.S.G` loads; others are not read."""
        template = {"G.S": _STORE, "S.G": _LOAD}.get(".".join(each.words[1:3]))
        if template is None:
            raise NotFollowedError
        return template.format(tensor=""), tuple(self._addresses(each))

    def tensor_store(self, _index: int, each: SassInstruction) -> Lifted:
        """The copy engine's operands stand in registers behind the first one of each address."""
        source, descriptor, *_ = self._addresses(each)
        return _STORE.format(tensor=".tensor.2d"), (descriptor, source)

    def tensor_load(self, _index: int, each: SassInstruction) -> Lifted:
        """As `tensor_store`, with the buffer in shared memory first."""
        target, descriptor, *_ = self._addresses(each)
        return _LOAD.format(tensor=".tensor.2d"), (target, descriptor)

    def reduction(self, _index: int, each: SassInstruction) -> Lifted:
        """Reductions by the copy engine are stores to it."""
        first, second, *_ = self._addresses(each)
        if each.words[0] == "UBLKRED":
            return _REDUCE.format(tensor=""), (first, second)
        return _REDUCE.format(tensor=".tensor.2d"), (second, first)

    def commit(self, _index: int, _each: SassInstruction) -> Lifted:
        """Closes a group of copies."""
        return "cp.async.bulk.commit_group", ()

    def barrier(self, _index: int, each: SassInstruction) -> Lifted:
        """A barrier of the CTA by its name; one whose register also counts threads is not read."""
        kind = each.words[1] if len(each.words) > 1 else ""
        operands = split_operands(each.operands)
        packed = len(operands) > 1 and operands[0] == operands[1] and operands[0].startswith("R")
        if packed or kind not in {"SYNC", "ARV", "RED"}:
            raise NotFollowedError
        name = self.translator.source(operands[0])
        count = [self._value(each) for each in operands[1:] if not PREDICATE.fullmatch(each)]
        if kind == "RED":
            asked = [self.translator.predicate(e) for e in operands[1:] if PREDICATE.fullmatch(e)]
            return "bar.red.popc.u32", (BARRIER_RESULT, name, *count, asked[0] if asked else "0")
        return {"SYNC": "bar.sync", "ARV": "bar.arrive"}[kind], (name, *count)

    def cluster_arrive(self, index: int, _each: SassInstruction) -> Lifted:
        """A release where a MEMBAR stands before it."""
        order = "release" if index in self.words.released else "relaxed"
        return f"barrier.cluster.arrive.{order}.aligned", ()

    def cluster_wait(self, index: int, _each: SassInstruction) -> Lifted:
        """An acquire where the L1 is invalidated behind it, which it always was."""
        if index not in self.words.acquired:
            raise NotFollowedError
        return "barrier.cluster.wait.acquire.aligned", ()


_EVENTS: dict[str, Callable[[Lifter, int, SassInstruction], Lifted | None]] = {
    **dict.fromkeys(ACCESSES, Lifter.access),
    **dict.fromkeys(_SHARED, Lifter.shared_store),
    **dict.fromkeys(TEXTURES, Lifter.texture),
    **dict.fromkeys(_JOINS, Lifter.join),
    "DEPBAR": Lifter.group_wait,
    "UBLKCP": Lifter.copy,
    "UTMASTG": Lifter.tensor_store,
    "UTMALDG": Lifter.tensor_load,
    "UBLKRED": Lifter.reduction,
    "UTMAREDG": Lifter.reduction,
    "UTMACMDFLUSH": Lifter.commit,
    "BAR": Lifter.barrier,
    "UCGABAR_ARV": Lifter.cluster_arrive,
    "UCGABAR_WAIT": Lifter.cluster_wait,
}


def _unread(each: SassInstruction) -> Lifted:
    """An instruction that PTX does not have: nothing is called ordered on its way."""
    return f"machine.{each.words[0].lower()}", ()


def label_of(index: int) -> str:
    """The name of a place that a branch leads to."""
    return f"at_{index * UNIT_BYTES:x}"
