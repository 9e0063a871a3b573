"""Anybody's PTX: the corpus is judged as its table says; weakening a file changes its verdict."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from inspected.build import compiled, compiler
from inspected.public import PUBLIC, markdown

from sbo_verify.cli import main
from sbo_verify.compiled.inspection.files import UnknownKernelError, inspect_ptx
from sbo_verify.compiled.inspection.handoffs import HandOffVerdict
from sbo_verify.compiled.inspection.rules import RULES
from sbo_verify.compiled.inspection.source import unclobbered
from sbo_verify.compiled.ptx import PtxError

ROOT = Path(__file__).resolve().parents[1]
CORPUS = Path(__file__).parent / "inspected"
PAGE = ROOT / "docs" / "inspect.md"
PASS, FAIL, UNKNOWN, USAGE = 0, 1, 2, 254
ORDERED, NOT_ORDERED, CANNOT_TELL = HandOffVerdict


@dataclass(frozen=True)
class Expected:
    """One row of the table: what a file is judged to be, and by which rules."""

    file: str
    origin: str
    verdict: str
    rules: tuple[str, ...]

    @property
    def text(self) -> str:
        return (CORPUS / self.file).read_text()


def table() -> list[Expected]:
    with (CORPUS / "inspected.csv").open() as rows:
        return [
            Expected(row["file"], row["origin"], row["verdict"], tuple(row["rules"].split()))
            for row in csv.DictReader(rows)
        ]


ROWS = table()
SOUND = [row for row in ROWS if row.verdict == ORDERED]


def judged(text: str) -> tuple[HandOffVerdict | None, tuple[str, ...]]:
    """The verdict on a text and the rules that it breaks."""
    found = inspect_ptx(text)
    return found.verdict, tuple(
        sorted({each.rule for one in found.hand_offs for each in one.broken})
    )


# ---- the corpus -----------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.file)
def test_a_file_of_the_corpus_is_judged_as_expected(row: Expected) -> None:
    assert judged(row.text) == (row.verdict, tuple(sorted(row.rules)))


def test_the_corpus_is_large_and_seldom_undecided() -> None:
    counts = Counter(row.verdict for row in ROWS)
    assert len(ROWS) >= 60
    assert counts[CANNOT_TELL] <= 0.05 * len(ROWS)
    assert min(counts[ORDERED], counts[NOT_ORDERED]) >= 20


def test_the_table_and_the_folder_hold_the_same_files() -> None:
    assert sorted(row.file for row in ROWS) == sorted(p.name for p in CORPUS.glob("*.ptx"))


def test_every_rule_fires_on_a_file_of_the_corpus() -> None:
    """`asm-without-memory-clobber` is of the source, and tested below."""
    fired = {rule for row in ROWS for rule in row.rules}
    assert fired == set(RULES) - {"asm-without-memory-clobber"}


@pytest.mark.skipif(compiler() is None, reason="no nvcc of the corpus's release")
def test_the_committed_ptx_is_what_the_source_compiles_to() -> None:
    nvcc = compiler()
    assert nvcc is not None
    made = compiled(nvcc)
    kept = {row.file.removesuffix(".ptx"): row.text for row in ROWS if row.origin == "nvcc"}
    assert made == kept


# ---- what orders cannot be taken away -------------------------------------------------------

# In sound files each of these is needed; the pattern is what is replaced, and by what.
WEAKENINGS = [
    ("drop the wait", r"^.*cp\.async\.bulk\.wait_group\s+0\s*;$", ""),
    ("wait for the reading only", r"wait_group\s+0", "wait_group.read 0"),
    ("leave the newest pending", r"wait_group\s+0", "wait_group 1"),
    ("relax the release", r"\.(release|acq_rel)\.(gpu|sys)\.global", r".relaxed.\2.global"),
    ("narrow the release", r"\.(release|acq_rel)\.(gpu|sys)\.global", r".\1.cta.global"),
    ("drop every barrier", r"^.*\bbar\.sync.*;$", ""),
    ("drop every fence", r"^\s*(fence\.(acq_rel|sc)|membar\.gl).*;$", ""),
    ("narrow every fence", r"(fence\.(?:acq_rel|sc))\.gpu|membar\.gl", "fence.acq_rel.cta"),
    ("relax the poll", r"(ld|atom)\.acquire\.(gpu|sys)", r"\1.relaxed.\2"),
    ("weaken the poll", r"ld\.acquire\.(gpu|sys)", "ld.weak"),
    ("narrow the poll", r"(ld|atom)\.acquire\.(gpu|sys)", r"\1.acquire.cta"),
    ("drop every proxy fence", r"^.*fence\.proxy\.async.*;$", ""),
    ("relax the cluster barrier", r"arrive\.release", "arrive.relaxed"),
]
# Barriers that are not needed: one thread does all of it, or each thread polls for itself.
SINGLE = {"bulk_one_thread_no_barrier.ptx"}


def weakened() -> Iterator[tuple[str, Expected, str]]:
    for name, pattern, replacement in WEAKENINGS:
        for row in SOUND:
            text = re.sub(pattern, replacement, row.text, flags=re.MULTILINE)
            if text != row.text:
                yield name, row, text


@pytest.mark.parametrize(
    ("row", "text"),
    [pytest.param(row, text, id=f"{name}-{row.file}") for name, row, text in weakened()],
)
def test_a_sound_file_that_lost_what_orders_it_is_sound_no_longer(row: Expected, text: str) -> None:
    assert judged(row.text)[0] is ORDERED
    assert judged(text)[0] in {NOT_ORDERED, CANNOT_TELL}


def test_every_weakening_meets_a_sound_file() -> None:
    assert {name for name, _, _ in weakened()} == {name for name, _, _ in WEAKENINGS}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.file)
def test_names_of_registers_and_labels_mean_nothing(row: Expected) -> None:
    renamed = re.sub(r"%(p|r|rd)(\d+)", lambda m: f"%{m[1]}{int(m[2]) + 7000}", row.text)
    renamed = re.sub(r"\$L__BB(\d+)_(\d+)", r"$other_\2_\1", renamed)
    assert judged(renamed) == judged(row.text)


# ---- text that is refused -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("int main() {}", "PTX line 1: no .version directive: this is no PTX"),
        (".version 9.0\n.target sm_90a\n", "PTX line 1: no .entry and no .func with a body"),
        (".version 9.0\n.visible .entry e()\n", "PTX line 2: a function with no body"),
        (".version 9.0\n.entry e()\n{\nret;", "PTX line 4: the body of e does not end"),
        (".version 9.0\n.entry e()\n{\n= 3;\n}", "PTX line 4: not an instruction: '= 3'"),
        (".version 9.0\n.entry e()\n{\nret\n}", "PTX line 4: a statement that does not end: 'ret'"),
        (".version 9.0\n/* open", "PTX line 2: a comment that does not end"),
        (".version 9.0\n.entry e()\n{\nbra $L;\n}", "PTX line 4: a branch to $L, which is nowhere"),
        (".version 9.0\n.entry e()\n{\n$L:\n$L:\nret;\n}", "PTX line 5: label $L stands twice"),
    ],
)
def test_text_that_is_no_ptx_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(PtxError) as refused:
        inspect_ptx(text)
    assert str(refused.value) == message


@pytest.mark.parametrize("row", SOUND[:6], ids=lambda row: row.file)
def test_a_file_that_breaks_off_is_never_ordered(row: Expected) -> None:
    lines = row.text.splitlines()
    for length in range(len(lines)):
        try:
            verdict = judged("\n".join(lines[:length]))[0]
        except PtxError:
            continue
        # The body is whole; only what follows it is missing.
        assert verdict is ORDERED
        assert "}" in lines[:length]


def test_a_kernel_that_is_not_there_is_refused_with_near_names() -> None:
    with pytest.raises(UnknownKernelError, match="did you mean bulk_full_release"):
        inspect_ptx((CORPUS / "bulk_full_release.ptx").read_text(), "bulk_ful_release")


def test_an_instruction_with_no_word_is_no_order() -> None:
    text = (CORPUS / "bulk_full_release.ptx").read_text()
    text = text.replace("bar.sync \t0;", "bar.sync \t0;\n\tfrobnicate.sync 1;", 1)
    assert judged(text)[0] is CANNOT_TELL


# ---- source and command line ----------------------------------------------------------------


def test_assembly_that_orders_without_a_memory_clobber_is_found() -> None:
    asm = 'void f(int* p) {\n  asm volatile("red.release.gpu.global.add.s32 [%0], 1;" :: "l"(p)'
    (found,) = unclobbered(f"{asm});\n}}")
    assert found.line == 2
    assert unclobbered(f'{asm} : "memory");\n}}') == []
    assert unclobbered(f"/* {asm}); */") == unclobbered('asm("mov.u32 %0, 1;" : "=r"(x));') == []


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["inspect", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize(
    ("file", "code"),
    [("bulk_full_release", PASS), ("bulk_read_release", FAIL), ("bulk_newest_pending", UNKNOWN)],
)
def test_the_exit_code_is_the_verdict(
    capsys: pytest.CaptureFixture[str], file: str, code: int
) -> None:
    assert run(capsys, str(CORPUS / f"{file}.ptx"))[0] == code


def test_a_finding_names_place_rule_reason_and_mend(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, str(CORPUS / "bulk_read_release.ptx"))
    rule = RULES["signal-after-read-wait"]
    for word in (rule.name, rule.summary, rule.why, rule.mend, "handoffs.cu:"):
        assert word in out


def test_json_and_sarif_hold_every_finding(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    target = tmp_path / "findings.sarif"
    source = tmp_path / "a.cu"
    source.write_text('asm volatile("fence.acq_rel.gpu;" ::);')
    file = str(CORPUS / "bulk_read_release.ptx")
    _, out, _ = run(capsys, file, str(source), "--json", "--sarif", str(target))
    data, log = json.loads(out), json.loads(target.read_text())
    in_json = [f["rule"] for h in data["files"][0]["hand_offs"] for f in h["findings"]]
    in_json += [each["rule"] for each in data["sources"]]
    results = log["runs"][0]["results"]
    assert [each["ruleId"] for each in results] == in_json != []
    known = {each["id"] for each in log["runs"][0]["tool"]["driver"]["rules"]}
    assert log["version"] == "2.1.0"
    assert {each["ruleId"] for each in results} <= known


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\x7fELF\x02", "byte 0: an ELF header of 64 bytes, the file has 5"),
        (b"\x50\xed\x55\xba", "byte 0: a fatbin's header is cut short"),
        (b"\xff\xfe", "is no text: byte 0 cannot be read"),
        (b"hello", "no .version directive"),
    ],
)
def test_a_file_that_is_no_ptx_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "some.ptx"
    path.write_bytes(content)
    code, _, err = run(capsys, str(path))
    assert code == USAGE
    assert message in " ".join(err.split())


def test_a_file_that_is_not_there_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "nowhere.ptx")
    assert code == USAGE
    assert "nowhere.ptx: No such file or directory" in err


# ---- public kernels -------------------------------------------------------------------------

RECORD = ROOT / "reports" / "inspect-2026-11-24"


def test_the_table_of_public_kernels_is_made_from_its_record() -> None:
    record = json.loads((RECORD / "public.json").read_text())
    assert (RECORD / "public.md").read_text() == markdown(record)
    assert [row["name"] for row in record["kernels"]] == [each.name for each in PUBLIC]


def test_a_table_that_says_more_than_the_record_is_found() -> None:
    record = json.loads((RECORD / "public.json").read_text())
    record["kernels"][0]["verdict"] = "ordered"
    assert (RECORD / "public.md").read_text() != markdown(record)


# ---- the page -------------------------------------------------------------------------------


def unexplained(page: str) -> list[str]:
    """Rules that a page does not explain, with their mend and their source."""
    return [
        rule.name
        for rule in RULES.values()
        if f"### {rule.name}\n" not in page or rule.mend not in page or rule.source not in page
    ]


def test_every_rule_stands_on_the_page() -> None:
    assert unexplained(PAGE.read_text()) == []


def test_a_rule_that_is_not_on_the_page_is_found() -> None:
    page = PAGE.read_text().replace("### no-drain\n", "")
    assert unexplained(page) == ["no-drain"]
