"""A variant of `signal_publish` as programs of the model: one for every stale read to be asked of.

The instructions come from the variant's declared steps, or from steps that were read from compiled
code; this module says which threads execute them, where those threads run, and which memories they
touch: the variant's choices of issuers, publisher, fan-out, place and test.

- The producing CTA has thread 0, thread 32 where it stores too, and thread 64, the other warp. The
  tile has two halves, so that no order between bulk copies is assumed. Shared memory holds 0 before
  the tile, the tile is 1; global memory holds 0, the old tile. Each half's source is written by
  another thread than the one that copies it.
- Barriers of the producing CTA take the producing threads, barriers of the consumer the reading
  ones, in the same CTA too: named barriers, as a specialised kernel has them.
- A deferred signal is looked at in two turns of the loop and the flush: tile 0 is signalled by the
  second turn, tile 1 behind the loop.
- A reader on the host is a thread of no GPU. That its poll is an acquire and its read a load behind
  it is what x86-64 promises (`device.host_reader`), in the words of the PTX model.
- The consumer's polls that failed are left out (see `Require`), and so is every read of the tile
  but the one asked about: both would add constraints, never take one away.
- Further producers of the same signal do nothing but publish: their tiles are their own.
- Further consumers of the same signal are left out for the same reason as other reads are: they
  poll and read, and write nothing that this consumer could see.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from sbo_verify.model import assembly
from sbo_verify.model.condition import Compare, RegisterOf
from sbo_verify.model.events import Location, Placement
from sbo_verify.model.program import Instruction, Program, Thread
from sbo_verify.model.query import ANSWER, Query, Setting, signal_name, target_name
from sbo_verify.model.translation import refuse_untranslatable
from sbo_verify.protocol import Step
from sbo_verify.protocols.signal_publish.sites import (
    CLUSTER_JOINS,
    PLAIN_STORES,
    FanOut,
    Issuers,
    Moment,
    Place,
    Poll,
    Publisher,
    SignalPublish,
    Store,
    Test,
)
from sbo_verify.protocols.signal_publish.steps import steps
from sbo_verify.vocabulary import Instruction as Declared
from sbo_verify.vocabulary import Kind, Order, Scope, Space

FRESH, OLD = 1, 0
HALVES = (0, 1)
# Where a CPU thread is: outside every GPU, so that system scope alone includes it and them.
NO_GPU = -1
SPECIAL_BARRIERS = {"producer": 1, "consumer": 2}
WEAK_STORE = Declared(Kind.STORE, Order.WEAK, None, Space.SHARED)


@dataclass(slots=True)
class _Writer:
    """A thread while its instructions are put together."""

    name: str
    placement: Placement
    instructions: list[Instruction] = field(default_factory=list)

    def add(self, *instructions: Instruction) -> None:
        self.instructions.extend(instructions)


def queries(
    variant: SignalPublish,
    *,
    producers: int = 1,
    consumer_gpu: int = 0,
    given: Sequence[Step] | None = None,
) -> Iterator[Query]:
    """Every question that decides the variant; it is sound where all are Forbidden.

    As in `Setting`. The steps are the declared ones, or those `given`. Raises `ValueError` for
    fewer than one producer, and for a reader in the producing CTA that is to run on another GPU;
    `UntranslatableError` for given steps that the variant's threads have no program for.
    """
    if producers < 1:
        message = f"{producers} producers: give 1 or more"
        raise ValueError(message)
    if consumer_gpu and variant.place is not Place.OTHER_SM:
        message = f"a reader of place {variant.place.word!r} cannot run on GPU {consumer_gpu}"
        raise ValueError(message)
    setting = Setting(producers, consumer_gpu)
    if given is not None:
        refuse_untranslatable(variant, given)
    program = steps(variant) if given is None else tuple(given)
    for part in parts(variant):
        for reader in _readers(variant):
            yield _Builder(variant, program, setting, part, reader).query()


def parts(variant: SignalPublish) -> list[tuple[int, int]]:
    """The halves of the tiles that are asked about, as (tile, half)."""
    tiles = 2 if variant.moment is Moment.DEFERRED else 1
    return [(tile, half) for tile in range(tiles) for half in HALVES]


def _readers(v: SignalPublish) -> list[int]:
    """The threads to ask about; those that run the same code are asked about once."""
    if v.poll is Poll.NONE:
        return [0] if v.fan_out is FanOut.ALONE else list(range(len(_producing(v))))
    return [0] if v.fan_out in {FanOut.EVERY_THREAD, FanOut.ALONE} else [0, 1]


def _producing(v: SignalPublish) -> list[int]:
    """The threads of the producing CTA that the model follows, by their number."""
    two = v.store is Store.GENERIC or v.issuers is Issuers.TWO
    other = v.publisher is Publisher.OTHER_WARP or not two
    return [0, *([32] if two else []), *([64] if other else [])]


class _Builder:
    """Builds the program of one query."""

    def __init__(
        self,
        v: SignalPublish,
        program: tuple[Step, ...],
        setting: Setting,
        part: tuple[int, int],
        reader: int,
    ) -> None:
        self.v, self.program, self.reader = v, program, reader
        self.tile, self.half = part
        self.producers = 1 if v.publish in PLAIN_STORES else setting.producers
        in_cluster = v.join in CLUSTER_JOINS
        cluster = 0 if in_cluster else None
        self.producing = [
            _Writer(f"producer thread {number}", Placement(0, 0, cluster, number // 32))
            for number in _producing(v)
        ]
        self.peer = _Writer("cluster peer thread 0", Placement(1, 0, cluster, 0))
        self.others = [
            _Writer(f"producer {n} thread 0", Placement(10 + n, 0, None, 0))
            for n in range(1, self.producers)
        ]
        places = {Place.PRODUCER_CTA: Placement(0, 0, cluster), Place.HOST: Placement(20, NO_GPU)}
        place = places.get(v.place, Placement(20, setting.consumer_gpu))
        kind = "host" if v.place is Place.HOST else "consumer"
        self.reading = [
            _Writer(f"{kind} thread {n}", replace(place, warp=8))
            for n in range(max(_readers(v)) + 1)
        ]
        self.locations: dict[str, Location] = {}
        self.arrivals: dict[str, int] = {}
        self.initial: dict[str, int] = {}

    def query(self) -> Query:
        """The program and what it asks."""
        v = self.v
        self._produce()
        if v.poll is Poll.NONE:
            reader = self.producing[self.reader]
            self._read(reader, self._step("consumer", "read"))
            reading = []
        else:
            reader = self.reading[self.reader]
            self._consume()
            reading = self.reading
        peers = [self.peer] if v.join in CLUSTER_JOINS else []
        writers = [*self.producing, *peers, *self.others, *reading]
        if v.test is Test.EQUAL_REUSED:
            self.initial[self._signal(self.tile)] = self.producers
        program = Program(
            name=f"tile {self.tile}, half {self.half}, read by {reader.name}",
            threads=tuple(
                Thread(name=w.name, placement=w.placement, instructions=tuple(w.instructions))
                for w in writers
            ),
            locations=self.locations,
            condition=Compare(RegisterOf(writers.index(reader), ANSWER), "==", OLD),
            initial=self.initial,
            arrivals=self.arrivals,
        )
        return Query(program, self.tile, self.half, writers.index(reader), self.reader)

    # Memories

    def _at(self, name: str, space: Space) -> str:
        self.locations.setdefault(name, Location(name, name, space))
        return name

    def _target(self, tile: int, half: int) -> str:
        return self._at(target_name(tile, half), Space.GLOBAL)

    def _source(self, tile: int, half: int) -> str:
        return self._at(f"source{tile}half{half}", Space.SHARED)

    def _signal(self, tile: int) -> str:
        return self._at(signal_name(tile), Space.GLOBAL)

    # Producer

    def _produce(self) -> None:
        """Unroll the producer's loop: one turn, or two turns and the flush of a deferred signal."""
        declared = [step for step in self.program if step.side == "producer"]
        self.fills = any(step.site == "fill" for step in declared)
        deferred = self.v.moment is Moment.DEFERRED
        end = next((i for i, s in enumerate(declared) if s.site == "flush"), len(declared))
        for turn in range(2 if deferred else 1):
            for step in declared[:end]:
                self._produce_step(step, turn, turn - 1 if deferred else turn)
        for step in declared[end:]:
            self._produce_step(step, 1, 1)

    def _produce_step(self, step: Step, tile: int, signalled: int) -> None:
        if step.site == "fill" or (step.site == "source_fence" and not self.fills):
            self._fill(tile, next(iter(step.instructions), WEAK_STORE))
        if step.site == "source_fence":
            for writer in self.producing:
                writer.add(*(assembly.plain(declared) for declared in step.instructions))
        elif step.site == "store":
            self._store(step, tile)
        elif step.site in {"drain", "flush"}:
            for issuer, _ in self._issuing():
                issuer.add(*(assembly.plain(declared) for declared in step.instructions))
        elif step.site in {"join", "source_join"}:
            self._meet(step)
        elif step.site == "publish" and signalled >= 0:
            publishers = [self._publisher(), *(self.others if signalled == self.tile else [])]
            for writer in publishers:
                writer.add(*self._publish(step, signalled))

    def _issuing(self) -> list[tuple[_Writer, tuple[int, ...]]]:
        """The threads that store, each with its halves of the tile."""
        if self.v.store is not Store.GENERIC and self.v.issuers is Issuers.ONE:
            return [(self.producing[0], HALVES)]
        return [(self.producing[half], (half,)) for half in HALVES]

    def _fill(self, tile: int, how: Declared) -> None:
        """The generic writes of the tile to shared memory, by others than those that copy it.

        They are no site of the protocol; steps that were read say where they stand.
        """
        if self.v.store is Store.GENERIC:
            return
        for half in HALVES:
            writer = self.producing[1 - half]
            order = how.order or Order.WEAK
            writer.add(assembly.store(self._source(tile, half), FRESH, order, how.scope))

    def _store(self, step: Step, tile: int) -> None:
        for issuer, halves in self._issuing():
            for declared in step.instructions:
                if declared.kind is Kind.STORE:
                    how = declared.order or Order.WEAK, declared.scope
                    issuer.add(
                        *(assembly.store(self._target(tile, h), FRESH, *how) for h in halves)
                    )
                elif declared.kind is Kind.COMMIT_GROUP:
                    issuer.add(assembly.commit_group())
                else:
                    pairs = tuple((self._target(tile, h), self._source(tile, h)) for h in halves)
                    tensor = declared.kind is Kind.TENSOR_STORE
                    issuer.add(assembly.bulk_store(pairs, tensor=tensor))

    def _meet(self, step: Step) -> None:
        """A barrier of the producing threads, or of them and the cluster's other CTA."""
        cluster = any(d.kind is Kind.CLUSTER_ARRIVE for d in step.instructions)
        for writer in [*self.producing, *([self.peer] if cluster else [])]:
            for declared in step.instructions:
                if declared.kind is Kind.CTA_BARRIER:
                    writer.add(assembly.cta_barrier(SPECIAL_BARRIERS["producer"]))
                else:
                    writer.add(assembly.plain(declared))

    def _publisher(self) -> _Writer:
        if self.v.publisher is Publisher.CLUSTER_PEER:
            return self.peer
        return self.producing[-1 if self.v.publisher is Publisher.OTHER_WARP else 0]

    def _publish(self, step: Step, tile: int) -> Iterator[Instruction]:
        signal = self._signal(tile)
        for declared in step.instructions:
            order = declared.order or Order.WEAK
            scope = declared.scope or Scope.SYS
            if declared.kind is Kind.STORE:
                yield assembly.store(signal, self.producers, order, declared.scope)
            elif declared.kind is Kind.RED:
                yield assembly.add(signal, 1, order, scope)
            elif declared.kind is Kind.ATOM:
                yield assembly.add(signal, 1, order, scope, register="r8")
            else:
                yield assembly.plain(declared)

    # Consumer

    def _step(self, side: str, site: str) -> Step:
        found = (s for s in self.program if s.side == side and s.site == site)
        return next(found, Step(side=side, site=site, instructions=()))

    def _consume(self) -> None:
        every = self.v.fan_out is FanOut.EVERY_THREAD
        for writer in self.reading if every else self.reading[:1]:
            self._poll(writer, self._step("consumer", "poll"))
        self._fan_out(self._step("consumer", "fan_out"))
        self._read(self.reading[self.reader], self._step("consumer", "read"))

    def _poll(self, writer: _Writer, step: Step) -> None:
        """The last, successful poll; a first look that succeeds makes the loads behind it needless.

        Compiled code that looks again none the less has fewer executions than this, never more.
        """
        comparison = ">=" if self.v.test is Test.AT_LEAST else "=="
        signal, threshold = self._signal(self.tile), self.producers
        looks = [n for n, each in enumerate(step.instructions) if each.kind is Kind.LOAD]
        for place, declared in enumerate(step.instructions):
            if declared.kind is not Kind.LOAD:
                writer.add(assembly.plain(declared))
                continue
            order = declared.order or Order.WEAK
            writer.add(assembly.load("r0", signal, order, declared.scope))
            if place != looks[-1]:
                writer.add(assembly.jump_if(comparison, "r0", threshold, "LC00"))
                continue
            writer.add(assembly.require(comparison, "r0", threshold))
            if len(looks) > 1:
                writer.add(assembly.label("LC00"))

    def _fan_out(self, step: Step) -> None:
        if step.branches:
            flag = self._at("flag", Space.SHARED)
            stored, loaded = step.instructions
            self.reading[0].add(assembly.store(flag, 1, stored.order or Order.WEAK, stored.scope))
            for writer in self.reading[1:]:
                writer.add(assembly.load("r1", flag, loaded.order or Order.WEAK, loaded.scope))
                writer.add(assembly.require("==", "r1", 1))
            return
        for writer in self.reading:
            for declared in step.instructions:
                if declared.kind is Kind.CTA_BARRIER:
                    writer.add(assembly.cta_barrier(SPECIAL_BARRIERS["consumer"]))
                else:
                    writer.add(assembly.plain(declared))

    def _read(self, reader: _Writer, step: Step) -> None:
        """The one read asked about; a bulk load ends in shared memory and is read there."""
        target = self._target(self.tile, self.half)
        landing, mbarrier = "landing", "arrived"
        copies = any(d.kind in {Kind.BULK_LOAD, Kind.TENSOR_LOAD} for d in step.instructions)
        for declared in step.instructions:
            if declared.kind is Kind.LOAD:
                place = self._at(landing, Space.SHARED) if copies else target
                order = declared.order or Order.WEAK
                reader.add(assembly.load(ANSWER, place, order, declared.scope))
            elif declared.kind is Kind.LOAD_NC:
                reader.add(assembly.load_nc(ANSWER, target))
            elif declared.kind in {Kind.BULK_LOAD, Kind.TENSOR_LOAD}:
                pairs = ((self._at(landing, Space.SHARED), target),)
                tensor = declared.kind is Kind.TENSOR_LOAD
                reader.add(assembly.bulk_load(pairs, mbarrier, tensor=tensor))
                # Before the copy lands, the buffer holds neither the old tile nor the fresh one.
                self.initial[landing] = -1
            elif declared.kind in {Kind.MBARRIER_EXPECT, Kind.MBARRIER_WAIT}:
                self.arrivals[mbarrier] = 1
                expects = declared.kind is Kind.MBARRIER_EXPECT
                strongest = Order.RELEASE if expects else Order.ACQUIRE
                ordered = declared.order or strongest, declared.scope or Scope.CTA
                make = assembly.mbarrier_arrive if expects else assembly.mbarrier_wait
                reader.add(make(mbarrier, *ordered))
            else:
                reader.add(assembly.plain(declared))
