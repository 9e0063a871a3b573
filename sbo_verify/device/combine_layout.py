"""What Combine Send, its check and its rounds share with the host: structures, sizes, names.

The kernels' side is `kernels/combine_send.cuh` and the headers that it includes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sbo_verify.device.gpu import RESERVED_SHARED_BYTES, SM_SHARED_BYTES
from sbo_verify.device.layout import HISTOGRAM_BINS, Field, Struct

THREADS = 512
STAGES = 4
# A row of 7168 bfloat16 is eight pieces.
PIECE_BYTES = 1792
BLOCK_K = 128
# The first of the bit patterns that name rounds, 2^-32 as bfloat16, and how many follow it: 128
# mantissas under each of 64 exponents. A scale of A is such a number times a small whole one / 128.
FIRST_NAME = (127 - 32) << 7
NAMES = 128 * 64
# A bfloat16 NaN; no product of the rounds' inputs is one.
POISON = 0xFFFF
# Ages are told apart within half the cycle of names.
MAX_ROUNDS = NAMES // 2

# `ended` ends the noise, whose CTAs `noisy` counts; `arrived` begins anew in every round.
# Signals of slots with rows ended between `signal_lowest` and `signal_highest`.
COMBINE_COUNTERS = Struct(
    "CombineCounters",
    (
        Field("observations", "unsigned long long"),
        Field("stale_tiles", "unsigned long long"),
        Field("stale_words", "unsigned long long"),
        Field("ahead_words", "unsigned long long"),
        Field("wrong_words", "unsigned long long"),
        Field("waited", "unsigned long long"),
        Field("rows", "unsigned long long"),
        Field("slots_short", "unsigned long long"),
        Field("slots_over", "unsigned long long"),
        Field("slots_stray", "unsigned long long"),
        Field("histogram", "unsigned long long", HISTOGRAM_BINS),
        Field("witnesses", "unsigned"),
        Field("fault_claimed", "unsigned"),
        Field("tickets", "unsigned"),
        Field("audited", "unsigned"),
        Field("arrived", "int"),
        Field("noisy", "int"),
        Field("ended", "int"),
        Field("stop", "int"),
        Field("round", "int"),
        Field("signal_lowest", "int"),
        Field("signal_highest", "int"),
    ),
)

SLOT_WITNESS = Struct(
    "SlotWitness",
    (
        Field("cycles_since_signal", "unsigned long long"),
        Field("round", "unsigned"),
        Field("group", "unsigned"),
        Field("slot", "unsigned"),
        Field("row", "unsigned"),
        Field("column", "unsigned"),
        Field("expected", "unsigned"),
        Field("seen", "unsigned"),
        Field("signal", "int"),
        Field("sm", "unsigned"),
    ),
)

COMBINE_PARAMETERS = Struct(
    "CombineParameters",
    (
        Field("d", "const unsigned char*"),
        Field("destination", "unsigned char*"),
        Field("received", "const int*"),
        Field("signals", "int*"),
        Field("counters", "CombineCounters*"),
        Field("witnesses", "SlotWitness*"),
        Field("fault", "FaultEntry*"),
        Field("noise", "uint4*"),
        Field("noise_bytes", "unsigned long long"),
        Field("timeout_ns", "unsigned long long"),
        Field("noise_limit_ns", "unsigned long long"),
        Field("groups", "unsigned"),
        Field("m", "unsigned"),
        Field("row_bytes", "unsigned"),
        Field("block_m", "unsigned"),
        Field("threshold", "int"),
        Field("consumers", "unsigned"),
        Field("noise_ctas", "unsigned"),
        Field("witness_capacity", "unsigned"),
        Field("noise_kind", "unsigned"),
        Field("check", "unsigned"),
        Field("wrong_is_stale", "unsigned"),
        Field("prime_l1", "unsigned"),
        Field("read_order", "unsigned"),
        Field("consumer_skew_cycles", "unsigned"),
        Field("delay_after_poll_cycles", "unsigned"),
        Field("seed", "unsigned"),
    ),
)

ROUND_PARAMETERS = Struct(
    "RoundParameters",
    (
        Field("d", "unsigned char*"),
        Field("scales", "float*"),
        Field("d_bytes", "unsigned long long"),
        Field("signal_count", "unsigned"),
        Field("scale_count", "unsigned"),
        Field("scale_pitch", "unsigned"),
        Field("k_blocks", "unsigned"),
        Field("ends", "unsigned"),
    ),
)

STRUCTS = (COMBINE_COUNTERS, SLOT_WITNESS, COMBINE_PARAMETERS, ROUND_PARAMETERS)
CONSTANTS = {
    "kThreads": THREADS,
    "kStages": STAGES,
    "kPieceBytes": PIECE_BYTES,
    "kBlockK": BLOCK_K,
    "kFirstName": FIRST_NAME,
    "kNames": NAMES,
    "kPoison": POISON,
}


def dynamic_shared_bytes() -> int:
    """Shared memory of one CTA, in bytes: its warps' stages, or more where two fit an SM."""
    stages = THREADS // 32 * STAGES * PIECE_BYTES
    crowding = SM_SHARED_BYTES // 2 - RESERVED_SHARED_BYTES + 1
    return max(stages, -(-crowding // 1024) * 1024)


def name_of(round_: int) -> int:
    """The bit pattern of the bfloat16 number that names a round."""
    return FIRST_NAME + round_ % NAMES


def word_meaning(word: int) -> str:
    """What the two elements of one 32-bit word say, for the reader of a witness."""
    return " and ".join(dict.fromkeys(_meaning(half) for half in (word & 0xFFFF, word >> 16)))


def _meaning(element: int) -> str:
    if element == POISON:
        return "poison"
    index = element - FIRST_NAME
    return f"round {index}" if 0 <= index < NAMES else f"no round ({element:#06x})"


@dataclass(frozen=True)
class Slot:
    """Rows of one group that one signal announces; `signal` is its index."""

    group: int
    m_block: int
    rows: int
    signal: int


def slots_of(received: Sequence[int], m: int, block_m: int) -> Iterator[Slot]:
    """All slots that have rows, in the order in which they are dealt out to consumer CTAs."""
    blocks = -(-m // block_m)
    for group, count in enumerate(received):
        for block in range(-(-count // block_m)):
            rows = min(count - block * block_m, block_m)
            yield Slot(group, block, rows, group * blocks + block)
