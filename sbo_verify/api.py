"""What the command line does, as functions: they print nothing and end no process.

    >>> from sbo_verify import api
    >>> row = api.catalogue().row("read_wait-release")
    >>> api.explain(row.name).answer.verdict.value
    'Allowed'

What is named in `__all__` is stable: names and parameters, and the fields of what is returned, go
only with a new major version; new ones may come at any time. Nothing here needs torch or cupy
before a GPU is used. Errors are exceptions whose text says what was given, what is allowed and
what to do: `KnobError`, `ProducerError`, `UnknownNameError` and `RefusedVariantError` speak of
arguments, `NoGpuError`, `ToolchainError` and `GpuLostError` of the machine, `StoreError` of files.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sbo_verify.compiled.extraction import Extracted
from sbo_verify.compiled.inspection.files import Inspection, inspect_ptx
from sbo_verify.device.build import build
from sbo_verify.device.doctor import Finding
from sbo_verify.device.doctor import examine as examine_machine
from sbo_verify.device.gpu import NoGpuError
from sbo_verify.device.micro_kernel import GpuLostError
from sbo_verify.device.nvrtc import ToolchainError
from sbo_verify.harness.code_model import CodeModel, micro_program, model_of_code
from sbo_verify.harness.examination import SEED_BITS, Silent, Watcher, carry_out, find_gpu
from sbo_verify.harness.judgement import Evidence, JudgementError, judge_run
from sbo_verify.harness.knobs import KnobError
from sbo_verify.harness.producers import ProducerError, offer
from sbo_verify.harness.session import Plan, choose_rows
from sbo_verify.harness.stressed_kernels import knobs_of, protocol_for, refuse, rows_by_default
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
from sbo_verify.protocol import Protocol, RefusedVariantError, Row, UnknownNameError
from sbo_verify.protocols import PROTOCOLS, protocol_named
from sbo_verify.record import GEMM, MICRO, RowVerdict, Summary
from sbo_verify.report.html import html_text
from sbo_verify.report.job_summary import job_summary_text
from sbo_verify.report.machine import machine_text
from sbo_verify.report.markdown import markdown_text
from sbo_verify.report.outline import Findings
from sbo_verify.report.terminal import terminal_text
from sbo_verify.store import Run, StoreError
from sbo_verify.verdict import ModelVerdict

__all__ = [
    "Compiled",
    "Examination",
    "Explanation",
    "Findings",
    "GpuLostError",
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
    "doctor",
    "examine",
    "explain",
    "explain_compiled",
    "findings_of",
    "inspect",
    "litmus",
    "open_run",
    "report",
]

DEFAULT_PROTOCOL = next(iter(PROTOCOLS))
COLUMNS = 100
Form = Literal["terminal", "markdown", "html", "json", "summary"]


@dataclass(frozen=True)
class Examination:
    """A recorded run and what it says: `path` is its folder."""

    path: Path
    findings: Findings

    @property
    def passed(self) -> bool:
        """Whether the run as a whole is a pass: neither a fail nor unknown."""
        return self.findings.summary.exit_code == 0

    def verdict(self, variant: str) -> RowVerdict:
        """The verdict on one variant; raises `KeyError` for one that took no part."""
        for each in self.findings.verdicts:
            if each.row == variant:
                return each
        raise KeyError(variant)


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
    >>> [(each.verdict.value, [b.rule for b in each.broken]) for each in found.hand_offs]
    [('ordered', []), ('not ordered', ['signal-after-read-wait'])]
    """
    return inspect_ptx(ptx.read_text() if isinstance(ptx, Path) else ptx, kernel)


def litmus(file: Path, *, seconds: float = Budget().seconds) -> LitmusAnswer:
    """Judge one PTX litmus file; after `seconds` its answer is unknown. Raises `LitmusError`.

    >>> from pathlib import Path
    >>> from sbo_verify import api
    >>> api.litmus(Path("property_tests/litmus/bulk/full_wait.litmus")).condition_holds
    False
    """
    return judge_litmus(file, Budget(seconds=seconds))


def doctor() -> list[Finding]:
    """What can and cannot run on this machine, and what to install."""
    return examine_machine()


def examine(  # noqa: PLR0913 - the options of `sbo-verify run`
    variants: Iterable[str] = (),
    *,
    protocol: str = DEFAULT_PROTOCOL,
    kernel: Literal["micro", "gemm"] | None = None,
    producer: str | Callable[..., Any] | None = None,
    knobs: Mapping[str, object] | None = None,
    seed: int | None = None,
    seconds: float = 2.0,
    observations: int = 0,
    gpu: int | None = 0,
    require_gpu: bool = False,
    out: Path | str = "runs",
    watcher: Watcher | None = None,
    command: str = "sbo_verify.api.examine",
) -> Examination:
    """Examine variants on every level that this machine has; the run is recorded below `out`.

    `variants` are names, hashes or `*` patterns; all by default. `kernel` is "micro" (the
    default), or "gemm" for the masked GEMM beside Combine Send; `producer`, a callable of the
    GEMM's interface or its MODULE:FUNCTION, means "gemm" and takes part beside the canaries.
    `knobs` are fixed instead of drawn. `seconds` are of GPU time for each variant, `observations`
    what a sound one has at least; `seed` is drawn where it is None. `gpu` is an index among the
    visible GPUs; None leaves silicon out.

    Raises `UnknownNameError`, `KnobError`, `ProducerError` or `ValueError` for wrong arguments,
    before anything is launched; `NoGpuError` where `require_gpu` and there is none; `StoreError`.

    >>> from sbo_verify import api
    >>> run = api.examine(["poll_equal"], gpu=None, out=folder)
    >>> run.passed, run.verdict("poll_equal").joint
    (True, 'sound by the model, silicon did not run')
    """
    named = "" if producer is None else offer(producer)
    stressed = kernel or (GEMM if named else MICRO)
    if named and stressed == MICRO:
        message = "a producer is a GEMM: leave `kernel` out with it, or give kernel='gemm'"
        raise ValueError(message)
    _refuse_numbers(seed, seconds, observations)
    chosen = protocol_for(protocol, stressed, named)
    names = list(variants)
    fixed = {name: _word(value) for name, value in (knobs or {}).items()}
    knobs_of(stressed)().with_values(fixed)
    plan = Plan(
        protocol=chosen,
        rows=choose_rows(chosen, names) if names else rows_by_default(chosen, named),
        seed=secrets.randbits(SEED_BITS) if seed is None else seed,
        seconds=seconds,
        observations=observations,
        fixed=fixed,
        command=command,
        kernel=stressed,
        producer=named,
    )
    refuse(plan)
    found, why_not = (None, "it was left out") if gpu is None else find_gpu(gpu)
    if found is None and require_gpu:
        message = f"silicon cannot run here: {why_not}"
        raise NoGpuError(message)
    run = carry_out(Path(out), plan, found, why_not, watcher or Silent())
    return Examination(run.path, findings_of(run))


def _refuse_numbers(seed: int | None, seconds: float, observations: int) -> None:
    for name, value, least in (
        ("seed", seed or 0, 0),
        ("observations", observations, 0),
        ("seconds", seconds, 1e-3),
    ):
        if not least <= value < float("inf"):
            message = f"{name} is {value}; allowed is a number from {least:g}"
            raise ValueError(message)


def _word(value: object) -> str:
    """A knob's value as the command line has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def open_run(path: Path | str) -> Examination:
    """A recorded run, judged again; nothing is launched. Raises `StoreError`, `JudgementError`.

    >>> from sbo_verify import api
    >>> run = api.open_run("reports/signal_publish/20261124T005241Z-2f609e40a1e4")
    >>> found = run.verdict("read_wait-release")
    >>> found.model, found.silicon, found.stale, found.observations
    ('Allowed', 'Never', 0, 32775000)
    """
    run = Run.open(Path(path))
    return Examination(run.path, findings_of(run))


def report(
    run: Examination | Path | str, form: Form = "markdown", *, columns: int = COLUMNS
) -> str:
    """The text of a run's report; `columns` is the width of the form "terminal".

    "summary" is the Markdown for a CI job's page. Raises `StoreError`, `JudgementError`.

    >>> from sbo_verify import api
    >>> text = api.report("reports/signal_publish/20261124T005241Z-2f609e40a1e4")
    >>> text.splitlines()[0]
    '# Can a consumer see the signal at its threshold and still read a stale tile?'
    """
    findings = (run if isinstance(run, Examination) else open_run(run)).findings
    if form == "terminal":
        return terminal_text(findings, columns)
    texts: dict[str, Callable[[Findings], str]] = {
        "markdown": markdown_text,
        "html": html_text,
        "json": machine_text,
        "summary": job_summary_text,
    }
    if form not in texts:
        message = f"no form {form!r}; choose one of: terminal, {', '.join(texts)}"
        raise ValueError(message)
    return texts[form](findings)


def findings_of(run: Run) -> Findings:
    """Judge a recorded run; where the catalogue has changed since, take what the run concluded.

    Canaries are those of the run: a row was stressed as long as a canary, or only as long as not.
    Raises `StoreError` for a run that cannot be read, `JudgementError` for one that cannot be
    judged and has no verdict of its own.
    """
    raw, settings = run.raw(), run.settings
    protocol = protocol_for(settings.protocol, settings.kernel, settings.producer)
    kept = run.verdict()
    if kept is not None:
        protocol = _with_canaries_of(protocol, kept[0])
    try:
        verdicts, summary = judge_run(Evidence.of_run(protocol, run))
    except JudgementError:
        if kept is None:
            raise
        verdicts, summary = kept
    return Findings(
        settings=run.settings,
        code_readings=raw.code_readings,
        launches=raw.launches,
        model_readings=raw.model_readings,
        verdicts=verdicts,
        summary=summary,
        torn_lines=[str(line) for line in raw.torn_lines],
    )


def _with_canaries_of(protocol: Protocol, verdicts: Sequence[RowVerdict]) -> Protocol:
    was = {verdict.row: verdict.canary for verdict in verdicts}
    rows = tuple(replace(row, canary=was.get(row.name, row.canary)) for row in protocol)
    return replace(protocol, rows=rows)
