"""The work of `run` and `stress`: refuse, examine with progress shown, report."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console

from sbo_verify.api import findings_of
from sbo_verify.api.reading import TEXTS
from sbo_verify.cli.first_contact import closing_lines
from sbo_verify.cli.options import parse_knobs, parse_names
from sbo_verify.device.gpu import NoGpuError
from sbo_verify.harness import examination
from sbo_verify.harness.session import Plan, choose_rows
from sbo_verify.harness.stressed_kernels import knobs_of, protocol_for, refuse, rows_by_default
from sbo_verify.record import MICRO
from sbo_verify.report.outline import Findings
from sbo_verify.report.progress import Progress
from sbo_verify.report.terminal import print_report
from sbo_verify.verdict import ExitCode

__all__ = ["examine_variants", "findings_of", "print_findings"]


def examine_variants(options: dict[str, Any], *, code_only_is_enough: bool) -> int:
    """Examine, report, and return the exit code. What can be refused is refused first.

    Raises `NoGpuError` where silicon cannot run and the code level is not enough.
    """
    plan = _plan(options)
    refuse(plan)
    gpu, why_not = examination.find_gpu(options["gpu_index"])
    if gpu is None and not code_only_is_enough:
        message = f"silicon cannot run here: {why_not}"
        raise NoGpuError(message)
    with Progress(quiet=options["as_json"]) as progress:
        done = examination.carry_out(options["out"], plan, gpu, why_not, progress)
    findings = findings_of(done.run)
    print_findings(findings, "json" if options["as_json"] else "terminal")
    # Behind the report, and not part of it: standard output holds the report alone.
    for line in closing_lines(findings, str(done.run.path)):
        Progress(quiet=options["as_json"]).say(line)
    return ExitCode(findings.summary.exit_code)


def _plan(options: dict[str, Any]) -> Plan:
    kernel, producer = options.get("kernel", MICRO), options.get("producer") or ""
    protocol = protocol_for(options["protocol"], kernel, producer)
    names = parse_names(options["variants"])
    return Plan(
        protocol=protocol,
        rows=choose_rows(protocol, names) if names else rows_by_default(protocol, producer),
        seed=examination.drawn_seed() if options["seed"] is None else options["seed"],
        seconds=options["seconds"],
        observations=options["observations"],
        bound=options["bound"],
        fixed=parse_knobs(options["knobs"], knobs_of(kernel)),
        kernel=kernel,
        producer=producer,
    )


def print_findings(findings: Findings, form: str) -> None:
    """Print a report on standard output; `form` is terminal or one of `TEXTS`."""
    if form == "terminal":
        print_report(findings, Console())
    else:
        click.echo(TEXTS[form](findings), nl=False)
