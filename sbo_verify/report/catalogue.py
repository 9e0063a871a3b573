"""Tables that are no run's report: the catalogue, the doctor's findings, a benchmark."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol as StructuralType

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sbo_verify.protocol import Protocol


class FindingLike(StructuralType):
    """What the doctor found; see `device.doctor.Finding`."""

    what: str
    found: bool
    detail: str
    needed_for: str
    remedy: str


class CellLike(StructuralType):
    """One cell of a benchmark; see `harness.benchmark.Throughput`."""

    tile_bytes: int
    ctas_per_sm: int
    noise_share: float
    observations_per_second: float
    lowest: float
    highest: float
    bytes_per_second: float
    share_of_hbm_copy: float
    share_of_l2_copy: float


def print_catalogue(protocol: Protocol, console: Console) -> None:
    """Name, expected verdict, canary, reason and source of every row."""
    table = Table(box=box.SIMPLE, title=f"{protocol.name}: {protocol.summary}")
    for column in ("variant", "stale read", "canary", "because", "source"):
        table.add_column(column, overflow="fold")
    for row in protocol:
        cells = (row.name, row.expected.value, "canary" if row.canary else "", row.because, row.source)
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)
    sound = sum(row.sound for row in protocol)
    canaries = sum(row.canary for row in protocol)
    console.print(f"{len(protocol.rows)} variants: {sound} sound, {canaries} canaries")


def print_doctor(findings: Iterable[FindingLike], console: Console) -> None:
    """One line a thing looked at, with what to do where it is missing."""
    for finding in findings:
        word = "found  " if finding.found else "MISSING"
        line = f"{word}  {finding.what}  (for: {finding.needed_for})"
        console.print(Text(line), soft_wrap=True)
        if finding.detail:
            console.print(Text(f"         {finding.detail}"), soft_wrap=True)
        if not finding.found and finding.remedy:
            console.print(Text(f"         to do: {finding.remedy}"), soft_wrap=True)


def print_benchmark(cells: Iterable[CellLike], console: Console) -> None:
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
        "of L2 copy",
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
            f"{cell.share_of_l2_copy:.0%}",
        )
    console.print(table)
