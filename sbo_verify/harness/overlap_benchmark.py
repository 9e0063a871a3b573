"""Whether overlap pays: times of schedules of one batch in turn, SBO and TBO, by sizes and SMs.

Every schedule is checked before it is launched, its outputs to the last bit before it is timed, and
what it cost is the time between two events around a CUDA graph of it, L2 being cold. A repeat times
every schedule once, so that drift spoils no comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Protocol

from sbo_verify.device.lanes import FLUSH_BYTES, Lanes, Step, Work
from sbo_verify.device.overlap_kernels import CombineSend, DispatchReceive
from sbo_verify.harness.overlap_schedules import (
    Split,
    alone,
    check_schedule,
    down_beside_send,
    down_then_send,
    one_batch,
    two_batches,
)
from sbo_verify.harness.overlap_work import DownAndSend, LayerWork, PairWork
from sbo_verify.protocols.signal_publish.gemm import NO_SIGNAL
from sbo_verify.protocols.signal_publish.sites import FanOut, Read, SignalPublish

SAMPLES = 10
REPEATS = 3
LAYERS = 4
NO_VARIANT = ""
# Few threads poll, and the copies' proxy is fenced: sound by the PTX model.
CONSUMER = SignalPublish(fan_out=FanOut.CTA_BARRIER, read=Read.TMA_AFTER_FENCE)

# Schedules by name. Whatever stands for a link has all SMs in the first, and `link_sms` in others.
WHOLE_DEVICE = "in turn, whole device"
IN_TURN = "in turn"
OVERLAPPED = "overlapped"
RECEIVE_OVERLAPPED = "receive overlapped"
SEND_OVERLAPPED = "send overlapped"
SBO = "SBO"
TBO = "TBO"
GEMM_ALONE = "GEMM alone"
SEND_ALONE = "send alone"
RECEIVE_ALONE = "receive alone"
ALONE = (GEMM_ALONE, SEND_ALONE, RECEIVE_ALONE)
PAIR, LAYER = "pair", "layer"


class OverlapError(RuntimeError):
    """A schedule whose outputs are wrong or that gave up; the message says which and what."""


class Workload(Protocol):
    """What schedules run on: `PairWork` or `LayerWork`."""

    def launcher(self, variant: SignalPublish) -> Callable[[Step, Any], None]:
        """Launches steps, the signalling GEMM with this variant."""

    def before(self, stream: Any) -> None:  # noqa: ANN401 - torch's stream
        """Put on a stream what no schedule does and none is charged for."""

    def spoil(self) -> None:
        """Overwrite all that a schedule makes."""

    def complaints(self, steps: list[Step]) -> list[str]:
        """What a schedule has not made to the last bit."""


@dataclass(frozen=True)
class Contender:
    """A schedule by name; `link_sms` is 0 where it has no link, `variant` a name or empty."""

    schedule: str
    steps: list[Step]
    link_sms: int
    variant: str = NO_VARIANT
    hand_over: SignalPublish = NO_SIGNAL


@dataclass(frozen=True, kw_only=True)
class OverlapTime:
    """One cell: microseconds, the median over repeats, each the median over samples; of one layer.

    `saves` is the share of the time in turn with the same link that a schedule saves, `saves_whole`
    of that with the whole device for each step. `of_ideal` is, for a pair, the longer of its two
    steps' times alone over the time of both. `bytes_per_second` is a link's rate, alone. `tile` is
    that of a down GEMM with signals, `slots` how many signals Combine Send follows.
    """

    kind: str
    experts: int
    rows: int
    schedule: str
    link_sms: int
    variant: str
    microseconds: float
    repeats: list[float]
    saves: float | None = None
    saves_whole: float | None = None
    of_ideal: float | None = None
    bytes_per_second: float | None = None
    tile: str = ""
    slots: int = 0


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What is measured: expert counts, rows of each, SMs of the link, variants by name."""

    experts: Sequence[int]
    rows: Sequence[int]
    link_sms: Sequence[int]
    variants: dict[str, SignalPublish]
    seed: int
    kinds: Sequence[str] = (PAIR, LAYER)


def method() -> dict[str, Any]:
    """How the figures are made, for their record."""
    return {
        "samples": SAMPLES,
        "repeats": REPEATS,
        "layers_in_a_graph": LAYERS,
        "bytes_overwritten_before_each": FLUSH_BYTES,
        "combine_send": f"fan_out={CONSUMER.fan_out.word}, read={CONSUMER.read.word}; no checks",
    }


def benchmark_overlap(scope: Scope, sms: int) -> Iterator[OverlapTime]:
    """All cells. Raises `OverlapError` for a schedule whose outputs are wrong."""
    lanes, sender, receiver = Lanes(), CombineSend(CONSUMER), DispatchReceive()
    for kind in scope.kinds:
        for experts in scope.experts:
            for rows in scope.rows:
                if kind == PAIR:
                    pair = PairWork(experts, rows, scope.seed, sender, sms)
                    contenders = _runnable(pair_contenders(scope, sms), sms)
                    sizes, down = {SEND_ALONE: pair.whole.sent_bytes}, pair.whole
                    times = measured(pair, contenders, lanes, sender.fault)
                else:
                    layer = LayerWork(experts, rows, scope.seed, (sender, receiver), sms)
                    contenders = _runnable(layer_contenders(scope, sms), sms)
                    sizes, down = {RECEIVE_ALONE: layer.whole.received.size}, layer.whole.down
                    times = measured(layer, contenders, lanes, sender.fault)
                cells = cells_of(kind, (experts, rows), contenders, times, sizes)
                for cell, each in zip(cells, contenders, strict=True):
                    yield _with_slots(cell, each, down)


def _runnable(contenders: list[Contender], sms: int) -> list[Contender]:
    """The same; raises `ScheduleError` where one could hang or crowd the GPU."""
    for contender in contenders:
        check_schedule(contender.steps, sms)
    return contenders


def pair_contenders(scope: Scope, sms: int) -> list[Contender]:
    """The down GEMM and Combine Send: alone, in turn and overlapped."""
    found = [
        Contender(GEMM_ALONE, alone(Work.DOWN, sms), 0),
        Contender(SEND_ALONE, alone(Work.SEND, sms), sms),
        Contender(WHOLE_DEVICE, down_then_send(sms, sms), sms),
    ]
    for link in scope.link_sms:
        found += [
            Contender(GEMM_ALONE, alone(Work.DOWN, sms - link), link),
            Contender(SEND_ALONE, alone(Work.SEND, link), link),
            Contender(IN_TURN, down_then_send(sms, link), link),
        ]
        beside = down_beside_send(Split(sms, link))
        found += [
            Contender(OVERLAPPED, beside, link, name, variant)
            for name, variant in scope.variants.items()
        ]
    return found


def layer_contenders(scope: Scope, sms: int) -> list[Contender]:
    """Layers: one batch in turn, with each of SBO's overlaps and with both, and two batches."""

    def batch(link: int, *, receive: bool, send: bool) -> list[Step]:
        split = Split(sms, link)
        return one_batch(LAYERS, split, receive_overlaps=receive, send_overlaps=send)

    found = [Contender(WHOLE_DEVICE, batch(sms, receive=False, send=False), sms)]
    for link in scope.link_sms:
        found += [
            Contender(RECEIVE_ALONE, alone(Work.RECEIVE, link), link),
            Contender(IN_TURN, batch(link, receive=False, send=False), link),
            Contender(RECEIVE_OVERLAPPED, batch(link, receive=True, send=False), link),
            Contender(TBO, two_batches(LAYERS, Split(sms, link)), link),
        ]
        for name, variant in scope.variants.items():
            only_send = batch(link, receive=False, send=True)
            both = batch(link, receive=True, send=True)
            found += [
                Contender(SEND_OVERLAPPED, only_send, link, name, variant),
                Contender(SBO, both, link, name, variant),
            ]
    return found


def measured(
    work: Workload, contenders: Sequence[Contender], lanes: Lanes, fault: Callable[[], str]
) -> list[list[float]]:
    """For each contender the medians of its repeats; outputs are checked before times count."""
    graphs = [checked_graph(work, each, lanes, fault) for each in contenders]
    times: list[list[float]] = [[] for _ in contenders]
    for _ in range(REPEATS):
        for graph, found in zip(graphs, times, strict=True):
            found.append(median(lanes.microseconds(graph, SAMPLES, work.before)))
    if complaint := fault():
        raise OverlapError(complaint)
    return times


def checked_graph(
    work: Workload, contender: Contender, lanes: Lanes, fault: Callable[[], str]
) -> Any:  # noqa: ANN401 - torch's graph
    """The contender's graph, after its outputs were found right in turn and as a graph."""
    launch = work.launcher(contender.hand_over)
    one_after_another = [
        replace(step, lane=contender.steps[0].lane, after=()) for step in contender.steps
    ]
    main = lanes.streams[0]
    work.spoil()
    lanes.settle()
    # Loads the kernels: one that is loaded beside a spinning one may wait for its end.
    work.before(main)
    lanes.run(one_after_another, launch)
    _require(work, contender, "one step after another", lanes, fault)
    graph = lanes.capture(contender.steps, launch)
    work.spoil()
    lanes.settle()
    work.before(main)
    lanes.replay(graph)
    _require(work, contender, "as scheduled", lanes, fault)
    return graph


def _require(
    work: Workload, contender: Contender, how: str, lanes: Lanes, fault: Callable[[], str]
) -> None:
    lanes.settle()
    wrong = [complaint] if (complaint := fault()) else work.complaints(contender.steps)
    if wrong:
        name = f"{contender.schedule}, {contender.link_sms} SMs of a link, {contender.variant}"
        message = f"{name}, {how}: wrong: {', '.join(wrong)}"
        raise OverlapError(message)


def cells_of(
    kind: str,
    sizes: tuple[int, int],
    contenders: Sequence[Contender],
    times: Sequence[Sequence[float]],
    moved: dict[str, int],
) -> Iterator[OverlapTime]:
    """The cells of one problem. `moved` are the bytes of schedules that are a link alone."""
    of = {
        (each.schedule, each.link_sms): _microseconds(kind, each, found)
        for each, found in zip(contenders, times, strict=True)
        if each.variant == NO_VARIANT
    }
    whole = next((time for (name, _), time in of.items() if name == WHOLE_DEVICE), None)
    for each, found in zip(contenders, times, strict=True):
        time = median(_microseconds(kind, each, [one]) for one in found)
        compared = each.schedule not in ALONE and each.schedule != WHOLE_DEVICE
        in_turn = of.get((IN_TURN, each.link_sms)) if compared else None
        steps = [of.get((name, each.link_sms)) for name in (GEMM_ALONE, SEND_ALONE)]
        ideal = max((step for step in steps if step), default=None)
        experts, rows = sizes
        size = moved.get(each.schedule)
        yield OverlapTime(
            kind=kind,
            experts=experts,
            rows=rows,
            schedule=each.schedule,
            link_sms=each.link_sms,
            variant=each.variant,
            microseconds=time,
            repeats=[_microseconds(kind, each, [one]) for one in found],
            saves=1 - time / in_turn if in_turn and each.schedule != IN_TURN else None,
            saves_whole=1 - time / whole if whole and compared else None,
            of_ideal=ideal / time if ideal and each.schedule == OVERLAPPED else None,
            bytes_per_second=size / time * 1e6 if size else None,
        )


def _with_slots(cell: OverlapTime, contender: Contender, down: DownAndSend) -> OverlapTime:
    """The cell with the tile and the slots of its hand-over, where it has one."""
    if contender.hand_over == NO_SIGNAL:
        return cell
    shape = down.gemm.plan(down.sm_count - contender.link_sms, contender.hand_over).shape
    slots = cell.experts * -(-cell.rows // shape.block_m)
    return replace(cell, tile=shape.name(), slots=slots)


def _microseconds(kind: str, contender: Contender, found: Sequence[float]) -> float:
    """Of one layer where a graph holds several."""
    several = kind == LAYER and contender.schedule not in ALONE
    return median(found) / (LAYERS if several else 1)
