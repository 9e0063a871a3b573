"""From what a reader on the host saw of a launch to the record that is kept of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sbo_verify.device.host_launch import RawHostLaunch
from sbo_verify.device.host_reader import HostFault, HostWitness
from sbo_verify.harness.host_knobs import HostKnobs
from sbo_verify.harness.results import WORDS, fault_of
from sbo_verify.record import Fault, Launch, Witness

# No SM: the reader is a thread of the host.
NO_SM = -1
READER = "reader on the host"


def host_record(
    raw: RawHostLaunch, *, knobs: HostKnobs, clock_khz: int, name: dict[str, Any]
) -> Launch:
    """The record of one launch. `name` holds the fields that say which launch it was.

    The GPU's own fault comes first: a reader whose producers gave up waits in vain. Times since the
    signal are the host's, told in cycles of the SM's `clock_khz`, as every witness has them.
    """
    seen = raw.seen
    fault = fault_of(raw.gpu)
    if fault is None and seen.fault is not None:
        fault = _fault(seen.fault)
    producers = raw.gpu.pair_sms[:, 0]
    return Launch(
        knobs=knobs.to_json(),
        planned=knobs.pairs * knobs.rounds,
        observations=seen.observations,
        stale_tiles=seen.stale_tiles,
        stale_words=seen.stale_words,
        ahead_words=seen.ahead_words,
        overshoots=seen.overshoots,
        elapsed_seconds=raw.gpu.elapsed_seconds,
        histogram=[int(n) for n in seen.histogram] if seen.stale_words else [],
        witnesses=[_witness(each, int(producers[each.pair]), clock_khz) for each in seen.witnesses],
        fault=fault,
        planted=int(raw.gpu.counters["planted"][0]),
        **name,
    )


def _fault(fault: HostFault) -> dict[str, Any]:
    return asdict(
        Fault(
            what=WORDS[fault.what],
            waiter=READER,
            pair=fault.pair,
            round=fault.round,
            wanted=fault.wanted,
            seen=fault.seen,
            sm=NO_SM,
            waited_ns=int(fault.waited_seconds * 1e9),
        )
    )


def _witness(witness: HostWitness, producer_sm: int, clock_khz: int) -> dict[str, int]:
    return asdict(
        Witness(
            round=witness.round,
            pair=witness.pair,
            tile=witness.tile,
            offset_bytes=witness.offset_bytes,
            expected=witness.expected,
            seen=witness.seen,
            signal=witness.signal,
            producer_sm=producer_sm,
            consumer_sm=NO_SM,
            cycles_since_signal=int(witness.seconds_since_signal * clock_khz * 1e3),
        )
    )
