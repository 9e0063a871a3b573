"""From what the rounds of a live consumer left on the GPU to the record that is kept of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from sbo_verify.device.live_shot import RawLive
from sbo_verify.harness.live_knobs import LiveKnobs
from sbo_verify.harness.results import empty_fault, fault_of
from sbo_verify.record import LiveLaunch, SlotWitness

CHANGED = "announcement changed"
AUDIT = ("slots_short", "slots_over", "slots_stray", "signal_lowest", "signal_highest")
ELEMENT_BYTES = 2


def live_record(  # noqa: PLR0913 - what a launch was, was to be and said of itself
    raw: RawLive,
    *,
    knobs: LiveKnobs,
    planned: int,
    announced: tuple[int, int],
    returned: object,
    name: dict[str, Any],
) -> LiveLaunch:
    """The record of one launch. `name` holds the fields that say which launch it was.

    `returned` is what the producer returned at first; a call that returned something else is a
    fault, where the kernels found none.
    """
    counters = raw.counters[0]
    fault = fault_of(raw)
    if fault is None and raw.announced - {returned}:
        fault = asdict(empty_fault(CHANGED))
    stale_words = int(counters["stale_words"])
    return LiveLaunch(
        knobs=knobs.to_json(),
        planned=planned,
        observations=int(counters["observations"]),
        stale_tiles=int(counters["stale_tiles"]),
        stale_words=stale_words,
        ahead_words=int(counters["ahead_words"]),
        wrong_words=int(counters["wrong_words"]),
        overshoots=int(counters["slots_over"]),
        elapsed_seconds=raw.elapsed_seconds,
        histogram=[int(n) for n in counters["histogram"]] if stale_words else [],
        witnesses=[_witness(entry, announced[0], knobs) for entry in raw.witnesses],
        fault=fault,
        block_m=announced[0],
        threshold=announced[1],
        waited=int(counters["waited"]),
        rows=int(counters["rows"]),
        audit={word: int(counters[word]) for word in AUDIT},
        **name,
    )


def _witness(entry: np.void, block_m: int, knobs: LiveKnobs) -> dict[str, int]:
    row, column = int(entry["row"]), int(entry["column"])
    return asdict(
        SlotWitness(
            round=int(entry["round"]),
            pair=int(entry["group"]),
            tile=int(entry["slot"]),
            offset_bytes=(row * knobs.n + column) * ELEMENT_BYTES,
            expected=int(entry["expected"]),
            seen=int(entry["seen"]),
            signal=int(entry["signal"]),
            producer_sm=-1,
            consumer_sm=int(entry["sm"]),
            cycles_since_signal=int(entry["cycles_since_signal"]),
            row=int(entry["slot"]) % -(-knobs.m // block_m) * block_m + row,
            column=column,
        )
    )
