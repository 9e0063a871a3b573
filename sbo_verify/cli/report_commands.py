"""The commands that read recorded runs and measure nothing: one run told, two compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from sbo_verify.api.comparing import compare
from sbo_verify.api.reading import beside_of
from sbo_verify.cli.app import app
from sbo_verify.cli.examination import findings_of, print_findings
from sbo_verify.harness.comparison import LEVEL
from sbo_verify.report.comparison import (
    comparison_html,
    comparison_json,
    comparison_markdown,
    print_comparison,
)
from sbo_verify.store import Run
from sbo_verify.verdict import ExitCode

FORMS = ("terminal", "markdown", "html", "json")
RECORD = click.Path(exists=True, dir_okay=False, path_type=Path)


@app.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice([*FORMS, "short", "summary"]),
    default=FORMS[0],
    show_default=True,
    help=(
        "How the report is printed. markdown, html and json say the same; short is Markdown "
        "without executions, edges, histograms, knobs, witnesses and costs by shape; summary is "
        "Markdown for a CI job's page."
    ),
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
      sbo-verify report RUN --format html
      sbo-verify report RUN --format html --with gemm-benchmark.json --with canaries.json
    """  # noqa: D301 - click keeps the lines behind a backspace
    opened = Run.open(run)
    findings = findings_of(opened)
    if records:
        findings = replace(findings, beside=beside_of(opened.settings, records))
    print_findings(findings, form)
    return ExitCode(findings.summary.exit_code)


@app.command("compare")
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMS),
    default=FORMS[0],
    show_default=True,
    help="How the comparison is printed.",
)
@click.option(
    "--level",
    type=click.FloatRange(0.0, 0.5, min_open=True),
    default=LEVEL,
    show_default=True,
    help="Probability that any rate is called changed although none is.",
)
@click.option(
    "--with-before",
    type=RECORD,
    multiple=True,
    metavar="FILE",
    help="What `bench gemm` printed with --json beside the earlier run.",
)
@click.option(
    "--with-after",
    type=RECORD,
    multiple=True,
    metavar="FILE",
    help="The same beside the later run: then the signal's cost is compared, too.",
)
def compare_command(**options: Any) -> int:  # noqa: ANN401 - click passes options by name
    """Compare two recorded runs: commits, drivers, compilers or GPUs; nothing is launched.

    \b
      sbo-verify compare runs/signal_publish/BEFORE runs/signal_publish/AFTER
      sbo-verify compare BEFORE AFTER --format html
      sbo-verify compare BEFORE AFTER --with-before old.json --with-after new.json

    Exits with 0 where nothing is worse, with 1 where a verdict, a stale rate or, on the same GPU, a
    time is, with 2 where something cannot be compared.
    """  # noqa: D301 - click keeps the lines behind a backspace
    found = compare(
        options["before"],
        options["after"],
        level=options["level"],
        beside_before=options["with_before"],
        beside_after=options["with_after"],
    )
    form = options["form"]
    if form == "terminal":
        print_comparison(found, Console())
    else:
        forms = {
            "markdown": comparison_markdown,
            "html": comparison_html,
            "json": comparison_json,
        }
        click.echo(forms[form](found), nl=False)
    return ExitCode(found.exit_code)
