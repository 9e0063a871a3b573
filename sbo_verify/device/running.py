"""A launch while it runs: what the host may ask of it, and do beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Running:
    """A launch as the host sees it while it runs.

    `ended` asks whether it has, and raises `LaunchFailedError` where the GPU ended it; `stop` tells
    its threads to.
    """

    first_tag: int
    ended: Callable[[], bool]
    stop: Callable[[], None]


# What the host does beside a launch, which nobody waits for before this has returned.
Beside = Callable[[Running], None]
