"""The command line: what it prints, what it refuses, and the exit code that it ends with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

import pytest

from sbo_verify import __version__
from sbo_verify.cli import bench_commands, commands, main
from sbo_verify.compiled.conformance import code_reading
from sbo_verify.device.build import build
from sbo_verify.device.gpu import NoGpuError
from sbo_verify.harness import examination
from sbo_verify.harness.judgement import INTERRUPTED
from sbo_verify.harness.session import ReadRow, read_code
from sbo_verify.protocol import Protocol, Row
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.store import RAW_FILE, VERDICT_FILE, Run, runs_below

ROOT = Path(__file__).resolve().parents[1]
NO_GPU = "no CUDA device on this machine"
PASS, FAIL, UNKNOWN, USAGE, INTERNAL = 0, 1, 2, 254, 255
SOUND, BROKEN = "poll_equal", "read_wait-release"

Said = tuple[int, str, str]
Command = Callable[..., Said]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs one command in this process: exit code, standard output, standard error."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        code = main([*arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every machine is one without a GPU here."""

    def refuse(_index: int = 0) -> NoReturn:
        raise NoGpuError(NO_GPU)

    monkeypatch.setattr(examination, "open_gpu", refuse)
    for module in (commands, bench_commands):
        monkeypatch.setattr(module, "open_gpu", refuse)


def only_run(folder: Path) -> Run:
    (path,) = runs_below(folder)
    return Run.open(path)


# ---- the catalogue --------------------------------------------------------------------------


def test_list_shows_every_row_with_its_reason(command: Command) -> None:
    code, out, _ = command("list")
    assert code == PASS
    for row in SIGNAL_PUBLISH:
        assert row.name in out
    sound = sum(row.sound for row in SIGNAL_PUBLISH)
    assert f"{len(SIGNAL_PUBLISH.rows)} variants: {sound} sound" in out


def test_list_as_json_holds_all_of_every_row(command: Command) -> None:
    code, out, err = command("list", "--json")
    assert (code, err) == (PASS, "")
    assert json.loads(out) == [
        {
            "name": row.name,
            "variant": SIGNAL_PUBLISH.hash_of(row.variant),
            "expected": row.expected.value,
            "canary": row.canary,
            "because": row.because,
            "source": row.source,
            "choices": row.variant.words(),
        }
        for row in SIGNAL_PUBLISH
    ]


# ---- refusals -------------------------------------------------------------------------------

REFUSED = [
    ("run --variants hope", "no variant 'hope' in the catalogue of signal_publish"),
    ("run --variants read_wait-releas", "did you mean read_wait-release"),
    ("run --variants hope*", "no variant matches 'hope*'; see `sbo-verify list`"),
    ("run --protocol hope", "no protocol 'hope'; choose one of: signal_publish"),
    ("list --protocol hope", "no protocol 'hope'; choose one of: signal_publish"),
    ("explain hope", "no variant 'hope' in the catalogue of signal_publish"),
    ("replay hope --seed 1 --index 0", "no variant 'hope' in the catalogue of signal_publish"),
    ("replay poll_equal --index 0", "Missing option '--seed'"),
    ("replay poll_equal --seed 1 --index -1", "-1 is not in the range x>=0"),
    ("bench handover --variant hope", "no variant 'hope' in the catalogue of signal_publish"),
    ("run --knob hope=1", "no knob 'hope'; the knobs are: noise, noise_share, noise_bytes"),
    ("run --knob tile_bytes", "--knob takes NAME=VALUE, not 'tile_bytes'"),
    ("run --knob noise=loud", "knob noise"),
    ("run --knob tile_bytes=17", "knob tile_bytes is 17; it must be a multiple of 16 bytes"),
    (
        "run --variants poll_equal --knob tile_bytes=272",
        "by 2 issuer(s) it must be a multiple of 256 bytes",
    ),
    ("run --knob tile_bytes=23244800", "tile_bytes is 23244800; allowed is 16 to 232448"),
    (
        "run --variants poll_equal --knob tile_bytes=232448",
        "this variant keeps 1 and 1 CTA(s) share an SM; allowed is up to 231424 bytes",
    ),
    (
        "run --variants poll_equal --knob tile_bytes=65536 --knob ctas_per_sm=4",
        "4 CTA(s) share an SM; allowed is up to 56320 bytes",
    ),
    ("run --seconds 0", "0.0 is not in the range x>=0.001"),
    ("run --seconds nan", "nan is no number of seconds"),
    ("run --seconds inf", "inf is no number of seconds"),
    ("canaries --within nan", "nan is no number of seconds"),
    ("run --observations -1", "-1 is not in the range x>=0"),
    ("run --seed many", "'many' is not a valid integer"),
    ("run --seed -1", "-1 is not in the range x>=0"),
    ("replay poll_equal --seed -1 --index 0", "-1 is not in the range x>=0"),
    ("run --variants ,", "--variants ',' names nothing; give comma-separated names, or leave it"),
    ("canaries --seeds 0", "0 is not in the range x>=1"),
    ("run --hope", "--hope"),
    ("hope", "No such command 'hope'"),
    ("report", "Missing argument 'RUN'"),
    ("report nowhere", "nowhere does not exist; name the folder of one run"),
    ("report nowhere --format pdf", "'pdf' is not one of 'terminal', 'markdown', 'html', 'json'"),
    ("model nowhere.litmus", "File 'nowhere.litmus' does not exist"),
    ("model", "Missing argument 'FILES...'"),
]


@pytest.mark.parametrize(("words", "said"), REFUSED, ids=[words for words, _ in REFUSED])
def test_wrong_usage_is_refused_with_what_is_allowed(
    words: str, said: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = command(*words.split())
    assert (code, out) == (USAGE, "")
    assert said in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == [], "what is refused leaves no run behind"


def test_the_largest_tile_that_a_refusal_names_is_allowed(command: Command, tmp_path: Path) -> None:
    words = ("run", "--variants", SOUND, "--out", str(tmp_path), "--knob")
    assert command(*words, "tile_bytes=231680")[0] == USAGE
    assert command(*words, "tile_bytes=231424")[0] == PASS


def test_an_output_folder_that_cannot_be_written_is_refused(
    command: Command, tmp_path: Path
) -> None:
    """A file in the way, since nothing is forbidden to an administrator."""
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    code, out, err = command("run", "--variants", SOUND, "--out", str(in_the_way))
    assert (code, out) == (USAGE, "")
    assert "nothing was launched; name an output folder that can be written" in err


# ---- run without a GPU ----------------------------------------------------------------------


def test_run_without_a_gpu_says_first_and_last_that_silicon_did_not_run(
    command: Command, tmp_path: Path
) -> None:
    code, out, err = command("run", "--variants", SOUND, "--out", str(tmp_path), "--seed", "7")
    assert code == PASS
    lines = [line for line in out.splitlines() if line.strip()]
    assert lines[0].strip() == f"Silicon did not run: {NO_GPU}."
    assert lines[-1].strip() == f"Outcome: pass (exit code 0). Silicon did not run: {NO_GPU}."
    assert f"silicon did not run: {NO_GPU}" in err
    assert "seed 7; records in " in err
    run = only_run(tmp_path)
    assert (run.settings.seed, run.settings.silicon) == (7, False)
    assert run.settings.silicon_reason == NO_GPU
    (reading,) = run.code_readings()
    assert (reading.row, reading.verdict) == (SOUND, "as declared")


@pytest.mark.parametrize("words", [("run", "--require-gpu"), ("stress",)])
def test_where_a_gpu_is_required_its_absence_is_unknown(
    words: tuple[str, ...], command: Command, tmp_path: Path
) -> None:
    code, out, err = command(*words, "--variants", SOUND, "--out", str(tmp_path))
    assert (code, out) == (UNKNOWN, "")
    assert err == f"sbo-verify: silicon cannot run here: {NO_GPU}\n"
    assert runs_below(tmp_path) == []


@pytest.mark.parametrize(
    "words", ["replay poll_equal --seed 1 --index 0", "bench handover", "canaries"]
)
def test_what_only_a_gpu_can_do_is_unknown_without_one(words: str, command: Command) -> None:
    assert command(*words.split()) == (UNKNOWN, "", f"sbo-verify: {NO_GPU}\n")


def test_run_as_json_prints_json_alone(command: Command, tmp_path: Path) -> None:
    names = f"{SOUND},{BROKEN}"
    code, out, err = command("run", "--variants", names, "--out", str(tmp_path), "--json")
    assert (code, err) == (PASS, "")
    told = json.loads(out)
    assert [each["row"] for each in told["verdicts"]] == [SOUND, BROKEN]
    assert [each["model"] for each in told["verdicts"]] == ["Forbidden", "Allowed"]
    assert [each["code"] for each in told["verdicts"]] == ["as declared", "as declared"]
    assert told["launches"] == []
    assert (told["summary"]["outcome"], told["summary"]["exit_code"]) == ("pass", PASS)


def test_code_that_is_not_as_declared_fails_and_is_said(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_as_another(
        run: Run,
        protocol: Protocol,
        rows: Iterable[Row],
        on_row: Callable[[Row], None],
        _read: ReadRow,
    ) -> None:
        """The code of the broken row, under the sound row's name."""
        other = build(protocol, protocol.row(BROKEN).variant)
        for row in rows:
            run.append(code_reading(protocol, row, other))
            on_row(row)

    monkeypatch.setattr(examination, "read_code", read_as_another)
    code, out, _ = command("run", "--variants", SOUND, "--out", str(tmp_path))
    assert code == FAIL
    assert "has compiled code that is not what was declared" in out
    assert out.rstrip().endswith(f"Outcome: fail (exit code 1). Silicon did not run: {NO_GPU}.")


# ---- interrupted ----------------------------------------------------------------------------


def interrupt_after_one(
    run: Run, protocol: Protocol, rows: Iterable[Row], on_row: Callable[[Row], None], read: ReadRow
) -> NoReturn:
    """Ctrl-C when one row's code was read and the next one's was not."""
    read_code(run, protocol, list(rows)[:1], on_row, read)
    raise KeyboardInterrupt


def test_an_interrupted_run_is_reported_and_can_be_opened_again(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "read_code", interrupt_after_one)
    code, out, err = command("run", "--variants", f"{SOUND},{BROKEN}", "--out", str(tmp_path))
    assert code == UNKNOWN
    assert "interrupted; what was recorded until now follows" in err
    assert INTERRUPTED in out
    run = only_run(tmp_path)
    assert sorted(path.name for path in run.path.iterdir()) == sorted(
        [RAW_FILE, "settings.json", VERDICT_FILE]
    )
    assert [each.row for each in run.code_readings()] == [SOUND]
    again, reported, _ = command("report", str(run.path))
    assert (again, reported) == (code, out)


def test_an_interruption_before_any_run_is_unknown(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt() -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "examine", interrupt)
    code, out, err = command("doctor")
    assert (code, out, err.strip()) == (UNKNOWN, "", "sbo-verify: interrupted")


def test_ctrl_c_leaves_a_run_that_can_be_read(command: Command, tmp_path: Path) -> None:
    """A process of its own, with nothing compiled yet, is interrupted while it compiles."""
    environment = {
        **os.environ,
        "SBO_VERIFY_CACHE": str(tmp_path / "cache"),
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONUNBUFFERED": "1",
    }
    words = [sys.executable, "-m", "sbo_verify", "run", "--out", str(tmp_path / "runs")]
    with subprocess.Popen(  # noqa: S603 - this program
        words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("compile and read back"):
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == UNKNOWN, err
    assert "interrupted; what was recorded until now follows" in err
    assert INTERRUPTED in out
    run = only_run(tmp_path / "runs")
    assert len(run.code_readings()) < len(SIGNAL_PUBLISH.rows)
    code, again, _ = command("report", str(run.path))
    assert code == UNKNOWN
    assert INTERRUPTED in again


def test_a_run_that_was_killed_before_its_verdict_is_reported_as_interrupted(
    command: Command, tmp_path: Path
) -> None:
    assert command("run", "--variants", SOUND, "--out", str(tmp_path))[0] == PASS
    run = only_run(tmp_path)
    (run.path / VERDICT_FILE).unlink()
    code, out, _ = command("report", str(run.path))
    assert code == UNKNOWN
    assert INTERRUPTED in out


# ---- report ---------------------------------------------------------------------------------


def test_report_repeats_a_runs_report_in_every_form(command: Command, tmp_path: Path) -> None:
    words = ("run", "--variants", f"{SOUND},{BROKEN}", "--out", str(tmp_path))
    code, out, _ = command(*words)
    path = str(only_run(tmp_path).path)
    assert command("report", path) == (code, out, "")
    code, told, err = command("report", path, "--format", "json")
    assert (code, err) == (PASS, "")
    assert json.loads(told)["summary"]["outcome"] == "pass"
    code, told, err = command("report", path, "--format", "markdown")
    assert (code, err) == (PASS, "")
    assert f"| {SOUND} |" in told.replace("`", "")


def test_a_run_of_a_variant_that_is_gone_is_reported_by_its_own_verdict(
    command: Command, tmp_path: Path
) -> None:
    _, out, _ = command("run", "--variants", SOUND, "--out", str(tmp_path))
    run = only_run(tmp_path)
    for file in run.path.iterdir():
        file.write_text(file.read_text().replace(SOUND, "renamed_since"))
    code, told, _ = command("report", str(run.path))
    assert code == PASS
    assert "renamed_since" in told
    assert told.splitlines()[-1] == out.splitlines()[-1]
    (run.path / VERDICT_FILE).unlink()
    code, told, err = command("report", str(run.path))
    assert (code, told) == (USAGE, "")
    assert "the catalogue has changed since this run" in err


# ---- the program ----------------------------------------------------------------------------


def test_a_defect_of_the_program_is_said_to_be_one(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(_name: str, _kernel: str) -> NoReturn:
        message = "a defect"
        raise ZeroDivisionError(message)

    monkeypatch.setattr(commands, "protocol_for", stumble)
    code, out, err = command("list")
    assert (code, out) == (INTERNAL, "")
    assert "ZeroDivisionError: a defect" in err
    assert err.endswith("sbo-verify: internal error: please report the lines above\n")


def test_doctor_says_what_is_missing_and_what_to_do(command: Command) -> None:
    code, out, err = command("doctor", "--json")
    assert (code, err) == (PASS, "")
    findings = json.loads(out)
    assert all(each["found"] or each["remedy"] for each in findings)
    code, out, _ = command("doctor")
    assert code == PASS
    assert all(each["what"] in out for each in findings)


def test_the_package_runs_as_a_module_and_says_its_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sbo_verify", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (PASS, "")
    assert done.stdout == f"sbo-verify, version {__version__}\n"
