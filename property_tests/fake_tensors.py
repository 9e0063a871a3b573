"""Tensors with a type, a shape and an address and no memory, for checks that read no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

E4M3, FLOAT, BFLOAT16, INT = (
    f"torch.{name}" for name in ("float8_e4m3fn", "float32", "bfloat16", "int32")
)


@dataclass
class FakeTensor:
    """What `sbo_verify.gemm.arguments` asks of a tensor; contiguous unless strides are given."""

    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...] = ()
    address: int = 1 << 20
    device: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(type="cuda", index=0))

    def stride(self) -> Sequence[int]:
        return self.strides or contiguous(self.shape)

    def data_ptr(self) -> int:
        return self.address


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides."""
    strides = [1]
    for size in reversed(shape[1:]):
        strides.insert(0, strides[0] * size)
    return tuple(strides)


@dataclass
class Arguments:
    """The tensors of a problem, each of which a test may replace."""

    a: FakeTensor
    a_scales: FakeTensor
    b: FakeTensor
    b_scales: FakeTensor
    d: FakeTensor
    masked_m: FakeTensor
    signal: FakeTensor


def arguments(groups: int, m: int, n: int, k: int) -> Arguments:
    """Arguments without fault."""
    blocks = k // 128
    return Arguments(
        a=FakeTensor(E4M3, (groups, m, k)),
        a_scales=FakeTensor(FLOAT, (groups, m, blocks)),
        b=FakeTensor(E4M3, (groups, n, k)),
        b_scales=FakeTensor(FLOAT, (groups, -(-n // 128), blocks)),
        d=FakeTensor(BFLOAT16, (groups, m, n)),
        masked_m=FakeTensor(INT, (groups,)),
        signal=FakeTensor(INT, (groups * -(-m // 64),)),
    )
