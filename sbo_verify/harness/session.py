"""A run from settings to verdict: reads the code, stresses the rows, and judges what was recorded.

Everything is appended to the run's folder as it happens, so that Ctrl-C or a crash leaves a run
that can be read; nothing is kept only in memory.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol as Shape

from sbo_verify.compiled.conformance import code_reading
from sbo_verify.device.build import build
from sbo_verify.device.gpu import Gpu, describe_machine
from sbo_verify.device.gpu_errors import gpu_errors_named
from sbo_verify.device.micro_kernel import GpuLostError, GpuMemoryError, LaunchHungError
from sbo_verify.device.nvrtc import compiler_version
from sbo_verify.harness.code_model import micro_program, model_of_code, with_model
from sbo_verify.harness.environments import kept
from sbo_verify.harness.folding import last_index
from sbo_verify.harness.judgement import Evidence, judge_run
from sbo_verify.harness.knobs import Knobs
from sbo_verify.harness.machine_code import with_machine_code
from sbo_verify.harness.results import lost_record
from sbo_verify.harness.runner import HANG_FACTOR, HANG_FLOOR_SECONDS
from sbo_verify.harness.watchdog import Watchdog
from sbo_verify.model import judge
from sbo_verify.model.steps import as_data
from sbo_verify.protocol import Protocol, Row, UnknownNameError
from sbo_verify.rates import observations_needed
from sbo_verify.record import (
    FORMAT_VERSION,
    MICRO,
    CodeReading,
    Launch,
    ModelReading,
    RowVerdict,
    Settings,
    Summary,
)
from sbo_verify.store import Run
from sbo_verify.verdict import CodeVerdict

COMMIT_VARIABLE = "SBO_VERIFY_COMMIT"
UNKNOWN_COMMIT = ""
ROOT = Path(__file__).resolve().parents[2]
# Beyond the launch's own limit and its grace, after which it would have been stopped already.
WATCHDOG_FACTOR = 4
ROWS_AT_ONCE = 2


# What reads the compiled code of a row; None where the row's code is not this project's.
ReadRow = Callable[[Protocol, Row], CodeReading | None]


class StressBench(Shape):
    """One process's GPU, as a row's stress uses it: `Bench` or `LiveBench`."""

    worker: str
    gpu: Gpu

    def kernel(self, row: Row) -> object:
        """Build and load what the row needs, so that no launch waits for a compiler."""

    def launch(
        self, row: Row, seed: int, index: int, fixed: dict[str, str] | None = None
    ) -> Launch:
        """Launch `index` of `row` under `seed`; `fixed` overrides drawn knobs by name."""

    def stress(  # noqa: PLR0913 - what to run, and the three ways to end it
        self,
        row: Row,
        seed: int,
        *,
        seconds: float,
        fixed: dict[str, str] | None = None,
        observations: int = 0,
        until_stale: int = 0,
        first: int = 0,
    ) -> Iterator[Launch]:
        """Launches of one row, one after the other, from the index `first` on."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run is to do. `seconds` are seconds of GPU time for each row; 0 for no silicon.

    `kernel`, `producer` and `bound` are as in `record.Settings`.
    """

    protocol: Protocol
    rows: Sequence[Row]
    seed: int
    seconds: float
    observations: int = 0
    fixed: dict[str, str] = field(default_factory=dict)
    command: str = ""
    kernel: str = MICRO
    producer: str = ""
    bound: float = 0.0


def choose_rows(protocol: Protocol, names: Iterable[str]) -> list[Row]:
    """Rows by name, hash, or a `*` pattern; all of them when nothing is named.

    Raises `UnknownNameError` for a name or pattern that matches nothing.
    """
    from fnmatch import fnmatchcase  # noqa: PLC0415 - only where a pattern is asked for

    chosen: list[Row] = []
    for name in names:
        if "*" in name:
            matching = [row for row in protocol if fnmatchcase(row.name, name)]
            if not matching:
                message = f"no variant matches {name!r}; see `sbo-verify list`"
                raise UnknownNameError(message)
            chosen.extend(matching)
        else:
            chosen.append(protocol.row(name))
    unique = list(dict.fromkeys(chosen))
    return unique or list(protocol)


def commit_of_source(root: Path = ROOT) -> tuple[str, bool]:
    """Commit of the source tree and whether it was changed since.

    A tree without history of its own may say its commit in $SBO_VERIFY_COMMIT, with `-dirty` behind
    it where that applies. One that only lies in a repository, exported or installed there, and says
    nothing is taken for a part of it; otherwise the commit is empty.
    """
    told = os.environ.get(COMMIT_VARIABLE, UNKNOWN_COMMIT)
    try:
        top = Path(_git(root, "rev-parse", "--show-toplevel"))
        if top.resolve() == root.resolve() or not told:
            commit = _git(root, "rev-parse", "HEAD")
            return commit, bool(_git(root, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        pass
    return told.removesuffix("-dirty"), told.endswith("-dirty")


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(  # noqa: S603 - fixed words
        ["git", "-C", str(root), *words],  # noqa: S607 - the caller's git
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def enough_for(row: Row, plan: Plan) -> int:
    """Hand-overs with which a sound row has the bound that is wanted; 0 where none is."""
    return observations_needed(plan.bound) if plan.bound and row.sound else 0


def settings_of(plan: Plan, gpu: Gpu | None, silicon_reason: str) -> Settings:
    """The settings record of a run that starts now. `silicon_reason` says why there is no GPU."""
    commit, dirty = commit_of_source()
    tuned = kept() if plan.kernel == MICRO and gpu is not None else None
    return Settings(
        format_version=FORMAT_VERSION,
        protocol=plan.protocol.name,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit,
        dirty=dirty,
        command=plan.command or shlex.join(["sbo-verify", *sys.argv[1:]]),
        seed=plan.seed,
        rows=[row.name for row in plan.rows],
        seconds_per_row=plan.seconds,
        silicon=gpu is not None,
        silicon_reason=silicon_reason,
        compiler=compiler_version(),
        machine=asdict(describe_machine(gpu)),
        kernel=plan.kernel,
        producer=plan.producer,
        knobs=dict(plan.fixed),
        bound=plan.bound,
        killable=[row.name for row in plan.rows if tuned and row.name in tuned.killable],
        environments=tuned.version if tuned else "",
    )


def read_model(
    run: Run, protocol: Protocol, rows: Iterable[Row], on_row: Callable[[Row], None]
) -> None:
    """Judge every row under the memory model and record the answer."""
    for row in rows:
        answer = judge(protocol.name, row.variant)
        run.append(
            ModelReading(
                row=row.name,
                variant=protocol.hash_of(row.variant),
                verdict=answer.verdict.value,
                complete=answer.complete,
                seconds=answer.seconds,
                readings=answer.readings,
                missing=answer.missing,
                ordering=answer.ordering,
                notes=answer.notes,
                witness=None if answer.witness is None else as_data(answer.witness),
                chains={question: as_data(chain) for question, chain in answer.chains.items()},
            )
        )
        on_row(row)


def micro_reading(protocol: Protocol, row: Row) -> CodeReading:
    """What the micro-kernel of one row was compiled to, and what the model says of that."""
    artefact = build(protocol, row.variant)
    model = model_of_code(protocol.name, row.variant, micro_program(artefact.ptx))
    reading = with_model(code_reading(protocol, row, artefact), model)
    return with_machine_code(reading, [artefact])


def read_code(
    run: Run,
    protocol: Protocol,
    rows: Iterable[Row],
    on_row: Callable[[Row], None],
    read: ReadRow = micro_reading,
) -> dict[str, CodeReading | None]:
    """Build every row, read its PTX and its machine code back and record them; name to reading.

    nvdisasm is a process of its own, which works on one row while the next is compiled.
    """
    readings: dict[str, CodeReading | None] = {}
    chosen = list(rows)
    with ThreadPoolExecutor(ROWS_AT_ONCE) as pool:
        pending = [pool.submit(read, protocol, row) for row in chosen]
        try:
            for row, each in zip(chosen, pending, strict=True):
                reading = each.result()
                if reading is not None:
                    run.append(reading)
                readings[row.name] = reading
                on_row(row)
        except BaseException:
            # Ctrl-C, too, must not wait for the rows that nobody will look at.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return readings


def stress_row(  # noqa: PLR0913 - the parts of a row's stress
    run: Run,
    bench: StressBench,
    row: Row,
    plan: Plan,
    on_launch: Callable[[Launch], None],
    *,
    seconds: float | None = None,
    until_stale: int = 0,
    enough: int = 0,
    first: int = 0,
) -> list[Launch]:
    """All launches of one row from the index `first` on, recorded one by one.

    Ends as the bench's stress does, or before that with `enough` hand-overs, where that is not 0.
    A GPU without room for a launch ends the row, with a record that says so. Raises `GpuLostError`
    after recording it: the process's GPU context is lost and it must end; `DiskError` where a
    record could not be written, or not without the room that was reserved for the last ones.
    """
    limit, watchdog = _longest_seconds(plan), Watchdog()
    launches: list[Launch] = []

    def leave_record(what: str = LaunchHungError.what) -> Launch:
        lost = _lost(what, bench, row, plan, first + len(launches))
        run.append(lost)
        return lost

    stream: Iterator[Launch] | None = None
    while True:
        try:
            with watchdog.guard(limit, leave_record), gpu_errors_named():
                if stream is None:
                    bench.kernel(row)
                    stream = bench.stress(
                        row,
                        plan.seed,
                        seconds=plan.seconds if seconds is None else seconds,
                        fixed=plan.fixed,
                        observations=plan.observations if row.sound else 0,
                        until_stale=until_stale,
                        first=first,
                    )
                launch = next(stream, None)
        except GpuLostError as error:
            leave_record(error.what)
            raise
        except GpuMemoryError as error:
            lost = leave_record(error.what)
            on_launch(lost)
            return [*launches, lost]
        if launch is None:
            return launches
        run.append(launch)
        launches.append(launch)
        on_launch(launch)
        if 0 < enough <= sum(each.tiles for each in launches):
            return launches


def _longest_seconds(plan: Plan) -> float:
    """How long a launch may take until the watchdog ends the process."""
    timeout = float(plan.fixed.get("timeout_ms", Knobs().timeout_ms)) * 1e-3
    return WATCHDOG_FACTOR * (max(HANG_FLOOR_SECONDS, HANG_FACTOR * timeout) + 10 * timeout)


def _lost(what: str, bench: StressBench, row: Row, plan: Plan, index: int) -> Launch:
    name = {
        "row": row.name,
        "variant": plan.protocol.hash_of(row.variant),
        "seed": plan.seed,
        "index": index,
        "worker": bench.worker,
        "gpu": bench.gpu.uuid,
    }
    return lost_record(what, dict(plan.fixed), name)


def next_index(run: Run, row: Row) -> int:
    """The index behind all launches that the run has of a row, whichever process made them."""
    return max((last_index(launch) + 1 for launch in run.launches_of(row.name)), default=0)


def conforms(reading: CodeReading | None) -> bool:
    """Whether the code of a row is what its declaration says: else it must not be launched.

    A foreign producer declares nothing that its code could differ from.
    """
    return reading is None or reading.verdict == CodeVerdict.AS_DECLARED


def conclude(
    run: Run, protocol: Protocol, *, interrupted: bool = False
) -> tuple[list[RowVerdict], Summary]:
    """Judge what the run's folder holds and write the verdict beside it."""
    evidence = Evidence.of_run(protocol, run, finished=datetime.now(UTC), interrupted=interrupted)
    verdicts, summary = judge_run(evidence)
    run.finish(verdicts, summary)
    return verdicts, summary
