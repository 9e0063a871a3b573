"""Does the machine code keep, in order, what the PTX that it was made from has?

Every instruction of a cubin names the PTX line it was made from, so that each PTX instruction of a
site is followed to its words (`lowering`), and every order between two of them to the order of
those words (`sass_flow`). This compares ptxas's output with its input: that a variant keeps its
order says that the compiler took nothing away, not that the order suffices, which is the model's
question. What is not understood is `cannot tell`, never `kept`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from sbo_verify.compiled.cluster_forms import cluster_forms
from sbo_verify.compiled.flow import Code, Located, read
from sbo_verify.compiled.harness_rules import BOOKKEEPING_ANYWHERE, PREFIX, orders
from sbo_verify.compiled.lowering import Word, is_beside, is_read, is_shown, needed, short, stronger
from sbo_verify.compiled.ptx import PtxError
from sbo_verify.compiled.ptx_paths import PtxPaths, read_paths
from sbo_verify.compiled.sass import Listing, SassError, SassFunction, SassInstruction
from sbo_verify.compiled.sass_flow import SassFlow, read_flow
from sbo_verify.verdict import MachineVerdict
from sbo_verify.vocabulary import Kind, Order, UnknownInstructionError

Skeleton = list[tuple[str, list[str]]]

_WEAK_ACCESSES = {Kind.LOAD, Kind.LOAD_NC, Kind.STORE}


@dataclass(frozen=True)
class MachineReading:
    """The verdict, what speaks against `kept`, and the words of each site in program order.

    `notes` says of every instruction that orders less than another what the other would add.
    """

    verdict: MachineVerdict
    reasons: list[str]
    skeleton: Skeleton
    notes: list[str]


@dataclass(frozen=True)
class _Reason:
    verdict: MachineVerdict
    text: str


@dataclass(frozen=True)
class _Lowered:
    """One PTX instruction of a site and its needed words, those of all copies together."""

    found: Located
    words: tuple[SassInstruction, ...] = ()
    anchors: tuple[SassInstruction, ...] = ()


def read_machine_code(ptx: str, listing: Listing) -> MachineReading:
    """Follow the sites of the only kernel in `ptx` into its machine code.

    `listing` must be of a cubin made from exactly this text with `-lineinfo`. Nothing is raised:
    text or code that cannot be read is `cannot tell`, with the reason.
    """
    try:
        code = read(ptx)
        paths = read_paths(ptx)
        function = listing.only()
        flow = read_flow(function)
    except (PtxError, SassError, UnknownInstructionError) as error:
        return MachineReading(MachineVerdict.CANNOT_TELL, [str(error)], [], [])
    words = _words_by_line(function)
    reasons = list(_unattributed(code, function, flow))
    notes: list[str] = []
    for form in cluster_forms(code, function, flow):
        lowered: list[_Lowered] = []
        for found in _of_sites(code):
            if (wanted := form.needed(found.instruction)) == ():
                continue
            reached = form.flow.reachable
            mine = [each for each in words.get(found.line, ()) if reached(each.address)]
            complaints, each = _lower(found, wanted, mine, form.flow)
            reasons.extend(complaints)
            lowered.append(each)
        reasons.extend(_inversions(code, paths, lowered, form.flow))
        notes += [note for each in lowered if (note := _lacks(each))]
    return MachineReading(
        _verdict(reasons),
        list(dict.fromkeys(each.text for each in reasons)),
        _skeleton(code, flow),
        list(dict.fromkeys(notes)),
    )


def _verdict(reasons: list[_Reason]) -> MachineVerdict:
    """Lost over cannot tell over kept: one order that is surely lost is enough."""
    found = {each.verdict for each in reasons}
    worst = (MachineVerdict.LOST, MachineVerdict.CANNOT_TELL)
    return next((verdict for verdict in worst if verdict in found), MachineVerdict.KEPT)


def _of_sites(code: Code) -> Iterator[Located]:
    """The PTX instructions that stand directly in a site, the harness and its flags left out."""
    for found in code.instructions:
        if found.region is None or found.region.site.startswith(PREFIX):
            continue
        if found.instruction not in BOOKKEEPING_ANYWHERE:
            yield found


def _words_by_line(function: SassFunction) -> dict[int | None, list[SassInstruction]]:
    words: dict[int | None, list[SassInstruction]] = {}
    for each in function.instructions:
        if is_read(each):
            words.setdefault(each.ptx_line, []).append(each)
    return words


def _unattributed(code: Code, function: SassFunction, flow: SassFlow) -> Iterator[_Reason]:
    """Words of no PTX instruction that orders or accesses, and words in code that is called."""
    lines = {found.line for found in code.instructions}
    for each in function.instructions:
        if not is_read(each) or is_beside(each):
            continue
        if each.ptx_line not in lines:
            text = f"{each}: it cannot be told which PTX instruction it was made from"
            yield _Reason(MachineVerdict.CANNOT_TELL, text)
        elif not flow.reachable(each.address):
            text = f"{each}: it stands where no branch leads, in code that may be called"
            yield _Reason(MachineVerdict.CANNOT_TELL, text)


def _lower(
    found: Located,
    wanted: tuple[Word, ...] | None,
    mine: list[SassInstruction],
    flow: SassFlow,
) -> tuple[list[_Reason], _Lowered]:
    """The needed words of one PTX instruction among the words of its line, and what is missing."""
    if wanted is None:
        text = f"{_where(found)}: it is not known what machine code this must become"
        return [_Reason(MachineVerdict.CANNOT_TELL, text)], _Lowered(found)
    place = next(index for index, word in enumerate(wanted) if word.anchor)
    anchors = [each for each in mine if wanted[place].matches(each)]
    if not anchors:
        weak = found.instruction.kind in _WEAK_ACCESSES and found.instruction.order in {
            None,
            Order.WEAK,
        }
        # A weak access whose value nobody uses may be left out; a word that orders may not.
        verdict = MachineVerdict.CANNOT_TELL if weak else MachineVerdict.LOST
        text = f"{_where(found)}: needs {wanted[place]}, {_text(mine)}"
        return [_Reason(verdict, text)], _Lowered(found)
    reasons: list[_Reason] = []
    kept: list[SassInstruction] = []
    for anchor in anchors:
        kept.append(anchor)
        for word in wanted[:place]:
            _take(_Need(found, word, anchor, before=True), mine, flow, reasons, kept)
        for word in wanted[place + 1 :]:
            _take(_Need(found, word, anchor, before=False), mine, flow, reasons, kept)
    return reasons, _Lowered(found, tuple(dict.fromkeys(kept)), tuple(anchors))


@dataclass(frozen=True)
class _Need:
    """A word that one execution of a PTX instruction needs before or behind its anchor."""

    found: Located
    word: Word
    anchor: SassInstruction
    before: bool

    def text(self) -> str:
        side = "before" if self.before else "behind"
        return f"{_where(self.found)}: needs {self.word} {side} {self.anchor}"

    def in_order(self, candidate: SassInstruction, flow: SassFlow) -> bool:
        first, second = (candidate, self.anchor) if self.before else (self.anchor, candidate)
        return flow.reaches(first.address, second.address)


def _take(
    need: _Need,
    mine: list[SassInstruction],
    flow: SassFlow,
    reasons: list[_Reason],
    kept: list[SassInstruction],
) -> None:
    """Finds a needed word beside its anchor, or says that it is missing or may be skipped."""
    in_order = [each for each in mine if need.word.matches(each) if need.in_order(each, flow)]
    certain = [each for each in in_order if flow.together(need.anchor, each)]
    # What may be skipped stands somewhere all the same, and must stand in order.
    kept.extend(certain or in_order)
    if not in_order:
        reasons.append(_Reason(MachineVerdict.LOST, f"{need.text()}, {_text(mine)}"))
    elif not certain:
        text = f"{need.text()}, and whether {_names(in_order)} is executed with it cannot be told"
        reasons.append(_Reason(MachineVerdict.CANNOT_TELL, text))


def _inversions(
    code: Code, paths: PtxPaths, lowered: list[_Lowered], flow: SassFlow
) -> Iterator[_Reason]:
    """Pairs of PTX instructions whose words do not stand in the order that the PTX has."""
    for first in lowered:
        for second in lowered:
            if _must_stay(first.found, second.found) and code.reaches(
                first.found.line, second.found.line
            ):
                yield from _inversion(first, second, flow)
                always = paths.always_passes(first.found.line, second.found.line)
                if always and not first.found.predicate:
                    yield from _way_round(first, second, flow)


def _way_round(first: _Lowered, second: _Lowered, flow: SassFlow) -> Iterator[_Reason]:
    """A path of the machine code round an instruction that every path of the PTX passes.

    Threads may not take it, as where a launch without clusters is asked for at run time: that
    cannot be told.
    """
    for later in second.words:
        walls = [
            anchor.address for anchor in first.anchors if anchor.predicate in {"", later.predicate}
        ]
        if first.anchors and flow.bypasses(walls, later.address):
            text = f"{_pair(first, second)}: a path leads to {later} round {_names(first.anchors)}"
            yield _Reason(MachineVerdict.CANNOT_TELL, text)


def _inversion(first: _Lowered, second: _Lowered, flow: SassFlow) -> Iterator[_Reason]:
    """Words of `second` with nothing of `first` before them, words of `first` behind the second's.

    A word that stands before one copy of the other instruction and behind another copy, as turns of
    a loop that was unrolled do, may belong to either: that cannot be told.
    """
    for later in second.words:
        if first.words and not any(
            flow.reaches(each.address, later.address) for each in first.words
        ):
            text = f"{_pair(first, second)}: {later} does not stand behind {_names(first.words)}"
            yield _Reason(MachineVerdict.LOST, text)
    for each in first.words:
        passed = [later for later in second.words if flow.reaches(later.address, each.address)]
        if passed:
            ahead = any(flow.reaches(each.address, later.address) for later in second.words)
            several = len(first.anchors) > 1 or len(second.anchors) > 1
            verdict = MachineVerdict.CANNOT_TELL if ahead and several else MachineVerdict.LOST
            yield _Reason(verdict, f"{_pair(first, second)}: {each} stands behind {_names(passed)}")


def _must_stay(first: Located, second: Located) -> bool:
    """Whether a compiler may not exchange the two.

    Two accesses that order nothing may change places; nor does a release hold back what follows
    it, or an acquire what precedes it (PTX ISA, "Release and Acquire Patterns").
    """
    one, other = first.instruction, second.instruction
    if not orders(one) and not orders(other):
        return False
    released = one.order is Order.RELEASE and not orders(other)
    acquired = other.order is Order.ACQUIRE and not orders(one)
    return not released and not acquired


def _skeleton(code: Code, flow: SassFlow) -> Skeleton:
    """The words of the sites in the order in which a thread meets them; a run is shown once.

    Producer and consumer are branches of one condition: which stands first is the compiler's whim,
    so that the sides are shown in the order of the PTX.
    """
    site_of = {found.line: found for found in _of_sites(code)}
    words: list[tuple[str, str]] = []
    for each in flow.order:
        found = site_of.get(each.ptx_line or 0)
        if found is None or found.region is None:
            continue
        if is_shown(each, found.instruction):
            words.append((found.region.site, short(each)))
    sides = list(dict.fromkeys(_side(region.site) for region, _ in code.regions))
    words.sort(key=lambda pair: sides.index(_side(pair[0])))
    skeleton: Skeleton = []
    for site, group in groupby(words, key=itemgetter(0)):
        skeleton.append((site, [word for word, _ in groupby(word for _, word in group)]))
    return skeleton


def _side(site: str) -> str:
    return site.partition(".")[0]


def _lacks(lowered: _Lowered) -> str:
    """What the stronger form of an instruction would be beside these words; empty where it is none.

    This is where two variants that the model tells apart run the same words on the chip.
    """
    found = lowered.found
    other = stronger(found.instruction)
    wanted = None if other is None else needed(other)
    if wanted is None or found.region is None or not lowered.words:
        return ""
    there = [word for word in wanted if any(word.matches(each) for each in lowered.words)]
    absent = [str(word) for word in wanted if word not in there]
    if not there or not absent:
        return ""
    mine = ", ".join(dict.fromkeys(short(each) for each in lowered.words))
    return (
        f"{found.region.site}: {found.instruction} is {mine}; "
        f"{other} is the same and {', '.join(absent)}"
    )


def _where(found: Located) -> str:
    site = found.region.site if found.region is not None else "outside every site"
    return f"{site}, {found.instruction} at PTX line {found.line}"


def _pair(first: _Lowered, second: _Lowered) -> str:
    return f"{_where(first.found)}, then {_where(second.found)}"


def _names(found: tuple[SassInstruction, ...] | list[SassInstruction]) -> str:
    return ", ".join(str(each) for each in found)


def _text(found: list[SassInstruction]) -> str:
    return f"found {_names(found)}" if found else "found nothing made from that line"
