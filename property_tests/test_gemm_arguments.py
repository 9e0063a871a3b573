"""What the GEMM refuses before it launches anything, and the sentence with which it does."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from fake_tensors import BFLOAT16, E4M3, FLOAT, INT, Arguments, FakeTensor, arguments
from hypothesis import given
from hypothesis import strategies as st

from sbo_verify.device.gpu import NoGpuError
from sbo_verify.device.torch_device import TorchDevice, torch_module
from sbo_verify.gemm import GemmArgumentError, Problem, chosen_variant, masked, plan
from sbo_verify.gemm.arguments import (
    a_scale_pitch,
    check_options,
    check_signal,
    check_tensors,
    is_contiguous,
)
from sbo_verify.protocol import RefusedVariantError, UnknownNameError
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.protocols.signal_publish.sites import Drain, Store

SIZES = (2, 128, 256, 512)
PROBLEM = Problem(*SIZES, device=0)
CPU = SimpleNamespace(type="cpu", index=None)
SECOND = SimpleNamespace(type="cuda", index=1)


def checked(given_: Arguments, expected_m: object = 64) -> Problem:
    number: Any = expected_m
    a, b = (given_.a, given_.a_scales), (given_.b, given_.b_scales)
    return check_tensors(a, b, given_.d, given_.masked_m, number)


def test_good_arguments_pose_their_problem() -> None:
    assert checked(arguments(*SIZES)) == PROBLEM


def spoiled(name: str, **changes: Any) -> Arguments:  # noqa: ANN401 - fields of a tensor
    good = arguments(*SIZES)
    return replace(good, **{name: replace(getattr(good, name), **changes)})


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("a", {"dtype": FLOAT}, "a[0] is torch.float32; allowed is torch.float8_e4m3fn"),
        ("b", {"dtype": "torch.float8_e5m2"}, "b[0] is torch.float8_e5m2; allowed is torch.float8"),
        ("d", {"dtype": FLOAT}, "d is torch.float32; allowed is torch.bfloat16"),
        ("masked_m", {"dtype": "torch.int64"}, "masked_m is torch.int64; allowed is torch.int32"),
        ("a_scales", {"dtype": BFLOAT16}, "a[1] is torch.bfloat16; allowed is torch.float32"),
        ("b_scales", {"dtype": INT}, "b[1] is torch.int32; allowed is torch.float32"),
        ("a", {"shape": (128, 512)}, "a[0] has the shape [128, 512]; allowed is [G, M, K]"),
        (
            "b",
            {"shape": (2, 256, 640)},
            "b[0] has the shape [2, 256, 640]; allowed is [G, N, K] = [2, 256, 512]",
        ),
        (
            "d",
            {"shape": (2, 256, 128)},
            "d has the shape [2, 256, 128]; allowed is [G, M, N] = [2, 128, 256]",
        ),
        ("masked_m", {"shape": (3,)}, "masked_m has the shape [3]; allowed is [G] = [2]"),
        (
            "a_scales",
            {"shape": (2, 4, 128)},
            "a[1] has the shape [2, 4, 128]; allowed is [G, M, K/128] = [2, 128, 4]",
        ),
        (
            "b_scales",
            {"shape": (2, 256, 4)},
            "b[1] has the shape [2, 256, 4]; allowed is [G, ceil(N/128), K/128] = [2, 2, 4]",
        ),
        (
            "b",
            {"strides": (256 * 512, 1, 256)},
            "b[0] has the strides [131072, 1, 256] for the shape [2, 256, 512]; allowed is a",
        ),
        (
            "a_scales",
            {"strides": (520, 1, 130)},
            (
                "a[1] has strides (520, 1, 130); allowed are row-major (512, 4, 1) or M-major "
                "(512, 1, 128)"
            ),
        ),
        ("d", {"address": 24}, "d begins at address 0x18; allowed is a multiple of 16"),
        ("a", {"device": CPU}, "a[0] is on cpu; allowed is a Hopper GPU"),
        ("d", {"device": SECOND}, "d is on cuda:1, a[0] on cuda:0"),
    ],
)
def test_a_wrong_tensor_is_refused(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(GemmArgumentError) as refused:
        checked(spoiled(name, **changes))
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((2, 128, 256, 192), "K is 192; allowed is a multiple of 128, the width of one scale"),
        ((2, 128, 252, 128), "N is 252; allowed is a multiple of 8: tensor copies store rows of D"),
        ((0, 128, 256, 128), "G is 0; allowed is 1 or more"),
        ((2, 0, 256, 128), "M is 0; allowed is 1 or more"),
        ((1 << 16, 1 << 15, 8, 128), "G * M is 2147483648; allowed is up to 2147483647"),
    ],
)
def test_a_wrong_size_is_refused(sizes: tuple[int, int, int, int], message: str) -> None:
    with pytest.raises(GemmArgumentError) as refused:
        checked(arguments(*sizes))
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("expected_m", [0, -1, 1.5, "64"])
def test_a_wrong_expectation_is_refused(expected_m: object) -> None:
    with pytest.raises(GemmArgumentError, match="allowed is a whole number of rows from 1"):
        checked(arguments(*SIZES), expected_m)


def test_values_without_scales_are_refused() -> None:
    good = arguments(*SIZES)
    with pytest.raises(GemmArgumentError, match=r"a is FakeTensor; allowed is a pair \(values"):
        check_tensors(good.a, (good.b, good.b_scales), good.d, good.masked_m, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (((1, 1, 128), "nk", 256), "recipe is (1, 1, 128); allowed is None or (1, 128, 128)"),
        ((None, "nkx", 256), "compiled_dims is 'nkx'; allowed are the letters m, n and k"),
        ((None, "nk", 16), "max_block_n is 16; allowed is 32 or more: tiles are 32, 64, 96, 128"),
    ],
)
def test_a_wrong_option_is_refused(options: tuple[object, str, int], message: str) -> None:
    with pytest.raises(GemmArgumentError) as refused:
        check_options(*options)
    assert str(refused.value).startswith(message)


# ---- scales ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "strides", "pitch"),
    [
        ((2, 128, 256, 512), (512, 4, 1), None),  # row-major
        ((2, 128, 256, 512), (512, 1, 128), 128),  # M-major
        ((2, 130, 256, 512), (528, 1, 132), 132),  # padded to a multiple of 4
        ((1, 130, 256, 512), (0, 1, 132), 132),  # one group's stride does not matter
        ((2, 128, 256, 128), (128, 1, 1), 128),  # one block: both at once
        ((2, 130, 256, 128), (130, 1, 1), None),  # one block, but no pitch of 4
        ((1, 130, 256, 128), (130, 1, 1), 132),  # one row of scales needs no pitch
        ((2, 1, 256, 512), (4, 4, 1), None),  # one row, row-major
    ],
)
def test_the_layout_of_scales_is_read_from_strides(
    sizes: tuple[int, int, int, int], strides: tuple[int, ...], pitch: int | None
) -> None:
    groups, m, _, k = sizes
    scales = FakeTensor(FLOAT, (groups, m, k // 128), strides)
    assert a_scale_pitch(scales, Problem(*sizes, device=0)) == pitch


@given(
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    steps=st.tuples(*[st.integers(1, 3)] * 3),
)
def test_contiguous_means_every_element_at_its_row_major_place(
    shape: tuple[int, int, int], steps: tuple[int, int, int]
) -> None:
    """Against the definition, element by element."""
    strides = (shape[1] * shape[2] * steps[0], shape[2] * steps[1], steps[2])
    places = [
        i * strides[0] + j * strides[1] + k * strides[2]
        for i in range(shape[0])
        for j in range(shape[1])
        for k in range(shape[2])
    ]
    tensor = FakeTensor(FLOAT, shape, strides)
    assert is_contiguous(tensor) == (places == list(range(len(places))))


# ---- signals and variants -------------------------------------------------------------------


def test_a_signal_needs_a_slot_for_every_m_block() -> None:
    problem = Problem(3, 130, 256, 128, device=0)
    check_signal(FakeTensor(INT, (9,)), problem, 64)
    check_signal(FakeTensor(INT, (6,)), problem, 128)
    with pytest.raises(GemmArgumentError) as refused:
        check_signal(FakeTensor(INT, (8,)), problem, 64)
    assert str(refused.value) == (
        "signal has 8 elements; 3 groups of 130 rows in blocks of 64 need 3 * 3 = 9"
    )


@pytest.mark.parametrize(
    ("signal", "message"),
    [
        (None, "enable_overlap is set and signal is None; allowed is an int32 tensor of zeros"),
        (FakeTensor(FLOAT, (9,)), "signal is torch.float32; allowed is torch.int32"),
        (FakeTensor(INT, (3, 3)), "signal has the shape [3, 3]; allowed is one dimension"),
        (FakeTensor(INT, (9,), (2,)), "signal has the strides [2] for the shape [9]"),
        (FakeTensor(INT, (9,), device=SECOND), "signal is on cuda:1, a[0] on cuda:0"),
    ],
)
def test_a_wrong_signal_is_refused(signal: FakeTensor | None, message: str) -> None:
    with pytest.raises(GemmArgumentError) as refused:
        check_signal(signal, PROBLEM, 64)
    assert str(refused.value).startswith(message)


def test_a_variant_is_taken_by_name_by_hash_and_as_itself() -> None:
    row = SIGNAL_PUBLISH.row("deferred-read_wait-release")
    half = chosen_variant(row.name)
    assert chosen_variant(SIGNAL_PUBLISH.hash_of(row.variant)) == half
    assert chosen_variant(half) == half


@pytest.mark.parametrize(
    ("variant", "error", "message"),
    [
        ("full_wait-atom_releas", UnknownNameError, "did you mean full_wait-atom_release"),
        (
            "full_wait-st_release",
            GemmArgumentError,
            "the GEMM cannot run variant full_wait-st_release: the tiles of an m-block share",
        ),
        (
            "full_wait-cluster_barrier-release",
            GemmArgumentError,
            "a cluster barrier waits for every",
        ),
        ("readback-full_wait", GemmArgumentError, "leave the signal out with enable_overlap=False"),
    ],
)
def test_a_variant_that_cannot_run_is_refused(
    variant: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as refused:
        chosen_variant(variant)
    assert message in str(refused.value)


def test_choices_with_no_meaning_are_refused() -> None:
    meaningless = chosen_variant("full_wait-atom_release").with_choices(
        store=Store.GENERIC, drain=Drain.FULL
    )
    with pytest.raises(RefusedVariantError, match="generic stores commit no bulk group"):
        chosen_variant(meaningless)


def test_a_missing_torch_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(
        NoGpuError, match=r"torch is not installed: pip install 'sbo-verify\[gpu\]'"
    ):
        torch_module()


# ---- the device -----------------------------------------------------------------------------


def put_device(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
    device = TorchDevice(index=0, name="a made-up GPU", capability=capability, sm_count=132)
    monkeypatch.setattr(plan, "torch_device", lambda _index: device)


def test_another_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    put_device(monkeypatch, (10, 0))
    with pytest.raises(GemmArgumentError) as refused:
        plan.plan_for(PROBLEM, 64)
    assert str(refused.value) == (
        "cuda:0 is a made-up GPU with compute capability 10.0; the GEMM is sm_90a and runs on "
        "Hopper (9.0) only"
    )


@pytest.mark.parametrize("num_sms", [0, 133])
def test_an_impossible_number_of_sms_is_refused(
    monkeypatch: pytest.MonkeyPatch, num_sms: int
) -> None:
    put_device(monkeypatch, (9, 0))
    with pytest.raises(GemmArgumentError, match=f"num_sms is {num_sms}; allowed is 1 to 132"):
        plan.plan_for(PROBLEM, 64, num_sms=num_sms)


def test_a_signal_without_overlap_is_refused_and_nothing_launched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put_device(monkeypatch, (9, 0))
    launched: list[object] = []
    monkeypatch.setattr(masked, "launch_plan", lambda *all_, **_: launched.append(all_))
    good = arguments(*SIZES)
    call = ((good.a, good.a_scales), (good.b, good.b_scales), good.d, good.masked_m, 64)
    with pytest.raises(GemmArgumentError, match="signal is given and enable_overlap is False"):
        masked.m_grouped_fp8_gemm_nt_masked(*call, signal=good.signal, check_inputs=False)
    assert launched == []
    answer = masked.m_grouped_fp8_gemm_nt_signal(*call, good.signal, check_inputs=False)
    assert len(launched) == 1
    block_m, threshold = answer
    assert (block_m, threshold) == (64, 256 // plan.plan_for(PROBLEM, 64).shape.block_n)


def test_values_cannot_be_checked_in_a_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    put_device(monkeypatch, (9, 0))
    monkeypatch.setattr(masked, "is_capturing", lambda: True)
    good = arguments(*SIZES)
    call = ((good.a, good.a_scales), (good.b, good.b_scales), good.d, good.masked_m, 64)
    with pytest.raises(GemmArgumentError, match="allowed there is check_inputs=False"):
        masked.m_grouped_fp8_gemm_nt_masked(*call)


def test_the_types_are_those_that_torch_says() -> None:
    """The fakes' words, so that a typing error in them cannot hide one in the checks."""
    assert (E4M3, FLOAT) == ("torch.float8_e4m3fn", "torch.float32")
    assert (BFLOAT16, INT) == ("torch.bfloat16", "torch.int32")
