"""The gate of the real GEMM: every variant that it can run, handed over to a live consumer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from handover_report import examine_and_report

from sbo_verify.harness.gate import Gate
from sbo_verify.protocol import Row

pytestmark = [pytest.mark.silicon, pytest.mark.live_gemm]


def test_gemm_handover(
    gemm_row: Row, gemm_gate: Gate, record_property: Callable[[str, object], None]
) -> None:
    """Sound rows stay Never, canaries are seen, other broken rows are reported."""
    examine_and_report(gemm_gate, gemm_row, record_property)
