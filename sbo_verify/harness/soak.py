"""A gate of an hour and more: goes on after any interruption from what is on disk, and stays small.

Rows take turns; the next one is always that which has had the least GPU time for its share, so
that the run on disk alone says how to go on. A launch is recorded when it ends, and each row goes
on behind its last one: nothing is launched twice. What is on disk is folded whenever it has grown
by `fold_bytes`, by writing it aside and renaming it.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sbo_verify.harness.folding import folder, gaps, is_odd, last_index, launches_in
from sbo_verify.harness.gate import share_of
from sbo_verify.harness.session import (
    Plan,
    ReadRow,
    StressBench,
    read_code,
    read_model,
    stress_row,
)
from sbo_verify.harness.stressed_kernels import modelled
from sbo_verify.protocol import Row
from sbo_verify.record import Footprint, Launch
from sbo_verify.store import RAW_FILE, DiskError, Run
from sbo_verify.verdict import CodeVerdict

MIB = 1 << 20
FOLD_BYTES = 4 * MIB
# A sound row's turn is so many seconds of GPU time, or such a part of a short soak.
TURN_SECONDS = 2.0
TURNS = 100
# A row with so many launches that ended in a fault or cannot be trusted is unknown, and stays so.
ODD_LIMIT = 100
FOOTPRINTS = 120


@dataclass
class RowState:
    """Where one row is: its next launch, its GPU time so far, and its launches that are odd."""

    next_index: int = 0
    seconds: float = 0.0
    charged: float = 0.0
    odd: int = 0

    def take(self, launch: Launch) -> None:
        """One record of the row, in the order of writing."""
        self.next_index = max(self.next_index, last_index(launch) + 1)
        self.seconds += launch.elapsed_seconds
        self.charged += launch.elapsed_seconds
        self.odd += is_odd(launch)


@dataclass
class Soak:
    """One process's part in a soak. `plan.seconds` is the GPU time of the whole soak.

    `read` is what reads a row's compiled code; `on_launch` hears of every launch.
    """

    run: Run
    bench: StressBench
    plan: Plan
    read: ReadRow
    on_launch: Callable[[Launch], None] = lambda _launch: None
    fold_bytes: int = FOLD_BYTES
    rows: dict[str, RowState] = field(init=False, default_factory=dict)
    launches: int = field(init=False, default=0)
    process: int = field(init=False, default=1)
    _began: float = field(init=False, default_factory=time.monotonic)
    _folded_bytes: int = field(init=False, default=0)
    _noted: float = field(init=False, default=0.0)

    @property
    def seconds(self) -> float:
        """GPU time of the run so far, whichever process spent it."""
        return sum(state.seconds for state in self.rows.values())

    def go_on(self) -> bool:
        """Stress until the plan's time is used; False where nothing could be launched any more.

        Raises `StoreError` where another process is at work in the run, `GpuLostError` and
        `DiskError` after recording.
        """
        with self.run.alone():
            try:
                ended = self._take_turns(self._begin())
            except BaseException:
                # What ended the soak is said, and not that there is no room to fold.
                with suppress(DiskError):
                    self._fold()
                raise
            self._fold()
            return ended

    def _begin(self) -> list[Row]:
        raw = self.run.raw()
        self.rows = {row.name: RowState() for row in self.plan.rows}
        for launch in raw.launches:
            self.rows[launch.row].take(launch)
            self.launches += launches_in(launch)
        self.process += max((each.process for each in raw.footprints), default=0)
        answered = {each.row for each in raw.model_readings}
        read_model(
            self.run,
            self.plan.protocol,
            modelled([row for row in self.plan.rows if row.name not in answered]),
            lambda _row: None,
        )
        verdicts = {each.row: each.verdict for each in raw.code_readings}
        missing = [row for row in self.plan.rows if row.name not in verdicts]
        made = read_code(self.run, self.plan.protocol, missing, lambda _row: None, self.read)
        verdicts |= {name: each.verdict for name, each in made.items() if each is not None}
        self._fold()
        self._note()
        # A foreign producer's code is not read: it declares nothing that it could differ from.
        declared = CodeVerdict.AS_DECLARED.value
        return [row for row in self.plan.rows if verdicts.get(row.name, declared) == declared]

    def _take_turns(self, rows: list[Row]) -> bool:
        barren: set[str] = set()
        while self.seconds < self.plan.seconds:
            able = [row for row in rows if self.rows[row.name].odd < ODD_LIMIT]
            # Since a launch last took GPU time, every row was tried: none can be launched.
            if all(row.name in barren for row in able):
                return False
            row = min(able, key=lambda row: self.rows[row.name].charged / share_of(row))
            before = self.seconds
            self._turn(row)
            barren = set() if self.seconds > before else {*barren, row.name}
            if self.seconds - self._noted >= self.plan.seconds / FOOTPRINTS:
                self._note()
            if self._raw_bytes() > self._folded_bytes + self.fold_bytes:
                self._fold()
        self._note()
        return True

    def _turn(self, row: Row) -> None:
        state = self.rows[row.name]
        longest = min(TURN_SECONDS, self.plan.seconds / TURNS)
        turn = min(longest * share_of(row), self.plan.seconds - self.seconds)

        def on_launch(launch: Launch) -> None:
            state.take(launch)
            self.launches += 1
            self.on_launch(launch)

        charged = state.charged
        done = stress_row(
            self.run,
            self.bench,
            row,
            self.plan,
            on_launch,
            seconds=turn,
            first=state.next_index,
        )
        if not done or done[-1].fault is not None:
            # A fault ends a turn early; the row must not be chosen again and again for that.
            state.charged = max(state.charged, charged + turn)

    def _note(self) -> None:
        self._noted = self.seconds
        self.run.append(
            Footprint(
                process=self.process,
                launches=self.launches,
                seconds=time.monotonic() - self._began,
                gpu_seconds=self.seconds,
                rss_bytes=resident_bytes(),
                raw_bytes=self._raw_bytes(),
            )
        )

    def _fold(self) -> None:
        self.run.rewrite(folder(lambda name: self.plan.protocol.row(name).sound))
        self._folded_bytes = self._raw_bytes()

    def _raw_bytes(self) -> int:
        return (self.run.path / RAW_FILE).stat().st_size


def resident_bytes() -> int:
    """Resident memory of this process, in bytes; where the system does not say, its peak."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


def taken(run: Run) -> str:
    """What the soak took of the machine, in a sentence, by its footprints."""
    marks = run.raw().footprints
    if not marks:
        return "nothing was launched"
    memory = [each.rss_bytes / MIB for each in marks]
    most = max(each.raw_bytes for each in marks) / MIB
    return (
        f"{marks[-1].launches:,} launches by {marks[-1].process} process(es) in "
        f"{marks[-1].gpu_seconds:.1f} s of GPU time; memory {min(memory):.0f} to "
        f"{max(memory):.0f} MiB, raw.jsonl at most {most:.1f} MiB"
    )


def is_complete(run: Run) -> list[str]:
    """Why a soak's records are not those of every launch exactly once; empty where they are."""
    return gaps(run.launches())
