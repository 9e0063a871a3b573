"""What can and cannot run on this machine, and what would have to be installed."""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sbo_verify.device.build import cache_folder
from sbo_verify.device.gpu import NoGpuError, open_gpu, visible_gpus
from sbo_verify.device.nvrtc import ToolchainError, compiler_version, cuda_include_folders

MODEL = "model"
# What runs on a GPU is compiled first, and read.
COMPILED = ("code", "machine code", "silicon", "GEMM")
ON_GPU = ("silicon", "GEMM")
WITH_GPU = "pip install 'sbo-verify[gpu]', or '.[gpu]' in a checkout"


@dataclass(frozen=True)
class Finding:
    """One thing looked at: `needed_for` are levels, `remedy` is what to do where it is missing."""

    what: str
    found: bool
    detail: str
    needed_for: tuple[str, ...]
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at compiler, headers, disassembler, packages, driver and GPU, in that order."""
    return [
        _compiler(),
        _headers(),
        _disassembler(),
        _cache(),
        _package("cupy-cuda13x", ON_GPU, WITH_GPU),
        _package("torch", ("GEMM",), WITH_GPU),
        _gpu(),
    ]


def can_run(findings: Sequence[Finding], level: str) -> bool:
    """Whether everything that `level` needs was found."""
    return all(finding.found for finding in findings if level in finding.needed_for)


def _tried(
    what: str,
    levels: tuple[str, ...],
    remedy: str,
    look: Callable[[], str],
    *errors: type[Exception],
) -> Finding:
    try:
        return Finding(what, True, look(), levels)  # noqa: FBT003 - found
    except errors as error:
        return Finding(what, False, str(error), levels, remedy)  # noqa: FBT003 - not found


def _compiler() -> Finding:
    remedy = "pip install nvidia-cuda-nvrtc==13.0.88"
    return _tried("compiler (NVRTC)", COMPILED, remedy, compiler_version, ToolchainError)


def _headers() -> Finding:
    remedy = "pip install nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85"
    return _tried(
        "CUDA headers",
        COMPILED,
        remedy,
        lambda: ", ".join(folder.removeprefix("-I") for folder in cuda_include_folders()),
        ToolchainError,
    )


def _disassembler() -> Finding:
    """Looked for on PATH and where its wheel puts it."""
    wheel = Path(sysconfig.get_path("purelib")) / "nvidia" / "cu13" / "bin" / "nvdisasm"
    found = shutil.which("nvdisasm") or (str(wheel) if wheel.is_file() else "")
    remedy = "" if found else "pip install 'nvidia-cuda-nvdisasm>=13,<14'"
    return Finding("disassembler (nvdisasm)", bool(found), found, ("machine code",), remedy)


def _cache() -> Finding:
    folder = cache_folder()

    def look() -> str:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.touch()
        probe.unlink()
        return str(folder)

    remedy = "set SBO_VERIFY_CACHE to a folder that can be written"
    return _tried("cache of compiled kernels", COMPILED, remedy, look, OSError)


def _package(name: str, levels: tuple[str, ...], remedy: str) -> Finding:
    try:
        found = version(name)
    except PackageNotFoundError:
        return Finding(f"package {name}", False, "not installed", levels, remedy)  # noqa: FBT003
    return Finding(f"package {name}", True, found, levels)  # noqa: FBT003 - found


def _gpu() -> Finding:
    def look() -> str:
        count = visible_gpus()
        gpu = open_gpu(0)
        return f"{gpu.name}, {gpu.sm_count} SMs, driver {gpu.driver}; {count} visible"

    remedy = "run on a machine with a Hopper GPU and its driver, or read the other levels only"
    return _tried("Hopper GPU", ON_GPU, remedy, look, NoGpuError)
