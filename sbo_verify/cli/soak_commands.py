"""The commands of long runs: a soak that goes on after any interruption, and the sum of runs."""

from __future__ import annotations

import secrets
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from sbo_verify.cli.app import app
from sbo_verify.cli.examination import findings_of, print_findings
from sbo_verify.cli.options import (
    DEFAULT_OUT,
    SECONDS,
    SEED,
    as_json,
    gpu_option,
    kernel_options,
    knob_option,
    parse_knobs,
    parse_names,
    protocol_option,
    refuse_lone_producer,
)
from sbo_verify.device.gpu import Gpu, open_gpu
from sbo_verify.device.gpu_errors import gpu_errors_named
from sbo_verify.device.micro_kernel import GpuLostError, GpuMemoryError
from sbo_verify.harness.examination import SEED_BITS
from sbo_verify.harness.judgement import judge_run
from sbo_verify.harness.session import Plan, choose_rows, conclude, settings_of
from sbo_verify.harness.soak import Soak, is_complete, taken
from sbo_verify.harness.stressed_kernels import (
    bench_for,
    knobs_of,
    protocol_for,
    reader_of,
    refuse,
    rows_by_default,
)
from sbo_verify.harness.summing import SumError, differences, evidence_of_sum
from sbo_verify.record import Launch, Settings
from sbo_verify.report.outline import Findings
from sbo_verify.report.progress import Bar, Progress
from sbo_verify.store import DiskError, Run
from sbo_verify.verdict import ExitCode

HOUR_SECONDS = 3600.0
BAR_STEPS = 1000
# What a soak that goes on takes from its settings.
_FROM_SETTINGS = ("variants", "seed", "out", "protocol", "knobs", "kernel", "producer")


@app.command("soak")
@click.option(
    "--seconds",
    type=SECONDS,
    default=HOUR_SECONDS,
    show_default=True,
    help="GPU seconds in all, shared by the variants.",
)
@click.option(
    "--variants",
    default="",
    metavar="NAMES",
    help="Names, hashes or * patterns, comma-separated; all by default.",
)
@click.option(
    "--seed", type=SEED, default=None, help="Seed of all randomness; drawn and printed by default."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=DEFAULT_OUT,
    show_default=True,
    help="Folder that the run is written below.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    default=None,
    metavar="RUN",
    help="Go on with the soak in this folder, which knows its variants, seed, knobs and time.",
)
@kernel_options
@gpu_option
@protocol_option
@knob_option
@as_json
def soak_command(**options: Any) -> int:  # noqa: ANN401 - click passes options by name
    """The gate for an hour, which goes on after any interruption where it was.

    Variants take turns until the GPU time is used. Every launch is on disk when it ends; quiet
    ones are added up, so that neither memory nor disk use grows. Ctrl-C, a lost GPU and a full
    disk end the soak with 2; --resume goes on behind each variant's last launch.

    \b
      sbo-verify soak --seconds 3600 --seed 7
      sbo-verify soak --resume runs/signal_publish/RUN
    """  # noqa: D301 - click keeps the lines behind a backspace
    gpu = open_gpu(options["gpu_index"])
    plan, run = _resumed(options, gpu) if options["resume"] else _fresh(options, gpu)
    with Progress(quiet=options["as_json"]) as progress:
        progress.say(f"seed {plan.seed}; records in {run.path}")
        if run.settings.dirty or not run.settings.commit:
            progress.say("no commit names this code: the run can be neither resumed nor added up")
        with progress.bar("soak", BAR_STEPS) as bar:
            ended = _soak(run, plan, gpu, bar)
        progress.say(taken(run))
        if ended:
            progress.say(f"{ended}; go on with: sbo-verify soak --resume {run.path}")
    _, summary = conclude(run, plan.protocol, interrupted=bool(ended))
    print_findings(findings_of(run), "json" if options["as_json"] else "terminal")
    if incomplete := is_complete(run):
        message = f"the launches on disk are not each exactly once: {'; '.join(incomplete)}"
        raise DiskError(message)
    return ExitCode(summary.exit_code)


@app.command("sum")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "markdown", "html", "json"]),
    default="terminal",
    show_default=True,
    help="How the report is printed.",
)
def sum_command(runs: tuple[Path, ...], form: str) -> int:
    """Judge several runs as one: their hand-overs are added up, nothing is launched.

    \b
      sbo-verify sum runs/signal_publish/RUN runs/signal_publish/OTHER

    Runs of different commits, compilers, kinds of GPU, drivers or knobs are refused with 254, and
    so are two runs of one seed.
    """  # noqa: D301 - click keeps the lines behind a backspace
    opened = [Run.open(path) for path in runs]
    evidence = evidence_of_sum(opened, shlex.join(["sbo-verify", *sys.argv[1:]]))
    verdicts, summary = judge_run(evidence)
    models = {each.row: each for run in opened for each in run.raw().model_readings}
    findings = Findings(
        settings=evidence.settings,
        code_readings=evidence.code_readings,
        launches=evidence.launches,
        model_readings=list(models.values()),
        verdicts=verdicts,
        summary=summary,
        torn_lines=evidence.torn_lines,
    )
    print_findings(findings, form)
    return ExitCode(summary.exit_code)


def _fresh(options: dict[str, Any], gpu: Gpu) -> tuple[Plan, Run]:
    refuse_lone_producer(options)
    kernel, producer = options["kernel"], options["producer"] or ""
    protocol = protocol_for(options["protocol"], kernel, producer)
    names = parse_names(options["variants"])
    plan = Plan(
        protocol=protocol,
        rows=choose_rows(protocol, names) if names else rows_by_default(protocol, producer),
        seed=secrets.randbits(SEED_BITS) if options["seed"] is None else options["seed"],
        seconds=options["seconds"],
        fixed=parse_knobs(options["knobs"], knobs_of(kernel)),
        kernel=kernel,
        producer=producer,
    )
    refuse(plan)
    return plan, Run.create(options["out"], settings_of_soak(plan, gpu))


def settings_of_soak(plan: Plan, gpu: Gpu) -> Settings:
    """As of any run, but with one time for all rows together."""
    return replace(settings_of(plan, gpu, ""), seconds_per_row=0.0, seconds_in_all=plan.seconds)


def _resumed(options: dict[str, Any], gpu: Gpu) -> tuple[Plan, Run]:
    """The plan that the run's settings give; `SumError` where it is no soak of this very code."""
    _refuse_beside_resume()
    run = Run.open(options["resume"])
    settings = run.settings
    if not settings.seconds_in_all:
        message = f"{run.path} is no soak: it was made by {settings.command!r}"
        raise SumError(message)
    protocol = protocol_for(settings.protocol, settings.kernel, settings.producer)
    given = click.get_current_context().get_parameter_source("seconds")
    plan = Plan(
        protocol=protocol,
        rows=choose_rows(protocol, settings.rows),
        seed=settings.seed,
        seconds=settings.seconds_in_all if given is ParameterSource.DEFAULT else options["seconds"],
        fixed=settings.knobs,
        kernel=settings.kernel,
        producer=settings.producer,
    )
    if found := differences(settings, settings_of_soak(plan, gpu)):
        message = f"{run.path} cannot be gone on with: {'; '.join(found)}"
        raise SumError(message)
    refuse(plan)
    return plan, run


def _refuse_beside_resume() -> None:
    source = click.get_current_context().get_parameter_source
    given = [name for name in _FROM_SETTINGS if source(name) is not ParameterSource.DEFAULT]
    if given:
        message = f"--{given[0]} is what the run's settings say; leave it out beside --resume"
        raise click.UsageError(message)


def _soak(run: Run, plan: Plan, gpu: Gpu, bar: Bar) -> str:
    """Work on the run; why it ended before its time, empty where it did not."""
    at = 0.0

    def on_launch(launch: Launch) -> None:
        nonlocal at
        at += launch.elapsed_seconds
        while at >= plan.seconds / BAR_STEPS:
            at -= plan.seconds / BAR_STEPS
            bar.step(launch.row)

    try:
        with gpu_errors_named():
            bench = bench_for(plan, gpu)
        soak = Soak(run, bench, plan, reader_of(plan.kernel), on_launch)
        return "" if soak.go_on() else "no variant could be launched any more"
    except KeyboardInterrupt:
        return "interrupted"
    except (GpuLostError, GpuMemoryError, DiskError) as error:
        return str(error)
