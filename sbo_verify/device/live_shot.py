"""One launch of rounds beside Combine Send in numbers: what is asked, and what the GPU answers.

A launch's counters, witnesses and fault lie in one state buffer on the GPU. The parameters of its
kernels point there and at its tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sbo_verify.device.combine_layout import (
    COMBINE_COUNTERS,
    COMBINE_PARAMETERS,
    ROUND_PARAMETERS,
    SLOT_WITNESS,
)
from sbo_verify.device.layout import FAULT
from sbo_verify.device.live_tensors import SMALLEST_BLOCK_M, LiveTensors
from sbo_verify.device.micro_kernel import WITNESS_CAPACITY, ArenaError

INT32_LARGEST = 2**31 - 1
STATE_BYTES = 1 << 14
# Byte offsets in the state buffer.
PARTS = {"counters": 0, "fault": 1024, "witnesses": 2048}
# Noise that sees no round pass gives up by itself, later than the host does.
NOISE_FACTOR = 2

Structure = np.ndarray[Any, np.dtype[np.void]]


@dataclass(frozen=True)
class LiveShot:
    """One launch in numbers. `values` are the other scalar members of the kernel's parameters.

    It is given up when no round has begun for `limit_seconds`.
    """

    rounds: int
    rounds_per_graph: int
    block_m: int
    threshold: int
    consumers: int
    noise_ctas: int
    noise_bytes: int
    values: dict[str, int]
    limit_seconds: float


@dataclass(frozen=True)
class RawLive:
    """What one launch left behind. `announced` is what the producer returned in each call."""

    counters: Structure
    witnesses: Structure
    fault: Structure
    elapsed_seconds: float
    hung: bool
    announced: frozenset[object]


def fresh_state(torch: Any) -> Any:  # noqa: ANN401 - torch, which is optional
    """A state buffer on the GPU, with nothing counted."""
    state = np.zeros(STATE_BYTES, dtype=np.uint8)
    counters = state[: COMBINE_COUNTERS.dtype().itemsize].view(COMBINE_COUNTERS.dtype())
    counters["signal_lowest"] = INT32_LARGEST
    return torch.from_numpy(state).to("cuda")


def counter(torch: Any, state: Any, name: str) -> Any:  # noqa: ANN401 - torch and its tensors
    """The 32-bit counter of that name, as a tensor of one int32 within the state buffer."""
    described: Any = COMBINE_COUNTERS.dtype().fields
    at = PARTS["counters"] + int(described[name][1])
    return state[at : at + 4].view(torch.int32)


def combine_parameters(shot: LiveShot, tensors: LiveTensors, state: int, noise: int) -> Structure:
    """Parameters of Combine Send, its gates and the noise; `state` and `noise` are addresses.

    Raises `ArenaError` where the interface has too few signals for the block_m announced.
    """
    groups, m, n, _ = tensors.sizes
    needed = groups * -(-m // shot.block_m)
    if needed > tensors.signal.numel():
        message = (
            f"block_m is {shot.block_m}: {needed} signals are needed, and the interface has "
            f"{tensors.signal.numel()}, one for {SMALLEST_BLOCK_M} rows"
        )
        raise ArenaError(message)
    return _filled(
        COMBINE_PARAMETERS.dtype(),
        {
            "d": tensors.d.data_ptr(),
            "destination": tensors.destination.data_ptr(),
            "received": tensors.masked_m.data_ptr(),
            "signals": tensors.signal.data_ptr(),
            **{part: state + offset for part, offset in PARTS.items()},
            "noise": noise,
            "noise_bytes": shot.noise_bytes,
            "groups": groups,
            "m": m,
            "row_bytes": 2 * n,
            "block_m": shot.block_m,
            "threshold": shot.threshold,
            "consumers": shot.consumers,
            "noise_ctas": shot.noise_ctas,
            "noise_limit_ns": int(NOISE_FACTOR * shot.limit_seconds * 1e9),
            "witness_capacity": WITNESS_CAPACITY,
            **shot.values,
        },
    )


def round_parameters(tensors: LiveTensors) -> Structure:
    """Parameters of what stands between two rounds."""
    groups, m, n, _ = tensors.sizes
    storage = tensors.scale_storage
    return _filled(
        ROUND_PARAMETERS.dtype(),
        {
            "d": tensors.d.data_ptr(),
            "scales": storage.data_ptr(),
            "d_bytes": 2 * groups * m * n,
            "signal_count": tensors.signal.numel(),
            "scale_count": storage.numel(),
            "scale_pitch": storage.shape[2],
            "k_blocks": storage.shape[1],
        },
    )


def both(first: Structure, second: Structure) -> Structure:
    """`round` and `combine` behind each other, as one parameter; both are aligned to 8 bytes."""
    kind = np.dtype([("round", first.dtype), ("combine", second.dtype)], align=True)
    made = np.zeros(1, dtype=kind)
    made["round"], made["combine"] = first, second
    return made


def raw_live(
    state: Any,  # noqa: ANN401 - torch's tensor
    seconds: float,
    *,
    hung: bool,
    announced: frozenset[object],
) -> RawLive:
    """What stands in the state buffer once nothing runs any more."""
    raw = state.cpu().numpy()

    def part(name: str, dtype: np.dtype[Any], count: int) -> Structure:
        begin = PARTS[name]
        return np.asarray(raw[begin : begin + dtype.itemsize * count]).view(dtype)

    counters = part("counters", COMBINE_COUNTERS.dtype(), 1)
    kept = min(int(counters["witnesses"][0]), WITNESS_CAPACITY)
    return RawLive(
        counters=counters,
        witnesses=part("witnesses", SLOT_WITNESS.dtype(), kept),
        fault=part("fault", FAULT.dtype(), 1),
        elapsed_seconds=seconds,
        hung=hung,
        announced=announced,
    )


def _filled(dtype: np.dtype[np.void], values: dict[str, Any]) -> Structure:
    made = np.zeros(1, dtype=dtype)
    for name, value in values.items():
        made[name] = value
    return made
