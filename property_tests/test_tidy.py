"""The rules of style that a machine can check, each with an example that breaks it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sbo_verify.cli.app import COMMANDS
from sbo_verify.protocol import Row
from sbo_verify.protocols import PROTOCOLS
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH

ROOT = Path(__file__).resolve().parents[1]
KERNELS = ROOT / "kernels"
PYTHON_FOLDERS = ("sbo_verify", "property_tests", "stress")
TEXT_SUFFIXES = {".py", ".cuh", ".md", ".toml", ".json", ".jsonl", ".txt", ".sh", ".yml", ""}
TEXT_FOLDERS = (*PYTHON_FOLDERS, "kernels", "reports", "docs", ".ci")

MODULE_LINES = 400
FUNCTION_LINES = 60
CATALOGUE_ROWS = 40
# What a file is for is its name; these say nothing.
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "core", "misc", "stuff"}
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|tmp|work|mnt|Users)/[\w.]")


def python_files() -> list[Path]:
    return [ROOT / "conftest.py", *(p for f in PYTHON_FOLDERS for p in (ROOT / f).rglob("*.py"))]


def long_modules(texts: dict[str, str]) -> list[str]:
    """Modules with more lines than a reader keeps in mind."""
    return [
        f"{name}: {lines} lines, fewer than {MODULE_LINES} are allowed"
        for name, text in sorted(texts.items())
        if (lines := len(text.splitlines())) >= MODULE_LINES
    ]


def long_functions(name: str, text: str) -> list[str]:
    """Functions with more lines than a screen shows."""
    return [
        f"{name}:{node.lineno}: {node.name} has {lines} lines, "
        f"fewer than {FUNCTION_LINES} are allowed"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (lines := (node.end_lineno or node.lineno) - node.lineno + 1) >= FUNCTION_LINES
    ]


def empty_names(paths: list[Path]) -> list[str]:
    """Files and folders whose names do not say what they are for."""
    return [str(path) for path in paths if EMPTY_NAMES & {Path(p).stem for p in path.parts}]


def unused_modules(texts: dict[str, str], entries: set[str]) -> list[str]:
    """Modules, by dotted name, that nothing imports; `entries` are started, not imported."""
    imported: set[str] = set()
    for text in texts.values():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                imported.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module)
                imported.update(f"{node.module}.{alias.name}" for alias in node.names)
    # A package is used where a module of it is.
    packages = {name for name in texts if any(other.startswith(f"{name}.") for other in texts)}
    return sorted(set(texts) - imported - entries - packages)


def machine_paths(text: str) -> list[str]:
    """Lines that name a folder of one machine."""
    return [
        f"line {number}: {line.strip()}"
        for number, line in enumerate(text.splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]


def small_catalogue(name: str, rows: tuple[Row, ...]) -> list[str]:
    """A catalogue with too few rows to tell the sites apart."""
    enough = len(rows) >= CATALOGUE_ROWS
    return [] if enough else [f"{name}: {len(rows)} rows, at least {CATALOGUE_ROWS} are wanted"]


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def text_files() -> Iterator[Path]:
    for folder in TEXT_FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            # A record holds the command as it was given, output folder included: it is evidence.
            recorded = folder == "reports" and path.parent != ROOT / folder
            written = path.suffix in TEXT_SUFFIXES and "__pycache__" not in path.parts
            if path.is_file() and written and not recorded:
                yield path
    yield from ROOT.glob("*.md")
    yield from (ROOT / "pyproject.toml", ROOT / "conftest.py")


def test_modules_are_short() -> None:
    texts = {str(path.relative_to(ROOT)): path.read_text() for path in python_files()}
    assert long_modules(texts) == []


def test_functions_are_short() -> None:
    found = [
        complaint
        for path in python_files()
        for complaint in long_functions(str(path.relative_to(ROOT)), path.read_text())
    ]
    assert found == []


def test_names_say_what_a_file_is_for() -> None:
    paths = [*python_files(), *KERNELS.rglob("*")]
    assert empty_names([path.relative_to(ROOT) for path in paths]) == []


def test_every_module_is_used() -> None:
    # Modules beside the tests are imported by their bare names.
    texts = {
        dotted(path).removeprefix("property_tests.").removeprefix("stress."): path.read_text()
        for path in python_files()
    }
    tests = {name for name in texts if name.split(".")[-1].startswith(("test_", "conftest"))}
    started = {"sbo_verify.__main__", "sbo_verify.pytest_plugin"}
    # Imported when its command is asked for.
    started |= {
        f"sbo_verify.cli.{name}" for command in COMMANDS.values() for name in command.modules
    }
    assert unused_modules(texts, {*tests, *started}) == []


def test_no_text_names_a_folder_of_one_machine() -> None:
    found = {
        str(path.relative_to(ROOT)): complaints
        for path in text_files()
        if (complaints := machine_paths(path.read_text()))
    }
    assert found == {}


def test_the_catalogues_are_large_enough() -> None:
    for name, protocol in PROTOCOLS.items():
        assert small_catalogue(name, protocol.rows) == []


def test_a_long_module_is_found() -> None:
    texts = {"short.py": "pass\n" * (MODULE_LINES - 1), "long.py": "pass\n" * MODULE_LINES}
    assert long_modules(texts) == ["long.py: 400 lines, fewer than 400 are allowed"]


def test_a_long_function_is_found() -> None:
    line = "    pass\n"
    long, short = line * (FUNCTION_LINES - 1), line * (FUNCTION_LINES - 2)
    text = f"def long() -> None:\n{long}\ndef short() -> None:\n{short}"
    assert long_functions("a.py", text) == ["a.py:1: long has 60 lines, fewer than 60 are allowed"]


@pytest.mark.parametrize("name", ["sbo_verify/utils.py", "kernels/common.cuh", "core/a.py"])
def test_an_empty_name_is_found(name: str) -> None:
    assert empty_names([Path(name), Path("sbo_verify/core_dump.py")]) == [str(Path(name))]


def test_an_unused_module_is_found() -> None:
    texts = {
        "p.a": "import p.b",
        "p.b": "from p import c",
        "p.c": "from p.d import x",
        "p.d": "",
        "p.e": "",
    }
    assert unused_modules(texts, {"p.a"}) == ["p.e"]


def test_a_path_of_a_machine_is_found() -> None:
    # Not written out, since this file is looked through too.
    home = f"{'/'}home/someone/a.py"
    assert machine_paths(f"see\n{home}\n") == [f"line 2: {home}"]
    assert machine_paths(f"https://example.org{home}\n/usr/local/cuda\n") == []


def test_a_small_catalogue_is_found() -> None:
    rows = SIGNAL_PUBLISH.rows[: CATALOGUE_ROWS - 1]
    assert small_catalogue("few", rows) == ["few: 39 rows, at least 40 are wanted"]
