"""The registry of protocols: explicit, so that none is found or lost by accident."""

from __future__ import annotations

from sbo_verify.protocol import Protocol, UnknownNameError
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH

PROTOCOLS: dict[str, Protocol] = {SIGNAL_PUBLISH.name: SIGNAL_PUBLISH}
DEFAULT_PROTOCOL = next(iter(PROTOCOLS))


def protocol_named(name: str) -> Protocol:
    """The protocol called `name`; raises `UnknownNameError` that lists the protocols."""
    if name not in PROTOCOLS:
        message = f"no protocol {name!r}; choose one of: {', '.join(PROTOCOLS)}"
        raise UnknownNameError(message)
    return PROTOCOLS[name]
