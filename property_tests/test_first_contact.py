"""What a newcomer meets first: the doctor, a run on a laptop, narrow terminals, a shell's Tab."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.shell_completion import get_completion_class
from rich.console import Console
from snapshots import pinned

from sbo_verify.api import open_run
from sbo_verify.cli import main
from sbo_verify.cli.app import app
from sbo_verify.cli.first_contact import LEVELS, closing_lines, print_doctor
from sbo_verify.cli.options import complete_variants
from sbo_verify.cli.tables import print_catalogue
from sbo_verify.device.doctor import Finding, can_run, examine
from sbo_verify.harness import examination
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH

ROOT = Path(__file__).resolve().parents[1]
PASS, UNKNOWN = 0, 2
SOUND = "poll_equal"
NO_GPU = "no CUDA device on this machine"
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7][0-9;]*m|\x1b\[[0-9;]*9[0-7][0-9;]*m")

COMPILED = ("code", "machine code", "silicon", "GEMM")
HEALTHY = (
    Finding("compiler (NVRTC)", True, "nvrtc 13.0.88", COMPILED),  # noqa: FBT003 - found
    Finding("CUDA headers", True, "/opt/cu13/include/cccl, /opt/cu13/include", COMPILED),  # noqa: FBT003
    Finding("package torch", True, "2.13.0", ("GEMM",)),  # noqa: FBT003
    Finding("Hopper GPU", True, "NVIDIA H200, 132 SMs", ("silicon", "GEMM")),  # noqa: FBT003
)
LAPTOP = (
    *HEALTHY[:2],
    replace(HEALTHY[2], found=False, detail="not installed", remedy="pip install torch"),
    replace(HEALTHY[3], found=False, detail=NO_GPU, remedy="run on a machine with a Hopper GPU"),
)
BARE = (
    replace(HEALTHY[0], found=False, detail="no NVRTC", remedy="pip install nvrtc"),
    *LAPTOP[1:],
)


def told(findings: Sequence[Finding], width: int, *, colour: bool = False) -> str:
    """The doctor's page, in a terminal of that width."""
    stream = io.StringIO()
    print_doctor(findings, Console(file=stream, width=width, force_terminal=colour))
    return stream.getvalue()


# ---- the doctor -----------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 100])
def test_the_doctors_page_on_a_laptop_is_the_reviewed_one(width: int) -> None:
    pinned(f"doctor-laptop-{width}.txt", told(LAPTOP, width))


@pytest.mark.parametrize("findings", [HEALTHY, LAPTOP, BARE], ids=["healthy", "laptop", "bare"])
@pytest.mark.parametrize("width", [40, 60, 100])
def test_colour_says_nothing_that_the_words_do_not_and_lines_fit(
    findings: Sequence[Finding], width: int
) -> None:
    plain, coloured = told(findings, width), told(findings, width, colour=True)
    assert COLOUR.search(coloured)
    assert ESCAPE.sub("", coloured) == plain
    assert max(map(len, plain.splitlines())) <= width


def test_the_doctor_says_what_to_do_next() -> None:
    assert told(HEALTHY, 100).endswith("Everything can run: sbo-verify run --require-gpu\n")
    assert "What needs no GPU can run: sbo-verify run\n" in told(LAPTOP, 100)
    assert "To do first: what stands under MISSING (for: code)" in told(BARE, 100)
    assert "  code          no, without compiler (NVRTC)\n" in told(BARE, 100)


def test_every_level_that_something_is_needed_for_is_told() -> None:
    found = examine()
    assert {level for each in found for level in each.needed_for} < set(LEVELS)
    assert can_run(found, "model")
    assert all(each.found or each.remedy for each in found)


# ---- a run on a laptop ----------------------------------------------------------------------


def test_a_run_on_a_laptop_says_what_was_done_what_was_not_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(examination, "find_gpu", lambda _index: (None, NO_GPU))
    out = tmp_path / "runs"
    assert main(["run", "--variants", SOUND, "--seed", "7", "--out", str(out)]) == PASS
    (run,) = (file.parent for file in out.glob("*/*/settings.json"))
    said = capsys.readouterr().err.replace(str(run), "RUN")
    pinned("laptop-run.txt", said)


def test_a_run_on_a_gpu_says_how_much_was_seen() -> None:
    found = open_run(ROOT / "reports/signal_publish/20261124T124251Z-b8e20b0f92d0").findings
    done, page = closing_lines(found, "RUN")
    seen = sum(each.observations for each in found.verdicts)
    assert done.endswith(f"; {seen:,} hand-overs on {found.settings.machine['gpu']}")
    assert page.startswith("to do: sbo-verify report RUN --format html > report.html")


# ---- terminals ------------------------------------------------------------------------------


def in_a_terminal(columns: int, *words: str, **environment: str) -> str:
    """What the program writes to a terminal of that width."""
    told = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TERM": "xterm", **environment}
    # Given whole: readline has put a width there behind Python's back.
    told.pop("COLUMNS", None)
    process, terminal = pty.fork()
    if process == 0:
        program = [sys.executable, "-m", "sbo_verify", *words]
        os.execve(sys.executable, program, told)  # noqa: S606 - this program
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    written = b""
    while True:
        try:
            part = os.read(terminal, 1 << 16)
        except OSError:
            break
        if not part:
            break
        written += part
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == PASS
    return written.decode()


def test_forty_columns_hold_a_run_and_its_progress(tmp_path: Path) -> None:
    words = ("run", "--variants", SOUND, "--out", str(tmp_path))
    written = in_a_terminal(40, *words, NO_COLOR="1")
    assert COLOUR.search(written) is None, "NO_COLOR was set"
    report = written.partition("Silicon did not run: ")[2]
    lines = [ESCAPE.sub("", line) for line in re.split(r"[\r\n]+", written)]
    assert any(re.fullmatch(r"memory model +1/1 0:00:\d\d", line) for line in lines)
    assert any(re.fullmatch(r"compile and read back +1/1 0:00:\d\d", line) for line in lines)
    body = [ESCAPE.sub("", line) for line in report.partition("done: ")[0].splitlines()]
    assert max(map(len, body)) <= 40


def test_a_wide_terminal_names_what_is_being_done_in_colour(tmp_path: Path) -> None:
    written = in_a_terminal(120, "run", "--variants", SOUND, "--out", str(tmp_path))
    assert COLOUR.search(written)
    assert re.search(rf"memory model.*━.*1/1.*{SOUND}", written)


def test_where_nobody_looks_on_there_are_plain_lines_alone(tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603 - this program
        [sys.executable, "-m", "sbo_verify", "run", "--variants", SOUND, "--out", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "\x1b" not in done.stdout + done.stderr
    assert "\r" not in done.stdout + done.stderr
    assert "memory model: 1 step\n" in done.stderr


# ---- a shell's Tab --------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete_and_what(
    shell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = get_completion_class(shell)
    assert kind is not None
    completion = kind(app, {}, "sbo-verify", "_SBO_VERIFY_COMPLETE")
    assert f"_SBO_VERIFY_COMPLETE={shell}_complete" in completion.source()
    assert f"{shell}_source" in (app.help or "")
    names = [row.name for row in SIGNAL_PUBLISH if row.name.startswith("read_wait")]
    for words, place, wanted in (
        ("sbo-verify explain read_wait", 2, names),
        ("sbo-verify doc", 1, ["doctor"]),
    ):
        monkeypatch.setenv("COMP_WORDS", words)
        last = words.rsplit(" ", maxsplit=1)[-1]
        monkeypatch.setenv("COMP_CWORD", last if shell == "fish" else str(place))
        assert [
            each for each in re.split(r"[,\s]", completion.complete()) if each in wanted
        ] == wanted


def test_bash_completes_a_variant(tmp_path: Path) -> None:
    """In a bash of its own, by the script that it is told to source."""
    program = tmp_path / "sbo-verify"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m sbo_verify "$@"\n')
    program.chmod(0o755)
    script = """
        PATH="$1:$PATH"
        eval "$(_SBO_VERIFY_COMPLETE=bash_source sbo-verify)"
        COMP_WORDS=(sbo-verify run --variants poll_eq) COMP_CWORD=3
        $(complete -p sbo-verify | sed 's/.*-F \\([^ ]*\\).*/\\1/') sbo-verify poll_eq --variants
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(  # noqa: S603 - the text above
        ["bash", "-c", script, "bash", str(tmp_path)],  # noqa: S607 - the caller's bash
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [SOUND], done.stderr


def test_a_list_of_variants_is_completed_at_its_end() -> None:
    context, parameter = app.make_context("x", ["list"]), app.params[0]
    assert complete_variants(context, parameter, f"no*,{SOUND[:-2]}") == [f"no*,{SOUND}"]
    assert complete_variants(context, parameter, "hope") == []


# ---- the program ----------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_catalogue_breaks_no_name(width: int) -> None:
    """A name is to be copied: `--variants` takes it whole."""
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        print_catalogue(SIGNAL_PUBLISH, console)
    words = {word.rstrip(":") for word in capture.get().split()}
    assert {row.name for row in SIGNAL_PUBLISH} <= words


@pytest.mark.parametrize("words", [["list"], ["list", "--json"]])
def test_output_that_nobody_reads_on_is_no_fail(words: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    module = [sys.executable, "-m", "sbo_verify", *words]
    done = subprocess.run(module, cwd=ROOT, stdout=write, check=False)  # noqa: S603 - fixed words
    os.close(write)
    assert done.returncode == UNKNOWN
