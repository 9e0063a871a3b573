"""SIGTERM and SIGHUP are taken as Ctrl-C is: the run ends, interrupted, and exits with 2."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_ENDING = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def endings_as_interrupts() -> Iterator[None]:
    """Raise `KeyboardInterrupt` in the body where one of these signals comes.

    A signal that the caller ignores, as nohup does, or handles itself stays as it is. Elsewhere
    than in the main thread nothing is changed: Python has signal handlers there alone.
    """
    taken = take_endings_as_interrupts()
    try:
        yield
    finally:
        for each in taken:
            signal.signal(each, signal.SIG_DFL)


def take_endings_as_interrupts() -> list[signal.Signals]:
    """The same from now on, until the process ends; the signals that were changed."""
    if threading.current_thread() is not threading.main_thread():
        return []
    taken = [each for each in _ENDING if signal.getsignal(each) is signal.SIG_DFL]
    for each in taken:
        signal.signal(each, _interrupt)
    return taken


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
