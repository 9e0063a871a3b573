"""The few CUDA driver calls that cupy has no form of: cubins, tensor maps, cluster launches."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np

from sbo_verify.device.layout import TENSOR_MAP_BYTES


class DriverError(RuntimeError):
    """A CUDA driver call that failed; the message names call and error."""


@cache
def driver() -> Any:  # noqa: ANN401 - cuda.bindings has no types
    """cuda.bindings.driver, imported on first use."""
    from cuda.bindings import driver as bindings  # noqa: PLC0415 - needs libcuda

    return bindings


def checked(call: str, result: tuple[Any, ...]) -> Any:  # noqa: ANN401 - cuda.bindings has no types
    """The values of a driver call; raises `DriverError` unless it succeeded."""
    status, *values = result
    if status != driver().CUresult.CUDA_SUCCESS:
        message = f"{call} failed: {status.name}"
        raise DriverError(message)
    return values[0] if len(values) == 1 else tuple(values)


def has_passed(event: int) -> bool:
    """Whether all work before a recorded event has ended; `DriverError` where the work failed.

    `event` is the handle of a CUDA event, of the driver or of the runtime.
    """
    d = driver()
    answer = d.cuEventQuery(d.CUevent(event))
    if answer[0] == d.CUresult.CUDA_ERROR_NOT_READY:
        return False
    checked("cuEventQuery", answer)
    return True


class Kernel:
    """A loaded kernel with its launch attributes."""

    def __init__(self, cubin: bytes, entry: str) -> None:
        d = driver()
        image = np.frombuffer(cubin, np.uint8)
        self._module = checked("cuModuleLoadData", d.cuModuleLoadData(image))
        self.function = checked(
            "cuModuleGetFunction", d.cuModuleGetFunction(self._module, entry.encode())
        )

    def static_shared_bytes(self) -> int:
        """Shared memory that the kernel declares itself, in bytes."""
        attribute = driver().CUfunction_attribute.CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES
        value = checked("cuFuncGetAttribute", driver().cuFuncGetAttribute(attribute, self.function))
        return int(value)

    def allow_dynamic_shared(self, size: int, carveout_percent: int) -> None:
        """Raise the dynamic shared-memory limit and state the carve-out wanted of L1."""
        d = driver()
        kinds = d.CUfunction_attribute
        for kind, value in (
            (kinds.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, size),
            (kinds.CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, carveout_percent),
        ):
            checked("cuFuncSetAttribute", d.cuFuncSetAttribute(self.function, kind, value))

    def resident_ctas_per_sm(self, threads: int, dynamic_shared: int) -> int:
        """How many CTAs of this shape one SM holds at once."""
        call = driver().cuOccupancyMaxActiveBlocksPerMultiprocessor
        return int(
            checked("cuOccupancyMaxActiveBlocks", call(self.function, threads, dynamic_shared))
        )

    def launch(  # noqa: PLR0913 - a launch has this many dimensions
        self,
        parameters: np.ndarray[Any, np.dtype[np.void]],
        *,
        grid: int,
        threads: int,
        dynamic_shared: int,
        cluster: int,
        stream: int,
    ) -> None:
        """Launch on `stream` with one by-value parameter structure."""
        d = driver()
        config = self._config(grid, threads, dynamic_shared, cluster, stream)
        pointers = (ctypes.c_void_p * 1)(parameters.ctypes.data)
        checked(
            "cuLaunchKernelEx",
            d.cuLaunchKernelEx(config, self.function, ctypes.addressof(pointers), 0),
        )

    def resident_clusters(
        self, *, grid: int, threads: int, dynamic_shared: int, cluster: int
    ) -> int:
        """How many clusters of this shape the GPU holds at once."""
        config = self._config(grid, threads, dynamic_shared, cluster, 0)
        call = driver().cuOccupancyMaxActiveClusters
        return int(checked("cuOccupancyMaxActiveClusters", call(self.function, config)))

    @staticmethod
    def _config(grid: int, threads: int, dynamic_shared: int, cluster: int, stream: int) -> Any:  # noqa: ANN401 - cuda.bindings has no types
        d = driver()
        config = d.CUlaunchConfig()
        config.gridDimX, config.gridDimY, config.gridDimZ = grid, 1, 1
        config.blockDimX, config.blockDimY, config.blockDimZ = threads, 1, 1
        config.sharedMemBytes = dynamic_shared
        config.hStream = d.CUstream(stream)
        if cluster > 1:
            attribute = d.CUlaunchAttribute()
            attribute.id = d.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
            value = d.CUlaunchAttributeValue()
            value.clusterDim.x, value.clusterDim.y, value.clusterDim.z = cluster, 1, 1
            attribute.value = value
            config.attrs = [attribute]
            config.numAttrs = 1
        return config


def encode_tensor_map(
    address: int, *, rows: int, row_bytes: int, box_rows: int
) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """A 2D map of 32-bit words, no swizzle: `rows` of `row_bytes`, copied `box_rows` at a time.

    Returns 16 64-bit words. Source: CUDA driver API, cuTensorMapEncodeTiled.
    """
    d = driver()
    word = 4
    encoded = checked(
        "cuTensorMapEncodeTiled",
        d.cuTensorMapEncodeTiled(
            d.CUtensorMapDataType.CU_TENSOR_MAP_DATA_TYPE_UINT32,
            2,
            address,
            [d.cuuint64_t(row_bytes // word), d.cuuint64_t(rows)],
            [d.cuuint64_t(row_bytes)],
            [d.cuuint32_t(row_bytes // word), d.cuuint32_t(box_rows)],
            [d.cuuint32_t(1), d.cuuint32_t(1)],
            d.CUtensorMapInterleave.CU_TENSOR_MAP_INTERLEAVE_NONE,
            d.CUtensorMapSwizzle.CU_TENSOR_MAP_SWIZZLE_NONE,
            d.CUtensorMapL2promotion.CU_TENSOR_MAP_L2_PROMOTION_NONE,
            d.CUtensorMapFloatOOBfill.CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
        ),
    )
    raw = ctypes.string_at(encoded.getPtr(), TENSOR_MAP_BYTES)
    return np.frombuffer(raw, dtype=np.uint64)
