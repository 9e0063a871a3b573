"""What is asked of a hand-over: one stale read of one half of one tile, in a program of its own."""

from __future__ import annotations

from dataclasses import dataclass

from sbo_verify.model.program import Program

ANSWER = "r9"


@dataclass(frozen=True, slots=True)
class Query:
    """One question: may a thread see the old contents of one half of one tile?

    `asked_thread` is its index in the program, `reader` its index among the readers.
    """

    program: Program
    tile: int
    half: int
    asked_thread: int
    reader: int
    register: str = ANSWER

    @property
    def target(self) -> str:
        """The part of the tile in global memory."""
        return target_name(self.tile, self.half)

    @property
    def signal(self) -> str:
        """The signal of the tile."""
        return signal_name(self.tile)

    @property
    def name(self) -> str:
        """Which half of which tile is read by whom."""
        return self.program.name


@dataclass(frozen=True, slots=True)
class Setting:
    """Who takes part: how many CTAs add to the signal, and on which GPU the consumer runs.

    `producers` is the threshold; a flag that is stored has one. The producers run on GPU 0.
    """

    producers: int = 1
    consumer_gpu: int = 0


def target_name(tile: int, half: int) -> str:
    """The memory that holds a half of a tile."""
    return f"tile{tile}half{half}"


def signal_name(tile: int) -> str:
    """The memory that holds a tile's signal."""
    return f"signal{tile}"
