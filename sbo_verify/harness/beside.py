"""Records of other commands that a report shows beside a run: costs, sightings, machine code.

They were made at other times, by other commits: each part says which record it came from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Self

from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.protocols.signal_publish.gemm import gemm_runs, producer_half
from sbo_verify.protocols.signal_publish.sites import SignalPublish

OWN_PRODUCER = "sbo_verify"
SIZES = ("groups", "m", "n", "k")
ONE_KERNEL = "of variants that differ in the consumer alone, one was measured for all"
KNOWN = "bench gemm --json, canaries --json and toolchains --json"


class BesideError(ValueError):
    """A file that is no record that a report can show beside a run."""


@dataclass(frozen=True, kw_only=True)
class ShapeCost:
    """What the signal of one variant adds to the GEMM's own plain time for one shape."""

    shape: str
    plain_microseconds: float
    microseconds: float
    costs: float

    @property
    def added_microseconds(self) -> float:
        """The time with the signal less the plain one."""
        return self.microseconds - self.plain_microseconds


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The signal's cost over the shapes of one benchmark."""

    shapes: list[ShapeCost]

    @property
    def microseconds(self) -> float:
        """Median over the shapes of what is added."""
        return median(each.added_microseconds for each in self.shapes)

    @property
    def share(self) -> float:
        """Median over the shapes of what is added, as a share of the plain time."""
        return median(each.costs for each in self.shapes)


@dataclass(frozen=True, kw_only=True)
class Sighted:
    """How soon a canary was seen, over `seeds` seeds; GPU seconds of those in which it was."""

    seeds: int
    unseen: int
    seconds: list[float]


@dataclass(frozen=True, kw_only=True)
class MachineWords:
    """What one release of ptxas made of a variant: `skeleton` is as in `record.CodeReading`."""

    ptxas: str
    target: str
    verdict: str
    skeleton: list[tuple[str, list[str]]]


@dataclass(frozen=True, kw_only=True)
class Beside:
    """All that stands beside a run, by row name; `sources` say where each part came from.

    `machine` is joined by the variant's hash, the others by the row's name, which is all that
    their records hold.
    """

    costs: dict[str, Cost] = field(default_factory=dict)
    sighted: dict[str, Sighted] = field(default_factory=dict)
    machine: dict[str, MachineWords] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[tuple[str, object]], compiler: str) -> Self:
        """From (file name, JSON value) pairs; raises `BesideError` that names the file.

        `compiler` is that of the run: of a comparison of toolchains its own release is taken.
        """
        beside = cls()
        for name, data in records:
            try:
                beside._add(_object(data), compiler)
            except (KeyError, TypeError, ValueError, IndexError) as error:
                message = f"{name} is no record of {KNOWN} that this version reads ({error!r})"
                raise BesideError(message) from error
        return beside

    def _add(self, data: Mapping[str, Any], compiler: str) -> None:
        if data.get("kind") == "toolchains":
            self._add_machine(data, compiler)
        elif "sightings" in data:
            self.sources["sighted"] = _made(data["settings"])
            self.sighted.update(_sighted(data["sightings"]))
        else:
            self.sources["costs"] = f"{_made(data['settings'])}; {ONE_KERNEL}"
            self.costs.update(_of_every_row(_costs(data["cells"])))

    def _add_machine(self, data: Mapping[str, Any], compiler: str) -> None:
        columns = data["columns"]
        release = compiler.rsplit(" ", 1)[-1]
        place = [
            index
            for index, each in enumerate(columns)
            if each["ptxas"] == release and each["target"] == "sm_90a"
        ]
        if not place:
            message = f"it has no column of ptxas {release} for sm_90a, which made this run's code"
            raise ValueError(message)
        column = columns[place[0]]
        self.sources["machine"] = (
            f"{data['command']}, commit {data['commit']}, {data['started']}, "
            f"PTX by {data['ptx_compiler']}"
        )
        for row in data["rows"].values():
            cell = row["cells"][place[0]]
            self.machine[row["variant"]] = MachineWords(
                ptxas=column["ptxas"],
                target=column["target"],
                verdict=cell["verdict"],
                skeleton=[(s, list(words)) for s, words in data["skeletons"][cell["skeleton"]]],
            )


def _object(data: object) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        message = f"a JSON object is wanted, not {type(data).__name__}"
        raise TypeError(message)
    return data


def _made(settings: Mapping[str, Any]) -> str:
    machine = settings["machine"]
    return (
        f"{settings['command']}, {machine['gpu']}, driver {machine['driver']}, "
        f"{settings['compiler']}, commit {settings['commit']}, {settings['started']}"
    )


def _costs(cells: Sequence[Mapping[str, Any]]) -> dict[str, Cost]:
    """Of the project's own producer, whose variants are the catalogue's."""
    own = [cell for cell in cells if cell["producer"] == OWN_PRODUCER]
    plain = {_shape(cell): float(cell["microseconds"]) for cell in own if cell["costs"] is None}
    shapes: dict[str, list[ShapeCost]] = {}
    for cell in own:
        if cell["costs"] is not None:
            cost = ShapeCost(
                shape=_shape(cell),
                plain_microseconds=plain[_shape(cell)],
                microseconds=float(cell["microseconds"]),
                costs=float(cell["costs"]),
            )
            shapes.setdefault(cell["variant"], []).append(cost)
    return {variant: Cost(shapes=found) for variant, found in shapes.items()}


def _of_every_row(costs: Mapping[str, Cost]) -> dict[str, Cost]:
    """Those of the same kernel too: the GEMM runs a variant's producer alone."""
    halves = {
        row.name: producer_half(row.variant) for row in SIGNAL_PUBLISH if gemm_runs(row.variant)
    }
    kernels: dict[SignalPublish, Cost] = {}
    for name, half in halves.items():
        if name in costs:
            kernels.setdefault(half, costs[name])
    shared = {name: kernels[half] for name, half in halves.items() if half in kernels}
    return shared | dict(costs)


def _shape(cell: Mapping[str, Any]) -> str:
    return "x".join(str(cell[size]) for size in SIZES)


def _sighted(sightings: Sequence[Mapping[str, Any]]) -> dict[str, Sighted]:
    times: dict[str, list[float | None]] = {}
    for each in sightings:
        times.setdefault(each["row"], []).append(each["seconds"])
    return {
        row: Sighted(
            seeds=len(found),
            unseen=found.count(None),
            seconds=sorted(time for time in found if time is not None),
        )
        for row, found in times.items()
    }
