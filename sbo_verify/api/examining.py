"""A new run: variants, or somebody's producer, examined on every level that the machine has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from sbo_verify.api.reading import Examination, findings_of
from sbo_verify.device.gpu import Gpu, NoGpuError
from sbo_verify.harness.examination import (
    CarriedOut,
    Silent,
    Watcher,
    carry_out,
    drawn_seed,
    find_gpu,
)
from sbo_verify.harness.producers import offer
from sbo_verify.harness.session import Plan, choose_rows
from sbo_verify.harness.stressed_kernels import knobs_of, protocol_for, refuse, rows_by_default
from sbo_verify.protocol import Protocol, Row
from sbo_verify.protocols import DEFAULT_PROTOCOL
from sbo_verify.record import GEMM, MICRO


def examine(  # noqa: PLR0913 - the options of `sbo-verify run`
    variants: Iterable[str] = (),
    *,
    protocol: str = DEFAULT_PROTOCOL,
    kernel: Literal["micro", "gemm", "host"] | None = None,
    producer: str | Callable[..., Any] | None = None,
    knobs: Mapping[str, object] | None = None,
    seed: int | None = None,
    seconds: float = 2.0,
    observations: int = 0,
    gpu: int | None = 0,
    require_gpu: bool = False,
    out: Path | str = "runs",
    canaries_until_seen: bool = False,
    watcher: Watcher | None = None,
    command: str = "",
) -> Examination:
    """Examine variants on every level that this machine has; the run is recorded below `out`.

    `variants` are names, hashes or `*` patterns; all by default. `producer`, a callable of the
    masked GEMM's interface or its MODULE:FUNCTION, takes part beside the canaries; then, or with
    `kernel="gemm"`, the GEMM hands over to Combine Send; with `kernel="host"` CTAs hand over to a
    reader on the host, by variants of that kernel's own. `knobs` are fixed instead of drawn.
    `seconds` are of GPU time for each variant, `observations` what a sound one has at least. `gpu`
    None leaves silicon out. `command` is recorded as the way to repeat this.

    Raises `UnknownNameError`, `KnobError`, `ProducerError` or `ValueError` for wrong arguments and
    `NoGpuError` where `require_gpu`, before anything is launched; `StoreError`; `KeyboardInterrupt`
    when what was done until then is recorded and judged.

    >>> from sbo_verify import api
    >>> run = api.examine(["poll_equal"], gpu=None, out=folder)
    >>> run.passed, run.verdict("poll_equal").joint
    (True, 'sound by the model, silicon did not run')
    """
    named = "" if producer is None else offer(producer)
    stressed = kernel or (GEMM if named else MICRO)
    if named and stressed != GEMM:
        message = "a producer is a GEMM: leave `kernel` out with it, or give kernel='gemm'"
        raise ValueError(message)
    _refuse_numbers(seed, seconds, observations)
    chosen = protocol_for(protocol, stressed, named)
    plan = Plan(
        protocol=chosen,
        rows=_rows(chosen, list(variants), named),
        seed=drawn_seed() if seed is None else seed,
        seconds=seconds,
        observations=observations,
        fixed=_fixed(knobs or {}, stressed),
        kernel=stressed,
        producer=named,
    )
    refuse(plan)
    found, why_not = _gpu(gpu, require=require_gpu)
    plan, watched = replace(plan, command=command or _call(plan)), watcher or Silent()
    return _examination(
        carry_out(Path(out), plan, found, why_not, watched, canaries_until_seen=canaries_until_seen)
    )


def _examination(done: CarriedOut) -> Examination:
    if isinstance(done.cut_short, KeyboardInterrupt):
        raise done.cut_short
    return Examination(done.run.path, findings_of(done.run))


def _gpu(index: int | None, *, require: bool) -> tuple[Gpu | None, str]:
    found, why_not = (None, "it was left out") if index is None else find_gpu(index)
    if found is None and require:
        message = f"silicon cannot run here: {why_not}"
        raise NoGpuError(message)
    return found, why_not


def _rows(protocol: Protocol, names: Sequence[str], producer: str) -> Sequence[Row]:
    return choose_rows(protocol, names) if names else rows_by_default(protocol, producer)


def _fixed(knobs: Mapping[str, object], kernel: str) -> dict[str, str]:
    """Knobs as the command line has them; raises `KnobError` for those that cannot be."""
    words = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in knobs.items()
    }
    knobs_of(kernel)().with_values(words)
    return words


def _refuse_numbers(seed: int | None, seconds: float, observations: int) -> None:
    for name, value, least in (
        ("seed", seed or 0, 0),
        ("observations", observations, 0),
        ("seconds", seconds, 1e-3),
    ):
        if not least <= value < float("inf"):
            message = f"{name} is {value}; allowed is a number from {least:g}"
            raise ValueError(message)


def _call(plan: Plan) -> str:
    """The call as Python has it."""
    names = [row.name for row in plan.rows]
    arguments = [f"{names}", f"seed={plan.seed}", f"seconds={plan.seconds:g}"]
    if plan.producer:
        arguments.append(f"producer={plan.producer!r}")
    elif plan.kernel != MICRO:
        arguments.append(f"kernel={plan.kernel!r}")
    if plan.fixed:
        arguments.append(f"knobs={plan.fixed!r}")
    return f"sbo_verify.api.examine({', '.join(arguments)})"
