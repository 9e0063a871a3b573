"""The masked GEMM for one shape and one producer variant, built as the micro-kernels are."""

from __future__ import annotations

from pathlib import Path

from sbo_verify.device.build import Artefact, build_source, kernel_headers
from sbo_verify.device.gemm_layout import GEMM_PARAMETERS, THREADS, Shape
from sbo_verify.device.source import KERNELS, declared_variant, header_lines
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.protocols.signal_publish.sites import SignalPublish

KERNEL = "masked_gemm.cuh"
PARAMETERS_HEADER = "gemm_parameters.cuh"


def gemm_entry(shape: Shape, variant: SignalPublish) -> str:
    """The kernel's symbol: shape and variant, so that a profile names both."""
    return f"masked_gemm_{shape.name()}_{SIGNAL_PUBLISH.hash_of(variant)}"


def parameters_header() -> str:
    """The text of `gemm_parameters.cuh`."""
    lines = ("#pragma once", '#include "ptx.cuh"', "namespace sbo {", GEMM_PARAMETERS.cxx())
    return "\n".join((*lines, "}  // namespace sbo", ""))


def gemm_source(shape: Shape, variant: SignalPublish) -> str:
    """The source that is compiled for one shape and variant."""
    fixed = shape.fixed_shared_bytes(variant)
    members = "".join(
        f"  static constexpr unsigned {name} = {value};\n"
        for name, value in (
            ("block_m", shape.block_m),
            ("block_n", shape.block_n),
            ("stages", shape.stages),
            ("cluster", shape.cluster),
        )
    )
    return "\n".join(
        [
            *header_lines(variant, KERNEL),
            declared_variant(variant),
            f"namespace sbo {{\nstruct Shape {{\n{members}}};\n}}  // namespace sbo",
            f"static_assert(sbo::gemm::Layout<sbo::Shape, sbo::Declared>::b_scales == {fixed},",
            '              "host and device differ");',
            f'static_assert(sbo::gemm::kThreads == {THREADS}, "host and device differ");',
            f'extern "C" __global__ void __launch_bounds__({THREADS}, 1)',
            f"{gemm_entry(shape, variant)}(",
            "    const __grid_constant__ sbo::GemmParameters parameters) {",
            "  sbo::masked_gemm<sbo::Shape, sbo::Declared>(parameters);",
            "}",
            "",
        ]
    )


def build_gemm(
    shape: Shape,
    variant: SignalPublish,
    *,
    kernels: Path = KERNELS,
    cache_in: Path | None = None,
) -> Artefact:
    """The artefact of one shape and variant, from the cache or compiled now; errors as `build`."""
    headers = kernel_headers(SIGNAL_PUBLISH, kernels)
    headers[PARAMETERS_HEADER] = parameters_header()
    source = gemm_source(shape, variant)
    return build_source(gemm_entry(shape, variant), source, headers, cache_in=cache_in)
