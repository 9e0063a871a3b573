"""The GEMM's D on silicon against the FP64 product: random and adversarial inputs, tails, masks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sbo_verify.cli import main
from sbo_verify.device.gemm_inputs import Inputs, product
from sbo_verify.gemm import m_grouped_fp8_gemm_nt_signal
from sbo_verify.harness.numeric_inputs import KINDS, Sizes, case
from sbo_verify.harness.numerics import (
    OWN,
    cell_of,
    errors_of,
    gpu_laboratory,
    measured,
    shortcomings,
)

pytestmark = [
    pytest.mark.silicon,
    pytest.mark.live_gemm,
    pytest.mark.usefixtures("live_bench"),
]

SEED = 41
FAIL = 1
# One block of K and many; M and N that no tile divides; tiles of 128 rows and of 64.
SHAPES: tuple[Sizes, ...] = ((3, 200, 520, 128), (4, 130, 1000, 1536), (5, 40, 264, 640))


@pytest.mark.parametrize("sizes", SHAPES, ids=["x".join(map(str, sizes)) for sizes in SHAPES])
@pytest.mark.parametrize("kind", KINDS)
def test_errors_are_within_bounds_and_nothing_leaks(kind: str, sizes: Sizes) -> None:
    """Also: rows that do not count are untouched to the bit, on every kind of inputs."""
    (cell,) = measured(gpu_laboratory(None), [sizes], [kind], SEED)
    assert cell.errors is not None, cell
    assert shortcomings([cell]) == []
    if kind == "whole":
        assert cell.errors.ulps <= 0.5


def test_the_same_inputs_give_the_same_bits_with_and_without_signals() -> None:
    """So what is measured of the plain GEMM holds for the GEMM that signals."""
    laboratory = gpu_laboratory(f"{__name__}:signalling")
    plain, signalled = measured(laboratory, [SHAPES[1]], ["every_value"], SEED)
    assert plain.errors == signalled.errors
    assert signalled.differing == 0


def test_errors_planted_in_d_are_noticed() -> None:
    """One element each: a wrong number, infinity, and a zero in a row that does not count."""
    made = case("normal", SHAPES[1], SEED)
    laboratory = gpu_laboratory(None)
    loaded = laboratory.load(made)
    reference = laboratory.reference(loaded)
    (compute,) = laboratory.producers.values()
    bits = compute(loaded)
    for place, pattern, complaint in (
        ((0, 129, 999), 0x4780, "componentwise error"),
        ((0, 129, 999), 0x7F80, "1 elements are not finite where they must, or are"),
        ((1, 86, 0), 0, "1 elements of rows that do not count were written"),
    ):
        spoiled = bits.copy()
        spoiled[place] = pattern
        errors = errors_of(spoiled, reference, made.masked)
        (found,) = shortcomings([cell_of(made, OWN, errors)])
        assert complaint in found
    assert shortcomings([cell_of(made, OWN, errors_of(bits, reference, made.masked))]) == []


def signalling(a: Any, b: Any, d: Any, masked_m: Any, expected_m: int, **_: object) -> None:  # noqa: ANN401 - torch tensors
    """The GEMM with the published hand-over."""
    signal = masked_m.new_zeros(d.shape[0] * -(-d.shape[1] // 64))
    m_grouped_fp8_gemm_nt_signal(a, b, d, masked_m, expected_m, signal)


def correctly_rounded(a: Any, b: Any, d: Any, masked_m: Any, _m: int, **_: object) -> None:  # noqa: ANN401 - torch tensors
    """The FP64 product itself, rounded once: better than any kernel for these tensor cores."""
    exact = product(Inputs(a, b, d, masked_m, None))
    for group, rows in enumerate(masked_m.tolist()):
        d[group, :rows] = exact[group, :rows].to(d.dtype)


@pytest.mark.parametrize(("other", "code"), [("signalling", 0), ("correctly_rounded", FAIL)])
def test_the_command_fails_beside_who_errs_less(
    other: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["numerics", "--json", "--shape", "2x64x256x1024", "--inputs", "absorbed,whole"]
    assert main([*words, "--beside", f"{__name__}:{other}"]) == code
    shown = capsys.readouterr()
    record = json.loads(shown.out)
    assert [cell["inputs"] for cell in record["cells"]] == [
        "absorbed",
        "absorbed",
        "whole",
        "whole",
    ]
    assert bool(record["shortcomings"]) == bool(code)
    # Whole numbers are rounded once by either.
    assert "whole" not in shown.err
    assert record["settings"]["machine"]["gpu"]
