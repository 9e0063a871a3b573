"""Foreign producers with one fault each: found under a live consumer, and named."""

from __future__ import annotations

from dataclasses import dataclass

import planted_producers
import pytest

from sbo_verify.harness.live_bench import LiveBench
from sbo_verify.harness.producers import ProducerError
from sbo_verify.harness.tally import tally
from sbo_verify.protocols.signal_publish.combine import FOREIGN, with_foreign
from sbo_verify.record import LiveLaunch
from sbo_verify.verdict import SiliconVerdict

pytestmark = [pytest.mark.silicon, pytest.mark.live_gemm]

SEED = 41
# Two tiles to a slot, noise, and little patience.
KNOBS = {
    "groups": "32",
    "m": "512",
    "n": "256",
    "k": "512",
    "mask": "full",
    "max_block_n": "128",
    "gemm_sms": str(planted_producers.SMS),
    "consumers": "32",
    "noise": "store",
    "noise_sms": "20",
    "read_order": "tail_first",
    "consumer_skew_cycles": "0",
    "delay_after_poll_cycles": "0",
    "rounds": "400",
    "timeout_ms": "300",
}


def launched(bench: LiveBench, name: str, **knobs: object) -> LiveLaunch:
    """One launch of a planted producer."""
    producer = f"{planted_producers.__name__}:{name}"
    foreign = LiveBench(with_foreign(producer), bench.gpu, producer=producer)
    fixed = KNOBS | {knob: str(value) for knob, value in knobs.items()}
    return foreign.launch(foreign.protocol.row(FOREIGN), SEED, 0, fixed)


@pytest.mark.parametrize("rounds_per_graph", [0, 20])
def test_nothing_is_found_where_nothing_is_wrong(
    live_bench: LiveBench, rounds_per_graph: int
) -> None:
    launch = launched(live_bench, "published", rounds_per_graph=rounds_per_graph)
    assert launch.fault is None
    assert launch.observations == launch.planned == 400 * 128
    assert (launch.block_m, launch.threshold) == (128, 2)
    assert launch.waited > 0
    told = tally([launch])
    assert (told.word, told.notes) == (SiliconVerdict.NEVER, [])


@dataclass(frozen=True)
class Planted:
    """A faulty producer: the word that it earns, and what names its fault."""

    name: str
    word: SiliconVerdict
    named: str
    stale: bool = False


PLANTED = (
    Planted(
        "threshold_too_low",
        SiliconVerdict.OVERSHOT,
        "every signal ended at 2 and the threshold returned is 1: the threshold is too low",
    ),
    Planted(
        "threshold_too_high",
        SiliconVerdict.THRESHOLD_NEVER_REACHED,
        "every signal ended at 2 and the threshold returned is 3: the threshold is too high",
    ),
    Planted(
        "signalled_too_early",
        SiliconVerdict.SOMETIMES,
        "slots held stale words behind their threshold",
        stale=True,
    ),
    Planted(
        "not_waited_for",
        SiliconVerdict.SOMETIMES,
        "slots held stale words behind their threshold",
        stale=True,
    ),
    Planted(
        "signal_missing",
        SiliconVerdict.THRESHOLD_NEVER_REACHED,
        "1 signals ended below the threshold 2, the lowest at 1: a signal is missing",
    ),
    Planted(
        "signal_doubled",
        SiliconVerdict.OVERSHOT,
        "400 signals went past the threshold 2, up to 3: some tile signalled more than once",
    ),
    Planted(
        "signals_elsewhere",
        SiliconVerdict.THRESHOLD_NEVER_REACHED,
        "4 signals of slots without rows were written: they do not lie at "
        "g * ceil(M / 128) + m_block",
    ),
    Planted("wrong_product", SiliconVerdict.UNRELIABLE, "the product is wrong"),
)


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_a_planted_fault_is_found_and_named(live_bench: LiveBench, planted: Planted) -> None:
    launch = launched(live_bench, planted.name)
    told = tally([launch])
    assert told.word is planted.word
    assert any(planted.named in note for note in told.notes), told.notes
    if planted.stale:
        assert launch.stale_tiles > 0
        assert launch.witnesses[0]["seen"] != launch.witnesses[0]["expected"]


def test_a_producer_that_announces_nothing_is_refused(live_bench: LiveBench) -> None:
    with pytest.raises(ProducerError, match=r"returned None; allowed is \(block_m, threshold\)"):
        launched(live_bench, "announces_nothing")
