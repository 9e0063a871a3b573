"""Runs of one commit, compiler and kind of GPU counted together; any others are refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations

from sbo_verify.harness.judgement import Evidence
from sbo_verify.harness.stressed_kernels import protocol_for
from sbo_verify.record import Settings
from sbo_verify.store import Run

# What must agree for hand-overs of two processes to be counted together.
_SAME = ("commit", "compiler", "protocol", "kernel", "producer", "knobs")
_SAME_MACHINE = ("gpu", "sm_count", "driver")


class SumError(ValueError):
    """Runs that cannot be counted together, or one that cannot be gone on with; says why."""


def differences(one: Settings, other: Settings) -> list[str]:
    """Why launches under `one` and under `other` must not be counted together; empty if they may.

    Two GPUs of one model and driver may.
    """
    for settings in (one, other):
        if settings.dirty:
            return [f"{settings.commit} was changed and not committed: the code is not known"]
        if not settings.commit:
            return ["a commit is not known: name it in $SBO_VERIFY_COMMIT"]
    pairs = [(name, getattr(one, name), getattr(other, name)) for name in _SAME]
    pairs += [(name, one.machine.get(name), other.machine.get(name)) for name in _SAME_MACHINE]
    return [
        f"{name} is {was!r} in one and {now!r} in the other"
        for name, was, now in pairs
        if was != now
    ]


def evidence_of_sum(runs: Sequence[Run], command: str) -> Evidence:
    """All launches of `runs` as the evidence of one run, with `command` in its settings.

    Raises `SumError` where they must not be counted together: other code, other machine, or one
    seed twice, since a launch is named by its seed and index. Raises `StoreError`.
    """
    if not runs:
        message = "no run was named"
        raise SumError(message)
    for one, other in combinations(runs, 2):
        names = f"{one.path.name} and {other.path.name}"
        if found := differences(one.settings, other.settings):
            message = f"{names} cannot be added: {'; '.join(found)}"
            raise SumError(message)
        if one.settings.seed == other.settings.seed:
            message = f"{names} cannot be added: both are of seed {one.settings.seed}"
            raise SumError(message)
    first = runs[0].settings
    evidences = [
        Evidence.of_run(protocol_for(first.protocol, first.kernel, first.producer), run)
        for run in runs
    ]
    rows = dict.fromkeys(name for run in runs for name in run.settings.rows)
    settings = replace(
        first,
        rows=list(rows),
        command=command,
        seconds_per_row=sum(run.settings.seconds_per_row for run in runs),
        seconds_in_all=sum(run.settings.seconds_in_all for run in runs),
        silicon=any(run.settings.silicon for run in runs),
    )
    answers = {name: told for each in evidences for name, told in each.model_answers.items()}
    return Evidence(
        protocol=evidences[0].protocol,
        settings=settings,
        code_readings=[each for part in evidences for each in part.code_readings],
        launches=[each for part in evidences for each in part.launches],
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        model_answers=answers,
        torn_lines=[line for part in evidences for line in part.torn_lines],
        interrupted=any(part.interrupted for part in evidences),
    )
