"""The picture of an answer, and the note on a destination that is used too early."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from sbo_verify.model import Budget, ModelAnswer, judge
from sbo_verify.protocols import PROTOCOLS
from sbo_verify.protocols.signal_publish.catalogue import PUBLISHED
from sbo_verify.report.picture import MEMORY, draw

SVG = "{http://www.w3.org/2000/svg}"
ROWS = {row.name: row for row in PROTOCOLS["signal_publish"]}


def picture(answer: ModelAnswer) -> str:
    return draw(answer.witness, answer.chains, answer.missing)


def texts(svg: str) -> list[str]:
    """The words of a picture; fails where it is no well-formed XML."""
    root = ET.fromstring(svg)  # noqa: S314 - written a line before
    return ["".join(node.itertext()) for node in root.iter(f"{SVG}text")]


def rectangles(svg: str, kind: str) -> int:
    root = ET.fromstring(svg)  # noqa: S314 - written a line before
    return sum(node.get("class") == kind for node in root.iter(f"{SVG}rect"))


@pytest.mark.parametrize("name", list(ROWS))
def test_every_row_has_a_picture_with_a_lane_for_every_actor(name: str) -> None:
    answer = judge("signal_publish", ROWS[name].variant)
    words = texts(picture(answer))
    if answer.witness:
        actors = {step.actor for step in answer.witness}
    else:
        chain = next(iter(answer.chains.values()))
        actors = {actor for edge in chain for actor in (edge.first_actor, edge.second_actor)}
    # An engine's lane has two lines at its head: what it is, and for whom.
    assert {actor.replace("copy engine for", "for") for actor in actors} <= set(words)
    assert (MEMORY in words) is bool(answer.witness)


def test_the_picture_of_a_witness_marks_the_stale_read_and_names_the_gap() -> None:
    answer = judge("signal_publish", ROWS["read_wait-release"].variant)
    assert answer.witness
    svg = picture(answer)
    assert rectangles(svg, "stale") == 1
    assert rectangles(svg, "box") == len(answer.witness) - 1
    # Memory holds what was written, and at a stale read what stood there before.
    assert rectangles(svg, "cell") == sum(s.does.startswith("writes") for s in answer.witness)
    assert rectangles(svg, "old") == 1
    assert any(word.startswith("missing: nothing waits for") for word in texts(svg))


def test_the_picture_of_a_chain_names_the_rule_of_every_edge() -> None:
    answer = judge("signal_publish", PUBLISHED)
    svg = picture(answer)
    chain = next(iter(answer.chains.values()))
    assert {edge.rule for edge in chain} <= set(texts(svg))
    assert rectangles(svg, "stale") == 0


def test_the_picture_of_an_unknown_answer_says_so() -> None:
    answer = judge("signal_publish", PUBLISHED, budget=Budget(candidates=1))
    assert texts(picture(answer)) == ["unknown: budget spent"]


def test_a_read_that_may_meet_the_copy_under_way_is_noted_as_undefined() -> None:
    """A weak outcome is one thing; a destination in use while it is written is another."""
    for name, row in ROWS.items():
        notes = " ".join(judge("signal_publish", row.variant).notes)
        waits_for_nothing = "no_wait" in name or "read_wait" in name
        assert ("undefined behaviour" in notes) >= waits_for_nothing, name
        if row.sound or name.startswith("generic_store"):
            assert "undefined behaviour" not in notes, name
