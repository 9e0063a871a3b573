"""What the command line does, as functions: they print nothing and end no process.

    >>> from sbo_verify import api
    >>> api.explain("read_wait-release").answer.verdict.value
    'Allowed'

What is named in `__all__` is stable: names and parameters, and the fields of what is returned, go
only with a new major version; new ones may come at any time. Nothing here needs torch or cupy
before a GPU is used. Errors are exceptions whose text says what was given, what is allowed and
what to do: `KnobError`, `ProducerError`, `UnknownNameError` and `RefusedVariantError` speak of
arguments, `NoGpuError` and `ToolchainError` of the machine, `StoreError` of files.
"""

from __future__ import annotations

from sbo_verify.api.comparing import compare
from sbo_verify.api.examining import examine
from sbo_verify.api.reading import Examination, findings_of, open_run, report
from sbo_verify.api.reasoning import (
    Compiled,
    Explanation,
    catalogue,
    explain,
    explain_compiled,
    inspect,
    inspect_machine_code,
    inspect_source,
    litmus,
)
from sbo_verify.compiled.elf import ContainerError
from sbo_verify.compiled.nvdisasm import DisassemblerError
from sbo_verify.device.doctor import examine as doctor
from sbo_verify.device.gpu import NoGpuError
from sbo_verify.device.nvrtc import ToolchainError
from sbo_verify.harness.beside import BesideError
from sbo_verify.harness.comparison import Comparison
from sbo_verify.harness.examination import drawn_seed
from sbo_verify.harness.knobs import KnobError
from sbo_verify.harness.producers import ProducerError
from sbo_verify.protocol import RefusedVariantError, UnknownNameError
from sbo_verify.record import RowVerdict, Summary
from sbo_verify.report.outline import Findings
from sbo_verify.store import StoreError

__all__ = [
    "BesideError",
    "Comparison",
    "Compiled",
    "ContainerError",
    "DisassemblerError",
    "Examination",
    "Explanation",
    "Findings",
    "KnobError",
    "NoGpuError",
    "ProducerError",
    "RefusedVariantError",
    "RowVerdict",
    "StoreError",
    "Summary",
    "ToolchainError",
    "UnknownNameError",
    "catalogue",
    "compare",
    "doctor",
    "drawn_seed",
    "examine",
    "explain",
    "explain_compiled",
    "findings_of",
    "inspect",
    "inspect_machine_code",
    "inspect_source",
    "litmus",
    "open_run",
    "report",
]
