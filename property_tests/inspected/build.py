"""Compiles `handoffs.cu` with nvcc and writes each kernel's PTX beside it.

    python property_tests/inspected/build.py

Nothing else writes these files; a test compiles again and compares, where an nvcc of the same
release is found.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
SOURCE = FOLDER / "handoffs.cu"
RELEASE = "13.0"
OPTIONS = ("-arch=sm_90a", "-ptx", "-lineinfo")


def compiler() -> str | None:
    """An nvcc of the release that the committed PTX is of; None where there is none."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        return None
    said = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True)  # noqa: S603 - the compiler that was found
    return nvcc if f"release {RELEASE}," in said.stdout else None


def compiled(nvcc: str) -> dict[str, str]:
    """Each kernel's name and its PTX, with the header of the file and no debug sections."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "out.ptx"
        command = [nvcc, *OPTIONS, "-o", str(target), SOURCE.name]
        subprocess.run(command, check=True, cwd=FOLDER)  # noqa: S603 - the compiler that was found
        text = target.read_text()
    return parts(text)


def parts(text: str) -> dict[str, str]:
    """One PTX text a kernel."""
    text = text.replace(str(FOLDER) + "/", "")
    header = "\n".join(re.findall(r"^\.(?:version|target|address_size)[^\n]*", text, re.MULTILINE))
    files = "\n".join(re.findall(r"^\s*\.file[^\n]*handoffs\.cu\"", text, re.MULTILINE)).strip()
    ends = r"(?=\n\.visible|\n\.file|\n\t\.file|\n\t?\.section|\n//|\Z)"
    kernels = re.findall(rf"(\.visible \.entry (\w+)\(.*?){ends}", text, re.DOTALL)
    shared = re.findall(r"^\.(?:shared|extern)[^\n]*;", text, re.MULTILINE)
    found = {}
    for body, name in kernels:
        kept = re.sub(
            r"^\t// (?:begin|end) inline asm\n|^\s*\.reg \.b\d+ [^\n]*%SP[^\n]*\n",
            "",
            body,
            flags=re.MULTILINE,
        )
        variables = "\n".join(
            each for each in shared if each.split()[-1].split("[")[0].rstrip(";") in kept
        )
        found[name] = "\n".join(filter(None, (header, variables, kept.rstrip(), files))) + "\n"
    return found


def main() -> None:
    """Write the corpus again."""
    nvcc = compiler()
    if nvcc is None:
        message = f"no nvcc of release {RELEASE} is found"
        raise SystemExit(message)
    for name, text in compiled(nvcc).items():
        (FOLDER / f"{name}.ptx").write_text(text)


if __name__ == "__main__":
    main()
