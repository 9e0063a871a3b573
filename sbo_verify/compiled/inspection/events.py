"""The instructions of a function that take part in a hand-off, and what each may be in it.

Which store is data and which is a signal is not written in PTX. A signal is found by its shape: a
load that a loop waits on is a poll; an integer atomic, a strong store, or a store to a polled
buffer is a publish. Source: PTX ISA 9.0, "Memory Consistency Model", "Asynchronous Operations".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from sbo_verify.compiled.inspection.graph import Graph
from sbo_verify.compiled.inspection.taint import Taint
from sbo_verify.compiled.inspection.text import Op, width
from sbo_verify.compiled.inspection.values import Values, stable, uniform
from sbo_verify.vocabulary import Instruction, Kind, Order, Space, UnknownInstructionError, parse


class Part(StrEnum):
    """What an instruction is in a hand-off."""

    STORE = "store"
    BULK_STORE = "bulk store"
    SHARED_STORE = "shared store"
    COMMIT = "commit"
    WAIT = "wait"
    FENCE = "fence"
    PROXY_FENCE = "proxy fence"
    BARRIER = "barrier"
    ARRIVE = "arrive"
    CLUSTER_ARRIVE = "cluster arrive"
    CLUSTER_WAIT = "cluster wait"
    WARP_BARRIER = "warp barrier"
    MBARRIER_INIT = "mbarrier init"
    MBARRIER_ARRIVE = "mbarrier arrive"
    MBARRIER_WAIT = "mbarrier wait"
    OTHER_SYNC = "other synchronization"
    PUBLISH = "publish"
    POLL = "poll"
    READ = "read"
    BULK_READ = "bulk read"
    UNREAD = "unread"


@dataclass(frozen=True, eq=False, slots=True)
class Event:
    """One instruction with its part; `buffer` is the base of its address, "" where unknown.

    A wholly known address is `root`, an expression, and a constant offset.
    """

    op: Op
    part: Part
    instruction: Instruction | None = None
    buffer: str = ""
    address: str = ""
    root: str = ""
    offset: int = 0


def may_be_one(first: Event, second: Event) -> bool:
    """Whether two instructions may access the same place."""
    if "" in {first.buffer, second.buffer}:
        return True
    if first.buffer != second.buffer:
        return False
    if not first.root or first.root != second.root:
        return True
    low, high = sorted((first, second), key=lambda each: each.offset)
    return high.offset < low.offset + width(low.op)


@dataclass
class Events:
    """A function's events in the order of the text, and what depends on what it loads."""

    taint: Taint
    all: list[Event] = field(default_factory=list)
    # Result registers of polls and the predicates that depend on them.
    tested_by: dict[int, frozenset[str]] = field(default_factory=dict)
    _of: dict[tuple[Part, ...], list[Event]] = field(default_factory=dict)

    def of(self, *parts: Part) -> list[Event]:
        """Those with one of the parts; what is here by then stays so."""
        if parts not in self._of:
            self._of[parts] = [each for each in self.all if each.part in parts]
        return self._of[parts]


# Order nothing that a hand-off could lean on.
_SILENT = re.compile(
    r"(mma|wmma|ldmatrix|movmatrix|txq|griddepcontrol|createpolicy|applypriority"
    r"|discard|prefetchu|cp\.async\.bulk\.prefetch|fence\.(proxy\.tensormap|mbarrier_init)"
    r"|nanosleep|istypep|tensormap|trap|brkpt|stacksave|stackrestore|alloca"
    r"|bmsk|szext|tanh|dp2a|dp4a|vset|vadd|vsub|vmin|vmax|wgmma|tcgen05\.(ld|alloc|dealloc)|clusterlaunchcontrol)\b"
)
_SILENT_CALLS = ("vprintf", "__assertfail", "malloc", "free")
_SYNC = ("mbarrier", "cp.async.mbarrier")
_FLOATS = re.compile(r"\.(f16|f32|f64|bf16|f16x2|bf16x2|v[248])\b")


def events_of(
    graph: Graph, values: Values, harmless_calls: frozenset[str], in_shared: frozenset[str]
) -> Events:
    """The events of a function.

    `harmless_calls` are functions known to hold none; `in_shared` are variables in shared memory.
    """
    reachable = [op for number in sorted(graph.reachable) for op in graph.blocks[number].ops]
    raw = [
        each
        for op in reachable
        if (each := _event(op, values, harmless_calls, in_shared)) is not None
    ]
    branches = [each.branch for each in graph.blocks if each.branch is not None]
    taint = Taint([*reachable, *branches], values, in_shared)
    polls = {id(each.op) for each in raw if _is_poll(each, graph, values, taint)}
    polled = {_place(each) for each in raw if id(each.op) in polls}
    asking = {(each.op.mnemonic, each.op.operands[1:]) for each in raw if id(each.op) in polls}
    buffers = {each.buffer for each in raw if id(each.op) in polls and each.buffer}
    found = Events(taint)
    for each in raw:
        part = each.part
        poll = id(each.op) in polls
        again = part is Part.PUBLISH and (each.op.mnemonic, each.op.operands[1:]) in asking
        if poll or (_place(each) in polled and (part is Part.READ or again)):
            part = Part.POLL
        elif part is Part.STORE and is_word(each) and each.buffer in buffers:
            part = Part.PUBLISH
        event = replace(each, part=part)
        found.all.append(event)
        if part is Part.POLL:
            found.tested_by[id(each.op)] = taint.of(each.op)
    return found


def _place(event: Event) -> tuple[str, str]:
    return (event.buffer, event.address)


def is_word(event: Event) -> bool:
    """Whether one integer is accessed: a signal, and no vector or floating-point data."""
    return _FLOATS.search(event.op.mnemonic) is None


def _event(
    op: Op, values: Values, harmless_calls: frozenset[str], in_shared: frozenset[str]
) -> Event | None:
    if _SILENT.match(op.mnemonic) and not op.mnemonic.startswith("cp.async.bulk.tensor"):
        return None
    if op.mnemonic.startswith("call"):
        harmless = any(
            name.strip() in harmless_calls or name.strip() in _SILENT_CALLS for name in op.operands
        )
        return None if harmless else Event(op, Part.UNREAD)
    special = next((read for words, read in _SPECIAL if words.match(op.mnemonic)), None)
    if special is not None:
        return special(op, values)
    try:
        instruction = parse(op.mnemonic, op.operands[0] if op.operands else "")
    except (UnknownInstructionError, ValueError):
        sync = op.mnemonic.startswith(_SYNC)
        return Event(op, Part.OTHER_SYNC if sync else Part.UNREAD)
    return None if instruction is None else _known(op, instruction, values, in_shared)


def _small_copy(op: Op, values: Values) -> Event | None:
    """`cp.async`: an ordinary read of the data; what it writes is shared memory.

    Its groups order nothing else.
    """
    words = op.mnemonic.split(".")[2:]
    if words[:1] in (["ca"], ["cg"]) and len(op.operands) > 1:
        instruction = Instruction(Kind.LOAD, Order.WEAK, None, Space.GLOBAL)
        found = values.address(op.operands[1])
        buffer = found.base if found else ""
        return Event(op, Part.READ, instruction, buffer, op.operands[1])
    grouped = words[:1] in (["commit_group"], ["wait_group"], ["wait_all"])
    return None if grouped else Event(op, Part.OTHER_SYNC)


_MBARRIER = {
    "init": Part.MBARRIER_INIT,
    "arrive": Part.MBARRIER_ARRIVE,
    "test_wait": Part.MBARRIER_WAIT,
    "try_wait": Part.MBARRIER_WAIT,
}


def _mbarrier(op: Op, values: Values) -> Event | None:
    """One operation on an mbarrier; expecting bytes of a copy is no arrival."""
    words = op.mnemonic.split(".")
    if words[1] in {"inval", "expect_tx", "complete_tx", "pending_count"}:
        return None
    part = _MBARRIER.get(words[1], Part.OTHER_SYNC)
    if "noComplete" in words:
        part = Part.OTHER_SYNC
    order = Order.RELAXED if "relaxed" in words else None
    return _memory(op, part, Instruction(Kind.MBARRIER_ARRIVE, order), values)


def _texture(op: Op, _values: Values) -> Event:
    """A read beside the coherent path: of a texture, a surface, or uniform data (`ldu`)."""
    return Event(op, Part.READ, Instruction(Kind.LOAD_NC, space=Space.GLOBAL))


def _bulk_reduce(op: Op, values: Values) -> Event:
    return _memory(op, Part.BULK_STORE, Instruction(Kind.BULK_STORE), values)


def _arrive(op: Op, _values: Values) -> Event:
    return Event(op, Part.ARRIVE)


_SPECIAL: tuple[tuple[re.Pattern[str], Callable[[Op, Values], Event | None]], ...] = (
    (re.compile(r"cp\.reduce\.async\.bulk"), _bulk_reduce),
    (re.compile(r"(bar|barrier\.cta|barrier)\.arrive\b"), _arrive),
    (re.compile(r"cp\.async\.(?!bulk)"), _small_copy),
    (re.compile(r"mbarrier\."), _mbarrier),
    (re.compile(r"(tex|tld4|suld|ldu)\b"), _texture),
)


_PARTS = {
    Kind.COMMIT_GROUP: Part.COMMIT,
    Kind.WAIT_GROUP: Part.WAIT,
    Kind.FENCE: Part.FENCE,
    Kind.PROXY_FENCE: Part.PROXY_FENCE,
    Kind.CTA_BARRIER: Part.BARRIER,
    Kind.CTA_BARRIER_RED: Part.BARRIER,
    Kind.WARP_BARRIER: Part.WARP_BARRIER,
    Kind.CLUSTER_ARRIVE: Part.CLUSTER_ARRIVE,
    Kind.CLUSTER_WAIT: Part.CLUSTER_WAIT,
    Kind.BULK_STORE: Part.BULK_STORE,
    Kind.TENSOR_STORE: Part.BULK_STORE,
    Kind.BULK_LOAD: Part.BULK_READ,
    Kind.TENSOR_LOAD: Part.BULK_READ,
    Kind.LOAD: Part.READ,
    Kind.LOAD_NC: Part.READ,
    Kind.STORE: Part.STORE,
    Kind.ATOM: Part.PUBLISH,
    Kind.RED: Part.PUBLISH,
}


def _known(  # noqa: PLR0911 - one return for each kind
    op: Op, instruction: Instruction, values: Values, in_shared: frozenset[str]
) -> Event | None:
    part = _PARTS.get(instruction.kind)
    if part is None:
        return None
    if part in {Part.BARRIER, Part.WARP_BARRIER}:
        return Event(op, part, instruction)
    event = _memory(op, part, instruction, values)
    if part is Part.BULK_READ:
        # What a tensor map leads to is not known.
        plain = instruction.kind is Kind.BULK_LOAD
        return Event(op, part, instruction, source_buffer(event, values) if plain else "")
    if event.buffer.startswith("__local_depot"):
        return None
    shared = instruction.space is Space.SHARED or event.buffer in in_shared
    if shared and part in {Part.STORE, Part.PUBLISH}:
        return replace(event, part=Part.SHARED_STORE)
    if shared and part is Part.READ:
        return None
    released = instruction.order in {Order.RELEASE, Order.ACQ_REL}
    if part is Part.PUBLISH and not is_word(event) and not released:
        return replace(event, part=Part.STORE)
    strong = instruction.order not in {None, Order.WEAK}
    if part is Part.STORE and strong and (is_word(event) or released):
        return replace(event, part=Part.PUBLISH)
    return event


def _memory(op: Op, part: Part, instruction: Instruction, values: Values) -> Event:
    """An access with the buffer it goes to; a bulk store's is where it reads from."""
    addresses = [each for each in op.operands if each.startswith("[")]
    if not addresses:
        return Event(op, part, instruction)
    written = addresses[0]
    found = values.address(written)
    if found is None or not stable(found):
        # A register that is written again holds other addresses elsewhere.
        again = len(values.definitions(values.register_of(written))) > 1
        text = f"{written} of {op.place}" if again else written
        return Event(op, part, instruction, found.base if found else "", text)
    root = found.root or found.text
    return Event(op, part, instruction, found.base, found.text, root, found.offset)


def source_buffer(event: Event, values: Values) -> str:
    """The buffer that a bulk copy reads; "" where it is unknown."""
    addresses = [each for each in event.op.operands if each.startswith("[")]
    found = values.address(addresses[1]) if len(addresses) > 1 else None
    return found.base if found else ""


def _is_poll(event: Event, graph: Graph, values: Values, taint: Taint) -> bool:
    """A load or atomic whose result ends a loop: a strong one, or a weak one of one place."""
    instruction = event.instruction
    if event.part not in {Part.READ, Part.PUBLISH} or instruction is None:
        return False
    if instruction.kind not in {Kind.LOAD, Kind.ATOM, Kind.LOAD_NC}:
        return False
    results = taint.of(event.op)
    if instruction.kind is Kind.LOAD and instruction.order is Order.ACQUIRE:
        return any(_tests(each.branch, results) for each in graph.blocks)
    if instruction.kind is Kind.LOAD and instruction.order not in {None, Order.WEAK}:
        block = graph.home[id(event.op)][0]
        around = (each for each in graph.loops if block in each)
        return any(_ends(loop, graph, results) for loop in around)
    loop = graph.loop_of(event.op)
    if not is_word(event) or loop is None or not _fixed_in(loop, event, graph, values):
        return False
    return not _writes_anew(event.op, values, results) and _ends(loop, graph, results)


def _tests(branch: Op | None, results: frozenset[str]) -> bool:
    return branch is not None and branch.guard is not None and branch.guard[0] in results


def _ends(loop: frozenset[int], graph: Graph, results: frozenset[str]) -> bool:
    """Whether a way out of a loop depends on the results."""
    return any(
        _tests(graph.blocks[number].branch, results)
        for number in loop
        if any(each not in loop for each in graph.blocks[number].successors)
    )


def _writes_anew(op: Op, values: Values, results: frozenset[str]) -> bool:
    """Whether an atomic waits for nobody: it adds in each turn, or compares with what it found."""
    if not op.mnemonic.startswith("atom") or len(op.operands) < 3:  # noqa: PLR2004 - result, address, value
        return False
    if ".cas" in op.mnemonic:
        return op.operands[2] in results
    return ".add" in op.mnemonic and uniform(values.of(op.operands[2])) not in {None, 0}


def _fixed_in(loop: frozenset[int], event: Event, graph: Graph, values: Values) -> bool:
    """Whether every turn of a loop loads the same place."""
    address = next((each for each in event.op.operands if each.startswith("[")), "")
    found = values.address(address)
    if found is not None and stable(found):
        return True
    definitions = values.definitions(values.register_of(address))
    return all(graph.home[id(op)][0] not in loop for op in definitions if id(op) in graph.home)
