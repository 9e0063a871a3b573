"""The GEMM's errors: measures, and a check that notices."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_gemm import (
    OTHER,
    laboratory,
    nearest,
    reference,
    simulated,
    truncated,
)

from sbo_verify.cli import main, numerics_command
from sbo_verify.device.gpu import NoGpuError
from sbo_verify.harness.numeric_inputs import (
    KINDS,
    Array,
    Case,
    case,
)
from sbo_verify.harness.numerics import (
    COMPONENTWISE_LIMIT,
    OWN,
    SHAPES,
    Cell,
    Errors,
    errors_of,
    measured,
    shortcomings,
    unit_in_the_last_place,
    values_of,
)
from sbo_verify.harness.producers import ProducerError

# Full, partial, empty and a single row; no power of two divides N.
SIZES = (4, 24, 136, 384)
FAIL, UNKNOWN, USAGE = 1, 2, 254
REPORTS = Path(__file__).resolve().parents[1] / "reports"


# ---- the measures ---------------------------------------------------------------------------


@given(st.integers(0x0001, 0x7F7E), st.booleans())
def test_a_unit_in_the_last_place_is_the_distance_to_the_next_number(
    bits: int,
    negative: bool,  # noqa: FBT001 - as hypothesis gives it
) -> None:
    here, further = values_of(np.array([bits, bits + 1], dtype=np.uint16))
    unit = unit_in_the_last_place(np.array([-here if negative else here]))[0]
    assert unit == further - here


def test_zero_has_the_unit_of_subnormals() -> None:
    assert unit_in_the_last_place(np.array([0.0]))[0] == 2.0**-133


@pytest.mark.parametrize("kind", KINDS)
def test_an_honest_gemm_has_no_shortcomings(kind: str) -> None:
    cells = list(measured(laboratory(simulated, other=simulated), [SIZES], [kind], 5))
    assert [cell.producer for cell in cells] == [OWN, OTHER]
    assert cells[0].errors == cells[1].errors
    assert [cell.differing for cell in cells] == [0, 0]
    assert shortcomings(cells) == []


def test_elements_that_differ_are_counted_where_rows_count() -> None:
    """The first of row 1 is not a number in either, which is the same."""

    def other(made: Case) -> Array:
        d = simulated(made)
        d[0, 1, :3] ^= 1
        d[2, 0, 0] ^= 1
        return d

    cells = list(measured(laboratory(simulated, other=other), [SIZES], ["nan_values"], 5))
    assert [cell.differing for cell in cells] == [0, 2]


def test_one_rounding_errs_by_half_a_unit_at_most() -> None:
    made = case("whole", SIZES, 5)
    errors = errors_of(simulated(made), reference(made), made.masked)
    assert 0.4 < errors.ulps_of_99_percent <= errors.ulps <= 0.5
    assert errors.componentwise <= 2.0**-8
    assert errors.norm_wise < 2.0**-9


def found(kind: str, own: Any, other: Any = simulated) -> list[str]:  # noqa: ANN401 - a producer
    return shortcomings(list(measured(laboratory(own, other=other), [SIZES], [kind], 5)))


def test_a_worse_rounding_is_noticed_beside_a_better_one() -> None:
    complaints = found("normal", lambda made: simulated(made, rounding=truncated))
    assert len(complaints) == 4
    assert complaints[0].startswith("4x24x136x384, normal: norm-wise error 0.00")
    assert "greater than other's 0.00" in complaints[0]
    assert found("normal", simulated, lambda made: simulated(made, rounding=truncated)) == []


def test_sums_in_bfloat16_are_out_of_bounds() -> None:
    complaints = found("cancel_across", lambda made: simulated(made, narrow=True))
    assert any("norm-wise error" in each for each in complaints)


def test_flushed_subnormals_are_out_of_bounds() -> None:
    complaints = found("subnormal_scales", lambda made: simulated(made, flushing=True))
    assert any(f"above {COMPONENTWISE_LIMIT:.3g}" in each for each in complaints)
    assert found("normal", lambda made: simulated(made, flushing=True)) == []


def test_a_nan_that_reaches_another_row_is_noticed() -> None:
    def leaking(made: Case) -> Array:
        d = simulated(made)
        row = made.masked[0] // 2
        d[0, row + 1] = d[0, row]
        return d

    assert found("nan_values", leaking) == [
        "4x24x136x384, nan_values: 135 elements are not finite where they must, or are"
    ]


def test_a_nan_that_is_lost_is_noticed() -> None:
    complaints = found(
        "nan_values", lambda made: np.where(simulated(made) & 0x7F80 == 0x7F80, 0, 0)
    )
    assert any("not finite where they must, or are" in each for each in complaints)


def test_a_row_that_does_not_count_is_noticed_to_the_bit() -> None:
    def touching(made: Case) -> Array:
        d = simulated(made)
        d[2, 0, 7] ^= 1
        return d

    assert found("normal", touching) == [
        "4x24x136x384, normal: 1 elements of rows that do not count were written"
    ]


def test_one_stale_tile_is_noticed() -> None:
    """Eight columns of one row from elsewhere: what a mean over all of D would hide."""

    def stale(made: Case) -> Array:
        d = simulated(made)
        d[0, 3, 8:16] = d[0, 4, 8:16]
        return d

    assert any("componentwise error" in each for each in found("every_value", stale))


def test_with_who_is_not_finite_where_he_must_be_nothing_is_compared() -> None:
    def worse(made: Case) -> Array:
        return simulated(made, rounding=truncated)

    def broken(made: Case) -> Array:
        d = simulated(made)
        d[0, 0, 0] = 0x7FC0
        return d

    assert found("normal", worse, broken) == []


def test_a_producer_that_refuses_is_recorded_and_not_compared() -> None:
    def refusing(_: Case) -> NoReturn:
        message = "no such size"
        raise ProducerError(message)

    cells = list(measured(laboratory(simulated, other=refusing), [SIZES], ["normal"], 5))
    assert (cells[1].errors, cells[1].refusal) == (None, "no such size")
    assert shortcomings(cells) == []
    cells = list(measured(laboratory(refusing, other=simulated), [SIZES], ["normal"], 5))
    assert shortcomings(cells) == ["4x24x136x384, normal: refused: no such size"]


def test_rounding_of_the_simulation_is_to_nearest_even() -> None:
    numbers = np.array([1.0, 1 + 2.0**-8, 1 + 3 * 2.0**-8, 3.4e38, np.inf], dtype=np.float32)
    assert nearest(numbers).tolist() == [0x3F80, 0x3F80, 0x3F82, 0x7F80, 0x7F80]
    assert np.isnan(values_of(nearest(np.array([np.nan], dtype=np.float32))))[0]


# ---- the command ----------------------------------------------------------------------------


@pytest.fixture
def on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command with simulated producers: the GEMM's own, and a better one if it is asked for."""

    def choose(beside: str | None) -> Any:  # noqa: ANN401 - a laboratory
        def coarse(made: Case) -> Array:
            return simulated(made, rounding=truncated)

        if beside is None:
            return replace(laboratory(simulated), producers={OWN: simulated})
        return replace(laboratory(simulated), producers={OWN: coarse, beside: simulated})

    monkeypatch.setattr(numerics_command, "open_gpu", lambda _index: None)
    monkeypatch.setattr(numerics_command, "gpu_laboratory", choose)
    monkeypatch.setattr(numerics_command, "SHAPES", [SIZES])


@pytest.mark.usefixtures("on_the_host")
def test_the_command_passes_and_says_what_it_measured(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["numerics", "--inputs", "normal, nan_values", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [cell["inputs"] for cell in record["cells"]] == ["normal", "nan_values"]
    assert record["shortcomings"] == []
    file = tmp_path / "record.json"
    file.write_text(json.dumps(record))
    assert main(["numerics", "--record", str(file)]) == 0
    text = capsys.readouterr().out
    assert "## 4x24x136x384, 24, 16, 0, 1 rows count" in text
    assert f"{record['cells'][0]['errors']['norm_wise']:.4g}" in text
    assert text.endswith("## What speaks against the GEMM\n\nNothing.\n")


@pytest.mark.usefixtures("on_the_host")
def test_the_command_fails_beside_a_better_producer(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["numerics", "--beside", "a:b", "--inputs", "normal"]
    assert main(words) == FAIL
    shown = capsys.readouterr()
    assert "greater than a:b's" in shown.err
    assert "norm-wise" in shown.out
    assert main([*words, "--json"]) == FAIL
    file = tmp_path / "record.json"
    file.write_text(capsys.readouterr().out)
    assert main(["numerics", "--record", str(file)]) == FAIL
    assert "greater than a:b's" in capsys.readouterr().out


def test_without_a_gpu_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_index: int) -> NoReturn:
        message = "no CUDA device on this machine"
        raise NoGpuError(message)

    monkeypatch.setattr(numerics_command, "open_gpu", refuse)
    assert main(["numerics"]) == UNKNOWN
    assert main(["numerics", "--inputs", "nice"]) == USAGE
    assert "no inputs 'nice'; there are normal, whole" in capsys.readouterr().err


# ---- what was recorded ----------------------------------------------------------------------

RECORDS = sorted(REPORTS.glob("*/gemm-numerics.json"))


def recorded_cells(file: Path) -> list[Cell]:
    cells = json.loads(file.read_text())["cells"]
    return [
        Cell(**{**each, "errors": each["errors"] and Errors(**each["errors"])}) for each in cells
    ]


def test_there_is_a_record() -> None:
    assert RECORDS


@pytest.mark.parametrize("file", RECORDS, ids=[file.parent.name for file in RECORDS])
def test_a_recorded_text_and_verdict_are_what_the_record_gives(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads(file.read_text())
    assert record["shortcomings"] == shortcomings(recorded_cells(file)) == []
    assert main(["numerics", "--record", str(file)]) == 0
    assert capsys.readouterr().out == file.with_suffix(".md").read_text()
    assert record["settings"]["commit"]
    assert not record["settings"]["dirty"]
    assert record["settings"]["machine"]["gpu"]


@pytest.mark.parametrize("file", RECORDS, ids=[file.parent.name for file in RECORDS])
def test_a_record_has_every_kind_of_inputs_and_another_producer_beside(file: Path) -> None:
    cells = recorded_cells(file)
    assert {cell.inputs for cell in cells} == set(KINDS)
    assert all(cell.errors is not None for cell in cells)
    producers = {cell.producer for cell in cells}
    assert OWN in producers
    assert len(producers) == 2
    assert len(cells) == 2 * len(SHAPES) * len(KINDS)


def test_a_greater_error_in_a_record_would_be_found() -> None:
    cells = recorded_cells(RECORDS[-1])
    errors = cells[0].errors
    assert errors is not None
    worse = replace(errors, norm_wise=errors.norm_wise * 1.000001)
    assert len(shortcomings([replace(cells[0], errors=worse), *cells[1:]])) == 1
