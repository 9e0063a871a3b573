"""From the tile's stores to the signal that publishes them, on every path."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sbo_verify.compiled.inspection.events import Event, Part
from sbo_verify.compiled.inspection.facts import WIDE
from sbo_verify.compiled.inspection.function import Read
from sbo_verify.compiled.inspection.handoffs import HandOff, Side
from sbo_verify.compiled.inspection.joins import JOINING, WARPS
from sbo_verify.compiled.inspection.late import late_stores
from sbo_verify.compiled.inspection.leaving import may_leave
from sbo_verify.compiled.inspection.strong_data import possible_data
from sbo_verify.compiled.inspection.text import Op
from sbo_verify.compiled.inspection.ways import State
from sbo_verify.vocabulary import Order

_RELEASING = {Order.RELEASE, Order.ACQ_REL, Order.SC}
# What it costs to judge one store and one signal, in steps of a walk.
STEPS_OF_A_PAIR = 10
MOST_PAIRS = 300_000


def publishes(read: Read) -> Iterator[tuple[Event, list[Event]]]:
    """Each instruction that may publish, with the tile stores that can come before it."""
    stores = read.stores
    if crowded(read):
        yield from ((event, stores[:1]) for event in read.events.of(Part.PUBLISH))
        return
    for event in read.events.of(Part.PUBLISH):
        before = [
            each
            for each in stores
            if read.joins.leads(each.op, event.op)
            and not _same_place(each, event)
            and not read.of_other_ctas(each, event)
        ]
        beside = [
            each
            for each in stores
            if not read.graph.leads(each.op, event.op)
            and not read.graph.leads(event.op, each.op)
            and not read.of_other_ctas(each, event)
        ]
        before += possible_data(read, event, alone=not before)
        # A release with stores of other threads beside it that nothing brings to it, or with only
        # stores behind it, or behind what may store.
        if before or (
            releases(event) and (beside or _early(read, event) or _behind_unread(read, event))
        ):
            yield event, before


def _early(read: Read, event: Event) -> bool:
    """Whether stores of tiles stand behind a release only, in a function that waits for nothing."""
    return not read.events.of(Part.POLL) and any(
        read.graph.before(event.op, each.op) for each in read.stores
    )


def _behind_unread(read: Read, event: Event) -> bool:
    return any(read.graph.leads(each.op, event.op) for each in read.events.of(Part.UNREAD))


def crowded(read: Read) -> bool:
    """Whether a function has more stores and signals than can be judged each with each."""
    return len(read.stores) * len(read.events.of(Part.PUBLISH)) > MOST_PAIRS


def judge_unread(read: Read) -> Iterator[HandOff]:
    """Instructions with no word behind tile stores: whether they publish is not known."""
    unread = read.events.of(Part.UNREAD)
    stores = read.stores
    for event in unread:
        before = [each.op for each in stores if read.graph.leads(each.op, event.op)]
        if before:
            hand_off = HandOff(read.function.name, Side.PUBLISH, event.op, before)
            hand_off.doubt(f"line {event.op.line}: {event.op.mnemonic} is not read")
            yield hand_off


def _same_place(store: Event, signal: Event) -> bool:
    return bool(store.buffer) and (store.buffer, store.address) == (signal.buffer, signal.address)


def direct(read: Read, store: Event, signal: Event) -> bool:
    """Whether the signal follows the store in one turn of every loop."""
    return read.joins.before(store.op, signal.op)


def releases(event: Event) -> bool:
    """Whether the publishing instruction is a release itself."""
    return event.instruction is not None and event.instruction.order in _RELEASING


def fenced(read: Read, event: Event, stores: list[Event]) -> bool:
    """Whether a fence stands between the stores of the turn and the publish."""
    near = [each for each in stores if direct(read, each, event)]
    return bool(near) and any(
        read.graph.before(fence.op, event.op)
        and all(read.joins.before(store.op, fence.op) for store in near)
        for fence in read.events.of(Part.FENCE)
    )


def judge_publish(
    read: Read, event: Event, stores: list[Event], others: Callable[[], list[Event]]
) -> HandOff:
    """What is known of one publish and all the stores before it.

    `others` finds all publishes of the function that may be of the same signal, itself included.
    """
    hand_off = HandOff(read.function.name, Side.PUBLISH, event.op, [each.op for each in stores])
    if crowded(read):
        hand_off.doubt("the function has more stores and signals than are judged")
        return hand_off
    hand_off.ordering = _ordering(read, event, stores)
    covered = False
    for store in stores:
        if read.across_cluster(store, event):
            hand_off.doubt(f"line {store.op.line}: stored by another CTA of the cluster")
            continue
        if _of_the_leader(read, store, event):
            hand_off.doubt(
                f"line {store.op.line}: every CTA of the cluster stores, and one publishes: "
                "whether it does for all is not known"
            )
        followed = read.behind(store, Part.PUBLISH)
        if not followed.given_up and not read.worth(STEPS_OF_A_PAIR):
            hand_off.doubt(f"line {store.op.line}: not judged: too many stores and signals")
            break
        if followed.given_up:
            hand_off.doubt(f"line {store.op.line}: not followed: {followed.given_up}")
        found = HandOff(hand_off.function, Side.PUBLISH, event.op)
        for state in followed.ways.states(event):
            covered |= _judge(followed, found, event, store, state)
        if store.part is Part.PUBLISH:
            found.suppose(f"line {store.op.line}: a relaxed write that may be data")
        hand_off.take(found)
    _judge_place(read, hand_off, event, stores, others)
    if not hand_off.broken and not covered:
        hand_off.doubt("no way from a store to the signal was followed")
    return hand_off


def _of_the_leader(read: Read, store: Event, event: Event) -> bool:
    """Whether some CTAs of a cluster alone publish, and no cluster barrier stands before."""
    stored = read.ways.literals(store)
    leads = [one for one in read.ways.literals(event) if "cluster_cta" in one[0]]
    return any(one not in stored for one in leads) and not any(
        read.graph.before(store.op, each.op) and read.graph.before(each.op, event.op)
        for each in read.events.of(Part.CLUSTER_WAIT)
    )


def _judge_place(
    read: Read,
    hand_off: HandOff,
    event: Event,
    stores: list[Event],
    others: Callable[[], list[Event]],
) -> None:
    """What stands around the signal and leaves open which tile it is for."""
    for op in read.unread(event):
        hand_off.doubt(f"line {op.line}: {op.mnemonic} is not read")
    if _same_value_again(read, event):
        hand_off.doubt(
            "the same value is stored in every turn of the loop: whether a poll can take an "
            "earlier turn's for this one's is not known"
        )
    if hand_off.broken:
        return
    for store in late_stores(read, event, stores):
        hand_off.doubt(
            f"line {store.op.line}: stored behind or beside the signal, perhaps to the same tile: "
            "if so, it is not ordered"
        )
    for store in _behind(read, event, stores, others()):
        hand_off.doubt(
            f"line {store.op.line}: stored behind the signal in its turn: "
            "which tile the signal is for is not known"
        )


def _same_value_again(read: Read, event: Event) -> bool:
    """Whether a loop stores a value to the signal that no instruction of the loop computes."""
    loop = read.graph.loop_of(event.op)
    stores = event.op.mnemonic.startswith("st.") or ".exch" in event.op.mnemonic
    if loop is None or not stores:
        return False
    places = [
        read.graph.home[id(op)][0]
        for op in read.values.definitions(event.op.operands[-1])
        if id(op) in read.graph.home
    ]
    fixed = read.values.of(event.op.operands[-1]) is not None
    return fixed or all(place not in loop for place in places)


def _behind(read: Read, event: Event, stores: list[Event], others: list[Event]) -> list[Event]:
    """Stores that the signal may be for although it stands before them in the loop.

    A store that another publish of the signal follows is that one's, unless the signal's own loop
    holds no store before the signal.
    """
    late = [each for each in stores if not direct(read, each, event)]
    loop = read.graph.loop_of(event.op) or frozenset[int]()
    inside = [each for each in stores if read.graph.home[id(each.op)][0] in loop]
    if inside and all(each in late for each in inside):
        return inside
    return [each for each in late if not any(direct(read, each, other) for other in others)]


def _ordering(read: Read, event: Event, stores: list[Event]) -> list[Op]:
    between = read.events.of(Part.WAIT, Part.FENCE, *JOINING)
    return [
        each.op
        for each in between
        if read.joins.before(each.op, event.op)
        and any(read.joins.before(store.op, each.op) for store in stores)
    ]


def _judge(read: Read, hand_off: HandOff, event: Event, store: Event, state: State) -> bool:
    """Judge one store in one state; True where the state says something of it."""
    line, place = store.op.line, store.op.place
    words = [state.own[key] for key in (("s", place), ("o", place)) if key in state.own]
    own = bool(words)
    near = direct(read, store, event)
    joined = [state.seen[k] for k in (("s", place, True), ("o", place, True)) if k in state.seen]
    if not near:
        joined += [state.seen[k] for k in (("s", place, False),) if k in state.seen]
    if not read.alone(store, state):
        if joined:
            words += joined
            if near and may_leave(read, store, event):
                hand_off.doubt(
                    f"line {line}: a thread that stored may leave before it meets others"
                )
        elif (
            own
            and read.ways.mask(store) == read.ways.mask(event)
            and _all_publish(read, event, store)
        ):
            hand_off.doubt(
                f"line {line}: every storing thread publishes for itself; "
                "whether the threshold counts them all is not known"
            )
        elif ("q", place, True) in state.seen and each_warp(read, event, store):
            words.append(state.seen["q", place, True])
            hand_off.doubt(
                f"line {line}: every storing warp publishes for itself; "
                "whether the threshold counts them all is not known"
            )
        elif not read.apart(store, state):
            _not_joined(read, hand_off, event, store, near=near)
            return own
    for word in words:
        _judge_word(read, hand_off, event, store, word)
    return bool(words)


def _all_publish(read: Read, event: Event, store: Event) -> bool:
    """Whether each thread that comes to the publish has stored: one for all could not be told."""
    states = read.ways.states(event)
    if read.ways.coming(event).elected:
        return False
    return all(("s", store.op.place) in state.own for state in states)


def each_warp(read: Read, event: Event, store: Event) -> bool:
    """Whether some thread of each warp that stores may publish."""
    storing, publishing = read.ways.mask(store), read.ways.mask(event)
    return all(publishing & warp for warp in WARPS if storing & warp)


def _not_joined(read: Read, hand_off: HandOff, event: Event, store: Event, *, near: bool) -> None:
    other = read.unmodelled(store, event)
    if other is not None:
        hand_off.doubt(
            f"line {other.line}: {other.mnemonic} may join the storing threads "
            f"of line {store.op.line} with the publisher"
        )
    elif not near:
        hand_off.doubt(f"line {store.op.line}: stored in another turn of the loop")
    else:
        relaxed = [
            each.op
            for each in read.events.of(Part.CLUSTER_ARRIVE)
            if read.graph.before(store.op, each.op) and read.graph.before(each.op, event.op)
        ]
        detail = f"line {relaxed[0].line} arrives relaxed" if relaxed else ""
        hand_off.add("missing-barrier", event.op, store.op, detail)


def _judge_word(read: Read, hand_off: HandOff, event: Event, store: Event, word: str) -> None:
    if word == "issued" or word.startswith("committed"):
        _judge_pending(read, hand_off, event, store)
    elif word == "read":
        hand_off.add("signal-after-read-wait", event.op, store.op)
    else:
        _judge_release(read, hand_off, event, store, word)


def _judge_pending(read: Read, hand_off: HandOff, event: Event, store: Event) -> None:
    waits = [
        each
        for each in read.events.of(Part.WAIT)
        if read.graph.before(store.op, each.op) and read.graph.before(each.op, event.op)
    ]
    if any(each.instruction and each.instruction.groups for each in waits):
        hand_off.doubt(
            f"line {waits[0].op.line} leaves the newest group pending: "
            "which tile the signal is for is not known"
        )
        return
    issuers = read.ways.mask(store)
    others = [each for each in waits if not read.ways.mask(each) & issuers]
    if others and len(others) == len(waits):
        hand_off.add("drain-by-another-thread", event.op, others[0].op)
    else:
        hand_off.add("no-drain", event.op, store.op)


def _judge_release(read: Read, hand_off: HandOff, event: Event, store: Event, word: str) -> None:
    instruction = event.instruction
    order = instruction.order if instruction else None
    scope = instruction.scope if instruction else None
    volatile = order is Order.VOLATILE
    if order in {None, Order.WEAK}:
        hand_off.add("weak-publish", event.op, store.op)
    elif not volatile and scope not in WIDE:
        _narrow(read, hand_off, event, store, "")
    elif releases(event) or word == "released":
        return
    elif word == "narrow":
        _narrow(read, hand_off, event, store, "the fence before it is too narrow")
    else:
        hand_off.add("relaxed-publish", event.op, store.op, _early_fence(read, event, store))


def _early_fence(read: Read, event: Event, store: Event) -> str:
    """Why a fence behind the store does not make a relaxed publish a release.

    What the barrier brings to the publishing thread comes behind its own fence: the model, asked
    with `property_tests/inspected/fence_by_all-*.litmus`, answers as the sentence says.
    """
    early = [
        each
        for each in read.events.of(Part.FENCE)
        if read.joins.before(store.op, each.op) and read.joins.before(each.op, event.op)
    ]
    if not early:
        return ""
    last = early[-1]
    instruction = last.instruction
    strong = instruction is not None and instruction.order is Order.SC
    if strong and not read.ways.mask(store) & ~read.ways.mask(last):
        return (
            f"the fence at PTX line {last.op.line} stands before the barrier: it covers each "
            "thread's own stores, and the others' reach the publisher behind its fence; a stale "
            "read is allowed to a consumer with ld.acquire or fence.acq_rel, and forbidden only "
            "to one that has fence.sc.gpu (__threadfence) behind its poll"
        )
    return (
        f"the fence at PTX line {last.op.line} does not cover it: it stands before the barrier, "
        "or another thread executes it"
    )


def _narrow(read: Read, hand_off: HandOff, event: Event, store: Event, detail: str) -> None:
    """A consumer in the same kernel may be in the same CTA, which PTX does not say."""
    if any(_same_signal(each, event) for each in read.events.of(Part.POLL)):
        hand_off.doubt("the scope is narrow, and whether the poll is inside it is not known")
    else:
        hand_off.add("narrow-publish", event.op, store.op, detail)


def _same_signal(poll: Event, signal: Event) -> bool:
    return not poll.buffer or not signal.buffer or poll.buffer == signal.buffer
