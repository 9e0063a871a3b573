"""The tensors of a producer's rounds: inputs whose exact product names the round, and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sbo_verify.device.combine_layout import BLOCK_K

SMALLEST_BLOCK_M = 64


@dataclass(frozen=True)
class LiveTensors:
    """Torch tensors of one problem, as the public interface takes them, and the destination.

    a: (e4m3 [G, M, K], float32 scales [G, M, K/128], M-major); b: (e4m3 [G, N, K], float32 scales
    [G, ceil(N/128), K/128]); d and destination: bfloat16 [G, M, N]; masked_m: int32 [G]; signal:
    int32 [G * ceil(M/64)].
    """

    a: tuple[Any, Any]
    b: tuple[Any, Any]
    d: Any
    masked_m: Any
    signal: Any
    destination: Any
    scale_storage: Any

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """(G, M, N, K)."""
        groups, m, k = self.a[0].shape
        return int(groups), int(m), int(self.b[0].shape[1]), int(k)


def live_tensors(
    torch: Any,  # noqa: ANN401 - torch, which is optional
    sizes: tuple[int, int, int, int],
    masked: Sequence[int],
    seed: int,
) -> LiveTensors:
    """Tensors of (G, M, N, K) on the current stream; A's scales are written anew in each round.

    Every row of A and B is the same row of signs, so that 128 of K add up to 128 exactly.
    """
    groups, m, n, k = sizes
    made = torch.Generator(device="cuda").manual_seed(seed)
    signs = torch.randint(0, 2, (k,), device="cuda", generator=made).float() * 2 - 1
    row = signs.to(torch.float8_e4m3fn).view(torch.uint8)
    a, b = (row.expand(groups, rows, k).contiguous().view(torch.float8_e4m3fn) for rows in (m, n))
    # M-major with a pitch of a multiple of 4 floats, as tensor copies want them.
    storage = torch.zeros((groups, k // BLOCK_K, -(-m // 4) * 4), device="cuda")
    ones = torch.ones((groups, -(-n // BLOCK_K), k // BLOCK_K), device="cuda")
    d = torch.zeros((groups, m, n), dtype=torch.bfloat16, device="cuda")
    slots = groups * -(-m // SMALLEST_BLOCK_M)
    return LiveTensors(
        a=(a, storage[:, :, :m].transpose(1, 2)),
        b=(b, ones),
        d=d,
        masked_m=torch.tensor(list(masked), dtype=torch.int32, device="cuda"),
        signal=torch.zeros(slots, dtype=torch.int32, device="cuda"),
        destination=torch.zeros_like(d),
        scale_storage=storage,
    )
