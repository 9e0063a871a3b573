"""The catalogue of `signal_publish` keeps its promises: history, real cases, mutants, sources."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest

from sbo_verify.protocol import Row
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.protocols.signal_publish.catalogue import HISTORY, MUTANTS
from sbo_verify.protocols.signal_publish.sites import SITES, SignalPublish

# The history of the public signal GEMM in the order of its commits: (drain, publish).
STEPS_OF_DEEPGEMM_183 = [
    ("none", "red_relaxed"),
    ("read", "fence_sc_atomic_add"),
    ("read", "atom_release"),
    ("full", "fence_sc_atomic_add"),
    ("full", "atom_release"),
    ("full", "atomic_ref_release"),
]

# Real cases: a part of the source's text, and the choices that make the case what it is.
REAL_CASES = {
    "triton#10415, before": {"store": "tensor", "drain": "read", "publish": "atom_release"},
    "triton#10415, as merged": {"store": "tensor", "drain": "full", "publish": "atom_release"},
    "ThunderKittens#194, gemm_ar": {
        "drain": "read",
        "publish": "red_release",
        "publish_scope": "sys",
        "poll": "ld_relaxed",
        "fan_out": "cta_barrier",
    },
    "DeepEP before b306af0": {
        "drain": "read",
        "publish": "st_release",
        "publish_scope": "sys",
        "poll": "ld_acquire",
        "poll_scope": "sys",
        "read": "tma",
    },
    "DeepEP#621": {"poll": "ld_acquire", "read": "tma", "test": "equal"},
    "DeepEP#249": {"poll": "plain_then_acquire"},
    "flashinfer grouped_gemm_masked": {"drain": "full", "moment": "deferred"},
    "flashinfer#4742": {"drain": "read", "publish": "red_relaxed", "poll": "ld_relaxed"},
    "vLLM#8404": {"publish": "st_volatile", "poll": "ld_volatile"},
    "vLLM#57059": {"publish": "st_relaxed", "poll": "ld_relaxed"},
    "HIP port": {"join": "none", "publisher": "issuer", "issuers": "two"},
    "DeepGEMM mega_moe": {"store": "generic", "read": "tma"},
    "nccl#2306": {"test": "equal_reused"},
    "cutlass#2775": {"store": "generic", "publish": "st_relaxed"},
    "DeepEP#136": {"read": "nc"},
    "DeepEP#380": {"fan_out": "unordered"},
}

# Choices that no row makes, each with its reason.
UNUSED = {
    ("drain", "read_but_newest"): "read waits are broken with any N; rows show it with N = 0",
    ("poll_scope", "cluster"): "a poll too narrow is shown at cta scope",
    ("place", "host"): "a CPU thread reads in a catalogue of its own, `host.py`",
}


def test_the_catalogue_has_sound_and_broken_rows_and_canaries_enough() -> None:
    kinds = Counter((row.sound, row.canary) for row in SIGNAL_PUBLISH)
    assert len(SIGNAL_PUBLISH.rows) >= 40
    assert kinds[True, False] >= 20
    assert kinds[False, True] >= 20
    assert kinds[False, False] >= 10
    assert kinds[True, True] == 0, "a sound row cannot be a canary"


def test_the_history_of_the_signal_gemm_stands_in_order() -> None:
    told = [(row.variant.words()["drain"], row.variant.words()["publish"]) for row in HISTORY]
    assert told == STEPS_OF_DEEPGEMM_183
    assert [row.sound for row in HISTORY] == [False, False, False, True, True, True]
    for row in HISTORY:
        assert row.source.startswith("DeepGEMM#183")
        assert row.variant.words()["store"] == "tensor"


@pytest.mark.parametrize("source", REAL_CASES)
def test_every_real_case_has_a_row(source: str) -> None:
    rows = [row for row in SIGNAL_PUBLISH if source in row.source]
    assert rows, f"no row has {source} as its source"
    fitting = [row for row in rows if REAL_CASES[source].items() <= row.variant.words().items()]
    assert fitting, f"{[row.name for row in rows]} lack {REAL_CASES[source]}"


def nearest(row: Row) -> int:
    """How many sites lie between a row and the nearest sound one."""
    return min(
        len(row.variant.differences(sound.variant)) for sound in SIGNAL_PUBLISH if sound.sound
    )


def test_a_mutant_is_one_or_two_sites_away_from_a_sound_row() -> None:
    assert {row.name: nearest(row) for row in MUTANTS if nearest(row) not in {1, 2}} == {}
    alone = sum(nearest(row) == 1 for row in MUTANTS)
    assert alone >= 30


def test_a_variant_far_from_every_sound_row_would_be_noticed() -> None:
    words = SignalPublish().words() | {
        "drain": "none",
        "join": "none",
        "publish": "red_relaxed",
        "poll": "ld_relaxed",
    }
    far = SIGNAL_PUBLISH.variant(words)
    assert nearest(replace(SIGNAL_PUBLISH.row("full_wait-atom_release"), variant=far)) > 2


def unused_choices(rows: tuple[Row, ...]) -> set[tuple[str, str]]:
    """Site and word of every choice that no row makes."""
    used = {item for row in rows for item in row.variant.words().items()}
    return {(site, choice.word) for site, kind in SITES.items() for choice in kind} - used


def test_every_choice_is_made_by_some_row_or_listed_with_a_reason() -> None:
    assert unused_choices(SIGNAL_PUBLISH.rows) == set(UNUSED)


def test_a_choice_that_no_row_makes_is_found() -> None:
    rows = tuple(row for row in SIGNAL_PUBLISH if row.variant.words()["read"] != "nc")
    assert ("read", "nc") in unused_choices(rows)


def untold(row: Row) -> list[str]:
    """What is wrong with the sentence and the source of a row."""
    complaints = []
    if not row.source.strip():
        complaints.append("no source")
    if not row.because.strip() or row.because != row.because.strip():
        complaints.append("no reason")
    if row.because.endswith(".") or re.search(r"[.!?] +[A-Z]|\n", row.because):
        complaints.append("more than one clause of a sentence")
    return complaints


@pytest.mark.parametrize("row", SIGNAL_PUBLISH.rows, ids=lambda row: row.name)
def test_a_row_gives_one_reason_and_a_source(row: Row) -> None:
    assert untold(row) == []


def test_a_row_without_a_reason_or_with_too_many_is_found() -> None:
    row = SIGNAL_PUBLISH.row("full_wait-atom_release")
    assert untold(replace(row, because="", source=" ")) == ["no source", "no reason"]
    assert untold(replace(row, because="It is. It is not")) != []
    assert untold(replace(row, because="it is.")) != []
