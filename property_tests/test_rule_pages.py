"""Every rule that `inspect` and `explain` print has a page, and the page says what is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sbo_verify.api import open_run
from sbo_verify.cli import main, rule_pages
from sbo_verify.cli.rule_pages import DOCUMENTS, page, page_command
from sbo_verify.compiled.inspection.rules import RULES
from sbo_verify.model import judge, poll_answer
from sbo_verify.model.gaps import GAPS, ORDERED_NO_FURTHER, Gap, gap_said
from sbo_verify.protocol import UnknownNameError
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.protocols.signal_publish.sites import SITES, SignalPublish
from sbo_verify.verdict import ModelVerdict

NAMES = [*RULES, *(gap.name for gap in GAPS)]
ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT / "reports" / "signal_publish" / "20261124T124324Z-b8e20b0f92d0"
SCOPED = ("publish_cta_scope", "publish_cluster_scope", "poll_cta_scope")
# A note on what counts, and on no order.
NO_GAP = "ld.global.nc is outside the model; counted as Allowed"


def variant_of(name: str) -> SignalPublish:
    variant = SIGNAL_PUBLISH.row(name).variant
    assert isinstance(variant, SignalPublish)
    return variant


def said_of(name: str) -> list[str]:
    """Every sentence about missing order that `explain` prints of a variant."""
    answer = judge(SIGNAL_PUBLISH.name, variant_of(name))
    poll = poll_answer(variant_of(name))
    notes = [note for note in answer.notes if not note.startswith(NO_GAP)]
    return [*answer.missing, *notes, *poll.reasons]


def mended(name: str, change: str) -> bool:
    """Whether a change of one site, as `site=choice`, forbids what the variant allows."""
    site, _, word = change.partition("=")
    choice = next(each for each in SITES[site] if each.word == word)
    other = variant_of(name).with_choices(**{site: choice})
    return judge(SIGNAL_PUBLISH.name, other).verdict is ModelVerdict.FORBIDDEN


def test_no_name_is_given_twice() -> None:
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_rule_has_a_page_of_its_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    program, *words = page_command(name).split()
    assert program == "sbo-verify"
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert printed == page(name)
    assert printed.startswith(f"### {name}\n")
    assert printed.count("### ") == 1
    assert "\n## " not in printed
    assert "Mend: " in printed
    assert "Source: " in printed


def test_inspect_names_the_page_of_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(ROOT / "property_tests/inspected/bulk_read_release.ptx")]) == 1
    assert "\n    see: sbo-verify rule signal-after-read-wait\n" in capsys.readouterr().out


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_document_has_a_page_of_a_rule_that_is_gone(document: str) -> None:
    text = (rule_pages.documents() / document).read_text()
    # A rule's name is the only heading of that rank in small letters and dashes.
    assert re.findall(r"^### ([a-z-]+)$", text, re.MULTILINE) == list(DOCUMENTS[document])


@pytest.mark.parametrize("gap", GAPS, ids=lambda gap: gap.name)
def test_a_page_quotes_the_sentence_and_its_example_prints_it(
    gap: Gap, capsys: pytest.CaptureFixture[str]
) -> None:
    text = page(gap.name)
    words = re.sub(r"\{\w+\}", "", gap.sentence).split()
    quoted = re.search(r'\*"(.+?)"\*', text, re.DOTALL)
    assert quoted is not None
    told = [word.strip(".,:;").lower() for word in quoted[1].split()]
    kept = [word for word in told if not word.isupper()]
    assert set(kept) - {"write", "read", "poll", "these", "events"} <= {
        word.strip(".,:;").lower() for word in words
    }
    (example,) = re.findall(r"Example: `sbo-verify explain ([\w-]+)`", text)
    assert any(gap.says(sentence) for sentence in said_of(example))
    assert main(["explain", example]) == 0
    assert f"see: {page_command(gap.name)}\n" in capsys.readouterr().out
    for mend in re.findall(r"Mend: `(\w+=\w+)`", text):
        assert mended(example, mend)


def test_a_change_that_mends_nothing_is_noticed() -> None:
    assert not mended("read_wait-release", "drain=read")
    with pytest.raises(StopIteration):
        mended("read_wait-release", "drain=hope")


def test_all_that_was_said_of_the_catalogue_has_a_page() -> None:
    """Of every variant, as a run recorded it; and of every poll that may go on for ever, now."""
    readings = open_run(RECORDED).findings.model_readings
    said = [each for reading in readings for each in (*reading.missing, *reading.notes)]
    said += [why for name in SCOPED for why in poll_answer(variant_of(name)).reasons]
    assert len(said) > len(readings) / 2
    strange = {each for each in said if gap_said(each) is None and not each.startswith(NO_GAP)}
    assert strange == set()


def test_the_examples_of_where_an_order_ends_end_there_and_are_mended() -> None:
    lines = [line for line in page("ordered-no-further").splitlines() if line.startswith("| ")]
    rows = [line.split(" | ") for line in lines[1:]]
    assert len(rows) >= 8
    readings = {each.row: each for each in open_run(RECORDED).findings.model_readings}
    for _, _, example, mend in rows:
        name = example.strip("`")
        said = [gap_said(each) for each in readings[name].missing]
        assert ORDERED_NO_FURTHER in said
        assert mended(name, mend.strip("|` "))


def test_the_kinds_of_sentences_are_told_apart() -> None:
    for gap in GAPS:
        names = re.findall(r"\{(\w+)\}", gap.sentence)
        sentence = gap.sentence.format(**dict.fromkeys(names, "st.weak x, 1 (write of x)"))
        assert [each for each in GAPS if each.says(sentence)] == [gap]
    assert gap_said("nothing waits for it") is None
    assert gap_said("") is None


def test_an_unknown_rule_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnknownNameError, match="no rule 'hope'; the rules are: signal-after-read"):
        page("hope")
    assert main(["rule", "hope"]) == 254
    assert capsys.readouterr().err.startswith("sbo-verify: no rule 'hope'; the rules are: ")


def test_without_a_name_all_rules_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rule"]) == 0
    out = capsys.readouterr().out
    assert [line.strip() for line in out.splitlines() if line.startswith("  ")] == NAMES
