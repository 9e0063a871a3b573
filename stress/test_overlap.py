"""The benchmark of overlap on silicon: small, right to the last bit, and caught when it is not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sbo_verify.cli import main
from sbo_verify.gemm import Plan
from sbo_verify.harness.overlap_benchmark import ALONE, SBO, TBO
from sbo_verify.harness.overlap_work import DownAndSend

pytestmark = [
    pytest.mark.silicon,
    pytest.mark.live_gemm,
    pytest.mark.long,
    pytest.mark.usefixtures("live_bench"),
]

SMALL = ("bench", "overlap", "--experts", "2", "--rows", "16", "--link-sms", "3", "--json")
ONE_VARIANT = ("--variants", "full_wait-atom_release")
OK, FAIL = 0, 1


def test_a_small_problem_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, *ONE_VARIANT]) == OK
    record = json.loads(capsys.readouterr().out)
    assert {cell["kind"] for cell in record["cells"]} == {"pair", "layer"}
    assert {SBO, TBO} <= {cell["schedule"] for cell in record["cells"]}
    # Longer than nothing, and shorter than what waited for the host. Where processes take turns on
    # the GPU, some repeat is of one turn.
    assert all(1 < min(cell["repeats"]) < 500 for cell in record["cells"])
    rates = [cell["bytes_per_second"] for cell in record["cells"] if cell["schedule"] in ALONE[1:]]
    assert rates
    assert all(1e9 < rate < 4e12 for rate in rates)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"threshold": 1}, "wrong: "), ({"threshold": 1000}, "threshold never reached")],
)
def test_a_wrong_threshold_is_found_before_anything_is_timed(
    change: dict[str, int],
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Too low, and rows are sent that are not there yet; too high, and nobody ever sends them."""
    right = DownAndSend.sending

    def sending(self: DownAndSend, ctas: int, plan: Plan | None) -> Any:  # noqa: ANN401 - what is sent
        made = right(self, ctas, plan)
        return replace(made, **change) if plan else made

    monkeypatch.setattr(DownAndSend, "sending", sending)
    assert main([*SMALL, *ONE_VARIANT, "--kind", "pair"]) == FAIL
    assert complaint in capsys.readouterr().err
