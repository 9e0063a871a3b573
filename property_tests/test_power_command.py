"""`search` and `power`: what they refuse, and the text that is made of their records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
from test_environments import SlopeBench, environment
from test_power import PlantedBench
from written_runs import settings

from sbo_verify.cli import main, power_commands
from sbo_verify.device.gpu import NoGpuError
from sbo_verify.harness.environments import kept
from sbo_verify.harness.knobs import Knobs
from sbo_verify.harness.mutants import Mutant
from sbo_verify.harness.power import Sightings
from sbo_verify.harness.search import Counts
from sbo_verify.report.power import _USUAL_TILE_BYTES, power_text

PASS, FAIL, UNKNOWN, USAGE = 0, 1, 2, 254
RECORDED = Path(__file__).parents[1] / "reports" / "h200-2026-11-24"
SNAPSHOT = Path(__file__).parent / "snapshots" / "power.md"
MUTANT, SOUND = "no_wait-relaxed", "full_wait-atom_release"


def begin_with(monkeypatch: pytest.MonkeyPatch, bench: Any) -> None:  # noqa: ANN401 - a made-up GPU
    def begin(*_: object) -> tuple[Any, dict[str, Any]]:
        made = replace(settings([MUTANT]), started="2026-11-24T00:00:00+00:00", compiler="nvrtc 1")
        return bench, made.to_json()

    monkeypatch.setattr(power_commands, "_begin", begin)


def records(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> list[dict[str, Any]]:
    """One record of each kind, as the commands print them on a GPU that is made up."""
    begin_with(monkeypatch, SlopeBench())
    kept = tmp_path / "kept.json"
    words = ["search", "--variants", MUTANT, "--draws", "4", "--steps", "8", "--seed", "3"]
    assert main([*words, "--keep", str(kept), "--json"]) == PASS
    found = [json.loads(capsys.readouterr().out)]
    assert json.loads(kept.read_text())["environments"] == [found[0]["found"][0]["best"]]
    mutant = Mutant(
        sightings=Sightings(row=MUTANT, seconds=[0.01, 0.02, None], used=2.03),
        counts={"dense": Counts(launches=1, killed=1, stale=3, observations=10**6, seconds=0.01)},
    )
    monkeypatch.setattr(power_commands, "measure", lambda *_, **__: iter([mutant]))
    assert main(["power", "mutants", "--variants", MUTANT, "--json"]) == UNKNOWN
    found.append(json.loads(capsys.readouterr().out))
    begin_with(monkeypatch, PlantedBench())
    assert main(["power", "planted", "--rate", "10000", "30000", "20", "--json"]) == PASS
    found.append(json.loads(capsys.readouterr().out))
    return found


def test_the_text_of_the_records_is_pinned(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    made = records(monkeypatch, capsys, tmp_path)
    files = [tmp_path / f"{number}.json" for number in range(len(made))]
    for file, record in zip(files, made, strict=True):
        file.write_text(json.dumps(record))
    assert main(["power", "text", *map(str, files)]) == PASS
    text = capsys.readouterr().out
    assert text == power_text(made)
    assert text == SNAPSHOT.read_text()


def test_the_recorded_text_is_what_its_records_give() -> None:
    names = ("environments.json", "mutants.json", "planted.json")
    made = [json.loads((RECORDED / name).read_text()) for name in names]
    assert (RECORDED / "power.md").read_text() == power_text(made)
    assert all(not each["settings"]["dirty"] and each["settings"]["commit"] for each in made)
    # A tile that a record does not name is the usual one.
    assert Knobs().tile_bytes == _USUAL_TILE_BYTES
    # What is used is what the recorded search found.
    best = [each["best"] for each in made[0]["found"] if each["best"] is not None]
    assert [each.to_json() for each in kept().environments] == best


def test_a_detector_that_misses_what_was_planted_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begin_with(monkeypatch, PlantedBench(sight=0.5))
    assert main(["power", "planted", "--rate", "10000", "30000", "20"]) == FAIL
    assert "Planted violations" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["{}", '{"kind": "run"}', "[]", "nothing"])
def test_what_is_no_such_record_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str
) -> None:
    file = tmp_path / "record.json"
    file.write_text(text)
    assert main(["power", "text", str(file)]) == USAGE
    assert "a record of search, power mutants or power planted is expected" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "words", [["search"], ["power", "mutants"], ["power", "planted"]], ids=" ".join
)
def test_without_a_gpu_nothing_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: Sequence[str]
) -> None:
    def refuse(_index: int = 0) -> NoReturn:
        message = "no CUDA device on this machine"
        raise NoGpuError(message)

    monkeypatch.setattr(power_commands, "open_gpu", refuse)
    assert main([*words]) == UNKNOWN
    assert capsys.readouterr().err == "sbo-verify: no CUDA device on this machine\n"


def test_the_killable_mutants_are_those_with_an_environment() -> None:
    assert environment().row in kept().killable
    assert SOUND not in kept().killable


@pytest.mark.parametrize("word", ["nan", "-0.1", "1", "inf", "often"])
def test_a_bound_that_is_no_rate_is_refused(capsys: pytest.CaptureFixture[str], word: str) -> None:
    assert main(["run", "--variants", SOUND, "--bound", word]) == USAGE
    assert "--bound" in capsys.readouterr().err
