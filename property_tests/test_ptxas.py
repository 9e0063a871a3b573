"""ptxas of several releases: how one is found, installed and called. Made-up programs answer."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sbo_verify.device import ptxas as module
from sbo_verify.device.build import CACHE_VARIABLE
from sbo_verify.device.ptxas import (
    Ptxas,
    PtxasError,
    assemble,
    find_ptxas,
    pip_command,
    toolchain_folder,
)

PTX = ".version 9.0\n.target sm_90a\n.address_size 64\n.visible .entry k() { ret; }\n"
# Knows PTX ISA 8.4 and no other target than its own; its cubin is the text that it was given.
PROGRAM = """#!/bin/sh
if [ "$1" = --version ]; then
  echo 'Cuda compilation tools, release X, V{version}'
  exit 0
fi
if ! grep -q '^.target sm_90a' "$3"; then
  echo "ptxas fatal   : Value '$1' is not defined for option 'gpu-name'" >&2
  exit 1
fi
if ! grep -q '^.version 8.4' "$3"; then
  echo "ptxas $3, line 1; fatal   : Unsupported .version 9.0; current version is '8.4'"
  exit 255
fi
if grep -q wrong "$3"; then
  echo "ptxas $3, line 4; error   : Arguments mismatch for instruction 'wrong'" >&2
  exit 255
fi
cp "$3" "$5"
"""


def written(folder: Path, version: str) -> Path:
    path = folder / version / "nvidia" / "cuda_nvcc" / "bin" / "ptxas"
    path.parent.mkdir(parents=True)
    path.write_text(PROGRAM.format(version=version))
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def _nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.setattr(module.shutil, "which", lambda _name: None)  # type: ignore[attr-defined]  # the module's own
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


def test_releases_are_found_oldest_first_and_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("13.5.37", "12.9.86", "13.10.1"):
        written(toolchain_folder(), version)
    home = tmp_path / "cuda"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "ptxas").symlink_to(written(tmp_path / "elsewhere", "12.9.86"))
    monkeypatch.setenv("CUDA_HOME", str(home))
    broken = written(toolchain_folder(), "1.0.0")
    broken.write_text("#!/bin/sh\nexit 1\n")
    found = find_ptxas()
    assert [each.version for each in found] == ["12.9.86", "13.5.37", "13.10.1"]
    assert found[0].path.is_relative_to(toolchain_folder())


def test_where_there_is_none_none_is_found() -> None:
    assert find_ptxas() == []


def test_an_older_release_gets_the_version_that_it_knows(tmp_path: Path) -> None:
    made = assemble(Ptxas("12.4.131", written(tmp_path, "12.4.131")), PTX, "sm_90a")
    assert made.ptx == PTX.replace(".version 9.0", ".version 8.4")
    assert made.ptx_version == "8.4"
    assert made.cubin.decode() == made.ptx


def test_a_target_that_a_release_does_not_know_is_said(tmp_path: Path) -> None:
    with pytest.raises(PtxasError) as caught:
        assemble(Ptxas("12.4.131", written(tmp_path, "12.4.131")), PTX, "sm_100a")
    assert str(caught.value) == (
        "ptxas 12.4.131 refused the PTX for sm_100a: ptxas fatal   : "
        "Value '-arch=sm_100a' is not defined for option 'gpu-name'"
    )


def test_a_refusal_names_the_line_and_no_folder_of_this_machine(tmp_path: Path) -> None:
    with pytest.raises(PtxasError) as caught:
        assemble(Ptxas("12.4.131", written(tmp_path, "12.4.131")), f"{PTX}wrong", "sm_90a")
    assert str(caught.value) == (
        "ptxas 12.4.131 refused the PTX for sm_90a: ptxas kernel.ptx, line 4; error   : "
        "Arguments mismatch for instruction 'wrong'"
    )


def test_a_program_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(PtxasError, match=r"^ptxas 12\.4\.131 did not run: "):
        assemble(Ptxas("12.4.131", tmp_path / "ptxas"), PTX, "sm_90a")


@pytest.mark.parametrize(
    ("version", "package"),
    [("12.9.86", "nvidia-cuda-nvcc-cu12==12.9.86"), ("13.5.37", "nvidia-cuda-nvcc==13.5.37")],
)
def test_a_release_is_installed_into_a_folder_of_its_own(version: str, package: str) -> None:
    target = str(toolchain_folder() / version)
    assert pip_command(version) == [
        *(sys.executable, "-m", "pip", "install", "--no-deps", "--target", target),
        package,
    ]


@pytest.mark.parametrize("version", ["13", "13.0", "newest", "13.0.88; true", "--upgrade"])
def test_what_is_no_release_is_not_given_to_pip(version: str) -> None:
    with pytest.raises(PtxasError) as caught:
        pip_command(version)
    assert str(caught.value) == f"{version!r} is no release of ptxas such as 13.0.88"
