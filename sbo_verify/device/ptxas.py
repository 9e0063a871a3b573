"""ptxas of several releases: where each lies, how it is installed, and PTX to cubin with one.

The project uses the compiler inside NVRTC. Other releases are there to be compared: they are looked
for, and installed by pip into a folder of their own only when that is asked for.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sbo_verify.device.build import cache_folder

FOLDER = "toolchains"
_LIMIT_SECONDS = 120
_INSTALL_SECONDS = 600
_VERSION = re.compile(r"\bV(\d+\.\d+\.\d+)\b")
_RELEASE = re.compile(r"\d+\.\d+\.\d+")
_TOO_NEW = re.compile(r"Unsupported \.version [\d.]+; current version is '([\d.]+)'")
_PTX_VERSION = re.compile(r"^\.version[ \t]+(\S+)[ \t]*$", re.MULTILINE)
_PTX_TARGET = re.compile(r"^\.target[ \t]+(\S+)[ \t]*$", re.MULTILINE)
# Wheels of CUDA 13 dropped the release from their name.
_FIRST_WITHOUT_SUFFIX = 13


class PtxasError(RuntimeError):
    """A ptxas that is missing or does not run, or PTX that it refused; says which and why."""


@dataclass(frozen=True)
class Ptxas:
    """One release, by its version (`13.0.88`), and the program."""

    version: str
    path: Path

    @property
    def order(self) -> tuple[int, ...]:
        """What releases are sorted by, oldest first."""
        return tuple(int(part) for part in self.version.split("."))


@dataclass(frozen=True)
class Assembly:
    """What one release made of a PTX text, and the text as it was given to it.

    Of the text only the lines `.version` and `.target` may differ from the one that was asked for.
    """

    ptx: str
    ptx_version: str
    cubin: bytes


def toolchain_folder() -> Path:
    """Where releases are installed to be compared, one folder each."""
    return cache_folder() / FOLDER


def pip_command(version: str) -> list[str]:
    """The command that installs one release where `find_ptxas` looks for it.

    Raises `PtxasError` for what is no full version.
    """
    if _RELEASE.fullmatch(version) is None:
        message = f"{version!r} is no release of ptxas such as 13.0.88"
        raise PtxasError(message)
    major = int(version.split(".", maxsplit=1)[0])
    suffix = "" if major >= _FIRST_WITHOUT_SUFFIX else f"-cu{major}"
    target = str(toolchain_folder() / version)
    package = f"nvidia-cuda-nvcc{suffix}=={version}"
    return [sys.executable, "-m", "pip", "install", "--no-deps", "--target", target, package]


def install(version: str) -> None:
    """Install one release with pip; raises `PtxasError` with pip's last line where that fails."""
    try:
        done = subprocess.run(  # noqa: S603 - pip, with a version that was checked
            pip_command(version),
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        message = f"ptxas {version} could not be installed: {error}"
        raise PtxasError(message) from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        message = f"ptxas {version} could not be installed: {' '.join(said)}"
        raise PtxasError(message)


def find_ptxas(folder: Path | None = None) -> list[Ptxas]:
    """Every release in `folder` (by default `toolchain_folder()`), in $CUDA_HOME and on PATH.

    Oldest first, each version once; a program that does not say its version is left out.
    """
    candidates = sorted((folder or toolchain_folder()).glob("*/nvidia/*/bin/ptxas"))
    if home := os.environ.get("CUDA_HOME"):
        candidates.append(Path(home) / "bin" / "ptxas")
    if on_path := shutil.which("ptxas"):
        candidates.append(Path(on_path))
    found: dict[str, Ptxas] = {}
    for path in candidates:
        version = _version_of(path)
        if version:
            found.setdefault(version, Ptxas(version, path))
    return sorted(found.values(), key=lambda each: each.order)


def _version_of(path: Path) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - a program called ptxas
            [str(path), "--version"],
            capture_output=True,
            text=True,
            timeout=_LIMIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = _VERSION.search(done.stdout)
    return match[1] if match is not None and done.returncode == 0 else ""


def assemble(ptxas: Ptxas, ptx: str, target: str) -> Assembly:
    """The cubin that one release makes of a PTX text, for `target` (`sm_90a`).

    The text's `.target` becomes `target`; where the release is older than the text's `.version`,
    that becomes the newest one it knows, and the text must assemble unchanged otherwise. Raises
    `PtxasError` with the first line of what ptxas said.
    """
    text = _PTX_TARGET.sub(f".target {target}", ptx, count=1)
    done, cubin = _run(ptxas, text, target)
    if (newest := _TOO_NEW.search(done.stdout + done.stderr)) is not None:
        text = _PTX_VERSION.sub(f".version {newest[1]}", text, count=1)
        done, cubin = _run(ptxas, text, target)
    if done.returncode != 0 or not cubin:
        lines = [line.strip() for line in (done.stderr + done.stdout).splitlines()]
        said = next((line for line in lines if "error" in line or "fatal" in line), "no reason")
        # The name of a file that is gone says nothing.
        said = re.sub(r"ptxas \S*kernel\.ptx", "ptxas kernel.ptx", said)
        message = f"ptxas {ptxas.version} refused the PTX for {target}: {said}"
        raise PtxasError(message)
    version = _PTX_VERSION.search(text)
    return Assembly(text, version[1] if version else "", cubin)


def _run(ptxas: Ptxas, text: str, target: str) -> tuple[subprocess.CompletedProcess[str], bytes]:
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "kernel.ptx", Path(folder) / "kernel.cubin"
        source.write_text(text)
        command = [str(ptxas.path), f"-arch={target}", "-lineinfo", str(source), "-o", str(output)]
        try:
            done = subprocess.run(  # noqa: S603 - a found ptxas and files written here
                command, capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            message = f"ptxas {ptxas.version} did not run: {error}"
            raise PtxasError(message) from error
        return done, output.read_bytes() if output.is_file() else b""
