"""What the page of a CI job says of a run: short, what is wrong first, how to repeat it."""

from __future__ import annotations

from collections.abc import Sequence

from sbo_verify.record import RowVerdict
from sbo_verify.repeat import repeat_command
from sbo_verify.report.figures import bound_text, counts_text
from sbo_verify.report.markdown_words import code_span, escape, markdown_table
from sbo_verify.report.outline import QUESTION, Findings
from sbo_verify.report.power_told import power_told
from sbo_verify.verdict import Outcome

# The report has the rest; a job's page may hold 1 MiB in all.
REASONS = 20
NOTES = 5
FIGURES = ("stale", "bound")
COLUMNS = (
    "verdict",
    "variant",
    "model",
    "code",
    "machine code",
    "silicon",
    *FIGURES,
    "together",
    "repeat with",
)
_GRAVEST_FIRST = (Outcome.FAIL.value, Outcome.UNKNOWN.value, Outcome.PASS.value)


def job_summary_text(findings: Findings) -> str:
    """GitHub-flavoured Markdown; every text that comes from a record is escaped.

    Rows that passed are folded away where others did not.
    """
    settings, summary = findings.settings, findings.summary
    parts = [
        f"## Hand-over gate: {escape(summary.outcome)}{'' if settings.silicon else ', no silicon'}",
        QUESTION,
        " · ".join([*_machine(findings), f"seed {settings.seed}"]),
    ]
    if summary.reasons:
        parts.append("\n".join(f"- {escape(each)}" for each in _shortened(summary.reasons)))
    parts += _tables(findings)
    if settings.silicon:
        parts.append(
            "bound: of the stale rate, 95 %, one-sided. "
            f"{escape(power_told(findings.verdicts, summary.power))}."
        )
    parts.append(f"Whole run again: {code_span(settings.command)}")
    return "\n\n".join(parts) + "\n"


def _machine(findings: Findings) -> list[str]:
    settings, machine = findings.settings, findings.settings.machine
    commit = f"commit {settings.commit[:12] or 'not recorded'}"
    if settings.dirty:
        commit += " with uncommitted changes"
    where = f"**silicon did not run:** {escape(settings.silicon_reason)}"
    if settings.silicon:
        where = escape(f"{machine.get('gpu')}, driver {machine.get('driver')}")
    what = [escape(settings.producer)] if settings.producer else []
    return [*what, where, escape(settings.compiler), escape(commit)]


def _shortened(lines: Sequence[str], most: int = REASONS) -> list[str]:
    rest = len(lines) - most
    return [*lines[:most], *([f"and {rest} more, in the report"] if rest > 0 else [])]


def _tables(findings: Findings) -> list[str]:
    loud = [each for each in findings.verdicts if each.outcome != Outcome.PASS.value]
    calm = [each for each in findings.verdicts if each.outcome == Outcome.PASS.value]
    loud.sort(key=lambda each: _GRAVEST_FIRST.index(each.outcome))
    parts = [_table(loud, findings)] if loud else []
    for verdict in loud[:REASONS]:
        notes = [f"- {escape(note)}" for note in _shortened(verdict.notes, NOTES)]
        if notes:
            parts += [f"{code_span(verdict.row)}:", "\n".join(notes)]
    if not calm:
        return parts
    table = _table(calm, findings)
    if not loud:
        return [table]
    count = f"{len(calm)} variants passed" if len(calm) > 1 else "1 variant passed"
    return [*parts, f"<details><summary>{count}</summary>", table, "</details>"]


def _table(verdicts: Sequence[RowVerdict], findings: Findings) -> str:
    return markdown_table(COLUMNS, [_cells(each, findings) for each in verdicts], FIGURES)


def _cells(verdict: RowVerdict, findings: Findings) -> list[str]:
    repeat = repeat_command(findings.settings, findings.launches, verdict.row)
    name = code_span(verdict.row, in_table=True)
    words = (
        verdict.model,
        verdict.code,
        _machine_word(verdict.row, findings),
        verdict.silicon,
        counts_text(verdict.stale, verdict.observations),
        bound_text(verdict.bound),
        verdict.joint,
    )
    return [
        escape(verdict.outcome),
        f"{name} (canary)" if verdict.canary else name,
        *(escape(word) for word in words),
        code_span(repeat, in_table=True),
    ]


def _machine_word(row: str, findings: Findings) -> str:
    """What ptxas kept, of the code that was read last; records older than that say nothing."""
    found = [each.machine for each in findings.code_readings if each.row == row and each.machine]
    return found[-1] if found else "-"
