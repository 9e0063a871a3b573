"""The levels that need no GPU: what the memory model says of a variant, of its code, of any PTX."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sbo_verify.compiled.extraction import Extracted
from sbo_verify.compiled.inspection.binaries import Part, inspect_binary
from sbo_verify.compiled.inspection.files import Inspection, inspect_ptx
from sbo_verify.compiled.inspection.source import Unclobbered, unclobbered
from sbo_verify.device.build import build
from sbo_verify.harness.code_model import CodeModel, micro_program, model_of_code
from sbo_verify.model import (
    Budget,
    LitmusAnswer,
    Liveness,
    ModelAnswer,
    judge,
    judge_litmus,
    poll_answer,
    single_changes,
)
from sbo_verify.protocol import Protocol, Row
from sbo_verify.protocols import DEFAULT_PROTOCOL, protocol_named
from sbo_verify.verdict import ModelVerdict

SECONDS = Budget().seconds


@dataclass(frozen=True)
class Explanation:
    """Why a stale read is allowed or forbidden by the memory model.

    `answer` has the verdict with the stale execution, or the chain of edges that forbids it; `poll`
    says whether a poll may go on for ever; `single_changes` are the changes of one site that would
    forbid a stale read that is allowed.
    """

    row: Row
    answer: ModelAnswer
    poll: Liveness
    single_changes: list[str]


@dataclass(frozen=True)
class Compiled:
    """The program that was read from a variant's compiled PTX, and what the model says of it."""

    row: Row
    compiler: str
    program: Extracted
    model: CodeModel


def catalogue(protocol: str = DEFAULT_PROTOCOL) -> Protocol:
    """The variants of a protocol; iterating gives rows. Raises `UnknownNameError`.

    >>> from sbo_verify import api
    >>> api.catalogue().row("full_wait-atom_release").expected.value
    'Forbidden'
    """
    return protocol_named(protocol)


def explain(variant: str, *, protocol: str = DEFAULT_PROTOCOL) -> Explanation:
    """Ask the memory model about a variant of the catalogue. Raises `UnknownNameError`.

    >>> from sbo_verify import api
    >>> api.explain("read_wait-release").single_changes
    ['drain=full']
    """
    chosen = protocol_named(protocol)
    row = chosen.row(variant)
    answer = judge(chosen.name, row.variant)
    mending: list[str] = []
    if answer.verdict is ModelVerdict.ALLOWED:
        changes = single_changes(row.variant)  # type: ignore[arg-type]  # judged above
        mending = [name for name, word in changes.items() if word is ModelVerdict.FORBIDDEN]
    poll = poll_answer(row.variant)  # type: ignore[arg-type]  # judged above, so of its type
    return Explanation(row, answer, poll, mending)


def explain_compiled(variant: str, *, protocol: str = DEFAULT_PROTOCOL) -> Compiled:
    """Compile a variant's micro-kernel and ask the model about the program in its PTX.

    Raises `UnknownNameError`, `ToolchainError` where there is no compiler.

    >>> from sbo_verify import api
    >>> api.explain_compiled("read_wait-release").model.agrees
    True
    """
    chosen = protocol_named(protocol)
    row = chosen.row(variant)
    artefact = build(chosen, row.variant)
    program = micro_program(artefact.ptx)
    model = model_of_code(chosen.name, row.variant, program)
    return Compiled(row, artefact.compiler, program, model)


def inspect(ptx: str | Path, *, kernel: str | None = None) -> Inspection:
    """Judge the hand-offs of anybody's PTX: a text, or the `Path` of a file.

    `kernel` names one function of it. Raises `compiled.ptx.PtxError` for what is no PTX.

    >>> from pathlib import Path
    >>> from sbo_verify import api
    >>> found = api.inspect(Path("property_tests/inspected/bulk_read_release.ptx"))
    >>> [(each.verdict.value, broken.rule) for each in found.hand_offs for broken in each.broken]
    [('not ordered', 'signal-after-read-wait')]
    """
    return inspect_ptx(ptx.read_text() if isinstance(ptx, Path) else ptx, kernel)


def inspect_machine_code(file: bytes | Path, *, kernel: str | None = None) -> list[Part]:
    """Judge the hand-offs in a cubin, a fatbin, or a host file with fatbins in it, part by part.

    Raises `ContainerError` for a file that is damaged, `DisassemblerError` without nvdisasm.

    >>> from sbo_verify import api
    >>> from sbo_verify.device.build import build_source
    >>> body = "tile[threadIdx.x] = 1; if (threadIdx.x == 0) atomicAdd(flag, 1);"
    >>> source = f'extern "C" __global__ void publish(int *tile, int *flag) {{ {body} }}'
    >>> parts = api.inspect_machine_code(build_source("publish", source, {}).cubin)
    >>> [broken.rule for each in parts[0].inspection.hand_offs for broken in each.broken]
    ['missing-barrier']
    """
    return inspect_binary(file.read_bytes() if isinstance(file, Path) else file, kernel)


def inspect_source(source: str | Path) -> list[Unclobbered]:
    """Inline assembly in CUDA source that orders memory with no "memory" clobber.

    >>> from sbo_verify import api
    >>> (found,) = api.inspect_source('asm volatile("fence.acq_rel.gpu;");')
    >>> found.line
    1
    """
    return unclobbered(source.read_text() if isinstance(source, Path) else source)


def litmus(file: Path, *, seconds: float = SECONDS) -> LitmusAnswer:
    """Judge one PTX litmus file; after `seconds` its answer is unknown. Raises `LitmusError`.

    >>> from pathlib import Path
    >>> from sbo_verify import api
    >>> api.litmus(Path("property_tests/litmus/bulk/mp-read_wait-release.litmus")).condition_holds
    True
    """
    return judge_litmus(file, Budget(seconds=seconds))
