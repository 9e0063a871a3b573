"""Recorded runs: judged again, and told in every form."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from sbo_verify.harness.beside import Beside, BesideError
from sbo_verify.harness.digest import details_of
from sbo_verify.harness.judgement import Evidence, JudgementError, judge_run
from sbo_verify.harness.power import told
from sbo_verify.harness.stressed_kernels import protocol_for
from sbo_verify.protocol import Protocol
from sbo_verify.record import RowVerdict, Settings
from sbo_verify.report.html import html_text
from sbo_verify.report.job_summary import job_summary_text
from sbo_verify.report.machine import machine_text
from sbo_verify.report.markdown import markdown_text, short_markdown_text
from sbo_verify.report.outline import Findings
from sbo_verify.report.terminal import terminal_text
from sbo_verify.store import Run

COLUMNS = 100
Form = Literal["terminal", "markdown", "html", "json", "short", "summary"]
# The forms that no terminal's width changes.
TEXTS: dict[str, Callable[[Findings], str]] = {
    "markdown": markdown_text,
    "html": html_text,
    "json": machine_text,
    "short": short_markdown_text,
    "summary": job_summary_text,
}


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


def open_run(path: Path | str) -> Examination:
    """A recorded run, judged again; nothing is launched. Raises `StoreError`, `JudgementError`.

    >>> from sbo_verify import api
    >>> run = api.open_run("reports/signal_publish/20261124T124251Z-b8e20b0f92d0")
    >>> found = run.verdict("foreign")
    >>> found.silicon, found.stale, found.observations
    ('Never', 0, 460800)
    """
    run = Run.open(Path(path))
    return Examination(run.path, findings_of(run))


def report(
    run: Examination | Path | str,
    form: Form = "markdown",
    *,
    columns: int = COLUMNS,
    beside: Sequence[Path | str] = (),
) -> str:
    """The text of a run's report; `columns` is the width of the form "terminal".

    "markdown", "html" and "json" say the same. "short" is Markdown without executions, edges,
    histograms, knobs, witnesses and costs by shape; "summary" is Markdown for a CI job's page.
    `beside` are files that `bench gemm`, `canaries` or `toolchains` wrote with --json: costs, times
    to detection, machine code. Raises `StoreError`, `JudgementError`, `BesideError`.

    >>> from sbo_verify import api
    >>> text = api.report("reports/signal_publish/20261124T124251Z-b8e20b0f92d0")
    >>> text.splitlines()[0]
    '# Can a consumer see the signal at its threshold and still read a stale tile?'
    """
    findings = (run if isinstance(run, Examination) else open_run(run)).findings
    if beside:
        findings = replace(findings, beside=beside_of(findings.settings, beside))
    if form == "terminal":
        return terminal_text(findings, columns)
    if form not in TEXTS:
        message = f"no form {form!r}; choose one of: terminal, {', '.join(TEXTS)}"
        raise ValueError(message)
    return TEXTS[form](findings)


def beside_of(settings: Settings, files: Sequence[Path | str]) -> Beside:
    """What the records in `files` say beside a run; raises `BesideError` that names a bad one."""
    records = []
    for file in map(Path, files):
        try:
            records.append((str(file), json.loads(file.read_bytes())))
        except (OSError, ValueError) as error:
            message = f"{file} cannot be read as JSON: {error}"
            raise BesideError(message) from error
    return Beside.of(records, settings.compiler)


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
        torn_lines=run.losses_by(raw.torn_lines),
        details=details_of(protocol, settings, raw.launches, verdicts),
        power=told(settings, verdicts, raw.launches),
    )


def _with_canaries_of(protocol: Protocol, verdicts: Sequence[RowVerdict]) -> Protocol:
    was = {verdict.row: verdict.canary for verdict in verdicts}
    rows = tuple(replace(row, canary=was.get(row.name, row.canary)) for row in protocol)
    return replace(protocol, rows=rows)
