"""The command that measures whether overlap pays, on one GPU."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from sbo_verify.cli.bench_commands import bench, record_option, recorded, seed_option
from sbo_verify.cli.options import as_json, gpu_option, parse_names
from sbo_verify.device.gpu import open_gpu
from sbo_verify.gemm import chosen_variant
from sbo_verify.harness.overlap_benchmark import (
    LAYER,
    PAIR,
    OverlapTime,
    Scope,
    benchmark_overlap,
    method,
)
from sbo_verify.harness.overlap_findings import findings_of
from sbo_verify.harness.overlap_work import EXPERTS_TIMES_ROWS_MULTIPLE, ROWS_MULTIPLE
from sbo_verify.harness.session import Plan, settings_of
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.report.overlap_times import finding_lines, overlap_times_text
from sbo_verify.verdict import ExitCode

DEFAULT_VARIANTS = "full_wait-atom_release,flashinfer-deferred_by_one_tile"
KINDS = (PAIR, LAYER)


def numbers_of(_context: click.Context, parameter: click.Parameter, text: str) -> list[int]:
    """Whole numbers from 1, comma-separated; raises `click.BadParameter` for anything else."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) for word in words):
        message = f"{text!r} are no whole numbers from 1 such as 3,8"
        raise click.BadParameter(message, param=parameter)
    return [int(word) for word in words]


@bench.command("overlap")
@click.option(
    "--experts",
    callback=numbers_of,
    metavar="NUMBERS",
    default="8,16,32",
    show_default=True,
    help="Experts on this GPU.",
)
@click.option(
    "--rows",
    callback=numbers_of,
    metavar="NUMBERS",
    default="16,64,128,256",
    show_default=True,
    help="Rows of each expert; a token is a row of eight experts.",
)
@click.option(
    "--link-sms",
    callback=numbers_of,
    metavar="NUMBERS",
    default="3,8,16",
    show_default=True,
    help="SMs that send and receive, in place of a link; the GEMMs get the others.",
)
@click.option(
    "--variants",
    default=DEFAULT_VARIANTS,
    show_default=True,
    metavar="NAMES",
    help="Whose signal Combine Send follows, comma-separated.",
)
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(KINDS),
    multiple=True,
    help="Down GEMM and Combine Send, or a whole MoE layer; both by default.",
)
@record_option
@seed_option
@gpu_option
@as_json
def overlap_command(**options: Any) -> int:  # noqa: ANN401 - click passes options by name
    """Measure whether overlap pays: in turn, Single Batch Overlap, Two-Batch Overlap.

    A link to other GPUs is modelled by the SMs that copy in its place; all else is measured. What
    every schedule makes is checked to the last bit before it is timed.

    \b
      sbo-verify bench overlap --json
      sbo-verify bench overlap --kind pair --experts 16 --rows 64,256 --link-sms 3
      sbo-verify bench overlap --record reports/h200-2026-11-24/overlap.json
    """  # noqa: D301 - click keeps the lines behind a backspace
    if options["record"] is not None:
        click.echo(recorded(options["record"], "bench overlap", overlap_times_text), nl=False)
        return ExitCode.PASS
    names = parse_names(options["variants"])
    variants = {name: chosen_variant(name) for name in names}
    for name in names:
        if not SIGNAL_PUBLISH.row(name).sound:
            message = f"{name} is not sound: Combine Send would send rows that are not there yet"
            raise click.BadParameter(message, param_hint="--variants")
    _check_sizes(options)
    gpu = open_gpu(options["gpu_index"])
    if (most := max(options["link_sms"])) >= gpu.sm_count:
        message = f"{most} SMs leave none of {gpu.sm_count} to the GEMMs"
        raise click.BadParameter(message, param_hint="--link-sms")
    rows = [SIGNAL_PUBLISH.row(name) for name in names]
    plan = Plan(protocol=SIGNAL_PUBLISH, rows=rows, seed=options["seed"], seconds=0.0)
    settings = settings_of(plan, gpu, "")
    scope = Scope(
        experts=options["experts"],
        rows=options["rows"],
        link_sms=options["link_sms"],
        variants=variants,
        seed=options["seed"],
        kinds=options["kinds"] or KINDS,
    )
    cells = list(benchmark_overlap(scope, gpu.sm_count))
    findings = [asdict(each) for each in findings_of(cells)]
    if options["as_json"]:
        record = {
            "settings": settings.to_json(),
            "method": method(),
            "findings": findings,
            "cells": [asdict(cell) for cell in cells],
        }
        click.echo(json.dumps(record, indent=1))
    else:
        print_overlap_times(cells, Console())
        for line in finding_lines(findings):
            click.echo(line)
    return ExitCode.PASS


def _check_sizes(options: dict[str, Any]) -> None:
    for rows in options["rows"]:
        if rows % ROWS_MULTIPLE:
            message = f"{rows} rows; allowed are multiples of {ROWS_MULTIPLE}, which has two halves"
            raise click.BadParameter(message, param_hint="--rows")
        for experts in options["experts"]:
            if experts * rows % EXPERTS_TIMES_ROWS_MULTIPLE:
                message = (
                    f"{experts} experts of {rows} rows; allowed are products that are multiples of "
                    f"{EXPERTS_TIMES_ROWS_MULTIPLE}: two halves of whole tokens, eight rows each"
                )
                raise click.BadParameter(message, param_hint="--experts")


def print_overlap_times(cells: Iterable[OverlapTime], console: Console) -> None:
    """Time by problem, SMs of the link and schedule, and what it saves."""
    table = Table(box=box.SIMPLE)
    left = {"kind", "schedule", "variant"}
    columns = ("kind", "experts", "rows", "link SMs", "schedule", "variant", "us", "saves", "GB/s")
    for column in columns:
        table.add_column(column, justify="left" if column in left else "right")
    for cell in cells:
        rate = cell.bytes_per_second
        table.add_row(
            cell.kind,
            str(cell.experts),
            str(cell.rows),
            str(cell.link_sms),
            cell.schedule,
            cell.variant,
            f"{cell.microseconds:.1f}",
            "" if cell.saves is None else f"{cell.saves:+.1%}",
            "" if rate is None else f"{rate / 1e9:.0f}",
        )
    console.print(table)
