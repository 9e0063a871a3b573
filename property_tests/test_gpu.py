"""Which of the visible devices are used; the devices are made up, no GPU is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sbo_verify.device import gpu as gpu_module
from sbo_verify.device.gpu import Gpu, NoGpuError, usable_gpus

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
