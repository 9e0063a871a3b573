"""What the PTX ISA leaves open, as named options, each with the reading that verdicts take.

A verdict is computed under the first reading of every option; the others are computed beside it,
and an answer says where they differ.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum


class AsyncFence(StrEnum):
    """Where `fence.proxy.async` must stand; "Proxy-preserved base causality" has no rule for it.

    STRICT: in the CTA of the asynchronous access, as the mixed-proxy model has it for the other
    proxies; two asynchronous accesses of different CTAs need one at each end. LENIENT: any on the
    path serves, and asynchronous to asynchronous needs none.
    """

    STRICT = "strict"
    LENIENT = "lenient"


@dataclass(frozen=True, slots=True)
class Reading:
    """One choice for every option. The default is the reading of the verdict."""

    async_fence: AsyncFence = AsyncFence.STRICT

    @property
    def name(self) -> str:
        """`option=choice`, comma separated: the key under which an answer reports it."""
        return ",".join(f"{f.name}={getattr(self, f.name).value}" for f in fields(self))


DEFAULT = Reading()
ALL = tuple(Reading(choice) for choice in AsyncFence)
