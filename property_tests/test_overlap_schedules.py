"""Schedules: those that are measured can run, and those that would hang or crowd are refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbo_verify.device.lanes import Lane, Step, Work
from sbo_verify.harness.overlap_schedules import (
    ScheduleError,
    Split,
    check_schedule,
    complaints_of,
    down_beside_send,
    down_then_send,
    one_batch,
    two_batches,
)

SMS = 132
COMPUTE, LINK = Lane.COMPUTE, Lane.LINK
splits = st.integers(1, SMS - 1).map(lambda link: Split(SMS, link))
layers = st.integers(1, 5)


@given(splits, layers, st.tuples(st.booleans(), st.booleans()))
def test_every_schedule_of_one_batch_can_run(
    split: Split, count: int, overlaps: tuple[bool, bool]
) -> None:
    receive, send = overlaps
    steps = one_batch(count, split, receive_overlaps=receive, send_overlaps=send)
    check_schedule(steps, SMS)
    down, sent = (Work.DOWN_BY_SIGNALS, Work.SEND_BY_SIGNALS) if send else (Work.DOWN, Work.SEND)
    works = {Work.RECEIVE, Work.SHARED, Work.UP, down, sent, *({Work.CLEAR} if send else ())}
    assert Counter(step.work for step in steps) == dict.fromkeys(works, count)
    assert {step.lane for step in steps} == ({COMPUTE, LINK} if receive or send else {COMPUTE})


@given(splits, layers)
def test_two_batches_do_each_layer_twice_in_halves(split: Split, count: int) -> None:
    steps = two_batches(count, split)
    check_schedule(steps, SMS)
    works = (Work.RECEIVE, Work.SHARED, Work.UP, Work.DOWN, Work.SEND)
    wanted = {(work, half): count for work in works for half in (1, 2)}
    assert Counter((step.work, step.part) for step in steps) == wanted
    on_link = {step.work for step in steps if step.lane is LINK}
    assert on_link == {Work.RECEIVE, Work.SEND}


@given(splits)
def test_pairs_can_run(split: Split) -> None:
    check_schedule(down_beside_send(split), SMS)
    check_schedule(down_then_send(split.sms, split.link), SMS)


def test_in_turn_the_whole_device_is_a_link_of_all_its_sms() -> None:
    steps = one_batch(2, Split(SMS, SMS), receive_overlaps=False, send_overlaps=False)
    assert {step.sms for step in steps} == {SMS}
    check_schedule(steps, SMS)


def test_two_batches_wait_for_what_they_read() -> None:
    """Each step of a half follows, in some way, the one before it in the half's own layer."""
    steps = two_batches(3, Split(SMS, 3))
    for half in (1, 2):
        mine = [place for place, step in enumerate(steps) if step.part == half]
        sends = [place for place in mine if steps[place].work is Work.SEND]
        downs = [place for place in mine if steps[place].work is Work.DOWN]
        assert all(down in steps[send].after for down, send in zip(downs, sends, strict=True))
        shared = [place for place in mine if steps[place].work is Work.SHARED]
        assert [steps[place].after for place in shared[1:]] == [(send,) for send in sends[:-1]]


SPLIT = Split(SMS, 3)


def overlapped() -> list[Step]:
    return one_batch(2, SPLIT, receive_overlaps=True, send_overlaps=True)


def changed(steps: list[Step], work: Work, turn: int, **change: object) -> list[Step]:
    """The same schedule with one step, the `turn`-th of its work, changed."""
    place = [place for place, step in enumerate(steps) if step.work is work][turn]
    fields: dict[str, object] = {"after": steps[place].after} | change
    steps[place] = replace(steps[place], **fields)  # type: ignore[arg-type]  # fields of Step
    return steps


@pytest.mark.parametrize(
    ("steps", "complaint"),
    [
        (
            down_then_send(SMS + 1, 3),
            "step 0 (down) takes 133 SMs of 132",
        ),
        (
            [Step(Work.DOWN_BY_SIGNALS, COMPUTE, SMS), Step(Work.SEND_BY_SIGNALS, LINK, 3)],
            "step 0 (down by signals) and step 1 (send by signals) may run at once and take 135",
        ),
        (
            [
                Step(Work.SEND_BY_SIGNALS, LINK, 3),
                Step(Work.DOWN_BY_SIGNALS, COMPUTE, 129, after=(0,)),
            ],
            "step 0 (send by signals) waits for step 1 (down by signals), which follows it",
        ),
        (
            [Step(Work.SEND_BY_SIGNALS, LINK, 3)],
            "0 GEMMs signal and 1 Combine Sends wait for signals",
        ),
        # The up GEMM of the next layer needs all SMs while this layer's rows are still sent.
        (changed(overlapped(), Work.UP, 1, after=()), "may run at once and take 135 SMs of 132"),
        # Signals that nobody zeroed between two layers are at the threshold from the start.
        (
            changed(overlapped(), Work.DOWN_BY_SIGNALS, 1, after=()),
            "the signals are not zero again when step 10 (down by signals) begins",
        ),
        (
            down_beside_send(SPLIT) * 2,
            "the signals are not zero again when step 2 (down by signals) begins",
        ),
    ],
)
def test_a_schedule_that_would_hang_or_crowd_is_refused(steps: list[Step], complaint: str) -> None:
    assert any(complaint in found for found in complaints_of(steps, SMS))
    with pytest.raises(ScheduleError):
        check_schedule(steps, SMS)
