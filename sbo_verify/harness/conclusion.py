"""The end of a gate: its run is judged from what lies on disk, or is gone where nothing does."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from sbo_verify.harness.power import gate_told
from sbo_verify.harness.session import conclude
from sbo_verify.harness.stressed_kernels import protocol_for
from sbo_verify.record import RowVerdict, Summary
from sbo_verify.store import Run


def concluded(
    path: Path, kernel: str, *, interrupted: bool
) -> tuple[list[RowVerdict], Summary] | None:
    """Judge the gate's run in the folder `path`; without any record it is removed, and None.

    Other tests than the gate's were run then. Raises `StoreError`.
    """
    run = Run.open(path)
    if run.is_empty:
        shutil.rmtree(run.path)
        return None
    protocol = protocol_for(run.settings.protocol, kernel)
    return conclude(run, protocol, interrupted=interrupted)


def power_lines(path: Path, verdicts: Sequence[RowVerdict]) -> list[str]:
    """What the gate in the folder `path` could have seen, in words. Raises `StoreError`."""
    run = Run.open(path)
    raw = run.raw()
    return gate_told(run.settings, verdicts, raw.launches, raw.code_readings)
