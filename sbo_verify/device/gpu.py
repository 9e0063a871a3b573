"""The GPU at hand: what it is, and whether the kernels can run on it.

cupy and cuda.bindings are imported inside functions: everything that needs no GPU must work
without them.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sbo_verify.record import Machine

HOPPER = (9, 0)
PACKAGES = ("numpy", "scipy", "cuda-bindings", "cupy-cuda13x", "torch", "nvidia-cuda-nvrtc")
# Shared memory of one Hopper SM, and what the driver keeps of it for every CTA.
SM_SHARED_BYTES = 228 * 1024
RESERVED_SHARED_BYTES = 1024
CTA_SHARED_BYTES = 227 * 1024


class NoGpuError(RuntimeError):
    """No Hopper GPU can be used here; the message says why and what would help."""


@dataclass(frozen=True)
class Gpu:
    """One usable Hopper GPU, by its index among the caller's visible devices."""

    index: int
    name: str
    uuid: str
    capability: tuple[int, int]
    sm_count: int
    l2_bytes: int
    memory_bytes: int
    sm_clock_khz: int
    driver: str


def visible_gpus() -> int:
    """How many CUDA devices the caller may use; raises `NoGpuError` when that cannot be asked."""
    runtime = _cupy().cuda.runtime
    try:
        return int(runtime.getDeviceCount())
    except runtime.CUDARuntimeError as error:
        message = f"no CUDA device: {error}"
        raise NoGpuError(message) from error


def open_gpu(index: int = 0) -> Gpu:
    """Make a device current and describe it. Raises `NoGpuError` when it cannot run sm_90a."""
    gpu, cupy = describe_gpu(index), _cupy()
    try:
        cupy.cuda.Device(index).use()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        # Among others where it has no memory left for one process more.
        message = f"GPU {index} cannot be used: {error}"
        raise NoGpuError(message) from error
    return gpu


def describe_gpu(index: int = 0) -> Gpu:
    """Describe a device without making a context on it. Raises `NoGpuError` as `open_gpu`."""
    cupy = _cupy()
    count = visible_gpus()
    if not 0 <= index < count:
        message = f"no GPU {index}: {count} visible, counted from 0"
        raise NoGpuError(message)
    runtime = cupy.cuda.runtime
    try:
        facts = runtime.getDeviceProperties(index)
    except runtime.CUDARuntimeError as error:
        message = f"GPU {index} cannot be used: {error}"
        raise NoGpuError(message) from error
    capability = (int(facts["major"]), int(facts["minor"]))
    name = facts["name"].decode()
    if capability != HOPPER:
        message = (
            f"{name} has compute capability {capability[0]}.{capability[1]}; the kernels are "
            "sm_90a and run on Hopper (9.0) only"
        )
        raise NoGpuError(message)
    # CUDA 13 dropped the clock from the properties; the attribute remains.
    clock = cupy.cuda.Device(index).attributes.get("ClockRate", 0)
    return Gpu(
        index=index,
        name=name,
        uuid=_uuid(facts["uuid"]),
        capability=capability,
        sm_count=int(facts["multiProcessorCount"]),
        l2_bytes=int(facts["l2CacheSize"]),
        memory_bytes=int(facts["totalGlobalMem"]),
        sm_clock_khz=int(clock),
        driver=_driver_text(int(runtime.driverGetVersion())),
    )


def usable_gpus() -> list[Gpu]:
    """Every visible device that can run sm_90a; `NoGpuError` says why there is none."""
    usable: list[Gpu] = []
    reasons: list[str] = []
    for index in range(visible_gpus()):
        try:
            usable.append(describe_gpu(index))
        except NoGpuError as error:
            reasons.append(str(error))
    if not usable:
        raise NoGpuError("; ".join(reasons) or "no CUDA device is visible")
    return usable


def describe_machine(gpu: Gpu | None) -> Machine:
    """The machine of a run, for its settings record."""
    packages = {name: found for name in PACKAGES if (found := _version(name))}
    common: dict[str, Any] = {"python": platform.python_version(), "packages": packages}
    if gpu is None:
        return Machine(
            gpu="",
            gpu_uuid="",
            compute_capability="",
            sm_count=0,
            l2_bytes=0,
            memory_bytes=0,
            sm_clock_khz=0,
            driver="",
            **common,
        )
    return Machine(
        gpu=gpu.name,
        gpu_uuid=gpu.uuid,
        compute_capability=f"{gpu.capability[0]}.{gpu.capability[1]}",
        sm_count=gpu.sm_count,
        l2_bytes=gpu.l2_bytes,
        memory_bytes=gpu.memory_bytes,
        sm_clock_khz=gpu.sm_clock_khz,
        driver=gpu.driver,
        **common,
    )


def _cupy() -> Any:  # noqa: ANN401 - cupy has no types
    try:
        import cupy  # noqa: PLC0415 - optional dependency
    except ImportError as error:
        message = "cupy is not installed: pip install 'sbo-verify[gpu]' on a machine with a GPU"
        raise NoGpuError(message) from error
    return cupy


def _uuid(raw: bytes) -> str:
    text = raw[:16].hex()
    return f"GPU-{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _driver_text(cuda: int) -> str:
    """The driver's own version where it says it, with the CUDA version it supports."""
    supports = f"CUDA {cuda // 1000}.{cuda % 1000 // 10}"
    try:
        with open("/proc/driver/nvidia/version", encoding="utf-8") as file:  # noqa: PTH123 - proc file
            words = file.readline().split()
    except OSError:
        return supports
    numbers = [word for word in words if word[0].isdigit() and "." in word]
    return f"{numbers[0]} ({supports})" if numbers else supports


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
