"""Two recorded runs compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sbo_verify.api.reading import Examination, beside_of, open_run
from sbo_verify.harness.comparison import LEVEL, Comparison, Side, compare_runs

Recorded = Examination | Path | str


def compare(
    before: Recorded,
    after: Recorded,
    *,
    level: float = LEVEL,
    beside_before: Sequence[Path | str] = (),
    beside_after: Sequence[Path | str] = (),
) -> Comparison:
    """What changed from one recorded run to another; `exit_code` is that of `sbo-verify compare`.

    `level` is the probability that any rate is called changed although none is; the files beside
    the runs are what `bench gemm` printed with --json. Raises `StoreError`, `JudgementError`,
    `BesideError`.

    >>> from sbo_verify import api
    >>> run = "reports/signal_publish/20261124T124251Z-b8e20b0f92d0"
    >>> api.compare(run, run).outcome
    'pass'
    """
    return compare_runs(_side(before, beside_before), _side(after, beside_after), level)


def _side(run: Recorded, files: Sequence[Path | str]) -> Side:
    found = (run if isinstance(run, Examination) else open_run(run)).findings
    return Side(
        settings=found.settings,
        verdicts=found.verdicts,
        summary=found.summary,
        launches=found.launches,
        code_readings=found.code_readings,
        beside=beside_of(found.settings, files),
    )
