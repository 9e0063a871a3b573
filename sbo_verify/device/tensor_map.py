"""Tensor maps of three-dimensional tensors for the masked GEMM's copies.

Source: CUDA driver API, cuTensorMapEncodeTiled. Maps are kept: a caller that launches on the same
tensors again and again encodes each of them once.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

import numpy as np

from sbo_verify.device.driver import checked, driver
from sbo_verify.device.layout import TENSOR_MAP_BYTES

MAPS_KEPT = 4096


class Element(Enum):
    """Element types of the GEMM's tensors: the driver's name and the size in bytes."""

    BYTE = ("CU_TENSOR_MAP_DATA_TYPE_UINT8", 1)
    BFLOAT16 = ("CU_TENSOR_MAP_DATA_TYPE_BFLOAT16", 2)
    FLOAT32 = ("CU_TENSOR_MAP_DATA_TYPE_FLOAT32", 4)

    def __init__(self, driver_name: str, size: int) -> None:
        self.driver_name = driver_name
        self.size = size


@dataclass(frozen=True)
class Tensor3D:
    """A tensor in global memory: sizes and pitches from the innermost dimension outwards.

    `sizes` are elements, `pitches` the bytes between rows and between matrices.
    """

    address: int
    element: Element
    sizes: tuple[int, int, int]
    pitches: tuple[int, int]


@lru_cache(maxsize=MAPS_KEPT)
def encode_map(
    tensor: Tensor3D, box: tuple[int, int], swizzle_bytes: int
) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """The map that copies `box` (columns, rows) of one matrix; 16 64-bit words.

    `swizzle_bytes` is 0, 64 or 128. What lies outside the tensor is read as zero and not written.
    """
    d = driver()
    swizzles = d.CUtensorMapSwizzle
    swizzle = {
        0: swizzles.CU_TENSOR_MAP_SWIZZLE_NONE,
        64: swizzles.CU_TENSOR_MAP_SWIZZLE_64B,
        128: swizzles.CU_TENSOR_MAP_SWIZZLE_128B,
    }[swizzle_bytes]
    encoded = checked(
        "cuTensorMapEncodeTiled",
        d.cuTensorMapEncodeTiled(
            getattr(d.CUtensorMapDataType, tensor.element.driver_name),
            3,
            tensor.address,
            [d.cuuint64_t(size) for size in tensor.sizes],
            [d.cuuint64_t(pitch) for pitch in tensor.pitches],
            [d.cuuint32_t(size) for size in (*box, 1)],
            [d.cuuint32_t(1)] * 3,
            d.CUtensorMapInterleave.CU_TENSOR_MAP_INTERLEAVE_NONE,
            swizzle,
            d.CUtensorMapL2promotion.CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
            d.CUtensorMapFloatOOBfill.CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
        ),
    )
    raw = ctypes.string_at(encoded.getPtr(), TENSOR_MAP_BYTES)
    return np.frombuffer(raw, dtype=np.uint64)
