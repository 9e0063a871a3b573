"""The producers of hand-overs to a reader on the host, built as all kernels are."""

from __future__ import annotations

from pathlib import Path

from sbo_verify.device.build import Artefact, build_source, kernel_headers
from sbo_verify.device.source import KERNELS, declared_variant, header_lines
from sbo_verify.protocols.signal_publish.host import HOST_READER
from sbo_verify.protocols.signal_publish.sites import SignalPublish


def host_entry(variant: SignalPublish) -> str:
    """The kernel's symbol, which names its variant."""
    return f"host_hand_over_{HOST_READER.hash_of(variant)}"


def host_source(variant: SignalPublish) -> str:
    """The source that is compiled for one variant."""
    return "\n".join(
        [
            *header_lines(variant, HOST_READER.kernel),
            declared_variant(variant),
            'extern "C" __global__ void __launch_bounds__(sbo::kThreads)',
            f"{host_entry(variant)}(const __grid_constant__ sbo::Parameters parameters) {{",
            "  sbo::host_hand_over<sbo::Declared>(parameters);",
            "}",
            "",
        ]
    )


def build_host(
    variant: SignalPublish, *, kernels: Path = KERNELS, cache_in: Path | None = None
) -> Artefact:
    """The artefact of one variant, from the cache or compiled now; errors as `build`."""
    HOST_READER.check(variant)
    headers = kernel_headers(HOST_READER, kernels)
    return build_source(host_entry(variant), host_source(variant), headers, cache_in=cache_in)
