"""Host and kernels agree on every byte and every constant, by the compiler's own word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from sbo_verify.device.build import kernel_headers, options
from sbo_verify.device.geometry import CHUNK_BYTES, CLUSTER, THREADS, Geometry
from sbo_verify.device.layout import ENUMS, HISTOGRAM_BINS, STRUCTS, TENSOR_MAP_BYTES, Field, Struct
from sbo_verify.device.micro_kernel import ACKNOWLEDGE_STRIDE
from sbo_verify.device.nvrtc import Compilation, compile_source, cuda_include_folders
from sbo_verify.device.source import sites_header, translation_unit
from sbo_verify.harness.results import WORDS
from sbo_verify.harness.tally import WORD_OF_FAULT
from sbo_verify.protocol import Row
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.protocols.signal_publish.sites import SITES, SignalPublish

PARAMETERS = next(struct for struct in STRUCTS if struct.name == "Parameters")
COUNTERS = next(struct for struct in STRUCTS if struct.name == "Counters")


def compiled(lines: Sequence[str]) -> Compilation:
    """Compile `lines` behind the kernel's own headers, in its namespace."""
    source = "\n".join(
        [f'#include "{SIGNAL_PUBLISH.kernel}"', "namespace sbo {", *lines, "}  // namespace sbo"]
    )
    headers = kernel_headers(SIGNAL_PUBLISH)
    return compile_source(source, "layout.cu", headers, [*options(), *cuda_include_folders()])


def offsets(struct: Struct) -> dict[str, int]:
    """Member to offset in bytes, as numpy has it."""
    described = struct.dtype().fields
    assert described is not None
    return {name: int(entry[1]) for name, entry in described.items()}


def claims(struct: Struct, host: dict[str, int]) -> list[str]:
    """What the compiler is asked to confirm of a structure's offsets.

    NVRTC has no <cstddef>; `__INTADDR__` is what its front end's own `offsetof` is made of.
    """
    name = struct.name
    return [
        f"static_assert(__INTADDR__(&((static_cast<{name}*>(nullptr))->{member})) == {offset}, "
        f'"{name}.{member}");'
        for member, offset in host.items()
    ]


# ---- structures -----------------------------------------------------------------------------


def test_every_member_lies_where_the_host_writes_it() -> None:
    lines = [claim for struct in STRUCTS for claim in claims(struct, offsets(struct))]
    assert len(lines) == sum(len(struct.fields) for struct in STRUCTS)
    lines += [
        f"static_assert(sizeof({struct.name}) == {struct.dtype().itemsize});" for struct in STRUCTS
    ]
    result = compiled(lines)
    assert result.ok, result.log


def test_a_member_at_another_offset_is_found() -> None:
    host = offsets(PARAMETERS)
    result = compiled(claims(PARAMETERS, host | {"seed": host["seed"] + 4}))
    assert not result.ok
    assert "Parameters.seed" in result.log


def test_a_host_without_alignment_would_be_found() -> None:
    """Numpy's packed layout differs from C's as soon as a small member precedes a large one."""
    odd = Struct("Odd", (Field("small", "unsigned"), Field("large", "unsigned long long")))
    packed = np.dtype([("small", np.uint32), ("large", np.uint64)])
    described = packed.fields
    assert described is not None
    wrong = {name: int(entry[1]) for name, entry in described.items()}
    assert compiled([odd.cxx(), *claims(odd, offsets(odd))]).ok
    assert not compiled([odd.cxx(), *claims(odd, wrong)]).ok


def test_the_size_check_in_the_header_itself_can_fail() -> None:
    grown = replace(COUNTERS, name="Grown")
    assert compiled([grown.cxx()]).ok
    text = grown.cxx().replace("int stop;", "int stop;\n  unsigned long long more;")
    result = compiled([text])
    assert not result.ok
    assert "host and device differ" in result.log


def test_the_tensor_map_is_sixty_four_byte_aligned_on_both_sides() -> None:
    assert offsets(PARAMETERS)["map"] == 0
    assert PARAMETERS.dtype().itemsize % 64 == 0
    assert PARAMETERS.dtype()["map"].itemsize == TENSOR_MAP_BYTES
    result = compiled(
        [
            "static_assert(alignof(Parameters) == 64);",
            f"static_assert(sizeof(TensorMap) == {TENSOR_MAP_BYTES});",
        ]
    )
    assert result.ok, result.log


# ---- constants and enumerations -------------------------------------------------------------


def test_the_kernels_constants_are_the_hosts() -> None:
    constants = {
        "kThreads": THREADS,
        "kChunkBytes": CHUNK_BYTES,
        "kAcknowledgeStride": ACKNOWLEDGE_STRIDE,
        "kHistogramBins": HISTOGRAM_BINS,
    }
    lines = [f'static_assert({name} == {value}, "{name}");' for name, value in constants.items()]
    result = compiled(lines)
    assert result.ok, result.log
    assert not compiled([f"static_assert(kThreads == {THREADS + 1});"]).ok


def test_enumerators_carry_the_hosts_values() -> None:
    lines = [
        f"static_assert(static_cast<unsigned>({enum.__name__}::{member.name}) == {member.value});"
        for enum in ENUMS
        for member in enum
    ]
    result = compiled(lines)
    assert result.ok, result.log


def test_every_choice_of_every_site_is_an_enumerator_and_nothing_else_is() -> None:
    text = sites_header(SIGNAL_PUBLISH)
    for kind in set(SITES.values()):
        words = ", ".join(choice.word for choice in kind)
        assert f"enum class {kind.__name__} {{ {words} }};" in text
    declared = text.count("enum class ")
    assert declared == len(set(SITES.values())) + len(ENUMS)


def test_a_translation_unit_names_every_site_once_and_its_entry() -> None:
    row = SIGNAL_PUBLISH.row("full_wait-atom_release")
    text = translation_unit(SIGNAL_PUBLISH, row.variant)
    for site, choice in row.variant.choices().items():
        kind = type(choice).__name__
        assert text.count(f"static constexpr {kind} {site} = {kind}::{choice.word};") == 1
    assert f"signal_publish_{SIGNAL_PUBLISH.hash_of(row.variant)}(" in text
    assert "cuda/atomic" not in text


@pytest.mark.parametrize("name", ["full_wait-atomic_ref_release", "poll_atomic_ref"])
def test_only_variants_about_atomic_ref_pay_for_its_header(name: str) -> None:
    text = translation_unit(SIGNAL_PUBLISH, SIGNAL_PUBLISH.row(name).variant)
    assert text.startswith("#define SBO_ATOMIC_REF\n#include <cuda/atomic>\n")


def test_every_fault_of_the_kernel_has_a_word_and_every_word_a_meaning() -> None:
    (faults,) = (enum for enum in ENUMS if enum.__name__ == "FaultKind")
    assert set(WORDS) == set(faults)
    assert {word for word in WORDS.values() if word} <= set(WORD_OF_FAULT)


# ---- the shape of a launch ------------------------------------------------------------------


def policies(rows: Sequence[Row]) -> list[str]:
    """The geometry of `rows`, as claims about the policies of kernels/signal.cuh."""
    lines: list[str] = []
    for row in rows:
        assert isinstance(row.variant, SignalPublish)
        shape, name = Geometry.of(row.variant), f"V{SIGNAL_PUBLISH.hash_of(row.variant)}"
        members = " ".join(
            f"static constexpr {type(choice).__name__} {site} = "
            f"{type(choice).__name__}::{choice.word};"
            for site, choice in row.variant.choices().items()
        )
        lines += [
            f"struct {name} {{ {members} }};",
            f'static_assert(issuer_count<{name}>() == {shape.issuers}, "{row.name}");',
            f'static_assert(stage_count<{name}>() == {shape.stages}, "{row.name}");',
            f"static_assert(clustered<{name}>() == ({shape.cluster} == {CLUSTER}));",
        ]
    return lines


def test_host_and_kernel_agree_on_the_shape_of_every_row() -> None:
    result = compiled(policies(SIGNAL_PUBLISH.rows))
    assert result.ok, result.log


def test_a_row_of_another_shape_is_found() -> None:
    lines = policies([SIGNAL_PUBLISH.row("wait_but_newest-release")])
    wrong = [line.replace("() == 2,", "() == 1,") for line in lines]
    assert lines != wrong
    result = compiled(wrong)
    assert not result.ok
    assert "wait_but_newest-release" in result.log
