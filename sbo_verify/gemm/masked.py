"""The torch-facing GEMM with signals: the public library's interface, checked before a launch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sbo_verify.device.torch_device import is_capturing
from sbo_verify.gemm.arguments import Problem, check_options, check_signal, check_tensors, require
from sbo_verify.gemm.plan import chosen_variant, launch_plan, plan_for
from sbo_verify.protocols.signal_publish.gemm import NO_SIGNAL
from sbo_verify.protocols.signal_publish.sites import SignalPublish

PUBLISHED = "full_wait-atom_release"


def m_grouped_fp8_gemm_nt_masked(  # noqa: PLR0913, PLR0917 - the public interface has these arguments
    a: Sequence[Any],
    b: Sequence[Any],
    d: Any,  # noqa: ANN401 - a torch tensor
    masked_m: Any,  # noqa: ANN401 - a torch tensor
    expected_m: int,
    recipe: tuple[int, int, int] | None = None,
    compiled_dims: str = "nk",
    disable_ue8m0_cast: bool = False,  # noqa: FBT001, FBT002 - the public interface has it so
    max_block_n: int = 256,
    enable_overlap: bool = False,  # noqa: FBT001, FBT002 - the public interface has it so
    signal: Any = None,  # noqa: ANN401 - a torch tensor
    *,
    variant: str | SignalPublish = PUBLISHED,
    num_sms: int | None = None,
    check_inputs: bool = True,
) -> tuple[int, int]:
    """D[g] = A[g] x B[g]^T for the first masked_m[g] rows of every group g, on the current stream.

    `a` is (e4m3 [G, M, K], float32 scales [G, M, K/128], row-major or M-major with a pitch of a
    multiple of 4), `b` is (e4m3 [G, N, K], float32 scales [G, ceil(N/128), K/128]), `d` bfloat16
    [G, M, N], `masked_m` int32 [G]. Rows of D from masked_m[g] on are not touched. `expected_m`,
    about the rows of a group, chooses the tile.

    With `enable_overlap` each tile that is in memory adds 1 to
    signal[g * ceil(M / block_m) + m_block], int32 and zero beforehand, handed over as `variant`
    says; at the threshold all columns of these block_m rows may be read by who acquires the signal.

    `compiled_dims` and `disable_ue8m0_cast` are taken for compatibility: one kernel serves all
    sizes, and scales are floats. `check_inputs` looks at the values of `masked_m` and `signal`,
    which waits for the stream; a CUDA graph needs it off, and one call before the capture.

    Returns (block_m, threshold), threshold being ceil(N / block_n).

    Raises `GemmArgumentError` for what it cannot take, `UnknownNameError` and
    `RefusedVariantError` for the variant, all before anything is launched.

    Source of the interface: sgl-project/DeepGEMM, archive-release-branch, PR 14.
    """
    check_options(recipe, compiled_dims, max_block_n)
    require(
        isinstance(disable_ue8m0_cast, bool),
        f"disable_ue8m0_cast is {disable_ue8m0_cast!r}; allowed is True or False",
    )
    chosen = chosen_variant(variant) if enable_overlap else NO_SIGNAL
    problem = check_tensors(a, b, d, masked_m, expected_m)
    plan = plan_for(problem, expected_m, variant=chosen, num_sms=num_sms, max_block_n=max_block_n)
    if enable_overlap:
        check_signal(signal, problem, plan.shape.block_m)
    else:
        require(
            signal is None,
            "signal is given and enable_overlap is False; allowed is enable_overlap=True, or no "
            "signal",
        )
    if check_inputs:
        _check_values(problem, masked_m, signal)
    launch_plan(plan, a, b, d, masked_m, signal=signal)
    return plan.shape.block_m, plan.threshold


def m_grouped_fp8_gemm_nt_signal(  # noqa: PLR0913, PLR0917 - as above
    a: Sequence[Any],
    b: Sequence[Any],
    d: Any,  # noqa: ANN401 - a torch tensor
    masked_m: Any,  # noqa: ANN401 - a torch tensor
    expected_m: int,
    signal: Any,  # noqa: ANN401 - a torch tensor
    **options: Any,  # noqa: ANN401 - the options of the function above
) -> tuple[int, int]:
    """`m_grouped_fp8_gemm_nt_masked` with a signal: the name under which it was first public.

    Arguments, result and errors are those of that function.
    """
    return m_grouped_fp8_gemm_nt_masked(
        a, b, d, masked_m, expected_m, enable_overlap=True, signal=signal, **options
    )


def _check_values(problem: Problem, masked_m: Any, signal: Any) -> None:  # noqa: ANN401 - torch tensors
    """What only the device knows: the masks' range, and whether the signals are zero."""
    require(
        not is_capturing(),
        "the values of masked_m and signal cannot be looked at while a CUDA graph is captured; "
        "allowed there is check_inputs=False",
    )
    least, most = int(masked_m.min()), int(masked_m.max())
    require(
        least >= 0 and most <= problem.m,
        f"masked_m holds {least if least < 0 else most}; allowed is 0 to {problem.m}, the rows of "
        "a group",
    )
    if signal is not None:
        nonzero = int((signal != 0).sum())
        require(
            nonzero == 0,
            f"signal holds {nonzero} elements that are not 0; allowed are zeros: a signal counts "
            "from 0 in every launch",
        )
