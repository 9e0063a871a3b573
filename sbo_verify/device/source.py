"""The C++ that is written from the declarations: `sites.cuh` and one translation unit a variant.

Kernels are written by hand in `kernels/`; only enumerators, shared structures and the choice of
template arguments are made here.
"""

from __future__ import annotations

from pathlib import Path

from sbo_verify.device.layout import ENUMS, HISTOGRAM_BINS, STRUCTS
from sbo_verify.protocol import Protocol, Site, Variant

_PACKAGE = Path(__file__).resolve().parents[1]
# An installation carries its kernels inside the package; a checkout has them beside it.
_INSTALLED_KERNELS = _PACKAGE / "_kernels"
KERNELS = _INSTALLED_KERNELS if _INSTALLED_KERNELS.is_dir() else _PACKAGE.parent / "kernels"
GENERATED_HEADER = "sites.cuh"


def sites_header(protocol: Protocol) -> str:
    """The text of `sites.cuh`: an enum class for every site, and the shared structures."""
    kinds: dict[str, type[Site]] = {kind.__name__: kind for kind in protocol.sites.values()}
    parts = ["#pragma once", "namespace sbo {"]
    for name, kind in kinds.items():
        parts.append(f"enum class {name} {{ {', '.join(choice.word for choice in kind)} }};")
    for enum in ENUMS:
        members = ", ".join(f"{member.name} = {member.value}" for member in enum)
        parts.append(f"enum class {enum.__name__} : unsigned {{ {members} }};")
    parts.append(f"constexpr unsigned kHistogramBins = {HISTOGRAM_BINS};")
    parts.extend(struct.cxx() for struct in STRUCTS)
    parts.append("}  // namespace sbo")
    return "\n".join(parts) + "\n"


def entry_name(protocol: Protocol, variant: Variant) -> str:
    """The kernel's symbol: protocol and hash, so that a profile or a dump names its variant."""
    return f"{protocol.name}_{protocol.hash_of(variant)}"


def header_lines(variant: Variant, kernel: str) -> list[str]:
    """The first lines of a translation unit: what the variant and its kernel include."""
    uses_atomic_ref = any(word.startswith("atomic_ref") for word in variant.words().values())
    lines = ["#define SBO_ATOMIC_REF", "#include <cuda/atomic>"] if uses_atomic_ref else []
    return [*lines, f'#include "{kernel}"']


def declared_variant(variant: Variant) -> str:
    """The choices of a variant as the template argument that kernels call `V`."""
    lines = ["namespace sbo {", "struct Declared {"]
    for site, choice in variant.choices().items():
        kind = type(choice).__name__
        lines.append(f"  static constexpr {kind} {site} = {kind}::{choice.word};")
    return "\n".join([*lines, "};", "}  // namespace sbo"])


def translation_unit(protocol: Protocol, variant: Variant) -> str:
    """The source that is compiled for one variant."""
    lines = [*header_lines(variant, protocol.kernel), declared_variant(variant)]
    lines.append(
        f'extern "C" __global__ void __launch_bounds__(sbo::kThreads) '
        f"{entry_name(protocol, variant)}(const __grid_constant__ sbo::Parameters parameters) {{"
    )
    lines.append(f"  sbo::{protocol.name}<sbo::Declared>(parameters);")
    lines.append("}")
    return "\n".join(lines) + "\n"
