"""Both engines end litmus files with random changes alike."""

from __future__ import annotations

import random

import pytest
from asp_engine import NotCoveredError, outcomes
from random_variations import vary
from test_model_asp import LITMUS, REFUSED, everything, expected, of_the_model

from sbo_verify.model import liveness_of
from sbo_verify.model.litmus import read_file, read_text
from sbo_verify.model.readings import AsyncFence
from sbo_verify.model.scanner import LitmusError
from sbo_verify.model.trace import ProgramError

FILES = [
    LITMUS / folder / name
    for folder in ("public", "bulk")
    for name in sorted(set(expected(folder)) - REFUSED[folder])
]
PROGRAMS = 40


@pytest.mark.parametrize("seed", range(8))
def test_both_engines_give_a_varied_litmus_file_the_same_ends(seed: int) -> None:
    rng = random.Random(seed)
    compared = 0
    for _ in range(3 * PROGRAMS):
        text = vary(rng, read_file(rng.choice(FILES)))
        if compared == PROGRAMS:
            continue
        try:
            program = read_text(text)
            answer = outcomes(program, everything(program))
            by_the_model = of_the_model(program)
        except (LitmusError, NotCoveredError, ProgramError):
            continue
        assert answer == by_the_model, text
        compared += 1
    assert compared == PROGRAMS


def test_no_wait_passes_before_the_copy_is_issued_that_it_waits_for() -> None:
    """The phase cannot be complete: the program hangs, whether the wait acquires or not."""
    copy = "cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes s, x, m"
    for wait in ("mbarrier.try_wait m", "mbarrier.try_wait.relaxed.cta m"):
        body = "".join(f" {line} ;\n" for line in ("mbarrier.arrive.expect_tx m", wait, copy))
        text = f"PTX t\n{{\nshared s = 0; global x = 1; mbarrier m;\n}}\n P0@cta 0,gpu 0 ;\n{body}"
        program = read_text(f"{text}exists (s == 0)\n")
        assert outcomes(program, everything(program)).outcomes[AsyncFence.STRICT] == frozenset()
        assert of_the_model(program).outcomes[AsyncFence.STRICT] == frozenset()
        assert liveness_of(program).known is True
