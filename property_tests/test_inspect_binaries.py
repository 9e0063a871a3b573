"""What is said of machine code: its assumptions, places, parts and exit codes; and the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from machine_corpus import DIFFERENT, EXPECTED, SOUND, cubin, disassembly, module, rows, rules

from sbo_verify.cli import main
from sbo_verify.compiled.elf import read_elf
from sbo_verify.compiled.flow import read
from sbo_verify.compiled.inspection.binaries import (
    CLUSTER,
    FULL_WAIT,
    inspect_binary,
    inspect_machine,
)
from sbo_verify.compiled.inspection.files import inspect_ptx
from sbo_verify.compiled.inspection.handoffs import HandOff, HandOffVerdict, Side
from sbo_verify.compiled.inspection.machine import read_cubin
from sbo_verify.compiled.inspection.text import Op
from sbo_verify.device.build import build
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH

VARIANTS = rows("machine_variants.csv")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "inspect.md"
ORDERED, NOT_ORDERED, CANNOT_TELL = HandOffVerdict
PASS, FAIL, UNKNOWN, USAGE = 0, 1, 2, 254


def hand_offs(kernel: str, side: Side) -> list[HandOff]:
    return [each for each in inspect_machine(module(kernel)).hand_offs if each.side is side]


# ---- what is assumed ------------------------------------------------------------------------


def test_an_ordered_verdict_says_what_the_words_cannot_tell() -> None:
    (publish,) = hand_offs(SOUND, Side.PUBLISH)
    assert publish.provided == [CLUSTER, FULL_WAIT]
    (system,) = hand_offs("bulk_full_release_sys", Side.PUBLISH)
    assert system.provided == [FULL_WAIT]
    (poll,) = hand_offs("poll_acquire", Side.POLL)
    assert poll.provided == [CLUSTER]
    (broken,) = hand_offs("bulk_read_release", Side.PUBLISH)
    assert broken.provided == []


def test_a_cubin_with_lines_is_judged_by_the_ptx_in_it_too() -> None:
    """There the PTX says what the words cannot: the scope of a cluster."""
    machine, text = inspect_binary(cubin("-lineinfo"), "bulk_release_cluster")
    assert machine.inspection.verdict is ORDERED
    assert all(not each.provided for each in machine.inspection.hand_offs)
    assert text.name == "PTX in the cubin"
    assert text.inspection.verdict is NOT_ORDERED
    assert rules(text.inspection) == {"narrow-publish"}


# ---- command line ---------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["inspect", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "handoffs.cubin"
    path.write_bytes(cubin())
    return path


@pytest.mark.parametrize(
    ("kernel", "code"),
    [(SOUND, PASS), ("bulk_read_release", FAIL), ("bulk_newest_pending", UNKNOWN)],
)
def test_the_exit_code_is_the_verdict(
    capsys: pytest.CaptureFixture[str], file: Path, kernel: str, code: int
) -> None:
    assert run(capsys, str(file), "--kernel", kernel)[0] == code


def test_a_verdict_names_the_words_and_their_addresses(
    capsys: pytest.CaptureFixture[str], file: Path
) -> None:
    _, out, _ = run(capsys, str(file), "--kernel", SOUND)
    for word in (
        f"{file}:0x01c0: publish by REDG.E.ADD.S32.STRONG.GPU in {SOUND}: ordered",
        "DEPBAR.LE (at 0x0110, with CCTL.IVALL at 0x0120)",
        "REDG.E.ADD.S32.STRONG.GPU (at 0x01c0, with MEMBAR.ALL.GPU at 0x0190)",
        f"provided that {CLUSTER}",
    ):
        assert word in out


def test_a_kernel_that_no_part_holds_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], file: Path
) -> None:
    code, _, err = run(capsys, str(file), "--kernel", "bulk_ful_release")
    assert code == USAGE
    assert "did you mean bulk_full_release" in " ".join(err.split())


def test_json_and_sarif_have_addresses_and_places_in_the_file(
    capsys: pytest.CaptureFixture[str], file: Path, tmp_path: Path
) -> None:
    target = tmp_path / "findings.sarif"
    arguments = ("--kernel", "bulk_read_release", "--json", "--sarif", str(target))
    _, out, _ = run(capsys, str(file), *arguments)
    (data,) = json.loads(out)["files"]
    assert data["machine_code"] == "sm_90a"
    hand_off = data["hand_offs"][0]
    assert hand_off["at"]["read_as"].startswith("red.release.gpu")
    assert [each["instruction"] for each in hand_off["at"]["with"]] == ["MEMBAR.ALL.GPU"]
    (result,) = json.loads(target.read_text())["runs"][0]["results"]
    assert result["ruleId"] == "signal-after-read-wait"
    location = result["locations"][0]["physicalLocation"]
    address = hand_off["at"]["address"]
    assert location["address"]["fullyQualifiedName"] == f"bulk_read_release+{address:#06x}"
    region = location["region"]
    assert region["byteLength"] == 16
    # What stands there is the instruction: every copy of it has the same bytes.
    content = file.read_bytes()
    code, _ = disassembly()
    other = next(
        each.address
        for each in code.listing.functions[SOUND].instructions
        if each.opcode == "REDG.E.ADD.S32.STRONG.GPU"
    )
    start = {e.name: e.offset for e in read_elf(content).sections}[f".text.{SOUND}"] + other
    place_ = region["byteOffset"]
    assert content[place_ : place_ + 8] == content[start : start + 8]


def test_lines_of_the_source_are_given_where_the_cubin_has_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "lined.cubin"
    path.write_bytes(cubin("-lineinfo"))
    target = tmp_path / "findings.sarif"
    _, out, _ = run(capsys, str(path), "--kernel", "bulk_read_release", "--sarif", str(target))
    assert "handoffs.cu:" in out
    results = json.loads(target.read_text())["runs"][0]["results"]
    uris = [r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in results]
    assert all(uri.endswith("handoffs.cu") for uri in uris)
    assert len(results) == 2


# ---- the page -------------------------------------------------------------------------------


def lines_of(table: str) -> list[str]:
    """The rows of a table of the page, by the beginning of its first line."""
    behind = PAGE.read_text().split(f"| {table} | PTX | machine code | because |\n")[1]
    return behind.split("\n\n")[0].splitlines()[1:]


def test_every_difference_stands_on_the_page_with_its_reason() -> None:
    assert lines_of("kernel") == [
        f"| `{name}` | {EXPECTED[name]['verdict']} | {row['machine']} | {row['because']} |"
        for name, row in DIFFERENT.items()
    ]
    assert lines_of("variant") == [
        f"| `{row['variant']}` | {row['ptx']} | {row['machine']} | {row['because']} |"
        for row in VARIANTS
    ]


# ---- the project's own variants -------------------------------------------------------------

SITES = {"producer.publish", "consumer.poll", "producer.store"}


@pytest.mark.parametrize(
    "name",
    [
        "publish_cluster_scope",
        "mega_moe-generic_store-tma_load",
        "full_wait-release_by_cluster_peer",
    ],
)
def test_a_variant_is_judged_as_its_ptx_or_as_the_table_says(name: str) -> None:
    made = build(SIGNAL_PUBLISH, SIGNAL_PUBLISH.row(name).variant)
    lines = {
        each.line
        for each in read(made.ptx).instructions
        if each.region is not None and each.region.site in SITES
    }
    read_back = read_cubin(made.cubin)

    def at(op: Op) -> bool:
        code = read_back.machine_code(op)
        return code is not None and code.ptx_line in lines

    ptx = inspect_ptx(made.ptx, at=lambda op: op.line in lines).verdict
    machine = inspect_machine(read_back, at=at).verdict
    row = next((each for each in VARIANTS if each["variant"] == name), None)
    assert (ptx, machine) == ((row["ptx"], row["machine"]) if row else (ptx, ptx))
    assert ptx is not None
