"""A recorded comparison of ptxas releases as Markdown: what changed, and what all of them keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sbo_verify.report.markdown_words import code_span, escape, markdown_table

_SHOWN_ROWS = 3
_COLUMNS = ("ptxas", "target", "PTX ISA", "kept", "lost", "cannot tell", "not assembled")
_VERDICTS = _COLUMNS[3:]
_EXPLAINED = (
    "The same PTX text of every variant, assembled by several releases of ptxas. `kept`: every "
    "ordering instruction of the PTX is there, with its words, in its order; it does not say that "
    "the order suffices, which is the model's question. Only the lines `.target` and, for a "
    "release older than the text, `.version` were changed; PTX ISA is the version it was given as."
)
_SAME_WORDS = (
    "What the weaker instruction became, and the needed words that the stronger one would add."
)
_NONE = "None: every release makes the same ordering words of every variant."


def toolchains_text(record: Mapping[str, Any]) -> str:
    """The whole document; `record` is what `sbo-verify toolchains --json` printed.

    Raises `KeyError` where it is something else.
    """
    made = (
        f"PTX by {record['ptx_compiler']}, listings by {record['disassembler']}, commit "
        f"{record['commit']}{' (changed since)' if record['dirty'] else ''}, {record['started']}"
    )
    command = code_span(record["command"])
    parts = [
        "# What each release of ptxas made of the ordering",
        f"Made by `sbo-verify toolchains --record FILE --markdown` from {command}.",
        f"{escape(made)}; {len(record['rows'])} variants of {code_span(record['protocol'])}.",
        _EXPLAINED,
        "## Releases",
        markdown_table(_COLUMNS, _releases(record), _VERDICTS),
        *_left_out(record),
        "## Where a release, or a target, changed the words",
        _changes(record["changes"]) if record["changes"] else _NONE,
        "## Two instructions, the same words",
        _SAME_WORDS,
        _notes(record),
    ]
    if against := _against_kept(record):
        parts += ["## What speaks against `kept`", against]
    return "\n\n".join(parts) + "\n"


def _releases(record: Mapping[str, Any]) -> list[list[str]]:
    cells = [row["cells"] for row in record["rows"].values()]
    rows = []
    for index, column in enumerate(record["columns"]):
        verdicts = [each[index]["verdict"] for each in cells]
        counts = [str(verdicts.count(word)) for word in _VERDICTS]
        rows.append([column["ptxas"], code_span(column["target"]), column["ptx_version"], *counts])
    return rows


def _left_out(record: Mapping[str, Any]) -> list[str]:
    left = record["left_out"]
    if not left:
        return []
    lines = [f"- {escape(name)}: {escape(why)}" for name, why in left.items()]
    return ["Left out, since no variant was assembled:", "\n".join(lines)]


def _changes(changes: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            escape(f"{each['before']} to {each['after']}"),
            code_span(each["site"], in_table=True),
            _words(each["words_before"]),
            _words(each["words_after"]),
            _names(each["rows"]),
        ]
        for each in changes
    ]
    return markdown_table(("releases", "site", "before", "after", "variants"), rows, ())


def _words(words: Sequence[str]) -> str:
    return code_span("; ".join(words) or "nothing", in_table=True)


def _names(rows: Sequence[str]) -> str:
    shown = ", ".join(code_span(row, in_table=True) for row in rows[:_SHOWN_ROWS])
    more = len(rows) - _SHOWN_ROWS
    return f"{len(rows)}: {shown}" + (f" and {more} more" if more > 0 else "")


def _notes(record: Mapping[str, Any]) -> str:
    names = [f"{each['ptxas']} {each['target']}" for each in record["columns"]]
    lines = []
    for note, columns in sorted(record["notes"].items()):
        everywhere = len(columns) == len(names)
        where = "every release" if everywhere else ", ".join(names[index] for index in columns)
        lines.append(f"- {escape(note)} ({escape(where)})")
    return "\n".join(lines) or "None among these variants."


def _against_kept(record: Mapping[str, Any]) -> str:
    """Reasons of cells that are not kept, each once with its column and first variant."""
    seen: dict[tuple[str, str], str] = {}
    for name, row in record["rows"].items():
        for column, cell in zip(record["columns"], row["cells"], strict=True):
            where = f"{column['ptxas']} {column['target']}"
            for reason in cell["reasons"][:1]:
                seen.setdefault((where, cell["verdict"]), f"{name}: {reason}")
    lines = [
        f"- {escape(where)}, {escape(verdict)}: {escape(said)}"
        for (where, verdict), said in seen.items()
    ]
    return "\n".join(lines)
