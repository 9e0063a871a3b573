"""The first commands: what each takes, does and prints. `main` turns errors into exit codes."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click
from rich.console import Console

from sbo_verify.cli.app import app
from sbo_verify.cli.examination import examine_variants
from sbo_verify.cli.first_contact import print_doctor
from sbo_verify.cli.options import (
    SECONDS,
    SEED,
    as_json,
    complete_variants,
    gpu_option,
    kernel_option,
    kernel_options,
    knob_option,
    parse_knobs,
    protocol_option,
    refuse_lone_producer,
    run_options,
)
from sbo_verify.cli.tables import (
    print_catalogue,
    print_sightings,
)
from sbo_verify.device.doctor import can_run, examine
from sbo_verify.device.gpu import open_gpu
from sbo_verify.harness.runner import Bench
from sbo_verify.harness.session import Plan, settings_of
from sbo_verify.harness.sightings import sight
from sbo_verify.harness.stressed_kernels import bench_for, knobs_of, protocol_for, refuse
from sbo_verify.protocol import Row
from sbo_verify.protocols import protocol_named
from sbo_verify.record import Launch
from sbo_verify.verdict import ExitCode


@app.command("run")
@run_options
def run_command(**options: Any) -> int:  # noqa: ANN401 - click passes options by name
    """Examine variants on every level that can run here, then report.

    Without a Hopper GPU the compiled code is examined and the report says first and last that
    silicon did not run; the exit code then speaks of what did run, or is 2 with --require-gpu.

    \b
      sbo-verify run --variants 'full_wait*,no_wait-relaxed' --seed 7 --seconds 5
    """  # noqa: D301 - click keeps the lines behind a backspace
    return examine_variants(options, code_only_is_enough=not options["require_gpu"])


@app.command("stress")
@run_options
@kernel_options
def stress_command(**options: Any) -> int:  # noqa: ANN401 - click passes options by name
    """Like `run`, but refuse to go without a Hopper GPU.

    \b
      sbo-verify stress --variants read_wait-relaxed --knob tile_bytes=16384 --knob noise=store
      sbo-verify stress --kernel gemm --seconds 1
      sbo-verify stress --kernel host --seconds 1 --knob tile_bytes=65536
      sbo-verify stress --kernel gemm --producer deep_gemm:m_grouped_fp8_gemm_nt_masked
    """  # noqa: D301 - click keeps the lines behind a backspace
    refuse_lone_producer(options)
    return examine_variants(options, code_only_is_enough=False)


@app.command("list")
@kernel_option
@protocol_option
@as_json
def list_command(protocol: str, kernel: str, *, as_json: bool) -> int:
    """Show a kernel's catalogue: name, expected verdict, canary or not, reason and source.

    \b
      sbo-verify list --json
      sbo-verify list --kernel host
    """  # noqa: D301 - click keeps the lines behind a backspace
    chosen = protocol_for(protocol, kernel)
    if as_json:
        click.echo(json.dumps([_row_json(protocol, row) for row in chosen], indent=2))
    else:
        print_catalogue(chosen, Console())
    return ExitCode.PASS


@app.command("replay")
@click.argument("variant", shell_complete=complete_variants)
@click.option("--seed", type=SEED, required=True, help="The seed that the record names.")
@click.option("--index", type=click.IntRange(min=0), required=True, help="The launch's index.")
@gpu_option
@knob_option
@kernel_options
@protocol_option
@as_json
def replay_command(**options: Any) -> int:  # noqa: ANN401 - click passes options by name
    """Repeat one launch exactly: the same variant, knobs, placement and device seed.

    \b
      sbo-verify replay read_wait-relaxed --seed 7 --index 3
      sbo-verify replay full_wait-relaxed --kernel gemm --seed 7 --index 3

    Exits with 1 if a stale tile was seen, 2 on a fault, 0 otherwise.
    """  # noqa: D301 - click keeps the lines behind a backspace
    refuse_lone_producer(options)
    kernel, producer = options["kernel"], options["producer"] or ""
    protocol = protocol_for(options["protocol"], kernel, producer)
    row = protocol.row(options["variant"])
    fixed = parse_knobs(options["knobs"], knobs_of(kernel))
    plan = Plan(
        protocol=protocol,
        rows=[row],
        seed=options["seed"],
        seconds=0.0,
        fixed=fixed,
        kernel=kernel,
        producer=producer,
    )
    refuse(plan)
    bench = bench_for(plan, open_gpu(options["gpu_index"]))
    launch = bench.launch(row, options["seed"], options["index"], fixed)
    if options["as_json"]:
        click.echo(json.dumps(launch.to_json(), indent=2))
    else:
        _print_launch(launch)
    if launch.fault:
        return ExitCode.UNKNOWN
    return ExitCode.FAIL if launch.stale_tiles else ExitCode.PASS


@app.command("canaries")
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="How many seeds, from --seed upwards.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="The first seed.")
@click.option(
    "--within",
    type=SECONDS,
    default=2.0,
    show_default=True,
    help="GPU seconds in which a canary must be seen.",
)
@gpu_option
@protocol_option
@as_json
def canaries_command(**options: Any) -> int:  # noqa: ANN401 - click passes options by name
    """Measure how soon every canary is seen, over many seeds.

    \b
      sbo-verify canaries --seeds 20 --within 2

    Exits with 2 when a canary stayed unseen under some seed.
    """  # noqa: D301 - click keeps the lines behind a backspace
    protocol = protocol_named(options["protocol"])
    rows = [row for row in protocol if row.canary]
    seed, within = options["seed"], options["within"]
    gpu = open_gpu(options["gpu_index"])
    plan = Plan(protocol=protocol, rows=rows, seed=seed, seconds=within)
    settings = settings_of(plan, gpu, "")
    seeds = range(seed, seed + options["seeds"])
    found = list(sight(Bench(protocol, gpu), rows, seeds, within))
    if options["as_json"]:
        records = {"settings": settings.to_json(), "sightings": [asdict(each) for each in found]}
        click.echo(json.dumps(records, indent=2))
    else:
        print_sightings(found, Console())
    unseen = any(each.seconds is None for each in found)
    return ExitCode.UNKNOWN if unseen else ExitCode.PASS


@app.command("doctor")
@as_json
def doctor_command(*, as_json: bool) -> int:
    """Say what can and cannot run on this machine, and what to install.

    \b
      sbo-verify doctor --json

    Exits with 2 where the compiled code cannot be examined.
    """  # noqa: D301 - click keeps the lines behind a backspace
    found = examine()
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in found], indent=2))
    else:
        print_doctor(found, Console())
    return ExitCode.PASS if can_run(found, "code") else ExitCode.UNKNOWN


def _row_json(protocol: str, row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "variant": protocol_named(protocol).hash_of(row.variant),
        "expected": row.expected.value,
        "canary": row.canary,
        "because": row.because,
        "source": row.source,
        "choices": row.variant.words(),
    }


def _print_launch(launch: Launch) -> None:
    click.echo(
        f"{launch.row}: {launch.stale_tiles:,} stale tiles in {launch.observations:,} "
        f"hand-overs of {launch.planned:,}, {launch.elapsed_seconds:.3f} s"
    )
    for name, value in launch.knobs.items():
        click.echo(f"  {name} = {value}")
    for witness in launch.witnesses:
        click.echo(f"  witness {json.dumps(witness)}")
    if launch.fault:
        click.echo(f"  fault {json.dumps(launch.fault)}")
