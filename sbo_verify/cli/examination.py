"""The work of `run` and `stress`: refuse, record, examine, judge, report."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click
from rich.console import Console

from sbo_verify.cli.options import parse_knobs, parse_names
from sbo_verify.device.gpu import Gpu, NoGpuError, open_gpu
from sbo_verify.device.micro_kernel import GpuLostError
from sbo_verify.harness.judgement import Evidence, JudgementError, judge_run
from sbo_verify.harness.session import (
    Plan,
    choose_rows,
    conclude,
    conforms,
    read_code,
    read_model,
    settings_of,
    stress_row,
)
from sbo_verify.harness.stressed_kernels import (
    bench_for,
    knobs_of,
    modelled,
    protocol_for,
    reader_of,
    refuse,
    rows_by_default,
)
from sbo_verify.protocol import Protocol
from sbo_verify.record import MICRO, RowVerdict
from sbo_verify.report.html import html_text
from sbo_verify.report.machine import machine_text
from sbo_verify.report.markdown import markdown_text
from sbo_verify.report.outline import Findings
from sbo_verify.report.progress import Progress
from sbo_verify.report.terminal import print_report
from sbo_verify.store import Run
from sbo_verify.verdict import ExitCode

SEED_BITS = 32


def examine_variants(options: dict[str, Any], *, code_only_is_enough: bool) -> int:
    """Examine, report, and return the exit code. What can be refused is refused first.

    Raises `NoGpuError` where silicon cannot run and the code level is not enough.
    """
    plan = _plan(options)
    refuse(plan)
    gpu, why_not = _find_gpu(options["gpu_index"])
    if gpu is None and not code_only_is_enough:
        message = f"silicon cannot run here: {why_not}"
        raise NoGpuError(message)
    run = Run.create(options["out"], settings_of(plan, gpu, why_not))
    with Progress(quiet=options["as_json"]) as progress:
        progress.say(f"seed {plan.seed}; records in {run.path}")
        if gpu is None:
            progress.say(f"silicon did not run: {why_not}")
        interrupted = _carry_out(run, plan, gpu, progress)
    conclude(run, plan.protocol, interrupted=interrupted)
    findings = findings_of(run)
    print_findings(findings, "json" if options["as_json"] else "terminal")
    return ExitCode(findings.summary.exit_code)


def _plan(options: dict[str, Any]) -> Plan:
    kernel, producer = options.get("kernel", MICRO), options.get("producer") or ""
    protocol = protocol_for(options["protocol"], kernel, producer)
    names = parse_names(options["variants"])
    return Plan(
        protocol=protocol,
        rows=choose_rows(protocol, names) if names else rows_by_default(protocol, producer),
        seed=secrets.randbits(SEED_BITS) if options["seed"] is None else options["seed"],
        seconds=options["seconds"],
        observations=options["observations"],
        fixed=parse_knobs(options["knobs"], knobs_of(kernel)),
        kernel=kernel,
        producer=producer,
    )


def _find_gpu(index: int) -> tuple[Gpu | None, str]:
    try:
        return open_gpu(index), ""
    except NoGpuError as error:
        return None, str(error)


def _carry_out(run: Run, plan: Plan, gpu: Gpu | None, progress: Progress) -> bool:
    """Read the code, then stress; True when Ctrl-C or a lost GPU ended it early."""
    try:
        with progress.bar("memory model", len(plan.rows)) as bar:
            read_model(run, plan.protocol, modelled(plan.rows), lambda row: bar.step(row.name))
        with progress.bar("compile and read back", len(plan.rows)) as bar:
            reader = reader_of(plan.kernel)
            readings = read_code(
                run, plan.protocol, plan.rows, lambda row: bar.step(row.name), reader
            )
        if gpu is None:
            return False
        bench = bench_for(plan, gpu)
        with progress.bar("stress", len(plan.rows)) as bar:
            for row in plan.rows:
                bar.show(row.name)
                if conforms(readings[row.name]):
                    stress_row(run, bench, row, plan, lambda launch: bar.show(launch.row))
                bar.step(row.name)
    except KeyboardInterrupt:
        progress.say("interrupted; what was recorded until now follows")
        return True
    except GpuLostError as error:
        progress.say(f"the GPU is lost to this process: {error}")
        return True
    return False


def findings_of(run: Run) -> Findings:
    """Judge a recorded run; where the catalogue has changed since, take what the run concluded.

    Canaries are those of the run: a row was stressed as long as a canary, or only as long as not.
    Raises `StoreError` for a run that cannot be read, `JudgementError` for one that cannot be
    judged and has no verdict of its own.
    """
    raw, settings = run.raw(), run.settings
    protocol = protocol_for(settings.protocol, settings.kernel, settings.producer)
    kept = run.verdict()
    if kept is not None:
        protocol = _with_canaries_of(protocol, kept[0])
    try:
        verdicts, summary = judge_run(Evidence.of_run(protocol, run))
    except JudgementError:
        if kept is None:
            raise
        verdicts, summary = kept
    return Findings(
        settings=run.settings,
        code_readings=raw.code_readings,
        launches=raw.launches,
        model_readings=raw.model_readings,
        verdicts=verdicts,
        summary=summary,
        torn_lines=[str(line) for line in raw.torn_lines],
    )


def _with_canaries_of(protocol: Protocol, verdicts: Sequence[RowVerdict]) -> Protocol:
    was = {verdict.row: verdict.canary for verdict in verdicts}
    rows = tuple(replace(row, canary=was.get(row.name, row.canary)) for row in protocol)
    return replace(protocol, rows=rows)


def print_findings(findings: Findings, form: str) -> None:
    """Print a report on standard output; `form` is terminal, markdown, html or json."""
    if form == "json":
        click.echo(machine_text(findings), nl=False)
    elif form == "markdown":
        click.echo(markdown_text(findings), nl=False)
    elif form == "html":
        click.echo(html_text(findings), nl=False)
    else:
        print_report(findings, Console())
