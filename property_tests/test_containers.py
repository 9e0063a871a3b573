"""Fatbins, host files and cubins as containers: what lies in them, and where they are damaged."""

from __future__ import annotations

import shutil
import struct
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

from sbo_verify.compiled import decompression
from sbo_verify.compiled.containers import Entry, EntryKind, read_container, text_of
from sbo_verify.compiled.decompression import lz4, zstandard, zstandard_library
from sbo_verify.compiled.elf import ContainerError, embedded_ptx, kernel_facts, read_elf
from sbo_verify.device.nvrtc import compile_source

PTX_KIND, CUBIN_KIND, LTO_KIND = 1, 2, 8
LZ4, ZSTANDARD = 0x2000, 0x8000
TEXT = b".version 9.0\n.target sm_90a\n.address_size 64\n.visible .entry k()\n{\n\tret;\n}\n"
KERNEL = 'extern "C" __global__ void __launch_bounds__(96) k(int* p, int n) { p[n] = 1; }'


@cache
def cubin(*options: str) -> bytes:
    made = compile_source(KERNEL, "k.cu", {}, ["-arch=sm_90a", *options])
    assert made.ok, made.log
    return made.cubin


def literals(data: bytes) -> bytes:
    """An LZ4 block that repeats nothing."""
    extra = len(data) - 15
    long = bytes([255] * (extra // 255) + [extra % 255]) if extra >= 0 else b""
    return bytes([min(len(data), 15) << 4]) + long + data


def packed(flags: int, data: bytes) -> bytes:
    if flags == LZ4:
        return literals(data)
    if flags == ZSTANDARD:
        library = zstandard_library()
        assert library is not None
        return library.compress(data)
    return data


def entry(kind: int, data: bytes, flags: int = 0, architecture: int = 90) -> bytes:
    """One entry, as fatbinary 13.0 writes it: its body is a multiple of 8 bytes."""
    body = packed(flags, data)
    size = len(body) + -len(body) % 8
    header = struct.pack("<HHIQI", kind, 0x101, 64, size, len(body)).ljust(28, b"\0")
    header += struct.pack("<I", architecture).ljust(12, b"\0") + struct.pack("<Q", flags | 0x11)
    header = header.ljust(56, b"\0") + struct.pack("<Q", len(data) if flags else 0)
    return header + body.ljust(size, b"\0")


def fatbin(*entries: bytes) -> bytes:
    body = b"".join(entries)
    return struct.pack("<4sHHQ", b"\x50\xed\x55\xba", 1, 16, len(body)) + body


def host(section: bytes, content: bytes) -> bytes:
    """A host object with one section beside the names."""
    names = b"\0" + section + b"\0.shstrtab\0"
    start = 64
    table = start + len(content) + len(names)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01".ljust(16, b"\0"),
        *(1, 62, 1, 0, 0, table, 0, 64, 0, 0, 64, 3, 2),
    )
    rows = [
        struct.pack("<IIQQQQIIQQ", *[0] * 10),
        struct.pack("<IIQQQQIIQQ", 1, 1, 2, 0, start, len(content), 0, 0, 8, 0),
        struct.pack(
            "<IIQQQQIIQQ",
            *(len(section) + 2, 3, 0, 0, start + len(content), len(names), 0, 0, 1, 0),
        ),
    ]
    return header + content + names + b"".join(rows)


# ---- what is there --------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [0, LZ4, ZSTANDARD], ids=["plain", "lz4", "zstandard"])
def test_entries_are_read_whatever_their_compression(flags: int) -> None:
    found = read_container(fatbin(entry(CUBIN_KIND, cubin(), flags), entry(PTX_KIND, TEXT, flags)))
    assert [(each.kind, each.architecture) for each in found] == [
        (EntryKind.CUBIN, 90),
        (EntryKind.PTX, 90),
    ]
    assert found[0].content[: len(cubin())] == cubin()
    assert text_of(found[1]) == TEXT.decode()


@pytest.mark.parametrize("section", [b".nv_fatbin", b"__nv_relfatbin"])
def test_fatbins_of_a_host_file_are_found_one_behind_the_other(section: bytes) -> None:
    content = fatbin(entry(PTX_KIND, TEXT)) + b"\0" * 8 + fatbin(entry(CUBIN_KIND, cubin()))
    made = host(section, content)
    found = read_container(made)
    assert [each.kind for each in found] == [EntryKind.PTX, EntryKind.CUBIN]
    # The position is that in the file.
    assert made[found[0].offset :].startswith(TEXT)
    assert made[found[1].offset :].startswith(cubin())


def test_a_cubin_is_one_entry() -> None:
    assert read_container(cubin()) == [Entry(EntryKind.CUBIN, 0, 0, cubin())]


def test_an_entry_of_another_kind_is_listed_and_said_to_be_unread() -> None:
    (found,) = read_container(fatbin(entry(LTO_KIND, b"intermediate code")))
    assert found.kind is EntryKind.OTHER
    assert found.unread == "byte 16: an entry of kind 8, neither PTX nor cubin"


@pytest.mark.skipif(shutil.which("fatbinary") is None, reason="no fatbinary on PATH")
@pytest.mark.parametrize("mode", ["none", "speed", "balance", "size"])
def test_what_fatbinary_writes_is_read(mode: str, tmp_path: Path) -> None:
    (tmp_path / "k.cubin").write_bytes(cubin())
    (tmp_path / "k.ptx").write_bytes(TEXT)
    images = ["--image3=kind=elf,sm=90a,file=k.cubin", "--image3=kind=ptx,sm=90a,file=k.ptx"]
    command = ["fatbinary", "-64", "--create=k.fatbin", f"--compress-mode={mode}", *images]
    if mode != "none":
        command.append("--compress-all")
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)  # noqa: S603 - found above
    found = read_container((tmp_path / "k.fatbin").read_bytes())
    assert [each.kind for each in found] == [EntryKind.CUBIN, EntryKind.PTX]
    assert found[0].content[: len(cubin())] == cubin()
    # fatbinary leaves out blanks at the beginning of lines.
    assert text_of(found[1]).split() == TEXT.decode().split()


# ---- the cubin itself -----------------------------------------------------------------------


def test_a_cubin_says_its_threads_and_parameters() -> None:
    facts = kernel_facts(read_elf(cubin()), "k")
    assert facts.threads == (96, 1, 1)
    assert facts.parameters == ((0, 8), (8, 4))
    assert facts.bank == 0x210
    assert kernel_facts(read_elf(cubin()), "other").bank is None


def test_a_cubin_with_lines_has_the_ptx_it_was_made_from() -> None:
    assert embedded_ptx(read_elf(cubin())) is None
    text = embedded_ptx(read_elf(cubin("-lineinfo")))
    assert text is not None
    assert ".visible .entry k(" in text


# ---- what is damaged ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x7fELF\x02", "byte 0: an ELF header of 64 bytes, the file has 5"),
        (b"\x7fELF\x01".ljust(64, b"\0"), "byte 4: an ELF file that is not 64-bit little-endian"),
        (host(b".text", b"12345678"), "byte 0: an ELF file for machine 62 with no CUDA code in it"),
        (b"\x50\xed\x55\xba", "byte 0: a fatbin's header is cut short"),
        (fatbin(entry(PTX_KIND, TEXT))[:-1], "byte 0: a fatbin of 16 + 144 bytes, 159 are there"),
        (fatbin(b"\1\0\1\1"), "byte 16: an entry's header is cut short"),
        (
            fatbin(entry(PTX_KIND, TEXT)) + b"else",
            "byte 160: not a fatbin: 656c7365",
        ),
        (
            host(b".nv_fatbin", fatbin(entry(PTX_KIND, TEXT)) + b"else"),
            "byte 224: not a fatbin: 656c7365",
        ),
        (
            fatbin(entry(PTX_KIND, b"\xff\xfe")),
            "byte 80: an entry of PTX that is no text",
        ),
    ],
)
def test_a_damaged_container_is_refused_with_the_position(content: bytes, message: str) -> None:
    with pytest.raises(ContainerError) as refused:
        [text_of(each) for each in read_container(content)]
    assert message in str(refused.value)


@pytest.mark.parametrize("flags", [0, LZ4, ZSTANDARD], ids=["plain", "lz4", "zstandard"])
def test_a_file_that_breaks_off_anywhere_is_refused_with_the_position(flags: int) -> None:
    whole = fatbin(entry(CUBIN_KIND, cubin(), flags))
    for length in range(4, len(whole), 97):
        with pytest.raises(ContainerError, match=r"^byte \d+: "):
            read_container(whole[:length])


def test_a_cubin_that_breaks_off_anywhere_is_refused_with_the_position() -> None:
    for length in range(4, len(cubin()), 97):
        with pytest.raises(ContainerError, match=r"^byte \d+: "):
            read_container(cubin()[:length])


def test_bytes_that_were_changed_are_read_or_refused_and_nothing_else() -> None:
    whole = bytearray(fatbin(entry(PTX_KIND, TEXT, LZ4), entry(CUBIN_KIND, cubin()[:512])))
    for place in range(400):
        for value in (0, 0x7F, 0xFF):
            changed = bytes(whole[:place]) + bytes([value]) + bytes(whole[place + 1 :])
            if changed[:4] != b"\x50\xed\x55\xba":
                continue
            with suppress(ContainerError):
                read_container(changed)


# ---- decompression --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "plain"),
    [
        (b"\x50hello", b"hello"),
        # Five bytes, then 4 + 6 from 5 before, which repeats itself; then one byte.
        (b"\x56hello\x05\x00\x10!", b"hellohellohello!"),
        # A length that goes on: 15 + 255 + 3 of one byte, by a copy from 1 before.
        (b"\x1fa\x01\x00\xff\x03\x00", b"a" * (1 + 4 + 15 + 255 + 3)),
    ],
)
def test_an_lz4_block_is_decompressed(block: bytes, plain: bytes) -> None:
    assert lz4(block, len(plain), 0) == plain


@pytest.mark.parametrize(
    ("block", "size", "message"),
    [
        (b"\x50hel", 5, "byte 101: an LZ4 block is damaged: literals that end behind it"),
        (b"\x50hello", 6, "5 bytes where 6 should be"),
        (b"\x16a\x09\x00", 11, "a repetition of what stands 9 bytes before, after 1 bytes"),
        (b"\x16a\x00\x00", 11, "a repetition of what stands 0 bytes before"),
        (b"\x1fa\x01", 11, "breaks off"),
        (b"\x1fa\x01\x00\x10\x00", 11, "more than the 11 bytes"),
    ],
)
def test_a_damaged_lz4_block_is_refused(block: bytes, size: int, message: str) -> None:
    with pytest.raises(ContainerError) as refused:
        lz4(block, size, 100)
    assert message in str(refused.value)


def test_a_damaged_zstandard_frame_is_refused() -> None:
    with pytest.raises(ContainerError, match=r"^byte 7: a Zstandard frame is damaged"):
        zstandard(b"no frame", 3, 7)
    with pytest.raises(ContainerError, match=r"^byte 7: 7 bytes in a Zstandard frame where 3"):
        zstandard(packed(ZSTANDARD, b"1234567"), 3, 7)


def test_without_the_library_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    content = fatbin(entry(PTX_KIND, TEXT, ZSTANDARD))
    monkeypatch.setattr(decompression, "zstandard_library", lambda: None)
    with pytest.raises(ContainerError) as refused:
        read_container(content)
    for word in ("byte 80", "pip install backports.zstd", "-no-compress", "cuobjdump -xelf all"):
        assert word in str(refused.value)
