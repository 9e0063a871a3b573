"""Inputs of the masked GEMM on the GPU, and what it must make of them.

*Exact* inputs have products and sums that e4m3, the tensor cores' accumulators and FP32 hold
without rounding, so that D is known to the bit; *random* ones are quantized as inference does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sbo_verify.device.torch_device import torch_module

BLOCK = 128
E4M3_LARGEST = 448.0
# D before a launch: bfloat16 holds it, and no product of exact inputs comes near.
POISON = -(2.0**100)


@dataclass(frozen=True)
class Inputs:
    """Torch tensors of one problem, as `m_grouped_fp8_gemm_nt_masked` takes them."""

    a: tuple[Any, Any]
    b: tuple[Any, Any]
    d: Any
    masked_m: Any
    signal: Any


def exact_inputs(sizes: tuple[int, int, int, int], masked: Sequence[int], seed: int) -> Inputs:
    """Inputs for `sizes` = (G, M, N, K): small whole numbers, scales that are powers of two.

    Scales stay within 1/4 and 2, so that a sum needs fewer bits than FP32 has up to K = 2^16; its
    rounding to bfloat16 is then the only one.
    """
    torch = torch_module()
    groups, m, n, k = sizes
    made = torch.Generator(device="cuda").manual_seed(seed)

    def whole(*shape: int) -> Any:  # noqa: ANN401 - a torch tensor
        drawn = torch.randint(-2, 3, shape, device="cuda", generator=made)
        return drawn.float().to(torch.float8_e4m3fn)

    def power(*shape: int) -> Any:  # noqa: ANN401 - a torch tensor
        return torch.exp2(torch.randint(-2, 2, shape, device="cuda", generator=made).float())

    return _with_outputs(
        (whole(groups, m, k), power(groups, m, k // BLOCK)),
        (whole(groups, n, k), power(groups, -(-n // BLOCK), k // BLOCK)),
        masked,
    )


def random_inputs(sizes: tuple[int, int, int, int], masked: Sequence[int], seed: int) -> Inputs:
    """Normal numbers, scaled to e4m3's range by rows and 128 of K, and by 128 x 128 blocks."""
    torch = torch_module()
    groups, m, n, k = sizes
    made = torch.Generator(device="cuda").manual_seed(seed)
    a = torch.randn((groups, m, k // BLOCK, BLOCK), device="cuda", generator=made)
    a_scales = a.abs().amax(-1, keepdim=True) / E4M3_LARGEST
    rows = -(-n // BLOCK)
    b = torch.randn((groups, rows, BLOCK, k // BLOCK, BLOCK), device="cuda", generator=made)
    b_scales = b.abs().amax((2, 4), keepdim=True) / E4M3_LARGEST
    return _with_outputs(
        (
            (a / a_scales).reshape(groups, m, k).to(torch.float8_e4m3fn),
            a_scales.reshape(groups, m, k // BLOCK),
        ),
        (
            (b / b_scales).reshape(groups, -1, k)[:, :n].contiguous().to(torch.float8_e4m3fn),
            b_scales.reshape(groups, rows, k // BLOCK),
        ),
        masked,
    )


def _with_outputs(a: tuple[Any, Any], b: tuple[Any, Any], masked: Sequence[int]) -> Inputs:
    torch = torch_module()
    groups, m, _ = a[0].shape
    n = b[0].shape[1]
    d = torch.full((groups, m, n), POISON, dtype=torch.bfloat16, device="cuda")
    masked_m = torch.tensor(list(masked), dtype=torch.int32, device="cuda")
    signal = torch.zeros(groups * -(-m // 64), dtype=torch.int32, device="cuda")
    return Inputs(a, b, d, masked_m, signal)


def inputs_of_bytes(a: tuple[Any, Any], b: tuple[Any, Any], masked: Sequence[int]) -> Inputs:
    """Inputs of e4m3 bytes and float32 scales that numpy arrays hold, row-major as they stand."""
    torch = torch_module()
    pairs = [
        (
            torch.from_numpy(values).cuda().view(torch.float8_e4m3fn),
            torch.from_numpy(scales).cuda(),
        )
        for values, scales in (a, b)
    ]
    return _with_outputs(pairs[0], pairs[1], masked)


def bits_of(d: Any) -> Any:  # noqa: ANN401 - a torch tensor, and a numpy array
    """The patterns of a bfloat16 tensor as uint16, on the host."""
    return d.view(torch_module().int16).cpu().numpy().view("uint16")


def product(inputs: Inputs) -> Any:  # noqa: ANN401 - a torch tensor
    """[G, M, N] in float64, of the dequantized inputs, every row."""
    a, b = _dequantized(inputs)
    return torch_module().bmm(a, b.transpose(1, 2))


def magnitude(inputs: Inputs) -> Any:  # noqa: ANN401 - a torch tensor
    """[G, M, N] in float64: the product of the dequantized inputs' absolute values."""
    a, b = _dequantized(inputs)
    return torch_module().bmm(a.abs(), b.abs().transpose(1, 2))


def _dequantized(inputs: Inputs) -> tuple[Any, Any]:
    """A [G, M, K] and B [G, N, K] in float64."""
    groups, m, k = inputs.a[0].shape
    n = inputs.b[0].shape[1]
    a = inputs.a[0].double().view(groups, m, -1, BLOCK) * inputs.a[1].double()[..., None]
    scales = inputs.b[1].double().repeat_interleave(BLOCK, 1)[:, :n]
    b = inputs.b[0].double().view(groups, n, -1, BLOCK) * scales[..., None]
    return a.reshape(groups, m, k), b.reshape(groups, n, k)


def expected_d(inputs: Inputs) -> Any:  # noqa: ANN401 - a torch tensor
    """D after a launch on exact inputs: bfloat16, rows that do not count as they were."""
    torch = torch_module()
    rows = torch.arange(inputs.d.shape[1], device="cuda")[None, :, None]
    counts = rows < inputs.masked_m[:, None, None]
    poison = torch.full_like(inputs.d, POISON)
    return torch.where(counts, product(inputs).to(torch.bfloat16), poison)
