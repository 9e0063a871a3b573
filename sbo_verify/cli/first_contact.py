"""What is said to somebody who comes here first: what can run, what was done, what to do next."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from sbo_verify.device.doctor import MODEL, Finding, can_run
from sbo_verify.report.outline import Findings

FOUND, MISSING = "found  ", "MISSING"
# Colour repeats what the words say.
STYLES = {FOUND: "green", MISSING: "bold red"}
# In the order of the design; what each one does with what was found.
LEVELS = {
    MODEL: "judges every variant by the PTX memory model",
    "code": "compiles every kernel and reads its PTX back",
    "machine code": "follows the order into SASS",
    "silicon": "counts stale tiles on the GPU",
    "GEMM": "the signal GEMM, and producers of its interface",
}
INDENT = 9


def print_doctor(findings: Sequence[Finding], console: Console) -> None:
    """What can run here, then each thing looked at, with what to do where it is missing."""
    console.print("What can run here", style="bold")
    width = max(map(len, LEVELS))
    for level, does in LEVELS.items():
        lacking = [each.what for each in findings if level in each.needed_for and not each.found]
        word = "no, without " + ", ".join(lacking) if lacking else f"yes: {does}"
        _say(f"  {level:{width}}  ", word, console, style="red" if lacking else "green")
    console.print()
    console.print("What was looked at", style="bold")
    for finding in findings:
        word = FOUND if finding.found else MISSING
        for_what = ", ".join(finding.needed_for)
        _say(f"{word}  ", f"{finding.what} (for: {for_what})", console, style=STYLES[word])
        for line in _details(finding):
            _say(" " * INDENT, line, console, style="")
    console.print()
    for line in _next(findings):
        _say("", line, console, style="")


def _details(finding: Finding) -> list[str]:
    remedy = [] if finding.found or not finding.remedy else [f"to do: {finding.remedy}"]
    return [*([finding.detail] if finding.detail else []), *remedy]


def _next(findings: Sequence[Finding]) -> list[str]:
    if not can_run(findings, "code"):
        return ["To do first: what stands under MISSING (for: code); then sbo-verify doctor again."]
    if can_run(findings, "silicon"):
        return ["Everything can run: sbo-verify run --require-gpu"]
    return [
        "What needs no GPU can run: sbo-verify run",
        "For silicon do what stands under MISSING, then: sbo-verify run --require-gpu",
    ]


def _say(head: str, text: str, console: Console, *, style: str) -> None:
    """A line that hangs under its head where it is too long for the terminal."""
    body = Text(text).wrap(console, max(1, console.width - len(head)))
    for number, line in enumerate(body):
        line.rstrip()
        start = Text(head, style=style) if number == 0 else Text(" " * len(head))
        console.print(start.append_text(line))


def closing_lines(findings: Findings, run: str) -> list[str]:
    """What was done, what was not and why, and what to do; `run` is the folder of the records."""
    settings = findings.settings
    read = sum(1 for each in findings.verdicts if each.code != "not read")
    done = f"done: the memory model and the compiled code of {read} variant{'s' * (read != 1)}"
    if settings.silicon:
        seen = sum(each.observations for each in findings.verdicts)
        done += f"; {seen:,} hand-overs on {settings.machine.get('gpu')}"
    page = f"to do: sbo-verify report {run} --format html > report.html, a page with all of it"
    if settings.silicon:
        return [done, page]
    return [
        done,
        f"not done: no hand-over was tried on a GPU: {settings.silicon_reason}",
        page,
        "to do: on a Hopper GPU, sbo-verify run --require-gpu; sbo-verify doctor says what to add",
    ]
