"""The Python that documents show runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import scipy.stats  # noqa: F401 - before a session inside this process: numpy loads but once
from fake_live_gpu import put_in_place

from sbo_verify import api
from sbo_verify.protocols.signal_publish.combine import CANARIES

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[1]
CI = ROOT / "docs" / "ci.md"
TESTS = re.compile(r"^<!-- test: ([\w-]+) -->\n```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
MY_KERNELS = "def masked_gemm(*tensors, **options):\n    return 128, 2\n"


def test_the_blocks_of_the_python_page_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("reports", "property_tests"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    blocks = BLOCKS.findall((ROOT / "docs" / "python.md").read_text())
    assert len(blocks) >= 5
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)  # noqa: S102 - the project's own page
    said = capsys.readouterr().out
    assert "signal-after-read-wait" in said
    assert "waits until the sources are read, not for the destinations" in said
    assert (tmp_path / "report.html").stat().st_size > 0
    with pytest.raises(api.NoGpuError, match="silicon cannot run here: "):
        names["stressed"]()


@pytest.mark.parametrize("silicon", [False, True])
def test_the_tests_of_ones_own_producer_run_as_they_stand(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, silicon: bool
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = dict(TESTS.findall(CI.read_text()))
    assert set(found) == {"own-producer", "own-producer-fixture"}
    assert all(len(text.split("\n\n\n")[1].splitlines()) <= 10 for text in found.values())
    texts = {f"test_{name.replace('-', '_')}": text for name, text in found.items()}
    pytester.makepyfile(my_kernels=MY_KERNELS, torch="no_torch_here = True", **texts)
    pytester.syspathinsert()
    if silicon:
        put_in_place(monkeypatch, *CANARIES)
    result = pytester.runpytest_inprocess("--strict-markers")
    result.assert_outcomes(**{"passed" if silicon else "skipped": 2})
