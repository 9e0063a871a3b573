"""The pytest plugin on silicon: a sound producer passes, one that does not wait fails by name."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytestmark = [pytest.mark.silicon, pytest.mark.live_gemm, pytest.mark.long]
pytest_plugins = ["pytester"]

HERE = Path(__file__).parent
MODULE = "sbo_verify.pytest_plugin"
# Two tiles to a slot and noise, as where the planted faults were seen; what draws a shape is fixed.
PROJECT = """
    import planted_producers
    import pytest

    KNOBS = {
        "groups": 32, "m": 512, "n": 256, "k": 512, "mask": "full", "max_block_n": 128,
        "gemm_sms": planted_producers.SMS, "consumers": 32, "noise": "store", "noise_sms": 20,
    }

    @pytest.mark.sbo_producer(producer=planted_producers.published, seconds=2, knobs=KNOBS)
    def test_published():
        pass

    def test_not_waited_for(sbo_gate):
        sbo_gate(planted_producers.not_waited_for, seconds=2, knobs=KNOBS)
"""


def test_anothers_producers_are_judged_beside_the_canaries(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a project of its own, and in a process of its own with a lease of its own."""
    monkeypatch.setenv("PYTHONPATH", ":".join([str(HERE), str(HERE.parent), *sys.path]))
    pytester.makepyfile(test_mine=PROJECT)
    installed = any(each.value == MODULE for each in entry_points(group="pytest11"))
    words = ["--sbo-require-gpu", "--sbo-seed", "41", "--sbo-summary", "summary.md"]
    plugin = [] if installed else ["-p", MODULE]
    result = pytester.runpytest_subprocess(*plugin, *words, timeout=280)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "producer planted_producers:not_waited_for: fail",
            "fail: foreign: ALARM: forbidden but seen; * stale of *",
            "witness *",
            "repeat with: pytest test_mine.py::test_not_waited_for --sbo-seed 41",
            "pass    sound * planted_producers:published: 0 of *, rate below * at 95 % *",
        ]
    )
    summary = (pytester.path / "summary.md").read_text()
    assert summary.count("## Hand-over gate: pass\n") == 1
    assert summary.count("## Hand-over gate: fail\n") == 1
