"""What a variant of `signal_publish` needs of the hardware: clusters, shared memory, tile cuts."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

from sbo_verify.device.gpu import CTA_SHARED_BYTES, RESERVED_SHARED_BYTES, SM_SHARED_BYTES
from sbo_verify.protocols.signal_publish.sites import (
    CLUSTER_JOINS,
    NEWEST_PENDING,
    TMA_READS,
    FanOut,
    Issuers,
    Moment,
    Place,
    Poll,
    SignalPublish,
    SignalScope,
    Store,
)

# A CTA's threads, or half as many where no half of them must be known to the compiler. What one
# SM holds follows from the kernel's registers: 64 a thread at most.
THREADS = 256
FEWEST_THREADS = 128
SM_THREADS = 1024
CLUSTER = 2
CHUNK_BYTES = 16
TENSOR_ROW_BYTES = 128
MAX_BOX_ROWS = 256
MAX_CONSUMERS = 4


class GeometryError(ValueError):
    """A tile or CTA count that does not fit; the message says what does."""


@dataclass(frozen=True)
class Geometry:
    """Shape of the launches of one variant, apart from the knobs."""

    tensor: bool
    issuers: int
    cluster: int
    stages: int
    reads_by_tma: bool
    in_one_cta: bool
    reads_back: bool
    same_sm: bool
    reads_alone: bool
    deferred: bool
    polls_late: bool

    @classmethod
    def of(cls, variant: SignalPublish) -> Geometry:
        """The geometry of a variant, after the policies of `kernels/signal.cuh`."""
        in_producer = variant.place is Place.PRODUCER_CTA
        return cls(
            tensor=variant.store is Store.TENSOR,
            issuers=1 if variant.issuers is Issuers.ONE else 2,
            cluster=CLUSTER if variant.join in CLUSTER_JOINS else 1,
            stages=2 if variant.drain in NEWEST_PENDING else 1,
            reads_by_tma=variant.read in TMA_READS,
            in_one_cta=in_producer and variant.poll is not Poll.NONE,
            reads_back=variant.poll is Poll.NONE,
            same_sm=variant.place is Place.SAME_SM,
            reads_alone=variant.fan_out is FanOut.ALONE,
            deferred=variant.moment is Moment.DEFERRED,
            # A poll that its own L1 may answer sees what another SM wrote when the line goes.
            polls_late=variant.poll_scope is SignalScope.CTA and variant.place is Place.OTHER_SM,
        )

    @property
    def on_two_sms(self) -> bool:
        """Whether the consumer runs on another SM than the producer."""
        return not (self.in_one_cta or self.reads_back or self.same_sm)

    def tile_multiple(self) -> int:
        """A tile's size in bytes must be a multiple of this.

        Bulk copies move 16 bytes at a time; a tensor copy's shared-memory address is a multiple of
        128 (PTX ISA, cp.async.bulk.tensor), at the start of every issuer's part.
        """
        return TENSOR_ROW_BYTES * self.issuers if self.tensor else CHUNK_BYTES

    def buffers(self) -> int:
        """Tiles' worth of shared memory that the hungriest CTA of this variant needs."""
        loads = 1 if self.reads_by_tma else 0
        return self.stages + loads if self.in_one_cta else max(self.stages, loads)

    def row_bytes(self) -> int:
        """Unit in which a tile is cut between issuers, in bytes."""
        return TENSOR_ROW_BYTES if self.tensor else CHUNK_BYTES

    def box_rows(self, tile_bytes: int) -> int:
        """Rows of one tensor copy: the largest box that divides every issuer's part."""
        rows = tile_bytes // self.row_bytes()
        common = 0
        for issuer in range(self.issuers):
            part = rows * (issuer + 1) // self.issuers - rows * issuer // self.issuers
            common = gcd(common, part)
        return max(size for size in range(1, MAX_BOX_ROWS + 1) if common % size == 0)

    def dynamic_shared(self, tile_bytes: int, ctas_per_sm: int, static_bytes: int) -> int:
        """Dynamic shared memory that lets exactly `ctas_per_sm` CTAs live on one SM, in bytes.

        More than the tile needs where otherwise one CTA more would fit: roles are given out by SM,
        so how many CTAs share one must not be left to chance. Raises `GeometryError`.
        """
        multiple = self.tile_multiple()
        if tile_bytes <= 0 or tile_bytes % multiple:
            what = "tensor stores" if self.tensor else "bulk and generic stores"
            message = (
                f"a tile of {tile_bytes} bytes cannot be handed over: with {what} by "
                f"{self.issuers} issuer(s) it must be a multiple of {multiple} bytes"
            )
            raise GeometryError(message)
        overhead = static_bytes + RESERVED_SHARED_BYTES
        largest = min(SM_SHARED_BYTES // ctas_per_sm - overhead, CTA_SHARED_BYTES - static_bytes)
        needed = self.buffers() * tile_bytes
        if needed > largest:
            fits = largest // self.buffers() // multiple * multiple
            message = (
                f"a tile of {tile_bytes} bytes does not fit into shared memory: this variant keeps "
                f"{self.buffers()} and {ctas_per_sm} CTA(s) share an SM; allowed is up to {fits} "
                "bytes"
            )
            raise GeometryError(message)
        crowding = SM_SHARED_BYTES // (ctas_per_sm + 1) - overhead + 1
        return min(max(needed, -(-crowding // TENSOR_ROW_BYTES) * TENSOR_ROW_BYTES), largest)

    def check_threads(self, threads: int, ctas_per_sm: int) -> None:
        """Raises `GeometryError` for CTAs of a size that the variant or an SM cannot have."""
        allowed = (THREADS,) if self.in_one_cta else (FEWEST_THREADS, THREADS)
        if threads not in allowed:
            sizes = " or ".join(str(each) for each in allowed)
            message = f"threads is {threads}; allowed for this variant is {sizes}"
            raise GeometryError(message)
        if threads * ctas_per_sm > SM_THREADS:
            message = (
                f"{ctas_per_sm} CTAs of {threads} threads do not fit onto one SM: allowed are "
                f"{SM_THREADS // threads}"
            )
            raise GeometryError(message)

    def check_consumers(self, consumers: int) -> None:
        """Raises `GeometryError` for so many consumers of one signal where there can be but one."""
        if consumers != 1 and not self.on_two_sms:
            message = (
                f"consumers is {consumers}; allowed for this variant is 1: several consumers of a "
                "signal are built for other SMs than the producer's"
            )
            raise GeometryError(message)

    def check_ctas(self, ctas_per_sm: int) -> None:
        """Raises `GeometryError` where pairs cannot be formed with this many CTAs on an SM."""
        if self.cluster > 1 and ctas_per_sm != 1:
            message = f"cluster variants run one CTA an SM; ctas_per_sm is {ctas_per_sm}"
            raise GeometryError(message)
        if self.same_sm and ctas_per_sm % 2:
            message = (
                "a consumer on the producer's SM needs an even number of CTAs there; "
                f"ctas_per_sm is {ctas_per_sm}"
            )
            raise GeometryError(message)
