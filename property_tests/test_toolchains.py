"""The toolchain matrix: what counts as a change, what a record says again, and a real ptxas."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from sbo_verify.cli import main, toolchain_commands
from sbo_verify.device.ptxas import find_ptxas
from sbo_verify.harness.toolchains import changed_since, changes, site_changes
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.report.toolchains import toolchains_text

REPORTS = Path(__file__).resolve().parents[1] / "reports"
RECORDS = sorted(REPORTS.glob("toolchains-*/matrix.json"))
PASS, FAIL, UNKNOWN, USAGE = 0, 1, 2, 254
RED = ["MEMBAR.ALL.GPU", "REDG.STRONG.GPU"]
ATOM = ["MEMBAR.ALL.GPU", "ATOMG.STRONG.GPU"]
NOTE = "producer.drain: wait.read is DEPBAR; wait is the same and CCTL.IVALL"

HEAD: dict[str, Any] = {
    "kind": "toolchains",
    "format_version": 1,
    "protocol": "p",
    "started": "now",
    "commit": "0",
    "dirty": False,
    "command": "it",
    "ptx_compiler": "nvrtc 1",
    "disassembler": "nvdisasm 1",
    "left_out": {},
    "notes": {NOTE: [0]},
}


def body(*columns: tuple[str, str], rows: dict[str, list[list[list[Any]]]]) -> dict[str, Any]:
    """A record of these columns; of each row its skeleton under each of them."""
    skeletons: list[Any] = []
    told: dict[str, Any] = {}
    for name, mine in rows.items():
        skeletons += [each for each in mine if each not in skeletons]
        cells = [
            {"verdict": "kept", "skeleton": skeletons.index(each), "reasons": []} for each in mine
        ]
        told[name] = {"variant": "0", "ptx_sha256": "0", "cells": cells}
    return {
        **HEAD,
        "columns": [{"ptxas": v, "target": t, "ptx_version": "9.0"} for v, t in columns],
        "skeletons": skeletons,
        "rows": told,
        "changes": [],
    }


OLD, NEW, NEW_100 = ("12.4.1", "sm_90a"), ("13.5.0", "sm_90a"), ("13.5.0", "sm_100a")
RECORD = body(OLD, NEW, NEW_100, rows={"a": [[["p", RED]], [["p", ATOM]], [["p", ATOM]]]})


def test_a_change_is_said_once_with_all_the_variants_that_show_it() -> None:
    mine = [[["p", RED], ["q", RED]], [["p", ATOM], ["q", RED]]]
    found = changes(body(OLD, NEW, rows={"a": mine, "b": mine, "c": [mine[0], mine[0]]}))
    assert [(each.site, each.words_before, each.words_after) for each in found] == [
        ("p", RED, ATOM)
    ]
    assert found[0].rows == ["a", "b"]
    assert (found[0].before, found[0].after) == ("12.4.1 sm_90a", "13.5.0 sm_90a")


def test_targets_are_compared_under_one_release() -> None:
    mine = [[["p", RED]], [["p", RED]], [["p", ATOM]]]
    (found,) = changes(body(OLD, NEW, NEW_100, rows={"a": mine}))
    assert (found.before, found.after) == ("13.5.0 sm_90a", "13.5.0 sm_100a")
    others = body(OLD, NEW, ("12.8.0", "sm_100a"), rows={"a": mine})
    assert changes(others) == []


def test_a_row_that_was_not_assembled_changed_nothing() -> None:
    record = body(OLD, NEW, rows={"a": [[], [["p", RED]]]})
    record["rows"]["a"]["cells"][0]["verdict"] = "not assembled"
    assert changes(record) == []


def test_words_and_sites_in_another_order_are_changes() -> None:
    swapped = list(site_changes([["p", RED]], [["p", RED[::-1]]]))
    assert swapped == [("p", RED, RED[::-1])]
    moved = list(site_changes([["p", RED], ["q", RED]], [["q", RED], ["p", RED]]))
    assert moved == [("order of the sites", ["p", "q"], ["q", "p"])]


def test_what_was_recorded_has_not_changed() -> None:
    assert changed_since(RECORD, RECORD) == []


def test_a_new_release_is_held_to_the_newest_one_that_was_recorded() -> None:
    newest = ("14.0.0", "sm_90a")
    assert changed_since(body(newest, rows={"a": [[["p", ATOM]]]}), RECORD) == []
    (said,) = changed_since(body(newest, rows={"a": [[["p", RED]]]}), RECORD)
    assert said == (
        "a: p: MEMBAR.ALL.GPU; ATOMG.STRONG.GPU by 13.5.0 sm_90a, "
        "MEMBAR.ALL.GPU; REDG.STRONG.GPU by 14.0.0 sm_90a"
    )
    without = changed_since(body(newest, rows={"a": [[["p", []]]]}), RECORD)
    assert without == [
        "a: p: MEMBAR.ALL.GPU; ATOMG.STRONG.GPU by 13.5.0 sm_90a, nothing by 14.0.0 sm_90a"
    ]


def test_another_verdict_is_a_change() -> None:
    other = copy.deepcopy(RECORD)
    other["rows"]["a"]["cells"][0]["verdict"] = "lost"
    assert changed_since(other, RECORD) == ["a: kept by 12.4.1 sm_90a, lost by 12.4.1 sm_90a"]


def test_a_comparison_of_nothing_is_no_agreement() -> None:
    said = ["nothing was compared: the record has none of these rows and targets"]
    assert changed_since(body(OLD, rows={"b": [[["p", RED]]]}), RECORD) == said
    assert changed_since(body(("1.0.0", "sm_1"), rows={"a": [[]]}), RECORD) == said


def test_the_text_shows_changes_and_reasons() -> None:
    record = body(OLD, NEW, rows={"a": [[["p", RED]], [["p", ATOM]]]})
    record["rows"]["a"]["cells"][1] |= {"verdict": "cannot tell", "reasons": ["a | reason"]}
    shown = {"before": "one", "after": "two", "site": "p", "words_before": RED}
    record["changes"] = [shown | {"words_after": [], "rows": ["a", "b", "c", "d"]}]
    record["left_out"] = {"12.4.1 sm_100a": "no such target"}
    text = toolchains_text(record)
    assert "| 13.5.0 | `sm_90a` | 9.0 | 0 | 0 | 1 | 0 |" in text
    assert (
        "| one to two | `p` | `MEMBAR.ALL.GPU; REDG.STRONG.GPU` | `nothing` "
        "| 4: `a`, `b`, `c` and 1 more |" in text
    )
    assert "- 12.4.1 sm_100a: no such target" in text
    assert r"cannot tell: a: a \| reason" in text
    assert f"- {NOTE} (12.4.1 sm_90a)" in text


# ---- the record that is kept ----------------------------------------------------------------


def test_there_is_a_recorded_matrix() -> None:
    assert RECORDS


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.parent.name)
def test_a_recorded_text_is_what_its_record_gives(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # No release lost an order, and every word is told.
    assert main(["toolchains", "--record", str(path), "--markdown"]) == PASS
    assert capsys.readouterr().out == path.with_name("toolchains.md").read_text()


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.parent.name)
def test_a_recorded_matrix_says_its_changes_again(path: Path) -> None:
    record = json.loads(path.read_text())
    assert record["dirty"] is False
    assert len({each["ptxas"] for each in record["columns"]}) >= 3
    assert [vars(each) for each in changes(record)] == record["changes"]
    assert set(record["rows"]) == {row.name for row in SIGNAL_PUBLISH}


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.parent.name)
def test_a_changed_record_fails(path: Path, tmp_path: Path) -> None:
    record = json.loads(path.read_text())
    assert main(["toolchains", "--record", str(path), "--against", str(path)]) == 0
    skeleton = record["skeletons"][record["rows"]["read_wait-release"]["cells"][-1]["skeleton"]]
    skeleton[-1][1].insert(0, "MEMBAR.SC.SYS")
    other = tmp_path / "other.json"
    other.write_text(json.dumps(record))
    assert main(["toolchains", "--record", str(path), "--against", str(other)]) == FAIL


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.parent.name)
def test_a_ptxas_that_is_here_makes_what_was_recorded(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = find_ptxas()
    recorded = {each["ptxas"] for each in json.loads(path.read_text())["columns"]}
    known = [each.version for each in found if each.version in recorded]
    if not known:
        here = ", ".join(each.version for each in found) or "none"
        pytest.skip(f"needs a ptxas of a recorded release; found: {here}")
    chosen = ["--ptxas", known[-1], "--variants", "read_wait-release"]
    assert main(["toolchains", *chosen, "--against", str(path)]) == 0
    assert f"ptxas {known[-1]} sm_90a: 1 kept" in capsys.readouterr().out


# ---- the command ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], UNKNOWN, "no ptxas was found in the cache, in $CUDA_HOME or on PATH: pip install"),
        (["--ptxas", "12.9.86"], UNKNOWN, "ptxas 12.9.86 was not found: pip install --no-deps"),
        (["--install", "newest"], UNKNOWN, "'newest' is no release of ptxas such as 13.0.88"),
        (["--json", "--markdown"], USAGE, "--json and --markdown exclude each other"),
        (["--variants", "nothing"], USAGE, "nothing"),
    ],
)
def test_it_says_what_is_missing(
    arguments: list[str],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(toolchain_commands, "find_ptxas", list)
    assert main(["toolchains", *arguments]) == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not JSON", "is not JSON"),
        ("[]", "this is no record of `sbo-verify toolchains --json`"),
        (
            '{"kind": "toolchains", "format_version": 7}',
            "the record has format version 7, this version reads 1",
        ),
    ],
)
def test_what_is_no_record_is_refused(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "matrix.json"
    file.write_text(text)
    assert main(["toolchains", "--record", str(file)]) == USAGE
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("verdict", "code"), [("lost", FAIL), ("cannot tell", UNKNOWN)])
def test_an_order_that_a_release_lost_fails(verdict: str, code: int, tmp_path: Path) -> None:
    record = copy.deepcopy(RECORD)
    record["rows"]["a"]["cells"][1]["verdict"] = verdict
    file = tmp_path / "matrix.json"
    file.write_text(json.dumps(record))
    assert main(["toolchains", "--record", str(file)]) == code
