"""The rules of style that a machine can check, each with an example that breaks it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from kernel_text import ASM, assemblies, functions, orders, without_comments

from sbo_verify.protocol import Row
from sbo_verify.protocols import PROTOCOLS
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.vocabulary import UnknownInstructionError, parse

ROOT = Path(__file__).resolve().parents[1]
KERNELS = ROOT / "kernels"
WRAPPERS = KERNELS / "ptx.cuh"
PYTHON_FOLDERS = ("sbo_verify", "property_tests", "stress")
TEXT_SUFFIXES = {".py", ".cuh", ".md", ".toml", ".json", ".jsonl", ".txt", ".sh", ".yml", ""}
TEXT_FOLDERS = (*PYTHON_FOLDERS, "kernels", "reports", ".ci")

MODULE_LINES = 400
FUNCTION_LINES = 60
CATALOGUE_ROWS = 40
# What a file is for is its name; these say nothing.
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "core", "misc", "stuff"}
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|tmp|work|mnt|Users)/[\w.]")
# `kernel_text` reads a scope that a wrapper leaves open as this one.
OPEN_SCOPE, SCOPE_STAND_IN = "SBO_AT_SCOPE", "gpu"
INCLUDE = re.compile(r'^\s*#include "([^"]+)"', re.MULTILINE)


def python_files() -> list[Path]:
    return [ROOT / "conftest.py", *(p for f in PYTHON_FOLDERS for p in (ROOT / f).rglob("*.py"))]


# ---- kernels --------------------------------------------------------------------------------


def unguarded_assembly(text: str) -> list[str]:
    """The compiler may move plain accesses across assembly that clobbers no memory.

    Markers must do without: they are no instructions, and would hold the compiler back.
    """
    complaints = [
        f"line {each.line}: {'a marker clobbers' if each.is_marker else 'no clobber of'} memory"
        for each in assemblies(text)
        if each.clobbers_memory == each.is_marker
    ]
    plain = len(re.findall(r"\basm\b", without_comments(text))) - text.count(ASM)
    return [*complaints, *([f"{plain} asm without volatile"] if plain > 0 else [])]


def instructions_of(body: str) -> list[str]:
    """The ordering mnemonics of a wrapper; of one that orders nothing, all."""
    spelled = [mnemonic for each in assemblies(body) for mnemonic in each.mnemonics]
    return [mnemonic for mnemonic in spelled if orders(mnemonic)] or spelled


def crowded_wrappers(text: str) -> list[str]:
    """One wrapper holds one instruction, and no other wrapper holds the same."""
    owner: dict[str, str] = {}
    complaints = []
    for name, body in functions(text).items():
        if ASM not in body:
            continue
        spelled = instructions_of(body)
        if len(spelled) != 1:
            complaints.append(f"{name} holds {len(spelled)} instructions: {', '.join(spelled)}")
            continue
        # Special registers are all read by one silent instruction.
        other = owner.setdefault(spelled[0], name)
        if other != name and orders(spelled[0]):
            complaints.append(f"{name} and {other} both hold {spelled[0]}")
    return complaints


def misnamed_wrappers(text: str) -> list[str]:
    """Order and scope stand in the name, unless the instruction has them by default.

    A scope that is a template argument stands where the wrapper is called.
    """
    return [
        f"{name} does not say {word}: {mnemonic}"
        for name, body in functions(text).items()
        for mnemonic in (instructions_of(body) if ASM in body else [])
        for word in _spelled_order_and_scope(mnemonic)
        if word not in name and not (OPEN_SCOPE in body and word == SCOPE_STAND_IN)
    ]


def _spelled_order_and_scope(mnemonic: str) -> list[str]:
    """The words for order and scope that change what the instruction does."""
    if not orders(mnemonic) or (instruction := parse(mnemonic, "0")) is None:
        return []
    words = [word.value for word in (instruction.order, instruction.scope) if word is not None]
    return [word for word in words if not _is_default(mnemonic, word)]


def _is_default(mnemonic: str, word: str) -> bool:
    """Whether leaving the word out spells the same instruction."""
    parts = mnemonic.split(".")
    if word not in parts:
        return True
    rest = ".".join(part for part in parts if part != word)
    try:
        return parse(rest, "0") == parse(mnemonic, "0")
    except UnknownInstructionError:
        return False


def assembly_elsewhere(headers: dict[str, str], wrappers: str) -> list[str]:
    """Assembly stands in the header of wrappers alone."""
    return [
        f"{name} spells assembly; {wrappers} has a wrapper for each instruction"
        for name, text in sorted(headers.items())
        if name != wrappers and ASM in without_comments(text)
    ]


def unused_headers(headers: dict[str, str], roots: set[str]) -> list[str]:
    """Headers that no kernel of a protocol includes, directly or not."""
    used: set[str] = set()
    pending = sorted(roots)
    while pending:
        name = pending.pop()
        if name in headers and name not in used:
            used.add(name)
            pending.extend(INCLUDE.findall(headers[name]))
    return sorted(set(headers) - used)


def kernel_texts() -> dict[str, str]:
    return {path.name: path.read_text() for path in KERNELS.glob("*.cuh")}


def kernels_of_protocols() -> set[str]:
    return {protocol.kernel for protocol in PROTOCOLS.values()}


def test_assembly_clobbers_memory_and_markers_do_not() -> None:
    for name, text in kernel_texts().items():
        assert unguarded_assembly(text) == [], name


def test_a_wrapper_holds_one_instruction_of_its_own() -> None:
    assert crowded_wrappers(WRAPPERS.read_text()) == []


def test_a_wrapper_says_its_order_and_scope() -> None:
    assert misnamed_wrappers(WRAPPERS.read_text()) == []


def test_assembly_stands_in_wrappers_alone() -> None:
    assert assembly_elsewhere(kernel_texts(), WRAPPERS.name) == []


def test_every_header_is_included_by_a_kernel() -> None:
    assert unused_headers(kernel_texts(), kernels_of_protocols()) == []


def wrapper(name: str, *statements: str) -> str:
    """The text of one wrapper, for examples."""
    return f"__device__ __forceinline__ void {name}() {{\n" + "\n".join(statements) + "\n}\n"


FENCE = 'asm volatile("fence.sc.gpu;" ::: "memory");'
RED = 'asm volatile("red.release.gpu.global.add.s32 [%0], 1;" ::"l"(a) : "memory");'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('asm volatile("fence.sc.gpu;");', "line 1: no clobber of memory"),
        ('\nasm volatile("mov.u32 %0, 1;" : "=r"(memory));', "line 2: no clobber of memory"),
        ('asm volatile("// sbo:begin " SITE ::: "memory")', "line 1: a marker clobbers memory"),
        ('asm("fence.sc.gpu;" ::: "memory");', "1 asm without volatile"),
    ],
)
def test_unguarded_assembly_is_found(text: str, complaint: str) -> None:
    assert unguarded_assembly(text) == [complaint]


def test_assembly_in_a_comment_is_none() -> None:
    assert unguarded_assembly("// `asm volatile` and asm(x)\n" + FENCE) == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            wrapper("fence_and_red", FENCE, RED),
            "fence_and_red holds 2 instructions: fence.sc.gpu, red.release.gpu.global.add.s32",
        ),
        (
            wrapper("a", FENCE) + wrapper("b", FENCE),
            "b and a both hold fence.sc.gpu",
        ),
    ],
)
def test_a_crowded_wrapper_is_found(text: str, complaint: str) -> None:
    assert crowded_wrappers(text) == [complaint]


@pytest.mark.parametrize(
    ("name", "unsaid"),
    [
        ("red_add_release_sys", []),
        ("red_add_release", ["sys"]),
        ("red_add_sys", ["release"]),
        ("red_add", ["release", "sys"]),
    ],
)
def test_a_misnamed_wrapper_is_found(name: str, unsaid: list[str]) -> None:
    text = wrapper(name, RED.replace(".gpu.", ".sys."))
    mnemonic = "red.release.sys.global.add.s32"
    assert misnamed_wrappers(text) == [f"{name} does not say {w}: {mnemonic}" for w in unsaid]


def test_a_default_or_open_scope_need_not_be_said() -> None:
    opened = FENCE.replace(".gpu", '." SCOPE "') + "\nSBO_AT_SCOPE(S, SBO_OP)"
    assert misnamed_wrappers(wrapper("red_add_release", RED)) == []
    assert misnamed_wrappers(wrapper("fence_sc", opened)) == []
    assert misnamed_wrappers(wrapper("fence_sc", FENCE)) == [
        "fence_sc does not say gpu: fence.sc.gpu"
    ]


def test_assembly_elsewhere_is_found() -> None:
    headers = {"ptx.cuh": FENCE, "signal.cuh": FENCE, "clean.cuh": "// asm volatile(x)"}
    assert assembly_elsewhere(headers, "ptx.cuh") == [
        "signal.cuh spells assembly; ptx.cuh has a wrapper for each instruction"
    ]


def test_an_unused_header_is_found() -> None:
    headers = {"a.cuh": '#include "b.cuh"', "b.cuh": "", "c.cuh": '#include "a.cuh"'}
    assert unused_headers(headers, {"a.cuh"}) == ["c.cuh"]
    assert unused_headers(headers, {"c.cuh"}) == []


# ---- Python ---------------------------------------------------------------------------------


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
        dotted(path).removeprefix("property_tests."): path.read_text() for path in python_files()
    }
    tests = {name for name in texts if name.split(".")[-1].startswith(("test_", "conftest"))}
    assert unused_modules(texts, {*tests, "sbo_verify.__main__"}) == []


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
