"""NVRTC through cuda.bindings: the only module that calls the compiler.

NVRTC needs no driver. `-arch=sm_90a` makes one compile give both PTX and cubin.
"""

from __future__ import annotations

import importlib.util
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

# `#define CUDA_VERSION 13000` and `#define CCCL_VERSION 3000003`.
VERSION_LINE = re.compile(r"^#\s*define (?:CUDA|CCCL)_VERSION \d+")


class ToolchainError(RuntimeError):
    """A compiler or header folder that is missing; the message says what to install."""


@dataclass(frozen=True)
class Compilation:
    """What one compile gave: a log always, PTX and cubin when `ok`."""

    ok: bool
    log: str
    ptx: str = ""
    cubin: bytes = b""


@cache
def _nvrtc() -> Any:  # noqa: ANN401 - cuda.bindings has no types
    try:
        from cuda.bindings import nvrtc  # noqa: PLC0415 - optional at import time, see ToolchainError
    except ImportError as error:
        message = "cuda-bindings is missing: pip install 'cuda-bindings>=13,<14'"
        raise ToolchainError(message) from error
    return nvrtc


def _checked(result: tuple[Any, ...]) -> Any:  # noqa: ANN401 - cuda.bindings has no types
    status, *values = result
    if status != _nvrtc().nvrtcResult.NVRTC_SUCCESS:
        message = f"NVRTC answered {status.name}"
        raise ToolchainError(message)
    return values[0] if len(values) == 1 else tuple(values)


@cache
def compiler_version() -> str:
    """`nvrtc MAJOR.MINOR`, with the wheel's full version where one is installed."""
    try:
        major, minor = _checked(_nvrtc().nvrtcVersion())
    except RuntimeError as error:  # cuda-pathfinder raises one when libnvrtc is not found
        message = f"libnvrtc was not found: pip install nvidia-cuda-nvrtc==13.0.88 ({error})"
        raise ToolchainError(message) from error
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - only here

    try:
        return f"nvrtc {version('nvidia-cuda-nvrtc')}"
    except PackageNotFoundError:
        return f"nvrtc {major}.{minor}"


@cache
def cuda_include_folders() -> tuple[str, ...]:
    """`-I` options for CUDA's headers: the wheels' folder, else $CUDA_HOME, else /usr/local/cuda.

    Raises `ToolchainError` when none has <cuda_runtime.h>. The folder of <cuda/atomic> is added
    where it exists; only the variants that use cuda::atomic_ref need it.
    """
    candidates: list[Path] = []
    spec = importlib.util.find_spec("nvidia")
    roots = (spec.submodule_search_locations or []) if spec else []
    candidates.extend(Path(root) / "cu13" / "include" for root in roots)
    candidates.append(Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "include")
    present = [folder for folder in candidates if (folder / "cuda_runtime.h").is_file()]
    if not present:
        looked = ", ".join(str(folder) for folder in candidates)
        message = (
            f"CUDA's headers were not found in {looked}: "
            "pip install nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85"
        )
        raise ToolchainError(message)
    with_atomic = [
        folder / extra
        for folder in candidates
        for extra in ("cccl", ".")
        if (folder / extra / "cuda" / "atomic").is_file()
    ]
    return tuple(f"-I{folder}" for folder in (*with_atomic[:1], *present[:1]))


@cache
def cuda_header_versions() -> tuple[str, ...]:
    """The texts in which CUDA's headers say their version, for a cache's key."""
    files = ("cuda/std/__cccl/version.h", "cuda.h")
    roots = [Path(option.removeprefix("-I")) for option in cuda_include_folders()]
    texts = [
        (root / file).read_text(errors="replace")
        for root in roots
        for file in files
        if (root / file).is_file()
    ]
    return tuple(line for text in texts for line in text.splitlines() if VERSION_LINE.match(line))


def compile_source(
    source: str, name: str, headers: dict[str, str], options: list[str]
) -> Compilation:
    """Compile one translation unit; `headers` are included by name and need no folder."""
    nvrtc = _nvrtc()
    texts = [text.encode() for text in headers.values()]
    names = [header.encode() for header in headers]
    program = _checked(
        nvrtc.nvrtcCreateProgram(source.encode(), name.encode(), len(headers), texts, names)
    )
    try:
        encoded = [option.encode() for option in options]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(encoded), encoded)
        log = _text(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program)
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            return Compilation(ok=False, log=f"{status.name}\n{log}")
        ptx = _text(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX, program)
        cubin = _bytes(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, program)
        return Compilation(ok=True, log=log, ptx=ptx, cubin=cubin)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _bytes(size_of: Any, get: Any, program: Any) -> bytes:  # noqa: ANN401 - cuda.bindings has no types
    # NVRTC writes into the object itself, and Python shares every `bytes` of one byte.
    size = int(_checked(size_of(program)))
    buffer = b" " * max(size, 2)
    _checked(get(program, buffer))
    return buffer[:size]


def _text(size_of: Any, get: Any, program: Any) -> str:  # noqa: ANN401 - cuda.bindings has no types
    return _bytes(size_of, get, program).rstrip(b"\0").decode(errors="replace").strip()
