"""The launches of one row added up, and the word that the silicon level earned by them.

A launch that ended in a fault keeps the hand-overs that it counted, but its word wins over the
word of the counts: a time-out is a result, never a pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sbo_verify.harness.diagnosis import diagnose
from sbo_verify.rates import imbalance, upper_bound
from sbo_verify.record import Fault, Launch, LiveLaunch
from sbo_verify.verdict import SiliconVerdict, classify

NANOSECONDS = 1e9

# `Fault.what` to the word that a row earns by it.
WORD_OF_FAULT = {
    "threshold never reached": SiliconVerdict.THRESHOLD_NEVER_REACHED,
    "signal overshot": SiliconVerdict.OVERSHOT,
    # A slot without rows has the threshold 0.
    "signal strayed": SiliconVerdict.OVERSHOT,
    "acknowledgement never came": SiliconVerdict.UNRELIABLE,
    "not co-resident": SiliconVerdict.UNRELIABLE,
    "not placed as planned": SiliconVerdict.UNRELIABLE,
    "bulk load never completed": SiliconVerdict.UNRELIABLE,
    "announcement changed": SiliconVerdict.UNRELIABLE,
    "launch hung": SiliconVerdict.UNRELIABLE,
    "launch failed": SiliconVerdict.UNRELIABLE,
    "out of GPU memory": SiliconVerdict.UNRELIABLE,
    "worker died": SiliconVerdict.UNRELIABLE,
}

# An overshoot fails a gate, the others leave it unknown, and fail ranks above unknown.
_PRECEDENCE = (
    SiliconVerdict.OVERSHOT,
    SiliconVerdict.THRESHOLD_NEVER_REACHED,
    SiliconVerdict.UNRELIABLE,
)


class UnknownFaultError(ValueError):
    """A fault that this version has no word for."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Sums over the launches of one row.

    `tiles` are hand-overs: `observations`, unless several consumers observed one. `word` is the
    silicon level's answer; `counted` what the counts alone would say, None where
    they do not add up and so say nothing. `seconds_to_first_stale` is the GPU time of all launches
    up to and with the first that saw a stale tile. `notes` name every fault and every doubt.
    """

    stale: int
    observations: int
    tiles: int
    elapsed_seconds: float
    seconds_to_first_stale: float | None
    word: SiliconVerdict
    counted: SiliconVerdict | None
    notes: list[str]

    @property
    def bound(self) -> float | None:
        """One-sided 95 % upper bound of the stale rate; None without trustworthy observations.

        Of hand-overs, not of observations: consumers that read one tile after one signal do not
        see it independently. Each stale observation counts as a stale tile of its own, which they
        are at most, so that the bound holds for tiles that are stale to some consumer.
        """
        if self.counted is None or self.tiles == 0:
            return None
        return upper_bound(min(self.stale, self.tiles), self.tiles)

    @property
    def rounds_per_second(self) -> float:
        """Hand-overs observed a second of GPU time; 0.0 without any."""
        return self.observations / self.elapsed_seconds if self.elapsed_seconds > 0 else 0.0


def tally(launches: Sequence[Launch]) -> Tally:
    """Add up `launches`, all of one row, in the order in which they were recorded.

    Raises `UnknownFaultError` for a fault that has no word here.
    """
    earned: set[SiliconVerdict] = set()
    notes: list[str] = []
    trusted = True
    elapsed_seconds = 0.0
    first: float | None = None
    for launch in launches:
        elapsed_seconds += launch.elapsed_seconds
        if launch.stale_tiles > 0 and first is None:
            first = elapsed_seconds
        if launch.fault is not None:
            earned.add(_word(launch.fault["what"]))
            whose = "slot" if isinstance(launch, LiveLaunch) else "pair"
            told = _tell(Fault(**launch.fault), whose)
            if _readers(launch) > 1:
                told = f"{told} (consumer {launch.fault.get('consumer', 0)} of the pair)"
            notes.append(f"launch {launch.index}: {told}")
        if launch.overshoots > 0:
            earned.add(SiliconVerdict.OVERSHOT)
            notes.append(f"launch {launch.index}: the signal overshot {launch.overshoots:,} times")
        if isinstance(launch, LiveLaunch):
            notes.extend(f"launch {launch.index}: {found}" for found in diagnose(launch))
        for doubt in _doubts(launch):
            trusted = False
            notes.append(f"launch {launch.index}: {doubt}")
    stale = sum(launch.stale_tiles for launch in launches)
    observations = sum(launch.observations for launch in launches)
    counted = classify(stale, observations) if trusted else None
    if counted is None:
        earned.add(SiliconVerdict.UNRELIABLE)
    word = next((each for each in _PRECEDENCE if each in earned), None)
    return Tally(
        stale=stale,
        observations=observations,
        tiles=sum(launch.tiles for launch in launches),
        elapsed_seconds=elapsed_seconds,
        seconds_to_first_stale=first,
        word=word or counted or SiliconVerdict.UNRELIABLE,
        counted=counted,
        notes=notes,
    )


def _word(what: str) -> SiliconVerdict:
    if what not in WORD_OF_FAULT:
        message = f"unknown fault {what!r}; known: {', '.join(WORD_OF_FAULT)}"
        raise UnknownFaultError(message)
    return WORD_OF_FAULT[what]


def _tell(fault: Fault, whose: str) -> str:
    where = "" if fault.sm < 0 else f" on SM {fault.sm}"
    return (
        f"{fault.what}; {fault.waiter} of {whose} {fault.pair}{where} wanted "
        f"{fault.wanted} and saw {fault.seen} in round {fault.round}, after "
        f"{fault.waited_ns / NANOSECONDS:.3g} s"
    )


def _readers(launch: Launch) -> int:
    """Consumers of a tile; 0 where they cannot be known, as of a sum, which had several numbers."""
    if isinstance(launch, LiveLaunch):
        return 1
    readers = launch.knobs.get("consumers", 1)
    return readers if isinstance(readers, int) else 0


def _doubts(launch: Launch) -> list[str]:
    """Why the counts of a launch cannot be trusted; empty when they add up."""
    doubts: list[str] = []
    unbalanced = imbalance(
        planned=launch.planned,
        observations=launch.observations,
        stale=launch.stale_tiles,
        faulted=launch.fault is not None,
    )
    if unbalanced is not None:
        doubts.append(unbalanced)
    readers = _readers(launch)
    counted = launch.hand_overs and readers and launch.fault is None
    if counted and launch.observations != readers * launch.hand_overs:
        doubts.append(
            f"{launch.observations:,} observations of {launch.hand_overs:,} hand-overs, each with "
            f"{readers} consumer(s)"
        )
    if launch.ahead_words > 0 and not isinstance(launch, LiveLaunch):
        doubts.append(f"{launch.ahead_words:,} words were newer than their round: a harness fault")
    if isinstance(launch, LiveLaunch):
        if launch.wrong_words + launch.ahead_words > 0:
            doubts.append("what was computed is not the product, so that its words tell no round")
        if launch.observations > 0 and launch.waited == 0:
            doubts.append("no slot was waited for, so that nothing was seen as it happened")
    if (launch.stale_tiles > 0) != (launch.stale_words > 0):
        doubts.append(f"{launch.stale_tiles:,} stale tiles with {launch.stale_words:,} stale words")
    # A launch that a fault ended may not have brought its histogram back.
    if launch.fault is None and sum(launch.histogram) != launch.stale_words:
        doubts.append(
            f"the histogram holds {sum(launch.histogram):,} of {launch.stale_words:,} stale words"
        )
    return doubts
