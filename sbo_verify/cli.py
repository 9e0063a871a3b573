"""The command line: `run`, `stress`, `list`, `replay`, `report`, `bench`, `doctor`.

Exit codes: 0 pass, 1 fail, 2 unknown (did not run, canary unseen, time-out, interrupted), 254 wrong
usage, 255 internal error.
"""

from __future__ import annotations

import json
import secrets
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from sbo_verify import __version__
from sbo_verify.device.build import BuildError
from sbo_verify.device.doctor import can_run, examine
from sbo_verify.device.geometry import GeometryError
from sbo_verify.device.gpu import Gpu, NoGpuError, open_gpu
from sbo_verify.device.micro_kernel import ArenaError, LaunchHungError
from sbo_verify.device.nvrtc import ToolchainError
from sbo_verify.harness.benchmark import benchmark
from sbo_verify.harness.judgement import Evidence, JudgementError, judge_run
from sbo_verify.harness.knobs import KnobError, Knobs
from sbo_verify.harness.placement import PlacementError
from sbo_verify.harness.runner import Bench, refuse_unfit
from sbo_verify.harness.session import (
    Plan,
    choose_rows,
    conclude,
    conforms,
    read_code,
    settings_of,
    stress_row,
)
from sbo_verify.protocol import RefusedVariantError, Row, UnknownNameError
from sbo_verify.protocols import PROTOCOLS, protocol_named
from sbo_verify.report.catalogue import print_benchmark, print_catalogue, print_doctor
from sbo_verify.report.machine import machine_text
from sbo_verify.report.markdown import markdown_text
from sbo_verify.report.outline import Findings
from sbo_verify.report.progress import Progress
from sbo_verify.report.terminal import print_report
from sbo_verify.store import Run, StoreError
from sbo_verify.verdict import ExitCode

DEFAULT_OUT = Path("runs")
DEFAULT_SECONDS = 2.0
DEFAULT_PROTOCOL = next(iter(PROTOCOLS))
SEED_BITS = 32

USAGE_ERRORS = (
    UnknownNameError,
    RefusedVariantError,
    KnobError,
    GeometryError,
    ArenaError,
    PlacementError,
    StoreError,
    JudgementError,
)
NOT_RUN_ERRORS = (NoGpuError, ToolchainError, LaunchHungError)

Command = Callable[..., Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Errors become one line on standard error."""
    try:
        code = app.main(args=arguments, standalone_mode=False, prog_name="sbo-verify")
        return int(code or ExitCode.PASS)
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except (click.Abort, KeyboardInterrupt):
        return _complain("interrupted", ExitCode.UNKNOWN)
    except USAGE_ERRORS as error:
        return _complain(str(error), ExitCode.USAGE)
    except NOT_RUN_ERRORS as error:
        return _complain(str(error), ExitCode.UNKNOWN)
    except BuildError as error:
        return _complain(str(error), ExitCode.FAIL)
    except Exception:  # noqa: BLE001 - the last resort: a defect of this program
        traceback.print_exc()
        return _complain("internal error: please report the lines above", ExitCode.INTERNAL)


def _complain(message: str, code: ExitCode) -> int:
    sys.stderr.write(f"sbo-verify: {message}\n")
    return code


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
knob_option = click.option(
    "--knob",
    "knobs",
    multiple=True,
    metavar="NAME=VALUE",
    help=f"Fix a knob instead of drawing it; may be repeated. Knobs: {', '.join(asdict(Knobs()))}.",
)
run_options = _options(
    click.option("--variants", default="", metavar="NAMES", help="Names, hashes or * patterns, comma-separated; all by default."),
    click.option("--seed", type=int, default=None, help="Seed of all randomness; drawn and printed by default."),
    click.option("--seconds", type=click.FloatRange(min=0.001), default=DEFAULT_SECONDS, show_default=True, help="GPU seconds for each variant."),
    click.option("--observations", type=click.IntRange(min=0), default=0, help="Go on until a sound variant has this many hand-overs."),
    click.option("--gpu", "gpu_index", type=int, default=0, show_default=True, help="Index among the visible GPUs."),
    click.option("--out", type=click.Path(path_type=Path), default=DEFAULT_OUT, show_default=True, help="Folder that runs are written below."),
    click.option("--require-gpu", is_flag=True, help="Exit with 2 where silicon cannot run."),
    protocol_option,
    knob_option,
    as_json,
)  # fmt: skip


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def app() -> None:
    """Can a consumer see the signal at its threshold and still read a stale tile?

    Every way to write the hand-off is a variant. `run` examines all of them on every level that
    this machine has, and writes a report:

    \b
      sbo-verify run                          everything that can run here
      sbo-verify run --variants 'read_wait*'  only some variants
      sbo-verify list                         the variants, with verdict, reason and source
      sbo-verify doctor                       what can run here, and what to install
      sbo-verify report runs/signal_publish/RUN --format markdown
    """


@app.command("run")
@run_options
def run_command(**options: Any) -> int:  # noqa: ANN401 - click passes options by name
    """Examine variants on every level that can run here, then report.

    Without a Hopper GPU the compiled code is examined and the report says first and last that
    silicon did not run; the exit code then speaks of what did run, or is 2 with --require-gpu.
    """
    return _examine(options, code_only_is_enough=not options["require_gpu"])


@app.command("stress")
@run_options
def stress_command(**options: Any) -> int:  # noqa: ANN401 - click passes options by name
    """Like `run`, but refuse to go without a Hopper GPU.

    \b
      sbo-verify stress --variants read_wait-relaxed --knob tile_bytes=16384 --knob noise=store
    """
    return _examine(options, code_only_is_enough=False)


@app.command("list")
@protocol_option
@as_json
def list_command(protocol: str, *, as_json: bool) -> int:
    """Show the catalogue: name, expected verdict, canary or not, reason and source."""
    chosen = protocol_named(protocol)
    if as_json:
        click.echo(json.dumps([_row_json(protocol, row) for row in chosen], indent=2))
    else:
        print_catalogue(chosen, Console())
    return ExitCode.PASS


@app.command("replay")
@click.argument("variant")
@click.option("--seed", type=int, required=True, help="The seed that the record names.")
@click.option("--index", type=click.IntRange(min=0), required=True, help="The launch's index.")
@click.option("--gpu", "gpu_index", type=int, default=0, show_default=True)
@knob_option
@protocol_option
@as_json
def replay_command(**options: Any) -> int:  # noqa: ANN401 - click passes options by name
    """Repeat one launch exactly: the same variant, knobs, placement and device seed.

    \b
      sbo-verify replay read_wait-relaxed --seed 7 --index 3

    Exits with 1 if a stale tile was seen, 2 on a fault, 0 otherwise.
    """
    protocol = protocol_named(options["protocol"])
    row, fixed = protocol.row(options["variant"]), _parse_knobs(options["knobs"])
    refuse_unfit(row, fixed)
    bench = Bench(protocol, open_gpu(options["gpu_index"]))
    launch = bench.launch(row, options["seed"], options["index"], fixed)
    if options["as_json"]:
        click.echo(json.dumps(launch.to_json(), indent=2))
    else:
        click.echo(
            f"{row.name}: {launch.stale_tiles:,} stale tiles in {launch.observations:,} "
            f"hand-overs of {launch.planned:,}, {launch.elapsed_seconds:.3f} s"
        )
        for name, value in launch.knobs.items():
            click.echo(f"  {name} = {value}")
        for witness in launch.witnesses:
            click.echo(f"  witness {json.dumps(witness)}")
        if launch.fault:
            click.echo(f"  fault {json.dumps(launch.fault)}")
    if launch.fault:
        return ExitCode.UNKNOWN
    return ExitCode.FAIL if launch.stale_tiles else ExitCode.PASS


@app.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "markdown", "json"]),
    default="terminal",
    show_default=True,
)
def report_command(run: Path, form: str) -> int:
    """Judge a recorded run again and print its report; nothing is launched."""
    findings = _findings_of(Run.open(run))
    _print_findings(findings, form)
    return ExitCode(findings.summary.exit_code)


@app.command("bench")
@click.option("--variant", default="full_wait-atom_release", show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--gpu", "gpu_index", type=int, default=0, show_default=True)
@protocol_option
@as_json
def bench_command(variant: str, seed: int, gpu_index: int, protocol: str, *, as_json: bool) -> int:
    """Measure how many hand-overs a second the micro-kernel observes, with and without noise."""
    chosen = protocol_named(protocol)
    row = chosen.row(variant)
    gpu = open_gpu(gpu_index)
    plan = Plan(protocol=chosen, rows=[row], seed=seed, seconds=0.0)
    settings = settings_of(plan, gpu, "")
    cells = list(benchmark(Bench(chosen, gpu), row, seed))
    if as_json:
        records = {"settings": settings.to_json(), "cells": [asdict(cell) for cell in cells]}
        click.echo(json.dumps(records, indent=2))
    else:
        print_benchmark(cells, Console())
    return ExitCode.PASS


@app.command("doctor")
@as_json
def doctor_command(*, as_json: bool) -> int:
    """Say what can and cannot run on this machine, and what to install."""
    found = examine()
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in found], indent=2))
    else:
        print_doctor(found, Console())
    return ExitCode.PASS if can_run(found, "code") else ExitCode.UNKNOWN


def _row_json(protocol: str, row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "variant": protocol_named(protocol).hash_of(row.variant),
        "expected": row.expected.value,
        "canary": row.canary,
        "because": row.because,
        "source": row.source,
        "choices": row.variant.words(),
    }


def _parse_knobs(words: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            message = f"--knob takes NAME=VALUE, not {word!r}"
            raise KnobError(message)
        pairs[name.strip()] = value.strip()
    Knobs().with_values(pairs)
    return pairs


def _find_gpu(index: int) -> tuple[Gpu | None, str]:
    try:
        return open_gpu(index), ""
    except NoGpuError as error:
        return None, str(error)


def _examine(options: dict[str, Any], *, code_only_is_enough: bool) -> int:
    """The work of `run` and `stress`. Everything that can be refused is refused first."""
    protocol = protocol_named(options["protocol"])
    names = [name.strip() for name in options["variants"].split(",") if name.strip()]
    fixed = _parse_knobs(options["knobs"])
    seed = secrets.randbits(SEED_BITS) if options["seed"] is None else options["seed"]
    plan = Plan(
        protocol=protocol,
        rows=choose_rows(protocol, names),
        seed=seed,
        seconds=options["seconds"],
        observations=options["observations"],
        fixed=fixed,
    )
    for row in plan.rows:
        refuse_unfit(row, fixed)
    gpu, why_not = _find_gpu(options["gpu_index"])
    if gpu is None and not code_only_is_enough:
        message = f"silicon cannot run here: {why_not}"
        raise NoGpuError(message)
    run = Run.create(options["out"], settings_of(plan, gpu, why_not))
    with Progress(quiet=options["as_json"]) as progress:
        progress.say(f"seed {seed}; records in {run.path}")
        if gpu is None:
            progress.say(f"silicon did not run: {why_not}")
        interrupted = _carry_out(run, plan, gpu, progress)
    conclude(run, protocol, interrupted=interrupted)
    findings = _findings_of(run)
    _print_findings(findings, "json" if options["as_json"] else "terminal")
    return ExitCode(findings.summary.exit_code)


def _carry_out(run: Run, plan: Plan, gpu: Gpu | None, progress: Progress) -> bool:
    """Read the code, then stress; True when Ctrl-C or a lost GPU ended it early."""
    try:
        with progress.bar("compile and read back", len(plan.rows)) as bar:
            readings = read_code(run, plan.protocol, plan.rows, lambda row: bar.step(row.name))
        if gpu is None:
            return False
        bench = Bench(plan.protocol, gpu)
        with progress.bar("stress", len(plan.rows)) as bar:
            for row in plan.rows:
                bar.show(row.name)
                if conforms(readings[row.name]):
                    stress_row(run, bench, row, plan, lambda launch: bar.show(launch.row))
                bar.step(row.name)
    except KeyboardInterrupt:
        progress.say("interrupted; what was recorded until now follows")
        return True
    except LaunchHungError as error:
        progress.say(f"the GPU is lost to this process: {error}")
        return True
    return False


def _findings_of(run: Run) -> Findings:
    """Judge a recorded run; where the catalogue has changed since, take what the run concluded."""
    raw = run.raw()
    try:
        verdicts, summary = judge_run(Evidence.of_run(protocol_named(run.settings.protocol), run))
    except JudgementError:
        kept = run.verdict()
        if kept is None:
            raise
        verdicts, summary = kept
    return Findings(
        settings=run.settings,
        code_readings=raw.code_readings,
        launches=raw.launches,
        verdicts=verdicts,
        summary=summary,
        torn_lines=[str(line) for line in raw.torn_lines],
    )


def _print_findings(findings: Findings, form: str) -> None:
    if form == "json":
        click.echo(machine_text(findings), nl=False)
    elif form == "markdown":
        click.echo(markdown_text(findings), nl=False)
    else:
        print_report(findings, Console())
