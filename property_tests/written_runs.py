"""Records as a run would write them, for the tests of what reads them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.record import FORMAT_VERSION, CodeReading, Launch, Settings

H200 = {
    "gpu": "NVIDIA H200",
    "gpu_uuid": "GPU-0",
    "compute_capability": "9.0",
    "sm_count": 132,
    "l2_bytes": 62914560,
    "memory_bytes": 150754820096,
    "sm_clock_khz": 1980000,
    "driver": "580.95.05",
    "python": "3.11.7",
    "packages": {},
}
NO_GPU = {**H200, "gpu": "", "gpu_uuid": "", "compute_capability": "", "sm_count": 0, "driver": ""}


def settings(rows: Sequence[str], *, silicon: bool = True, **changes: Any) -> Settings:  # noqa: ANN401 - any field
    """Settings of a run over `rows`, on an H200 or on a machine without a GPU."""
    values: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "protocol": "signal_publish",
        "started": "2026-11-23T22:00:00+00:00",
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "dirty": False,
        "command": "sbo-verify run --seed 7",
        "seed": 7,
        "rows": list(rows),
        "seconds_per_row": 2.0,
        "silicon": silicon,
        "silicon_reason": "" if silicon else "no CUDA driver on this machine",
        "compiler": "NVRTC 13.0.88",
        "machine": H200 if silicon else NO_GPU,
    }
    return Settings(**(values | changes))


def code_reading(row: str, **changes: Any) -> CodeReading:  # noqa: ANN401 - any field
    """A reading of `row` whose code is as declared."""
    values: dict[str, Any] = {
        "row": row,
        "variant": variant(row),
        "verdict": "as declared",
        "differences": [],
        "skeleton": [("producer.drain", ["cp.async.bulk.wait_group 0"])],
        "ptx_sha256": "a" * 64,
        "cubin_sha256": "b" * 64,
        "compiler": "NVRTC 13.0.88",
    }
    return CodeReading(**(values | changes))


def launch(row: str, stale: int = 0, observations: int = 1_000_000, **changes: Any) -> Launch:  # noqa: ANN401 - any field
    """A launch of `row` in which all counts add up, four stale words to a stale tile."""
    values: dict[str, Any] = {
        "row": row,
        "variant": variant(row),
        "seed": 7,
        "index": 0,
        "knobs": {"tile_bytes": 16384, "noise": "store"},
        "planned": observations,
        "observations": observations,
        "stale_tiles": stale,
        "stale_words": 4 * stale,
        "ahead_words": 0,
        "overshoots": 0,
        "elapsed_seconds": 0.5,
        "histogram": [0, 0, 0, 4 * stale],
        "witnesses": [witness()] if stale else [],
    }
    return Launch(**(values | changes))


def witness() -> dict[str, int]:
    """A stale word at the end of a 16 KiB tile."""
    return {
        "round": 41,
        "pair": 3,
        "tile": 41,
        "offset_bytes": 16380,
        "expected": 41,
        "seen": 40,
        "signal": 41,
        "producer_sm": 17,
        "consumer_sm": 96,
        "cycles_since_signal": 1234,
    }


def fault(what: str) -> dict[str, Any]:
    """A fault of a consumer that waited two seconds."""
    return {
        "what": what,
        "waiter": "consumer",
        "pair": 3,
        "round": 41,
        "wanted": 41,
        "seen": 40,
        "sm": 96,
        "waited_ns": 2_000_000_000,
    }


@cache
def variant(row: str) -> str:
    """The hash of the catalogue's variant of that name; a made-up one for a made-up row."""
    names = {each.name: SIGNAL_PUBLISH.hash_of(each.variant) for each in SIGNAL_PUBLISH}
    return names.get(row, "0" * 12)
