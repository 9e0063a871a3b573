"""From what a launch left on the GPU to the record that is kept of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Protocol

import numpy as np

from sbo_verify.device.layout import FaultKind, Role
from sbo_verify.device.micro_kernel import RawLaunch
from sbo_verify.harness.knobs import Knobs
from sbo_verify.record import Fault, Launch, Witness

HUNG = "launch hung"
MISPLACED = "not placed as planned"

WORDS: dict[FaultKind, str] = {
    FaultKind.NONE: "",
    FaultKind.THRESHOLD_NEVER_REACHED: "threshold never reached",
    FaultKind.SIGNAL_OVERSHOT: "signal overshot",
    FaultKind.ACKNOWLEDGEMENT_NEVER_CAME: "acknowledgement never came",
    FaultKind.NOT_CO_RESIDENT: "not co-resident",
    FaultKind.NOT_PLACED: MISPLACED,
    FaultKind.COPY_NEVER_COMPLETED: "bulk load never completed",
    FaultKind.SIGNAL_STRAYED: "signal strayed",
}


def launch_record(
    raw: RawLaunch, *, knobs: Knobs, planned: int, misplaced: bool, name: dict[str, Any]
) -> Launch:
    """The record of one launch. `name` holds the fields that say which launch it was.

    `misplaced` says that pairs ran elsewhere than planned; the kernel's own fault comes first,
    since a launch that gave up early may not have placed everybody.
    """
    counters = raw.counters[0]
    fault = fault_of(raw)
    if fault is None and misplaced:
        fault = asdict(empty_fault(MISPLACED))
    return Launch(
        knobs=knobs.to_json(),
        planned=planned,
        observations=int(counters["observations"]),
        hand_overs=int(counters["hand_overs"]),
        stale_tiles=int(counters["stale_tiles"]),
        stale_words=int(counters["stale_words"]),
        ahead_words=int(counters["ahead_words"]),
        overshoots=int(counters["overshoots"]),
        elapsed_seconds=raw.elapsed_seconds,
        # Most launches see nothing stale; their empty histogram is not kept.
        histogram=[int(n) for n in counters["histogram"]] if counters["stale_words"] else [],
        witnesses=[_witness(entry) for entry in raw.witnesses],
        fault=fault,
        planted=int(counters["planted"]),
        drain_cycles=int(counters["drain_cycles"]),
        **name,
    )


def lost_record(what: str, knobs: dict[str, Any], name: dict[str, Any]) -> Launch:
    """The record of a launch of which nothing came back; `what` is a word of `record.Fault`."""
    return Launch(
        knobs=knobs,
        planned=0,
        observations=0,
        stale_tiles=0,
        stale_words=0,
        ahead_words=0,
        overshoots=0,
        elapsed_seconds=0.0,
        histogram=[],
        fault=asdict(empty_fault(what)),
        **name,
    )


def empty_fault(what: str) -> Fault:
    """A fault that no thread of the GPU recorded."""
    return Fault(what=what, waiter="host", pair=0, round=0, wanted=0, seen=0, sm=0, waited_ns=0)


class Answered(Protocol):
    """What is asked of a launch that came back, to tell its fault."""

    @property
    def counters(self) -> np.ndarray[Any, np.dtype[np.void]]:
        """The launch's counters, with the word `fault_claimed`."""

    @property
    def fault(self) -> np.ndarray[Any, np.dtype[np.void]]:
        """The first fault, where one was claimed."""

    @property
    def hung(self) -> bool:
        """Whether the launch had to be told to stop."""


def fault_of(raw: Answered) -> dict[str, Any] | None:
    """The fault of a launch, as a JSON object, or None."""
    if not raw.counters["fault_claimed"][0]:
        return asdict(empty_fault(HUNG)) if raw.hung else None
    entry = raw.fault[0]
    return asdict(
        Fault(
            what=HUNG if raw.hung else WORDS[FaultKind(int(entry["what"]))],
            waiter=Role(int(entry["waiter"])).name.lower(),
            pair=int(entry["pair"]),
            round=int(entry["round"]),
            wanted=int(entry["wanted"]),
            seen=int(entry["seen"]),
            sm=int(entry["sm"]),
            waited_ns=int(entry["waited_ns"]),
            consumer=int(entry["consumer"]),
        )
    )


def _witness(entry: np.void) -> dict[str, int]:
    return {name: int(entry[name]) for name in Witness.__dataclass_fields__}
