"""The commands that measure the detector: `search` for environments, and the group `power`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.markdown import Markdown

from sbo_verify.cli.app import app
from sbo_verify.cli.options import SECONDS, SEED, as_json, gpu_option, parse_names, protocol_option
from sbo_verify.device.gpu import open_gpu
from sbo_verify.harness.environments import kept
from sbo_verify.harness.mutants import measure
from sbo_verify.harness.planted import plant
from sbo_verify.harness.runner import Bench
from sbo_verify.harness.search import search
from sbo_verify.harness.session import Plan, choose_rows, settings_of
from sbo_verify.protocol import Protocol, Row
from sbo_verify.protocols import protocol_named
from sbo_verify.report.power import MUTANTS, PLANTED, SEARCH, power_text
from sbo_verify.verdict import ExitCode

T = TypeVar("T")
# One violation in so many hand-overs, hand-overs of a repetition, repetitions: about as many
# hand-overs as one violation takes, and three times as many.
ASKED = (
    *((10_000, 10_000, 200), (10_000, 30_000, 200)),
    *((1_000_000, 1_000_000, 200), (1_000_000, 3_000_000, 200)),
    *((100_000_000, 100_000_000, 20), (100_000_000, 300_000_000, 8)),
)
# A p-value below this, once in a thousand experiments, is no chance.
NO_CHANCE = 1e-3

variants_option = click.option(
    "--variants",
    default="",
    metavar="NAMES",
    help="Names, hashes or * patterns, comma-separated.",
)
seed_option = click.option(
    "--seed", type=SEED, default=0, show_default=True, help="Seed of all randomness."
)


@app.command("search")
@variants_option
@seed_option
@click.option(
    "--draws",
    type=click.IntRange(min=1),
    default=24,
    show_default=True,
    help="Environments that are drawn at random for each mutant.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=0),
    default=24,
    show_default=True,
    help="Changes of the best one that are tried after that.",
)
@click.option(
    "--keep",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the best environments here; sbo_verify/harness/environments.json is what is used.",
)
@gpu_option
@protocol_option
@as_json
def search_command(**options: Any) -> int:  # noqa: ANN401 - click passes options by name
    """Search for the environment in which each mutant is seen most often.

    Without names, for every variant that the model allows to be stale.

    \b
      sbo-verify search --variants 'read_wait*' --keep environments.json
    """  # noqa: D301 - click keeps the lines behind a backspace
    protocol = protocol_named(options["protocol"])
    named = choose_rows(protocol, parse_names(options["variants"]))
    rows = [row for row in named if not row.sound]
    bench, settings = _begin(protocol, rows, options)
    found = search(bench, rows, options["seed"], draws=options["draws"], steps=options["steps"])
    done = _each(found, lambda each: each.row)
    best = [each.best.to_json() for each in done if each.best is not None]
    if options["keep"] is not None:
        data = {"settings": settings, "environments": best}
        options["keep"].write_text(json.dumps(data, indent=1) + "\n")
    record = {"kind": SEARCH, "settings": settings, "found": [each.to_json() for each in done]}
    _print(record, as_json=options["as_json"])
    return ExitCode.PASS


@app.group("power")
def power() -> None:
    """Measure what the detector finds: the mutants, and violations planted at a known rate.

    \b
      sbo-verify power mutants --json > mutants.json
      sbo-verify power planted --json > planted.json
      sbo-verify power text mutants.json planted.json
    """  # noqa: D301 - click keeps the lines behind a backspace


@power.command("mutants")
@variants_option
@seed_option
@click.option(
    "--seeds", type=click.IntRange(min=1), default=20, show_default=True, help="How many seeds."
)
@click.option(
    "--within",
    type=SECONDS,
    default=2.0,
    show_default=True,
    help="GPU seconds in which a mutant must be seen.",
)
@click.option(
    "--launches",
    type=click.IntRange(min=0),
    default=6,
    show_default=True,
    help="Launches in each kind of environment, for its rates.",
)
@gpu_option
@protocol_option
@as_json
def mutants_command(**options: Any) -> int:  # noqa: ANN401 - click passes options by name
    """Measure how soon each mutant is seen, over seeds, and how often in each kind of environment.

    Without names, for the mutants that were once seen. Exits with 2 when one stayed unseen.

    \b
      sbo-verify power mutants --seeds 20 --within 2
    """  # noqa: D301 - click keeps the lines behind a backspace
    protocol = protocol_named(options["protocol"])
    names = parse_names(options["variants"]) or sorted(kept().killable)
    rows = [row for row in choose_rows(protocol, names) if not row.sound]
    bench, settings = _begin(protocol, rows, options)
    seeds = range(options["seed"], options["seed"] + options["seeds"])
    found = measure(bench, rows, seeds, within=options["within"], launches=options["launches"])
    done = _each(found, lambda each: each.sightings.row)
    record = {
        "kind": MUTANTS,
        "settings": settings,
        "within": options["within"],
        "mutants": [each.to_json() for each in done],
    }
    _print(record, as_json=options["as_json"])
    unseen = any(None in each.sightings.seconds for each in done)
    return ExitCode.UNKNOWN if unseen else ExitCode.PASS


@power.command("planted")
@click.option(
    "--variant", default="full_wait-atom_release", show_default=True, help="What is broken."
)
@click.option(
    "--rate",
    "rates",
    type=(click.IntRange(min=1), click.IntRange(min=1), click.IntRange(min=1)),
    multiple=True,
    default=ASKED,
    metavar="N OBSERVATIONS REPETITIONS",
    help="Break one hand-over in N; in a repetition's hand-overs; so many times.",
)
@seed_option
@gpu_option
@protocol_option
@as_json
def planted_command(**options: Any) -> int:  # noqa: ANN401 - click passes options by name
    """Plant violations at chosen rates and count how often they are found.

    Exits with 1 where that is not as often as the stated power says.

    \b
      sbo-verify power planted --rate 10000 30000 100
    """  # noqa: D301 - click keeps the lines behind a backspace
    protocol = protocol_named(options["protocol"])
    row = protocol.row(options["variant"])
    bench, settings = _begin(protocol, [row], options)
    done = list(plant(bench, row, options["seed"], options["rates"]))
    record = {
        "kind": PLANTED,
        "settings": settings,
        "planted": [each.to_json() for each in done],
    }
    _print(record, as_json=options["as_json"])
    failed = any(
        each.doubts or each.stale != each.planted or each.p_value < NO_CHANCE for each in done
    )
    return ExitCode.FAIL if failed else ExitCode.PASS


@power.command("text")
@click.argument(
    "records",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
def text_command(records: tuple[Path, ...]) -> int:
    """Print records of `search`, `power mutants` and `power planted` as one Markdown text.

    \b
      sbo-verify power text search.json mutants.json planted.json
    """  # noqa: D301 - click keeps the lines behind a backspace
    try:
        text = power_text([json.loads(path.read_text()) for path in records])
    except (ValueError, KeyError, TypeError) as error:
        message = f"a record of search, power mutants or power planted is expected: {error}"
        raise click.UsageError(message) from error
    click.echo(text, nl=False)
    return ExitCode.PASS


def _begin(
    protocol: Protocol, rows: list[Row], options: dict[str, Any]
) -> tuple[Bench, dict[str, Any]]:
    gpu = open_gpu(options["gpu_index"])
    plan = Plan(protocol=protocol, rows=rows, seed=options["seed"], seconds=0.0)
    return Bench(protocol, gpu), settings_of(plan, gpu, "").to_json()


def _each(found: Iterable[T], name: Callable[[T], str]) -> list[T]:
    """All of them, each told on standard error when it is done."""
    done = []
    for each in found:
        click.echo(name(each), err=True)
        done.append(each)
    return done


def _print(record: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(record, indent=1))
    else:
        Console().print(Markdown(power_text([record])))
