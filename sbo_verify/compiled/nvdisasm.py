"""nvdisasm: where it is, and the listing of one cubin, kept beside the compiled kernels.

A call takes 0.3 s before it reads anything and takes one cubin only, so that listings are cached.
The cubin is data to nvdisasm: nothing in it is executed.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sbo_verify.compiled import sass_registers
from sbo_verify.compiled.sass import Listing, read_listing
from sbo_verify.compiled.sass_registers import Access, read_registers

FOLDER = "listings"
OPTIONS = ("-c", "-gp")
# The dataflow analysis names the targets of jumps through registers; it may fail where nothing else
# does, and without it they stay unknown.
_NO_DATAFLOW = "-ndf"
_LIMIT_SECONDS = 60


class DisassemblerError(RuntimeError):
    """nvdisasm is missing, or refused a cubin; the message says what to do, or what it said."""


@cache
def find_nvdisasm() -> str:
    """Path of nvdisasm: on PATH, else where its wheel puts it.

    Raises `DisassemblerError` where it is in neither place.
    """
    wheel = Path(sysconfig.get_path("purelib")) / "nvidia" / "cu13" / "bin" / "nvdisasm"
    found = shutil.which("nvdisasm") or (str(wheel) if wheel.is_file() else "")
    if not found:
        message = (
            "nvdisasm was not found on PATH or beside this Python: "
            "pip install 'nvidia-cuda-nvdisasm>=13,<14'"
        )
        raise DisassemblerError(message)
    return found


@cache
def nvdisasm_version() -> str:
    """`nvdisasm 13.5.37`; raises `DisassemblerError` where there is none."""
    text = _run([find_nvdisasm(), "--version"])
    word = next((word for word in text.split() if word.startswith("V")), "")
    return f"nvdisasm {word.removeprefix('V') or 'of unknown version'}"


def disassemble(cubin: bytes, *, cache_in: Path | None = None) -> Listing:
    """The machine code of a cubin; with `cache_in`, its listing is read from there or kept there.

    Raises `DisassemblerError` where nvdisasm is missing or refuses the cubin, `SassError` for a
    listing that cannot be read. A cache that cannot be written costs time, not the answer.
    """
    if cache_in is None:
        return read_listing(_listing(cubin, OPTIONS))
    name = hashlib.sha256(" ".join((nvdisasm_version(), *OPTIONS)).encode() + cubin).hexdigest()
    file = cache_in / FOLDER / f"{name}.gz"
    kept = _kept(file)
    if kept is None:
        kept = _listing(cubin, OPTIONS)
        _keep(file, kept)
    return read_listing(kept)


@dataclass(frozen=True)
class Disassembly:
    """A cubin's listing, and the registers that each instruction of a function reads and writes."""

    listing: Listing
    registers: dict[str, dict[int, Access]]


def disassemble_with_registers(cubin: bytes) -> Disassembly:
    """The machine code of anybody's cubin, with source lines where it has them.

    Raises `DisassemblerError` where nvdisasm is missing or refuses the cubin, `SassError` for a
    listing that cannot be read.
    """
    drawn = _listing(cubin, ("-c", *sass_registers.OPTIONS))
    registers = read_registers(drawn)
    # The drawing has no lines, and only a cubin with a table of them needs to be read again.
    lined = any(table in cubin for table in (b".debug_line", b".nv_debug_line_sass"))
    text = _listing(cubin, (*OPTIONS, "-g")) if lined else _DRAWING.sub("", drawn)
    return Disassembly(read_listing(text), registers)


_DRAWING = re.compile(r"[ \t]*// (?:\||\+).*$", re.MULTILINE)


def _kept(file: Path) -> str | None:
    """What was kept; None where nothing was, or where it was cut short."""
    try:
        return gzip.decompress(file.read_bytes()).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError):
        return None


def _keep(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, aside = tempfile.mkstemp(dir=file.parent)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(gzip.compress(text.encode(), compresslevel=5))
        Path(aside).replace(file)
    except OSError:
        return


def _listing(cubin: bytes, options: tuple[str, ...]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(cubin)
        command = [find_nvdisasm(), *options, str(file)]
        try:
            return _run(command)
        except DisassemblerError:
            return _run([*command, _NO_DATAFLOW])


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - a found tool and files written here
            command, capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        message = f"nvdisasm did not run: {error}"
        raise DisassemblerError(message) from error
    if done.returncode != 0:
        said = done.stderr.strip() or done.stdout.strip() or f"it ended with {done.returncode}"
        message = f"nvdisasm refused a cubin: {said.splitlines()[0]}"
        raise DisassemblerError(message)
    return done.stdout
