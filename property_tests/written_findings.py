"""Small runs over three rows, judged, for the tests of what a report says of them."""

from __future__ import annotations

from dataclasses import replace

from written_runs import code_reading, fault, launch, settings

from sbo_verify.harness.digest import details_of
from sbo_verify.harness.judgement import Evidence, judge_run
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.record import CodeReading, Launch, Settings
from sbo_verify.report.outline import Findings

SOUND = "full_wait-atom_release"
CANARY = "no_wait-relaxed"
LUCKY = "read_wait-release"
ROWS = (SOUND, CANARY, LUCKY)


def findings(
    launches: list[Launch], *, silicon: bool = True, torn_lines: tuple[str, ...] = ()
) -> Findings:
    read = [code_reading(row) for row in ROWS]
    return judged(settings(ROWS, silicon=silicon), read, launches, torn_lines)


def judged(
    asked: Settings,
    read: list[CodeReading],
    launches: list[Launch],
    torn_lines: tuple[str, ...] = (),
) -> Findings:
    """What was read and launched under these settings, with the verdicts on it."""
    verdicts, summary = judge_run(
        Evidence(
            protocol=SIGNAL_PUBLISH,
            settings=asked,
            code_readings=read,
            launches=launches,
            torn_lines=torn_lines,
            finished="2026-11-23T22:01:00+00:00",
        )
    )
    return Findings(
        settings=asked,
        code_readings=read,
        launches=launches,
        verdicts=verdicts,
        summary=summary,
        torn_lines=torn_lines,
        details=details_of(SIGNAL_PUBLISH, asked, launches, verdicts),
    )


def healthy() -> Findings:
    """A run on a GPU that passes."""
    histogram = [0] * 8 + [40, 10, 0, 0] + [350] * 3 + [2900]
    seen = launch(CANARY, stale=1000, observations=8_000_000, histogram=[*histogram, 0, 0])
    seen = replace(seen, histogram=histogram)
    return findings([launch(SOUND, observations=120_000_000), seen, launch(LUCKY)])


def without_gpu() -> Findings:
    """A run of the levels that need no GPU."""
    return findings([], silicon=False)


def failing() -> Findings:
    """A forbidden row that was seen stale, a launch that hung, a torn line."""
    hung = launch(LUCKY, observations=40, planned=100, index=1, fault=fault("launch hung"))
    return findings(
        [
            launch(SOUND, stale=1, observations=1000),
            launch(CANARY, stale=1000),
            launch(LUCKY),
            hung,
        ],
        torn_lines=("raw.jsonl line 7 is torn: its record is lost",),
    )


RUNS = {"healthy": healthy, "without_gpu": without_gpu, "failing": failing}
