"""The model level: the variant as a program under the PTX memory model, searched exhaustively.

Reading order: `events`, `axioms` (the model on one page), `bulk` (asynchronous copies), `search`,
`hand_over` (a variant as a program), `explain`. Nothing here needs a GPU.
"""

from __future__ import annotations

from sbo_verify.model.judge import (
    LitmusAnswer,
    ModelAnswer,
    judge,
    judge_litmus,
    judge_program,
    single_changes,
)
from sbo_verify.model.liveness import Liveness, liveness_of
from sbo_verify.model.polling import poll_answer
from sbo_verify.model.scanner import LitmusError
from sbo_verify.model.search import Budget

__all__ = [
    "Budget",
    "LitmusAnswer",
    "LitmusError",
    "Liveness",
    "ModelAnswer",
    "judge",
    "judge_litmus",
    "judge_program",
    "liveness_of",
    "poll_answer",
    "single_changes",
]
