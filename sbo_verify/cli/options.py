"""Options that several commands share, and how their words are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import click

from sbo_verify.harness.host_knobs import HostKnobs
from sbo_verify.harness.knob_set import KnobSet
from sbo_verify.harness.knobs import KnobError, Knobs
from sbo_verify.harness.live_knobs import LiveKnobs
from sbo_verify.harness.stressed_kernels import KERNELS
from sbo_verify.protocols import DEFAULT_PROTOCOL, PROTOCOLS
from sbo_verify.record import GEMM, MICRO

DEFAULT_OUT = Path("runs")
DEFAULT_SECONDS = 2.0

Command = Callable[..., Any]


class Finite(click.FloatRange):
    """A number in a range; neither endless nor "not a number", which compare as if allowed.

    `what` names it in a message: "number of seconds".
    """

    def __init__(self, what: str, **limits: Any) -> None:  # noqa: ANN401 - as click has them
        super().__init__(**limits)
        self.what = what

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """The number in `value`."""
        number = float(super().convert(value, param, ctx))
        if not isfinite(number):
            self.fail(f"{value} is no {self.what}", param, ctx)
        return number


SECONDS = Finite("number of seconds", min=0.001)
RATE = Finite("rate", min=0.0, max=1.0, max_open=True)
# numpy's generators take no others, and what is drawn is none.
SEED = click.IntRange(min=0)


def complete_variants(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Names of variants for a shell, behind those of a comma-separated list that stand already."""
    before, comma, last = incomplete.rpartition(",")
    rows = PROTOCOLS[DEFAULT_PROTOCOL]
    return [f"{before}{comma}{row.name}" for row in rows if row.name.startswith(last)]


def _options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


as_json = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
protocol_option = click.option(
    "--protocol", default=DEFAULT_PROTOCOL, show_default=True, help="Hand-over protocol."
)
gpu_option = click.option(
    "--gpu",
    "gpu_index",
    type=int,
    default=0,
    show_default=True,
    help="Index among the visible GPUs.",
)
knob_option = click.option(
    "--knob",
    "knobs",
    multiple=True,
    metavar="NAME=VALUE",
    help=(
        "Fix a knob instead of drawing it; may be repeated. "
        f"Knobs: {', '.join(Knobs.names())}; of --kernel gemm: {', '.join(LiveKnobs.names())}; "
        f"of --kernel host: {', '.join(HostKnobs.names())}."
    ),
)
kernel_option = click.option(
    "--kernel",
    type=click.Choice(KERNELS),
    default=MICRO,
    show_default=True,
    help=(
        "What hands tiles over: the micro-kernel, the masked GEMM to Combine Send, or CTAs to a "
        "CPU thread that reads on pinned memory."
    ),
)
kernel_options = _options(
    kernel_option,
    click.option(
        "--producer",
        default=None,
        metavar="MODULE:FUNCTION",
        help="A foreign producer with the GEMM's interface, as the row `foreign` of --kernel gemm.",
    ),
)
run_options = _options(
    click.option(
        "--variants",
        default="",
        metavar="NAMES",
        shell_complete=complete_variants,
        help="Names, hashes or * patterns, comma-separated; all by default.",
    ),
    click.option(
        "--seed",
        type=SEED,
        default=None,
        help="Seed of all randomness; drawn and printed by default.",
    ),
    click.option(
        "--seconds",
        type=SECONDS,
        default=DEFAULT_SECONDS,
        show_default=True,
        help="GPU seconds for each variant.",
    ),
    click.option(
        "--observations",
        type=click.IntRange(min=0),
        default=0,
        help="Go on until a sound variant has this many hand-overs.",
    ),
    click.option(
        "--bound",
        type=RATE,
        default=0.0,
        metavar="RATE",
        help="End a sound variant's stress within --seconds once its rate is below this (95 %).",
    ),
    gpu_option,
    click.option(
        "--out",
        type=click.Path(path_type=Path),
        default=DEFAULT_OUT,
        show_default=True,
        help="Folder that runs are written below.",
    ),
    click.option("--require-gpu", is_flag=True, help="Exit with 2 where silicon cannot run."),
    protocol_option,
    knob_option,
    as_json,
)


def parse_knobs(words: Sequence[str], kind: type[KnobSet] = Knobs) -> dict[str, str]:
    """Knob to value, as text; raises `KnobError` for an unknown knob or a value not allowed."""
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            message = f"--knob takes NAME=VALUE, not {word!r}"
            raise KnobError(message)
        pairs[name.strip()] = value.strip()
    kind().with_values(pairs)
    return pairs


def refuse_lone_producer(options: dict[str, Any]) -> None:
    """A foreign producer takes part beside Combine Send alone."""
    if options["producer"] and options["kernel"] != GEMM:
        message = "--producer names a GEMM; choose --kernel gemm with it"
        raise click.UsageError(message)


def parse_names(word: str, option: str = "--variants") -> list[str]:
    """The names of a comma-separated list; empty where the option was not given.

    Raises `click.UsageError` for a list of no names: it was meant to name some, not all.
    """
    names = [name.strip() for name in word.split(",") if name.strip()]
    if word and not names:
        message = f"{option} {word!r} names nothing; give comma-separated names, or leave it out"
        raise click.UsageError(message)
    return names
