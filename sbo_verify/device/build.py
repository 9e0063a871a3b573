"""Source and variant to PTX and cubin with NVRTC, no driver needed, cached on disk.

The artefact that is read by `compiled` is the one that is launched: both come from one call.
The cache's key is everything that can change the result: source, every header it includes, options
and the versions of the compiler and of CUDA's headers. An entry is written aside and renamed into
place, so any number of processes may build the same variant at once; it says the hashes of its
files, so that one that was cut short or changed is made again and never read.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sbo_verify.device.nvrtc import (
    compile_source,
    compiler_version,
    cuda_header_versions,
    cuda_include_folders,
)
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
PTX_FILE = "kernel.ptx"
CUBIN_FILE = "kernel.cubin"
MANIFEST_FILE = "manifest"
PLACING_ATTEMPTS = 5


class BuildError(RuntimeError):
    """NVRTC refused a source; the message carries its log."""


class CacheError(OSError):
    """A cache that cannot be written; the message says which and what to set."""


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
        *cuda_header_versions(),
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

    Raises `BuildError` with the compiler's log, `RefusedVariantError` for a meaningless variant,
    `CacheError` where nothing can be kept, `ToolchainError` where there is no compiler.
    """
    protocol.check(variant)
    return build_source(
        entry_name(protocol, variant),
        translation_unit(protocol, variant),
        kernel_headers(protocol, kernels),
        cache_in=cache_in,
    )


def build_source(
    entry: str, source: str, headers: dict[str, str], *, cache_in: Path | None = None
) -> Artefact:
    """The artefact of one translation unit that defines the kernel `entry`; errors as `build`."""
    folder = (cache_in or cache_folder()) / _key(source, headers)
    if (kept := _read(folder, entry)) is not None:
        return kept
    result = compile_source(source, f"{entry}.cu", headers, [*options(), *cuda_include_folders()])
    if not result.ok:
        message = f"{compiler_version()} refused {entry}:\n{result.log}"
        raise BuildError(message)
    artefact = Artefact(entry, result.ptx, result.cubin, compiler_version())
    _write(folder, artefact)
    return artefact


def _manifest(artefact: Artefact) -> str:
    return f"{artefact.compiler}\n{artefact.ptx_sha256}\n{artefact.cubin_sha256}\n"


def _read(folder: Path, entry: str) -> Artefact | None:
    """The entry in `folder`; None where there is none or its files are not what was written."""
    try:
        ptx = (folder / PTX_FILE).read_text()
        cubin = (folder / CUBIN_FILE).read_bytes()
        manifest = (folder / MANIFEST_FILE).read_text()
    except (OSError, UnicodeDecodeError):
        return None
    artefact = Artefact(entry, ptx, cubin, compiler_version())
    return artefact if manifest == _manifest(artefact) else None


def _write(folder: Path, artefact: Artefact) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
        try:
            (aside / PTX_FILE).write_text(artefact.ptx)
            (aside / CUBIN_FILE).write_bytes(artefact.cubin)
            (aside / MANIFEST_FILE).write_text(_manifest(artefact))
            _put_in_place(aside, folder, artefact.entry)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        message = (
            f"compiled kernels cannot be kept in {folder.parent}: {error.strerror or error}; "
            f"set {CACHE_VARIABLE} to a folder that can be written"
        )
        raise CacheError(message) from error


def _put_in_place(aside: Path, folder: Path, entry: str) -> None:
    for _ in range(PLACING_ATTEMPTS):
        try:
            aside.rename(folder)
        except OSError:
            if _read(folder, entry) is not None:
                # Another process was first; its entry has the same key and so the same content.
                return
        else:
            return
        # What lies there is no entry: it was cut short, or is of an older version.
        broken = Path(tempfile.mkdtemp(prefix=".broken-", dir=folder.parent))
        with suppress(FileNotFoundError):
            folder.rename(broken / folder.name)
        shutil.rmtree(broken, ignore_errors=True)
    aside.rename(folder)
