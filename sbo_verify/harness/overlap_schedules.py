"""Who runs when and on how many SMs: one batch in turn, Single Batch Overlap, Two-Batch Overlap.

A schedule is plain data, checked before anything is launched: steps that may run at the same time
must find an SM for each of their CTAs, so that none that spins keeps out the one it waits for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sbo_verify.device.lanes import Lane, Step, Work

HALVES = (1, 2)
COMPUTE, LINK = Lane.COMPUTE, Lane.LINK


class ScheduleError(ValueError):
    """A schedule that could hang or crowd the GPU; the message says which steps."""


@dataclass(frozen=True)
class Split:
    """How the SMs are divided: `link` of all `sms` for what stands for a link."""

    sms: int
    link: int

    @property
    def compute(self) -> int:
        """The rest."""
        return self.sms - self.link


@dataclass
class _Steps:
    """A schedule in the making; `add` returns the place of the step it adds."""

    steps: list[Step] = field(default_factory=list)

    def add(
        self,
        work: Work,
        lane: Lane,
        sms: int,
        *,
        part: int = 0,
        after: Sequence[int | None] = (),
    ) -> int:
        places = tuple(place for place in after if place is not None)
        self.steps.append(Step(work, lane, sms, part, places))
        return len(self.steps) - 1


def alone(work: Work, sms: int) -> list[Step]:
    """One step, on its own."""
    return [Step(work, COMPUTE, sms)]


def down_then_send(gemm_sms: int, send_sms: int) -> list[Step]:
    """The down GEMM, and Combine Send when it has ended."""
    return [Step(Work.DOWN, COMPUTE, gemm_sms), Step(Work.SEND, COMPUTE, send_sms)]


def down_beside_send(split: Split) -> list[Step]:
    """The down GEMM with signals, and Combine Send that follows them; signals are zero before."""
    return [
        Step(Work.DOWN_BY_SIGNALS, COMPUTE, split.compute),
        Step(Work.SEND_BY_SIGNALS, LINK, split.link),
    ]


def one_batch(
    layers: int, split: Split, *, receive_overlaps: bool, send_overlaps: bool
) -> list[Step]:
    """Layers of one batch; each overlap of SBO may be left out, and what remains is in turn.

    The shared expert runs beside Dispatch Receive, the down GEMM beside Combine Send.
    """
    made = _Steps()
    last: int | None = None
    for _ in range(layers):
        if receive_overlaps:
            received = made.add(Work.RECEIVE, LINK, split.link, after=(last,))
            made.add(Work.SHARED, COMPUTE, split.compute, after=(last,))
        else:
            received = made.add(Work.RECEIVE, COMPUTE, split.link, after=(last,))
            made.add(Work.SHARED, COMPUTE, split.sms)
        if not send_overlaps:
            made.add(Work.UP, COMPUTE, split.sms, after=(received,))
            made.add(Work.DOWN, COMPUTE, split.sms)
            last = made.add(Work.SEND, COMPUTE, split.link)
            continue
        cleared = made.add(Work.CLEAR, LINK, 0, after=(last,))
        up = made.add(Work.UP, COMPUTE, split.sms, after=(received,))
        made.add(Work.DOWN_BY_SIGNALS, COMPUTE, split.compute, after=(cleared,))
        last = made.add(Work.SEND_BY_SIGNALS, LINK, split.link, after=(up,))
    return made.steps


def two_batches(layers: int, split: Split) -> list[Step]:
    """Layers of two half batches: one's Combine Send and next Receive beside the other's GEMMs."""
    made = _Steps()
    received = {half: made.add(Work.RECEIVE, LINK, split.link, part=half) for half in HALVES}
    sent: dict[int, int | None] = dict.fromkeys(HALVES)
    for layer in range(layers):
        for half in HALVES:
            made.add(Work.SHARED, COMPUTE, split.compute, part=half, after=(sent[half],))
            made.add(Work.UP, COMPUTE, split.compute, part=half, after=(received[half],))
            down = made.add(Work.DOWN, COMPUTE, split.compute, part=half)
            sent[half] = made.add(Work.SEND, LINK, split.link, part=half, after=(down,))
            if layer + 1 < layers:
                received[half] = made.add(Work.RECEIVE, LINK, split.link, part=half)
    return made.steps


def check_schedule(steps: Sequence[Step], sms: int) -> None:
    """Refuse a schedule that could hang or crowd a GPU of `sms` SMs; raises `ScheduleError`."""
    if complaints := complaints_of(steps, sms):
        message = "; ".join(complaints)
        raise ScheduleError(message)


def complaints_of(steps: Sequence[Step], sms: int) -> list[str]:
    """What is wrong with a schedule; empty where it can run.

    With two lanes no more than two steps run at once, so pairs are all there is to look at.
    """
    found = []
    before = _before(steps)
    for place, step in enumerate(steps):
        if step.sms > sms:
            found.append(f"{_named(steps, place)} takes {step.sms} SMs of {sms}")
        for other in range(place):
            at_once = other not in before[place]
            taken = step.sms + steps[other].sms
            if at_once and taken > sms:
                both = f"{_named(steps, other)} and {_named(steps, place)}"
                found.append(f"{both} may run at once and take {taken} SMs of {sms}")
    return [*found, *_hand_overs(steps, before)]


def _before(steps: Sequence[Step]) -> list[set[int]]:
    """For each step, the places of all that have ended when it begins."""
    before: list[set[int]] = []
    newest: dict[Lane, int] = {}
    for place, step in enumerate(steps):
        direct = [*step.after, *([newest[step.lane]] if step.lane in newest else [])]
        known: set[int] = set(direct)
        for each in direct:
            known |= before[each]
        before.append(known)
        newest[step.lane] = place
    return before


def _hand_overs(steps: Sequence[Step], before: Sequence[set[int]]) -> list[str]:
    """A Combine Send that waits for signals needs its GEMM, begun by then and from zero."""
    found = []
    gemms = [place for place, step in enumerate(steps) if step.work is Work.DOWN_BY_SIGNALS]
    sends = [place for place, step in enumerate(steps) if step.work is Work.SEND_BY_SIGNALS]
    if len(gemms) != len(sends):
        found.append(f"{len(gemms)} GEMMs signal and {len(sends)} Combine Sends wait for signals")
    for turn, (gemm, send) in enumerate(zip(gemms, sends, strict=False)):
        if send in before[gemm]:
            found.append(f"{_named(steps, send)} waits for {_named(steps, gemm)}, which follows it")
        fresh = {place for place in before[gemm] if steps[place].work is Work.CLEAR}
        used = {place for place in before[gemm] if place in gemms}
        if turn > 0 and not any(place > max(used, default=-1) for place in fresh):
            found.append(f"the signals are not zero again when {_named(steps, gemm)} begins")
    return found


def _named(steps: Sequence[Step], place: int) -> str:
    step = steps[place]
    part = f" of half {step.part}" if step.part else ""
    return f"step {place} ({step.work.value}{part})"
