"""From raw records to verdicts: every way in which a run may not say pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from written_runs import code_reading, fault, launch, settings

from sbo_verify.harness.judgement import Evidence, JudgementError, ModelAnswer, judge_run
from sbo_verify.harness.tally import WORD_OF_FAULT, UnknownFaultError
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.rates import power, upper_bound
from sbo_verify.record import CodeReading, Fault, Launch, RowVerdict, Summary
from sbo_verify.store import RAW_FILE, Run
from sbo_verify.verdict import ModelVerdict

SOUND = "full_wait-atom_release"
CANARY = "no_wait-relaxed"
LUCKY = "read_wait-release"
ROWS = (SOUND, CANARY, LUCKY)
FINISHED = "2026-11-23T22:01:00+00:00"


def healthy() -> list[Launch]:
    """A sound row that stays Never, a canary that is seen, a broken row that is not."""
    return [launch(SOUND), launch(CANARY, stale=1000), launch(LUCKY)]


def judged(
    launches: Sequence[Launch],
    *,
    rows: Sequence[str] = ROWS,
    readings: Sequence[CodeReading] | None = None,
    answers: Mapping[str, ModelAnswer] | None = None,
    silicon: bool = True,
    **others: Any,  # noqa: ANN401 - further fields
) -> tuple[dict[str, RowVerdict], Summary]:
    verdicts, summary = judge_run(
        Evidence(
            protocol=SIGNAL_PUBLISH,
            settings=settings(rows, silicon=silicon),
            code_readings=[code_reading(row) for row in rows] if readings is None else readings,
            launches=launches,
            model_answers=answers or {},
            finished=FINISHED,
            **others,
        )
    )
    assert [each.row for each in verdicts] == list(rows)
    return {each.row: each for each in verdicts}, summary


def test_a_healthy_run_passes_with_nothing_to_explain() -> None:
    verdicts, summary = judged(healthy())
    assert {row: (v.silicon, v.joint, v.outcome) for row, v in verdicts.items()} == {
        SOUND: ("Never", "sound", "pass"),
        CANARY: ("Sometimes", "broken, shown", "pass"),
        LUCKY: ("Never", "broken, works by luck here", "pass"),
    }
    assert summary == Summary(
        outcome="pass",
        exit_code=0,
        complete=True,
        reasons=[],
        finished=FINISHED,
        power=power([(1000, 1_000_000)], 1_000_000),
    )


def test_a_verdict_carries_the_sums_of_its_launches() -> None:
    launches = [
        launch(CANARY, stale=stale, observations=100, index=i, elapsed_seconds=0.25)
        for i, stale in enumerate((0, 0, 3, 1))
    ]
    verdicts, _ = judged(launches, rows=[CANARY])
    verdict = verdicts[CANARY]
    assert (verdict.stale, verdict.observations, verdict.elapsed_seconds) == (4, 400, 1.0)
    assert verdict.rounds_per_second == 400.0
    assert verdict.seconds_to_first_stale == 0.75
    assert verdict.bound == upper_bound(4, 400)


def test_a_row_always_stale_is_called_always() -> None:
    verdicts, _ = judged([launch(CANARY, stale=10, observations=10)], rows=[CANARY])
    assert verdicts[CANARY].silicon == "Always"


def test_a_stale_tile_in_a_forbidden_row_fails_the_run() -> None:
    verdicts, summary = judged([*healthy(), launch(SOUND, stale=1, index=1)])
    assert (verdicts[SOUND].joint, verdicts[SOUND].outcome) == ("ALARM: forbidden but seen", "fail")
    assert (summary.outcome, summary.exit_code) == ("fail", 1)
    (reason,) = summary.reasons
    assert reason == (
        f"{SOUND} is forbidden to be stale by the declared verdict, yet was so in 1 of 2,000,000 "
        "hand-overs"
    )


def test_an_unseen_canary_makes_the_run_unknown_and_takes_its_power() -> None:
    _, summary = judged([launch(SOUND), launch(CANARY), launch(LUCKY)])
    assert (summary.outcome, summary.exit_code, summary.power) == ("unknown", 2, 0.0)
    assert summary.reasons == [f"canary {CANARY} unseen in 1,000,000 observations"]


def test_without_any_canary_a_never_is_no_pass() -> None:
    _, summary = judged([launch(SOUND)], rows=[SOUND])
    assert (summary.outcome, summary.power) == ("unknown", None)
    assert summary.reasons == [
        "no canary took part, so that nothing shows what this run could have seen"
    ]


def test_a_canary_alone_passes_once_seen() -> None:
    _, summary = judged([launch(CANARY, stale=5)], rows=[CANARY])
    assert (summary.outcome, summary.reasons, summary.power) == ("pass", [], None)


@pytest.mark.parametrize(
    ("what", "word", "outcome", "exit_code"),
    [
        ("threshold never reached", "threshold never reached", "unknown", 2),
        ("signal overshot", "signal overshot", "fail", 1),
        ("acknowledgement never came", "unreliable", "unknown", 2),
        ("not co-resident", "unreliable", "unknown", 2),
        ("launch hung", "unreliable", "unknown", 2),
        ("worker died", "unreliable", "unknown", 2),
    ],
)
def test_a_fault_keeps_its_counts_and_its_word_wins(
    what: str, word: str, outcome: str, exit_code: int
) -> None:
    cut = launch(SOUND, observations=40, planned=100, index=1, fault=fault(what))
    verdicts, summary = judged([*healthy(), cut])
    assert (verdicts[SOUND].silicon, verdicts[SOUND].outcome) == (word, outcome)
    assert verdicts[SOUND].observations == 1_000_040
    assert verdicts[SOUND].bound == upper_bound(0, 1_000_040)
    assert (
        f"launch 1: {what}; consumer of pair 3 on SM 96 wanted 41 and saw 40 in round 41, after 2 s"
        in (verdicts[SOUND].notes)
    )
    assert (summary.outcome, summary.exit_code) == (outcome, exit_code)
    assert summary.reasons[0].startswith(f"{SOUND} has ")


def test_every_fault_that_a_record_may_hold_has_a_word() -> None:
    with pytest.raises(UnknownFaultError, match="unknown fault 'tired'; known: threshold never"):
        judged([launch(SOUND, fault=fault("tired"))])
    # The record's own list is what the kernel's author reads: neither may know a fault alone.
    listed = " ".join((Fault.__doc__ or "").split("one of:")[1].split(".")[0].split())
    assert set(listed.split(", ")) == set(WORD_OF_FAULT)


@pytest.mark.parametrize("what", ["threshold never reached", "signal overshot"])
def test_a_hang_of_a_broken_row_is_reported_and_never_fails(what: str) -> None:
    cut = launch(LUCKY, observations=0, planned=100, fault=fault(what))
    verdicts, summary = judged([*healthy()[:2], cut])
    assert (verdicts[LUCKY].silicon, verdicts[LUCKY].outcome) == (what, "pass")
    assert verdicts[LUCKY].notes[0].startswith(f"launch 0: {what}; consumer of pair 3")
    assert (summary.outcome, summary.complete, summary.reasons) == ("pass", True, [])
    canary_cut = launch(CANARY, observations=0, planned=100, fault=fault(what))
    _, summary = judged([launch(SOUND), canary_cut, launch(LUCKY)])
    assert summary.outcome == ("fail" if what == "signal overshot" else "unknown")


def test_overshoots_count_without_a_fault_record() -> None:
    verdicts, summary = judged([*healthy(), launch(SOUND, index=1, overshoots=2)])
    assert verdicts[SOUND].joint == "liveness failure"
    assert summary.reasons == [f"{SOUND} has a signal that went past its threshold"]
    assert "launch 1: the signal overshot 2 times" in verdicts[SOUND].notes


def test_an_overshoot_outweighs_a_threshold_that_was_never_reached() -> None:
    faults = ("threshold never reached", "signal overshot", "launch hung")
    for order in (faults, faults[::-1]):
        launches = [launch(SOUND, index=i, fault=fault(what)) for i, what in enumerate(order)]
        verdicts, _ = judged([*healthy(), *launches])
        assert verdicts[SOUND].silicon == "signal overshot"


@pytest.mark.parametrize("what", ["threshold never reached", "launch hung"])
def test_a_time_out_does_not_hide_a_forbidden_stale_tile(what: str) -> None:
    launches = [launch(SOUND, stale=3, index=1), launch(SOUND, index=2, fault=fault(what))]
    verdicts, summary = judged([*healthy(), *launches])
    assert verdicts[SOUND].silicon == WORD_OF_FAULT[what].value
    assert verdicts[SOUND].joint == "ALARM: forbidden but seen"
    assert (summary.outcome, len(summary.reasons)) == ("fail", 2)


DOUBTFUL: list[tuple[dict[str, Any], str]] = [
    ({"ahead_words": 7}, "launch 0: 7 words were newer than their round: a harness fault"),
    (
        {"planned": 2_000_000},
        "launch 0: 1,000,000 hand-overs observed of 2,000,000 planned, and no fault recorded",
    ),
    ({"stale_words": 4}, "launch 0: 0 stale tiles with 4 stale words"),
    ({"histogram": [1, 0]}, "launch 0: the histogram holds 1 of 0 stale words"),
]


@pytest.mark.parametrize(("changes", "note"), DOUBTFUL)
def test_counts_that_do_not_add_up_say_nothing(changes: dict[str, Any], note: str) -> None:
    verdicts, summary = judged([launch(SOUND, **changes), *healthy()[1:]])
    verdict = verdicts[SOUND]
    assert (verdict.silicon, verdict.joint, verdict.bound) == ("unreliable", "unknown", None)
    assert note in verdict.notes
    assert summary.outcome == "unknown"
    assert summary.reasons == [f"{SOUND} has counts that cannot be trusted: {verdict.notes[0]}"]


def test_stale_tiles_counted_by_a_faulty_harness_are_no_alarm() -> None:
    verdicts, _ = judged([launch(SOUND, stale=3, ahead_words=1), *healthy()[1:]])
    assert (verdicts[SOUND].joint, verdicts[SOUND].outcome) == ("unknown", "unknown")


def test_a_canary_that_cannot_be_trusted_leaves_the_power_unknown() -> None:
    _, summary = judged([launch(SOUND), launch(CANARY, stale=9, ahead_words=1), launch(LUCKY)])
    assert (summary.outcome, summary.power) == ("unknown", None)
    assert summary.reasons[0].startswith(f"canary {CANARY} has counts that cannot be trusted")


def test_a_row_without_observation_is_unknown_and_the_run_incomplete() -> None:
    verdicts, summary = judged(healthy()[:2])
    assert (verdicts[LUCKY].silicon, verdicts[LUCKY].rounds_per_second) == ("did not run", 0.0)
    assert (summary.outcome, summary.complete) == ("unknown", False)
    assert summary.reasons == [f"{LUCKY} has no observation, although silicon took part"]


def test_without_silicon_rows_are_judged_by_the_levels_that_ran() -> None:
    verdicts, summary = judged([], silicon=False)
    assert [each.joint for each in verdicts.values()] == [
        "sound by the model, silicon did not run",
        "broken by the model, silicon did not run",
        "broken by the model, silicon did not run",
    ]
    assert (summary.outcome, summary.complete, summary.power) == ("pass", True, None)


def test_a_row_that_no_level_examined_is_unknown() -> None:
    verdicts, summary = judged([], silicon=False, readings=[code_reading(r) for r in ROWS[1:]])
    assert (verdicts[SOUND].code, verdicts[SOUND].outcome) == ("not read", "unknown")
    assert (summary.outcome, summary.complete) == ("unknown", False)
    assert summary.reasons == [f"{SOUND} was examined neither in compiled code nor on silicon"]


def test_code_that_differs_fails_whatever_the_silicon_shows() -> None:
    other = code_reading(
        SOUND, verdict="differs", differences=["producer.drain: .read"], cubin_sha256="c" * 64
    )
    readings = [*(code_reading(row) for row in ROWS), other]
    verdicts, summary = judged(healthy(), readings=readings)
    assert (verdicts[SOUND].code, verdicts[SOUND].joint) == (
        "differs",
        "code is not what was declared",
    )
    assert "the code was read from cubins that are not the same" in verdicts[SOUND].notes
    assert (summary.outcome, summary.reasons) == (
        "fail",
        [f"{SOUND} has compiled code that is not what was declared: producer.drain: .read"],
    )


def test_computed_answers_are_marked_and_their_notes_kept() -> None:
    answers = {SOUND: (ModelVerdict.FORBIDDEN, ["12 executions, none stale"])}
    verdicts, summary = judged(healthy(), answers=answers)
    assert [each.model_source for each in verdicts.values()] == ["computed", "declared", "declared"]
    assert verdicts[SOUND].notes == ["12 executions, none stale"]
    assert summary.outcome == "pass"


def test_a_computed_answer_that_contradicts_the_catalogue_is_never_a_pass() -> None:
    answers = {SOUND: (ModelVerdict.ALLOWED, ["a stale execution"])}
    verdicts, summary = judged(healthy(), answers=answers)
    assert verdicts[SOUND].joint == "broken, works by luck here"
    assert summary.reasons == [
        f"{SOUND} was computed as Allowed, and the catalogue declares Forbidden"
    ]
    assert (verdicts[SOUND].outcome, summary.outcome) == ("unknown", "unknown")


def test_a_model_without_an_answer_leaves_the_row_unknown() -> None:
    _, summary = judged(healthy(), answers={SOUND: (ModelVerdict.UNKNOWN, ["budget spent"])})
    assert summary.outcome == "unknown"
    assert summary.reasons == [f"{SOUND} has no verdict from the model level"]


def test_allowed_and_never_is_noted_with_the_words_of_the_catalogue() -> None:
    verdicts, _ = judged(healthy())
    (note,) = verdicts[LUCKY].notes
    assert note == (
        "the PTX ISA allows a stale read here: `.read` waits for the source to be read, and a "
        "release covers no pending bulk store (DeepGEMM#183, 2025-09-05; ThunderKittens#194)"
    )


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ({"interrupted": True}, "the run ended before it was complete"),
        ({"torn_lines": ["raw.jsonl line 3"]}, "a record was lost: raw.jsonl line 3"),
    ],
)
def test_an_incomplete_record_is_unknown(others: dict[str, Any], reason: str) -> None:
    _, summary = judged(healthy(), **others)
    assert (summary.outcome, summary.complete, summary.reasons) == ("unknown", False, [reason])


def test_power_speaks_of_the_row_with_the_fewest_observations() -> None:
    few = [launch(SOUND, observations=500), launch(CANARY, stale=1000), launch(LUCKY)]
    _, summary = judged(few)
    assert summary.power == power([(1000, 1_000_000)], 500)
    assert 0.3 < (summary.power or 0) < 0.4


def test_records_that_do_not_belong_are_refused() -> None:
    with pytest.raises(JudgementError, match=r"of row 'poll_equal', not one of this run"):
        judged([*healthy(), launch("poll_equal")])
    with pytest.raises(JudgementError, match=r"was variant 0{12} and is now [0-9a-f]{12}; read"):
        judged([replace(launch(SOUND), variant="0" * 12)])
    with pytest.raises(JudgementError, match=r"catalogue has changed since this run: no variant"):
        judged([], rows=["gone"])
    with pytest.raises(JudgementError, match=r"model answered for rows .*: poll_equal"):
        judged([], answers={"poll_equal": (ModelVerdict.FORBIDDEN, [])})
    with pytest.raises(JudgementError, match=r"silicon does not take part, yet there are launches"):
        judged(healthy(), silicon=False)


WORDS = st.sampled_from(sorted(WORD_OF_FAULT))
LAUNCHES = st.lists(
    st.builds(
        lambda row, stale, ahead, what: launch(
            row, stale, observations=50, ahead_words=ahead, fault=what and fault(what)
        ),
        st.sampled_from(ROWS),
        st.integers(0, 50),
        st.integers(0, 1),
        st.none() | WORDS,
    ),
    max_size=8,
)


@given(LAUNCHES)
def test_the_summary_is_never_better_than_its_worst_row(launches: list[Launch]) -> None:
    verdicts, summary = judged(launches)
    rank = ["pass", "unknown", "fail"]
    assert rank.index(summary.outcome) >= max(rank.index(v.outcome) for v in verdicts.values())
    assert (summary.outcome == "pass") == (not summary.reasons)


@given(LAUNCHES)
def test_a_pass_means_that_all_was_seen_that_had_to_be_and_nothing_that_must_not(
    launches: list[Launch],
) -> None:
    verdicts, summary = judged(launches)
    if summary.outcome == "pass":
        assert verdicts[SOUND].stale == 0 < verdicts[SOUND].observations
        assert verdicts[CANARY].stale > 0
        assert not [each for each in launches if each.ahead_words]
        assert not [each for each in launches if each.fault and each.row != LUCKY]


def written(run: Run, launches: Sequence[Launch]) -> None:
    for row in ROWS:
        run.append(code_reading(row))
    for each in launches:
        run.append(each)


def test_an_old_run_is_judged_again_to_the_same_words(tmp_path: Path) -> None:
    run = Run.create(tmp_path, settings(ROWS))
    written(run, healthy()[:2])
    first = judge_run(Evidence.of_run(SIGNAL_PUBLISH, run, interrupted=False))
    run.finish(*first)
    again = judge_run(Evidence.of_run(SIGNAL_PUBLISH, Run.open(run.path)))
    assert again == first
    assert first[1].reasons == [f"{LUCKY} has no observation, although silicon took part"]


def test_a_run_that_ended_before_its_verdict_was_interrupted(tmp_path: Path) -> None:
    run = Run.create(tmp_path, settings(ROWS))
    written(run, healthy())
    with (run.path / RAW_FILE).open("ab") as stream:
        stream.write(b'{"kind": "lau')
    first = judge_run(Evidence.of_run(SIGNAL_PUBLISH, run))
    assert first[1].reasons == [
        "the run ended before it was complete",
        "a record was lost: raw.jsonl line 7 (the last line, 13 bytes) is torn: its record is lost",
    ]
    run.finish(*first)
    assert judge_run(Evidence.of_run(SIGNAL_PUBLISH, run)) == first
