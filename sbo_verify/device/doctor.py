"""What can and cannot run on this machine, and what would have to be installed."""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sbo_verify.device.build import cache_folder
from sbo_verify.device.gpu import NoGpuError, open_gpu, visible_gpus
from sbo_verify.device.nvrtc import ToolchainError, compiler_version, cuda_include_folders


@dataclass(frozen=True)
class Finding:
    """One thing looked at: `needed_for` is a level, `remedy` what to do where it is missing."""

    what: str
    found: bool
    detail: str
    needed_for: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at compiler, headers, disassembler, packages, driver and GPU, in that order."""
    return [
        _compiler(),
        _headers(),
        _disassembler(),
        _cache(),
        _package("cupy-cuda13x", "silicon", "pip install 'sbo-verify[gpu]'"),
        _package("torch", "the GEMM's interface", "pip install 'sbo-verify[gpu]'"),
        _gpu(),
    ]


def can_run(findings: list[Finding], level: str) -> bool:
    """Whether everything that `level` needs was found."""
    return all(finding.found for finding in findings if finding.needed_for == level)


def _tried(
    what: str, level: str, remedy: str, look: Callable[[], str], *errors: type[Exception]
) -> Finding:
    try:
        return Finding(what, True, look(), level)  # noqa: FBT003 - found
    except errors as error:
        return Finding(what, False, str(error), level, remedy)  # noqa: FBT003 - not found


def _compiler() -> Finding:
    remedy = "pip install nvidia-cuda-nvrtc==13.0.88"
    return _tried("compiler (NVRTC)", "code", remedy, compiler_version, ToolchainError)


def _headers() -> Finding:
    remedy = "pip install nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85"
    return _tried(
        "CUDA headers",
        "code",
        remedy,
        lambda: ", ".join(folder.removeprefix("-I") for folder in cuda_include_folders()),
        ToolchainError,
    )


def _disassembler() -> Finding:
    """Looked for on PATH and where its wheel puts it."""
    wheel = Path(sysconfig.get_path("purelib")) / "nvidia" / "cu13" / "bin" / "nvdisasm"
    found = shutil.which("nvdisasm") or (str(wheel) if wheel.is_file() else "")
    remedy = "" if found else "pip install 'nvidia-cuda-nvdisasm>=13,<14'"
    return Finding("disassembler (nvdisasm)", bool(found), found, "reading SASS", remedy)


def _cache() -> Finding:
    folder = cache_folder()

    def look() -> str:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.touch()
        probe.unlink()
        return str(folder)

    remedy = "set SBO_VERIFY_CACHE to a folder that can be written"
    return _tried("cache of compiled kernels", "code", remedy, look, OSError)


def _package(name: str, level: str, remedy: str) -> Finding:
    return _tried(f"package {name}", level, remedy, lambda: version(name), PackageNotFoundError)


def _gpu() -> Finding:
    def look() -> str:
        count = visible_gpus()
        gpu = open_gpu(0)
        return f"{gpu.name}, {gpu.sm_count} SMs, driver {gpu.driver}; {count} visible"

    remedy = "run on a machine with a Hopper GPU and its driver, or read the other levels only"
    return _tried("Hopper GPU", "silicon", remedy, look, NoGpuError)
