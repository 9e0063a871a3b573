"""Combine Send for one consumer variant and the kernels of its rounds, built as all kernels are."""

from __future__ import annotations

from pathlib import Path

from sbo_verify.device.build import Artefact, build_source, kernel_headers
from sbo_verify.device.combine_layout import CONSTANTS, STRUCTS, THREADS
from sbo_verify.device.source import KERNELS, declared_variant, header_lines
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.protocols.signal_publish.combine import consumer_half
from sbo_verify.protocols.signal_publish.sites import SignalPublish

KERNEL = "combine_send.cuh"
ROUNDS_KERNEL = "rounds.cuh"
PARAMETERS_HEADER = "combine_parameters.cuh"
PREPARE_ENTRY = "prepare_round"
GATE_ENTRY = "gate_producer"
GATE_NOISE_ENTRY = "gate_noise"
NOISE_ENTRY = "make_noise"
PREPARE_THREADS = 256


def parameters_header() -> str:
    """The text of `combine_parameters.cuh`: structures and the sizes that both sides use."""
    constants = [f"constexpr unsigned {name} = {value};" for name, value in CONSTANTS.items()]
    return "\n".join(
        (
            "#pragma once",
            '#include "ptx.cuh"',
            '#include "sites.cuh"',
            "namespace sbo {",
            *(struct.cxx() for struct in STRUCTS),
            "namespace combine {",
            *constants,
            "}  // namespace combine",
            "}  // namespace sbo",
            "",
        )
    )


def combine_entry(variant: SignalPublish) -> str:
    """The kernel's symbol, which names its variant."""
    return f"combine_send_{SIGNAL_PUBLISH.hash_of(consumer_half(variant))}"


def combine_source(variant: SignalPublish) -> str:
    """The source that is compiled for the consumer half of one variant."""
    half = consumer_half(variant)
    return "\n".join(
        [
            *header_lines(half, KERNEL),
            declared_variant(half),
            f'extern "C" __global__ void __launch_bounds__({THREADS}, 1)',
            f"{combine_entry(variant)}(",
            "    const __grid_constant__ sbo::CombineParameters parameters) {",
            "  sbo::combine_send<sbo::Declared>(parameters);",
            "}",
            "",
        ]
    )


def rounds_source() -> str:
    """The source of the kernels that stand between and beside rounds."""
    of_combine = [
        f'extern "C" __global__ void __launch_bounds__({THREADS}) {entry}('
        f"const __grid_constant__ sbo::CombineParameters parameters) {{ sbo::{call}(parameters); }}"
        for entry, call in (
            (GATE_ENTRY, "gate"),
            (GATE_NOISE_ENTRY, "gate_noise"),
            (NOISE_ENTRY, "make_noise"),
        )
    ]
    return "\n".join(
        [
            f'#include "{ROUNDS_KERNEL}"',
            "struct Both { sbo::RoundParameters round; sbo::CombineParameters combine; };",
            f'extern "C" __global__ void __launch_bounds__({PREPARE_THREADS})',
            f"{PREPARE_ENTRY}(const __grid_constant__ Both both) {{",
            "  sbo::prepare_round(both.round, both.combine);",
            "}",
            *of_combine,
            "",
        ]
    )


def build_combine(
    variant: SignalPublish, *, kernels: Path = KERNELS, cache_in: Path | None = None
) -> Artefact:
    """The artefact of one consumer variant, from the cache or compiled now; errors as `build`."""
    source, headers = combine_source(variant), _headers(kernels)
    return build_source(combine_entry(variant), source, headers, cache_in=cache_in)


def build_rounds(*, kernels: Path = KERNELS, cache_in: Path | None = None) -> Artefact:
    """The artefact of the kernels between rounds; its entries are the names above."""
    return build_source(PREPARE_ENTRY, rounds_source(), _headers(kernels), cache_in=cache_in)


def _headers(kernels: Path) -> dict[str, str]:
    headers = kernel_headers(SIGNAL_PUBLISH, kernels)
    headers[PARAMETERS_HEADER] = parameters_header()
    return headers
