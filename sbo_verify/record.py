"""What a run leaves on disk: settings before it, raw results during it, verdicts after it.

Every record is a frozen dataclass that becomes one JSON line with a `kind`. A reader of an old run
gets the same objects back, so that analysis can be repeated without the GPU.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, asdict, dataclass, field, fields, replace
from typing import Any, ClassVar, Self

FORMAT_VERSION = 1
# The kernels that a run may stress.
MICRO = "micro"
GEMM = "gemm"
HOST = "host"


class RecordError(ValueError):
    """A record that cannot be read: not JSON, of another kind, or of another format version."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Base of all records: `to_json` and `from_json` are inverse."""

    kind: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the record's kind first."""
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The record in `data`; raises `RecordError` when its kind or fields are not this one's."""
        rest = dict(data)
        if rest.pop("kind", None) != cls.kind:
            message = f"expected a record of kind {cls.kind!r}, found {data.get('kind')!r}"
            raise RecordError(message)
        names = {item.name for item in fields(cls)}
        # A field with a default is younger than some records.
        asked = {item.name for item in fields(cls) if _is_required(item)}
        if not asked <= set(rest) <= names:
            odd = ", ".join(sorted((asked - set(rest)) | (set(rest) - names)))
            message = f"record of kind {cls.kind!r} has other fields than this version knows: {odd}"
            raise RecordError(message)
        return cls(**rest)


def _is_required(item: Field[Any]) -> bool:
    return item.default is MISSING and item.default_factory is MISSING


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The machine of a run. Without a GPU the GPU's fields are empty or zero."""

    gpu: str
    gpu_uuid: str
    compute_capability: str
    sm_count: int
    l2_bytes: int
    memory_bytes: int
    sm_clock_khz: int
    driver: str
    python: str
    packages: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Settings(Record):
    """Written before anything runs.

    `kernel` is "micro", "gemm" or "host": the micro-kernel's pairs, the masked GEMM beside Combine
    Send, or producers beside a reader on the host.
    `producer` is the MODULE:FUNCTION of a foreign producer, empty where none takes part. `knobs`
    are those that were fixed, as text; runs that are older do not say them. `seconds_in_all` is
    the GPU time that all rows of a soak share, and 0 in any other run. `killable` names those of
    the rows that a GPU was once seen to show as broken; runs that are older do not say it. `bound`
    is the rate, 95 %, below which a sound row's stress ended, 0 where none did. `environments` is
    the version of those that launches could be tuned to, empty where none could and in older runs.
    """

    kind: ClassVar[str] = "settings"

    format_version: int
    protocol: str
    started: str
    commit: str
    dirty: bool
    command: str
    seed: int
    rows: list[str]
    seconds_per_row: float
    silicon: bool
    silicon_reason: str
    compiler: str
    machine: dict[str, Any]
    kernel: str = MICRO
    producer: str = ""
    knobs: dict[str, str] = field(default_factory=dict)
    seconds_in_all: float = 0.0
    killable: list[str] = field(default_factory=list)
    bound: float = 0.0
    environments: str = ""


@dataclass(frozen=True, kw_only=True)
class CodeReading(Record):
    """What the compiled PTX of one row says, compared with its declaration.

    `skeleton` is step label -> ordering instructions in the order of the PTX text. `model` is the
    model's verdict on the program that was read, `unknown` where it could not be judged and empty
    in records that are older; `model_readings` are as in `ModelReading`, `model_notes` say why the
    program was not judged, or in what it differs from the declared one.

    `machine` is what ptxas kept of the PTX's order, a `MachineVerdict`, empty in records that are
    older; `machine_reasons` speak against "kept" or say why nothing was read, `machine_skeleton` is
    step label -> words of the machine code in program order, `machine_notes` say what a stronger
    instruction would have added to the same words, `disassembler` which nvdisasm was used.
    """

    kind: ClassVar[str] = "code"

    row: str
    variant: str
    verdict: str
    differences: list[str]
    skeleton: list[tuple[str, list[str]]]
    ptx_sha256: str
    cubin_sha256: str
    compiler: str
    model: str = ""
    model_readings: dict[str, str] = field(default_factory=dict)
    model_notes: list[str] = field(default_factory=list)
    machine: str = ""
    machine_reasons: list[str] = field(default_factory=list)
    machine_skeleton: list[tuple[str, list[str]]] = field(default_factory=list)
    machine_notes: list[str] = field(default_factory=list)
    disassembler: str = ""

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """As `Record.from_json`; JSON knows no tuples, so that the pairs are made again."""
        reading = super().from_json(data)
        pairs = [(label, list(instructions)) for label, instructions in reading.skeleton]
        words = [(label, list(found)) for label, found in reading.machine_skeleton]
        return replace(reading, skeleton=pairs, machine_skeleton=words)


@dataclass(frozen=True, kw_only=True)
class ModelReading(Record):
    """What the model level computed for one row.

    `readings` maps each reading of what the ISA leaves open to its verdict; `missing` are the
    orderings that a stale execution shows to be missing, `ordering` those that forbid it, in
    sentences; `witness` is that execution, step by step, or None; `chains` maps every read asked
    about to the edges that order the tile's store before it.
    """

    kind: ClassVar[str] = "model"

    row: str
    variant: str
    verdict: str
    complete: bool
    seconds: float
    readings: dict[str, str]
    missing: list[str]
    ordering: list[str]
    notes: list[str]
    witness: list[dict[str, Any]] | None
    chains: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Witness:
    """One stale word: where, what was expected, what was seen, and how soon after the signal.

    `consumer` says which of a pair's consumers saw it, 0 in records that are older.
    """

    round: int
    pair: int
    tile: int
    offset_bytes: int
    expected: int
    seen: int
    signal: int
    producer_sm: int
    consumer_sm: int
    cycles_since_signal: int
    consumer: int = 0


@dataclass(frozen=True, kw_only=True)
class SlotWitness(Witness):
    """One stale word of the GEMM's output.

    `pair` is the group, `tile` the slot's signal index, `offset_bytes` counts from the slot's first
    row, `row` from there too; `producer_sm` is -1, since D does not say who wrote it.
    """

    row: int
    column: int


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Who waited for what when a launch gave up, or what the watchdog found.

    `what` is one of: threshold never reached, signal overshot, acknowledgement never came,
    not co-resident, not placed as planned, bulk load never completed, signal strayed,
    announcement changed, launch hung, launch failed, out of GPU memory, worker died. Of a GEMM's
    launch `pair` is the slot, by its signal's index. Of several consumers of a pair, `consumer` is
    the one that waited, or whose acknowledgement was waited for; it is 0 in records that are older.
    """

    what: str
    waiter: str
    pair: int
    round: int
    wanted: int
    seen: int
    sm: int
    waited_ns: int
    consumer: int = 0


@dataclass(frozen=True, kw_only=True)
class Launch(Record):
    """One launch of the micro-kernel: counts, histogram, first witnesses, and a fault if any.

    `observations` are the hand-overs that a consumer checked, `planned` those that were asked
    for; they agree unless there is a fault. Where a pair has several consumers, each checks every
    tile: a tile is one hand-over and so many observations. `hand_overs` are tiles that the first of
    them checked, 0 where they were not counted: in the GEMM's launches and in records that are
    older, where every observation is a hand-over. `histogram` counts stale words by offset in the
    tile, in equal bins; it is empty where there are none. `ahead_words` are newer than the round: a
    fault of the harness, never staleness.
    `elapsed_seconds` is GPU time by events. `drain_cycles` is how many cycles one issuing thread of
    each producer waited for its stores, all added, 0 where that was not measured. `planted`
    hand-overs were broken on purpose; `environment` says where the knobs came from, empty in
    records that are older.
    """

    kind: ClassVar[str] = "launch"

    row: str
    variant: str
    seed: int
    index: int
    knobs: dict[str, Any]
    planned: int
    observations: int
    stale_tiles: int
    stale_words: int
    ahead_words: int
    overshoots: int
    elapsed_seconds: float
    histogram: list[int]
    witnesses: list[dict[str, int]] = field(default_factory=list)
    fault: dict[str, Any] | None = None
    worker: str = ""
    gpu: str = ""
    planted: int = 0
    environment: str = ""
    hand_overs: int = 0
    drain_cycles: int = 0

    @property
    def tiles(self) -> int:
        """Hand-overs that were observed, however many consumers each had."""
        return self.hand_overs or self.observations


@dataclass(frozen=True, kw_only=True)
class LaunchSum(Launch):
    """Launches of one row added up, from `index` to `last_index`: what a soak keeps of quiet ones.

    Each counter is the sum of theirs, `launches` how many they are. None of them had a fault; any
    of them can be launched again by its seed and index. `knobs` has for each knob values that it
    had, as many as are worth naming; `witnesses` are none.
    """

    kind: ClassVar[str] = "launch_sum"

    launches: int
    last_index: int


@dataclass(frozen=True, kw_only=True)
class Footprint(Record):
    """What a soak took of the machine at one moment, `launches` launches after its beginning.

    `process` counts the processes that worked on the run, from 1; `seconds` is that process's time
    by a clock that never steps, `gpu_seconds` the GPU time of the whole run. `rss_bytes` is the
    process's resident memory, `raw_bytes` the size of raw.jsonl.
    """

    kind: ClassVar[str] = "footprint"

    process: int
    launches: int
    seconds: float
    gpu_seconds: float
    rss_bytes: int
    raw_bytes: int


@dataclass(frozen=True, kw_only=True)
class LiveLaunch(Launch):
    """One launch of a producer beside Combine Send: rounds in which slots are handed over.

    A slot is `block_m` rows of one group, announced by one signal at `threshold`: both as the
    producer returned them. `waited` slots were polled before they were ready; `rows` were read.
    `wrong_words` name no round: the product is wrong. `audit` has what the signals were when each
    round had ended: slots_short of the threshold, slots_over it, slots_stray without rows, and the
    lowest and highest signal of slots with rows. The histogram is over the columns of D.
    """

    kind: ClassVar[str] = "live_launch"

    producer: str
    block_m: int
    threshold: int
    waited: int
    rows: int
    wrong_words: int
    audit: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class RowVerdict(Record):
    """What a run says of one row, on each level and together.

    `bound` is the one-sided 95 % Clopper-Pearson upper bound of the stale rate, None without
    observations. `model_source` is "declared" or "computed".
    """

    kind: ClassVar[str] = "verdict"

    row: str
    variant: str
    expected: str
    canary: bool
    model: str
    model_source: str
    code: str
    silicon: str
    joint: str
    outcome: str
    stale: int
    observations: int
    bound: float | None
    elapsed_seconds: float
    rounds_per_second: float
    seconds_to_first_stale: float | None
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class Summary(Record):
    """The last record of a run: its outcome and why."""

    kind: ClassVar[str] = "summary"

    outcome: str
    exit_code: int
    complete: bool
    reasons: list[str]
    finished: str
    power: float | None
