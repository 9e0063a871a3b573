"""Foreign producers: named, imported, believed in nothing, and refused in words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sbo_verify.cli import main
from sbo_verify.harness.producers import ProducerError, announcement, imported

USAGE, UNKNOWN = 254, 2


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("deep_gemm", "--producer takes MODULE:FUNCTION, not 'deep_gemm'"),
        (":f", "--producer takes MODULE:FUNCTION, not ':f'"),
        ("no_such_module:f", "producer no_such_module:f: no_such_module cannot be imported"),
        ("json:nothing", "producer json:nothing: json has no callable 'nothing'"),
        ("json:__name__", "producer json:__name__: json has no callable '__name__'"),
    ],
)
def test_a_producer_that_is_not_there_is_refused(name: str, complaint: str) -> None:
    with pytest.raises(ProducerError, match=re.escape(complaint)):
        imported(name)


def test_a_producer_may_lie_in_the_folder_that_one_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lying_here.py").write_text("def masked():\n    return 128, 2\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["/nowhere"])
    assert imported("lying_here:masked")() == (128, 2)


@pytest.mark.parametrize(
    "returned", [None, 128, (128,), (128, 0), (0, 2), (128, 2, 1), ("128", "2"), (128.0, 2)]
)
def test_what_is_no_announcement_is_refused(returned: object) -> None:
    complaint = (
        f"producer a:b returned {returned!r}; allowed is (block_m, threshold), two whole numbers "
        "from 1"
    )
    with pytest.raises(ProducerError, match=re.escape(complaint)):
        announcement("a:b", returned)


def test_an_announcement_is_taken_as_it_is() -> None:
    assert announcement("a:b", (64, 38)) == (64, 38)
    assert announcement("a:b", [128, 2]) == (128, 2)


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (
            ("stress", "--producer", "json:dumps"),
            USAGE,
            "--producer names a GEMM; choose --kernel gemm with it",
        ),
        (
            ("stress", "--kernel", "gemm", "--producer", "no_such_module:f"),
            USAGE,
            "no_such_module cannot be imported",
        ),
        (
            ("stress", "--kernel", "gemm", "--variants", "readback-full_wait"),
            USAGE,
            "no variant 'readback-full_wait' in the catalogue of signal_publish",
        ),
        (
            ("stress", "--kernel", "gemm", "--knob", "tile_bytes=16"),
            USAGE,
            "no knob 'tile_bytes'; the knobs are: groups, m, n, k",
        ),
        (
            ("replay", "foreign", "--kernel", "gemm", "--seed", "1", "--index", "0"),
            USAGE,
            "no variant 'foreign' in the catalogue of signal_publish",
        ),
    ],
)
def test_the_command_line_refuses_before_anything_is_launched(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, complaint: str
) -> None:
    assert main([*arguments]) == code
    assert complaint in capsys.readouterr().err
