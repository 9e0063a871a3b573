"""The group of benchmarks, and the micro-kernel's; those of the GEMM and of overlap join it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from sbo_verify.cli.app import app
from sbo_verify.cli.options import SEED, as_json, gpu_option, protocol_option
from sbo_verify.cli.tables import print_benchmark
from sbo_verify.device.gpu import open_gpu
from sbo_verify.harness.benchmark import benchmark
from sbo_verify.harness.runner import Bench
from sbo_verify.harness.session import Plan, settings_of
from sbo_verify.protocols import protocol_named
from sbo_verify.verdict import ExitCode

seed_option = click.option(
    "--seed", type=SEED, default=1, show_default=True, help="Seed of all inputs."
)
record_option = click.option(
    "--record",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Measure nothing: print what --json printed before as Markdown.",
)


@app.group("bench")
def bench() -> None:
    """Measure on a Hopper GPU: hand-overs a second, the GEMM's time, whether overlap pays.

    \b
      sbo-verify bench handover
      sbo-verify bench gemm --json
      sbo-verify bench overlap --experts 16 --rows 64
    """  # noqa: D301 - click keeps the lines behind a backspace


@bench.command("handover")
@click.option(
    "--variant", default="full_wait-atom_release", show_default=True, help="What is measured."
)
@click.option("--seed", type=SEED, default=1, show_default=True, help="Seed of all randomness.")
@gpu_option
@protocol_option
@as_json
def handover_command(**options: Any) -> int:  # noqa: ANN401 - click passes options by name
    """Measure how many hand-overs a second the micro-kernel observes, with and without noise.

    \b
      sbo-verify bench handover --variant full_wait-atom_release --json
    """  # noqa: D301 - click keeps the lines behind a backspace
    protocol = protocol_named(options["protocol"])
    row, seed = protocol.row(options["variant"]), options["seed"]
    gpu = open_gpu(options["gpu_index"])
    plan = Plan(protocol=protocol, rows=[row], seed=seed, seconds=0.0)
    settings = settings_of(plan, gpu, "")
    cells = list(benchmark(Bench(protocol, gpu), row, seed))
    if options["as_json"]:
        records = {"settings": settings.to_json(), "cells": [asdict(cell) for cell in cells]}
        click.echo(json.dumps(records, indent=2))
    else:
        print_benchmark(cells, Console())
    return ExitCode.PASS


def recorded(file: Path, command: str, text_of: Callable[[Mapping[str, Any]], str]) -> str:
    """A record as text; `click.BadParameter` where the file is no record of `command`."""
    try:
        return text_of(json.loads(file.read_text()))
    except (KeyError, TypeError, ValueError) as error:
        message = f"{file} is no record of {command} --json ({error!r})"
        raise click.BadParameter(message, param_hint="--record") from error
