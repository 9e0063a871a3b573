"""The group of all commands: which there are and what each is for. Their modules come when needed.

What `--help` and a shell's completion ask for stands here, so that neither waits for the model, the
compiler's bindings or numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

import click
from click.shell_completion import CompletionItem

from sbo_verify import __version__


class Summary(NamedTuple):
    """A command's line in the list, short enough for 80 columns, and the modules that add it."""

    line: str
    modules: tuple[str, ...]


COMMANDS = {
    "answers": Summary(
        "Answer the open questions of reviews about this protocol.", ("model_commands",)
    ),
    "bench": Summary(
        "Measure hand-overs a second, the GEMM, the overlap.", ("gemm_commands", "overlap_command")
    ),
    "canaries": Summary("Measure how soon every canary is seen, over many seeds.", ("commands",)),
    "compare": Summary("Compare two recorded runs; nothing is launched.", ("report_commands",)),
    "doctor": Summary("Say what can run on this machine, and what to install.", ("commands",)),
    "explain": Summary("Say why a stale read is allowed or forbidden.", ("model_commands",)),
    "inspect": Summary(
        "Judge the hand-offs of anybody's PTX or machine code.", ("inspect_command",)
    ),
    "list": Summary("Show the catalogue: names, verdicts, reasons, sources.", ("commands",)),
    "model": Summary("Judge PTX litmus files under the memory model.", ("model_commands",)),
    "numerics": Summary(
        "Measure how far the GEMM is from the FP64 product.", ("numerics_command",)
    ),
    "power": Summary("Measure what the detector finds.", ("power_commands",)),
    "replay": Summary("Repeat one launch exactly.", ("commands",)),
    "report": Summary("Print the report of a recorded run.", ("report_commands",)),
    "rule": Summary("Explain a rule that inspect or explain named.", ("rule_command",)),
    "run": Summary("Examine variants on every level that can run here.", ("commands",)),
    "search": Summary("Search for where each mutant is seen soonest.", ("power_commands",)),
    "soak": Summary("The gate for an hour; goes on after an interruption.", ("soak_commands",)),
    "stress": Summary("Like run, but refuse to go without a Hopper GPU.", ("commands",)),
    "sum": Summary("Judge several runs as one.", ("soak_commands",)),
    "toolchains": Summary(
        "Compare what releases of ptxas make of a variant.", ("toolchain_commands",)
    ),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when one is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click has it
        """The names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; None where there is none."""
        for module in COMMANDS[cmd_name].modules if cmd_name in COMMANDS else ():
            import_module(f"sbo_verify.cli.{module}")
        if cmd_name not in COMMANDS and not ctx.resilient_parsing:
            # What is close to a name that there is not is looked for among the commands.
            self.loaded()
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `--help`."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].line) for name in self.list_commands(ctx)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands, or options, that begin with what was typed."""
        found = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        items = [CompletionItem(name, help=COMMANDS[name].line) for name in found]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]

    def loaded(self) -> LazyGroup:
        """The group with every command in `commands`."""
        for module in {module for command in COMMANDS.values() for module in command.modules}:
            import_module(f"sbo_verify.cli.{module}")
        return self


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__)
def app() -> None:
    """Can a consumer see the signal at its threshold and still read a stale tile?

    Every way to write the hand-off is a variant. `run` examines all of them on every level that
    this machine has, and writes a report:

    \b
      sbo-verify run                          everything that can run here
      sbo-verify run --variants 'read_wait*'  only some variants
      sbo-verify list                         the variants, with verdict, reason and source
      sbo-verify doctor                       what can run here, and what to install
      sbo-verify report runs/signal_publish/RUN --format markdown

    Completion: eval "$(_SBO_VERIFY_COMPLETE=bash_source sbo-verify)" in ~/.bashrc, zsh_source in
    ~/.zshrc; for fish, _SBO_VERIFY_COMPLETE=fish_source sbo-verify | source in its configuration.

    Exit codes: 0 pass, 1 fail, 2 unknown (did not run, canary unseen, time-out, interrupted), 254
    wrong usage, 255 internal error.
    """  # noqa: D301 - click keeps the lines behind a backspace
