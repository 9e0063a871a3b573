"""The command of the toolchain matrix: what several releases of ptxas make of the ordering."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from sbo_verify.cli.app import app
from sbo_verify.cli.options import as_json, parse_names, protocol_option
from sbo_verify.device.ptxas import Ptxas, PtxasError, find_ptxas, install, pip_command
from sbo_verify.harness.session import choose_rows
from sbo_verify.harness.toolchains import changed_since, checked, compare_toolchains
from sbo_verify.protocols import protocol_named
from sbo_verify.report.progress import Progress
from sbo_verify.report.toolchains import toolchains_text
from sbo_verify.verdict import ExitCode, MachineVerdict

EXAMPLE = "13.0.88"
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@app.command("toolchains")
@click.option("--variants", default="", help="Names, hashes or * patterns, comma-separated.")
@click.option("--ptxas", "versions", default="", help="Releases to compare; all found by default.")
@click.option(
    "--install",
    "wanted",
    multiple=True,
    metavar="VERSION",
    help="Install a release of ptxas with pip first; may be repeated.",
)
@click.option("--markdown", "as_markdown", is_flag=True, help="The whole document.")
@click.option("--record", "recorded", type=FILE, help="Show a recorded comparison, make none.")
@click.option(
    "--against", type=FILE, help="A recorded comparison; exits with 1 where something changed."
)
@protocol_option
@as_json
def toolchains_command(**options: Any) -> int:  # noqa: ANN401 - as click gives them
    """Compare the machine code that several releases of ptxas make of the same PTX.

    \b
      sbo-verify toolchains --install 12.9.86 --install 13.5.37
      sbo-verify toolchains --json
      sbo-verify toolchains --record matrix.json --markdown
      sbo-verify toolchains --ptxas 13.5.37 --against matrix.json

    Releases are looked for in the cache, in $CUDA_HOME and on PATH, and nothing is downloaded
    unless --install is given. Exits with 1 where a release lost an order, with 2 where one cannot
    be told or no release is found; with --against, with 1 where any word or verdict is another.
    """  # noqa: D301 - click keeps the lines behind a backspace
    if options["as_json"] and options["as_markdown"]:
        message = "--json and --markdown exclude each other"
        raise click.UsageError(message)
    record = _loaded(options["recorded"]) if options["recorded"] else _made(options)
    differing = changed_since(record, _loaded(options["against"])) if options["against"] else []
    if options["as_json"]:
        click.echo(json.dumps(record, indent=1))
    elif options["as_markdown"]:
        click.echo(toolchains_text(record), nl=False)
    else:
        click.echo("\n".join(_summary(record)))
    for line in differing:
        click.echo(f"changed: {line}", err=options["as_json"] or options["as_markdown"])
    if differing:
        return ExitCode.FAIL
    return ExitCode.PASS if options["against"] else _code(record)


def _loaded(file: Path) -> Mapping[str, Any]:
    try:
        data = json.loads(file.read_text())
    except ValueError as error:
        message = f"{file} is not JSON: {error}"
        raise click.UsageError(message) from error
    return checked(data)


def _made(options: Mapping[str, Any]) -> Mapping[str, Any]:
    protocol = protocol_named(options["protocol"])
    rows = choose_rows(protocol, parse_names(options["variants"]))
    with Progress(quiet=options["as_json"] or options["as_markdown"]) as progress:
        for version in options["wanted"]:
            progress.say(f"installing ptxas {version}")
            install(version)
        releases = _chosen(find_ptxas(), parse_names(options["versions"]))
        progress.say(f"ptxas {', '.join(each.version for each in releases)}")
        with progress.bar("assemble and read", len(rows)) as bar:
            return compare_toolchains(
                protocol,
                rows,
                releases,
                lambda row: bar.step(row.name),
                command=shlex.join(["sbo-verify", *sys.argv[1:]]),
            )


def _chosen(found: list[Ptxas], versions: Iterable[str]) -> list[Ptxas]:
    """The releases asked for, or all; raises `PtxasError` with what to do where there is none."""
    by_version = {each.version: each for each in found}
    for version in versions:
        if version not in by_version:
            command = shlex.join(["pip", *pip_command(version)[3:]])
            message = f"ptxas {version} was not found: {command}"
            raise PtxasError(message)
    if not found:
        command = shlex.join(["pip", *pip_command(EXAMPLE)[3:]])
        message = f"no ptxas was found in the cache, in $CUDA_HOME or on PATH: {command}"
        raise PtxasError(message)
    return [by_version[version] for version in versions] or found


def _summary(record: Mapping[str, Any]) -> list[str]:
    lines = []
    for index, column in enumerate(record["columns"]):
        verdicts = [row["cells"][index]["verdict"] for row in record["rows"].values()]
        counts = ", ".join(f"{verdicts.count(word)} {word}" for word in dict.fromkeys(verdicts))
        lines.append(f"ptxas {column['ptxas']} {column['target']}: {counts}")
    lines += [f"left out: {name}: {why}" for name, why in record["left_out"].items()]
    for each in record["changes"]:
        before, after = ("; ".join(each[key]) for key in ("words_before", "words_after"))
        lines.append(
            f"{each['before']} to {each['after']}: {each['site']}: {before} became {after} "
            f"in {len(each['rows'])} variants"
        )
    return lines


def _code(record: Mapping[str, Any]) -> ExitCode:
    verdicts = {cell["verdict"] for row in record["rows"].values() for cell in row["cells"]}
    if MachineVerdict.LOST.value in verdicts:
        return ExitCode.FAIL
    told = MachineVerdict.KEPT.value in verdicts
    unknown = MachineVerdict.CANNOT_TELL.value in verdicts or not told
    return ExitCode.UNKNOWN if unknown else ExitCode.PASS
