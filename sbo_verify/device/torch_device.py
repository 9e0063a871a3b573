"""What the masked GEMM asks of torch: the device, its current stream, whether it captures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True)
class TorchDevice:
    """A CUDA device as torch describes it."""

    index: int
    name: str
    capability: tuple[int, int]
    sm_count: int


def _torch() -> Any:  # noqa: ANN401 - torch is optional and has its own types
    import torch  # noqa: PLC0415 - optional dependency

    return torch


@cache
def torch_device(index: int) -> TorchDevice:
    """The device with this index; its context exists afterwards."""
    torch = _torch()
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
    return int(_torch().cuda.current_stream(index).cuda_stream)


def is_capturing() -> bool:
    """Whether the current stream is recorded into a CUDA graph."""
    return bool(_torch().cuda.is_current_stream_capturing())


def device_guard(index: int) -> Any:  # noqa: ANN401 - torch's context manager
    """Makes a device current for a `with` block."""
    return _torch().cuda.device(index)
