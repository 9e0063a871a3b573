"""Who computes and signals: the project's own GEMM, or any callable of its interface.

A producer is called with the public arguments and returns (block_m, threshold). Nothing else is
believed of it: what Combine Send waits for is what it returned.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sbo_verify.device.live_tensors import LiveTensors
from sbo_verify.gemm import m_grouped_fp8_gemm_nt_masked
from sbo_verify.protocol import Row
from sbo_verify.protocols.signal_publish.sites import SignalPublish

OWN = "sbo_verify.gemm:m_grouped_fp8_gemm_nt_masked"
PAIR = 2
# Callables that were given as they are, by the name that their records have.
_OFFERED: dict[str, Callable[..., Any]] = {}


class ProducerError(ValueError):
    """A foreign producer that cannot be used; the message says what a producer is."""


@dataclass(frozen=True)
class Producer:
    """A producer by its name, MODULE:FUNCTION.

    `call(tensors, expected_m)` puts one GEMM on the current stream and returns what it announces.
    """

    name: str
    call: Callable[[LiveTensors, int], object]


def own_producer(row: Row, *, num_sms: int, max_block_n: int) -> Producer:
    """The project's GEMM with the row's producer half on `num_sms` SMs."""
    if not isinstance(row.variant, SignalPublish):
        message = f"{row.name} is no variant of signal_publish"
        raise TypeError(message)
    variant = row.variant

    def call(tensors: LiveTensors, expected_m: int) -> object:
        return m_grouped_fp8_gemm_nt_masked(
            tensors.a,
            tensors.b,
            tensors.d,
            tensors.masked_m,
            expected_m,
            max_block_n=max_block_n,
            enable_overlap=True,
            signal=tensors.signal,
            variant=variant,
            num_sms=num_sms,
            check_inputs=False,
        )

    return Producer(OWN, call)


def foreign_producer(name: str, *, max_block_n: int = 256) -> Producer:
    """The callable MODULE:FUNCTION; raises `ProducerError` where there is none."""
    function = imported(name)

    def call(tensors: LiveTensors, expected_m: int) -> object:
        try:
            return function(
                tensors.a,
                tensors.b,
                tensors.d,
                tensors.masked_m,
                expected_m,
                max_block_n=max_block_n,
                enable_overlap=True,
                signal=tensors.signal,
            )
        except Exception as error:
            message = f"producer {name} raised {type(error).__name__}: {error}"
            raise ProducerError(message) from error

    return Producer(name, call)


def offer(producer: str | Callable[..., Any]) -> str:
    """The name MODULE:FUNCTION of a producer; a callable's can be used in this process alone.

    Raises `ProducerError` for a name that leads nowhere, or for what cannot be called.
    """
    if isinstance(producer, str):
        imported(producer)
        return producer
    if not callable(producer):
        message = f"a producer is a callable or its name MODULE:FUNCTION, not {producer!r}"
        raise ProducerError(message)
    # An object that can be called, as functools.partial makes them, has the name of its class.
    named = producer if hasattr(producer, "__qualname__") else type(producer)
    name = f"{named.__module__}:{named.__qualname__}"
    _OFFERED[name] = producer
    return name


def imported(name: str) -> Callable[..., Any]:
    """The callable called MODULE:FUNCTION; raises `ProducerError` that says what is wrong."""
    if name in _OFFERED:
        return _OFFERED[name]
    module, colon, function = name.partition(":")
    if not (module and colon and function):
        message = f"--producer takes MODULE:FUNCTION, not {name!r}"
        raise ProducerError(message)
    # As `python -m` has it: a producer may lie in the folder that one stands in.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), function, None)
    except ImportError as error:
        message = f"producer {name}: {module} cannot be imported: {error}"
        raise ProducerError(message) from error
    if not callable(found):
        message = f"producer {name}: {module} has no callable {function!r}"
        raise ProducerError(message)
    return found  # type: ignore[no-any-return]  # whatever it is, it can be called


def announcement(name: str, returned: object) -> tuple[int, int]:
    """(block_m, threshold) as a producer returned them; `ProducerError` for anything else."""
    pair = returned if isinstance(returned, tuple | list) else ()
    if len(pair) != PAIR or not all(isinstance(each, int) and each >= 1 for each in pair):
        message = (
            f"producer {name} returned {returned!r}; allowed is (block_m, threshold), two whole "
            "numbers from 1"
        )
        raise ProducerError(message)
    return int(pair[0]), int(pair[1])
