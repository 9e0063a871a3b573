"""The reader of machine code against nvdisasm's own structured output, and where it refuses."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from sbo_verify.compiled import nvdisasm
from sbo_verify.compiled.nvdisasm import DisassemblerError, disassemble, find_nvdisasm
from sbo_verify.compiled.sass import Listing, SassError, read_listing
from sbo_verify.compiled.sass_flow import read_flow
from sbo_verify.device.build import Artefact, build
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH

PUBLISHED = "full_wait-atom_release"
HEAD = '\t.target\tsm_90a\n\t.section\t.text.k,"ax",@progbits\nk:\n'
LINE = '\t//## File ".nv_debug_ptx_txt", line 7\n'


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    variant = SIGNAL_PUBLISH.row(PUBLISHED).variant
    return build(SIGNAL_PUBLISH, variant, cache_in=tmp_path_factory.mktemp("artefacts"))


@pytest.fixture(scope="module")
def listing(artefact: Artefact) -> Listing:
    return disassemble(artefact.cubin)


def listed(*lines: str) -> Listing:
    """A function `k` of these instructions, from address 0 on; labels end with a colon."""
    text, address = HEAD, 0
    for line in lines:
        if line.endswith(":"):
            text += f"{line}\n"
        else:
            text += f"        /*{address:04x}*/                   {line} ;\n"
            address += 16
    return read_listing(text)


def test_it_reads_what_nvdisasm_says_in_json(
    artefact: Artefact, listing: Listing, tmp_path: Path
) -> None:
    cubin = tmp_path / "kernel.cubin"
    cubin.write_bytes(artefact.cubin)
    command = [find_nvdisasm(), "-json", str(cubin)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - found above
    (structured,) = json.loads(done.stdout)[1]
    function = listing.only()
    assert listing.target == "sm_90a"
    assert function.name == structured["function-name"] == artefact.entry
    told = [(each.get("predicate", ""), each["opcode"]) for each in structured["sass-instructions"]]
    assert [(each.predicate, each.opcode) for each in function.instructions] == told
    assert [each.address for each in function.instructions] == [16 * i for i in range(len(told))]


def test_every_ordering_instruction_names_the_ptx_it_was_made_from(
    artefact: Artefact, listing: Listing
) -> None:
    lines = artefact.ptx.splitlines()
    of = {
        each.opcode: lines[each.ptx_line - 1].strip()
        for each in listing.only().instructions
        if each.ptx_line is not None
    }
    assert of["UTMACMDFLUSH"] == "cp.async.bulk.commit_group;"
    assert of["UTMASTG.2D"].startswith("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group")


def test_all_of_a_kernel_but_what_is_called_is_reached(listing: Listing) -> None:
    function = listing.only()
    flow = read_flow(function)
    left = [each for each in function.instructions if not flow.reachable(each.address)]
    # Two divisions, called by name, and the padding behind the end.
    assert {"RET.REL.NODEC", "BRA"} <= {each.opcode for each in left}
    assert not any(each.opcode.startswith(("MEMBAR", "REDG", "UTMA")) for each in left)


def test_a_cubin_without_the_target_line_says_its_architecture_in_flags() -> None:
    flags = (
        '\t.headerflags\t@"EF_CUDA_64BIT_ADDRESS EF_CUDA_SM90 EF_CUDA_VIRTUAL_SM(EF_CUDA_SM90)"\n'
    )
    text = HEAD.replace("\t.target\tsm_90a\n", flags) + "        /*0000*/   EXIT ;\n"
    assert read_listing(text).target == "sm_90"


def test_branches_and_loops_give_program_order() -> None:
    function = listed(
        ".L_0:", "LDG.E.STRONG.GPU R0, [R2.64]", "@P0 BRA `(.L_0)", "MEMBAR.ALL.GPU", "EXIT"
    ).only()
    flow = read_flow(function)
    assert flow.reaches(0x00, 0x20)
    # Once more around the loop is another turn.
    assert not flow.reaches(0x10, 0x00)
    assert not flow.reaches(0x20, 0x00)


def test_a_path_round_an_instruction_is_found() -> None:
    function = listed("@P0 BRA `(.L_0)", "BAR.SYNC 0x0", ".L_0:", "REDG.E [R2.64]", "EXIT").only()
    flow = read_flow(function)
    assert flow.bypasses({0x10}, 0x20)
    assert not flow.bypasses({0x00}, 0x20)
    straight = read_flow(listed("BAR.SYNC 0x0", "REDG.E [R2.64]", "EXIT").only())
    assert not straight.bypasses({0x00}, 0x10)
    assert straight.bypasses({0x10}, 0x00)


def test_a_jump_through_a_register_leads_where_the_cubin_says() -> None:
    jump = 'BRXU UR4 -0x10 (*"BRANCH_TARGETS .L_0,.L_1"*)'
    lines = (jump, "NOP", ".L_0:", "BAR.SYNC 0x0", ".L_1:", "REDG.E [R2.64]", "EXIT")
    flow = read_flow(listed(*lines).only())
    assert not flow.reachable(0x10)
    assert flow.reaches(0x00, 0x20)
    assert flow.bypasses({0x20}, 0x30)


def test_what_a_warp_executes_as_one_is_no_way_round() -> None:
    lines = ("WARPSYNC.COLLECTIVE R0, `(.L_0)", "BAR.SYNC 0x0", "ENDCOLLECTIVE", ".L_0:", "EXIT")
    assert not read_flow(listed(*lines).only()).bypasses({0x10}, 0x30)


def test_a_branch_is_on_no_path_of_the_other() -> None:
    function = listed(
        "@P0 BRA `(.L_0)", "MEMBAR.ALL.GPU", "EXIT", ".L_0:", "CCTL.IVALL", "EXIT"
    ).only()
    flow = read_flow(function)
    assert not flow.reaches(0x10, 0x30)
    assert not flow.reaches(0x30, 0x10)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a listing of nvdisasm: it names no target, or holds no function"),
        (
            HEAD + "        /*0000*/   ??? ;\n",
            "listing line 4: not an instruction: '??? ;'",
        ),
        (
            HEAD + "        /*0000*/   NOP ;\n        /*0020*/   EXIT ;\n",
            "listing line 5: an instruction at 0x0020, the one before ends at 0x0010",
        ),
        (HEAD + ".L_0:\n.L_0:\n", "listing line 5: label .L_0 stands twice"),
        (
            "        /*0000*/   EXIT ;\n" + HEAD,
            "listing line 1: an instruction outside a function: '/*0000*/   EXIT ;'",
        ),
    ],
)
def test_what_is_no_listing_is_refused(text: str, message: str) -> None:
    with pytest.raises(SassError) as caught:
        read_listing(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("BRX R2", "EXIT"), "BRX R2 at 0x0000: it cannot be told where this jump leads"),
        (
            ("BRA `(.L_9)", "EXIT"),
            "BRA `(.L_9) at 0x0000: a jump to .L_9, which is not in k",
        ),
        (
            ('BRX R2 (*"BRANCH_TARGETS .L_9"*)', "EXIT"),
            'BRX R2 (*"BRANCH_TARGETS .L_9"*) at 0x0000: a jump to .L_9, which is not in k',
        ),
        (
            ("BSSY B0, `(.L_1)", "BSYNC B0", "NOP", ".L_1:", "EXIT"),
            "BSYNC B0 at 0x0010: it cannot be told where its threads go on",
        ),
    ],
)
def test_a_way_that_cannot_be_told_is_refused(lines: tuple[str, ...], message: str) -> None:
    with pytest.raises(SassError) as caught:
        read_flow(listed(*lines).only())
    assert str(caught.value) == message


def test_two_functions_are_not_taken_for_one() -> None:
    text = HEAD + HEAD.replace(".text.k", ".text.other")
    with pytest.raises(SassError, match=r"expected machine code of one function, found k, other"):
        read_listing(text).only()


def test_a_listing_is_kept_and_a_broken_one_made_again(artefact: Artefact, tmp_path: Path) -> None:
    first = disassemble(artefact.cubin, cache_in=tmp_path)
    (file,) = (tmp_path / nvdisasm.FOLDER).iterdir()
    assert disassemble(artefact.cubin, cache_in=tmp_path) == first
    file.write_bytes(file.read_bytes()[:100])
    assert disassemble(artefact.cubin, cache_in=tmp_path) == first
    # What is kept is what is read.
    file.write_bytes(gzip.compress(HEAD.encode()))
    assert disassemble(artefact.cubin, cache_in=tmp_path).only().instructions == ()


def test_what_is_no_cubin_is_refused() -> None:
    with pytest.raises(DisassemblerError, match=r"^nvdisasm refused a cubin: nvdisasm fatal"):
        disassemble(b"not a cubin")


def test_without_nvdisasm_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: str(tmp_path))
    find_nvdisasm.cache_clear()
    try:
        with pytest.raises(DisassemblerError) as caught:
            find_nvdisasm()
    finally:
        find_nvdisasm.cache_clear()
    assert str(caught.value) == (
        "nvdisasm was not found on PATH or beside this Python: "
        "pip install 'nvidia-cuda-nvdisasm>=13,<14'"
    )
