"""Both engines end litmus files with random changes alike, but for one known difference."""

from __future__ import annotations

import random

import pytest
from asp_engine import NotCoveredError, outcomes
from random_variations import vary
from test_model_asp import LITMUS, REFUSED, everything, expected, of_the_model

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
# The known difference, see the last test.
RELAXED_WAIT = "try_wait.relaxed"


@pytest.mark.parametrize("seed", range(8))
def test_both_engines_give_a_varied_litmus_file_the_same_ends(seed: int) -> None:
    rng = random.Random(seed)
    compared = 0
    for _ in range(3 * PROGRAMS):
        text = vary(rng, read_file(rng.choice(FILES)))
        if RELAXED_WAIT in text or compared == PROGRAMS:
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


def test_the_model_alone_lets_a_relaxed_wait_pass_before_its_copy_is_issued() -> None:
    """The phase cannot be complete: the program hangs. The model has ends too many, none too few.

    An acquiring wait is ordered behind the copy, which then comes before itself; a relaxed one is
    not, and the model knows no other reason for which a phase with expected bytes stays open.
    """
    copy = "cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes s, x, m"
    body = "".join(
        f" {line} ;\n"
        for line in ("mbarrier.arrive.expect_tx m", "mbarrier.try_wait.relaxed.cta m", copy)
    )
    text = f"PTX t\n{{\nshared s = 0; global x = 1; mbarrier m;\n}}\n P0@cta 0,gpu 0 ;\n{body}"
    program = read_text(f"{text}exists (s == 0)\n")
    assert outcomes(program, everything(program)).outcomes[AsyncFence.STRICT] == frozenset()
    assert of_the_model(program).outcomes[AsyncFence.STRICT] == {(1, 1)}
