"""Litmus files: the public suite and our own, both verdicts, and every way to misspell one."""

from __future__ import annotations

import csv
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from sbo_verify.model import Budget, LitmusError, judge_litmus, judge_program
from sbo_verify.model.litmus import read_file, read_text, write_text
from sbo_verify.model.worth import worth

LITMUS = Path(__file__).parent / "litmus"
PUBLIC = LITMUS / "public"
BULK = LITMUS / "bulk"

# Found by `worth`; each of these can fail no model that has the same values to read.
VACUOUS = {
    "Barrier/quorum2-hang.litmus",
    "Manual/LB+NoThinAir-location_.litmus",
    "Manual/PC-bar-sync-sync-3.litmus",
    "Manual/PC-bar-sync-sync-4.litmus",
    "Memalloy/IRWIW1.litmus",
    "Memalloy/IRWIW2.litmus",
    "Memalloy/WWC1.litmus",
}
INTERLEAVED = {
    "Barrier/quorum2-pass.litmus",
    "Barrier/quorum3-pass.litmus",
    "Manual/Atom-plus-register.litmus",
    "Manual/CoRR-weak-acquire.litmus",
    "Manual/SB+sc-cta-outScope.litmus",
    "Manual/SB+sc-gpu-multiFence-TotalOrder.litmus",
    "Manual/SB+twice-bars-diff.litmus",
    "Memalloy/IRIW2.litmus",
    "Memalloy/IRRWIW1.litmus",
    "Memalloy/RWC1.litmus",
    "Memalloy/WRC1.litmus",
    "Nvidia/Co-Total-3-threads-scope-diff.litmus",
}

HEAD = "PTX t\n{\nx = 0;\n}\n P0@cta 0,gpu 0 ;\n"


@cache
def expected(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "expected.csv").open(encoding="utf-8") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("name", sorted(expected(PUBLIC)))
def test_the_model_agrees_with_the_public_verdict(name: str) -> None:
    answer = judge_litmus(PUBLIC / name)
    assert answer.complete
    assert answer.condition_holds == (expected(PUBLIC)[name]["condition_holds"] == "1")


@pytest.mark.parametrize("name", sorted(expected(BULK)))
def test_the_model_agrees_with_the_bulk_verdict_under_both_readings(name: str) -> None:
    answer = judge_litmus(BULK / name)
    row = expected(BULK)[name]
    assert answer.complete
    strict, lenient = row["condition_holds"] == "1", row["lenient"] == "1"
    copies = "cp.async.bulk" in (BULK / name).read_text() or strict != lenient
    assert answer.readings == (
        {"async_fence=strict": strict, "async_fence=lenient": lenient}
        if copies
        else {"any": strict}
    )


@pytest.mark.parametrize("folder", [PUBLIC, BULK], ids=["public", "bulk"])
def test_every_file_is_listed_and_every_listed_file_exists(folder: Path) -> None:
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*.litmus")}
    assert found == set(expected(folder))


def test_there_are_enough_bulk_tests_of_both_verdicts() -> None:
    """A suite with one verdict alone cannot tell a model from a constant."""
    programs = [read_file(BULK / name) for name in expected(BULK)]
    stale = sum(program.quantifier == "exists" for program in programs)
    assert len(programs) >= 40
    assert stale >= 20
    assert len(programs) - stale >= 20


def test_every_bulk_test_names_its_section_of_the_isa() -> None:
    for name, row in expected(BULK).items():
        assert row["section"] in read_file(BULK / name).comment


def test_the_public_suite_is_judged_in_three_seconds() -> None:
    slowest, started = 0.0, time.process_time()
    for name in expected(PUBLIC):
        begun = time.process_time()
        judge_litmus(PUBLIC / name)
        slowest = max(slowest, time.process_time() - begun)
    assert time.process_time() - started < 3
    assert slowest < 1


def test_only_late_arrivals_at_counted_barriers_are_read_in_two_ways() -> None:
    """Which public tests let a thread pass a counted barrier behind those that completed it."""
    answers = {name: judge_litmus(PUBLIC / name) for name in expected(PUBLIC)}
    assert {name for name, answer in answers.items() if len(set(answer.readings.values())) > 1} == {
        "Barrier/quorum2-pass.litmus",
        "Barrier/quorum3-pass.litmus",
    }
    for answer in answers.values():
        if "late_arrival=waits" in answer.readings:
            assert answer.readings["late_arrival=passes"] is answer.condition_holds


def test_the_vacuous_and_the_interleaved_public_tests_are_those_named() -> None:
    worths = {name: worth(read_file(PUBLIC / name)) for name in expected(PUBLIC)}
    assert {name for name, value in worths.items() if value.vacuous} == VACUOUS
    assert {name for name, value in worths.items() if value.interleaved} == INTERLEAVED
    told = (PUBLIC / "README.md").read_text()
    named = {name for name in worths if f"`{name.removesuffix('.litmus')}`" in told}
    assert named == VACUOUS | INTERLEAVED


def test_no_bulk_test_is_vacuous() -> None:
    assert [name for name in expected(BULK) if worth(read_file(BULK / name)).vacuous] == []


@pytest.mark.parametrize("folder", [PUBLIC, BULK], ids=["public", "bulk"])
def test_a_file_written_down_and_read_again_has_the_same_answer(folder: Path) -> None:
    for name in expected(folder):
        program = read_file(folder / name)
        again = read_text(write_text(program))
        assert again.threads == program.threads
        assert again.quantifier == program.quantifier
        assert judge_program(again).condition_holds == judge_program(program).condition_holds


def test_an_answer_is_plain_data_with_its_witness() -> None:
    answer = judge_litmus(BULK / "mp-read_wait-release.litmus")
    data = answer.to_json()
    assert data["condition_holds"] is True
    assert data["complete"] is True
    assert data["seconds"] > 0
    assert data["file"].endswith("mp-read_wait-release.litmus")
    assert data["witness"][0]["number"] == 1
    reads = [s for s in data["witness"] if s["instruction"] == "ld.weak r0, d"]
    assert [step["value"] for step in reads] == [0]


def test_a_spent_budget_is_unknown_and_never_an_answer() -> None:
    answer = judge_litmus(PUBLIC / "Nvidia/Atom-SB.litmus", Budget(candidates=3))
    assert not answer.complete
    assert answer.condition_holds is None


def test_a_spin_loop_with_effects_is_unknown_where_it_is_cut_off() -> None:
    text = HEAD + " LC00: ;\n atom.add r0, x, 1 ;\n bne r0, 99, LC00 ;\nexists (P0:r0 == 99)"
    answer = judge_program(read_text(text))
    assert answer.condition_holds is None


def test_a_spin_loop_that_only_reads_is_complete() -> None:
    text = (
        "PTX t\n{\nx = 0;\n}\n P0@cta 0,gpu 0 | P1@cta 0,gpu 0 ;\n"
        " LC00: | st.relaxed.gpu x, 1 ;\n ld.relaxed.gpu r0, x | ;\n bne r0, 1, LC00 | ;\n"
        "exists (P0:r0 == 0)"
    )
    answer = judge_program(read_text(text))
    assert answer.complete
    assert answer.condition_holds is False


def test_a_lock_that_spins_on_an_exchange_is_complete() -> None:
    """An exchange that stores what it read adds nothing, so that its turns can be left out."""
    take = " LC00: ;\n atom.relaxed.gpu.exch r0, m, 1 ;\n bne r0, 0, LC00 ;\n"
    text = f"PTX t\n{{\nm = 0;\n}}\n P0@cta 0,gpu 0 ;\n{take}~exists (m != 1)"
    answer = judge_program(read_text(text))
    assert answer.complete
    assert answer.condition_holds is True


MALFORMED = {
    "no heading": ("X", 1, 1, "'PTX' and a name", "'X'"),
    "no declarations": ("PTX t\n", 2, 1, "a block of declarations", "the end"),
    "no semicolon": ("PTX t\n{\nx = 0 y = 1;\n}", 3, 7, "a semicolon", "'y'"),
    "pointer": ("PTX t\n{\nx = &y;\n}", 3, 5, "a constant", "'&y'"),
    "alias of nothing": ("PTX t\n{\ny @ generic aliases x;\n}", 3, 21, "a location", "'x'"),
    "unknown proxy": ("PTX t\n{\nx=0; y @ magic aliases x;\n}", 3, 10, "generic,", "'magic'"),
    "declared twice": ("PTX t\n{\nx = 0; x = 1;\n}", 3, 8, "not declared already", "'x'"),
    "no place": ("PTX t\n{\n}\n P0@gpu 0 ;\n", 4, 11, "cta and gpu of P0", "';'"),
    "unknown place": ("PTX t\n{\n}\n P0@block 0 ;\n", 4, 5, "cta, cluster, gpu", "'block'"),
    "thread twice": (
        "PTX t\n{\n}\n P0@cta 0,gpu 0 | P0@cta 0,gpu 0;",
        4,
        19,
        "a thread other",
        "'P0@cta'",
    ),
    "unknown instruction": (HEAD + " stt.weak x, 1 ;\n", 6, 2, "an instruction", "'stt.weak'"),
    "unknown qualifier": (HEAD + " st.weka x, 1 ;\n", 6, 2, "in place of .weka", "'st.weka'"),
    "no scope": (HEAD + " st.release x, 1 ;\n", 6, 2, "a scope (.cta", "'st.release'"),
    "scope on weak": (HEAD + " st.weak.gpu x, 1 ;\n", 6, 2, "no scope on a weak", "'st.weak.gpu'"),
    "acquiring store": (HEAD + " st.acquire.gpu x, 1 ;\n", 6, 2, "in place of .acquire", "'st"),
    "no comma": (HEAD + " st.weak x 1 ;\n", 6, 12, "a comma", "'1'"),
    "no register": (HEAD + " ld.weak x, r0 ;\n", 6, 10, "a register", "'x'"),
    "register for location": (HEAD + " ld.weak r0, r1 ;\n", 6, 14, "a location", "'r1'"),
    "too many columns": (
        HEAD + " st.weak x, 1 | st.weak x, 2 ;\n",
        6,
        17,
        "1 columns",
        "'st.weak'",
    ),
    "no row end": (HEAD + " st.weak x, 1\n", 7, 1, "a semicolon at the end", "the end"),
    "no condition": (HEAD + " st.weak x, 1 ;\n", 7, 1, "exists, ~exists or forall", "the end"),
    "no label": (HEAD + " goto LC07 ;\nexists (x == 0)", 6, 2, "not LC07", "'goto'"),
    "label twice": (HEAD + " LC00: ;\n LC00: ;\nexists (x == 0)", 6, 2, "one label", "'LC00:'"),
    "proxy fence": (HEAD + " fence.proxy.asinc ;\n", 6, 2, "fence.proxy with one of", "'fence"),
    "mbarrier": (
        HEAD + " mbarrier.try_wait m ;\nexists (x == 0)",
        6,
        2,
        "an mbarrier",
        "'mbarrier",
    ),
    "bulk copy": (
        HEAD + " cp.async.bulk.global.global.bulk_group x, x ;\n",
        6,
        2,
        "cp.async",
        "'cp",
    ),
    "bulk elements": (
        HEAD + " cp.async.bulk.global.shared::cta.bulk_group [x y], [x] ;\n",
        6,
        46,
        "as many sources",
        "'[x'",
    ),
    "condition thread": (HEAD + " st.weak x, 1 ;\nexists (P7:r0 == 0)", 7, 9, "not P7", "'P7:r0'"),
    "condition end": (HEAD + " st.weak x, 1 ;\nexists (x == 0) x", 7, 17, "the end of the", "'x'"),
    "comparison": (HEAD + " st.weak x, 1 ;\nexists (x ~ 0)", 7, 11, "a comparison", "'~'"),
}


@pytest.mark.parametrize("what", sorted(MALFORMED))
def test_a_malformed_file_is_answered_with_place_and_expectation(what: str) -> None:
    text, line, column, wanted, found = MALFORMED[what]
    with pytest.raises(LitmusError) as caught:
        read_text(text, "bad.litmus")
    error = caught.value
    assert (error.file, error.line, error.column) == ("bad.litmus", line, column)
    assert wanted in error.expected
    assert found in error.found
    assert str(error).startswith(f"bad.litmus:{line}:{column}: expected ")


def test_a_division_by_zero_is_refused_with_its_reason() -> None:
    text = HEAD + " div r0, 1, 0 ;\nexists (P0:r0 == 0)"
    with pytest.raises(ValueError, match="unspecified"):
        judge_program(read_text(text))


def test_a_second_phase_of_an_mbarrier_is_refused_with_what_to_do() -> None:
    text = (
        "PTX t\n{\nmbarrier m;\n}\n P0@cta 0,gpu 0 ;\n mbarrier.arrive m ;\n mbarrier.arrive m ;\n"
    )
    with pytest.raises(ValueError, match="only one phase of an mbarrier is modelled"):
        judge_program(read_text(text + "exists (x == 0)"))


def test_a_shift_by_less_than_nothing_is_refused_with_its_reason() -> None:
    text = HEAD + " shl r0, 1, -1 ;\nexists (P0:r0 == 0)"
    with pytest.raises(ValueError, match="shift of 0 or more"):
        judge_program(read_text(text))


SAME = [
    ("ld.weak r0, x", "ld r0, [x]"),
    ("ld.weak r0, x", "ld.global.u32 r0, [x]"),
    ("ld.nc r0, x", "ld.global.nc.b32 r0, x"),
    ("st.weak x, 1", "st x, 1"),
    ("st.release.gpu x, 1", "st.release.gpu.global.s32 [x], 1"),
    ("atom.relaxed.gpu.add r0, x, 1", "atom.global.add.u32 r0, [x], 1"),
    ("red.relaxed.gpu.add x, 1", "red.add x, 1"),
    ("ld r0, 1", "mov.u32 r0, 1"),
    ("goto LC00", "bra LC00"),
    ("bar.cta.sync 0", "barrier.sync.aligned 0"),
    ("fence.proxy.async.shared::cta", "fence.proxy.async.shared::cluster"),
    (
        "cp.async.bulk.tensor.global.shared::cta.bulk_group x, y",
        "cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [x], [y]",
    ),
    (
        "cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes x, y, m",
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [x], [y], [m]",
    ),
]


@pytest.mark.parametrize(("public", "spelled_out"), SAME)
def test_ptx_as_it_is_spelled_out_means_the_same(public: str, spelled_out: str) -> None:
    body = "PTX t\n{{\nx = 0; y = 0; mbarrier m = 1;\n}}\n P0@cta 0,gpu 0 ;\n {} ;\n LC00: ;\n"
    read = []
    for text in (public, spelled_out):
        program = read_text(body.format(text) + "exists (x == 0)")
        read.append(replace(program.threads[0].instructions[0], text=""))
    assert read[0] == read[1]


@pytest.mark.parametrize(
    ("instruction", "value"),
    [
        ("atom.inc r1, x, 3", 3),
        ("atom.inc r1, x, 2", 0),
        ("atom.dec r1, x, 3", 1),
        ("atom.dec r1, x, 1", 1),
        ("rem r0, -7, 2", -1),
        ("div r0, -7, 2", -3),
        ("shl r0, 3, 2", 12),
        ("shr r0, 12, 2", 3),
    ],
)
def test_arithmetic_has_the_results_of_ptx(instruction: str, value: int) -> None:
    asked = "P0:r0" if " r0" in instruction else "x"
    text = HEAD.replace("x = 0", "x = 2") + f" {instruction} ;\nforall ({asked} == {value})"
    assert judge_program(read_text(text)).condition_holds is True


def test_what_stands_in_a_comment_means_nothing() -> None:
    rows = " st.weak x, 1 ; // st.weak x, 2 ; | too many\n (* st.weak x, 3 ; *)\n"
    program = read_text(HEAD + rows + "exists (x == 1) // and no more")
    assert [each.text for each in program.threads[0].instructions] == ["st.weak x, 1"]


@pytest.mark.parametrize(
    ("quantifier", "kept", "holds"),
    [
        ("exists", "P0:r0 == 0", False),
        ("exists", "P0:r0 == 1", True),
        ("~exists", "P0:r0 == 0", True),
        ("~exists", "P0:r0 == 1", False),
        ("forall", "P0:r0 == 1", True),
        ("forall", "P0:r0 >= 0", False),
    ],
)
def test_a_filter_leaves_out_the_executions_that_it_refuses(
    quantifier: str,
    kept: str,
    holds: bool,  # noqa: FBT001 - a column of the table
) -> None:
    text = (
        "PTX t\n{\nx = 0;\n}\n P0@cta 0,gpu 0 | P1@cta 1,gpu 0 ;\n ld.weak r0, x | st.weak x, 1 ;\n"
        f"locations [x;]\nfilter ({kept})\n{quantifier} (P0:r0 == 1)\n"
    )
    assert judge_program(read_text(text)).condition_holds is holds
