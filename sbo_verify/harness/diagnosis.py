"""What is wrong with a producer, named from one launch's counts and the audit of its signals."""

from __future__ import annotations

from sbo_verify.record import LiveLaunch


def diagnose(launch: LiveLaunch) -> list[str]:
    """Sentences that name what the counts show; empty for a launch with nothing to complain of."""
    audit, wanted = launch.audit, launch.threshold
    lowest, highest = audit["signal_lowest"], audit["signal_highest"]
    over, short, stray = (audit[f"slots_{word}"] for word in ("over", "short", "stray"))
    alike = f"every signal ended at {highest} and the threshold returned is {wanted}"
    told = []
    if stray:
        told.append(
            f"{stray:,} signals of slots without rows were written: they do not lie at "
            f"g * ceil(M / {launch.block_m}) + m_block"
        )
    if over and lowest == highest:
        told.append(f"{alike}: the threshold is too low, and slots are taken too early")
    elif over:
        told.append(
            f"{over:,} signals went past the threshold {wanted}, up to {highest}: some tile "
            "signalled more than once"
        )
    if short and lowest == highest:
        told.append(f"{alike}: the threshold is too high, or every slot lacks a signal")
    elif short and not stray:
        told.append(
            f"{short:,} signals ended below the threshold {wanted}, the lowest at {lowest}: a "
            "signal is missing"
        )
    if launch.stale_tiles and not over:
        told.append(
            f"{launch.stale_tiles:,} slots held stale words behind their threshold: the signal was "
            "seen before the tile was"
        )
    if wrong := launch.wrong_words + launch.ahead_words:
        told.append(f"{wrong:,} words are of no round up to their own: the product is wrong")
    if launch.observations and not launch.waited:
        told.append("no slot was waited for: the consumer came after the producer, every time")
    return told
