"""Who may import whom: the order of the design, read from every import statement."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import sbo_verify

PACKAGE = Path(sbo_verify.__file__).parent

# Each layer may import those above it in this list; siblings of one layer never each other.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("vocabulary",),
    ("verdict",),
    ("protocol",),
    ("protocols",),
    ("record", "rates"),
    ("disk", "record_lines"),
    ("store", "repeat"),
    ("model", "compiled", "device"),
    ("gemm",),
    ("harness",),
    ("report",),
    ("api",),
    ("cli", "pytest_plugin"),
    ("__main__",),
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}

# A report says what was recorded and judged; it measures, builds and computes nothing.
REPORT_MAY_IMPORT = ("vocabulary", "verdict", "protocol", "protocols", "record", "store", "repeat")
# Of the layers that compute, their plain data alone.
REPORT_MAY_IMPORT_OF_OTHERS = (
    "harness.judgement",
    "harness.answers",
    "harness.beside",
    "harness.comparison",
    "harness.digest",
    "model.steps",
)
COMPUTES = ("numpy", "scipy")
# The only folder that may touch a GPU's libraries.
GPU_PACKAGES = ("cuda", "cupy", "torch")


def imports_of(tree: ast.Module, module: str) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of everything that a module imports, wherever it does so.

    `from package import name` counts as `package.name`, which may be a module of its own.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            ("import_module", "__import__")
        ):
            arguments = [each.value for each in node.args if isinstance(each, ast.Constant)]
            yield from ((node.lineno, name) for name in arguments if isinstance(name, str))


def complaints(package: Path) -> list[str]:
    """Every import in `package` (a folder called sbo_verify) that the design forbids."""
    found: list[str] = []
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package).with_suffix("").parts
        module = ".".join([package.name, *inside])
        if inside[0] == "__init__":
            own = ""
        elif inside[0] in RANK:
            own = inside[0]
        else:
            found.append(f"{'/'.join(inside)}: {inside[0]} has no place in the order of the design")
            continue
        tree = ast.parse(path.read_text())
        for line, name in imports_of(tree, module):
            if why := refusal(own, name, package.name):
                found.append(f"{'/'.join(inside)}.py:{line}: {why}")
    return found


def refusal(own: str, name: str, package: str) -> str:
    """Why a module of the layer `own` may not import `name`; empty where it may."""
    head, _, rest = name.partition(".")
    return _inside(own, rest) if head == package else _outside(own, head)


def _outside(own: str, head: str) -> str:
    if head in GPU_PACKAGES and own != "device":
        return f"imports {head}, which is for device alone"
    if head in COMPUTES and own == "report":
        return f"report imports {head}, and report computes nothing"
    return ""


def _inside(own: str, rest: str) -> str:
    """`rest` is the imported name without the package's."""
    target = rest.split(".", maxsplit=1)[0]
    if target not in RANK:
        # A name of the package itself, such as its version; a module would have a place.
        why = "" if target.startswith("__") else f"imports {rest}, which has no place"
    elif own == "":
        why = f"the package itself imports {target}; it stands before every layer"
    elif target == own:
        why = ""
    elif RANK[target] == RANK[own]:
        why = f"{own} imports {target}, its sibling"
    elif RANK[target] > RANK[own]:
        why = f"{own} imports {target}, which stands after it"
    elif own == "report" and not _report_may(target, rest):
        why = f"report imports {rest}, and report computes nothing"
    else:
        why = ""
    return why


def _report_may(target: str, rest: str) -> bool:
    return target in REPORT_MAY_IMPORT or rest.startswith(REPORT_MAY_IMPORT_OF_OTHERS)


def test_imports_follow_the_order_of_the_design() -> None:
    assert complaints(PACKAGE) == []


def test_every_layer_of_the_package_is_there() -> None:
    """A layer that was renamed would be guarded no longer."""
    present = {path.stem for path in PACKAGE.iterdir()}
    assert set(RANK) <= present


@pytest.mark.parametrize(
    ("path", "text", "complaint"),
    [
        ("model/a.py", "import sbo_verify.device", "model imports device, its sibling"),
        ("device/a.py", "from sbo_verify.model import b", "device imports model, its sibling"),
        ("compiled/a.py", "from sbo_verify import device", "compiled imports device, its sibling"),
        ("verdict.py", "import sbo_verify.protocol", "verdict imports protocol, which stands"),
        ("record.py", "from sbo_verify import harness", "record imports harness, which stands"),
        ("rates.py", "from sbo_verify import record", "rates imports record, its sibling"),
        ("harness/a.py", "from sbo_verify.report import b", "harness imports report, which stands"),
        ("harness/a.py", "from ..report import b", "harness imports report, which stands after"),
        ("harness/a.py", "def f():\n    import cupy", "harness/a.py:2: imports cupy"),
        ("model/a.py", "from cuda.bindings import nvrtc", "imports cuda, which is for device"),
        ("cli.py", "import torch", "imports torch, which is for device alone"),
        ("cli.py", "importlib.import_module('torch.cuda')", "imports torch, which is for device"),
        ("report/a.py", "import scipy.stats", "report imports scipy, and report computes nothing"),
        ("report/a.py", "from sbo_verify.rates import b", "report imports rates.b, and report"),
        ("report/a.py", "import sbo_verify.device.gpu", "report imports device.gpu, and report"),
        ("report/a.py", "from sbo_verify.harness import runner", "report imports harness.runner"),
        ("report/a.py", "from sbo_verify.model import judge", "report imports model.judge"),
        ("__init__.py", "from sbo_verify import vocabulary", "the package itself imports"),
        ("extra/a.py", "", "extra/a: extra has no place in the order of the design"),
        ("cli.py", "import sbo_verify.extra", "imports extra, which has no place"),
    ],
)
def test_a_forbidden_import_is_found(tmp_path: Path, path: str, text: str, complaint: str) -> None:
    module = tmp_path / "sbo_verify" / path
    module.parent.mkdir(parents=True)
    module.write_text(text)
    (found,) = complaints(tmp_path / "sbo_verify")
    assert complaint in found


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("device/a.py", "import cuda, cupy, torch\nfrom sbo_verify.protocols import b"),
        ("report/a.py", "from sbo_verify.harness.judgement import b\nimport sbo_verify.store"),
        ("report/a.py", "from sbo_verify.model.steps import Step"),
        ("cli.py", "from sbo_verify import __version__\nimport sbo_verify.report.outline"),
        ("model/a.py", "from sbo_verify.model.b import c\nfrom .b import d\nimport numpy"),
    ],
)
def test_an_allowed_import_is_not(tmp_path: Path, path: str, text: str) -> None:
    module = tmp_path / "sbo_verify" / path
    module.parent.mkdir(parents=True)
    module.write_text(text)
    assert complaints(tmp_path / "sbo_verify") == []
