"""The command of the signal GEMM: how long it takes, and what its signal costs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from sbo_verify.cli.commands import app
from sbo_verify.cli.options import as_json, gpu_option
from sbo_verify.device.gpu import open_gpu
from sbo_verify.gemm import chosen_variant
from sbo_verify.harness.gemm_benchmark import SHAPES, GemmTime, benchmark_gemm, method, sweep_gemm
from sbo_verify.harness.session import Plan, settings_of
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.report.gemm_times import gemm_times_text
from sbo_verify.verdict import ExitCode

DEFAULT_VARIANTS = "full_wait-atom_release,flashinfer-deferred_by_one_tile"
SIZES = 4


def sizes_of(text: str) -> tuple[int, int, int, int]:
    """The sizes in GROUPSxMxNxK; raises `click.BadParameter` where there are none."""
    sizes = text.split("x")
    if len(sizes) != SIZES or not all(size.isdecimal() and int(size) for size in sizes):
        message = f"{text!r} is no shape such as 16x64x4096x7168"
        raise click.BadParameter(message, param_hint="--shape")
    groups, m, n, k = (int(size) for size in sizes)
    return groups, m, n, k


@app.command("bench-gemm")
@click.option(
    "--variants",
    default=DEFAULT_VARIANTS,
    show_default=True,
    metavar="NAMES",
    help="Whose signal is measured, comma-separated.",
)
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="GROUPSxMxNxK",
    help="Every group full; may be repeated. Ten shapes of MoE layers by default.",
)
@click.option(
    "--beside",
    default=None,
    metavar="MODULE:FUNCTION",
    help="A producer with the public library's interface, measured in the same run.",
)
@click.option(
    "--every-tile",
    is_flag=True,
    help="Plain, with every tile and cluster instead of the one that is chosen.",
)
@click.option(
    "--record",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Measure nothing: print what --json printed before as Markdown.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of all inputs.")
@gpu_option
@as_json
def bench_gemm_command(**options: Any) -> int:  # noqa: ANN401 - click passes options by name
    """Measure the signal GEMM: kernel time with cold L2, plain and with each variant's signal.

    \b
      sbo-verify bench-gemm --json
      sbo-verify bench-gemm --every-tile --shape 1x1024x4096x7168
      sbo-verify bench-gemm --shape 16x64x4096x7168 --beside deep_gemm:m_grouped_fp8_gemm_nt_masked
      sbo-verify bench-gemm --record reports/h200-2026-11-24/gemm-benchmark.json
    """  # noqa: D301 - click keeps the lines behind a backspace
    if options["record"] is not None:
        click.echo(_recorded(options["record"]), nl=False)
        return ExitCode.PASS
    names = [name.strip() for name in options["variants"].split(",") if name.strip()]
    for name in names:
        chosen_variant(name)
    shapes = [sizes_of(text) for text in options["shapes"]] or SHAPES
    gpu = open_gpu(options["gpu_index"])
    rows = [SIGNAL_PUBLISH.row(name) for name in names]
    plan = Plan(protocol=SIGNAL_PUBLISH, rows=rows, seed=options["seed"], seconds=0.0)
    settings = settings_of(plan, gpu, "")
    sweep = options["every_tile"]
    cells = list(
        sweep_gemm(shapes, options["seed"])
        if sweep
        else benchmark_gemm(shapes, names, options["beside"], options["seed"])
    )
    if options["as_json"]:
        records = {
            "settings": settings.to_json(),
            "method": method(sweep=sweep),
            "cells": [asdict(cell) for cell in cells],
        }
        click.echo(json.dumps(records, indent=2))
    else:
        print_gemm_times(cells, Console())
    return ExitCode.PASS


def _recorded(file: Path) -> str:
    try:
        return gemm_times_text(json.loads(file.read_text()))
    except (KeyError, TypeError, ValueError) as error:
        message = f"{file} is no record of bench-gemm --json ({error!r})"
        raise click.BadParameter(message, param_hint="--record") from error


def print_gemm_times(cells: Iterable[GemmTime], console: Console) -> None:
    """Time by shape, producer and variant, what the signal costs, and the share of the limit."""
    table = Table(box=box.SIMPLE)
    left = {"producer", "variant", "kernel"}
    for column in ("shape", "producer", "variant", "kernel", "us", "signal costs", "of limit"):
        table.add_column(column, justify="left" if column in left else "right")
    for cell in cells:
        table.add_row(
            f"{cell.groups}x{cell.m}x{cell.n}x{cell.k}",
            cell.producer,
            cell.variant,
            cell.kernel,
            f"{cell.microseconds:.1f}",
            "" if cell.costs is None else f"{cell.costs:+.1%}",
            f"{cell.of_limit:.0%}",
        )
    console.print(table)
