"""The commands that documents and workflows show, and whether they can be typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import yaml

from sbo_verify.cli.app import app

BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
# What ends one command: a pipe, a redirection, another command, a comment.
ENDS = {"|", "||", "&&", ";", "do", "done", "then", "fi"}
PROGRAM = "sbo-verify"
PLACEHOLDERS = {"...", "…"}


def blocks(text: str) -> list[str]:
    """The sh blocks of a Markdown document."""
    return BLOCK.findall(text)


def steps(workflow: Path) -> Iterator[dict[str, Any]]:
    """The steps of a GitHub workflow, of all its jobs."""
    for job in yaml.safe_load(workflow.read_text())["jobs"].values():
        yield from job["steps"]


def commands(script: str) -> Iterator[list[str]]:
    """Every command of a shell script as its words; of pipes and loops each part."""
    for line in script.replace("\\\n", " ").splitlines():
        spaced = re.sub(r"(?<!\$)[()]", " ; ", line)
        try:
            words = shlex.split(spaced, comments=True)
        except ValueError as error:
            message = f"{line!r} is no shell: {error}"
            raise AssertionError(message) from error
        found: list[str] = []
        for word in [*words, ";"]:
            if word in ENDS or word.endswith(";"):
                found += [word[:-1]] if word not in ENDS and word[:-1] else []
                if found:
                    yield _without_redirections(found)
                found = []
            else:
                found.append(word)


def _without_redirections(words: list[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif re.fullmatch(r"\d?[<>]{1,2}", word):
            skip = True
        else:
            kept.append(word)
    return kept


def of_the_program(words: list[str]) -> list[str] | None:
    """What is given to `sbo-verify`; None for another program."""
    return words[1:] if Path(words[0]).name == PROGRAM else None


def complaint(arguments: list[str]) -> str:
    """Why `sbo-verify` would refuse these words before it looks at their values; else empty."""
    given = [word for word in arguments if word not in PLACEHOLDERS]
    group: click.Group = app.loaded()
    while given and isinstance(group.commands.get(given[0]), click.Group):
        group = group.commands[given.pop(0)]  # type: ignore[assignment]
    if not given or given[0].startswith("-"):
        return ""
    command = group.commands.get(given[0])
    if command is None:
        return f"no command {given[0]!r}"
    try:
        with click.Context(command, info_name=given[0]) as context:
            _, rest, _ = command.make_parser(context).parse_args(given[1:])
    except click.UsageError as error:
        return error.format_message()
    return f"too many words: {rest}" if rest else ""


def options_of_pytest(words: list[str]) -> list[str] | None:
    """The long options that are given to pytest; None for another program."""
    names = [Path(word).name for word in words[:3]]
    if names[:1] != ["pytest"] and names[1:3] != ["-m", "pytest"]:
        return None
    return [word.partition("=")[0] for word in words if word.startswith("--")]
