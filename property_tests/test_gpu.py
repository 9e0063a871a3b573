"""Which of the visible devices are used; the devices are made up, no GPU is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest

from sbo_verify.device import gpu as gpu_module
from sbo_verify.device.gpu import Gpu, NoGpuError, usable_gpus
from sbo_verify.device.gpu_errors import gpu_errors_named, named
from sbo_verify.device.micro_kernel import GpuMemoryError, LaunchFailedError

H200 = Gpu(
    index=0,
    name="NVIDIA H200",
    uuid="GPU-0",
    capability=(9, 0),
    sm_count=132,
    l2_bytes=62914560,
    memory_bytes=150109880320,
    sm_clock_khz=1980000,
    driver="580",
)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[bool]], None]:
    """A machine whose device i is a Hopper GPU where `hopper[i]`."""

    def make(hopper: list[bool]) -> None:
        def describe(index: int) -> Gpu:
            if not hopper[index]:
                message = f"device {index} is no Hopper GPU"
                raise NoGpuError(message)
            return replace(H200, index=index, uuid=f"GPU-{index}")

        monkeypatch.setattr(gpu_module, "visible_gpus", lambda: len(hopper))
        monkeypatch.setattr(gpu_module, "describe_gpu", describe)

    return make


def test_every_hopper_gpu_is_used_and_others_are_passed_over(
    machine: Callable[[list[bool]], None],
) -> None:
    machine([False, True, True])
    assert [gpu.index for gpu in usable_gpus()] == [1, 2]


def test_without_a_hopper_gpu_every_device_says_why(machine: Callable[[list[bool]], None]) -> None:
    machine([False, False])
    with pytest.raises(NoGpuError, match="device 0 is no Hopper GPU; device 1 is no Hopper GPU"):
        usable_gpus()


def test_a_machine_with_no_device_says_so(machine: Callable[[list[bool]], None]) -> None:
    machine([])
    with pytest.raises(NoGpuError, match="no CUDA device is visible"):
        usable_gpus()


class CUDARuntimeError(RuntimeError):
    """As cupy's is called."""


def test_a_gpu_without_memory_for_one_process_more_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def use(_device: object) -> None:
        message = "cudaErrorMemoryAllocation: out of memory"
        raise CUDARuntimeError(message)

    runtime = SimpleNamespace(CUDARuntimeError=CUDARuntimeError)
    device = type("Device", (), {"__init__": lambda _self, _index: None, "use": use})
    cupy = SimpleNamespace(cuda=SimpleNamespace(Device=device, runtime=runtime))
    monkeypatch.setattr(gpu_module, "_cupy", lambda: cupy)
    monkeypatch.setattr(gpu_module, "describe_gpu", lambda _index: H200)
    with pytest.raises(NoGpuError, match="GPU 0 cannot be used: cudaErrorMemoryAllocation"):
        gpu_module.open_gpu(0)


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("OutOfMemoryError", "out of memory allocating 4,096 bytes", GpuMemoryError),
        ("CUDARuntimeError", "cudaErrorMemoryAllocation: out of memory", GpuMemoryError),
        ("DriverError", "cuModuleLoadData failed: CUDA_ERROR_OUT_OF_MEMORY", GpuMemoryError),
        ("CUDARuntimeError", "cudaErrorIllegalAddress: an illegal address", LaunchFailedError),
        ("AcceleratorError", "CUDA error: unspecified launch failure", LaunchFailedError),
        ("RuntimeError", "CUDA error: device-side assert triggered", LaunchFailedError),
        ("DriverError", "cuLaunchKernelEx failed: CUDA_ERROR_NO_DEVICE", LaunchFailedError),
    ],
)
def test_what_a_gpu_fails_of_is_known_whoever_says_it(
    name: str, text: str, kind: type[Exception]
) -> None:
    error = type(name, (RuntimeError,), {})(text)
    assert type(named(error)) is kind
    with pytest.raises(kind, match=text.split(maxsplit=1)[0]), gpu_errors_named():
        raise error


def test_a_defect_is_no_error_of_the_gpu() -> None:
    defect = ValueError("4 rounds cannot be")
    assert named(defect) is None
    with pytest.raises(ValueError, match="cannot be"), gpu_errors_named():
        raise defect
