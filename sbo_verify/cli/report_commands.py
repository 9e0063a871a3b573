"""The commands that read recorded runs and measure nothing: one run told, two compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from sbo_verify.api.reading import beside_of
from sbo_verify.cli.commands import app
from sbo_verify.cli.examination import findings_of, print_findings
from sbo_verify.store import Run
from sbo_verify.verdict import ExitCode

FORMS = ("terminal", "markdown", "html", "json")
RECORD = click.Path(exists=True, dir_okay=False, path_type=Path)


@app.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice([*FORMS, "summary"]),
    default=FORMS[0],
    show_default=True,
    help="How the report is printed; summary is Markdown for a CI job's page.",
)
@click.option(
    "--with",
    "records",
    type=RECORD,
    multiple=True,
    metavar="FILE",
    help=(
        "What `bench gemm`, `canaries` or `toolchains` printed with --json, to be shown beside "
        "the run: costs, times to detection, machine code; may be repeated."
    ),
)
def report_command(run: Path, form: str, records: tuple[Path, ...]) -> int:
    """Judge a recorded run again and print its report; nothing is launched.

    \b
      sbo-verify report runs/signal_publish/RUN --format markdown
      sbo-verify report runs/signal_publish/RUN --format html > report.html
      sbo-verify report RUN --format html --with gemm-benchmark.json --with canaries.json
    """  # noqa: D301 - click keeps the lines behind a backspace
    opened = Run.open(run)
    findings = findings_of(opened)
    if records:
        findings = replace(findings, beside=beside_of(opened.settings, records))
    print_findings(findings, form)
    return ExitCode(findings.summary.exit_code)
