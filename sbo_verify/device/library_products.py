"""The same products by libraries that torch brings: cuBLASLt, and torch's own grouped GEMM.

What each computes is another problem in part, and its name says so:
- cuBLASLt knows one matrix at a time, so that several groups are one launch after another, of which
  the kernels' times are added;
- with per-tensor scales it is spared the scales of every 128 of K, and adds all of K in the tensor
  cores, whose accumulators hold fewer bits than FP32 (`use_fast_accum`);
- torch's grouped GEMM is one launch, its kernel CUTLASS's, with a scale for each row and column.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sbo_verify.device.gemm_inputs import Inputs, product
from sbo_verify.device.torch_device import torch_module

CUBLASLT, GROUPED = "cublaslt", "torch.scaled_grouped_mm"
BLOCK_SCALES, TENSOR_SCALES, ROW_SCALES = "block scales", "per-tensor scales", "row scales"
# Libraries' producers, and the scales that each is measured with.
LIBRARIES: tuple[tuple[str, str], ...] = (
    (CUBLASLT, BLOCK_SCALES),
    (CUBLASLT, TENSOR_SCALES),
    (GROUPED, ROW_SCALES),
)
GIGA_COPY_BYTES = 4_000_000_000
SQUARE = 8192
OPERATIONS_OF_SQUARE = 2 * SQUARE**3

Product = Callable[[], Any]


def library_product(library: str, scales: str, inputs: Inputs) -> Product:
    """A callable that launches the product of `inputs` and returns D, bfloat16, by groups.

    Whether this torch and this GPU can is known when it is called: it raises what torch raises.
    """
    if library == GROUPED:
        return _grouped(inputs)
    return _block_scaled(inputs) if scales == BLOCK_SCALES else _tensor_scaled(inputs)


def _tensor_scaled(inputs: Inputs) -> Product:
    torch = torch_module()
    one = torch.ones((), device="cuda")
    pairs = list(zip(inputs.a[0], inputs.b[0], strict=True))

    def launch() -> list[Any]:
        return [
            torch._scaled_mm(  # noqa: SLF001 - torch has no other name for it
                a, b.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=True
            )
            for a, b in pairs
        ]

    return launch


def _block_scaled(inputs: Inputs) -> Product:
    torch = torch_module()
    # A's scales M-major, B's as they lie: the layouts that cuBLASLt asks for.
    groups = [
        (a, b, a_scales.t().contiguous().t(), b_scales.contiguous().t())
        for a, b, a_scales, b_scales in zip(
            inputs.a[0], inputs.b[0], inputs.a[1], inputs.b[1], strict=True
        )
    ]

    def launch() -> list[Any]:
        return [
            torch._scaled_mm(  # noqa: SLF001 - as above
                a, b.t(), scale_a=a_scales, scale_b=b_scales, out_dtype=torch.bfloat16
            )
            for a, b, a_scales, b_scales in groups
        ]

    return launch


def _grouped(inputs: Inputs) -> Product:
    torch = torch_module()
    a, b = inputs.a[0], inputs.b[0]
    groups, m, _ = a.shape
    rows = torch.ones((groups, m), device="cuda")
    columns = torch.ones((groups, b.shape[1]), device="cuda")

    def launch() -> Any:  # noqa: ANN401 - a torch tensor
        return torch._scaled_grouped_mm(  # noqa: SLF001 - as above
            a,
            b.transpose(1, 2),
            scale_a=rows,
            scale_b=columns,
            out_dtype=torch.bfloat16,
            use_fast_accum=True,
        )

    return launch


def exact_product(inputs: Inputs, scales: str) -> Any:  # noqa: ANN401 - a torch tensor
    """The FP64 product that a library with such scales is to approach; every other scale is 1."""
    torch = torch_module()
    if scales == BLOCK_SCALES:
        return product(inputs)
    return torch.bmm(inputs.a[0].double(), inputs.b[0].double().transpose(1, 2))


def relative_error(found: Any, expected: Any) -> float:  # noqa: ANN401 - torch tensors
    """The norm of the difference over the norm of what is expected; `found` whole or by groups."""
    torch = torch_module()
    whole = torch.stack(found) if isinstance(found, list) else found
    return float(torch.linalg.norm(whole.double() - expected) / torch.linalg.norm(expected))


def large_copy() -> tuple[Product, int]:
    """A device-to-device copy of far more than L2, and the bytes that it reads and writes."""
    torch = torch_module()
    source = torch.zeros(GIGA_COPY_BYTES // 4, dtype=torch.int32, device="cuda")
    target = torch.empty_like(source)
    return (lambda: target.copy_(source)), 2 * GIGA_COPY_BYTES


def large_read() -> tuple[Product, int]:
    """A sum over far more than L2, and the bytes that it reads."""
    torch = torch_module()
    source = torch.zeros(GIGA_COPY_BYTES // 4, dtype=torch.float32, device="cuda")
    return source.sum, GIGA_COPY_BYTES


def large_product() -> tuple[Product, int]:
    """The FP8 product of two large squares of random numbers by cuBLASLt, and its operations."""
    torch = torch_module()
    made = torch.Generator(device="cuda").manual_seed(1)
    a, b = (
        torch.randn((SQUARE, SQUARE), device="cuda", generator=made).to(torch.float8_e4m3fn)
        for _ in range(2)
    )
    one = torch.ones((), device="cuda")

    def launch() -> Any:  # noqa: ANN401 - a torch tensor
        return torch._scaled_mm(  # noqa: SLF001 - as above
            a, b.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=True
        )

    return launch, OPERATIONS_OF_SQUARE


def poisoned(inputs: Inputs) -> Any:  # noqa: ANN401 - a torch tensor
    """D, every element NaN."""
    inputs.d.fill_(float("nan"))
    return inputs.d


def refusals() -> tuple[type[Exception], ...]:
    """What torch raises where it, or the GPU, cannot compute a product."""
    return (RuntimeError, ValueError, AttributeError, TypeError, NotImplementedError)
