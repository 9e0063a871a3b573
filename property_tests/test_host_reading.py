"""The reader on the host, with a producer that is a test: it sees what is there, and gives up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sbo_verify.device.host_reader import (
    LAST_LOOKS,
    NEVER,
    HostMemory,
    HostReader,
    Reading,
    WeakHostError,
    refuse_weak_host,
)
from sbo_verify.device.layout import HISTOGRAM_BINS, FaultKind

PAIRS, RING, WORDS, ROUNDS = 3, 2, 64, 7
FIRST_TAG = 40
SOON_SECONDS = 5.0


def memory(pairs: int = PAIRS, ring: int = RING, words: int = WORDS) -> HostMemory:
    """Pages as a launch finds them: tiles of an older one, no signal, no acknowledgement."""
    return HostMemory(
        np.full((pairs * ring, words), FIRST_TAG - 1, np.uint32),
        np.zeros(pairs * ring, np.int32),
        np.zeros((pairs, 32), np.int32),
    )


def reading(**changes: object) -> Reading:
    asked = {"ring": RING, "rounds": ROUNDS, "first_tag": FIRST_TAG, "timeout_seconds": 0.05}
    return Reading(**(asked | changes))  # type: ignore[arg-type]


def looked(reader: HostReader) -> HostReader:
    """As many looks as read whatever is announced, and no more: nothing is read twice."""
    for _ in range(1 + LAST_LOOKS):
        reader.look()
    assert reader.look() == 0
    return reader


def hand_over(shared: HostMemory, pair: int, done: int, *, tile: int | None = None) -> None:
    """The producer's half of one round: the tile, then its signal."""
    slot = pair * RING + done % RING
    shared.tiles[slot] = FIRST_TAG + done if tile is None else tile
    shared.signals[slot] += 1


@pytest.mark.parametrize("tail_first", [True, False])
def test_every_round_is_read_acknowledged_and_fresh(*, tail_first: bool) -> None:
    shared = memory()
    reader = HostReader(shared, reading(tail_first=tail_first))
    for done in range(ROUNDS):
        for pair in range(PAIRS):
            hand_over(shared, pair, done)
        looked(reader)
        assert shared.acknowledged[:, 0].tolist() == [done + 1] * PAIRS
    assert reader.has_read_all
    seen = reader.read()
    assert seen.observations == PAIRS * ROUNDS
    assert (seen.stale_tiles, seen.stale_words, seen.ahead_words, seen.overshoots) == (0, 0, 0, 0)
    assert (seen.witnesses, seen.fault) == ([], None)


def test_a_pair_that_is_not_signalled_is_not_read() -> None:
    shared = memory()
    reader = HostReader(shared, reading())
    hand_over(shared, 1, 0)
    looked(reader)
    assert shared.acknowledged[:, 0].tolist() == [0, 1, 0]


@pytest.mark.parametrize("tail_first", [True, False])
@pytest.mark.parametrize("word", [0, 20, WORDS - 1])
def test_a_single_stale_word_is_seen_with_its_place(word: int, *, tail_first: bool) -> None:
    shared = memory()
    reader = HostReader(shared, reading(tail_first=tail_first))
    hand_over(shared, 2, 0)
    shared.tiles[2 * RING, word] = FIRST_TAG - 5
    seen = looked(reader).seen
    assert (seen.observations, seen.stale_tiles, seen.stale_words) == (1, 1, 1)
    assert seen.histogram.tolist() == np.eye(HISTOGRAM_BINS, dtype=int)[word].tolist()
    [witness] = seen.witnesses
    assert (witness.pair, witness.round, witness.tile) == (2, 0, 2 * RING)
    assert (witness.offset_bytes, witness.expected) == (4 * word, FIRST_TAG)
    assert (witness.seen, witness.signal) == (FIRST_TAG - 5, 1)


def test_a_tail_that_was_stale_right_behind_the_poll_counts_though_it_came_later() -> None:
    """The whole tile is read some microseconds after its last line: too late for some races."""
    shared = memory()

    class Late(np.ndarray[Any, np.dtype[Any]]):
        """Tiles of which the last line is written between the first read and the second."""

        def __getitem__(self, key: Any) -> Any:  # noqa: ANN401 - as numpy has it
            found = super().__getitem__(key)
            if isinstance(key, tuple):
                self.view(np.ndarray)[0] = FIRST_TAG
            return found

    hand_over(shared, 0, 0, tile=FIRST_TAG - 1)
    tiles = shared.tiles.view(Late)
    for tail_first, stale in ((True, 16), (False, 64)):
        shared.tiles[0] = FIRST_TAG - 1
        reader = HostReader(
            HostMemory(tiles, shared.signals, shared.acknowledged), reading(tail_first=tail_first)
        )
        looked(reader)
        assert (reader.seen.stale_tiles, reader.seen.stale_words) == (1, stale)
        assert int(reader.seen.histogram.sum()) == stale


def test_whole_tiles_wait_until_nothing_new_is_announced() -> None:
    """Quick looks go on, so that the next signal, too, is met when it comes."""
    shared = memory()
    reader = HostReader(shared, reading())
    hand_over(shared, 0, 0)
    assert reader.look() == 1
    assert [reader.look() for _ in range(LAST_LOOKS - 1)] == [0] * (LAST_LOOKS - 1)
    hand_over(shared, 1, 0)
    assert reader.look() == 1
    assert reader.seen.observations == 0
    assert [reader.look() for _ in range(LAST_LOOKS)] == [0] * (LAST_LOOKS - 1) + [2]
    assert reader.seen.observations == 2


def test_a_witness_says_how_soon_behind_the_poll_it_was_read() -> None:
    shared = memory()
    reader = HostReader(shared, reading())
    hand_over(shared, 0, 0)
    shared.tiles[0, [1, WORDS - 1]] = FIRST_TAG - 1
    looked(reader)
    hand_over(shared, 1, 0)
    shared.tiles[RING, WORDS - 1] = FIRST_TAG - 1
    looked(reader)
    whole, tail = reader.seen.witnesses
    assert (whole.offset_bytes, tail.offset_bytes) == (4, 4 * (WORDS - 1))
    assert 0 < tail.seconds_since_signal < whole.seconds_since_signal < SOON_SECONDS


def test_words_of_a_later_round_are_no_staleness() -> None:
    shared = memory()
    reader = HostReader(shared, reading())
    hand_over(shared, 0, 0, tile=FIRST_TAG + 1)
    looked(reader)
    assert (reader.seen.stale_tiles, reader.seen.ahead_words) == (0, WORDS)


def test_tags_are_compared_as_the_gpu_does_across_the_sign() -> None:
    shared = memory()
    reader = HostReader(shared, reading(first_tag=1 << 31))
    hand_over(shared, 0, 0, tile=(1 << 31) - 1)
    looked(reader)
    assert reader.seen.stale_words == WORDS


def test_a_signal_that_came_twice_is_a_fault_and_the_tile_is_read() -> None:
    shared = memory()
    reader = HostReader(shared, reading())
    hand_over(shared, 1, 0)
    shared.signals[RING] += 1
    seen = looked(reader).seen
    assert (seen.observations, seen.overshoots) == (1, 1)
    assert seen.fault is not None
    assert (seen.fault.what, seen.fault.pair) == (FaultKind.SIGNAL_OVERSHOT, 1)
    assert (seen.fault.wanted, seen.fault.seen) == (1, 2)


def test_a_signal_that_never_comes_ends_the_reading() -> None:
    shared = memory()
    for pair in (0, 2):
        hand_over(shared, pair, 0)
    began = time.monotonic()
    reader = HostReader(shared, reading(rounds=1))
    seen = reader.read()
    assert 0.05 <= time.monotonic() - began < SOON_SECONDS
    assert seen.observations == 2
    assert seen.fault is not None
    assert (seen.fault.what, seen.fault.pair) == (FaultKind.THRESHOLD_NEVER_REACHED, 1)
    assert (seen.fault.wanted, seen.fault.seen) == (1, 0)
    assert seen.fault.waited_seconds >= 0.05
    assert not reader.has_read_all


def test_a_launch_that_ended_is_not_waited_for() -> None:
    began = time.monotonic()
    seen = HostReader(memory(), reading(timeout_seconds=60.0)).read(lambda: True)
    assert time.monotonic() - began < SOON_SECONDS
    assert seen.fault is not None
    assert seen.fault.what is FaultKind.THRESHOLD_NEVER_REACHED


def test_what_was_signalled_before_the_end_is_read() -> None:
    """The launch is over when it is asked; its last tile lies there."""
    shared = memory(pairs=1)

    def ends() -> bool:
        if shared.signals[0] == 0:
            hand_over(shared, 0, 0)
        return True

    seen = HostReader(shared, reading(rounds=1, timeout_seconds=60.0)).read(ends)
    assert (seen.observations, seen.fault) == (1, None)


def test_a_silent_reader_stops_reading_and_acknowledging() -> None:
    shared = memory()
    for done in range(RING):
        for pair in range(PAIRS):
            hand_over(shared, pair, done)
    seen = HostReader(shared, reading(silent_round=1)).read()
    assert (seen.observations, seen.fault) == (PAIRS, None)
    assert shared.acknowledged[:, 0].tolist() == [1] * PAIRS


def produced(shared: HostMemory, rounds: int, stale: Callable[[int], bool]) -> threading.Thread:
    """A producer that waits for acknowledgements, as the GPU's does; `stale` rounds come late."""

    def produce() -> None:
        for done in range(rounds):
            for pair in range(PAIRS):
                while shared.acknowledged[pair, 0] < done - RING + 1:
                    time.sleep(0)
                slot = pair * RING + done % RING
                if stale(done):
                    shared.signals[slot] += 1
                    while shared.acknowledged[pair, 0] < done + 1:
                        time.sleep(0)
                    shared.tiles[slot] = FIRST_TAG + done
                else:
                    hand_over(shared, pair, done)

    thread = threading.Thread(target=produce)
    thread.start()
    return thread


def test_beside_a_producer_that_runs_all_planted_faults_are_seen_and_no_other() -> None:
    rounds = 40
    shared = memory()
    thread = produced(shared, rounds, lambda done: done % 10 == 3)
    seen = HostReader(shared, reading(rounds=rounds, timeout_seconds=SOON_SECONDS)).read()
    thread.join(SOON_SECONDS)
    assert seen.fault is None
    assert seen.observations == PAIRS * rounds
    assert seen.stale_tiles == PAIRS * rounds // 10
    assert seen.stale_words == WORDS * seen.stale_tiles


@pytest.mark.parametrize("machine", ["x86_64", "AMD64"])
def test_a_host_that_keeps_loads_in_order_may_read(machine: str) -> None:
    refuse_weak_host(machine)


@pytest.mark.parametrize("machine", ["aarch64", "arm64", "ppc64le"])
def test_a_host_that_may_reorder_loads_is_refused(machine: str) -> None:
    with pytest.raises(WeakHostError, match=f"processor is {machine}; .* needs x86-64"):
        refuse_weak_host(machine)


def test_no_signal_reaches_what_is_never_wanted() -> None:
    assert np.iinfo(np.int32).max == NEVER
