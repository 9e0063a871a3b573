"""The command of the signal GEMM: how long it takes, and what its signal costs."""

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
from sbo_verify.device.kernel_timer import KernelTimer
from sbo_verify.gemm import chosen_variant
from sbo_verify.harness.gemm_benchmark import SHAPES, GemmBenchmark, GemmTime, method, sweep_gemm
from sbo_verify.harness.gemm_goals import SOUND, cheapest_signals, goals_of
from sbo_verify.harness.gemm_limits import DATASHEET, Sizes, measured_limits
from sbo_verify.harness.session import Plan, choose_rows, settings_of
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.protocols.signal_publish.gemm import gemm_runs, producer_half
from sbo_verify.protocols.signal_publish.sites import SignalPublish
from sbo_verify.report.gemm_times import gemm_times_text, goal_lines
from sbo_verify.verdict import ExitCode

DEFAULT_VARIANTS = "full_wait-atom_release,flashinfer-deferred_by_one_tile"
SIZES = 4


def sizes_of(text: str) -> Sizes:
    """The sizes in GROUPSxMxNxK; raises `click.BadParameter` where there are none."""
    sizes = text.split("x")
    if len(sizes) != SIZES or not all(size.isdecimal() and int(size) for size in sizes):
        message = f"{text!r} is no shape such as 16x64x4096x7168"
        raise click.BadParameter(message, param_hint="--shape")
    groups, m, n, k = (int(size) for size in sizes)
    return groups, m, n, k


def measured_names(words: Iterable[str]) -> list[str]:
    """The named variants, and of a pattern one for each kernel: the consumer's half is not run.

    Raises `UnknownNameError` for a name or pattern that matches nothing, `GemmArgumentError` for a
    named variant that the GEMM cannot run.
    """
    names: list[str] = []
    for word in words:
        found = choose_rows(SIGNAL_PUBLISH, [word])
        if "*" not in word:
            chosen_variant(word)
            names.append(word)
            continue
        kernels: dict[SignalPublish, str] = {}
        # A kernel goes by a name that is sound beside Combine Send, where it has one.
        for row in sorted(found, key=lambda row: row.name not in SOUND):
            if gemm_runs(row.variant):
                kernels.setdefault(producer_half(row.variant), row.name)
        names += kernels.values()
    return list(dict.fromkeys(names))


@bench.command("gemm")
@click.option(
    "--variants",
    default=DEFAULT_VARIANTS,
    show_default=True,
    metavar="NAMES",
    help="Whose signal is measured, comma-separated; of a * pattern what the GEMM can run.",
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
    help="Plain and alone, with every tile and cluster instead of the one that is chosen.",
)
@record_option
@seed_option
@gpu_option
@as_json
def bench_gemm_command(**options: Any) -> int:  # noqa: ANN401 - click passes options by name
    """Measure the signal GEMM: kernel time with cold L2, plain and with each variant's signal.

    Beside it stands what cuBLASLt and torch's grouped GEMM make of the same product, where they
    can, and what this GPU's memory and tensor cores give at best.

    \b
      sbo-verify bench gemm --json
      sbo-verify bench gemm --variants '*' --json
      sbo-verify bench gemm --every-tile --shape 1x1024x4096x7168
      sbo-verify bench gemm --shape 16x64x4096x7168 --beside deep_gemm:m_grouped_fp8_gemm_nt_masked
      sbo-verify bench gemm --record reports/h200-2026-11-24/gemm-benchmark.json
    """  # noqa: D301 - click keeps the lines behind a backspace
    if options["record"] is not None:
        click.echo(recorded(options["record"], "bench gemm", gemm_times_text), nl=False)
        return ExitCode.PASS
    names = measured_names(parse_names(options["variants"]))
    shapes = [sizes_of(text) for text in options["shapes"]] or list(SHAPES)
    gpu = open_gpu(options["gpu_index"])
    rows = [SIGNAL_PUBLISH.row(name) for name in names]
    plan = Plan(protocol=SIGNAL_PUBLISH, rows=rows, seed=options["seed"], seconds=0.0)
    settings = settings_of(plan, gpu, "")
    sweep = options["every_tile"]
    record = _swept(shapes, options) if sweep else _compared(shapes, names, options)
    if options["as_json"]:
        head = {"settings": settings.to_json(), "method": method(sweep=sweep)}
        body = {name: _as_data(value) for name, value in record.items()}
        click.echo(json.dumps(head | body, indent=2))
    else:
        print_gemm_times(record["cells"], Console())
        for line in goal_lines(_as_data(record["goals"])) if record["goals"] else []:
            click.echo(line)
    return ExitCode.PASS


def _swept(shapes: list[Sizes], options: dict[str, Any]) -> dict[str, Any]:
    cells = list(sweep_gemm(KernelTimer(), shapes, options["seed"]))
    return {"limits": [], "left_out": {}, "lone_tiles": [], "goals": [], "cells": cells}


def _compared(shapes: list[Sizes], names: list[str], options: dict[str, Any]) -> dict[str, Any]:
    timer = KernelTimer()
    limits = measured_limits(timer)
    made = GemmBenchmark(
        timer=timer,
        variants=names,
        beside=options["beside"],
        seed=options["seed"],
        limits=limits,
    )
    cells = list(made.cells(shapes))
    lone = list(made.lone_tiles(shapes, cheapest_signals(cells)))
    return {
        "limits": [DATASHEET, limits],
        "left_out": made.left_out,
        "lone_tiles": lone,
        "goals": list(goals_of(cells, lone)),
        "cells": cells,
    }


def _as_data(value: Any) -> Any:  # noqa: ANN401 - lists of dataclasses, or plain data
    return [asdict(each) for each in value] if isinstance(value, list) else value


def print_gemm_times(cells: Iterable[GemmTime], console: Console) -> None:
    """Time by shape, producer and variant, what the signal costs, and the share of the limit."""
    table = Table(box=box.SIMPLE)
    left = {"producer", "variant", "kernel"}
    columns = ("shape", "producer", "variant", "kernel", "us", "±", "signal costs", "of limit")
    for column in columns:
        table.add_column(column, justify="left" if column in left else "right")
    for cell in cells:
        table.add_row(
            f"{cell.groups}x{cell.m}x{cell.n}x{cell.k}",
            cell.producer,
            cell.variant,
            cell.kernel,
            f"{cell.microseconds:.1f}",
            f"{(max(cell.repeats) - min(cell.repeats)) / 2:.1f}",
            "" if cell.costs is None else f"{cell.costs:+.1%}",
            f"{cell.of_limit:.0%}",
        )
    console.print(table)
