"""What the masked GEMM asks of torch: the device, its current stream, whether it captures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from sbo_verify.device.gpu import NoGpuError


@dataclass(frozen=True)
class TorchDevice:
    """A CUDA device as torch describes it."""

    index: int
    name: str
    capability: tuple[int, int]
    sm_count: int


def torch_module() -> Any:  # noqa: ANN401 - torch is optional and has its own types
    """The module torch, imported on first use; raises `NoGpuError` where it is not installed."""
    try:
        import torch  # noqa: PLC0415 - optional dependency
    except ImportError as error:
        message = "torch is not installed: pip install 'sbo-verify[gpu]' on a machine with a GPU"
        raise NoGpuError(message) from error
    return torch


@cache
def torch_device(index: int) -> TorchDevice:
    """The device with this index; its context exists afterwards."""
    torch = torch_module()
    torch.cuda.init()
    facts = torch.cuda.get_device_properties(index)
    return TorchDevice(
        index=index,
        name=str(facts.name),
        capability=(int(facts.major), int(facts.minor)),
        sm_count=int(facts.multi_processor_count),
    )


def current_stream(index: int) -> int:
    """The handle of the stream that torch works on at present."""
    return int(torch_module().cuda.current_stream(index).cuda_stream)


def is_capturing() -> bool:
    """Whether the current stream is recorded into a CUDA graph."""
    return bool(torch_module().cuda.is_current_stream_capturing())


def device_guard(index: int) -> Any:  # noqa: ANN401 - torch's context manager
    """Makes a device current for a `with` block."""
    return torch_module().cuda.device(index)
