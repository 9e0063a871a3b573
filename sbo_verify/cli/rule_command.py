"""`sbo-verify rule`: the page of a rule, where there is no browser and no checkout at hand."""

from __future__ import annotations

import click

from sbo_verify.cli.app import app
from sbo_verify.cli.rule_pages import DOCUMENTS, page
from sbo_verify.verdict import ExitCode


@app.command("rule")
@click.argument("name", required=False, shell_complete=lambda *_: [*sum(DOCUMENTS.values(), ())])
def rule_command(name: str | None) -> int:
    """Explain a rule that `inspect` or `explain` named; without a name, list them all.

    \b
      sbo-verify rule
      sbo-verify rule signal-after-read-wait
      sbo-verify rule not-waited-for
    """  # noqa: D301 - click keeps the lines behind a backspace
    if name is not None:
        click.echo(page(name), nl=False)
        return ExitCode.PASS
    for document, names in DOCUMENTS.items():
        click.echo(f"{document.removesuffix('.md')} (docs/{document}):")
        for each in names:
            click.echo(f"  {each}")
    return ExitCode.PASS
