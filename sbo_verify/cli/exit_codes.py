"""Which error ends a command with which exit code; read where there is an error."""

from __future__ import annotations

from sbo_verify.compiled.nvdisasm import DisassemblerError
from sbo_verify.device.build import BuildError, CacheError
from sbo_verify.device.driver import DriverError
from sbo_verify.device.geometry import GeometryError
from sbo_verify.device.gpu import NoGpuError
from sbo_verify.device.host_reader import WeakHostError
from sbo_verify.device.kernel_timer import TimingError
from sbo_verify.device.micro_kernel import ArenaError, GpuLostError, GpuMemoryError
from sbo_verify.device.nvrtc import ToolchainError
from sbo_verify.device.ptxas import PtxasError
from sbo_verify.gemm import GemmArgumentError
from sbo_verify.harness.beside import BesideError
from sbo_verify.harness.judgement import JudgementError
from sbo_verify.harness.knobs import KnobError
from sbo_verify.harness.lease import LeaseError
from sbo_verify.harness.overlap_benchmark import OverlapError
from sbo_verify.harness.placement import PlacementError
from sbo_verify.harness.producers import ProducerError
from sbo_verify.harness.summing import SumError
from sbo_verify.harness.toolchains import MatrixError
from sbo_verify.model import LitmusError
from sbo_verify.protocol import RefusedVariantError, UnknownNameError
from sbo_verify.store import DiskError, StoreError
from sbo_verify.verdict import ExitCode

CODES: dict[type[Exception], ExitCode] = {
    UnknownNameError: ExitCode.USAGE,
    RefusedVariantError: ExitCode.USAGE,
    KnobError: ExitCode.USAGE,
    GeometryError: ExitCode.USAGE,
    ArenaError: ExitCode.USAGE,
    PlacementError: ExitCode.USAGE,
    OverlapError: ExitCode.FAIL,
    ProducerError: ExitCode.USAGE,
    DiskError: ExitCode.UNKNOWN,
    StoreError: ExitCode.USAGE,
    BesideError: ExitCode.USAGE,
    SumError: ExitCode.USAGE,
    JudgementError: ExitCode.USAGE,
    CacheError: ExitCode.USAGE,
    GemmArgumentError: ExitCode.USAGE,
    NoGpuError: ExitCode.UNKNOWN,
    WeakHostError: ExitCode.UNKNOWN,
    TimingError: ExitCode.UNKNOWN,
    ToolchainError: ExitCode.UNKNOWN,
    PtxasError: ExitCode.UNKNOWN,
    DisassemblerError: ExitCode.UNKNOWN,
    MatrixError: ExitCode.USAGE,
    GpuLostError: ExitCode.UNKNOWN,
    GpuMemoryError: ExitCode.UNKNOWN,
    LeaseError: ExitCode.UNKNOWN,
    DriverError: ExitCode.UNKNOWN,
    LitmusError: ExitCode.USAGE,
    BuildError: ExitCode.FAIL,
}
