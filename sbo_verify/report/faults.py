"""A record of the faults that tests tried, as Markdown: what was lost, and what was said of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sbo_verify.report.markdown_words import code_span, escape, markdown_table

_COLUMNS = (
    "fault",
    "how it was made",
    "times",
    "records before",
    "after",
    "lost",
    "verdict",
    "exit code",
    "the next run",
)
_FIGURES = ("times", "records before", "after", "lost")
_EXPLAINED = (
    "Each line is a test that makes the fault in a process of its own and counts from the disk. "
    "*Records before*: whole records in raw.jsonl when the fault came; *lost*: those of them that "
    "are not there at the end. An exit code below 0 is the signal that ended the process; 2 is "
    "`unknown`, and of pytest 1 a failed gate, 2 an interrupted one. A signal that comes while a "
    "report is printed leaves the verdict that was already written, and ends the process with 2."
)


def faults_text(record: Mapping[str, Any]) -> str:
    """The whole document; `record` is what `pytest -p fault_table --faults FILE` wrote."""
    machine = record["machine"]
    gpu = machine["gpu"] or "no GPU: a made-up one fails as told"
    driver = f", driver {machine['driver']}" if machine["driver"] else ""
    changed = " (changed since)" if record["dirty"] else ""
    rows = [
        [escape(str(entry[key])) for key in ("fault", "how", *_KEYS)] for entry in record["tried"]
    ]
    times = sum(entry["times"] for entry in record["tried"])
    lost = sum(entry["lost"] for entry in record["tried"])
    parts = [
        "# Faults that were tried, and what was lost",
        f"Made by {code_span(_without_places(record['command']))}.",
        f"{escape(gpu)}{driver}, commit {record['commit']}{changed}, {record['started']}.",
        _EXPLAINED,
        f"{len(rows)} ways, {times:,} times: **{lost:,} records lost**.",
        markdown_table(_COLUMNS, rows, _FIGURES),
    ]
    return "\n\n".join(parts) + "\n"


def _without_places(command: str) -> str:
    """The command with the names alone of what lay somewhere on the machine that ran it."""
    return " ".join(
        word.rsplit("/", 1)[-1] if word.startswith("/") else word for word in command.split(" ")
    )


_KEYS = ("times", "before", "after", "lost", "verdict", "exit_code", "then")
