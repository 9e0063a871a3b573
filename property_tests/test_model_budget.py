"""A search ends with its budget, whatever it was doing."""

from __future__ import annotations

import time
from pathlib import Path

from sbo_verify.model import Budget, judge_litmus

SECONDS = 0.5
# Two readings are searched, each with a budget of its own, on a machine that may be busy.
PATIENCE_SECONDS = 10.0
THREADS, FENCES = 4, 3


def test_many_sc_fences_end_as_unknown_within_the_budget(tmp_path: Path) -> None:
    """Twelve fences have 369,600 orders that keep to program order."""
    columns = " | ".join(f"P{thread}@cta 0, gpu 0" for thread in range(THREADS))
    rows = [
        [f"st.relaxed.gpu x{thread}, 1" for thread in range(THREADS)],
        *([["fence.sc.gpu"] * THREADS] * FENCES),
        [f"ld.relaxed.gpu r{thread}, x{(thread + 1) % THREADS}" for thread in range(THREADS)],
    ]
    initial = " ".join(f"x{thread} = 0;" for thread in range(THREADS))
    asked = " /\\ ".join(f"P{thread}:r{thread} == 0" for thread in range(THREADS))
    body = [f" {' | '.join(row)} ;" for row in rows]
    text = "\n".join(
        ["PTX many", "{", initial, "}", f" {columns} ;", *body, "exists", f"({asked})"]
    )
    file = tmp_path / "many.litmus"
    file.write_text(text + "\n")
    started = time.monotonic()
    answer = judge_litmus(file, Budget(seconds=SECONDS))
    assert answer.condition_holds is None
    assert not answer.complete
    assert time.monotonic() - started < PATIENCE_SECONDS
