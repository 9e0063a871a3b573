"""Producers of the public interface with one fault each, for tests that must find and name it.

All are the project's own GEMM with something done to it from outside, as a stranger's would be.
"""

from __future__ import annotations

from typing import Any

from sbo_verify.gemm import m_grouped_fp8_gemm_nt_masked

SMS = 76
SHIFT = 4


def published(*tensors: Any, variant: str = "full_wait-atom_release", **options: Any) -> Any:  # noqa: ANN401 - torch tensors
    """The hand-over as published: nothing is wrong with it."""
    return m_grouped_fp8_gemm_nt_masked(
        *tensors, **options, variant=variant, num_sms=SMS, check_inputs=False
    )


def threshold_too_low(*tensors: Any, **options: Any) -> tuple[int, int]:  # noqa: ANN401 - torch tensors
    """Returns one less than the signals of a slot."""
    block_m, threshold = published(*tensors, **options)
    return block_m, threshold - 1


def threshold_too_high(*tensors: Any, **options: Any) -> tuple[int, int]:  # noqa: ANN401 - torch tensors
    """Returns one more than the signals of a slot."""
    block_m, threshold = published(*tensors, **options)
    return block_m, threshold + 1


def signalled_too_early(*tensors: Any, **options: Any) -> Any:  # noqa: ANN401 - torch tensors
    """Signals a tile before it is stored."""
    return published(*tensors, variant="published_too_early", **options)


def not_waited_for(*tensors: Any, **options: Any) -> Any:  # noqa: ANN401 - torch tensors
    """Signals a tile whose store was issued and not waited for."""
    return published(*tensors, variant="no_wait-relaxed", **options)


def signal_missing(*tensors: Any, signal: Any, **options: Any) -> Any:  # noqa: ANN401 - torch tensors
    """The first slot ends one short."""
    signal[:1].sub_(1)
    return published(*tensors, signal=signal, **options)


def signal_doubled(*tensors: Any, signal: Any, **options: Any) -> Any:  # noqa: ANN401 - torch tensors
    """The first slot is signalled once more when all is done."""
    announced = published(*tensors, signal=signal, **options)
    signal[:1].add_(1)
    return announced


def signals_elsewhere(*tensors: Any, signal: Any, **options: Any) -> Any:  # noqa: ANN401 - torch tensors
    """The signals lie four places further on than the interface has it."""
    return published(*tensors, signal=signal[SHIFT:], **options)


def wrong_product(a: Any, b: Any, *tensors: Any, **options: Any) -> Any:  # noqa: ANN401 - torch tensors
    """Three times the product."""
    return published(a, (b[0], b[1] * 3.0), *tensors, **options)


def announces_nothing(*tensors: Any, **options: Any) -> None:  # noqa: ANN401 - torch tensors
    """Returns nothing, as a GEMM without signals does."""
    published(*tensors, **options)
