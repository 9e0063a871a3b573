"""Launches of the masked GEMM: kernels loaded once for each device, parameters, stream.

Nothing here chooses or checks: a `GemmCall` says everything about a launch in numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from sbo_verify.device.driver import Kernel
from sbo_verify.device.gemm_build import build_gemm
from sbo_verify.device.gemm_layout import (
    BLOCK_K,
    D_BOXES,
    GEMM_PARAMETERS,
    THREADS,
    Shape,
    slab_columns,
)
from sbo_verify.device.tensor_map import Element, Tensor3D, encode_map
from sbo_verify.protocols.signal_publish.sites import SignalPublish, Store

FULL_CARVEOUT_PERCENT = 100


@dataclass(frozen=True, kw_only=True)
class GemmCall:
    """One launch. Addresses are device addresses, A's scales [G, K/128, `scale_pitch`] floats."""

    a: int
    a_scales: int
    b: int
    b_scales: int
    d: int
    masked_m: int
    signals: int
    groups: int
    m: int
    n: int
    k: int
    scale_pitch: int
    num_sms: int
    device: int
    stream: int


@cache
def loaded(shape: Shape, variant: SignalPublish, k: int, device: int) -> Kernel:  # noqa: ARG001 - a kernel belongs to the device that is current
    """The kernel on one device, ready for K: built, loaded, its shared memory allowed."""
    artefact = build_gemm(shape, variant)
    kernel = Kernel(artefact.cubin, artefact.entry)
    kernel.allow_dynamic_shared(shape.shared_bytes(variant, k), FULL_CARVEOUT_PERCENT)
    return kernel


def launch_gemm(shape: Shape, variant: SignalPublish, call: GemmCall) -> int:
    """Put one launch on `call.stream`; returns how many CTAs it has.

    The device must be current. The first launch of a shape and variant builds and loads its kernel,
    so that it must come before a capture begins.
    """
    kernel = loaded(shape, variant, call.k, call.device)
    tiles = call.groups * -(-call.m // shape.block_m) * -(-call.n // shape.block_n)
    grid = min(call.num_sms, tiles + tiles % shape.cluster)
    grid -= grid % shape.cluster
    kernel.launch(
        gemm_parameters(shape, variant, call),
        grid=grid,
        threads=THREADS,
        dynamic_shared=shape.shared_bytes(variant, call.k),
        cluster=shape.cluster,
        stream=call.stream,
    )
    return grid


def gemm_parameters(
    shape: Shape, variant: SignalPublish, call: GemmCall
) -> np.ndarray[Any, np.dtype[np.void]]:
    """The kernel's parameter structure, tensor maps and all."""
    p = np.zeros(1, dtype=GEMM_PARAMETERS.dtype())
    a, b, scales, d = _tensors(call)
    # The CTAs of a cluster bring halves of what they share.
    p["a_map"] = encode_map(a, (BLOCK_K, shape.block_m // shape.cluster), 128)
    p["b_map"] = encode_map(b, (BLOCK_K, shape.block_n // shape.cluster), 128)
    p["a_scale_map"] = encode_map(scales, (shape.block_m, 1), 0)
    if variant.store is Store.TENSOR:
        columns = slab_columns(shape.block_n)
        for bit in range(D_BOXES):
            rows = min(1 << bit, shape.block_m)
            p["d_maps"][0, bit] = encode_map(d, (columns, rows), 2 * columns)
    values = {
        "b_scales": call.b_scales,
        "masked_m": call.masked_m,
        "signals": call.signals,
        "d": call.d,
        "d_pitch": d.pitches[0],
        "groups": call.groups,
        "m": call.m,
        "n": call.n,
        "k_blocks": call.k // BLOCK_K,
    }
    for name, value in values.items():
        p[name] = value
    return p


def _tensors(call: GemmCall) -> tuple[Tensor3D, Tensor3D, Tensor3D, Tensor3D]:
    """A, B, A's scales and D as the copies see them."""
    k, blocks = call.k, call.k // BLOCK_K
    row = 4 * call.scale_pitch
    return (
        Tensor3D(call.a, Element.BYTE, (k, call.m, call.groups), (k, call.m * k)),
        Tensor3D(call.b, Element.BYTE, (k, call.n, call.groups), (k, call.n * k)),
        Tensor3D(
            call.a_scales, Element.FLOAT32, (call.m, blocks, call.groups), (row, row * blocks)
        ),
        Tensor3D(
            call.d,
            Element.BFLOAT16,
            (call.n, call.m, call.groups),
            (2 * call.n, 2 * call.m * call.n),
        ),
    )
