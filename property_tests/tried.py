"""What a fault did to a run: counted from the disk, and handed to whoever writes the table.

A test that tries a fault ends with `tried`; `pytest -p fault_table --faults FILE` collects what
such tests say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from sbo_verify.api import findings_of
from sbo_verify.store import RAW_FILE, Run, runs_below

PROPERTY = "tried"
RecordProperty = Callable[[str, object], None]


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One fault. `before` and `after` are whole records on disk, when it came and at the end.

    `lost` are those of before that are not there after; `exit_code` is the process's, negative for
    a signal; `verdict` is what the run is judged as, and `then` what the next run ended with.
    """

    fault: str
    how: str
    times: int
    before: int
    after: int
    lost: int
    verdict: str
    exit_code: str
    then: str


def records(raw: Path) -> list[bytes]:
    """The whole lines of a file of records; none where it is not there."""
    if not raw.exists():
        return []
    return [line for line in raw.read_bytes().split(b"\n")[:-1] if line]


def missing(before: list[bytes], after: list[bytes]) -> int:
    """How many of the records before are not among those after."""
    kept = set(after)
    return sum(line not in kept for line in before)


def only_run(out: Path) -> Run:
    """The only run below a folder."""
    (path,) = runs_below(out)
    return Run.open(path)


def outcome_of(run: Run) -> str:
    """What the run on disk is judged as now."""
    return findings_of(run).summary.outcome


def tried(  # noqa: PLR0913 - the columns of a table
    record_property: RecordProperty,
    run: Run,
    *,
    fault: str,
    how: str,
    before: list[bytes],
    exit_code: int | str,
    then: int | str,
) -> Tried:
    """What the fault did to this run, as the test's property."""
    after = records(run.path / RAW_FILE)
    entry = Tried(
        fault=fault,
        how=how,
        times=1,
        before=len(before),
        after=len(after),
        lost=missing(before, after),
        verdict=outcome_of(run),
        exit_code=str(exit_code),
        then=str(then),
    )
    record_property(PROPERTY, asdict(entry))
    return entry
