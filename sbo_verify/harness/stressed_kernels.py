"""The kernels that a run may stress, and what a run needs of each.

`micro`: the micro-kernel's pairs. `gemm`: the masked GEMM, or a foreign producer, beside Combine
Send. `host`: the micro-kernel's producers beside a CPU thread that reads on pinned memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from sbo_verify.compiled.combine_rules import COMBINE
from sbo_verify.compiled.conformance import Reading, code_reading_of, compare
from sbo_verify.compiled.extraction import Extracted
from sbo_verify.compiled.harness_rules import GEMM as GEMM_RULES
from sbo_verify.compiled.host_rules import HOST as HOST_RULES
from sbo_verify.device.build import build
from sbo_verify.device.combine_build import build_combine
from sbo_verify.device.gemm_build import build_gemm
from sbo_verify.device.gemm_layout import Shape
from sbo_verify.device.gpu import Gpu
from sbo_verify.device.host_build import build_host
from sbo_verify.device.host_reader import refuse_weak_host
from sbo_verify.harness.code_model import (
    host_program,
    micro_program,
    model_of_code,
    overlap_program,
    with_model,
)
from sbo_verify.harness.host_bench import HostBench, decide_host
from sbo_verify.harness.host_knobs import HostKnobs
from sbo_verify.harness.knob_set import KnobSet
from sbo_verify.harness.knobs import Knobs, generator
from sbo_verify.harness.live_bench import LiveBench, decide, variant_of
from sbo_verify.harness.live_knobs import LiveKnobs
from sbo_verify.harness.machine_code import with_machine_code
from sbo_verify.harness.producers import imported
from sbo_verify.harness.runner import Bench, refuse_unfit
from sbo_verify.harness.session import Plan, ReadRow, StressBench, micro_reading
from sbo_verify.protocol import Protocol, Row
from sbo_verify.protocols import protocol_named
from sbo_verify.protocols.signal_publish.combine import (
    FOREIGN,
    OVERLAP,
    combine_steps,
    with_foreign,
)
from sbo_verify.protocols.signal_publish.gemm import gemm_steps, producer_half
from sbo_verify.protocols.signal_publish.host import HOST_READER, host_steps
from sbo_verify.record import GEMM, HOST, MICRO, CodeReading
from sbo_verify.verdict import CodeVerdict

KERNELS = (MICRO, GEMM, HOST)
# The shape of the default knobs. Launches draw others; tests hold the hand-over of every kind of
# shape to the same instructions.
READ_SHAPE = Shape(block_m=128, block_n=256, stages=3, cluster=1)
# SMs of the GPU that knobs are checked against where there is none: an H200's.
USUAL_SMS = 132


def protocol_for(name: str, kernel: str, producer: str = "") -> Protocol:
    """The protocol with the rows that `kernel` can run, and a row for the foreign producer."""
    protocol = protocol_named(name)
    if kernel == MICRO:
        return protocol
    if kernel == HOST:
        return HOST_READER
    return with_foreign(producer) if producer else OVERLAP


def knobs_of(kernel: str) -> type[KnobSet]:
    """The knobs of a launch."""
    return {MICRO: Knobs, GEMM: LiveKnobs, HOST: HostKnobs}[kernel]


def rows_by_default(protocol: Protocol, producer: str) -> Sequence[Row]:
    """What is run when nothing is named: a foreign producer needs canaries beside it, no more."""
    if not producer:
        return list(protocol)
    return [row for row in protocol if row.canary or row.name == FOREIGN]


def refuse(plan: Plan) -> None:
    """Raise before anything is launched if the plan's rows cannot be run with its fixed knobs.

    `KnobError`, `GeometryError`, `ProducerError` for a producer that is not there, or
    `WeakHostError` where the host's own processor cannot be the reader.
    """
    if plan.kernel == HOST:
        refuse_weak_host()
    if plan.producer:
        imported(plan.producer)
    for row in plan.rows:
        if plan.kernel == MICRO:
            refuse_unfit(row, plan.fixed)
        elif plan.kernel == HOST:
            decide_host(generator(plan.seed, row.name, 0), row, USUAL_SMS, plan.fixed)
        else:
            decide(generator(plan.seed, row.name, 0), row, USUAL_SMS, plan.fixed)


def bench_for(plan: Plan, gpu: Gpu, worker: str = "") -> StressBench:
    """The process's GPU for the plan's kernel."""
    if plan.kernel == MICRO:
        return Bench(plan.protocol, gpu, worker)
    if plan.kernel == HOST:
        return HostBench(plan.protocol, gpu, worker)
    return LiveBench(plan.protocol, gpu, worker, plan.producer)


def reader_of(kernel: str) -> ReadRow:
    """What reads the compiled code of a row."""
    return {MICRO: micro_reading, GEMM: overlap_reading, HOST: host_reading}[kernel]


def overlap_reading(protocol: Protocol, row: Row) -> CodeReading | None:
    """What the GEMM and Combine Send of one row were compiled to; None for a foreign producer."""
    if row.name == FOREIGN:
        return None
    variant = variant_of(row)
    gemm, combine = build_gemm(READ_SHAPE, producer_half(variant)), build_combine(variant)
    readings = {
        "GEMM": compare(gemm_steps(producer_half(variant)), gemm.ptx, GEMM_RULES),
        "Combine Send": compare(combine_steps(variant), combine.ptx, COMBINE),
    }
    model = model_of_code(protocol.name, variant, overlap_program(gemm.ptx, combine.ptx))
    reading = CodeReading(
        row=row.name,
        variant=protocol.hash_of(variant),
        verdict=_together(list(readings.values())).value,
        differences=[
            f"{name}: {text}" for name, reading in readings.items() for text in reading.differences
        ],
        skeleton=[pair for reading in readings.values() for pair in reading.skeleton],
        ptx_sha256=_joined(gemm.ptx_sha256, combine.ptx_sha256),
        cubin_sha256=_joined(gemm.cubin_sha256, combine.cubin_sha256),
        compiler=gemm.compiler,
    )
    return with_machine_code(with_model(reading, model), [gemm, combine])


def host_reading(protocol: Protocol, row: Row) -> CodeReading:
    """What the producers of one row were compiled to; the reader on the host is no PTX."""
    variant = variant_of(row)
    artefact = build_host(variant)
    reading = code_reading_of(
        compare(host_steps(variant), artefact.ptx, HOST_RULES),
        row=row.name,
        variant=protocol.hash_of(variant),
        artefact=artefact,
    )
    model = model_of_code(protocol.name, variant, host_program(variant, artefact.ptx))
    return with_machine_code(with_model(reading, model), [artefact])


def compiled_program(kernel: str, protocol: Protocol, row: Row) -> tuple[str, Extracted]:
    """The compiler, and the steps of both ends as the kernel's PTX has them.

    Of a reader on the host, which is no PTX, they are those that are declared.
    """
    if kernel == MICRO:
        artefact = build(protocol, row.variant)
        return artefact.compiler, micro_program(artefact.ptx)
    variant = variant_of(row)
    if kernel == HOST:
        artefact = build_host(variant)
        return artefact.compiler, host_program(variant, artefact.ptx)
    artefact = build_gemm(READ_SHAPE, producer_half(variant))
    return artefact.compiler, overlap_program(artefact.ptx, build_combine(variant).ptx)


def _together(readings: list[Reading]) -> CodeVerdict:
    same = all(reading.verdict is CodeVerdict.AS_DECLARED for reading in readings)
    return CodeVerdict.AS_DECLARED if same else CodeVerdict.DIFFERS


def _joined(first: str, second: str) -> str:
    """One hash of two."""
    return hashlib.sha256(f"{first}\n{second}".encode()).hexdigest()


def modelled(rows: Sequence[Row]) -> list[Row]:
    """The rows whose hand-over the model can be asked about: a foreign one is taken at its word."""
    return [row for row in rows if row.name != FOREIGN]
