"""What the PTX ISA leaves open, as named options, each with the reading that verdicts take.

A verdict is computed under the first reading of every option; the others are computed beside it,
and an answer says where they differ. An option is looked at only where a program has something that
it is about.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import StrEnum
from itertools import product
from typing import Any

from sbo_verify.model.program import Barrier, BulkCopy, Program


class AsyncFence(StrEnum):
    """Where `fence.proxy.async` must stand; "Proxy-preserved base causality" has no rule for it.

    STRICT: in the CTA of the asynchronous access, as the mixed-proxy model has it for the other
    proxies; two asynchronous accesses of different CTAs need one at each end. LENIENT: any on the
    path serves, and asynchronous to asynchronous needs none.
    """

    STRICT = "strict"
    LENIENT = "lenient"


class LateArrival(StrEnum):
    """What of a thread that comes to `barrier.cta` with a count when its phase is complete?

    PASSES: it goes through, behind those that met, as the public tests have it. WAITS: it arrives
    at the next phase, as "barrier.cta" has the barrier reinitialized, and waits for as many again.
    """

    PASSES = "passes"
    WAITS = "waits"


class Progress(StrEnum):
    """Which write must a read that is repeated for ever see in the end? The ISA promises no time.

    MORALLY_STRONG: one that is morally strong with the read. STRONG: any strong write, by a strong
    read, whatever the scopes are.
    """

    MORALLY_STRONG = "morally_strong"
    STRONG = "strong"


@dataclass(frozen=True, slots=True)
class Reading:
    """One choice for every option. The default is the reading of the verdict."""

    async_fence: AsyncFence = AsyncFence.STRICT
    late_arrival: LateArrival = LateArrival.PASSES
    progress: Progress = Progress.MORALLY_STRONG

    def named(self, options: tuple[str, ...]) -> str:
        """`option=choice` of the named options: the key under which an answer reports it."""
        chosen = [f"{name}={getattr(self, name).value}" for name in options]
        return ",".join(chosen) if chosen else ANY


# The key where a program has nothing that an option is about.
ANY = "any"
DEFAULT = Reading()
OPTIONS: dict[str, type[StrEnum]] = {
    f.name: type(getattr(DEFAULT, f.name)) for f in fields(Reading)
}
# What a verdict on a stale read can hang on; `progress` is about polls that fail for ever.
OF_SAFETY = ("async_fence", "late_arrival")


def varied(options: tuple[str, ...]) -> tuple[Reading, ...]:
    """Every combination of the named options, the others as in the default, which comes first."""
    combined: tuple[Reading, ...] = (DEFAULT,)
    for name in options:
        changes: list[dict[str, Any]] = [{name: choice} for choice in OPTIONS[name]]
        combined = tuple(replace(each, **change) for each, change in product(combined, changes))
    return combined


ALL = varied(OF_SAFETY)
# Hand-overs have no barrier with a count.
OF_HAND_OVERS = varied(("async_fence",))


def matter(program: Program) -> tuple[str, ...]:
    """The options of safety that the program has something about."""
    instructions = [each for thread in program.threads for each in thread.instructions]
    copies = any(isinstance(each, BulkCopy) for each in instructions)
    counts = any(isinstance(each, Barrier) and each.count is not None for each in instructions)
    present = {"async_fence": copies, "late_arrival": counts}
    return tuple(name for name in OF_SAFETY if present[name])
