"""`sbo-verify inspect`: anybody's PTX, and the CUDA source beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from sbo_verify import __version__
from sbo_verify.cli.commands import app
from sbo_verify.cli.options import as_json
from sbo_verify.cli.rule_pages import page_command
from sbo_verify.compiled.inspection.files import Inspection, UnknownKernelError, inspect_ptx
from sbo_verify.compiled.inspection.handoffs import HandOff, HandOffVerdict
from sbo_verify.compiled.inspection.rules import RULES, Rule
from sbo_verify.compiled.inspection.sarif import inspection_data, message, sarif
from sbo_verify.compiled.inspection.source import Unclobbered, unclobbered
from sbo_verify.compiled.inspection.text import Module, Op
from sbo_verify.compiled.ptx import PtxError
from sbo_verify.verdict import ExitCode

SOURCE_SUFFIXES = {".cu", ".cuh", ".h", ".hpp", ".cpp", ".cc"}
ELF, FATBIN = b"\x7fELF", b"\x50\xed\x55\xba"


@app.command("inspect")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--kernel", default=None, metavar="NAME", help="Only this function of each PTX file.")
@click.option(
    "--sarif",
    "sarif_file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Write the findings there as SARIF 2.1.0 too.",
)
@as_json
def inspect_command(
    files: tuple[Path, ...], kernel: str | None, sarif_file: Path | None, *, as_json: bool
) -> int:
    """Judge the hand-offs of anybody's PTX; nothing that is read is executed.

    For each signal that is published and each that is polled: is the data ordered on every path?
    CUDA sources among FILES are searched for inline assembly that orders memory with no "memory"
    clobber.

    \b
      sbo-verify inspect kernel.ptx
      sbo-verify inspect kernel.ptx kernel.cu --kernel epilogue --sarif findings.sarif

    Exits with 1 on a finding, 2 where it cannot tell, 0 otherwise. `sbo-verify rule` explains
    every rule; docs/inspect.md, too, what is taken for a signal.
    """  # noqa: D301 - click keeps the lines behind a backspace
    inspections: list[tuple[str, Inspection]] = []
    sources: list[tuple[str, Unclobbered]] = []
    for path in files:
        text = _text_of(path)
        if path.suffix in SOURCE_SUFFIXES:
            sources += [(str(path), each) for each in unclobbered(text)]
            continue
        try:
            inspections.append((str(path), inspect_ptx(text, kernel)))
        except (PtxError, UnknownKernelError) as error:
            message = f"{path}: {error}"
            raise click.UsageError(message) from error
    if sarif_file is not None:
        log = sarif(__version__, inspections, sources)
        sarif_file.write_text(json.dumps(log, indent=2) + "\n")
    if as_json:
        click.echo(json.dumps(_data(inspections, sources), indent=2))
    else:
        _print(inspections, sources)
    return _exit_code(inspections, sources)


def _text_of(path: Path) -> str:
    """The text of a file that is to be read as PTX or CUDA source."""
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f"{path}: {error.strerror or error}"
        raise click.UsageError(message) from error
    if content.startswith((ELF, FATBIN)):
        message = (
            f"{path} is machine code (a cubin or fatbin); PTX is read here: take it out with "
            "`cuobjdump -ptx FILE`, or let the compiler write it (nvcc -ptx)"
        )
        raise click.UsageError(message)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        message = f"{path} is no text: byte {error.start} cannot be read"
        raise click.UsageError(message) from error


def _data(
    inspections: list[tuple[str, Inspection]], sources: list[tuple[str, Unclobbered]]
) -> dict[str, Any]:
    return {
        "version": __version__,
        "files": [inspection_data(path, each) for path, each in inspections],
        "sources": [
            {
                "file": path,
                "line": each.line,
                "rule": "asm-without-memory-clobber",
                "text": each.text,
                "mend": RULES["asm-without-memory-clobber"].mend,
            }
            for path, each in sources
        ],
    }


def _exit_code(
    inspections: list[tuple[str, Inspection]], sources: list[tuple[str, Unclobbered]]
) -> ExitCode:
    found = {each.verdict for _, each in inspections}
    if HandOffVerdict.NOT_ORDERED in found or sources:
        return ExitCode.FAIL
    return ExitCode.UNKNOWN if HandOffVerdict.CANNOT_TELL in found else ExitCode.PASS


def _print(
    inspections: list[tuple[str, Inspection]], sources: list[tuple[str, Unclobbered]]
) -> None:
    for path, inspection in inspections:
        if not inspection.hand_offs:
            click.echo(f"{path}: no hand-off found")
        for hand_off in inspection.hand_offs:
            _print_hand_off(path, inspection.module, hand_off)
        for op, why in inspection.not_judged:
            click.echo(f"{path}:{op.line}: not judged: {op.mnemonic}: {why}")
    for path, each in sources:
        rule = RULES["asm-without-memory-clobber"]
        click.echo(f"{path}:{each.line}: {rule.name}: {rule.summary}")
        click.echo(f"    {each.text}")
        _explain(rule)


def _print_hand_off(path: str, module: Module, hand_off: HandOff) -> None:
    op = hand_off.op
    click.echo(
        f"{_where(path, module, op)}: {hand_off.side.value} by {op.mnemonic} in "
        f"{hand_off.function}: {hand_off.verdict.value}"
    )
    for broken in hand_off.broken:
        rule = RULES[broken.rule]
        click.echo(f"  {_where(path, module, broken.op)}: {rule.name}: {message(broken)}")
        if broken.cause is not None:
            click.echo(f"    with {_where(path, module, broken.cause)} {broken.cause.mnemonic}")
        _explain(rule)
    for why in hand_off.unknown:
        click.echo(f"  cannot tell: {why}")
    if hand_off.verdict is HandOffVerdict.ORDERED:
        by = ", ".join(f"{each.mnemonic} (PTX line {each.line})" for each in hand_off.ordering)
        click.echo(f"  by: {', '.join(filter(None, (by, f'{op.mnemonic} (PTX line {op.line})')))}")
    for note in hand_off.provided:
        click.echo(f"  provided that {note}")


def _explain(rule: Rule) -> None:
    click.echo(f"    why: {rule.why}\n    mend: {rule.mend}\n    see: {page_command(rule.name)}")


def _where(path: str, module: Module, op: Op) -> str:
    source = module.source(op)
    return f"{path}:{op.line}" + (f" ({source.file}:{source.line})" if source else "")
