"""The page of every rule that `inspect` and `explain` print: a section of a shipped document."""

from __future__ import annotations

import re
from pathlib import Path

from sbo_verify.compiled.inspection.rules import RULES
from sbo_verify.model.gaps import GAPS
from sbo_verify.protocol import UnknownNameError

_PACKAGE = Path(__file__).resolve().parents[1]
# Beside the package in a checkout, inside it in an installation.
_FOLDERS = (_PACKAGE.parent / "docs", _PACKAGE / "_docs")
DOCUMENTS = {
    "inspect.md": tuple(RULES),
    "explain.md": tuple(gap.name for gap in GAPS),
}


def page_command(name: str) -> str:
    """The command that prints a rule's page."""
    return f"sbo-verify rule {name}"


def documents() -> Path:
    """The folder of the documents."""
    return next(folder for folder in _FOLDERS if (folder / "inspect.md").is_file())


def page(name: str) -> str:
    """The section on the rule called `name`; raises `UnknownNameError` that lists the rules."""
    for document, names in DOCUMENTS.items():
        if name in names:
            text = (documents() / document).read_text(encoding="utf-8")
            sections = re.split(r"^(?=### )", text, flags=re.MULTILINE)
            (found,) = [each for each in sections if each.startswith(f"### {name}\n")]
            return re.split(r"^## ", found, flags=re.MULTILINE)[0].rstrip() + "\n"
    known = ", ".join(each for names in DOCUMENTS.values() for each in names)
    message = f"no rule {name!r}; the rules are: {known}"
    raise UnknownNameError(message)
