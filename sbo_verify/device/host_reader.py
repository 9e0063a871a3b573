"""A reader on the host: polls signals and reads tiles in memory that a GPU writes, with numpy.

That a numpy read is a valid observer is a promise of x86-64: loads are not reordered with earlier
loads, nor stores with earlier loads (Intel SDM, volume 3, "Memory Ordering in P6 and More Recent
Processor Families"; AMD64 volume 2, "Memory System"), and a GPU's writes into pinned memory keep
the processor's caches coherent. A look loads the signals in one call of numpy and the tiles in
later ones, which no compiler reorders: so the poll is an acquire and the acknowledgement a release,
without a fence. The memory must be of the ordinary, write-back kind; loads of write-combined memory
are weakly ordered. Another processor may load the tile first: `refuse_weak_host`.

No GPU is needed to read: tests play the producer.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sbo_verify.device.layout import HISTOGRAM_BINS, FaultKind
from sbo_verify.device.micro_kernel import WITNESS_CAPACITY

LINE_WORDS = 16
WORD_BYTES = 4
# A look takes microseconds; clocks and the driver are asked once in so many.
LOOKS_PER_CHECK = 64
# Quick looks in a row without a new signal that end a gathering. A signal is most telling in the
# microseconds behind its coming, and reading a whole tile takes longer than those last.
LAST_LOOKS = 4
NEVER = np.iinfo(np.int32).max
NO_ROUND = -1
STRONG_HOSTS = frozenset({"x86_64", "amd64"})


class WeakHostError(RuntimeError):
    """A processor that may reorder loads: nothing that it read stale would say anything."""


def refuse_weak_host(machine: str = "") -> None:
    """Raise `WeakHostError` unless the processor keeps loads in order."""
    name = machine or platform.machine()
    if name.lower() not in STRONG_HOSTS:
        message = (
            f"this host's processor is {name}; the reader on the host needs x86-64, which keeps "
            "loads in order: leave --kernel host out"
        )
        raise WeakHostError(message)


@dataclass(frozen=True)
class HostMemory:
    """What both sides see. `tiles` has a row for each slot of each pair, (pairs * ring, words).

    `signals` are (pairs * ring,) counters; of `acknowledged`, (pairs, stride), one column is used.
    """

    tiles: npt.NDArray[np.uint32]
    signals: npt.NDArray[np.int32]
    acknowledged: npt.NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What is to be read: `rounds` of each pair, every word of round r being `first_tag` + r.

    With `tail_first` the last line of every tile is read right behind the poll, before it is known
    whose signal was seen; the whole tiles follow when nothing new comes any more. Otherwise those
    whose signal was seen are read at once. From `silent_round` on nothing is read
    nor acknowledged, where it is no `NO_ROUND`: an injected fault.
    """

    ring: int
    rounds: int
    first_tag: int
    timeout_seconds: float
    tail_first: bool = True
    silent_round: int = NO_ROUND


@dataclass(frozen=True, kw_only=True)
class HostFault:
    """Why the reader gave up, or the first signal that it saw too high."""

    what: FaultKind
    pair: int
    round: int
    wanted: int
    seen: int
    waited_seconds: float


@dataclass(frozen=True, kw_only=True)
class HostWitness:
    """The first stale word of a tile that the reader saw."""

    round: int
    pair: int
    tile: int
    offset_bytes: int
    expected: int
    seen: int
    signal: int
    seconds_since_signal: float


@dataclass
class Seen:
    """What was read, counted as the micro-kernel's consumers count it."""

    observations: int = 0
    stale_tiles: int = 0
    stale_words: int = 0
    ahead_words: int = 0
    overshoots: int = 0
    histogram: npt.NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(HISTOGRAM_BINS, np.int64)
    )
    witnesses: list[HostWitness] = field(default_factory=list)
    fault: HostFault | None = None


class HostReader:
    """Reads all pairs at once, look by look, until every round is read or somebody gives up."""

    def __init__(self, memory: HostMemory, reading: Reading) -> None:
        self.memory, self.reading = memory, reading
        pairs = len(memory.acknowledged)
        self.seen = Seen()
        # Pairs whose signal was seen and whose tile is not read yet: the poll's word, its moment,
        # and how long after it the last line was read, which `_tails` holds.
        self._pending = np.zeros(pairs, np.bool_)
        self._signals = np.zeros(pairs, np.int32)
        self._polled = np.zeros(pairs)
        self._tail_after = np.zeros(pairs)
        self._tails = np.zeros((pairs, min(LINE_WORDS, memory.tiles.shape[1])), np.uint32)
        self._quiet = 0
        self._rounds = np.zeros(pairs, np.int64)
        self._first_slots = np.arange(pairs) * reading.ring
        self._slots = self._first_slots.copy()
        self._wanted = np.ones(pairs, np.int32)
        self._since = np.zeros(pairs)
        words = memory.tiles.shape[1]
        self._bins = np.arange(words) * HISTOGRAM_BINS // words
        self._tail = max(0, words - LINE_WORDS)

    def read(self, ended: Callable[[], bool] = lambda: False) -> Seen:
        """Look until all is read, a wait outlasts its limit, or the launch has `ended` without it.

        The reader that falls silent returns at once: the producers then wait for it.
        """
        self._since[:] = time.monotonic()
        idle, over = 0, False
        while not self.has_read_all and not self._is_silent():
            if self.look():
                idle = 0
                continue
            idle += 1
            if over and not self._pending.any():
                self._give_up()
                break
            if idle % LOOKS_PER_CHECK == 0:
                # What was written before the end is seen by the look behind it.
                over = ended()
                if self._waited() > self.reading.timeout_seconds:
                    self._give_up()
                    break
        return self.seen

    def look(self) -> int:
        """Poll every pair once, and read what is to be read.

        Returns how many signals were new, or how many whole tiles were read.
        """
        memory = self.memory
        signals = memory.signals[self._slots]
        polled = time.monotonic()
        if not self.reading.tail_first:
            announced = np.flatnonzero(signals >= self._wanted)
            self._take_note(announced, signals, polled)
            return self._read(announced) if announced.size else 0
        tails = memory.tiles[self._slots, self._tail :]
        after = time.monotonic() - polled
        new = np.flatnonzero((signals >= self._wanted) & ~self._pending)
        if new.size:
            self._tails[new] = tails[new]
            self._tail_after[new] = after
            self._take_note(new, signals, polled)
            return int(new.size)
        self._quiet += 1
        if self._quiet < LAST_LOOKS or not self._pending.any():
            return 0
        return self._read(np.flatnonzero(self._pending))

    def _take_note(
        self, pairs: npt.NDArray[np.intp], signals: npt.NDArray[np.int32], polled: float
    ) -> None:
        self._pending[pairs] = True
        self._signals[pairs] = signals[pairs]
        self._polled[pairs] = polled
        self._quiet = 0

    def _read(self, pairs: npt.NDArray[np.intp]) -> int:
        """Read the whole tiles of these pairs, judge and acknowledge them."""
        tiles = self.memory.tiles[self._slots[pairs]]
        read = time.monotonic()
        tags = (self.reading.first_tag + self._rounds[pairs]).astype(np.uint32)[:, None]
        odd = tiles != tags
        if self.reading.tail_first:
            odd[:, self._tail :] |= self._tails[pairs] != tags
        if odd.any():
            suspects = np.flatnonzero(odd.any(axis=1))
            self._note(pairs[suspects], tiles[suspects], read)
        over = self._signals[pairs] > self._wanted[pairs]
        if over.any():
            self._overshot(pairs[over])
        self.seen.observations += pairs.size
        self._pending[pairs] = False
        self._go_on(pairs)
        return int(pairs.size)

    def _go_on(self, ready: npt.NDArray[np.intp]) -> None:
        """Acknowledge, and look for the next round of these pairs."""
        self._rounds[ready] += 1
        rounds = self._rounds[ready]
        self.memory.acknowledged[ready, 0] = rounds
        ring = self.reading.ring
        self._slots[ready] = self._first_slots[ready] + rounds % ring
        self._wanted[ready] = np.where(rounds < self.reading.rounds, rounds // ring + 1, NEVER)
        self._since[ready] = time.monotonic()

    def _note(
        self, pairs: npt.NDArray[np.intp], tiles: npt.NDArray[np.uint32], read: float
    ) -> None:
        """The rare path: some word of each of these tiles was odd, when it was read or before."""
        for pair, words in zip(pairs, tiles, strict=True):
            tag = int(self.reading.first_tag + self._rounds[pair])
            behind = _behind(tag, words)
            stale, ahead, early = behind > 0, behind < 0, np.zeros(words.size, np.bool_)
            if self.reading.tail_first:
                before = _behind(tag, self._tails[pair])
                early[self._tail :] = before > 0
                ahead[self._tail :] |= before < 0
            self.seen.ahead_words += int(ahead.sum())
            # A word that was stale when it was read first has been seen, whatever it is now.
            stale |= early
            if not stale.any():
                continue
            self.seen.stale_tiles += 1
            self.seen.stale_words += int(stale.sum())
            self.seen.histogram += np.bincount(self._bins[stale], minlength=HISTOGRAM_BINS)
            if len(self.seen.witnesses) < WITNESS_CAPACITY:
                first = int(stale.argmax())
                self._testify(int(pair), first, words[first], read, early=bool(early[first]))

    def _testify(self, pair: int, word: int, late: np.uint32, read: float, *, early: bool) -> None:
        """The stale word as it was read right behind the poll, or else with the whole tile."""
        saw = self._tails[pair, word - self._tail] if early else late
        after = self._tail_after[pair] if early else read - self._polled[pair]
        self.seen.witnesses.append(
            HostWitness(
                round=int(self._rounds[pair]),
                pair=pair,
                tile=int(self._slots[pair]),
                offset_bytes=word * WORD_BYTES,
                expected=int(self.reading.first_tag + self._rounds[pair]),
                seen=int(saw),
                signal=int(self._signals[pair]),
                seconds_since_signal=float(after),
            )
        )

    def _overshot(self, pairs: npt.NDArray[np.intp]) -> None:
        self.seen.overshoots += pairs.size
        if self.seen.fault is None:
            pair, what = int(pairs[0]), FaultKind.SIGNAL_OVERSHOT
            self.seen.fault = self._fault(what, pair, int(self._signals[pair]), 0.0)

    @property
    def has_read_all(self) -> bool:
        """Whether every round of every pair was read."""
        return bool(self._wanted.min() == NEVER)

    def _is_silent(self) -> bool:
        silent = self.reading.silent_round
        return silent != NO_ROUND and bool(self._rounds.max() >= silent)

    def _waited(self) -> float:
        """How long the pair that waits longest does."""
        waiting = self._wanted != NEVER
        return time.monotonic() - float(self._since[waiting].min())

    def _give_up(self) -> None:
        if self.seen.fault is None:
            waiting = np.flatnonzero(self._wanted != NEVER)
            pair = int(waiting[self._since[waiting].argmin()])
            seen = int(self.memory.signals[self._slots[pair]])
            self.seen.fault = self._fault(
                FaultKind.THRESHOLD_NEVER_REACHED, pair, seen, self._waited()
            )

    def _fault(self, what: FaultKind, pair: int, seen: int, waited: float) -> HostFault:
        return HostFault(
            what=what,
            pair=pair,
            round=int(self._rounds[pair]),
            wanted=int(self._wanted[pair]),
            seen=seen,
            waited_seconds=waited,
        )


def _behind(tag: int, words: npt.NDArray[np.uint32]) -> npt.NDArray[np.int32]:
    """How many rounds the words are behind their own: as on the GPU, a signed difference."""
    difference: npt.NDArray[Any] = np.uint32(tag) - words
    return difference.view(np.int32)
