"""Cells of the benchmark of overlap, made from made-up times."""

from __future__ import annotations

from sbo_verify.device.lanes import Step
from sbo_verify.gemm.masked import PUBLISHED
from sbo_verify.harness.overlap_benchmark import (
    GEMM_ALONE,
    IN_TURN,
    LAYER,
    LAYERS,
    OVERLAPPED,
    PAIR,
    RECEIVE_ALONE,
    SBO,
    SEND_ALONE,
    TBO,
    WHOLE_DEVICE,
    Contender,
    OverlapTime,
    cells_of,
)
from sbo_verify.harness.overlap_schedules import Split, down_beside_send

SMS = 132
STEPS: list[Step] = down_beside_send(Split(SMS, 3))


def contender(schedule: str, link: int, variant: str = "") -> Contender:
    """A schedule by name, whatever its steps."""
    return Contender(schedule, STEPS, link, variant)


def pair_cells() -> dict[tuple[str, int], OverlapTime]:
    """A pair on one problem, by schedule and SMs of the link."""
    contenders = [
        contender(WHOLE_DEVICE, SMS),
        contender(GEMM_ALONE, 3),
        contender(SEND_ALONE, 3),
        contender(IN_TURN, 3),
        contender(OVERLAPPED, 3, PUBLISHED),
    ]
    times = [[90.0], [60.0], [50.0], [110.0], [80.0, 75.0, 88.0]]
    cells = cells_of(PAIR, (8, 16), contenders, times, {SEND_ALONE: 1_000_000})
    return {(cell.schedule, cell.link_sms): cell for cell in cells}


def layer_cells(sizes: tuple[int, int], sbo: float, tbo: float) -> list[OverlapTime]:
    """A layer of one problem; in turn it takes 100 us."""
    contenders = [
        contender(WHOLE_DEVICE, SMS),
        contender(RECEIVE_ALONE, 3),
        contender(IN_TURN, 3),
        contender(SBO, 3, PUBLISHED),
        contender(TBO, 3),
    ]
    times = [[LAYERS * each] for each in (90.0, 10.0 / LAYERS, 100.0, sbo, tbo)]
    return list(cells_of(LAYER, sizes, contenders, times, {RECEIVE_ALONE: 4_000}))
