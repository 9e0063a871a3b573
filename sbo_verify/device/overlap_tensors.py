"""Tensors of the overlap's benchmark: what a GEMM reads as a link brings it, halves, comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sbo_verify.device.gemm_inputs import BLOCK, Inputs
from sbo_verify.device.torch_device import torch_module


@dataclass(frozen=True)
class Received:
    """Rows of A with their scales, behind each other in `storage`, and their source, `arrived`."""

    storage: Any
    arrived: Any

    @property
    def size(self) -> int:
        """Bytes of either."""
        return int(self.storage.numel())


def as_received(inputs: Inputs) -> tuple[Inputs, Received]:
    """The same inputs with A where Dispatch Receive puts it.

    A's scales become M-major, their pitch M, a multiple of 4.
    """
    torch = torch_module()
    values, scales = inputs.a
    groups, m, k = values.shape
    storage = torch.empty(
        values.numel() + 4 * groups * m * (k // BLOCK), dtype=torch.uint8, device="cuda"
    )
    placed = storage[: values.numel()].view(values.dtype).view(groups, m, k)
    rest = storage[values.numel() :].view(torch.float32)
    placed_scales = rest.view(groups, k // BLOCK, m).transpose(1, 2)
    placed.view(torch.uint8).copy_(values.view(torch.uint8))
    placed_scales.copy_(scales)
    received = Received(storage, storage.clone())
    return replace(inputs, a=(placed, placed_scales)), received


def half_of(inputs: Inputs, half: int) -> Inputs:
    """The first or second half of each group's rows, with the same B and outputs of its own."""
    torch = torch_module()
    values, scales = inputs.a
    rows = values.shape[1] // 2
    mine = slice((half - 1) * rows, half * rows)
    return replace(
        inputs,
        a=(
            values.view(torch.uint8)[:, mine].contiguous().view(values.dtype),
            scales[:, mine].contiguous(),
        ),
        d=torch.empty_like(inputs.d[:, mine], memory_format=torch.contiguous_format),
        masked_m=torch.full_like(inputs.masked_m, rows),
        signal=torch.zeros_like(inputs.signal),
    )


def rows_of_half(tensor: Any, half: int) -> Any:  # noqa: ANN401 - torch tensors
    """The rows, in a [groups, m, n] tensor, of the whole batch (0) or of one half."""
    if half == 0:
        return tensor
    rows = tensor.shape[1] // 2
    return tensor[:, (half - 1) * rows : half * rows]


def poison(tensors: Sequence[Any], byte: int) -> None:
    """Overwrite every byte of contiguous tensors."""
    torch = torch_module()
    for tensor in tensors:
        tensor.view(torch.uint8).fill_(byte)


def same_bits(one: Any, another: Any) -> bool:  # noqa: ANN401 - torch tensors
    """Whether two tensors of one type and shape agree in every bit."""
    torch = torch_module()
    return bool(
        torch.equal(one.contiguous().view(torch.uint8), another.contiguous().view(torch.uint8))
    )
