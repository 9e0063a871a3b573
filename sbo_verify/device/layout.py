"""Structures shared by host and kernels, declared once.

From these declarations come the C++ structs (written into the generated header `sites.cuh`) and
the numpy dtypes with which the host fills parameters and reads results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

HISTOGRAM_BINS = 64
TENSOR_MAP_BYTES = 128


class FaultKind(IntEnum):
    """Why a launch gave up. The words are those of `record.Fault.what`."""

    NONE = 0
    THRESHOLD_NEVER_REACHED = 1
    SIGNAL_OVERSHOT = 2
    ACKNOWLEDGEMENT_NEVER_CAME = 3
    NOT_CO_RESIDENT = 4
    NOT_PLACED = 5
    COPY_NEVER_COMPLETED = 6
    SIGNAL_STRAYED = 7


class Role(IntEnum):
    """What the CTAs of an SM (or of a cluster) do."""

    IDLE = 0
    PRODUCER = 1
    CONSUMER = 2
    BOTH = 3
    NOISE = 4


class NoiseKind(IntEnum):
    """Traffic of the noise CTAs, on memory disjoint from the tiles."""

    NONE = 0
    STORE = 1
    LOAD_STORE = 2
    ATOMIC = 3


class ReadOrder(IntEnum):
    """Order in which the consumer reads a tile."""

    TAIL_FIRST = 0
    HEAD_FIRST = 1
    ROTATED = 2


ENUMS: tuple[type[IntEnum], ...] = (FaultKind, Role, NoiseKind, ReadOrder)

_CXX_TO_NUMPY = {
    "unsigned": np.uint32,
    "int": np.int32,
    "unsigned long long": np.uint64,
}


@dataclass(frozen=True)
class Field:
    """One member: `cxx` is its C++ type; a trailing `*` makes it a device pointer."""

    name: str
    cxx: str
    count: int = 1

    def cxx_declaration(self) -> str:
        """The member as C++ declares it."""
        return f"{self.cxx} {self.name}{f'[{self.count}]' if self.count > 1 else ''};"

    def numpy_field(self) -> tuple[str, object] | tuple[str, object, int]:
        """The member as numpy declares it; pointers are 64-bit integers."""
        kind: object
        if self.cxx == "TensorMap":
            kind = np.dtype((np.uint64, TENSOR_MAP_BYTES // 8))
        else:
            kind = np.uint64 if self.cxx.endswith("*") else _CXX_TO_NUMPY[self.cxx]
        return (self.name, kind) if self.count == 1 else (self.name, kind, self.count)


@dataclass(frozen=True)
class Struct:
    """A structure with C's alignment rules on both sides."""

    name: str
    fields: tuple[Field, ...]

    def cxx(self) -> str:
        """The C++ definition, with a check that both sides agree on its size."""
        members = "\n".join(f"  {field.cxx_declaration()}" for field in self.fields)
        size = self.dtype().itemsize
        check = f'static_assert(sizeof({self.name}) == {size}, "host and device differ");'
        return f"struct {self.name} {{\n{members}\n}};\n{check}\n"

    def dtype(self) -> np.dtype[np.void]:
        """The numpy dtype of one element."""
        plain = np.dtype([field.numpy_field() for field in self.fields], align=True)
        has_map = any(field.cxx == "TensorMap" for field in self.fields)
        if not has_map:
            return plain
        # CUtensorMap wants 64-byte alignment, which rounds the size up on the C++ side.
        rounded = -(-plain.itemsize // 64) * 64
        names = plain.names or ()
        described: Mapping[str, tuple[Any, ...]] = plain.fields or {}
        return np.dtype(
            {
                "names": list(names),
                "formats": [described[name][0] for name in names],
                "offsets": [described[name][1] for name in names],
                "itemsize": rounded,
            }
        )


# Where the CTAs of one SM (or one cluster) belong: role, the index of its first pair, and which of
# a pair's consumers it is.
PLACE_ENTRY = Struct(
    "PlaceEntry",
    (Field("role", "unsigned"), Field("first_pair", "unsigned"), Field("consumer", "unsigned")),
)

# Ordered: counts first, then the words that CTAs of one launch wait on.
COUNTERS = Struct(
    "Counters",
    (
        Field("observations", "unsigned long long"),
        Field("hand_overs", "unsigned long long"),
        Field("stale_tiles", "unsigned long long"),
        Field("stale_words", "unsigned long long"),
        Field("ahead_words", "unsigned long long"),
        Field("overshoots", "unsigned long long"),
        Field("planted", "unsigned long long"),
        Field("drain_cycles", "unsigned long long"),
        Field("histogram", "unsigned long long", HISTOGRAM_BINS),
        Field("witnesses", "unsigned"),
        Field("fault_claimed", "unsigned"),
        Field("arrived", "int"),
        Field("finished", "int"),
        Field("stop", "int"),
    ),
)

WITNESS = Struct(
    "WitnessEntry",
    (
        Field("cycles_since_signal", "unsigned long long"),
        Field("round", "unsigned"),
        Field("pair", "unsigned"),
        Field("tile", "unsigned"),
        Field("offset_bytes", "unsigned"),
        Field("expected", "unsigned"),
        Field("seen", "unsigned"),
        Field("signal", "int"),
        Field("producer_sm", "unsigned"),
        Field("consumer_sm", "unsigned"),
        Field("consumer", "unsigned"),
    ),
)

FAULT = Struct(
    "FaultEntry",
    (
        Field("waited_ns", "unsigned long long"),
        Field("what", "unsigned"),
        Field("waiter", "unsigned"),
        Field("pair", "unsigned"),
        Field("round", "unsigned"),
        Field("wanted", "int"),
        Field("seen", "int"),
        Field("sm", "unsigned"),
        Field("consumer", "unsigned"),
    ),
)

PARAMETERS = Struct(
    "Parameters",
    (
        Field("map", "TensorMap"),
        Field("tiles", "uint4*"),
        Field("signals", "int*"),
        Field("acknowledged", "int*"),
        Field("tickets", "unsigned*"),
        Field("places", "const PlaceEntry*"),
        Field("pair_sms", "unsigned*"),
        Field("counters", "Counters*"),
        Field("witnesses", "WitnessEntry*"),
        Field("fault", "FaultEntry*"),
        Field("noise", "uint4*"),
        Field("noise_bytes", "unsigned long long"),
        Field("timeout_ns", "unsigned long long"),
        Field("witness_capacity", "unsigned"),
        Field("pairs", "unsigned"),
        Field("consumers", "unsigned"),
        Field("place_count", "unsigned"),
        Field("ctas_per_sm", "unsigned"),
        Field("rounds", "unsigned"),
        Field("first_tag", "unsigned"),
        Field("ring", "unsigned"),
        Field("tile_bytes", "unsigned"),
        Field("row_bytes", "unsigned"),
        Field("box_rows", "unsigned"),
        Field("noise_kind", "unsigned"),
        Field("read_order", "unsigned"),
        Field("prime_l1", "unsigned"),
        Field("producer_skew_cycles", "unsigned"),
        Field("consumer_skew_cycles", "unsigned"),
        Field("delay_before_publish_cycles", "unsigned"),
        Field("delay_after_poll_cycles", "unsigned"),
        Field("withheld_round", "int"),
        Field("doubled_round", "int"),
        Field("absent_consumer", "int"),
        Field("in_flight", "unsigned"),
        Field("warp_skew_cycles", "unsigned"),
        Field("time_drain", "unsigned"),
        Field("plant_one_in", "unsigned"),
        Field("plant_held", "unsigned"),
        Field("seed", "unsigned"),
    ),
)

STRUCTS: tuple[Struct, ...] = (PLACE_ENTRY, COUNTERS, WITNESS, FAULT, PARAMETERS)
