"""Options of the gate, the one decision whether silicon tests run, and the gate's summary.

`pytest stress/ -n 8 --require-gpu` is the gate. The controlling process draws the seed, makes the
run's folder and judges the run at the end; workers lease a GPU and append records to that folder.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import settings as hypothesis_settings

from sbo_verify.pytest_plugin import append_summaries, refuse_file, refuse_seconds, refuse_seed

if TYPE_CHECKING:
    from sbo_verify.harness.gate import Gate
    from sbo_verify.harness.session import Plan
    from sbo_verify.protocol import Row

SEED_BITS = 32
# With 35 s that gate took 66 s on an H200, most sound rows ending at 1.3e-8 to 2.1e-8. With these
# two all of stress/ should take 150 to 165 s there with 8 workers, by the times of its parts.
DEFAULT_BUDGET_SECONDS = 75.0
DEFAULT_GEMM_BUDGET_SECONDS = 12.0
# As `record.MICRO` and `record.GEMM`; nothing of the package is imported where no test needs it.
MICRO, GEMM = "micro", "gemm"
# The parameter that a gate's test has its row in.
GATED = {"gated_row": MICRO, "gemm_row": GEMM}
CRASH_RERUNS = 1
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
    group.addoption(
        "--gemm-budget",
        type=float,
        default=DEFAULT_GEMM_BUDGET_SECONDS,
        metavar="SECONDS",
        help="the same for the GEMM beside Combine Send (default: %(default)s)",
    )
    group.addoption("--variants", default="", help="names, hashes or * patterns, comma-separated")
    group.addoption(
        "--require-gpu", action="store_true", help="fail, instead of skip, what needs a GPU"
    )
    group.addoption("--out", default="runs", help="folder that the run is written below")
    group.addoption(
        "--summary",
        default=None,
        metavar="FILE",
        help="append a Markdown summary of the runs there, as to $GITHUB_STEP_SUMMARY",
    )


@dataclass(frozen=True)
class Session:
    """What the controlling process decided for itself and all workers.

    `run` is the folder that records go to, empty where silicon cannot run; `why_not` says why.
    `gemm_run` and `why_no_gemm` are the same for the gate of the GEMM beside Combine Send.
    """

    seed: int
    run: str
    why_not: str
    gemm_run: str = ""
    why_no_gemm: str = ""

    def run_of(self, kernel: str) -> str:
        """The folder of one kernel's gate."""
        return self.gemm_run if kernel == GEMM else self.run


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
    config.addinivalue_line("markers", "live_gemm: needs torch on it too")
    config.addinivalue_line("markers", "long: takes long, and begins early where silicon runs")
    config.stash[_CRASHES] = []
    # One test at a time to a worker: what pytest-xdist puts behind a long one would wait for it.
    if getattr(config.option, "maxschedchunk", 1) is None:
        config.option.maxschedchunk = 1
    refuse_seconds("--budget", config.option.budget)
    refuse_seconds("--gemm-budget", config.option.gemm_budget)
    refuse_seed("--seed", config.option.seed)
    refuse_file("--summary", config.option.summary)
    _rows(config)
    if _is_worker(config):
        config.stash[_SESSION] = Session(**config.workerinput["sbo_verify"])  # type: ignore[attr-defined]
        return
    drawn = secrets.randbits(SEED_BITS) if config.option.seed is None else config.option.seed
    selected = _selects_stress(config) and not config.option.collectonly
    why_not = _why_no_silicon() if selected else "stress/ was not selected"
    why_no_gemm = why_not or _why_no_torch()
    from sbo_verify.harness.termination import take_endings_as_interrupts  # noqa: PLC0415

    take_endings_as_interrupts()
    config.stash[_SESSION] = Session(
        seed=drawn,
        run="" if why_not else _create_run(config, MICRO, drawn),
        why_not=why_not,
        gemm_run="" if why_no_gemm else _create_run(config, GEMM, drawn),
        why_no_gemm=why_no_gemm,
    )


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:  # noqa: ANN401 - xdist has no types
    """Workers parse the command line again; what was decided here travels beside it."""
    node.workerinput["sbo_verify"] = asdict(node.config.stash[_SESSION])


def _why_no_torch() -> str:
    """Empty where the GEMM can be called."""
    return "" if importlib.util.find_spec("torch") else "needs torch: pip install torch"


def _create_run(config: pytest.Config, kernel: str, seed: int) -> str:
    from sbo_verify.device.gpu import usable_gpus  # noqa: PLC0415 - GPU machines only
    from sbo_verify.harness.session import settings_of  # noqa: PLC0415
    from sbo_verify.store import Run, StoreError  # noqa: PLC0415

    settings = settings_of(_plan(config, kernel, seed), usable_gpus()[0], "")
    try:
        return str(Run.create(Path(config.option.out), settings).path)
    except StoreError as error:
        raise pytest.UsageError(str(error)) from error


def _rows(config: pytest.Config, kernel: str = MICRO) -> list[Row]:
    """The rows that `--variants` names, as far as the kernel can run them."""
    from sbo_verify.harness.session import choose_rows  # noqa: PLC0415 - scipy-free but not needed by all
    from sbo_verify.protocol import UnknownNameError  # noqa: PLC0415
    from sbo_verify.protocols import PROTOCOLS  # noqa: PLC0415

    given = config.option.variants
    names = [name.strip() for name in given.split(",") if name.strip()]
    if given and not names:
        message = f"--variants {given!r} names nothing; give comma-separated names, or leave it out"
        raise pytest.UsageError(message)
    try:
        rows = choose_rows(PROTOCOLS["signal_publish"], names)
    except UnknownNameError as error:
        raise pytest.UsageError(str(error)) from error
    if kernel == MICRO:
        return rows
    from sbo_verify.protocols.signal_publish.combine import OVERLAP  # noqa: PLC0415

    chosen = {row.name for row in rows}
    return [row for row in OVERLAP if row.name in chosen]


def _budget(config: pytest.Config, kernel: str) -> float:
    return float(config.option.gemm_budget if kernel == GEMM else config.option.budget)


def _plan(config: pytest.Config, kernel: str, seed: int) -> Plan:
    from sbo_verify.harness.gate import BOUND  # noqa: PLC0415 - scipy-free but not needed by all
    from sbo_verify.harness.session import Plan  # noqa: PLC0415
    from sbo_verify.harness.stressed_kernels import protocol_for  # noqa: PLC0415

    budget = _budget(config, kernel)
    words = [f"--seed {seed}", f"--{'gemm-' if kernel == GEMM else ''}budget {budget:g}"]
    if config.option.variants:
        words.append(f"--variants {config.option.variants}")
    return Plan(
        protocol=protocol_for("signal_publish", kernel),
        rows=_rows(config, kernel),
        seed=seed,
        seconds=budget,
        command=" ".join(["pytest stress/", *words]),
        kernel=kernel,
        bound=BOUND if kernel == MICRO else 0.0,
    )


def pytest_report_header(config: pytest.Config) -> list[str]:
    """The seed and the run's folder, before anything runs."""
    session = config.stash[_SESSION]
    lines = [f"sbo_verify: seed {session.seed}"]
    lines.extend(f"sbo_verify: records in {run}" for run in (session.run, session.gemm_run) if run)
    return lines


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One gate test for each row, or for each of those that `--variants` names."""
    for name, kernel in GATED.items():
        if name in metafunc.fixturenames:
            rows = _rows(metafunc.config, kernel)
            metafunc.parametrize(name, rows, ids=[row.name for row in rows])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A gate test may take several times its planned share before pytest-timeout ends it.

    Where silicon runs, what takes long begins early.
    """
    from sbo_verify.harness.gate import begun_early, longest_seconds_for, takes_long  # noqa: PLC0415

    workers = _worker_count()
    for name, kernel in GATED.items():
        rows, budget = _rows(config, kernel), _budget(config, kernel)
        for item in items:
            if isinstance(item, pytest.Function) and name in item.fixturenames:
                row = cast("Row", item.callspec.params[name])
                planned = longest_seconds_for(row, rows, budget, workers)
                limit = TIMEOUT_FLOOR_SECONDS + TIMEOUT_FACTOR * planned
                item.add_marker(pytest.mark.timeout(limit))
                if takes_long(row):
                    item.add_marker(pytest.mark.long)
    if not config.stash[_SESSION].why_not:
        items[:] = begun_early(items, lambda item: item.get_closest_marker("long") is not None)


def _worker_count() -> int:
    return int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The one place that decides what happens without a GPU."""
    if item.get_closest_marker("silicon") is None:
        return
    session = item.config.stash[_SESSION]
    live = item.get_closest_marker("live_gemm") is not None
    why_not = session.why_no_gemm if live else session.why_not
    if not why_not:
        return
    if item.config.option.require_gpu:
        pytest.fail(f"unknown: silicon did not run: {why_not}", pytrace=False)
    pytest.skip(why_not)


@pytest.fixture(scope="session")
def cache(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artefacts of this session alone, so that nothing old is read; all its workers share them."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if _is_worker(pytestconfig) else base) / "artefacts"


@pytest.fixture(scope="session")
def leased_gpu() -> Any:  # noqa: ANN401 - imported lazily
    """The GPU of this process, leased until the process ends."""
    from sbo_verify.device.gpu import open_gpu, usable_gpus  # noqa: PLC0415
    from sbo_verify.harness.lease import take_lease  # noqa: PLC0415

    gpus = usable_gpus()
    lease = take_lease([gpu.uuid for gpu in gpus])
    yield open_gpu(gpus[lease.gpu].index)
    lease.release()


@pytest.fixture(scope="session")
def bench(leased_gpu: Any) -> Any:  # noqa: ANN401 - imported lazily
    """The micro-kernels on this process's GPU."""
    from sbo_verify.harness.runner import Bench  # noqa: PLC0415
    from sbo_verify.protocols import PROTOCOLS  # noqa: PLC0415

    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    return Bench(PROTOCOLS["signal_publish"], leased_gpu, worker)


@pytest.fixture(scope="session")
def live_bench(leased_gpu: Any) -> Any:  # noqa: ANN401 - imported lazily
    """The GEMM and Combine Send on this process's GPU."""
    from sbo_verify.harness.live_bench import LiveBench  # noqa: PLC0415
    from sbo_verify.protocols.signal_publish.combine import OVERLAP  # noqa: PLC0415

    return LiveBench(OVERLAP, leased_gpu, os.environ.get("PYTEST_XDIST_WORKER", ""))


@pytest.fixture(scope="session")
def gate(pytestconfig: pytest.Config, bench: Any) -> Gate:  # noqa: ANN401 - imported lazily
    """The half of the micro-kernel's gate that this worker plays."""
    return _gate(pytestconfig, MICRO, bench)


@pytest.fixture(scope="session")
def gemm_gate(pytestconfig: pytest.Config, live_bench: Any) -> Gate:  # noqa: ANN401 - imported lazily
    """The half of the GEMM's gate that this worker plays."""
    return _gate(pytestconfig, GEMM, live_bench)


def _gate(config: pytest.Config, kernel: str, bench: Any) -> Gate:  # noqa: ANN401 - imported lazily
    from sbo_verify.harness.gate import Gate  # noqa: PLC0415
    from sbo_verify.harness.stressed_kernels import reader_of  # noqa: PLC0415
    from sbo_verify.store import Run  # noqa: PLC0415

    session = config.stash[_SESSION]
    return Gate(
        run=Run.open(Path(session.run_of(kernel))),
        bench=bench,
        plan=_plan(config, kernel, session.seed),
        budget_seconds=_budget(config, kernel),
        workers=_worker_count(),
        read=reader_of(kernel),
    )


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str, report: Any, sched: Any) -> None:  # noqa: ANN401 - xdist has no types
    """A worker that died is a fault of the machine: a gate's test runs once more, and that is said.

    What the dead worker recorded of the row stays and counts; a stale tile or a hung launch among
    it is not run away.
    """
    crashes = sched.config.stash[_CRASHES]
    if "handover" in crashitem and crashes.count(crashitem) < CRASH_RERUNS:
        crashes.append(crashitem)
        sched.mark_test_pending(crashitem)
        report.outcome = "rerun"


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:  # noqa: ANN401 - pytest's class is private
    """Judge the run from its folder and say what it is worth."""
    session = config.stash[_SESSION]
    if _is_worker(config):
        return
    for crash in config.stash[_CRASHES]:
        terminalreporter.write_line(f"a worker died in {crash}; the test was run once more")
    runs = {kernel: session.run_of(kernel) for kernel in (MICRO, GEMM) if session.run_of(kernel)}
    interrupted = exitstatus == pytest.ExitCode.INTERRUPTED
    judged = [
        path
        for kernel, path in runs.items()
        if _summarize(terminalreporter, Path(path), kernel, interrupted=interrupted)
    ]
    if config.option.summary:
        no_run = f"## Hand-over gate: did not run\n\n{session.why_not}\n"
        terminalreporter.write_line(append_summaries(config.option.summary, judged, no_run))


def _summarize(out: Any, path: Path, kernel: str, *, interrupted: bool) -> bool:  # noqa: ANN401 - pytest's class is private
    """Whether there is a run to speak of; then it is judged."""
    from sbo_verify.harness.conclusion import concluded, power_lines  # noqa: PLC0415
    from sbo_verify.report.gate_lines import gate_lines  # noqa: PLC0415
    from sbo_verify.store import StoreError  # noqa: PLC0415

    try:
        judged = concluded(path, kernel, interrupted=interrupted)
    except StoreError as error:
        out.write_line(f"gate: unknown: {error}")
        return False
    if judged is None:
        return False
    out.section("sbo_verify" if kernel == MICRO else "sbo_verify: the GEMM beside Combine Send")
    for line in gate_lines(*judged, path, power_lines(path, judged[0])):
        out.write_line(line)
    return True
