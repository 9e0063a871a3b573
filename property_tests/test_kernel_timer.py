"""Kernel times told apart from the overwriting between them."""

from __future__ import annotations

import pytest

from sbo_verify.device.kernel_timer import TimingError, means

FLUSH, OTHER = {"fill"}, ("gemm", 3.0)
LONG = ("fill", 500.0)


def test_times_of_calls_in_turn_are_added_and_averaged_by_subject() -> None:
    kernels = [
        *(LONG, LONG, ("one", 3.0)),
        *(LONG, LONG, ("two", 10.0), ("two more", 1.0)),
        *(LONG, LONG, ("one", 5.0)),
        *(LONG, LONG, ("two", 20.0), ("two more", 1.0)),
    ]
    assert means(kernels, FLUSH, 2, 2) == [4.0, 16.0]


def test_a_short_kernel_of_the_same_name_belongs_to_the_call() -> None:
    assert means([LONG, OTHER, ("fill", 2.0)], FLUSH, 1, 1) == [5.0]


def test_what_ran_before_the_first_overwriting_is_not_counted() -> None:
    assert means([OTHER, LONG, OTHER], FLUSH, 1, 1) == [3.0]


@pytest.mark.parametrize(
    ("kernels", "complaint"),
    [
        ([], "0 launches were seen of 2"),
        ([LONG, OTHER], "1 launches were seen of 2"),
        ([LONG, LONG, OTHER], "1 launches were seen of 2"),
        ([LONG, OTHER, LONG, OTHER, OTHER], "1 or 2 kernels were seen in a launch"),
        ([LONG, OTHER, LONG], "0 or 1 kernels were seen in a launch"),
    ],
)
def test_a_measurement_that_cannot_be_trusted_is_refused(
    kernels: list[tuple[str, float]], complaint: str
) -> None:
    with pytest.raises(TimingError, match=complaint):
        means(kernels, FLUSH, 1, 2)
