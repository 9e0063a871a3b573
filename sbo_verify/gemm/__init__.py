"""The signal GEMM's host half: checks, choice of configuration, the torch-facing functions."""

from __future__ import annotations

from sbo_verify.gemm.arguments import GemmArgumentError, Problem, check_tensors
from sbo_verify.gemm.masked import m_grouped_fp8_gemm_nt_masked, m_grouped_fp8_gemm_nt_signal
from sbo_verify.gemm.plan import Plan, chosen_variant, launch_plan, m_major, plan_for

__all__ = [
    "GemmArgumentError",
    "Plan",
    "Problem",
    "check_tensors",
    "chosen_variant",
    "launch_plan",
    "m_grouped_fp8_gemm_nt_masked",
    "m_grouped_fp8_gemm_nt_signal",
    "m_major",
    "plan_for",
]
