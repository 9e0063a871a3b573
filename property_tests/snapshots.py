"""Texts that a user reads, kept as they were reviewed."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "snapshots"


def pinned(name: str, text: str) -> None:
    """Compare with the text that was reviewed; a first or changed text is put beside it."""
    file = FOLDER / name
    expected = file.read_text(encoding="utf-8") if file.exists() else ""
    if text != expected:
        (FOLDER / f"{name}.new").write_text(text, encoding="utf-8")
    assert text == expected, f"{name} has changed; compare with {name}.new and replace if meant"
