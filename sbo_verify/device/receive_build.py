"""Dispatch Receive, a model of one: its parameters, and its build as all kernels are built."""

from __future__ import annotations

from pathlib import Path

from sbo_verify.device.build import Artefact, build_source, kernel_headers
from sbo_verify.device.layout import Field, Struct
from sbo_verify.device.source import KERNELS
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH

KERNEL = "dispatch_receive.cuh"
PARAMETERS_HEADER = "receive_parameters.cuh"
ENTRY = "dispatch_receive"
THREADS = 512
# What one thread copies at a time, in bytes.
CHUNK_BYTES = 16

RECEIVE_PARAMETERS = Struct(
    "ReceiveParameters",
    (
        Field("source", "const unsigned char*"),
        Field("destination", "unsigned char*"),
        Field("bytes", "unsigned long long"),
    ),
)


def parameters_header() -> str:
    """The text of `receive_parameters.cuh`."""
    lines = ("#pragma once", '#include "ptx.cuh"', "namespace sbo {", RECEIVE_PARAMETERS.cxx())
    return "\n".join((*lines, "}  // namespace sbo", ""))


def receive_source() -> str:
    """The source that is compiled."""
    return "\n".join(
        [
            f'#include "{KERNEL}"',
            f'extern "C" __global__ void __launch_bounds__({THREADS}, 1)',
            f"{ENTRY}(const __grid_constant__ sbo::ReceiveParameters parameters) {{",
            "  sbo::dispatch_receive(parameters);",
            "}",
            "",
        ]
    )


def build_receive(*, kernels: Path = KERNELS, cache_in: Path | None = None) -> Artefact:
    """The artefact, from the cache or compiled now; errors as `build`."""
    headers = kernel_headers(SIGNAL_PUBLISH, kernels)
    headers[PARAMETERS_HEADER] = parameters_header()
    return build_source(ENTRY, receive_source(), headers, cache_in=cache_in)
