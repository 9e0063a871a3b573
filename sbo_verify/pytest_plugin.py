"""A pytest plugin: another project puts its own producer under the gate.

    @pytest.mark.sbo_producer(producer=my_kernels.m_grouped_fp8_gemm_nt_masked, seconds=20)
    def test_down_gemm_hands_over_whole_tiles():
        pass

Before the test's body runs, the producer is stressed beside Combine Send on a leased Hopper GPU,
and the canaries with it in the same run. The test fails with the diagnosis: *fail* where a stale
tile was read or the signals are wrong, *unknown* where nothing can be said. Without a GPU it is
skipped with the reason; --sbo-require-gpu makes that a failure.

pytest loads this module in every project that has sbo_verify installed. It therefore imports
nothing of the package, and touches no GPU, before a test asks for it; `-p no:sbo_verify` leaves it
out. It knows nothing of this project's own conftest.py, whose options have other names.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sbo_verify.api import Examination, RowVerdict
    from sbo_verify.harness.lease import Lease  # noqa: F401 - in a type that is a text

MARK = "sbo_producer"
DEFAULT_SECONDS = 10.0
# As `combine.FOREIGN`; nothing of the package is imported where no test needs it.
FOREIGN = "foreign"
RUN_PROPERTY = "sbo_run"
TAKES = f"@pytest.mark.{MARK} takes producer=..., seconds=... and knobs={{...}}, each by its name"
LOST = "the GPU is lost to this process"
NEEDS_GPU, NEEDS_TORCH = "needs a Hopper GPU", "needs torch"
# How the reason of a test begins whose producer was not examined, or not to its end.
NOT_EXAMINED = ("unknown: ", NEEDS_GPU, NEEDS_TORCH, LOST)

Producer = str | Callable[..., Any]
StressProducer = Callable[..., "RowVerdict"]

_WHY_NOT = pytest.StashKey[str]()
_LEASE = pytest.StashKey["tuple[int, Lease]"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options; each begins with --sbo, so that no other project's are in the way."""
    group = parser.getgroup("sbo_verify", "hand-overs of this project's producers (sbo_verify)")
    group.addoption(
        "--sbo-seconds",
        type=float,
        default=DEFAULT_SECONDS,
        metavar="SECONDS",
        help="GPU seconds of stress for a producer that says none itself (default: %(default)s)",
    )
    group.addoption("--sbo-seed", type=int, default=None, help="seed of all randomness, else drawn")
    group.addoption(
        "--sbo-require-gpu", action="store_true", help="fail, instead of skip, without a Hopper GPU"
    )
    group.addoption("--sbo-out", default="runs", help="folder that runs are written below")
    group.addoption(
        "--sbo-summary",
        default=None,
        metavar="FILE",
        help="append a Markdown summary there, as to $GITHUB_STEP_SUMMARY",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Name the mark, refuse bad options."""
    config.addinivalue_line(
        "markers",
        f"{MARK}(producer=..., seconds=..., knobs={{}}): stress a callable of the masked GEMM's "
        "interface, or MODULE:FUNCTION, beside a live consumer before the test runs",
    )
    refuse_seconds("--sbo-seconds", config.option.sbo_seconds)
    refuse_seed("--sbo-seed", config.option.sbo_seed)
    refuse_file("--sbo-summary", config.option.sbo_summary)


def refuse_seconds(option: str, seconds: float) -> None:
    """Raise `pytest.UsageError` for no time at all, an endless one, or no number."""
    if not 0 < seconds < math.inf:
        message = f"{option} is {seconds}; allowed is a number of seconds above 0"
        raise pytest.UsageError(message)


def refuse_seed(option: str, seed: int | None) -> None:
    """Raise `pytest.UsageError` for a seed that no generator takes."""
    if seed is not None and seed < 0:
        message = f"{option} is {seed}; allowed is a whole number from 0"
        raise pytest.UsageError(message)


def refuse_file(option: str, file: str | None) -> None:
    """Raise `pytest.UsageError` for a file that could not be written when all has run."""
    if file is None:
        return
    folder = Path(file).resolve().parent
    if not folder.is_dir() or Path(file).is_dir():
        message = f"{option} is {file!r}; give a file in a folder that is there"
        raise pytest.UsageError(message)


def append_summaries(file: str, runs: Iterable[str], otherwise: str) -> str:
    """Append the Markdown of every run, by its folder, to `file`; `otherwise` where there is none.

    Returns why that could not be done, or nothing: the runs are recorded, and the outcome stands.
    """
    from sbo_verify import api  # noqa: PLC0415

    texts = [api.report(run, "summary") for run in dict.fromkeys(runs)]
    try:
        with Path(file).open("a", encoding="utf-8") as stream:
            stream.write("\n".join(texts or [otherwise]))
    except OSError as error:
        return f"no summary was written to {file}: {error.strerror}"
    return ""


def pytest_unconfigure(config: pytest.Config) -> None:
    """Give the GPU's lease back."""
    if _LEASE in config.stash:
        config.stash[_LEASE][1].release()


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """One mark's arguments, all by name.

    A mark that is called with a function alone is taken by pytest for a decorator of that function.
    """

    producer: Producer
    seconds: float | None = None
    knobs: Mapping[str, object] | None = None

    @classmethod
    def by(cls, item: pytest.Item) -> list[_Asked]:
        """What the marks of a test ask for; raises `pytest.UsageError` for wrong arguments."""
        try:
            return [cls(*mark.args, **mark.kwargs) for mark in item.iter_markers(MARK)]
        except TypeError as error:
            message = f"{item.nodeid}: {TAKES}: {error}"
            raise pytest.UsageError(message) from error


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(name: str, obj: object) -> None:
    """Refuse a producer that was marked itself, in whose place a test has vanished."""
    marks = getattr(obj, "pytestmark", []) if isinstance(obj, FunctionType) else []
    if any(mark.name == MARK and not (mark.args or mark.kwargs) for mark in marks):
        message = f"{name}: {TAKES}"
        raise pytest.Collector.CollectError(message)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse wrong marks before anything runs."""
    for item in items:
        _Asked.by(item)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Without a GPU a marked test is skipped before its fixtures are made."""
    if item.get_closest_marker(MARK) is not None:
        _skip_without_gpu(item.config)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Stress what the test's marks name; a failure is the test's, and its body does not run."""
    for asked in _Asked.by(item):
        _stress(item, asked.producer, seconds=asked.seconds, knobs=asked.knobs)


@pytest.fixture
def sbo_gate(request: pytest.FixtureRequest) -> StressProducer:
    """Stress a producer that is made while the test runs: `sbo_gate(producer, seconds=, knobs=)`.

    Returns the `RowVerdict` of a producer that passes; fails the test with the diagnosis of one
    that does not.
    """
    _skip_without_gpu(request.config)
    item: pytest.Item = request.node

    def gate(
        producer: Producer,
        *,
        seconds: float | None = None,
        knobs: Mapping[str, object] | None = None,
    ) -> RowVerdict:
        return _stress(item, producer, seconds=seconds, knobs=knobs)

    return gate


def _skip_without_gpu(config: pytest.Config) -> None:
    """Skip, unless that is to be a failure: then the test fails itself, when it stresses."""
    if _WHY_NOT not in config.stash:
        config.stash[_WHY_NOT] = _why_no_silicon()
    why_not = config.stash[_WHY_NOT]
    if why_not and not (config.option.sbo_require_gpu or why_not.startswith(LOST)):
        pytest.skip(why_not)


def _why_no_silicon() -> str:
    """Empty where a Hopper GPU and torch can be used."""
    from importlib.util import find_spec  # noqa: PLC0415 - as little as possible, and late

    from sbo_verify.device.gpu import NoGpuError, usable_gpus  # noqa: PLC0415

    try:
        usable_gpus()
    except NoGpuError as error:
        return f"{NEEDS_GPU}: {error}"
    return "" if find_spec("torch") else f"{NEEDS_TORCH}: pip install 'sbo-verify[gpu]'"


def _leased_gpu(config: pytest.Config) -> int:
    """The index of this process's GPU, leased until the session ends."""
    from sbo_verify.device.gpu import usable_gpus  # noqa: PLC0415
    from sbo_verify.harness.lease import take_lease  # noqa: PLC0415

    if _LEASE not in config.stash:
        gpus = usable_gpus()
        lease = take_lease([gpu.uuid for gpu in gpus])
        config.stash[_LEASE] = (gpus[lease.gpu].index, lease)
    return config.stash[_LEASE][0]


def _stress(
    item: pytest.Item,
    producer: Producer,
    *,
    seconds: float | None,
    knobs: Mapping[str, object] | None,
) -> RowVerdict:
    """One run of the producer and the canaries; fails the test unless it is a pass."""
    from sbo_verify import api  # noqa: PLC0415

    if why_not := item.config.stash[_WHY_NOT]:
        pytest.fail(f"unknown: silicon did not run: {why_not}", pytrace=False)
    option = item.config.option
    seed = api.drawn_seed() if option.sbo_seed is None else option.sbo_seed
    command = f"pytest {shlex.quote(item.nodeid)} --sbo-seed {seed}"
    if seconds is None:
        seconds = option.sbo_seconds
        command += f" --sbo-seconds {seconds:g}"
    try:
        examination = api.examine(
            producer=producer,
            knobs=knobs,
            seed=seed,
            seconds=seconds,
            gpu=_leased_gpu(item.config),
            require_gpu=True,
            out=option.sbo_out,
            canaries_until_seen=True,
            command=command,
        )
    except (api.KnobError, api.ProducerError, api.StoreError, ValueError) as error:
        pytest.fail(f"unknown: {error}", pytrace=False)
    return _told(item, examination)


def _told(item: pytest.Item, examination: Examination) -> RowVerdict:
    """The producer's verdict, with its properties for JUnit; fails the test unless all passed."""
    from sbo_verify.harness.judgement import INTERRUPTED  # noqa: PLC0415
    from sbo_verify.repeat import repeat_command  # noqa: PLC0415
    from sbo_verify.report.failure import failure_text  # noqa: PLC0415

    findings = examination.findings
    verdict = examination.verdict(FOREIGN)
    repeat = repeat_command(findings.settings, findings.launches, FOREIGN)
    told = asdict(verdict) | {
        "producer": findings.settings.producer,
        "seed": findings.settings.seed,
        "repeat": repeat,
        RUN_PROPERTY: str(examination.path),
    }
    item.user_properties.extend(told.items())
    if INTERRUPTED in findings.summary.reasons:
        item.config.stash[_WHY_NOT] = f"{LOST} since {item.nodeid}"
    if examination.passed:
        return verdict
    reasons = [each for each in findings.summary.reasons if not each.startswith(FOREIGN)]
    pytest.fail(
        "\n".join(
            [
                f"producer {findings.settings.producer}: {findings.summary.outcome}",
                failure_text(verdict, findings.launches, repeat),
                *(f"because: {each}" for each in reasons),
                f"report: sbo-verify report {examination.path}",
            ]
        ),
        pytrace=False,
    )


def _verdicts_in(properties: Sequence[tuple[str, object]]) -> Iterator[dict[str, Any]]:
    """What a test told of each producer that it stressed; the run's folder comes last."""
    found: dict[str, Any] = {}
    for name, value in properties:
        found[name] = value
        if name == RUN_PROPERTY:
            yield found
            found = {}


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:  # noqa: ANN401 - pytest's class is private
    """A line for every producer that was examined, by whichever worker; and the summary's file."""
    told = [
        (report.nodeid, each)
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
        for each in _verdicts_in(report.user_properties)
    ]
    # The controlling process has the reports of all workers, and each worker its own.
    if hasattr(config, "workerinput"):
        return
    if told:
        terminalreporter.section("sbo_verify")
    for nodeid, each in told:
        bound = "" if each["bound"] is None else f", rate below {each['bound']:.1e} at 95 %"
        terminalreporter.write_line(
            f"{each['outcome']:8s}{each['joint']:28s}{each['producer']}: {each['stale']:,} of "
            f"{each['observations']:,}{bound} (seed {each['seed']}, {nodeid})"
        )
        terminalreporter.write_line(f"        report: sbo-verify report {each[RUN_PROPERTY]}")
    if config.option.sbo_summary:
        folders = (each[RUN_PROPERTY] for _, each in told)
        said = append_summaries(config.option.sbo_summary, folders, _unexamined(terminalreporter))
        if said:
            terminalreporter.write_line(said)


def _unexamined(terminalreporter: Any) -> str:  # noqa: ANN401 - pytest's class is private
    """Markdown of why no producer was examined: a page without a word is taken for a pass."""
    from sbo_verify.report.markdown_words import bullets  # noqa: PLC0415

    reports = [each for found in terminalreporter.stats.values() for each in found]
    # Of a test that is skipped pytest keeps file, line and reason.
    texts = [
        each.longrepr[-1] if isinstance(each.longrepr, tuple) else each.longreprtext
        for each in reports
        if getattr(each, "longrepr", None)
    ]
    plain = [text.removeprefix("Skipped: ") for text in texts]
    reasons = dict.fromkeys(text for text in plain if text.startswith(NOT_EXAMINED))
    told = bullets(reasons) if reasons else "No test asked for one."
    return f"## Hand-over gate: unknown\n\nNo producer was examined.\n\n{told}\n"
