"""Texts that a user reads, kept as they were reviewed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NOTHING: tuple[Any, ...] = ("", [], {}, 0, None)
FOLDER = Path(__file__).parent / "snapshots"


def pinned(name: str, text: str) -> None:
    """Compare with the text that was reviewed; a first or changed text is put beside it."""
    file = FOLDER / name
    expected = file.read_text(encoding="utf-8") if file.exists() else ""
    if text != expected:
        (FOLDER / f"{name}.new").write_text(text, encoding="utf-8")
    assert text == expected, f"{name} has changed; compare with {name}.new and replace if meant"


def telling(text: str) -> str:
    """JSON without those fields of records that say nothing.

    A field that is added to a record changes the text when it first says something.
    """
    return json.dumps(_telling(json.loads(text)), indent=1) + "\n"


def _telling(data: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(data, list):
        return [_telling(each) for each in data]
    if isinstance(data, dict):
        kept = {name: _telling(each) for name, each in data.items()}
        if "kind" not in data:
            return kept
        return {name: each for name, each in kept.items() if each not in NOTHING}
    return data
