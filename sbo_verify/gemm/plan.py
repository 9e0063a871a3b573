"""A problem's plan, which kernel computes it and with which variant, and its launch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sbo_verify.device.gemm_launch import GemmCall, launch_gemm
from sbo_verify.device.gemm_layout import Shape
from sbo_verify.device.torch_device import current_stream, device_guard, torch_device
from sbo_verify.gemm.arguments import GemmArgumentError, Problem, a_scale_pitch, require
from sbo_verify.gemm.heuristic import choose_shape
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.protocols.signal_publish.gemm import NO_SIGNAL, gemm_refusals, producer_half
from sbo_verify.protocols.signal_publish.sites import SignalPublish

HOPPER = (9, 0)


@dataclass(frozen=True)
class Plan:
    """What a problem is computed with. `slots` signals belong to each group.

    The first ceil(masked_m[g] / block_m) slots of group g reach `threshold`; the others stay as
    they were.
    """

    problem: Problem
    shape: Shape
    variant: SignalPublish
    num_sms: int

    @property
    def threshold(self) -> int:
        """Tiles, and so signals, of one m-block."""
        return -(-self.problem.n // self.shape.block_n)

    @property
    def slots(self) -> int:
        """Signals from one group's first to the next group's."""
        return -(-self.problem.m // self.shape.block_m)


def chosen_variant(variant: str | SignalPublish) -> SignalPublish:
    """The producer's half of a variant, by its name, its hash or itself.

    Raises `UnknownNameError` for a name that the catalogue does not have, `RefusedVariantError` for
    choices that have no meaning together, `GemmArgumentError` for those that the GEMM cannot run.
    """
    chosen = SIGNAL_PUBLISH.row(variant).variant if isinstance(variant, str) else variant
    if not isinstance(chosen, SignalPublish):
        message = f"variant is {type(chosen).__name__}; allowed is a name or a SignalPublish"
        raise GemmArgumentError(message)
    SIGNAL_PUBLISH.check(chosen)
    if refusals := gemm_refusals(chosen):
        name = variant if isinstance(variant, str) else SIGNAL_PUBLISH.hash_of(variant)
        message = f"the GEMM cannot run variant {name}: {'; '.join(refusals)}"
        raise GemmArgumentError(message)
    return producer_half(chosen)


def plan_for(  # noqa: PLR0913 - each is a choice of its own
    problem: Problem,
    expected_m: int,
    *,
    variant: SignalPublish = NO_SIGNAL,
    num_sms: int | None = None,
    max_block_n: int = 256,
    shape: Shape | None = None,
) -> Plan:
    """The plan for a problem on `num_sms` SMs, all by default; `shape` replaces the heuristic's.

    Raises `GemmArgumentError` on a device that is no Hopper and for an impossible number of SMs.
    """
    device = torch_device(problem.device)
    require(
        device.capability == HOPPER,
        f"cuda:{device.index} is {device.name} with compute capability "
        f"{device.capability[0]}.{device.capability[1]}; the GEMM is sm_90a and runs on Hopper "
        "(9.0) only",
    )
    sms = device.sm_count if num_sms is None else num_sms
    require(
        1 <= sms <= device.sm_count,
        f"num_sms is {sms}; allowed is 1 to {device.sm_count}, the SMs of {device.name}",
    )
    chosen = shape or choose_shape(problem, expected_m, sms, max_block_n, variant)
    return Plan(problem, chosen, variant, sms)


def launch_plan(  # noqa: PLR0913 - the tensors of a GEMM
    plan: Plan,
    a: Sequence[Any],
    b: Sequence[Any],
    d: Any,  # noqa: ANN401 - a torch tensor
    masked_m: Any,  # noqa: ANN401 - a torch tensor
    *,
    signal: Any = None,  # noqa: ANN401 - a torch tensor
    stream: int | None = None,
) -> None:
    """Put the GEMM on `stream`, torch's current one by default; tensors as they were checked.

    Row-major scales of A are first copied on the current stream, so that another stream can only be
    named with M-major ones.
    """
    problem = plan.problem
    with device_guard(problem.device):
        pitch = a_scale_pitch(a[1], problem)
        require(
            pitch is not None or stream is None,
            "a[1] is row-major and a stream is named; allowed there are M-major scales (m_major)",
        )
        scales = a[1] if pitch else m_major(a[1], problem)
        launch_gemm(
            plan.shape,
            plan.variant,
            GemmCall(
                a=a[0].data_ptr(),
                a_scales=scales.data_ptr(),
                b=b[0].data_ptr(),
                b_scales=b[1].data_ptr(),
                d=d.data_ptr(),
                masked_m=masked_m.data_ptr(),
                signals=0 if signal is None else signal.data_ptr(),
                groups=problem.groups,
                m=problem.m,
                n=problem.n,
                k=problem.k,
                scale_pitch=pitch or a_scale_pitch(scales, problem) or 0,
                num_sms=plan.num_sms,
                device=problem.device,
                stream=current_stream(problem.device) if stream is None else stream,
            ),
        )


def m_major(scales: Any, problem: Problem) -> Any:  # noqa: ANN401 - torch tensors
    """A copy of row-major scales [G, M, K/128] as tensor copies want them.

    Made on torch's current stream, where its memory is not given away before the GEMM has read it.
    """
    rows = -(-problem.m // 4) * 4
    copied = scales.new_empty((problem.groups, scales.shape[2], rows))
    view = copied[:, :, : problem.m].transpose(1, 2)
    view.copy_(scales)
    return view
