"""One artefact of one key: built once, found again, and never read when it is not whole."""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sbo_verify.compiled.conformance import read_back
from sbo_verify.device import build as building
from sbo_verify.device.build import (
    CACHE_VARIABLE,
    CUBIN_FILE,
    MANIFEST_FILE,
    PTX_FILE,
    BuildError,
    CacheError,
    build,
    cache_folder,
    kernel_headers,
    options,
)
from sbo_verify.device.nvrtc import (
    ToolchainError,
    compile_source,
    compiler_version,
    cuda_header_versions,
    cuda_include_folders,
)
from sbo_verify.device.source import KERNELS, entry_name
from sbo_verify.harness.runner import STATIC_SHARED_BYTES
from sbo_verify.protocol import RefusedVariantError
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.protocols.signal_publish.sites import (
    SITES,
    Poll,
    Publish,
    Publisher,
    SignalPublish,
    refusals,
)

ROOT = Path(__file__).resolve().parents[1]
VARIANT = SIGNAL_PUBLISH.row("generic_store-release").variant
OTHER = SIGNAL_PUBLISH.row("generic_store-relaxed").variant
PROCESSES = 6
VARIANTS_TRIED = 8
SHARED = re.compile(r"^\s*\.shared \.align \d+ \.([bu])(\d+) \S+?(?:\[(\d+)\])?;", re.MULTILINE)

BUILD_ONE = """
import sys
from pathlib import Path
from sbo_verify.device.build import build
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
variant = SIGNAL_PUBLISH.row(sys.argv[1]).variant
artefact = build(SIGNAL_PUBLISH, variant, cache_in=Path(sys.argv[2]))
print(artefact.ptx_sha256, artefact.cubin_sha256)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds one variant; tests copy it before they touch it."""
    cache = tmp_path_factory.mktemp("built")
    build(SIGNAL_PUBLISH, VARIANT, cache_in=cache)
    return cache


@pytest.fixture
def cache(built: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "cache"
    shutil.copytree(built, copy)
    return copy


def entries(cache: Path) -> list[Path]:
    return sorted(cache.iterdir())


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache hit needs no compiler, and says so by working without one."""

    def refuse(*_arguments: object) -> None:
        pytest.fail("the compiler was called")

    monkeypatch.setattr(building, "compile_source", refuse)


# ---- what is built --------------------------------------------------------------------------


def test_ptx_and_cubin_come_from_one_compile_and_name_their_entry(cache: Path) -> None:
    artefact = build(SIGNAL_PUBLISH, VARIANT, cache_in=cache)
    entry = entry_name(SIGNAL_PUBLISH, VARIANT)
    assert artefact.entry == entry
    assert f".entry {entry}(" in artefact.ptx
    assert entry.encode() in artefact.cubin
    assert artefact.cubin[:4] == b"\x7fELF"
    assert artefact.compiler == compiler_version()
    assert artefact.ptx_sha256 == hashlib.sha256(artefact.ptx.encode()).hexdigest()
    assert artefact.cubin_sha256 == hashlib.sha256(artefact.cubin).hexdigest()


def test_the_target_is_hopper_with_its_own_features(cache: Path) -> None:
    artefact = build(SIGNAL_PUBLISH, VARIANT, cache_in=cache)
    assert re.search(r"^\.target sm_90a$", artefact.ptx, re.MULTILINE)
    assert "-arch=sm_90a" in options()


def static_shared_bytes(ptx: str) -> int:
    """Shared memory that a kernel declares itself, its dynamic part left out."""
    return sum(int(bits) // 8 * int(count or 1) for _, bits, count in SHARED.findall(ptx))


@pytest.mark.parametrize("name", ["generic_store-release", "full_wait-cluster_barrier-release"])
def test_a_kernels_own_shared_memory_is_within_what_refusals_count_with(
    name: str, cache: Path
) -> None:
    ptx = build(SIGNAL_PUBLISH, SIGNAL_PUBLISH.row(name).variant, cache_in=cache).ptx
    assert 0 < static_shared_bytes(ptx) <= STATIC_SHARED_BYTES


def meaningful_variants(count: int) -> list[SignalPublish]:
    """Variants drawn from all sites at once, most of them in no catalogue."""
    rng = random.Random(183)
    found: list[SignalPublish] = []
    while len(found) < count:
        drawn = SignalPublish(**{site: rng.choice(list(SITES[site])) for site in SITES})  # type: ignore[arg-type]
        # Compiling <cuda/atomic> takes as long as all else together; rows of the catalogue do it.
        slow = {Publish.ATOMIC_REF_RELEASE, Poll.ATOMIC_REF_ACQUIRE} & {drawn.publish, drawn.poll}
        if not slow and not refusals(drawn):
            found.append(drawn)
    return found


@pytest.mark.parametrize("variant", meaningful_variants(VARIANTS_TRIED), ids=SIGNAL_PUBLISH.hash_of)
def test_a_variant_outside_the_catalogue_compiles_to_what_it_declares(
    variant: SignalPublish, tmp_path: Path
) -> None:
    artefact = build(SIGNAL_PUBLISH, variant, cache_in=tmp_path)
    assert read_back(SIGNAL_PUBLISH, variant, artefact.ptx).differences == []


# ---- hits and misses ------------------------------------------------------------------------


@pytest.mark.usefixtures("no_compiler")
def test_a_second_build_is_a_hit_and_gives_the_same(cache: Path) -> None:
    (folder,) = entries(cache)
    artefact = build(SIGNAL_PUBLISH, VARIANT, cache_in=cache)
    assert artefact.ptx == (folder / PTX_FILE).read_text()
    assert artefact.cubin == (folder / CUBIN_FILE).read_bytes()
    assert entries(cache) == [folder]


def test_another_variant_is_a_miss(cache: Path) -> None:
    build(SIGNAL_PUBLISH, OTHER, cache_in=cache)
    assert len(entries(cache)) == 2


@pytest.mark.parametrize("header", sorted(path.name for path in KERNELS.glob("*.cuh")))
def test_any_changed_header_is_a_miss(header: str, cache: Path, tmp_path: Path) -> None:
    kernels = tmp_path / "kernels"
    shutil.copytree(KERNELS, kernels)
    with (kernels / header).open("a") as file:
        file.write("// changed\n")
    build(SIGNAL_PUBLISH, VARIANT, kernels=kernels, cache_in=cache)
    assert len(entries(cache)) == 2


def test_the_generated_header_is_part_of_what_is_compiled() -> None:
    headers = kernel_headers(SIGNAL_PUBLISH)
    assert set(headers) == {*(path.name for path in KERNELS.glob("*.cuh")), "sites.cuh"}


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("options", (*options(), "-lineinfo")),
        ("compiler_version", "nvrtc 99.0"),
        ("cuda_header_versions", ("#define CUDA_VERSION 99000",)),
    ],
)
def test_another_option_compiler_or_cuda_is_a_miss(
    name: str, answer: object, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, name, lambda: answer)
    build(SIGNAL_PUBLISH, VARIANT, cache_in=cache)
    assert len(entries(cache)) == 2


def test_the_versions_of_cudas_headers_are_found() -> None:
    versions = cuda_header_versions()
    assert any("CUDA_VERSION" in line for line in versions)
    assert any("CCCL_VERSION" in line for line in versions)


# ---- entries that are not whole -------------------------------------------------------------


@pytest.mark.parametrize("file", [PTX_FILE, CUBIN_FILE, MANIFEST_FILE])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut short", "changed", "no text"])
def test_an_entry_that_is_not_whole_is_made_again(file: str, damage: str, cache: Path) -> None:
    (folder,) = entries(cache)
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    path, data = folder / file, whole[file]
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(
            {
                "empty": b"",
                "cut short": data[: len(data) // 2],
                "changed": data[:-9] + b"X" + data[-8:],
                "no text": b"\xff\xfe" + data,
            }[damage]
        )
    artefact = build(SIGNAL_PUBLISH, VARIANT, cache_in=cache)
    assert artefact.ptx.encode() == whole[PTX_FILE]
    assert artefact.cubin == whole[CUBIN_FILE]
    assert entries(cache) == [folder]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole


def test_a_file_in_the_place_of_an_entry_is_replaced(cache: Path) -> None:
    (folder,) = entries(cache)
    shutil.rmtree(folder)
    folder.write_text("not a folder")
    build(SIGNAL_PUBLISH, VARIANT, cache_in=cache)
    assert entries(cache) == [folder]
    assert (folder / CUBIN_FILE).is_file()


def test_what_a_killed_build_left_is_no_entry(cache: Path) -> None:
    (folder,) = entries(cache)
    folder.rename(cache / ".building-killed")
    artefact = build(SIGNAL_PUBLISH, VARIANT, cache_in=cache)
    assert folder in entries(cache)
    assert artefact.cubin == (cache / ".building-killed" / CUBIN_FILE).read_bytes()


def test_many_processes_building_one_variant_leave_one_whole_entry(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    command = [sys.executable, "-c", BUILD_ONE, "generic_store-release", str(cache)]
    running = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603 - fixed words
        for _ in range(PROCESSES)
    ]
    answers = {process.communicate()[0] for process in running}
    assert [process.returncode for process in running] == [0] * PROCESSES
    (folder,) = entries(cache)
    hashes = [
        hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in (PTX_FILE, CUBIN_FILE)
    ]
    assert answers == {" ".join(hashes) + "\n"}


# ---- refusals -------------------------------------------------------------------------------


def test_a_source_that_does_not_compile_is_refused_with_the_compilers_log(
    cache: Path, tmp_path: Path
) -> None:
    kernels = tmp_path / "kernels"
    shutil.copytree(KERNELS, kernels)
    with (kernels / "signal_publish.cuh").open("a") as file:
        file.write("this is no C++;\n")
    with pytest.raises(BuildError) as refused:
        build(SIGNAL_PUBLISH, VARIANT, kernels=kernels, cache_in=cache)
    message = str(refused.value)
    entry = entry_name(SIGNAL_PUBLISH, VARIANT)
    assert message.startswith(f"{compiler_version()} refused {entry}:\n")
    assert "signal_publish.cuh" in message
    assert "error" in message
    assert len(entries(cache)) == 1


def test_a_variant_without_meaning_is_refused_before_the_compiler(
    cache: Path, no_compiler: None
) -> None:
    assert isinstance(VARIANT, SignalPublish)
    meaningless = VARIANT.with_choices(publisher=Publisher.CLUSTER_PEER)
    with pytest.raises(RefusedVariantError, match=r"choose join=cluster_barrier"):
        build(SIGNAL_PUBLISH, meaningless, cache_in=cache)
    assert no_compiler is None


def test_a_cache_that_cannot_be_written_is_refused_with_what_to_set(tmp_path: Path) -> None:
    """A file in the way, since nothing is forbidden to an administrator."""
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    with pytest.raises(
        CacheError, match=rf"cannot be kept in {in_the_way}/cache.*{CACHE_VARIABLE}"
    ):
        build(SIGNAL_PUBLISH, VARIANT, cache_in=in_the_way / "cache")


# ---- where things are -----------------------------------------------------------------------


def test_the_cache_is_where_the_variable_says_or_in_the_users_cache_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, "chosen")
    assert cache_folder() == Path("chosen")
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", "caches")
    assert cache_folder() == Path("caches/sbo_verify")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "sbo_verify"


def test_a_compiler_that_refuses_says_so_in_its_log() -> None:
    result = compile_source("int f() { return x; }", "f.cu", {}, [*options()])
    assert not result.ok
    assert 'identifier "x" is undefined' in result.log
    assert result.ptx == ""
    assert compile_source("int f() { return 1; }", "f.cu", {}, [*options()]).ok


def test_a_compiler_with_an_empty_log_leaves_pythons_shared_bytes_alone() -> None:
    """An empty log is one byte, and Python keeps one object for each byte there is."""
    assert compile_source("int f() { return 1; }", "f.cu", {}, [*options()]).log == ""
    assert " ".encode("ascii")[0] == ord(" ")


def test_missing_headers_are_refused_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ToolchainError) as refused:
        cuda_include_folders.__wrapped__()
    message = str(refused.value)
    assert str(tmp_path) in message
    assert "pip install nvidia-cuda-runtime" in message
    assert os.environ["CUDA_HOME"] == str(tmp_path)
