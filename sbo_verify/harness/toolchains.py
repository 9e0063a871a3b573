"""The machine code of several releases of ptxas beside each other, reduced to what orders.

The same PTX text goes into each. The record holds the skeleton of every variant under every column
(a release and a target), each different skeleton once, and what changed from one release to the
next. `changed_since` is what a new release is held to.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import pairwise, repeat
from typing import Any

from sbo_verify.compiled.machine_order import read_machine_code
from sbo_verify.compiled.nvdisasm import disassemble, nvdisasm_version
from sbo_verify.compiled.sass import SassError
from sbo_verify.device.build import build, cache_folder
from sbo_verify.device.nvrtc import compiler_version
from sbo_verify.device.ptxas import Ptxas, PtxasError, assemble
from sbo_verify.harness.session import commit_of_source
from sbo_verify.protocol import Protocol, Row
from sbo_verify.verdict import MachineVerdict

KIND = "toolchains"
FORMAT_VERSION = 1
TARGETS = ("sm_90a", "sm_100a")
NOT_ASSEMBLED = "not assembled"
# As JSON has it: pairs of a site and its words.
Skeleton = list[list[Any]]


class MatrixError(ValueError):
    """A record that is none of this command's, or of another version."""


@dataclass(frozen=True)
class Cell:
    """One variant under one release and target. `skeleton` is an index into the record's list."""

    verdict: str
    skeleton: int
    reasons: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Change:
    """Words of one site that differ between two columns, by name, and the variants that show it."""

    before: str
    after: str
    site: str
    words_before: list[str]
    words_after: list[str]
    rows: list[str]


@dataclass(frozen=True)
class _Read:
    verdict: str
    reasons: list[str]
    skeleton: Skeleton
    notes: list[str]
    ptx_version: str


def column_name(version: str, target: str) -> str:
    """How a column is called: `13.0.88 sm_90a`."""
    return f"{version} {target}"


def compare_toolchains(
    protocol: Protocol,
    rows: Sequence[Row],
    releases: Sequence[Ptxas],
    on_row: Callable[[Row], None],
    *,
    command: str,
) -> dict[str, Any]:
    """The record of what every release makes of every row's PTX, for every target that it knows.

    A column that assembles none of the rows is left out, and said. Raises `DisassemblerError`
    where nvdisasm is missing, and what `build` raises.
    """
    disassembler = nvdisasm_version()
    started = datetime.now(UTC).isoformat(timespec="seconds")
    columns = [(release, target) for target in TARGETS for release in releases]
    read: dict[str, list[_Read]] = {}
    hashes: dict[str, str] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for row in rows:
            artefact = build(protocol, row.variant)
            hashes[row.name] = artefact.ptx_sha256
            read[row.name] = list(pool.map(_read, columns, repeat(artefact.ptx)))
            on_row(row)
    kept = [
        index
        for index in range(len(columns))
        if any(cells[index].verdict != NOT_ASSEMBLED for cells in read.values())
    ]
    commit, dirty = commit_of_source()
    record: dict[str, Any] = {
        "kind": KIND,
        "format_version": FORMAT_VERSION,
        "protocol": protocol.name,
        "started": started,
        "commit": commit,
        "dirty": dirty,
        "command": command,
        "ptx_compiler": compiler_version(),
        "disassembler": disassembler,
        "left_out": _left_out(columns, kept, read),
    }
    return record | _body(protocol, rows, [columns[i] for i in kept], kept, read, hashes)


def _read(column: tuple[Ptxas, str], ptx: str) -> _Read:
    release, target = column
    try:
        made = assemble(release, ptx, target)
    except PtxasError as error:
        return _Read(NOT_ASSEMBLED, [str(error)], [], [], "")
    try:
        listing = disassemble(made.cubin, cache_in=cache_folder())
    except SassError as error:
        cannot = MachineVerdict.CANNOT_TELL.value
        return _Read(cannot, [str(error)], [], [], made.ptx_version)
    reading = read_machine_code(made.ptx, listing)
    skeleton = [[site, words] for site, words in reading.skeleton]
    return _Read(reading.verdict.value, reading.reasons, skeleton, reading.notes, made.ptx_version)


def _left_out(
    columns: Sequence[tuple[Ptxas, str]], kept: Sequence[int], read: Mapping[str, Sequence[_Read]]
) -> dict[str, str]:
    """Columns that assembled nothing, and what ptxas said of the first row."""
    return {
        column_name(release.version, target): next(iter(read.values()))[index].reasons[0]
        for index, (release, target) in enumerate(columns)
        if index not in kept and read
    }


def _body(  # noqa: PLR0913, PLR0917 - the parts of one table
    protocol: Protocol,
    rows: Sequence[Row],
    columns: Sequence[tuple[Ptxas, str]],
    kept: Sequence[int],
    read: Mapping[str, Sequence[_Read]],
    hashes: Mapping[str, str],
) -> dict[str, Any]:
    skeletons: list[Skeleton] = []
    notes: dict[str, list[int]] = {}
    told: dict[str, Any] = {}
    for row in rows:
        cells: list[Cell] = []
        for place, index in enumerate(kept):
            each = read[row.name][index]
            if each.skeleton not in skeletons:
                skeletons.append(each.skeleton)
            cells.append(Cell(each.verdict, skeletons.index(each.skeleton), each.reasons))
            for note in each.notes:
                held = notes.setdefault(note, [])
                if place not in held:
                    held.append(place)
        told[row.name] = {
            "variant": protocol.hash_of(row.variant),
            "ptx_sha256": hashes[row.name],
            "cells": [asdict(cell) for cell in cells],
        }
    versions = [
        sorted({read[row.name][index].ptx_version for row in rows} - {""}) for index in kept
    ]
    body = {
        "columns": [
            {"ptxas": release.version, "target": target, "ptx_version": ", ".join(version)}
            for (release, target), version in zip(columns, versions, strict=True)
        ],
        "skeletons": skeletons,
        "notes": notes,
        "rows": told,
    }
    return body | {"changes": [asdict(change) for change in changes(body)]}


def changes(body: Mapping[str, Any]) -> list[Change]:
    """What differs from each release to the next of one target, and between the targets.

    Targets are compared under the newest release that both have.
    """
    names = [column_name(each["ptxas"], each["target"]) for each in body["columns"]]
    by_target: dict[str, list[int]] = {}
    for index, each in enumerate(body["columns"]):
        by_target.setdefault(each["target"], []).append(index)
    pairs = [pair for mine in by_target.values() for pair in pairwise(mine)]
    lasts = [mine[-1] for mine in by_target.values()]
    pairs += [
        (one, other)
        for one, other in pairwise(lasts)
        if body["columns"][one]["ptxas"] == body["columns"][other]["ptxas"]
    ]
    found: dict[tuple[str, ...], Change] = {}
    for one, other in pairs:
        for name, row in body["rows"].items():
            before, after = (body["skeletons"][row["cells"][i]["skeleton"]] for i in (one, other))
            if NOT_ASSEMBLED in {row["cells"][i]["verdict"] for i in (one, other)}:
                continue
            for site, was, now in site_changes(before, after):
                key = (names[one], names[other], site, *was, "->", *now)
                change = Change(names[one], names[other], site, was, now, [])
                shown_by = found.setdefault(key, change).rows
                # A site of a deferred signal stands twice in one variant.
                if name not in shown_by:
                    shown_by.append(name)
    return list(found.values())


def site_changes(
    before: Sequence[Sequence[Any]], after: Sequence[Sequence[Any]]
) -> Iterator[tuple[str, list[str], list[str]]]:
    """The sites whose words differ, with both; one entry for all where the sites themselves do."""
    if [site for site, _ in before] != [site for site, _ in after]:
        yield "order of the sites", [s for s, _ in before], [s for s, _ in after]
        return
    for (site, was), (_, now) in zip(before, after, strict=True):
        if list(was) != list(now):
            yield site, list(was), list(now)


def checked(record: object) -> Mapping[str, Any]:
    """`record` where it is one of these; raises `MatrixError` otherwise."""
    if not isinstance(record, Mapping) or record.get("kind") != KIND:
        message = "this is no record of `sbo-verify toolchains --json`"
        raise MatrixError(message)
    if record.get("format_version") != FORMAT_VERSION:
        message = (
            f"the record has format version {record.get('format_version')!r}, "
            f"this version reads {FORMAT_VERSION}"
        )
        raise MatrixError(message)
    return record


def changed_since(record: Mapping[str, Any], recorded: Mapping[str, Any]) -> list[str]:
    """What differs from a recorded matrix, in sentences; none where nothing does.

    A column is held to the recorded one of its name, or else to the newest recorded release of its
    target. Rows and targets that were not recorded cannot have changed: they are not compared, and
    that nothing at all was compared is said.
    """
    found: list[str] = []
    compared = 0
    for index, column in enumerate(record["columns"]):
        reference = _reference(column, recorded["columns"])
        if reference is None:
            continue
        now_name = column_name(column["ptxas"], column["target"])
        held_to = recorded["columns"][reference]
        was_name = column_name(held_to["ptxas"], held_to["target"])
        for name, row in record["rows"].items():
            if name not in recorded["rows"]:
                continue
            compared += 1
            now_cell, was_cell = row["cells"][index], recorded["rows"][name]["cells"][reference]
            if now_cell["verdict"] != was_cell["verdict"]:
                verdicts = (
                    f"{was_cell['verdict']} by {was_name}, {now_cell['verdict']} by {now_name}"
                )
                found.append(f"{name}: {verdicts}")
                continue
            before = recorded["skeletons"][was_cell["skeleton"]]
            after = record["skeletons"][now_cell["skeleton"]]
            found += [
                f"{name}: {site}: {_words(was)} by {was_name}, {_words(now)} by {now_name}"
                for site, was, now in site_changes(before, after)
            ]
    if not compared:
        found.append("nothing was compared: the record has none of these rows and targets")
    return found


def _reference(column: Mapping[str, str], recorded: Sequence[Mapping[str, str]]) -> int | None:
    same = [index for index, each in enumerate(recorded) if each["target"] == column["target"]]
    exact = [index for index in same if recorded[index]["ptxas"] == column["ptxas"]]
    newest = sorted(same, key=lambda i: [int(n) for n in recorded[i]["ptxas"].split(".")])
    return next(iter([*exact, *newest[-1:]]), None)


def _words(words: Sequence[str]) -> str:
    return "; ".join(words) or "nothing"
