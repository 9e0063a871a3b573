"""`sbo-verify inspect`: anybody's PTX and machine code, and the CUDA source beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from sbo_verify import __version__
from sbo_verify.cli.app import app
from sbo_verify.cli.options import as_json
from sbo_verify.cli.rule_pages import page_command
from sbo_verify.compiled.containers import is_container
from sbo_verify.compiled.elf import ContainerError
from sbo_verify.compiled.inspection.binaries import inspect_binary
from sbo_verify.compiled.inspection.files import Inspection, UnknownKernelError, inspect_ptx
from sbo_verify.compiled.inspection.handoffs import HandOff, HandOffVerdict
from sbo_verify.compiled.inspection.machine import MachineModule
from sbo_verify.compiled.inspection.rules import RULES, Rule
from sbo_verify.compiled.inspection.sarif import inspection_data, message, sarif
from sbo_verify.compiled.inspection.source import Unclobbered, unclobbered
from sbo_verify.compiled.inspection.text import Module, Op
from sbo_verify.compiled.nvdisasm import DisassemblerError
from sbo_verify.compiled.ptx import PtxError
from sbo_verify.verdict import ExitCode

SOURCE_SUFFIXES = {".cu", ".cuh", ".h", ".hpp", ".cpp", ".cc"}


@app.command("inspect")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--kernel", default=None, metavar="NAME", help="Only this function of each file.")
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
    """Judge the hand-offs of anybody's PTX or machine code; nothing that is read is executed.

    For each signal that is published and each that is polled: is the data ordered on every path?
    FILES are PTX, cubins, fatbins, and host objects, libraries and programs with fatbins in them.
    CUDA sources among them are searched for inline assembly that orders memory with no "memory"
    clobber.

    \b
      sbo-verify inspect kernel.ptx
      sbo-verify inspect kernel.ptx kernel.cu --kernel epilogue --sarif findings.sarif
      sbo-verify inspect kernel.cubin libkernels.so

    Exits with 1 on a finding, 2 where it cannot tell, 0 otherwise. `sbo-verify rule` explains
    every rule; docs/inspect.md, too, what is taken for a signal.
    """  # noqa: D301 - click keeps the lines behind a backspace
    inspections: list[tuple[str, Inspection]] = []
    sources: list[tuple[str, Unclobbered]] = []
    for path in files:
        content = _content_of(path)
        if path.suffix in SOURCE_SUFFIXES:
            sources += [(str(path), each) for each in unclobbered(_text_of(path, content))]
            continue
        try:
            if is_container(content):
                inspections += [
                    (f"{path} [{part.name}]" if part.name else str(path), part.inspection)
                    for part in inspect_binary(content, kernel)
                ]
            else:
                inspections.append((str(path), inspect_ptx(_text_of(path, content), kernel)))
        except (PtxError, ContainerError, DisassemblerError, UnknownKernelError) as error:
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


def _content_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"{path}: {error.strerror or error}"
        raise click.UsageError(message) from error


def _text_of(path: Path, content: bytes) -> str:
    """The text of a file that is to be read as PTX or CUDA source."""
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
        for why in inspection.unread:
            click.echo(f"{path}: cannot tell: {why}")
        if not inspection.hand_offs and not inspection.unread:
            click.echo(f"{path}: no hand-off found")
        for hand_off in inspection.hand_offs:
            _print_hand_off(path, inspection.module, hand_off)
        for op, why in inspection.not_judged:
            word = _word(inspection.module, op)
            click.echo(f"{_at(path, op)}: not judged: {word}: {why}")
    for path, each in sources:
        rule = RULES["asm-without-memory-clobber"]
        click.echo(f"{path}:{each.line}: {rule.name}: {rule.summary}")
        click.echo(f"    {each.text}")
        _explain(rule)


def _print_hand_off(path: str, module: Module, hand_off: HandOff) -> None:
    op = hand_off.op
    click.echo(
        f"{_where(path, module, op)}: {hand_off.side.value} by {_word(module, op)} in "
        f"{hand_off.function}: {hand_off.verdict.value}"
    )
    for broken in hand_off.broken:
        rule = RULES[broken.rule]
        click.echo(f"  {_where(path, module, broken.op)}: {rule.name}: {message(broken)}")
        if broken.cause is not None:
            cause = broken.cause
            click.echo(f"    with {_where(path, module, cause)} {_word(module, cause)}")
        _explain(rule)
    for why in hand_off.unknown:
        click.echo(f"  cannot tell: {why}")
    if hand_off.verdict is HandOffVerdict.ORDERED:
        by = dict.fromkeys(
            f"{_word(module, each)} ({_short(module, each)})" for each in (*hand_off.ordering, op)
        )
        click.echo(f"  by: {', '.join(by)}")
    for note in hand_off.provided:
        click.echo(f"  provided that {note}")


def _explain(rule: Rule) -> None:
    click.echo(f"    why: {rule.why}\n    mend: {rule.mend}\n    see: {page_command(rule.name)}")


def _where(path: str, module: Module, op: Op) -> str:
    source = module.source(op)
    return _at(path, op) + (f" ({source.file}:{source.line})" if source else "")


def _at(path: str, op: Op) -> str:
    """A file and a line, or an address in machine code."""
    return f"{path}:{op.line}"


def _word(module: Module, op: Op) -> str:
    """An instruction as the file has it."""
    code = module.machine_code(op) if isinstance(module, MachineModule) else None
    return op.mnemonic if code is None else code.opcode


def _short(module: Module, op: Op) -> str:
    if not isinstance(module, MachineModule):
        return f"PTX line {op.line}"
    beside = [f"{each.opcode} at {each.address:#06x}" for each in module.parts(op)]
    return f"at {op.line}" + (f", with {' and '.join(beside)}" if beside else "")
