"""Source and variant to PTX and cubin with NVRTC, no driver needed, cached on disk.

The artefact that is read by `compiled` is the one that is launched: both come from one call.
The cache's key is everything that can change the result: source, every header it includes, options
and the compiler's version. An entry is written aside and renamed into place, so any number of
processes may build the same variant at once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sbo_verify.device.nvrtc import compile_source, compiler_version, cuda_include_folders
from sbo_verify.device.source import (
    GENERATED_HEADER,
    KERNELS,
    entry_name,
    sites_header,
    translation_unit,
)
from sbo_verify.protocol import Protocol, Variant

ARCHITECTURE = "sm_90a"
CACHE_VARIABLE = "SBO_VERIFY_CACHE"


class BuildError(RuntimeError):
    """NVRTC refused a source; the message carries its log."""


@dataclass(frozen=True)
class Artefact:
    """One compiled variant. `ptx` and `cubin` are what is read and what is launched."""

    entry: str
    ptx: str
    cubin: bytes
    compiler: str

    @property
    def ptx_sha256(self) -> str:
        """Hash of the PTX text, hexadecimal."""
        return hashlib.sha256(self.ptx.encode()).hexdigest()

    @property
    def cubin_sha256(self) -> str:
        """Hash of the cubin, hexadecimal."""
        return hashlib.sha256(self.cubin).hexdigest()


def cache_folder() -> Path:
    """Where artefacts are kept: $SBO_VERIFY_CACHE, or `sbo_verify` in the user's cache folder."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "sbo_verify"


@cache
def options() -> tuple[str, ...]:
    """The compiler's options, paths of this machine left out of the cache's key."""
    return (f"-arch={ARCHITECTURE}", "-std=c++17", "-lineinfo", "-default-device")


def _key(source: str, headers: dict[str, str]) -> str:
    digest = hashlib.sha256()
    parts: Iterable[str] = (
        source,
        *(f"{name}\0{text}" for name, text in sorted(headers.items())),
        *options(),
        compiler_version(),
    )
    for part in parts:
        digest.update(hashlib.sha256(part.encode()).digest())
    return digest.hexdigest()


def kernel_headers(protocol: Protocol, kernels: Path = KERNELS) -> dict[str, str]:
    """Every header a kernel of this project may include, by name, the generated one too."""
    headers = {path.name: path.read_text() for path in sorted(kernels.glob("*.cuh"))}
    headers[GENERATED_HEADER] = sites_header(protocol)
    return headers


def build(
    protocol: Protocol,
    variant: Variant,
    *,
    kernels: Path = KERNELS,
    cache_in: Path | None = None,
) -> Artefact:
    """The artefact of one variant, from the cache or compiled now.

    Raises `BuildError` with the compiler's log; `RefusedVariantError` for a meaningless variant.
    """
    protocol.check(variant)
    source = translation_unit(protocol, variant)
    headers = kernel_headers(protocol, kernels)
    entry = entry_name(protocol, variant)
    folder = (cache_in or cache_folder()) / _key(source, headers)
    if (kept := _read(folder, entry)) is not None:
        return kept
    result = compile_source(source, f"{entry}.cu", headers, [*options(), *cuda_include_folders()])
    if not result.ok:
        message = f"NVRTC {compiler_version()} refused {entry}:\n{result.log}"
        raise BuildError(message)
    artefact = Artefact(entry, result.ptx, result.cubin, compiler_version())
    _write(folder, artefact)
    return artefact


def _read(folder: Path, entry: str) -> Artefact | None:
    try:
        ptx = (folder / "kernel.ptx").read_text()
        cubin = (folder / "kernel.cubin").read_bytes()
        compiler = (folder / "compiler").read_text()
    except FileNotFoundError:
        return None
    return Artefact(entry, ptx, cubin, compiler)


def _write(folder: Path, artefact: Artefact) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    (aside / "kernel.ptx").write_text(artefact.ptx)
    (aside / "kernel.cubin").write_bytes(artefact.cubin)
    (aside / "compiler").write_text(artefact.compiler)
    try:
        aside.rename(folder)
    except OSError:
        # Another process was first; its entry has the same key and so the same content.
        shutil.rmtree(aside)
        if not folder.is_dir():
            raise
