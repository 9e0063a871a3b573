"""What the masked GEMM is given, checked before anything is launched.

Tensors are looked at by duck typing, so that nothing here imports torch. Every refusal says what
was given, what is allowed and, where it helps, what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sbo_verify.device.gemm_layout import BLOCK_K, BLOCK_NS, SCALE_N

ADDRESS_ALIGNMENT = 16
# Tensor copies want rows of a multiple of 16 bytes: 8 columns of D.
N_MULTIPLE = 8
RECIPES = (None, (1, 128, 128))
# Coordinates and pitches stay below 2^31 in the kernel's arithmetic.
LARGEST = 2**31 - 1


class GemmArgumentError(ValueError):
    """An argument that the GEMM cannot take; the message says what it can."""


class Tensor(Protocol):
    """What is asked of a tensor: torch's names."""

    @property
    def dtype(self) -> Any:  # noqa: ANN401 - torch's own type, looked at by its name
        """Type of the elements."""

    @property
    def shape(self) -> Sequence[int]:
        """Sizes of the dimensions."""

    @property
    def device(self) -> Any:  # noqa: ANN401 - torch's own type
        """Where the elements lie: `type` and `index`."""

    def stride(self) -> Sequence[int]:
        """Elements from one index to the next, by dimension."""

    def data_ptr(self) -> int:
        """Address of the first element."""


@dataclass(frozen=True)
class Problem:
    """D[g] = A[g] x B[g]^T: `groups` times [m, k] x [n, k]^T, on one device."""

    groups: int
    m: int
    n: int
    k: int
    device: int


def require(allowed: bool, message: str) -> None:  # noqa: FBT001 - reads as an assertion
    """Refuse with `message` unless `allowed`."""
    if not allowed:
        raise GemmArgumentError(message)


def check_tensors(
    a: Sequence[Any], b: Sequence[Any], d: Tensor, masked_m: Tensor, expected_m: int
) -> Problem:
    """The problem that the tensors pose; `GemmArgumentError` where they pose none.

    `a` and `b` are pairs of e4m3 values and float scales; layouts as in
    `m_grouped_fp8_gemm_nt_masked`.
    """
    for name, pair in (("a", a), ("b", b)):
        require(
            isinstance(pair, tuple | list) and len(pair) == 2,  # noqa: PLR2004 - a pair
            f"{name} is {type(pair).__name__}; allowed is a pair (values, scales)",
        )
    _check(a[0], "a[0]", "torch.float8_e4m3fn", "[G, M, K]", 3)
    _check(b[0], "b[0]", "torch.float8_e4m3fn", "[G, N, K]", 3)
    groups, m, k = (int(size) for size in a[0].shape)
    _, n, _ = (int(size) for size in b[0].shape)
    problem = Problem(groups, m, n, k, _device_of(a[0], "a[0]"))
    _check_sizes(problem)
    _check_shape(b[0], "b[0]", "[G, N, K]", (groups, n, k))
    _check(d, "d", "torch.bfloat16", "[G, M, N]", 3)
    _check_shape(d, "d", "[G, M, N]", (groups, m, n))
    _check(masked_m, "masked_m", "torch.int32", "[G]", 1)
    _check_shape(masked_m, "masked_m", "[G]", (groups,))
    _check_b_scales(b[1], problem)
    a_scale_pitch(a[1], problem)
    named = (("b[0]", b[0]), ("a[1]", a[1]), ("b[1]", b[1]), ("d", d), ("masked_m", masked_m))
    for name, tensor in named:
        at = _device_of(tensor, name)
        require(at == problem.device, f"{name} is on cuda:{at}, a[0] on cuda:{problem.device}")
    require(
        isinstance(expected_m, int) and expected_m >= 1,
        f"expected_m is {expected_m!r}; allowed is a whole number of rows from 1",
    )
    return problem


def check_options(recipe: object, compiled_dims: str, max_block_n: int) -> None:
    """Refuse what the public interface allows and this kernel has no form of."""
    require(
        recipe in RECIPES,
        f"recipe is {recipe!r}; allowed is None or (1, 128, 128): a scale for every row of A and "
        "every 128 rows of B, at every 128 of K",
    )
    require(
        isinstance(compiled_dims, str) and set(compiled_dims) <= set("mnk"),
        f"compiled_dims is {compiled_dims!r}; allowed are the letters m, n and k",
    )
    require(
        max_block_n >= min(BLOCK_NS),
        f"max_block_n is {max_block_n}; allowed is {min(BLOCK_NS)} or more: tiles are "
        f"{', '.join(map(str, BLOCK_NS))} columns wide",
    )


def check_signal(signal: Tensor | None, problem: Problem, block_m: int) -> None:
    """A signal for each m-block of each group, where the GEMM will add to it."""
    if signal is None:
        message = "enable_overlap is set and signal is None; allowed is an int32 tensor of zeros"
        raise GemmArgumentError(message)
    _check(signal, "signal", "torch.int32", "one dimension", 1)
    at = _device_of(signal, "signal")
    require(at == problem.device, f"signal is on cuda:{at}, a[0] on cuda:{problem.device}")
    slots = -(-problem.m // block_m)
    needed = problem.groups * slots
    size = int(signal.shape[0])
    require(
        size >= needed,
        f"signal has {size} elements; {problem.groups} groups of {problem.m} rows in blocks of "
        f"{block_m} need {problem.groups} * {slots} = {needed}",
    )


def a_scale_pitch(scales: Tensor, problem: Problem) -> int | None:
    """Floats from one k-block's scales of A to the next's; None for plain row-major scales.

    Scales are [G, M, K/128] either way: M-major with a pitch of a multiple of 4 floats, as tensor
    copies want it, or row-major, which has to be copied first.
    """
    blocks = problem.k // BLOCK_K
    _check_dtype(scales, "a[1]", "torch.float32")
    _check_shape(scales, "a[1]", "[G, M, K/128]", (problem.groups, problem.m, blocks))
    group, row, block = (int(stride) for stride in scales.stride())
    row = 1 if problem.m == 1 else row
    aligned = -(-problem.m // 4) * 4
    pitch = block if blocks > 1 else group if problem.groups > 1 else aligned
    whole = problem.groups == 1 or group == pitch * blocks
    if row == 1 and pitch >= problem.m and pitch % 4 == 0 and whole:
        _check_address(scales, "a[1]")
        return pitch
    require(
        is_contiguous(scales),
        f"a[1] has strides ({group}, {row}, {block}); allowed are row-major "
        f"({problem.m * blocks}, {blocks}, 1) or M-major ({aligned * blocks}, 1, {aligned})",
    )
    return None


def is_contiguous(tensor: Tensor) -> bool:
    """Whether the tensor is row-major with no gaps; one element's stride does not matter."""
    wanted = 1
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.stride()), strict=True):
        if size != 1 and stride != wanted:
            return False
        wanted *= size
    return True


def _check_sizes(problem: Problem) -> None:
    for name, size in (("G", problem.groups), ("M", problem.m), ("N", problem.n)):
        require(size >= 1, f"{name} is {size}; allowed is 1 or more")
    require(
        problem.k >= BLOCK_K and problem.k % BLOCK_K == 0,
        f"K is {problem.k}; allowed is a multiple of {BLOCK_K}, the width of one scale",
    )
    require(
        problem.n % N_MULTIPLE == 0,
        f"N is {problem.n}; allowed is a multiple of {N_MULTIPLE}: tensor copies store rows of D "
        "of a multiple of 16 bytes",
    )
    for name, rows in (
        ("G * M", problem.groups * problem.m),
        ("G * N", problem.groups * problem.n),
    ):
        require(rows <= LARGEST, f"{name} is {rows}; allowed is up to {LARGEST}")


def _check_b_scales(scales: Tensor, problem: Problem) -> None:
    shape = (problem.groups, -(-problem.n // SCALE_N), problem.k // BLOCK_K)
    _check(scales, "b[1]", "torch.float32", "[G, ceil(N/128), K/128]", 3)
    _check_shape(scales, "b[1]", "[G, ceil(N/128), K/128]", shape)


def _check(tensor: Tensor, name: str, dtype: str, shape: str, dimensions: int) -> None:
    _check_dtype(tensor, name, dtype)
    require(
        len(tensor.shape) == dimensions,
        f"{name} has the shape {_sizes(tensor.shape)}; allowed is {shape}",
    )
    require(
        is_contiguous(tensor),
        f"{name} has the strides {_sizes(tensor.stride())} for the shape {_sizes(tensor.shape)}; "
        "allowed is a contiguous tensor",
    )
    _check_address(tensor, name)


def _check_dtype(tensor: Tensor, name: str, dtype: str) -> None:
    require(
        hasattr(tensor, "dtype"), f"{name} is {type(tensor).__name__}; allowed is a {dtype} tensor"
    )
    require(str(tensor.dtype) == dtype, f"{name} is {tensor.dtype}; allowed is {dtype}")


def _check_address(tensor: Tensor, name: str) -> None:
    address = tensor.data_ptr()
    require(
        address % ADDRESS_ALIGNMENT == 0,
        f"{name} begins at address {address:#x}; allowed is a multiple of {ADDRESS_ALIGNMENT}",
    )


def _check_shape(tensor: Tensor, name: str, meaning: str, shape: tuple[int, ...]) -> None:
    require(
        tuple(tensor.shape) == shape,
        f"{name} has the shape {_sizes(tensor.shape)}; allowed is {meaning} = {_sizes(shape)}",
    )


def _device_of(tensor: Tensor, name: str) -> int:
    kind = str(getattr(tensor.device, "type", tensor.device))
    require(kind == "cuda", f"{name} is on {kind}; allowed is a Hopper GPU")
    return int(tensor.device.index or 0)


def _sizes(values: Sequence[int]) -> str:
    return "[" + ", ".join(str(int(value)) for value in values) + "]"
