"""The joint table, the one ranking and the exit codes, pinned in full."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbo_verify.verdict import (
    CodeVerdict,
    ExitCode,
    Joint,
    ModelVerdict,
    Outcome,
    SiliconVerdict,
    classify,
    exit_code,
    join,
    judge,
    worst,
)

FORBIDDEN, ALLOWED, NO_MODEL = ModelVerdict.FORBIDDEN, ModelVerdict.ALLOWED, ModelVerdict.UNKNOWN
NEVER, SOMETIMES, ALWAYS = SiliconVerdict.NEVER, SiliconVerdict.SOMETIMES, SiliconVerdict.ALWAYS
NOT_RUN, UNRELIABLE = SiliconVerdict.NOT_RUN, SiliconVerdict.UNRELIABLE
NOT_REACHED, OVERSHOT = SiliconVerdict.THRESHOLD_NEVER_REACHED, SiliconVerdict.OVERSHOT

# For code that is as declared, or that was not read.
JOINT = {
    (FORBIDDEN, NEVER): Joint.SOUND,
    (FORBIDDEN, SOMETIMES): Joint.ALARM,
    (FORBIDDEN, ALWAYS): Joint.ALARM,
    (FORBIDDEN, NOT_RUN): Joint.SOUND_BY_MODEL,
    (FORBIDDEN, NOT_REACHED): Joint.LIVENESS,
    (FORBIDDEN, OVERSHOT): Joint.LIVENESS,
    (FORBIDDEN, UNRELIABLE): Joint.UNKNOWN,
    (ALLOWED, NEVER): Joint.BROKEN_UNSEEN,
    (ALLOWED, SOMETIMES): Joint.BROKEN_SHOWN,
    (ALLOWED, ALWAYS): Joint.BROKEN_SHOWN,
    (ALLOWED, NOT_RUN): Joint.BROKEN_BY_MODEL,
    (ALLOWED, NOT_REACHED): Joint.LIVENESS,
    (ALLOWED, OVERSHOT): Joint.LIVENESS,
    (ALLOWED, UNRELIABLE): Joint.UNKNOWN,
    (NO_MODEL, NEVER): Joint.UNKNOWN,
    (NO_MODEL, SOMETIMES): Joint.UNKNOWN,
    (NO_MODEL, ALWAYS): Joint.UNKNOWN,
    (NO_MODEL, NOT_RUN): Joint.UNKNOWN,
    (NO_MODEL, NOT_REACHED): Joint.LIVENESS,
    (NO_MODEL, OVERSHOT): Joint.LIVENESS,
    (NO_MODEL, UNRELIABLE): Joint.UNKNOWN,
}

# What a gate makes of a row of which silicon was asked: sound, canary, merely broken.
PASS, UNKNOWN, FAIL = Outcome.PASS, Outcome.UNKNOWN, Outcome.FAIL
GATE = {
    NEVER: (PASS, UNKNOWN, PASS),
    SOMETIMES: (FAIL, PASS, PASS),
    ALWAYS: (FAIL, PASS, PASS),
    NOT_RUN: (UNKNOWN, UNKNOWN, UNKNOWN),
    NOT_REACHED: (UNKNOWN, UNKNOWN, PASS),
    OVERSHOT: (FAIL, FAIL, PASS),
    UNRELIABLE: (UNKNOWN, UNKNOWN, UNKNOWN),
}
# (sound, canary), in the order of the columns above.
KINDS = ((True, False), (False, True), (False, False))

SIGHTED = {SOMETIMES, ALWAYS}


def everything() -> list[tuple[ModelVerdict, CodeVerdict, SiliconVerdict, bool, bool, bool]]:
    """Every row that can be: the words of the levels, sound, canary, and whether silicon ran."""
    return [
        (model, code, silicon, sound, canary, ran)
        for (model, code, silicon) in product(ModelVerdict, CodeVerdict, SiliconVerdict)
        for sound, canary in KINDS
        for ran in (True, False)
    ]


def outcome_of(
    model: ModelVerdict,
    code: CodeVerdict,
    silicon: SiliconVerdict,
    kind: tuple[bool, bool],
    *,
    ran: bool = True,
) -> Outcome:
    sound, canary = kind
    joint = join(model, code, silicon)
    return judge(joint, silicon, sound=sound, canary=canary, silicon_ran=ran)


# ---- the joint table ------------------------------------------------------------------------


def test_the_table_has_every_combination() -> None:
    assert set(JOINT) == set(product(ModelVerdict, SiliconVerdict))
    assert {*JOINT.values(), Joint.CODE_DIFFERS} == set(Joint)


@pytest.mark.parametrize("code", [CodeVerdict.AS_DECLARED, CodeVerdict.NOT_READ])
@pytest.mark.parametrize(("model", "silicon"), JOINT)
def test_the_levels_together_say_what_the_table_says(
    model: ModelVerdict, code: CodeVerdict, silicon: SiliconVerdict
) -> None:
    assert join(model, code, silicon) is JOINT[model, silicon]


@pytest.mark.parametrize(("model", "silicon"), JOINT)
def test_code_that_differs_comes_before_every_other_word(
    model: ModelVerdict, silicon: SiliconVerdict
) -> None:
    assert join(model, CodeVerdict.DIFFERS, silicon) is Joint.CODE_DIFFERS


# ---- the ranking and the exit codes ---------------------------------------------------------


def test_fail_outranks_unknown_and_unknown_outranks_pass() -> None:
    assert worst([PASS, UNKNOWN, FAIL]) is FAIL
    assert worst([UNKNOWN, PASS]) is UNKNOWN
    assert worst([PASS, PASS]) is PASS


def test_nothing_at_all_is_unknown() -> None:
    assert worst([]) is UNKNOWN


@given(st.lists(st.sampled_from(Outcome), min_size=1))
def test_the_worst_is_one_of_them_whatever_their_order(outcomes: list[Outcome]) -> None:
    found = worst(outcomes)
    assert found in outcomes
    assert found is worst(reversed(outcomes))
    assert (found is FAIL) == (FAIL in outcomes)
    assert (found is PASS) == (set(outcomes) == {PASS})
    assert worst([*outcomes, UNKNOWN]) in {FAIL, UNKNOWN}


def test_exit_codes_are_those_of_the_design() -> None:
    assert {outcome: int(exit_code(outcome)) for outcome in Outcome} == {
        PASS: 0,
        FAIL: 1,
        UNKNOWN: 2,
    }
    assert {code.name: int(code) for code in ExitCode} == {
        "PASS": 0,
        "FAIL": 1,
        "UNKNOWN": 2,
        "USAGE": 254,
        "INTERNAL": 255,
    }


# ---- what counts say ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stale", "observations", "word"),
    [
        (0, 0, NOT_RUN),
        (0, 1, NEVER),
        (1, 1, ALWAYS),
        (1, 2, SOMETIMES),
        (10**9, 10**9, ALWAYS),
        (10**9 - 1, 10**9, SOMETIMES),
    ],
)
def test_counts_are_classified(stale: int, observations: int, word: SiliconVerdict) -> None:
    assert classify(stale, observations) is word


@pytest.mark.parametrize(("stale", "observations"), [(1, 0), (2, 1), (-1, 5), (0, -1)])
def test_counts_that_cannot_be_are_refused(stale: int, observations: int) -> None:
    with pytest.raises(ValueError, match=f"{stale} stale tiles in {observations} observations"):
        classify(stale, observations)


# ---- what a gate makes of a row -------------------------------------------------------------


@pytest.mark.parametrize("silicon", SiliconVerdict)
def test_a_gate_judges_sound_rows_canaries_and_broken_rows(silicon: SiliconVerdict) -> None:
    models = (FORBIDDEN, ALLOWED, ALLOWED)
    got = tuple(
        outcome_of(model, CodeVerdict.AS_DECLARED, silicon, kind)
        for model, kind in zip(models, KINDS, strict=True)
    )
    assert got == GATE[silicon]


@pytest.mark.parametrize(
    ("kind", "model"), [(KINDS[0], FORBIDDEN), (KINDS[1], ALLOWED), (KINDS[2], ALLOWED)]
)
def test_without_silicon_a_row_passes_by_the_levels_that_ran(
    kind: tuple[bool, bool], model: ModelVerdict
) -> None:
    assert outcome_of(model, CodeVerdict.AS_DECLARED, NOT_RUN, kind, ran=False) is PASS
    assert outcome_of(model, CodeVerdict.DIFFERS, NOT_RUN, kind, ran=False) is FAIL
    assert outcome_of(NO_MODEL, CodeVerdict.AS_DECLARED, NOT_RUN, kind, ran=False) is UNKNOWN


def broken_rules(
    model: ModelVerdict,
    code: CodeVerdict,
    silicon: SiliconVerdict,
    kind: tuple[bool, bool],
    outcome: Outcome,
) -> list[str]:
    """The rules of the design that `outcome` breaks for a row that silicon was asked of."""
    sound, canary = kind
    joint = join(model, code, silicon)
    alarm = joint in {Joint.ALARM, Joint.CODE_DIFFERS}
    rules = {
        "an alarm fails": not alarm or outcome is FAIL,
        "a canary unseen never passes": not canary or silicon in SIGHTED or outcome is not PASS,
        "a broken row that is no canary never fails": (
            sound or canary or alarm or outcome is not FAIL
        ),
        "nothing observed is no pass": silicon is not NOT_RUN or outcome is not PASS,
        "a sound row passes only when Never": (
            not sound or silicon is NEVER or outcome is not PASS
        ),
        "a row declared sound fails when it is seen stale": (
            not sound or silicon not in SIGHTED or outcome is FAIL
        ),
        "untrusted counts are no pass": silicon is not UNRELIABLE or outcome is not PASS,
    }
    return [rule for rule, holds in rules.items() if not holds]


def test_the_rules_of_the_design_hold_for_every_row_that_can_be() -> None:
    for model, code, silicon, sound, canary, ran in everything():
        if ran:
            kind = (sound, canary)
            outcome = outcome_of(model, code, silicon, kind)
            broken = broken_rules(model, code, silicon, kind, outcome)
            assert broken == [], (model, code, silicon, kind, outcome)


def test_a_gate_that_always_passes_would_break_the_rules() -> None:
    broken = {
        rule
        for model, code, silicon, sound, canary, _ran in everything()
        for outcome in (PASS, FAIL)
        for rule in broken_rules(model, code, silicon, (sound, canary), outcome)
    }
    assert len(broken) == 7


@given(st.sampled_from(everything()))
def test_code_that_differs_never_betters_a_row(
    row: tuple[ModelVerdict, CodeVerdict, SiliconVerdict, bool, bool, bool],
) -> None:
    model, code, silicon, sound, canary, ran = row
    outcome = outcome_of(model, code, silicon, (sound, canary), ran=ran)
    differing = outcome_of(model, CodeVerdict.DIFFERS, silicon, (sound, canary), ran=ran)
    assert worst([outcome, differing]) is differing
    # A row judged by fewer levels is never judged more harshly.
    without = outcome_of(model, code, silicon, (sound, canary), ran=False)
    assert worst([outcome, without]) is outcome or not ran
