"""The commands of the model level, and the help of every command."""

from __future__ import annotations

import csv
import glob
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import pytest
from documented_commands import commands

from sbo_verify.cli import main, model_commands
from sbo_verify.cli.app import app
from sbo_verify.device.build import build
from sbo_verify.harness import stressed_kernels
from sbo_verify.model import Budget, LitmusAnswer, Liveness, judge_litmus
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH

BULK = Path(__file__).parent / "litmus" / "bulk"
EXPECTED = BULK / "expected.csv"
PASS, UNKNOWN, USAGE = 0, 2, 254
BROKEN, SOUND = "read_wait-release", "full_wait-atom_release"
FILES = ("readback-no_wait.litmus", "readback-full_wait.litmus", "readback-read_wait.litmus")

Said = tuple[int, str, str]
Command = Callable[..., Said]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs one command in this process: exit code, standard output, standard error."""

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        code = main([*arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


# ---- model ----------------------------------------------------------------------------------


def test_model_says_of_every_file_whether_its_condition_holds(command: Command) -> None:
    with EXPECTED.open() as file:
        holds = {row["file"]: row["condition_holds"] == "1" for row in csv.DictReader(file)}
    paths = [str(BULK / name) for name in FILES]
    code, out, err = command("model", *paths, "--json")
    assert (code, err) == (PASS, "")
    answers = json.loads(out)
    assert [each["file"] for each in answers] == paths
    assert [each["condition_holds"] for each in answers] == [holds[name] for name in FILES]
    for each in answers:
        assert each["complete"] is True
        assert 0 < each["seconds"] < Budget().seconds
        shown = each["condition_holds"] == (each["quantifier"] == "exists")
        assert bool(each["witness"]) == shown
    code, out, _ = command("model", *paths)
    assert code == PASS
    for name, line in zip(FILES, out.splitlines(), strict=True):
        assert line.startswith(f"{BULK / name}: ")
        assert (" does not hold (" in line) != holds[name]


def test_a_file_that_depends_on_a_reading_says_so(command: Command) -> None:
    with EXPECTED.open() as file:
        (name, *_) = [
            row["file"] for row in csv.DictReader(file) if row["condition_holds"] != row["lenient"]
        ]
    code, out, _ = command("model", str(BULK / name))
    assert code == PASS
    assert "; under the reading 'async_fence=lenient' it " in out


MALFORMED = [
    ("hope d, 1", "6:2: expected an instruction of the format, found 'hope'"),
    ("st.weak d 1", "6:12: "),
]


@pytest.mark.parametrize(("instruction", "said"), MALFORMED)
def test_a_malformed_file_is_refused_at_its_line_and_column(
    instruction: str, said: str, command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "malformed.litmus"
    lines = ("PTX malformed", "{", "global d = 0;", "}", " P0@cta 0,gpu 0 ;", f" {instruction} ;")
    file.write_text("\n".join([*lines, "exists (P0:r1 == 2)", ""]))
    code, out, err = command("model", str(file))
    assert (code, out) == (USAGE, "")
    assert err.startswith(f"sbo-verify: {file}:{said}")


def test_a_search_that_was_cut_off_is_unknown(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(file: Path, budget: Budget) -> LitmusAnswer:
        return judge_litmus(file, replace(budget, candidates=1))

    monkeypatch.setattr(model_commands, "judge_litmus", cut_off)
    code, out, _ = command("model", str(BULK / FILES[1]), "--json")
    assert code == UNKNOWN
    (answer,) = json.loads(out)
    assert (answer["condition_holds"], answer["complete"]) == (None, False)
    assert " unknown (" in command("model", str(BULK / FILES[1]))[1]


# ---- explain --------------------------------------------------------------------------------


def test_an_allowed_row_is_explained_by_steps_and_what_would_forbid_it(command: Command) -> None:
    code, out, err = command("explain", BROKEN)
    assert (code, err) == (PASS, "")
    assert out.startswith(f"{BROKEN}: a stale read is Allowed (")
    steps = re.findall(r"^  (\d+)\. (.+) - (.+)$", out, re.MULTILINE)
    assert [int(number) for number, _, _ in steps] == list(range(1, len(steps) + 1))
    assert len(steps) > 5
    said = out.split("What is missing:\n")[1]
    missing, changes = said.split("\n\nSingle changes that forbid it:\n")
    assert missing.strip()
    assert [line.strip() for line in changes.splitlines()] == ["drain=full"]
    assert "What orders the store" not in out


def test_an_allowed_row_is_explained_as_json_too(command: Command) -> None:
    code, out, _ = command("explain", BROKEN, "--json")
    told = json.loads(out)
    assert (code, told["row"], told["verdict"]) == (PASS, BROKEN, "Allowed")
    assert [step["number"] for step in told["witness"]] == list(range(1, len(told["witness"]) + 1))
    assert told["missing"]
    assert told["single_changes_that_forbid"] == ["drain=full"]


def test_a_forbidden_row_is_explained_by_its_chains(command: Command) -> None:
    code, out, err = command("explain", SOUND)
    assert (code, err) == (PASS, "")
    assert out.startswith(f"{SOUND}: a stale read is Forbidden (")
    chains = out.split("\n\nWhat orders the store before the read (")[1:]
    assert len(chains) == 2, "one for each half of the tile"
    for chain in chains:
        edges = re.findall(r"^  \d+\. .+ -> .+ \[.+\]$", chain, re.MULTILINE)
        assert "synchronizes: release pattern observed by acquire pattern" in edges[-2]
        assert len(edges) == len(chain.strip().splitlines()) - 1
    assert "Single changes" not in out
    told = json.loads(command("explain", SOUND, "--json")[1])
    assert (told["verdict"], told["witness"]) == ("Forbidden", None)
    assert len(told["chains"]) == 2
    assert told["single_changes_that_forbid"] == []


def test_a_row_that_no_single_change_mends_says_so(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_commands, "single_changes", lambda _variant: {})
    assert "none: no change of a single site is enough" in command("explain", BROKEN)[1]


def test_the_compiled_program_of_a_row_is_explained_with_its_steps(command: Command) -> None:
    code, out, err = command("explain", SOUND, "--compiled")
    assert (code, err) == (PASS, "")
    assert re.match(rf"{SOUND}, compiled by nvrtc \S+: a stale read is Forbidden\n", out)
    assert "the declared program: Forbidden, the same\n" in out
    assert "taken from the declaration: issuers=two, publisher=issuer, fan_out=every_thread" in out
    assert "\n  producer.drain: cp.async.bulk.wait_group 0\n" in out
    assert len(out.split("\n\nWhat orders the store before the read (")) == 1 + 2
    told = json.loads(command("explain", BROKEN, "--compiled", "--json")[1])
    assert (told["verdict"], told["declared"], told["agrees"]) == ("Allowed", "Allowed", True)
    assert ["producer.drain", ["cp.async.bulk.wait_group.read 0"]] in told["program"]
    assert told["answer"]["witness"]


@pytest.mark.parametrize(
    ("change", "exit_code", "said"),
    [
        (("wait_group 0", "wait_group.read 0"), 1, "the declared program: Forbidden, another"),
        (("atom.release", "multimem.red.release"), UNKNOWN, "note: the PTX cannot be read"),
    ],
)
def test_a_compiled_program_that_is_another_or_unread_is_no_pass(
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    change: tuple[str, str],
    exit_code: int,
    said: str,
) -> None:
    artefact = build(SIGNAL_PUBLISH, SIGNAL_PUBLISH.row(SOUND).variant)
    changed = replace(artefact, ptx=artefact.ptx.replace(*change))
    monkeypatch.setattr(stressed_kernels, "build", lambda _protocol, _variant: changed)
    code, out, _ = command("explain", SOUND, "--compiled")
    assert code == exit_code
    assert said in out


def test_a_row_is_explained_by_its_hash_too(command: Command) -> None:
    code, out, _ = command("explain", SIGNAL_PUBLISH.hash_of(SIGNAL_PUBLISH.row(SOUND).variant))
    assert (code, out.split(":")[0]) == (PASS, SOUND)


# ---- help -----------------------------------------------------------------------------------


def leaves(group: click.Group, before: str = "") -> dict[str, click.Command]:
    """Every command that does something, by the words that name it."""
    found: dict[str, click.Command] = {}
    for name, each in sorted(group.commands.items()):
        words = f"{before}{name}"
        found |= leaves(each, f"{words} ") if isinstance(each, click.Group) else {words: each}
    return found


COMMANDS = leaves(app.loaded())


def examples(name: str, told: str) -> list[str]:
    """The commands that a help text shows, its usage line left out."""
    return re.findall(rf"^ +sbo-verify ({name}\b.*)$", told, re.MULTILINE)


def test_help_lists_every_command_and_the_exit_codes(command: Command) -> None:
    for flag in ("-h", "--help"):
        code, out, _ = command(flag)
        assert code == PASS
        assert all(f"\n  {name} " in out for name in app.commands)
        assert "0 pass, 1 fail, 2 unknown" in out


def test_no_command_at_all_is_answered_with_help(command: Command) -> None:
    _, out, err = command()
    assert "Commands:" in out + err


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example_that_can_be_typed(
    name: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = command(*name.split(), "--help")
    assert (code, err) == (PASS, "")
    shown = examples(name, out)
    assert shown
    monkeypatch.chdir(tmp_path)
    for example in shown:
        ((_, *words),) = commands(f"sbo-verify {example}")
        words = words[len(name.split()) :]
        for file in (Path(word.replace("*", "a")) for word in words if Path(word).suffix):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        typed = [found for word in words for found in (glob.glob(word) or [word])]  # noqa: PTH207 - as a shell does
        # Parsed and not run: an option that does not exist raises.
        COMMANDS[name].make_context(name, typed).close()


def test_an_example_that_cannot_be_typed_would_be_noticed() -> None:
    (example,) = examples("list", "Usage: sbo-verify list [OPTIONS]\n\n  sbo-verify list --hope\n")
    _, *words = shlex.split(example)
    with pytest.raises(click.NoSuchOption):
        app.commands["list"].make_context("list", words)


def test_a_file_that_is_not_utf_8_is_refused_at_its_byte(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "odd.litmus"
    file.write_bytes(b"PTX odd\nab\xff")
    code, _, err = command("model", str(file))
    assert code == USAGE
    assert f"{file}:2:3: expected text in UTF-8, found byte 0xff" in err


def test_a_stale_execution_is_drawn_and_a_forbidden_one_refused(
    command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "stale.svg"
    code, _, _ = command("explain", "read_wait-release", "--svg", str(file))
    assert code == PASS
    assert file.read_text().startswith("<svg")
    other = tmp_path / "none.svg"
    code, _, err = command("explain", "full_wait-atom_release", "--svg", str(other))
    assert code == USAGE
    assert "allows no stale read" in err
    assert not other.exists()


def test_a_poll_that_may_never_see_the_signal_is_explained(command: Command) -> None:
    _, hangs, _ = command("explain", "poll_cta_scope")
    assert "a poll may go on for ever:\n  'ld.acquire.cta" in hangs
    assert "  under the reading 'progress=strong' it cannot\n" in hangs
    _, ends, _ = command("explain", "poll_equal")
    assert "a poll cannot go on for ever\n" in ends


def test_a_poll_whose_search_was_cut_off_is_not_called_safe(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off = Liveness(may_last_for_ever=False, reasons=[], complete=False)
    monkeypatch.setattr(model_commands, "poll_answer", lambda _variant: cut_off)
    _, out, _ = command("explain", "poll_equal")
    assert "whether a poll can go on for ever is unknown: the search was cut off" in out
    assert "cannot go on" not in out


def test_a_file_says_what_it_is_worth_where_that_is_asked(command: Command) -> None:
    public = BULK.parent / "public"
    files = {
        "Memalloy/WWC1.litmus": (True, False, "vacuous: no execution of any model"),
        "Memalloy/IRIW2.litmus": (False, True, "allowed under sequential consistency already"),
        "Manual/MP-gpu.litmus": (False, False, "can tell a weaker model from a stronger one"),
    }
    paths = [str(public / name) for name in files]
    lines = command("model", *paths, "--worth")[1].splitlines()
    told = json.loads(command("model", *paths, "--worth", "--json")[1])
    for line, each, (vacuous, interleaved, said) in zip(lines, told, files.values(), strict=True):
        assert each["worth"] == {"vacuous": vacuous, "interleaved": interleaved}
        assert line.count("; ") == 1
        assert f"; {said}" in line
    assert "worth" not in json.loads(command("model", *paths, "--json")[1])[0]


def test_a_file_with_a_thread_that_never_ends_says_so(command: Command) -> None:
    public = BULK.parent / "public"
    code, out, _ = command("model", str(public / "Manual/PC-bar-sync-sync-3.litmus"))
    assert code == PASS
    assert "; a thread may go on for ever: P0 can wait for ever at 'bar.cta.sync 0'" in out
    code, out, _ = command("model", str(public / "Barrier/quorum3-pass.litmus"), "--json")
    (told,) = json.loads(out)
    assert told["liveness"]["may_last_for_ever"] is False
    assert told["liveness"]["complete"] is True
