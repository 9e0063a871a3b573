"""The command that measures the GEMM's errors, beside another's on the same inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from sbo_verify.cli.app import app
from sbo_verify.cli.gemm_commands import sizes_of
from sbo_verify.cli.options import as_json, gpu_option, parse_names
from sbo_verify.device.gpu import open_gpu
from sbo_verify.harness.numeric_inputs import KINDS
from sbo_verify.harness.numerics import SHAPES, gpu_laboratory, measured, shortcomings
from sbo_verify.harness.session import Plan, settings_of
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.report.numerics import numerics_text
from sbo_verify.verdict import ExitCode


@app.command("numerics")
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="GROUPSxMxNxK",
    help="May be repeated. Shapes with one and many blocks of K, with tails, by default.",
)
@click.option(
    "--inputs",
    "kinds",
    default="",
    metavar="NAMES",
    help=f"Kinds of inputs, comma-separated; all by default: {', '.join(KINDS)}.",
)
@click.option(
    "--beside",
    default=None,
    metavar="MODULE:FUNCTION",
    help="A producer with the public library's interface, on the same inputs.",
)
@click.option(
    "--record",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Measure nothing: print what --json printed before.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of all inputs.")
@gpu_option
@as_json
def numerics_command(**options: Any) -> int:  # noqa: ANN401 - click passes options by name
    """Measure how far the GEMM is from the FP64 product, on random and adversarial inputs.

    \b
      sbo-verify numerics
      sbo-verify numerics --inputs cancel_within,absorbed --shape 2x128x512x7168
      sbo-verify numerics --json --beside deep_gemm:m_grouped_fp8_gemm_nt_masked

    Exits with 1 where an error is out of bounds, where NaN or infinity reaches other elements,
    where a row that does not count was written, or where an error is greater than that of the
    producer beside it.
    """  # noqa: D301 - click keeps the lines behind a backspace
    if options["record"] is not None:
        return _recorded(options["record"])
    kinds = parse_names(options["kinds"]) or list(KINDS)
    if unknown := [name for name in kinds if name not in KINDS]:
        message = f"no inputs {unknown[0]!r}; there are {', '.join(KINDS)}"
        raise click.BadParameter(message, param_hint="--inputs")
    shapes = [sizes_of(text) for text in options["shapes"]] or SHAPES
    gpu = open_gpu(options["gpu_index"])
    plan = Plan(protocol=SIGNAL_PUBLISH, rows=[], seed=options["seed"], seconds=0.0)
    settings = settings_of(plan, gpu, "")
    laboratory = gpu_laboratory(options["beside"])
    cells = list(measured(laboratory, shapes, kinds, options["seed"]))
    found = shortcomings(cells)
    record = {
        "settings": settings.to_json(),
        "kinds": {name: KINDS[name][1] for name in kinds},
        "cells": [asdict(cell) for cell in cells],
        "shortcomings": found,
    }
    text = json.dumps(record, indent=1) + "\n" if options["as_json"] else numerics_text(record)
    click.echo(text, nl=False)
    for line in found:
        click.echo(f"sbo-verify: {line}", err=True)
    return ExitCode.FAIL if found else ExitCode.PASS


def _recorded(file: Path) -> int:
    try:
        record: Mapping[str, Any] = json.loads(file.read_text())
        click.echo(numerics_text(record), nl=False)
        return ExitCode.FAIL if record["shortcomings"] else ExitCode.PASS
    except (KeyError, TypeError, ValueError) as error:
        message = f"{file} is no record of numerics --json ({error!r})"
        raise click.BadParameter(message, param_hint="--record") from error
