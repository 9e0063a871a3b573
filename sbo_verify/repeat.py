"""The one command that repeats what a run saw of a row, made from the run's own records."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import pairwise

from sbo_verify.record import MICRO, Launch, Settings

GATE = "pytest stress/"


def repeat_command(settings: Settings, launches: Sequence[Launch], row: str) -> str:
    """The launch that shows something, repeated exactly; where none does, the row's whole stress.

    `launches` may be those of other rows, too.
    """
    if settings.command.startswith("pytest ") and not settings.command.startswith(GATE):
        # Another project's test: its producer may have no name that can be typed.
        return settings.command
    seed, which = settings.seed, ""
    if settings.kernel != MICRO:
        which = f" --kernel {settings.kernel}"
    if settings.producer:
        which += f" --producer {shlex.quote(settings.producer)}"
    # Without the knobs that were fixed, others would be drawn.
    which += "".join(f" --knob {name}={value}" for name, value in fixed_knobs(settings).items())
    telling = [each for each in launches if each.row == row and (each.stale_tiles or each.fault)]
    if telling:
        return f"sbo-verify replay {row}{which} --seed {seed} --index {telling[0].index}"
    if settings.command.startswith(GATE):
        return f"{GATE} --seed {seed} --variants {row} --require-gpu"
    asked = "stress" if settings.silicon or settings.kernel != MICRO else "run"
    return f"sbo-verify {asked} --variants {row}{which} --seed {seed}"


def fixed_knobs(settings: Settings) -> dict[str, str]:
    """The knobs that were not drawn, as text; runs that are older have them in their command."""
    if settings.knobs:
        return settings.knobs
    given = (after for word, after in pairwise(settings.command.split()) if word == "--knob")
    return {name: value for name, _, value in (each.partition("=") for each in given)}
