"""What the texts of all recorded benchmarks have in common: who made them, how, and spreads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sbo_verify.report.markdown_words import code_span, escape


def opening(title: str, command: str, settings: Mapping[str, Any]) -> list[str]:
    """Title, the `command` that made the text and that which made the record, and by whom."""
    return [
        f"# {title}",
        f"Made by `{command}` from {code_span(settings['command'])}.",
        f"{escape(made_by(settings))}.",
    ]


def made_by(settings: Mapping[str, Any]) -> str:
    """GPU, driver, compiler, commit, seed and time of a record, and what was corrected in it."""
    machine = settings["machine"]
    corrected = f"; corrected: {settings['corrected']}" if "corrected" in settings else ""
    return (
        f"{machine['gpu']}, driver {machine['driver']}, {settings['compiler']}, commit "
        f"{settings['commit']}, seed {settings['seed']}, {settings['started']}{corrected}"
    )


def method_list(method: Mapping[str, Any]) -> str:
    """How the figures were made, a line each."""
    return "\n".join(f"- {escape(name)}: {escape(str(how))}" for name, how in method.items())


def spread_text(repeats: Sequence[float]) -> str:
    """Half of the range of what was measured again and again."""
    return f"±{(max(repeats) - min(repeats)) / 2:.1f}"
