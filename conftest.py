"""Options of the gate, the one decision whether silicon tests run, and the gate's summary.

`pytest stress/ -n 8 --require-gpu` is the gate. The controlling process draws the seed, makes the
run's folder and judges the run at the end; workers lease a GPU and append records to that folder.
"""

from __future__ import annotations

import math
import os
import secrets
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import settings as hypothesis_settings

if TYPE_CHECKING:
    from sbo_verify.harness.gate import Gate
    from sbo_verify.protocol import Row

SEED_BITS = 32
DEFAULT_BUDGET_SECONDS = 100.0
CRASH_RERUNS = 1
REASONS_SHOWN = 12
TIMEOUT_FLOOR_SECONDS = 300.0
TIMEOUT_FACTOR = 4.0

# The same examples everywhere and no deadline: CI machines are slow and shared.
hypothesis_settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
hypothesis_settings.load_profile("ci")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The gate's options; `--help` lists them."""
    group = parser.getgroup("sbo_verify", "the hand-over gate on Hopper GPUs")
    group.addoption(
        "--seed", type=int, default=None, help="seed of all randomness; drawn if absent"
    )
    group.addoption(
        "--budget",
        type=float,
        default=DEFAULT_BUDGET_SECONDS,
        metavar="SECONDS",
        help="seconds of stress for the whole gate, shared by its rows (default: %(default)s)",
    )
    group.addoption("--variants", default="", help="names, hashes or * patterns, comma-separated")
    group.addoption(
        "--require-gpu", action="store_true", help="fail, instead of skip, what needs a GPU"
    )
    group.addoption("--out", default="runs", help="folder that the run is written below")


@dataclass(frozen=True)
class Session:
    """What the controlling process decided for itself and all workers.

    `run` is the folder that records go to, empty where silicon cannot run; `why_not` says why.
    """

    seed: int
    run: str
    why_not: str


_SESSION = pytest.StashKey[Session]()
_CRASHES = pytest.StashKey[list[str]]()


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def _selects_stress(config: pytest.Config) -> bool:
    """Whether this invocation can reach a test that needs a GPU at all."""
    here = Path(str(config.rootpath)) / "stress"
    for word in config.args:
        path = (Path(str(config.invocation_params.dir)) / word.split("::")[0]).resolve()
        if path == here or here in path.parents or path in here.parents:
            return True
    return False


def _why_no_silicon() -> str:
    """Empty where a Hopper GPU can be used."""
    from sbo_verify.device.gpu import NoGpuError, usable_gpus  # noqa: PLC0415 - GPU machines only

    try:
        usable_gpus()
    except NoGpuError as error:
        return f"needs a Hopper GPU: {error}"
    return ""


def pytest_configure(config: pytest.Config) -> None:
    """Refuse bad options, draw the seed, look for a GPU, make the run's folder."""
    config.addinivalue_line("markers", "silicon: needs a Hopper GPU")
    config.stash[_CRASHES] = []
    if not 0 < config.option.budget < math.inf:
        message = f"--budget is {config.option.budget}; allowed is a number of seconds above 0"
        raise pytest.UsageError(message)
    rows = _rows(config)
    if _is_worker(config):
        config.stash[_SESSION] = Session(**config.workerinput["sbo_verify"])  # type: ignore[attr-defined]
        return
    drawn = secrets.randbits(SEED_BITS) if config.option.seed is None else config.option.seed
    selected = _selects_stress(config) and not config.option.collectonly
    why_not = _why_no_silicon() if selected else "stress/ was not selected"
    run = "" if why_not else _create_run(config, rows, drawn)
    config.stash[_SESSION] = Session(seed=drawn, run=run, why_not=why_not)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:  # noqa: ANN401 - xdist has no types
    """Workers parse the command line again; what was decided here travels beside it."""
    node.workerinput["sbo_verify"] = asdict(node.config.stash[_SESSION])


def _create_run(config: pytest.Config, rows: list[Row], seed: int) -> str:
    from sbo_verify.device.gpu import usable_gpus  # noqa: PLC0415 - GPU machines only
    from sbo_verify.harness.session import settings_of  # noqa: PLC0415
    from sbo_verify.store import Run, StoreError  # noqa: PLC0415

    settings = settings_of(_plan(config, rows, seed), usable_gpus()[0], "")
    try:
        return str(Run.create(Path(config.option.out), settings).path)
    except StoreError as error:
        raise pytest.UsageError(str(error)) from error


def _rows(config: pytest.Config) -> list[Row]:
    from sbo_verify.harness.session import choose_rows  # noqa: PLC0415 - scipy-free but not needed by all
    from sbo_verify.protocol import UnknownNameError  # noqa: PLC0415
    from sbo_verify.protocols import PROTOCOLS  # noqa: PLC0415

    names = [name.strip() for name in config.option.variants.split(",") if name.strip()]
    try:
        return choose_rows(PROTOCOLS["signal_publish"], names)
    except UnknownNameError as error:
        raise pytest.UsageError(str(error)) from error


def _plan(config: pytest.Config, rows: list[Row], seed: int) -> Any:  # noqa: ANN401 - imported lazily
    from sbo_verify.harness.session import Plan  # noqa: PLC0415
    from sbo_verify.protocols import PROTOCOLS  # noqa: PLC0415

    words = [f"--seed {seed}", f"--budget {config.option.budget:g}"]
    if config.option.variants:
        words.append(f"--variants {config.option.variants}")
    return Plan(
        protocol=PROTOCOLS["signal_publish"],
        rows=rows,
        seed=seed,
        seconds=config.option.budget,
        command=" ".join(["pytest stress/", *words]),
    )


def pytest_report_header(config: pytest.Config) -> list[str]:
    """The seed and the run's folder, before anything runs."""
    session = config.stash[_SESSION]
    lines = [f"sbo_verify: seed {session.seed}"]
    if session.run:
        lines.append(f"sbo_verify: records in {session.run}")
    return lines


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One gate test for each row, or for each of those that `--variants` names."""
    if "gated_row" in metafunc.fixturenames:
        rows = _rows(metafunc.config)
        metafunc.parametrize("gated_row", rows, ids=[row.name for row in rows])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A gate test may take several times its planned share before pytest-timeout ends it."""
    from sbo_verify.harness.gate import longest_seconds_for  # noqa: PLC0415

    rows, workers = _rows(config), _worker_count()
    for item in items:
        if isinstance(item, pytest.Function) and "gated_row" in item.fixturenames:
            row = cast("Row", item.callspec.params["gated_row"])
            planned = longest_seconds_for(row, rows, config.option.budget, workers)
            limit = TIMEOUT_FLOOR_SECONDS + TIMEOUT_FACTOR * planned
            item.add_marker(pytest.mark.timeout(limit))


def _worker_count() -> int:
    return int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The one place that decides what happens without a GPU."""
    if item.get_closest_marker("silicon") is None:
        return
    session = item.config.stash[_SESSION]
    if session.run:
        return
    if item.config.option.require_gpu:
        pytest.fail(f"unknown: silicon did not run: {session.why_not}", pytrace=False)
    pytest.skip(session.why_not)


@pytest.fixture(scope="session")
def bench() -> Any:  # noqa: ANN401 - imported lazily
    """The GPU of this process, leased until the process ends."""
    from sbo_verify.device.gpu import open_gpu, usable_gpus  # noqa: PLC0415
    from sbo_verify.harness.lease import take_lease  # noqa: PLC0415
    from sbo_verify.harness.runner import Bench  # noqa: PLC0415
    from sbo_verify.protocols import PROTOCOLS  # noqa: PLC0415

    gpus = usable_gpus()
    lease = take_lease([gpu.uuid for gpu in gpus])
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    made = Bench(PROTOCOLS["signal_publish"], open_gpu(gpus[lease.gpu].index), worker)
    yield made
    lease.release()


@pytest.fixture(scope="session")
def gate(pytestconfig: pytest.Config, bench: Any) -> Gate:  # noqa: ANN401 - imported lazily
    """The half of the gate that this worker plays."""
    from sbo_verify.harness.gate import Gate  # noqa: PLC0415
    from sbo_verify.store import Run  # noqa: PLC0415

    session = pytestconfig.stash[_SESSION]
    return Gate(
        run=Run.open(Path(session.run)),
        bench=bench,
        plan=_plan(pytestconfig, _rows(pytestconfig), session.seed),
        budget_seconds=pytestconfig.option.budget,
        workers=_worker_count(),
    )


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str, report: Any, sched: Any) -> None:  # noqa: ANN401 - xdist has no types
    """A worker that died is a fault of the machine: a gate's test runs once more, and that is said.

    What the dead worker recorded of the row stays and counts; a stale tile or a hung launch among
    it is not run away.
    """
    crashes = sched.config.stash[_CRASHES]
    if "test_handover" in crashitem and crashes.count(crashitem) < CRASH_RERUNS:
        crashes.append(crashitem)
        sched.mark_test_pending(crashitem)
        report.outcome = "rerun"


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:  # noqa: ANN401 - pytest's class is private
    """Judge the run from its folder and say what it is worth."""
    session = config.stash[_SESSION]
    if _is_worker(config) or not session.run:
        return
    from sbo_verify.harness.session import conclude  # noqa: PLC0415
    from sbo_verify.protocols import PROTOCOLS  # noqa: PLC0415
    from sbo_verify.store import Run  # noqa: PLC0415

    run = Run.open(Path(session.run))
    if not run.launches() and not run.code_readings():
        # Other tests of stress/ ran, and no row of the gate: there is no run to speak of.
        shutil.rmtree(run.path)
        return
    verdicts, summary = conclude(run, PROTOCOLS["signal_publish"])
    out = terminalreporter
    out.section("sbo_verify")
    for crash in config.stash[_CRASHES]:
        out.write_line(f"a worker died in {crash}; the test was run once more")
    for verdict in verdicts:
        bound = "" if verdict.bound is None else f", rate below {verdict.bound:.1e} at 95 %"
        out.write_line(
            f"{verdict.outcome:8s}{verdict.joint:28s}{verdict.row}: {verdict.stale:,} of "
            f"{verdict.observations:,}{bound}"
        )
    power = "none" if summary.power is None else f"{summary.power:.6f}"
    out.write_line(f"detection power from the canaries: {power}")
    for reason in summary.reasons[:REASONS_SHOWN]:
        out.write_line(f"because: {reason}")
    if len(summary.reasons) > REASONS_SHOWN:
        out.write_line(f"and {len(summary.reasons) - REASONS_SHOWN} more reasons in the report")
    out.write_line(f"gate: {summary.outcome}; report: sbo-verify report {run.path}")
