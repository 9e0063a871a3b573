"""The Python interface: its examples run, it refuses in words, and it imports no GPU's library."""

from __future__ import annotations

import dataclasses
import doctest
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from fake_live_gpu import put_in_place

from sbo_verify import api
from sbo_verify.api import examining, reading, reasoning
from sbo_verify.harness import examination
from sbo_verify.protocols.signal_publish.combine import CANARIES, FOREIGN
from sbo_verify.report.markdown import markdown_text

ROOT = Path(__file__).resolve().parents[1]
PROMISED = Path(__file__).parent / "snapshots" / "api.txt"
SOUND = "poll_equal"
RECORDED = ROOT / "reports" / "signal_publish" / "20261124T124251Z-b8e20b0f92d0"


@pytest.mark.parametrize("module", [api, examining, reading, reasoning], ids=lambda m: m.__name__)
def test_its_examples_say_what_is_printed(
    module: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    failed, tried = doctest.testmod(module, extraglobs={"folder": tmp_path})  # type: ignore[arg-type]
    assert failed == 0
    assert tried > 0


def test_every_function_has_an_example() -> None:
    """Apart from those whose answer no example can foretell."""
    functions = {name for name in api.__all__ if inspect.isfunction(getattr(api, name))}
    without = {name for name in functions if ">>>" not in (getattr(api, name).__doc__ or "")}
    assert without == {"doctor", "drawn_seed", "findings_of"}


def surface(module: object) -> set[str]:
    """Every name that a module promises, with its parameters or its fields, each by itself."""
    promised: set[str] = set()
    for name in module.__all__:  # type: ignore[attr-defined]  # a module of the interface
        thing = getattr(module, name)
        promised.add(name)
        if inspect.isfunction(thing):
            promised |= {f"{name}({each})" for each in inspect.signature(thing).parameters}
        elif dataclasses.is_dataclass(thing):
            promised |= {f"{name}.{each.name}" for each in dataclasses.fields(thing)}
    return promised


def test_nothing_that_is_promised_has_gone() -> None:
    """What is added is promised when it is written down; one that goes breaks a program."""
    promised = set(PROMISED.read_text().split())
    assert len(promised) > 100
    assert promised - surface(api) == set()


def test_what_has_gone_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    before = surface(api)
    monkeypatch.setattr(api, "explain", lambda variant: variant)
    monkeypatch.setattr(api, "__all__", [name for name in api.__all__ if name != "litmus"])
    assert before - surface(api) == {
        "explain(protocol)",
        "litmus",
        "litmus(file)",
        "litmus(seconds)",
    }


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("sbo_verify", {"numpy", "click", "rich", "jinja2", "scipy", "cuda", "cupy", "torch"}),
        ("sbo_verify.api", {"click", "scipy", "cupy", "torch"}),
    ],
)
def test_importing_it_loads_no_more_than_it_needs(module: str, unwanted: set[str]) -> None:
    """In a process of its own."""
    text = f"import sys, {module}; print(*sorted(set(sys.modules)))"
    done = subprocess.run(  # noqa: S603 - this interpreter, on the text above
        [sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert module in loaded
    assert loaded & unwanted == set()


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"variants": ["hope"]}, api.UnknownNameError, "no variant 'hope'"),
        ({"protocol": "hope"}, api.UnknownNameError, "no protocol 'hope'"),
        ({"knobs": {"hope": 1}}, api.KnobError, "no knob 'hope'"),
        ({"knobs": {"prime_l1": 2}}, api.KnobError, "knob prime_l1 is '2'; allowed is true"),
        ({"producer": "hope"}, api.ProducerError, "--producer takes MODULE:FUNCTION, not 'hope'"),
        ({"producer": 7}, api.ProducerError, "a producer is a callable or its name"),
        ({"producer": print, "kernel": "micro"}, ValueError, "a producer is a GEMM"),
        ({"seed": -1}, ValueError, "seed is -1; allowed is a number from 0"),
        ({"seconds": float("nan")}, ValueError, "seconds is nan; allowed is a number from 0.001"),
        ({"observations": -1}, ValueError, "observations is -1; allowed is a number from 0"),
        ({"gpu": None, "require_gpu": True}, api.NoGpuError, "silicon cannot run here"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(
    arguments: dict[str, object], error: type[Exception], said: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said):
        api.examine(**{"variants": [SOUND], "gpu": None, "out": tmp_path, **arguments})  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_recorded_with_the_call_that_made_it(tmp_path: Path) -> None:
    run = api.examine([SOUND], seed=7, gpu=None, out=tmp_path, knobs={"prime_l1": True})
    settings = run.findings.settings
    assert settings.command == (
        "sbo_verify.api.examine(['poll_equal'], seed=7, seconds=2, knobs={'prime_l1': 'true'})"
    )
    assert (settings.silicon, settings.silicon_reason) == (False, "it was left out")
    assert api.open_run(run.path).findings.verdicts == run.findings.verdicts
    with pytest.raises(KeyError):
        run.verdict("hope")


def test_every_form_of_a_report_is_that_of_the_run() -> None:
    run = api.open_run(RECORDED)
    assert api.report(run) == markdown_text(run.findings)
    assert api.report(run, "summary").startswith("## Hand-over gate: pass")
    assert api.report(run, "html").lower().startswith("<!doctype html>")
    assert api.report(run, "json").startswith("{")
    assert max(map(len, api.report(run, "terminal", columns=60).splitlines())) <= 60
    with pytest.raises(ValueError, match="no form 'pdf'; choose one of: terminal, markdown, html"):
        api.report(run, "pdf")  # type: ignore[arg-type]


def test_a_producer_is_examined_beside_the_canaries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_place(monkeypatch, *CANARIES)

    def masked(*_tensors: object, **_options: object) -> tuple[int, int]:
        return 128, 2

    run = api.examine(producer=masked, seed=7, out=tmp_path)
    assert run.passed
    assert {each.row for each in run.findings.verdicts} == {FOREIGN, *CANARIES}
    assert run.findings.settings.producer.endswith(":" + masked.__qualname__)


def test_ctrl_c_is_raised_again_when_the_run_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(examination, "read_model", interrupt)
    with pytest.raises(KeyboardInterrupt):
        api.examine([SOUND], gpu=None, out=tmp_path)
    (path,) = (file.parent for file in tmp_path.glob("*/*/verdict.jsonl"))
    assert "the run ended before it was complete" in api.open_run(path).findings.summary.reasons
