"""The gate: every variant of the catalogue under stress on a Hopper GPU."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from handover_report import examine_and_report

from sbo_verify.harness.gate import Gate
from sbo_verify.protocol import Row

pytestmark = pytest.mark.silicon


def test_handover(
    gated_row: Row, gate: Gate, record_property: Callable[[str, object], None]
) -> None:
    """Sound rows stay Never, canaries are seen, other broken rows are reported."""
    examine_and_report(gate, gated_row, record_property)
