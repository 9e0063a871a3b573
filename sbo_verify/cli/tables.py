"""Tables that are no run's report: the catalogue, the doctor's findings, a benchmark."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sbo_verify.harness.benchmark import Throughput
from sbo_verify.harness.sightings import Sighting
from sbo_verify.protocol import Protocol

# Narrower than this a column would break the names of variants, which are to be copied.
TABLE_COLUMNS = 120


def print_catalogue(protocol: Protocol, console: Console) -> None:
    """Name, expected verdict, canary, reason and source of every row."""
    if console.width < TABLE_COLUMNS:
        _print_rows(protocol, console)
    else:
        _print_table(protocol, console)
    sound = sum(row.sound for row in protocol)
    canaries = sum(row.canary for row in protocol)
    console.print(f"{len(protocol.rows)} variants: {sound} sound, {canaries} canaries")


def _print_rows(protocol: Protocol, console: Console) -> None:
    console.print(Text(_title(protocol)))
    for row in protocol:
        verdict = f"{row.expected.value}, canary" if row.canary else row.expected.value
        console.print(Text(f"{row.name}: {verdict}"))
        console.print(Padding(Text(f"{row.because} ({row.source})"), (0, 0, 0, 4)))


def _print_table(protocol: Protocol, console: Console) -> None:
    table = Table(box=box.SIMPLE, title=_title(protocol))
    table.add_column("variant", no_wrap=True)
    for column in ("stale read", "canary", "because", "source"):
        table.add_column(column, overflow="fold")
    for row in protocol:
        canary = "canary" if row.canary else ""
        cells = (row.name, row.expected.value, canary, row.because, row.source)
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)


def _title(protocol: Protocol) -> str:
    return f"{protocol.name}: {protocol.summary}"


def print_benchmark(cells: Iterable[Throughput], console: Console) -> None:
    """Throughput by tile, CTAs an SM and share of noise."""
    table = Table(box=box.SIMPLE)
    for column in (
        "tile bytes",
        "CTAs an SM",
        "noise share",
        "million hand-overs/s",
        "lowest..highest",
        "GB/s",
        "of HBM copy",
    ):
        table.add_column(column, justify="right")
    for cell in cells:
        table.add_row(
            str(cell.tile_bytes),
            str(cell.ctas_per_sm),
            f"{cell.noise_share:.1f}",
            f"{cell.observations_per_second / 1e6:.1f}",
            f"{cell.lowest / 1e6:.1f}..{cell.highest / 1e6:.1f}",
            f"{cell.bytes_per_second / 1e9:.0f}",
            f"{cell.share_of_hbm_copy:.0%}",
        )
    console.print(table)


def print_sightings(sightings: Iterable[Sighting], console: Console) -> None:
    """For each canary: under how many seeds it was seen, and how soon."""
    table = Table(box=box.SIMPLE)
    for column in ("canary", "seeds", "unseen", "median s", "longest s"):
        table.add_column(column, justify="left" if column == "canary" else "right")
    by_row: dict[str, list[float | None]] = {}
    for each in sightings:
        by_row.setdefault(each.row, []).append(each.seconds)
    for row, times in by_row.items():
        seen = sorted(time for time in times if time is not None)
        cells = [row, str(len(times)), str(len(times) - len(seen))]
        cells += [f"{median(seen):.3f}", f"{seen[-1]:.3f}"] if seen else ["-", "-"]
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)
