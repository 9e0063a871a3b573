"""The hand-offs in a cubin, a fatbin, or a host file that holds fatbins; nothing in it is executed.

A verdict on machine code is about the words that ptxas left, as far as they can be told apart:
`docs/inspect.md` has what two instructions of PTX share. What is assumed for that stands beside
each verdict. Where a cubin has the PTX that it was made from, that is judged too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from sbo_verify.compiled.containers import Entry, EntryKind, read_container, text_of
from sbo_verify.compiled.inspection.files import (
    Inspection,
    UnknownKernelError,
    inspect_module,
)
from sbo_verify.compiled.inspection.handoffs import Broken, HandOff, HandOffVerdict, Side
from sbo_verify.compiled.inspection.machine import MachineModule, read_cubin
from sbo_verify.compiled.inspection.machine_ops import HANDS_OVER
from sbo_verify.compiled.inspection.machine_words import is_group_wait, is_known
from sbo_verify.compiled.inspection.text import Module, Op, read_module
from sbo_verify.compiled.ptx import PtxError
from sbo_verify.compiled.sass import SassError

# Architectures whose ordering words were compared with their PTX (reports/toolchains-*, and
# `sbo-verify toolchains`): the first number of sm_90a, sm_100a, sm_103a, sm_120a.
COMPARED = (90, 100, 103, 120)
CLUSTER = "the PTX asked for gpu scope: cluster scope becomes the same words"
PROXY = "the PTX asked for a proxy fence of all spaces: .shared::cluster becomes the same words"
STRONG_STORE = "the PTX asked for a strong store: st.cg and st.wt become the same word"
FULL_WAIT = (
    "CCTL.IVALL behind DEPBAR is the wait's own: a .read wait and fence.acquire look the same"
)
_PLACE = re.compile(r"\b(?:PTX )?line (0x[0-9a-f]+)")
_JOIN = re.compile(r"\b(0x[0-9a-f]+): mbarrier\.of_machine_code ")
_UNREAD = re.compile(r"machine\.(\w+) is not read")


@dataclass(frozen=True)
class Part:
    """One part of a file and what was found in it; `name` tells it from the others, or is empty."""

    name: str
    inspection: Inspection


def inspect_binary(content: bytes, kernel: str | None = None) -> list[Part]:
    """Judge the hand-offs of every cubin and PTX text in a file, or of one kernel in them.

    Raises `ContainerError`, with the byte position, for a file that is damaged or cannot be
    decompressed; `UnknownKernelError` where no part holds the kernel; `DisassemblerError` where
    nvdisasm is missing or refuses a cubin. Code that cannot be read is a part with nothing found,
    which says why.
    """
    entries = read_container(content)
    parts: list[Part] = []
    missing: UnknownKernelError | None = None
    texts: set[str] = set()
    for entry in entries:
        try:
            parts += _of_entry(entry, kernel, texts, alone=len(entries) == 1)
        except UnknownKernelError as error:
            missing = error
    if missing is not None and not any(each.inspection.functions for each in parts):
        raise missing
    return parts


def _of_entry(entry: Entry, kernel: str | None, texts: set[str], *, alone: bool) -> list[Part]:
    if entry.kind is EntryKind.OTHER:
        return [Part(f"byte {entry.offset}", _unread(entry.unread))]
    if entry.kind is EntryKind.PTX:
        text = text_of(entry)
        if text.strip() in texts:
            return []
        texts.add(text.strip())
        return [Part(f"PTX for sm_{entry.architecture} at byte {entry.offset}", _ptx(text, kernel))]
    try:
        module = read_cubin(entry.content, entry.offset)
    except SassError as error:
        return [Part(f"byte {entry.offset}", _unread(str(error)))]
    name = "" if alone else f"{module.target} at byte {entry.offset}"
    parts = [Part(name, inspect_machine(module, kernel))]
    if module.ptx is not None and module.ptx.strip() not in texts:
        texts.add(module.ptx.strip())
        parts.append(Part(f"PTX in {name or 'the cubin'}", _ptx(module.ptx, kernel, module)))
    return parts


def _ptx(text: str, kernel: str | None, made: MachineModule | None = None) -> Inspection:
    """Judge a PTX text; one in a cubin has no lines of the source, which its machine code has."""
    try:
        module = read_module(text)
        if made is not None:
            _add_lines(module, made)
        return inspect_module(module, kernel)
    except PtxError as error:
        return _unread(str(error))


def _add_lines(module: Module, made: MachineModule) -> None:
    lines = {
        code.ptx_line: op.loc
        for function in made.functions
        for op in function.body
        if isinstance(op, Op) and (code := made.machine_code(op)) is not None
    }
    module.files = made.files
    for function in module.functions:
        function.body = [
            replace(op, loc=lines.get(op.line)) if isinstance(op, Op) else op
            for op in function.body
        ]


def _unread(why: str) -> Inspection:
    return Inspection(Module([], {}), [], unread=[why])


def inspect_machine(
    module: MachineModule, kernel: str | None = None, *, at: Callable[[Op], bool] | None = None
) -> Inspection:
    """Judge machine code, and say of each verdict what it assumes; `at` as in `inspect_module`.

    Raises `UnknownKernelError`.
    """
    if not module.functions and kernel is None:
        inspection = Inspection(module, [])
    elif kernel in module.refused:
        inspection = Inspection(module, [kernel or ""])
    else:
        inspection = inspect_module(module, kernel, at=at)
    words = {
        (function.name, str(op.line)): code.opcode
        for function in module.functions
        for op in function.body
        if isinstance(op, Op) and (code := module.machine_code(op)) is not None
    }
    for each in inspection.hand_offs:
        _reword(each, words)
        number = re.match(r"sm_(\d+)", module.target)
        if number is None or int(number[1]) not in COMPARED:
            each.broken.clear()
            each.doubt(f"the words of {module.target or 'its architecture'} were not compared")
        if module.ptx is None:
            each.provided += _assumed(module, each)
    inspection.unread += [
        f"{name}: {why}" for name, why in module.refused.items() if kernel in {None, name}
    ]
    inspection.unread += _overlooked(module, inspection)
    inspection.not_judged = [(op, _PLACE.sub(r"\1", why)) for op, why in inspection.not_judged]
    return inspection


def _overlooked(module: MachineModule, inspection: Inspection) -> Iterator[str]:
    """Words that are not known, or called code, in functions that seem to hand nothing over."""
    judged = {each.function for each in inspection.hand_offs if each.data}
    for function in module.functions:
        if function.name not in judged and function.name in inspection.functions:
            found = (_not_followed(module, op) for op in function.body if isinstance(op, Op))
            why = next(filter(None, found), None)
            if why is not None:
                yield f"{function.name}: {why}"


def _not_followed(module: MachineModule, op: Op) -> str:
    code = module.machine_code(op)
    if code is None:
        return ""
    if not is_known(code):
        return f"{code.opcode} at {code.address:#06x} is not known; it may store the tile"
    if op.mnemonic == "call" and HANDS_OVER in op.operands:
        return f"the code called at {code.address:#06x} may hand over, and is not followed"
    return ""


def _reword(hand_off: HandOff, words: Mapping[tuple[str, str], str]) -> None:
    """Addresses in place of lines, and the words of the machine code where PTX has none.

    Beside a word that is not known nothing is surely broken.
    """

    def named(match: re.Match[str]) -> str:
        return f"{match[1]}: {words.get((hand_off.function, match[1]), 'a word')} "

    hand_off.unknown = [_JOIN.sub(named, _PLACE.sub(r"\1", each)) for each in hand_off.unknown]
    hand_off.provided = [_PLACE.sub(r"\1", each) for each in hand_off.provided]
    hand_off.unknown = [
        _UNREAD.sub(lambda match: f"{match[1].upper()} is not read", each)
        for each in hand_off.unknown
    ]
    if any(each.endswith("is not read") for each in hand_off.unknown):
        for broken in hand_off.broken:
            hand_off.doubt(f"{broken.rule} unless that orders it")
        hand_off.broken.clear()
    hand_off.broken = [
        Broken(each.rule, each.op, each.cause, _PLACE.sub(r"\1", each.detail))
        for each in hand_off.broken
    ]


def _assumed(module: MachineModule, hand_off: HandOff) -> list[str]:
    """What two instructions of PTX share, where a verdict `ordered` rests on one of them."""
    if hand_off.verdict is not HandOffVerdict.ORDERED or hand_off.side is Side.SOURCE:
        return []
    notes = []
    words = [hand_off.op, *hand_off.ordering]
    if any(".gpu" in each.mnemonic for each in words):
        notes.append(CLUSTER)
    code = [module.machine_code(each) for each in hand_off.ordering]
    if hand_off.op.mnemonic.startswith("st.relaxed"):
        notes.append(STRONG_STORE)
    if hand_off.side is Side.POLL and any(e.mnemonic == "fence.proxy.async" for e in words):
        notes.append(PROXY)
    if hand_off.side is Side.PUBLISH and any(each and is_group_wait(each) for each in code):
        notes.append(FULL_WAIT)
    return notes
