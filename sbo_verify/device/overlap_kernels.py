"""Combine Send without its checks and Dispatch Receive, as a benchmark launches them.

A CTA of either fills an SM, so that none shares one with a GEMM's. Nobody waits for all CTAs to
run: whoever launches sees to it that they can, by giving each its SM.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sbo_verify.device import receive_build
from sbo_verify.device.combine_build import build_combine, combine_entry
from sbo_verify.device.combine_layout import (
    COMBINE_COUNTERS,
    COMBINE_PARAMETERS,
    THREADS,
    dynamic_shared_bytes,
)
from sbo_verify.device.driver import Kernel, checked, driver
from sbo_verify.device.layout import FAULT, FaultKind
from sbo_verify.device.micro_kernel import ArenaError
from sbo_verify.device.torch_device import torch_module
from sbo_verify.protocols.signal_publish.sites import SignalPublish

FULL_CARVEOUT_PERCENT = 100
TIMEOUT_NS = 1_000_000_000
# More CTAs than any launch has have arrived already.
ALL_HAVE_ARRIVED = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Sending:
    """What one launch of Combine Send sends: device addresses, sizes, and what it waits for.

    Rows are those of d, bfloat16 [groups, m, row_bytes / 2]; of each group the first `received`.
    """

    d: int
    destination: int
    received: int
    signals: int
    groups: int
    m: int
    row_bytes: int
    block_m: int
    threshold: int


class CombineSend:
    """Combine Send with one variant's consumer half, and the words in which it reports."""

    def __init__(self, variant: SignalPublish) -> None:
        torch = torch_module()
        self._kernel = _one_to_an_sm(build_combine(variant).cubin, combine_entry(variant), THREADS)
        counters = np.zeros(1, dtype=COMBINE_COUNTERS.dtype())
        counters["arrived"] = ALL_HAVE_ARRIVED
        self._counters = torch.from_numpy(counters.view(np.uint8)).to("cuda")
        self._fault = torch.zeros(FAULT.dtype().itemsize, dtype=torch.uint8, device="cuda")

    def launch(self, sending: Sending, ctas: int, stream: int) -> None:
        """Put one launch on `stream`."""
        parameters = np.zeros(1, dtype=COMBINE_PARAMETERS.dtype())
        values = vars(sending) | {
            "counters": self._counters.data_ptr(),
            "fault": self._fault.data_ptr(),
            "consumers": ctas,
            "timeout_ns": TIMEOUT_NS,
        }
        for name, value in values.items():
            parameters[name] = value
        _launch(self._kernel, parameters, ctas, THREADS, stream)

    def fault(self) -> str:
        """What went wrong in any launch so far, in words; empty where nothing did."""
        counters = self._counters.cpu().numpy().view(COMBINE_COUNTERS.dtype())
        if not counters["fault_claimed"][0] and not counters["stop"][0]:
            return ""
        fault = self._fault.cpu().numpy().view(FAULT.dtype())[0]
        kind = FaultKind(int(fault["what"])).name.lower().replace("_", " ")
        return (
            f"Combine Send gave up: {kind}, slot {int(fault['pair'])}: expected "
            f"{int(fault['wanted'])}, saw {int(fault['seen'])}"
        )


class DispatchReceive:
    """The copying model of Dispatch Receive."""

    def __init__(self) -> None:
        cubin = receive_build.build_receive().cubin
        self._kernel = _one_to_an_sm(cubin, receive_build.ENTRY, receive_build.THREADS)

    def launch(self, source: int, destination: int, size: int, ctas: int, stream: int) -> None:
        """Copy `size` bytes between device addresses, all multiples of 16."""
        parameters = np.zeros(1, dtype=receive_build.RECEIVE_PARAMETERS.dtype())
        parameters["source"], parameters["destination"] = source, destination
        parameters["bytes"] = size
        _launch(self._kernel, parameters, ctas, receive_build.THREADS, stream)


def clear_words(address: int, count: int, stream: int) -> None:
    """Zero `count` words of 32 bits at a device address; captured, a node of its own."""
    d = driver()
    checked("cuMemsetD32Async", d.cuMemsetD32Async(address, 0, count, d.CUstream(stream)))


def _one_to_an_sm(cubin: bytes, entry: str, threads: int) -> Kernel:
    kernel = Kernel(cubin, entry)
    dynamic = dynamic_shared_bytes()
    kernel.allow_dynamic_shared(dynamic, FULL_CARVEOUT_PERCENT)
    resident = kernel.resident_ctas_per_sm(threads, dynamic)
    if resident != 1:
        message = f"one CTA of {entry} was to fill an SM, the driver says {resident}"
        raise ArenaError(message)
    return kernel


def _launch(
    kernel: Kernel,
    parameters: np.ndarray[Any, np.dtype[np.void]],
    ctas: int,
    threads: int,
    stream: int,
) -> None:
    kernel.launch(
        parameters,
        grid=ctas,
        threads=threads,
        dynamic_shared=dynamic_shared_bytes(),
        cluster=1,
        stream=stream,
    )
