"""What a run did not try, read from its own records: nothing vanishes silently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sbo_verify.harness.judgement import DECLARED
from sbo_verify.record import HOST, MICRO, Launch, RowVerdict, Settings, Summary
from sbo_verify.verdict import CodeVerdict


def untried(
    settings: Settings,
    launches: Sequence[Launch],
    verdicts: Sequence[RowVerdict],
    summary: Summary,
    torn_lines: Sequence[str],
) -> list[str]:
    """Levels, rows and circumstances that this run says nothing about, a sentence each."""
    said = list(torn_lines)
    if not summary.complete:
        said.append("this run is not complete: not all that was asked for was done")
    declared = [each.row for each in verdicts if each.model_source == DECLARED]
    if declared:
        names = _names(declared, verdicts)
        said.append(f"model level: the verdict is declared in the catalogue, not computed: {names}")
    unread = [each.row for each in verdicts if each.code == CodeVerdict.NOT_READ.value]
    if unread:
        said.append(f"code level: the compiled code was not read: {_names(unread, verdicts)}")
    if not settings.silicon:
        said.append(f"silicon level: did not run ({settings.silicon_reason})")
        return said
    unobserved = [each.row for each in verdicts if each.observations == 0]
    if unobserved:
        said.append(f"silicon level: no hand-over observed: {_names(unobserved, verdicts)}")
    return said + _circumstances(settings, launches)


def _circumstances(settings: Settings, launches: Sequence[Launch]) -> list[str]:
    if not launches:
        return []
    gpu = settings.machine.get("gpu") or "the one recorded"
    said = [
        f"other GPUs than {gpu}, and other compilers than {settings.compiler}",
        "hand-overs between two GPUs: every launch ran on one",
        "multicast stores and loads: no variant has them",
        _other_end(settings),
    ]
    if constant := _constant_knobs(launches):
        said.append(f"other knobs than these, which had one value in every launch: {constant}")
    return said


def _other_end(settings: Settings) -> str:
    if settings.kernel == HOST:
        return "writers on the host: it read, and CTAs of one launch wrote"
    whose = "one launch" if settings.kernel == MICRO else "two kernels on one GPU"
    return f"readers and writers on the host: producers and consumers were CTAs of {whose}"


def _constant_knobs(launches: Sequence[Launch]) -> str:
    values: dict[str, list[Any]] = {}
    for launch in launches:
        for knob, value in launch.knobs.items():
            known = values.setdefault(knob, [])
            # A sum of launches lists the values that they had.
            told = value if isinstance(value, list) else [value]
            known.extend(each for each in told if each not in known)
    single = {knob: seen[0] for knob, seen in sorted(values.items()) if len(seen) == 1}
    return ", ".join(f"{knob} = {value}" for knob, value in single.items())


def _names(rows: Sequence[str], verdicts: Sequence[RowVerdict]) -> str:
    if len(rows) == len(verdicts):
        return f"all {len(rows)} rows" if len(rows) > 1 else f"the only row, {rows[0]}"
    return ", ".join(rows)
