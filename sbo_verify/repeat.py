"""The one command that repeats what a run saw of a row, made from the run's own records."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from sbo_verify.record import MICRO, Launch, Settings

GATE = "pytest stress/"
PROGRAM = "sbo-verify"


def repeat_command(settings: Settings, launches: Sequence[Launch], row: str) -> str:
    """The launch that shows something, repeated exactly; where none does, the row's whole stress.

    `launches` may be those of other rows, too.
    """
    seed, words = settings.seed, settings.command.split()
    which = "" if settings.kernel == MICRO else f" --kernel {settings.kernel}"
    if settings.producer:
        which += f" --producer {shlex.quote(settings.producer)}"
    telling = [each for each in launches if each.row == row and (each.stale_tiles or each.fault)]
    if telling and "<" not in settings.producer:
        index = telling[0].index
        return f"{PROGRAM} replay {row}{which} --seed {seed} --index {index}{_fixed(words)}"
    if settings.command.startswith(GATE):
        return f"{GATE} --seed {seed} --variants {row} --require-gpu"
    if words[:1] != [PROGRAM]:
        # Neither the gate nor the command line: who called knows how it is called again.
        return settings.command
    silicon = " --require-gpu" if settings.silicon and not which else ""
    asked = "stress" if which else "run"
    return f"{PROGRAM} {asked} --variants {row}{which} --seed {seed}{_fixed(words)}{silicon}"


def _fixed(words: Sequence[str]) -> str:
    """The knobs that the run's command fixed, as options: without them others would be drawn."""
    pairs = zip(words, [*words[1:], ""], strict=True)
    given = [after for word, after in pairs if word == "--knob"]
    given += [word.partition("=")[2] for word in words if word.startswith("--knob=")]
    return "".join(f" --knob {each}" for each in given)
