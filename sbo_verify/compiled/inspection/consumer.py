"""From the poll to the reads of the data, on every path; and loops that can never end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sbo_verify.compiled.inspection.early import doubts_with_nothing_behind, early_reads
from sbo_verify.compiled.inspection.events import Event, Part, is_word
from sbo_verify.compiled.inspection.facts import ACQUIRED
from sbo_verify.compiled.inspection.function import Read
from sbo_verify.compiled.inspection.handoffs import HandOff, Side
from sbo_verify.compiled.inspection.joins import JOINING
from sbo_verify.compiled.inspection.values import defined
from sbo_verify.compiled.inspection.walker import tests
from sbo_verify.compiled.inspection.ways import State
from sbo_verify.vocabulary import Kind

_WORDS = {
    "weak": "weak-poll",
    "volatile": "poll-without-acquire",
    "relaxed": "poll-without-acquire",
    "narrow": "narrow-acquire",
}


def signals(read: Read) -> list[list[Event]]:
    """The polls of a function, those of one signal together."""
    groups: dict[tuple[str, str], list[Event]] = {}
    for event in read.events.of(Part.POLL):
        key = (event.buffer, "") if event.buffer else ("", event.address)
        groups.setdefault(key, []).append(event)
    return list(groups.values())


def judge_poll(read: Read, polls: list[Event], stored: Iterable[str] | None) -> HandOff | None:
    """What is known of the reads behind the polls of one signal; None where nothing is read.

    `stored` are the buffers that this file's producers write, None where they are not all known.
    """
    reads = [
        each
        for each in read.events.of(Part.READ, Part.BULK_READ)
        if any(read.joins.leads(poll.op, each.op) for poll in polls)
        and (stored is None or not each.buffer or each.buffer in set(stored))
    ]
    # What is read before the poll in its turn is not what this poll lets through.
    reads = [e for e in reads if any(read.joins.before(p.op, e.op) for p in polls)] or reads
    # Other words of the signal's buffer are other signals, unless they are all that is read.
    elsewhere = [each for each in reads if not each.buffer or each.buffer != polls[0].buffer]
    beside = [each for each in reads if each not in elsewhere and not is_word(each)]
    reads = elsewhere or reads
    if not reads:
        return _nothing_behind(read, polls)
    strongest = max(polls, key=_strength)
    hand_off = HandOff(read.function.name, Side.POLL, strongest.op, [each.op for each in reads])
    hand_off.ordering = [
        each.op
        for each in read.events.of(Part.FENCE, Part.PROXY_FENCE, *JOINING)
        if any(read.joins.before(poll.op, each.op) for poll in polls)
        and any(read.joins.before(each.op, data.op) for data in reads)
    ]
    _judge_reads(read, hand_off, polls, reads)
    if (
        elsewhere
        and beside
        and (own := _judge_reads(read, _bare(read, polls), polls, beside)).broken
    ):
        rule, line = own.broken[0].rule, beside[0].op.line
        hand_off.doubt(f"line {line}: if data stands beside the signal, it is not ordered ({rule})")
    _judge_non_coherent(hand_off, reads, stored)
    _judge_early(read, hand_off, polls, reads)
    for op in read.unread(polls[0]):
        hand_off.doubt(f"line {op.line}: {op.mnemonic} is not read")
    return hand_off


def _judge_early(read: Read, hand_off: HandOff, polls: list[Event], reads: list[Event]) -> None:
    for each, doubtful in early_reads(read, polls, reads):
        line = each.op.line
        if doubtful:
            hand_off.doubt(
                f"line {line}: read before the poll, and may be of the same buffer as what is read "
                "behind it: if it is of the tile, it is not ordered"
            )
        else:
            hand_off.provided.append(f"line {line}, read before the poll, is of another buffer")


def _bare(read: Read, polls: list[Event]) -> HandOff:
    return HandOff(read.function.name, Side.POLL, polls[0].op)


def _judge_reads(read: Read, hand_off: HandOff, polls: list[Event], reads: list[Event]) -> HandOff:
    """The reads on every way to them."""
    first = read.first_of_each(reads)
    followed = read.following(first, *polls)
    for data in first:
        if followed.given_up:
            hand_off.doubt(f"line {data.op.line}: not followed: {followed.given_up}")
        for state in followed.ways.states(data):
            _judge(followed, hand_off, polls, data, state)
    return hand_off


def _nothing_behind(read: Read, polls: list[Event]) -> HandOff | None:
    """Where nothing is read behind a poll: what is not followed may, or it was read before."""
    hand_off = _bare(read, polls)
    for each in read.events.of(Part.UNREAD):
        if any(read.graph.before(poll.op, each.op) for poll in polls):
            hand_off.data.append(each.op)
            hand_off.doubt(f"line {each.op.line}: {each.op.mnemonic} is not read")
    for each, why in doubts_with_nothing_behind(read, polls):
        hand_off.data.append(each.op)
        hand_off.doubt(f"line {each.op.line}: nothing is read behind the poll; {why}")
    return hand_off if hand_off.unknown else None


def judge_calls(reads: list[Read]) -> Iterator[HandOff]:
    """Calls of functions that poll, with reads behind: what the poll orders is not followed."""
    polling = {read.function.name for read in reads if read.events.of(Part.POLL)}
    for read in reads:
        for call in read.events.of(Part.UNREAD):
            if call.op.mnemonic.startswith("call") and not polling.isdisjoint(call.op.operands):
                behind = [
                    each.op
                    for each in read.events.of(Part.READ, Part.BULK_READ)
                    if read.graph.before(call.op, each.op)
                ]
                if behind:
                    hand_off = HandOff(read.function.name, Side.POLL, call.op, behind)
                    hand_off.doubt(f"line {call.op.line}: it polls, and is not followed")
                    yield hand_off


def _strength(event: Event) -> bool:
    order = event.instruction.order if event.instruction else None
    return order is not None and order.value in {"acquire", "acq_rel"}


def _judge_non_coherent(
    hand_off: HandOff, reads: list[Event], stored: Iterable[str] | None
) -> None:
    """Constant data is read that way too: only where nothing else can be the data is it a fault."""
    bad = [each for each in reads if each.instruction and each.instruction.kind is Kind.LOAD_NC]
    if not bad:
        return
    known = stored is not None and any(each.buffer in set(stored) for each in bad)
    if known or len(bad) == len(reads):
        hand_off.add("non-coherent-read", bad[0].op, hand_off.op)
    else:
        hand_off.doubt(
            f"line {bad[0].op.line}: {bad[0].op.mnemonic} is outside the memory model; "
            "whether it reads handed-over data is not known"
        )


def _judge(read: Read, hand_off: HandOff, polls: list[Event], data: Event, state: State) -> None:
    near = [poll for poll in polls if read.joins.before(poll.op, data.op)]
    relevant = near or polls
    lines = {poll.op.place: poll.op.line for poll in relevant}
    gave_up = [place for what, place in state.own if what == "t" and place in lines]
    if gave_up:
        hand_off.doubt(
            f"line {lines[gave_up[0]]}: the poll may give up, and the data is read all the same"
        )
    if _may_give_up(read, relevant):
        note = "what follows a poll that gave up does not use the data"
        if note not in hand_off.provided:
            hand_off.provided.append(note)
    own = [word for (what, line), word in state.own.items() if what == "p" and line in lines]
    if own:
        if any(word in ACQUIRED for word in own) and not all(word in ACQUIRED for word in own):
            hand_off.doubt("another word of the signal's buffer is polled, and not acquired")
            own = [word for word in own if word in ACQUIRED]
        for word in own:
            _judge_word(read, hand_off, data, relevant, word)
        return
    seen = [
        word
        for (what, line, turn), word in state.seen.items()
        if what == "p" and line in lines and (turn or not near)
    ]
    for word in seen:
        _judge_word(read, hand_off, data, relevant, word)
    if not seen:
        _not_told(read, hand_off, relevant, data, state)


def _may_give_up(read: Read, polls: list[Event]) -> bool:
    """Whether a poll's loop ends for another reason than the signal too."""
    for poll in polls:
        loop = read.graph.loop_of(poll.op) or frozenset[int]()
        found = tests(poll, read.events, read.graph)
        for number in loop:
            block = read.graph.blocks[number]
            leaves = any(each not in loop for each in block.successors)
            guard = block.branch.guard if block.branch else None
            if leaves and guard and guard[0] not in found:
                return True
    return False


def _not_told(read: Read, hand_off: HandOff, polls: list[Event], data: Event, state: State) -> None:
    """A thread that reads without having polled or passed a barrier behind a poll."""
    if all(read.apart(poll, state) for poll in polls):
        return
    other = [op for poll in polls if (op := read.unmodelled(poll, data)) is not None]
    pollers = 0
    for poll in polls:
        pollers |= read.ways.mask(poll)
    per_thread = any(
        (key, not positive, leaves) in state.literals
        for poll in polls
        for key, positive, leaves in read.ways.literals(poll)
        if key.startswith("elect")
    )
    if other:
        hand_off.doubt(f"line {other[0].line}: {other[0].mnemonic} may order the reading threads")
    elif (state.mask & ~pollers or per_thread) and not _told_elsewhere(read, polls, data, state):
        hand_off.add("lanes-not-ordered", data.op, polls[0].op)
    else:
        hand_off.doubt(f"line {data.op.line}: a way leads to this read around the poll")


def _told_elsewhere(read: Read, polls: list[Event], data: Event, state: State) -> bool:
    """Whether a barrier tells the same threads of the poll on another way to the read."""
    places = {poll.op.place for poll in polls}
    return any(
        other.mask & state.mask and turn
        for other in read.ways.states(data)
        for what, place, turn in other.seen
        if what == "p" and place in places
    )


def _judge_word(read: Read, hand_off: HandOff, data: Event, polls: list[Event], word: str) -> None:
    if word == "narrow" and any(
        "" in {each.buffer, polls[0].buffer} or each.buffer == polls[0].buffer
        for each in read.events.of(Part.PUBLISH)
    ):
        hand_off.doubt("the scope is narrow, and whether the publish is inside it is not known")
    elif word == "around":
        hand_off.doubt(f"line {data.op.line}: a way leads to this read around the poll")
    elif word in _WORDS:
        hand_off.add(_WORDS[word], polls[0].op, data.op)
    elif data.part is Part.BULK_READ and word != "proxied":
        hand_off.add("load-without-proxy-fence", data.op, polls[0].op)


def endless_loops(read: Read) -> Iterator[HandOff]:
    """Loops that no turn can end, behind a load: the load was taken out of them."""
    for loop in read.graph.loops:
        ops = [op for number in loop for op in read.graph.blocks[number].ops]
        inside = [read.graph.blocks[number] for number in sorted(loop)]
        leaves = [b.branch for b in inside if any(each not in loop for each in b.successors)]
        ends = any(not read.graph.blocks[number].successors for number in loop)
        memory = any(read.graph.home[id(each.op)][0] in loop for each in read.events.all)
        changed = {name for op in ops for name in defined(op)}
        stuck = all(
            each is not None and each.guard and each.guard[0] not in changed for each in leaves
        )
        if ends or memory or not stuck:
            continue
        head = min(loop)
        blocks = read.graph.blocks
        place = next(
            (o for n in sorted(loop) for o in [*blocks[n].ops, blocks[n].branch] if o), None
        )
        loads = [
            each
            for each in read.events.of(Part.READ)
            if read.graph.ahead[read.graph.home[id(each.op)][0]] >> head & 1
        ]
        if place is not None and loads:
            hand_off = HandOff(read.function.name, Side.SPIN, place, [loads[-1].op])
            hand_off.add("hoisted-spin", place, loads[-1].op)
            yield hand_off
