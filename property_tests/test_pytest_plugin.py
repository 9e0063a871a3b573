"""The pytest plugin in a project of its own: without a GPU, and with a made-up one."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import scipy.stats  # noqa: F401 - before a session inside this process: numpy loads but once
from fake_live_gpu import put_in_place

from sbo_verify.protocols.signal_publish.combine import CANARIES, FOREIGN
from sbo_verify.pytest_plugin import append_summaries
from sbo_verify.store import Run, runs_below

pytest_plugins = ["pytester"]

MARKED = """
    import pytest

    def gemm(*tensors, **options):
        raise AssertionError("no GPU here calls it")

    @pytest.mark.sbo_producer(producer=gemm, seconds=5, knobs={"k": 512})
    def test_hand_over():
        print("the body ran")
"""
FIXTURE = """
    import functools

    def gemm(*tensors, **options):
        return 128, 2

    def test_hand_over(sbo_gate):
        verdict = sbo_gate(functools.partial(gemm, tile=64))
        assert (verdict.silicon, verdict.stale) == ("Never", 0)
        assert verdict.observations == 1_000_000
"""
HERE = Path(__file__).resolve().parent
FAKE_TORCH = {"torch": "no_torch_here = True"}


@pytest.fixture
def project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> pytest.Pytester:
    """An empty project whose leases lie in its own folder; torch is a word, where none is."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pytester.makepyfile(**FAKE_TORCH)
    pytester.syspathinsert()
    return pytester


def only_run(pytester: pytest.Pytester) -> Run:
    (path,) = runs_below(pytester.path / "runs")
    return Run.open(path)


# ---- in a project that does not use it ------------------------------------------------------


def test_a_project_that_does_not_use_it_is_left_alone(pytester: pytest.Pytester) -> None:
    """In a process of its own: nothing is imported, printed or refused, the plugin's name apart."""
    pytester.makeconftest("""
        def pytest_addoption(parser):
            for option in ("--seed", "--budget", "--variants", "--out", "--require-gpu"):
                parser.addoption(option)
    """)
    pytester.makepyfile("""
        import json, sys

        def test_nothing_of_it_is_loaded():
            mine = {name for name in sys.modules if name.startswith("sbo_verify")}
            assert mine == {"sbo_verify", "sbo_verify.pytest_plugin"}
            assert not {"numpy", "click", "rich", "cupy", "torch"} & set(sys.modules)
    """)
    result = pytester.runpytest_subprocess("--strict-markers", "-W", "error", "--seed", "7")
    result.assert_outcomes(passed=1)
    assert "sbo_verify" not in result.stdout.str().partition("plugins:")[2].partition("\n")[2]


def test_where_it_is_left_out_no_test_passes_for_want_of_it(pytester: pytest.Pytester) -> None:
    """An unknown mark is nothing to pytest unless it is strict; an unknown fixture always is."""
    pytester.makepyfile(test_mark=MARKED, test_fixture=FIXTURE)
    result = pytester.runpytest_subprocess("-p", "no:sbo_verify", "--strict-markers")
    result.stdout.fnmatch_lines(["*'sbo_producer' not found in `markers`*"])
    result = pytester.runpytest_inprocess("-p", "no:sbo_verify", "test_fixture.py")
    result.stdout.fnmatch_lines(["*fixture 'sbo_gate' not found"])


def test_the_mark_and_the_options_are_told(pytester: pytest.Pytester) -> None:
    marks = pytester.runpytest_inprocess("--markers").stdout.str()
    assert "@pytest.mark.sbo_producer(producer=..., seconds=..., knobs={})" in marks
    options = pytester.runpytest_inprocess("--help").stdout.str()
    for option in ("--sbo-seconds", "--sbo-seed", "--sbo-require-gpu", "--sbo-out"):
        assert option in options


# ---- without a GPU --------------------------------------------------------------------------


@pytest.mark.parametrize("text", [MARKED, FIXTURE], ids=["mark", "fixture"])
def test_without_a_gpu_it_is_skipped_with_the_reason(pytester: pytest.Pytester, text: str) -> None:
    pytester.makepyfile(text)
    result = pytester.runpytest_inprocess("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED *needs a Hopper GPU: *"])
    assert not (pytester.path / "runs").exists()
    result = pytester.runpytest_inprocess("--sbo-require-gpu")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*unknown: silicon did not run: needs a Hopper GPU: *"])


@pytest.mark.parametrize("words", [(), ("--sbo-require-gpu",), ("-n", "1")], ids=str)
def test_a_summary_says_why_no_producer_was_examined(
    pytester: pytest.Pytester, words: tuple[str, ...]
) -> None:
    """A job's page without a word would be taken for a pass."""
    pytester.makepyfile(MARKED)
    pytester.runpytest_subprocess("--sbo-summary", "summary.md", *words)
    text = (pytester.path / "summary.md").read_text()
    assert text.startswith("## Hand-over gate: unknown\n\nNo producer was examined.\n\n- ")
    assert text.count("needs a Hopper GPU: ") == 1


def test_a_summary_of_tests_that_ask_for_no_producer_says_so(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it():\n    raise ValueError('mine')\n")
    pytester.runpytest_inprocess("--sbo-summary", "summary.md")
    assert "No test asked for one." in (pytester.path / "summary.md").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sbo-seed", "-1"], "--sbo-seed is -1; allowed is a whole number from 0"),
        (["--sbo-seconds", "nan"], "--sbo-seconds is nan; allowed is a number of seconds above 0"),
        (
            ["--sbo-summary", "nowhere/s.md"],
            "--sbo-summary is 'nowhere/s.md'; give a file in a folder",
        ),
        (["--sbo-summary", "."], "--sbo-summary is '.'; give a file in a folder that is there"),
        (["--sbo-seconds", "0"], "--sbo-seconds is 0.0; allowed is a number of seconds above 0"),
    ],
)
def test_wrong_options_are_refused(pytester: pytest.Pytester, words: list[str], said: str) -> None:
    result = pytester.runpytest_inprocess(*words)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in result.stderr.str()


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ("seconds=5", "missing 1 required keyword-only argument: 'producer'"),
        ("print, seconds=5", "takes 1 positional argument but 2 "),
        ("producer=print, second=5", "got an unexpected keyword argument 'second'"),
    ],
)
def test_wrong_marks_are_refused_before_anything_runs(
    pytester: pytest.Pytester, mark: str, said: str
) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.sbo_producer({mark})
        def test_it():
            pass
    """)
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert (
        "test_it: @pytest.mark.sbo_producer takes producer=..., seconds=..." in result.stderr.str()
    )
    assert said in result.stderr.str()


def test_a_producer_that_took_the_mark_for_its_own_is_refused(pytester: pytest.Pytester) -> None:
    """A mark that is called with a function alone is to pytest a decorator of that function."""
    pytester.makepyfile("""
        import pytest

        def gemm(*tensors, **options):
            return 128, 2

        @pytest.mark.sbo_producer(gemm)
        def test_vanished():
            pass
    """)
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["gemm: @pytest.mark.sbo_producer takes producer=..., *"])


# ---- with a made-up one ---------------------------------------------------------------------


def test_a_producer_passes_beside_canaries_that_were_seen(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = put_in_place(monkeypatch, *CANARIES)
    project.makepyfile(test_mine=MARKED)
    words = ("--junitxml", "junit.xml", "--sbo-summary", "summary.md", "-rP")
    result = project.runpytest_inprocess(*words)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["the body ran", "*= sbo_verify =*", "pass    sound*test_mine:gemm: 0 of 1,000,000, rate *"]
    )
    (bench,) = made
    asked = dict(bench.asked)
    assert set(asked) == {FOREIGN, *CANARIES}
    assert asked[FOREIGN]["seconds"] == 5
    assert asked[FOREIGN]["fixed"] == {"k": "512"}
    assert not asked[FOREIGN]["until_stale"]
    assert all(asked[canary]["until_stale"] for canary in CANARIES)
    run = only_run(project)
    seed = str(run.settings.seed)
    assert run.settings.command == f"pytest test_mine.py::test_hand_over --sbo-seed {seed}"
    (case,) = ET.parse(project.path / "junit.xml").getroot().iter("testcase")  # noqa: S314 - made above
    told = {each.attrib["name"]: each.attrib["value"] for each in case.iter("property")}
    assert (told["producer"], told["silicon"], told["stale"]) == ("test_mine:gemm", "Never", "0")
    assert told["repeat"] == run.settings.command
    assert told["seed"] == seed
    summary = (project.path / "summary.md").read_text()
    assert "## Hand-over gate: pass" in summary
    assert "test_mine:gemm" in summary


def test_a_summary_that_cannot_be_written_changes_no_outcome(tmp_path: Path) -> None:
    """Not by rights, since nothing is forbidden to an administrator: the folder is gone."""
    file = tmp_path / "gone" / "summary.md"
    assert append_summaries(str(file), [], "") == (
        f"no summary was written to {file}: No such file or directory"
    )


def test_a_producer_that_is_made_while_the_test_runs_passes(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = put_in_place(monkeypatch, *CANARIES)
    project.makepyfile(FIXTURE)
    project.runpytest_inprocess("--sbo-seconds", "3", "--sbo-seed", "9").assert_outcomes(passed=1)
    assert made[0].asked[0][1]["seconds"] == 3
    run = only_run(project)
    assert run.settings.seed == 9
    assert run.settings.producer == "functools:partial"
    assert run.settings.command.endswith("--sbo-seed 9 --sbo-seconds 3")


def test_a_worker_tells_every_producer_of_every_test_once(pytester: pytest.Pytester) -> None:
    """In a process of its own, with the made-up GPU; one test stresses two producers."""
    pytester.makeconftest(f"""
        import sys

        import pytest

        sys.path[:0] = [{str(HERE)!r}, {str(HERE.parent)!r}]
        from fake_live_gpu import put_in_place
        from sbo_verify.protocols.signal_publish.combine import CANARIES

        put_in_place(pytest.MonkeyPatch(), *CANARIES)
    """)
    pytester.makepyfile(
        test_mine="""
            def gemm(*tensors, **options):
                return 128, 2

            def other(*tensors, **options):
                return 128, 2

            def test_both(sbo_gate):
                sbo_gate(gemm)
                sbo_gate(other)

            def test_one(sbo_gate):
                sbo_gate(gemm)
        """,
        **FAKE_TORCH,
    )
    pytester.syspathinsert()
    words = ("-n", "1", "--sbo-summary", "summary.md")
    result = pytester.runpytest_subprocess(*words)
    result.assert_outcomes(passed=2)
    lines = [line for line in result.outlines if line.startswith("pass    sound ")]
    named = [re.findall(r"test_mine:(\w+): .*::(\w+)\)", line) for line in lines]
    assert sorted(each for (each,) in named) == [
        ("gemm", "test_both"),
        ("gemm", "test_one"),
        ("other", "test_both"),
    ]
    text = (pytester.path / "summary.md").read_text()
    assert text.count("## Hand-over gate: pass\n") == 3


def test_a_stale_tile_fails_with_the_diagnosis_and_how_to_repeat_it(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_place(monkeypatch, FOREIGN, *CANARIES)
    project.makepyfile(test_mine=MARKED)
    result = project.runpytest_inprocess("--sbo-seed", "7")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "producer test_mine:gemm: fail",
            "fail: foreign: ALARM: forbidden but seen; 3 stale of 1,000,000",
            "witness {*'seen': 40*",
            "repeat with: pytest test_mine.py::test_hand_over --sbo-seed 7",
            "report: sbo-verify report *",
        ]
    )
    result.stdout.no_fnmatch_line("the body ran")


def test_a_signal_that_overshoots_fails(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_place(monkeypatch, *CANARIES, over=True)
    project.makepyfile(MARKED)
    result = project.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["fail: foreign: liveness failure; *"])


def test_an_unseen_canary_is_unknown_and_no_pass(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    unseen = min(CANARIES)
    put_in_place(monkeypatch, *(CANARIES - {unseen}))
    project.makepyfile(MARKED)
    result = project.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "producer *:gemm: unknown",
            "pass: foreign: sound; 0 stale of 1,000,000",
            f"because: canary {unseen} unseen in 1,000,000 observations",
        ]
    )


def test_a_lost_gpu_is_unknown_for_this_test_and_all_that_follow(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_place(monkeypatch, *CANARIES, lost=True)
    project.makepyfile(test_a=MARKED, test_b=MARKED)
    result = project.runpytest_inprocess()
    result.assert_outcomes(failed=2)
    lost = "unknown: silicon did not run: the GPU is lost to this process since test_a.py::*"
    result.stdout.fnmatch_lines(["producer test_a:gemm: unknown", lost])


def test_what_is_no_producer_is_refused_in_words(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_place(monkeypatch, *CANARIES)
    project.makepyfile("""
        import pytest

        @pytest.mark.sbo_producer(producer="no_such_module:gemm")
        def test_name():
            pass

        @pytest.mark.sbo_producer(producer=128)
        def test_number():
            pass

        @pytest.mark.sbo_producer(producer=print, knobs={"tile_bytes": 16})
        def test_knob():
            pass
    """)
    result = project.runpytest_inprocess()
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        [
            "unknown: producer no_such_module:gemm: no_such_module cannot be imported*",
            "unknown: a producer is a callable or its name MODULE:FUNCTION, not 128",
            "unknown: no knob 'tile_bytes'; the knobs are: groups, *",
        ]
    )
