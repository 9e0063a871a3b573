"""Waiting for a launch: it ends, it goes on for too long, or it failed and is not waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from enum import IntEnum
from itertools import chain, repeat
from types import SimpleNamespace
from typing import Any

import pytest

from sbo_verify.device import driver, micro_kernel
from sbo_verify.device.driver import DriverError, has_passed
from sbo_verify.device.micro_kernel import LaunchFailedError

WAIT: Callable[[Any, float], bool] = vars(micro_kernel)["_wait"]
EVENT = SimpleNamespace(ptr=4096)
FAR_TOO_LONG_SECONDS = 60.0


class CUresult(IntEnum):
    """Some of the driver's, as in cuda.h."""

    CUDA_SUCCESS = 0
    CUDA_ERROR_NOT_READY = 600
    CUDA_ERROR_ILLEGAL_ADDRESS = 700


def answering(monkeypatch: pytest.MonkeyPatch, *answers: CUresult) -> None:
    """A driver that gives these answers about an event, and the last again and again."""
    given: Iterator[CUresult] = chain(answers, repeat(answers[-1]))
    made = SimpleNamespace(
        CUresult=CUresult, CUevent=lambda handle: handle, cuEventQuery=lambda _: (next(given),)
    )
    monkeypatch.setattr(driver, "driver", lambda: made)


def test_an_event_has_passed_has_not_or_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(
        monkeypatch,
        CUresult.CUDA_ERROR_NOT_READY,
        CUresult.CUDA_SUCCESS,
        CUresult.CUDA_ERROR_ILLEGAL_ADDRESS,
    )
    assert not has_passed(EVENT.ptr)
    assert has_passed(EVENT.ptr)
    with pytest.raises(DriverError, match="CUDA_ERROR_ILLEGAL_ADDRESS"):
        has_passed(EVENT.ptr)


def test_a_launch_that_ends_in_time_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(
        monkeypatch,
        CUresult.CUDA_ERROR_NOT_READY,
        CUresult.CUDA_ERROR_NOT_READY,
        CUresult.CUDA_SUCCESS,
    )
    assert WAIT(EVENT, FAR_TOO_LONG_SECONDS)


def test_a_launch_that_goes_on_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, CUresult.CUDA_ERROR_NOT_READY)
    assert not WAIT(EVENT, 0.01)


def test_a_launch_that_failed_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, CUresult.CUDA_ERROR_NOT_READY, CUresult.CUDA_ERROR_ILLEGAL_ADDRESS)
    began = time.monotonic()
    with pytest.raises(LaunchFailedError, match="CUDA_ERROR_ILLEGAL_ADDRESS"):
        WAIT(EVENT, FAR_TOO_LONG_SECONDS)
    assert time.monotonic() - began < FAR_TOO_LONG_SECONDS / 2
