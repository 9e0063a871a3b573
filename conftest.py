"""Options of the gate, the one decision whether silicon tests run, and the gate's summary.

`pytest stress/ -n 8 --require-gpu` is the gate. The controlling process draws the seed, makes the
run's folder and judges the run at the end; workers lease a GPU and append records to that folder.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings as hypothesis_settings

if TYPE_CHECKING:
    from sbo_verify.harness.gate import Gate
    from sbo_verify.protocol import Row

SEED_BITS = 32
DEFAULT_BUDGET_SECONDS = 100.0
CRASH_RERUNS = 1

# The same examples everywhere and no deadline: CI machines are slow and shared.
hypothesis_settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
hypothesis_settings.load_profile("ci")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The gate's options; `--help` lists them."""
    group = parser.getgroup("sbo_verify", "the hand-over gate on Hopper GPUs")
    group.addoption("--seed", type=int, default=None, help="seed of all randomness; drawn if absent")
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
    group.addoption("--sbo-run", default="", help="run folder to append to (set for workers)")


@dataclass(frozen=True)
class Silicon:
    """Whether tests that need a GPU can run here, and if not, why."""

    usable: bool
    reason: str


_SILICON = pytest.StashKey[Silicon]()
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


def _look_for_silicon() -> Silicon:
    from sbo_verify.device.gpu import NoGpuError, describe_gpu  # noqa: PLC0415 - GPU machines only

    try:
        describe_gpu(0)
    except NoGpuError as error:
        return Silicon(usable=False, reason=f"needs a Hopper GPU: {error}")
    return Silicon(usable=True, reason="")


def pytest_configure(config: pytest.Config) -> None:
    """Draw the seed, look for a GPU, refuse bad options, make the run's folder."""
    config.addinivalue_line("markers", "silicon: needs a Hopper GPU")
    config.stash[_CRASHES] = []
    if config.option.seed is None:
        config.option.seed = secrets.randbits(SEED_BITS)
    if not _selects_stress(config):
        config.stash[_SILICON] = Silicon(usable=False, reason="stress/ was not selected")
        return
    silicon = _look_for_silicon()
    config.stash[_SILICON] = silicon
    if config.option.budget <= 0:
        message = f"--budget is {config.option.budget}; allowed is a number of seconds above 0"
        raise pytest.UsageError(message)
    rows = _rows(config)
    if _is_worker(config) or not silicon.usable or config.option.collectonly:
        return
    from sbo_verify.device.gpu import describe_gpu  # noqa: PLC0415 - GPU machines only
    from sbo_verify.harness.session import settings_of  # noqa: PLC0415
    from sbo_verify.store import Run, StoreError  # noqa: PLC0415

    plan = _plan(config, rows)
    try:
        run = Run.create(Path(config.option.out), settings_of(plan, describe_gpu(0), ""))
    except StoreError as error:
        raise pytest.UsageError(str(error)) from error
    config.option.sbo_run = str(run.path)


def _rows(config: pytest.Config) -> list[Row]:
    from sbo_verify.harness.session import choose_rows  # noqa: PLC0415 - scipy-free but not needed by all
    from sbo_verify.protocol import UnknownNameError  # noqa: PLC0415
    from sbo_verify.protocols import PROTOCOLS  # noqa: PLC0415

    names = [name.strip() for name in config.option.variants.split(",") if name.strip()]
    try:
        return choose_rows(PROTOCOLS["signal_publish"], names)
    except UnknownNameError as error:
        raise pytest.UsageError(str(error)) from error


def _plan(config: pytest.Config, rows: list[Row]) -> Any:  # noqa: ANN401 - imported lazily
    from sbo_verify.harness.session import Plan  # noqa: PLC0415
    from sbo_verify.protocols import PROTOCOLS  # noqa: PLC0415

    words = [f"--seed {config.option.seed}", f"--budget {config.option.budget:g}"]
    if config.option.variants:
        words.append(f"--variants {config.option.variants}")
    return Plan(
        protocol=PROTOCOLS["signal_publish"],
        rows=rows,
        seed=config.option.seed,
        seconds=config.option.budget,
        command=" ".join(["pytest stress/", *words]),
    )


def pytest_report_header(config: pytest.Config) -> list[str]:
    """The seed and the run's folder, before anything runs."""
    lines = [f"sbo_verify: seed {config.option.seed}"]
    if config.option.sbo_run:
        lines.append(f"sbo_verify: records in {config.option.sbo_run}")
    return lines


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One gate test for each row, or for each of those that `--variants` names."""
    if "gated_row" in metafunc.fixturenames:
        rows = _rows(metafunc.config)
        metafunc.parametrize("gated_row", rows, ids=[row.name for row in rows])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The one place that decides what happens without a GPU."""
    if item.get_closest_marker("silicon") is None:
        return
    silicon = item.config.stash[_SILICON]
    if silicon.usable:
        return
    if item.config.option.require_gpu:
        pytest.fail(f"unknown: silicon did not run: {silicon.reason}", pytrace=False)
    pytest.skip(silicon.reason)


@pytest.fixture(scope="session")
def bench() -> Any:  # noqa: ANN401 - imported lazily
    """This process's GPU, leased until the process ends."""
    from sbo_verify.device.gpu import describe_gpu, open_gpu, visible_gpus  # noqa: PLC0415
    from sbo_verify.harness.lease import take_lease  # noqa: PLC0415
    from sbo_verify.harness.runner import Bench  # noqa: PLC0415
    from sbo_verify.protocols import PROTOCOLS  # noqa: PLC0415

    lease = take_lease([describe_gpu(index).uuid for index in range(visible_gpus())])
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    made = Bench(PROTOCOLS["signal_publish"], open_gpu(lease.gpu), worker)
    yield made
    lease.release()


@pytest.fixture(scope="session")
def gate(pytestconfig: pytest.Config, bench: Any) -> Gate:  # noqa: ANN401 - imported lazily
    """This worker's half of the gate."""
    from sbo_verify.harness.gate import Gate  # noqa: PLC0415
    from sbo_verify.store import Run  # noqa: PLC0415

    return Gate(
        run=Run.open(Path(pytestconfig.option.sbo_run)),
        bench=bench,
        plan=_plan(pytestconfig, _rows(pytestconfig)),
        budget_seconds=pytestconfig.option.budget,
        workers=int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")),
    )


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str, report: Any, sched: Any) -> None:  # noqa: ANN401 - xdist has no types
    """A worker that died is a fault of the machine: its test runs once more, and that is said.

    What the dead worker recorded of the row stays and counts; a stale tile or a hung launch among
    it is not run away.
    """
    crashes = sched.config.stash[_CRASHES]
    if crashes.count(crashitem) < CRASH_RERUNS:
        crashes.append(crashitem)
        sched.mark_test_pending(crashitem)
        report.outcome = "rerun"


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:  # noqa: ANN401 - pytest's class is private
    """Judge the run from its folder and say what it is worth."""
    if _is_worker(config) or not config.option.sbo_run:
        return
    from sbo_verify.harness.session import conclude  # noqa: PLC0415
    from sbo_verify.protocols import PROTOCOLS  # noqa: PLC0415
    from sbo_verify.store import Run  # noqa: PLC0415

    run = Run.open(Path(config.option.sbo_run))
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
    for reason in summary.reasons:
        out.write_line(f"because: {reason}")
    out.write_line(f"gate: {summary.outcome}; report: sbo-verify report {run.path}")
