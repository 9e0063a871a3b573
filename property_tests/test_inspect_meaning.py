"""What means the same is judged the same; what lost one ordering instruction is ordered no more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ptx_rewriting import (
    Loop,
    independent,
    kernel,
    loops,
    ordering_lines,
    padded,
    peeled,
    renamed,
    reordered,
    unrolled,
    without,
)
from test_inspect import ROWS, SOUND, Expected, judged
from test_inspect_ways import CANNOT_TELL, NOT_ORDERED, ORDERED

from sbo_verify.compiled.inspection.text import Op

SINGLE = [row for row in ROWS if row.text.count(".visible .entry") == 1 and row.origin == "nvcc"]
few = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def expected(row: Expected) -> tuple[str | None, tuple[str, ...]]:
    return row.verdict, tuple(sorted(row.rules))


@given(st.sampled_from(SINGLE), st.data())
@few
def test_independent_instructions_may_change_places(row: Expected, data: st.DataObject) -> None:
    assert judged(data.draw(reordered(row.text))) == expected(row)


@given(st.sampled_from(SINGLE), st.data())
@few
def test_names_of_registers_and_labels_do_not_matter(row: Expected, data: st.DataObject) -> None:
    assert judged(data.draw(renamed(row.text))) == expected(row)


@given(st.sampled_from(SINGLE), st.data())
@few
def test_unrelated_code_does_not_matter(row: Expected, data: st.DataObject) -> None:
    assert judged(data.draw(padded(row.text))) == expected(row)


LOOPS = [(row, loop) for row in SINGLE for loop in loops(kernel(row.text))]


@pytest.mark.parametrize("change", [peeled, unrolled])
@pytest.mark.parametrize(
    ("row", "loop"), [pytest.param(row, each, id=f"{row.file}-{each.label}") for row, each in LOOPS]
)
def test_a_loop_may_be_unrolled(
    row: Expected, loop: Loop, change: Callable[[str, Loop], str]
) -> None:
    assert judged(change(row.text, loop)) == expected(row)


# One thread issues, drains and publishes: the barrier between joins nobody with it.
ALONE = """
    bulk_full_release tensor_full_release bulk_full_atom_release bulk_full_acq_rel
    bulk_full_release_sys bulk_full_st_release bulk_full_threadfence_atomic
    bulk_full_fence_acq_rel_red bulk_full_fence_volatile bulk_full_all_threads_wait
    bulk_read_then_full loop_full_release
"""
# What a sound kernel can spare, by its number among those of its name.
SPARED = {(f"{name}.ptx", "bar.sync", 2) for name in ALONE.split()} | {
    # The full wait behind it covers more.
    ("bulk_read_then_full.ptx", "cp.async.bulk.wait_group.read", 1),
    # The barrier behind the source stands between initialization and arrival too.
    ("mbarrier_two_roles.ptx", "bar.sync", 1),
    # Either of two barriers keeps the next turn from the source.
    ("loop_full_release.ptx", "bar.sync", 3),
}


def deletions() -> Iterator[tuple[Expected, int, bool]]:
    """Each ordering instruction of the sound files, and whether it can be spared."""
    for row in SOUND:
        if row not in SINGLE:
            continue
        found = kernel(row.text)
        counts: Counter[str] = Counter()
        for line in ordering_lines(found):
            name = found.ops[line][0].mnemonic
            counts[name] += 1
            yield row, line, (row.file, name, counts[name]) in SPARED


DELETIONS = list(deletions())


@pytest.mark.parametrize(
    ("row", "line"),
    [
        pytest.param(row, line, id=f"{row.file}-{line + 1}")
        for row, line, spared in DELETIONS
        if not spared
    ],
)
def test_a_sound_kernel_needs_each_of_its_ordering_instructions(row: Expected, line: int) -> None:
    assert judged(without(kernel(row.text), line))[0] in {NOT_ORDERED, CANNOT_TELL}


@pytest.mark.parametrize(
    ("row", "line"),
    [
        pytest.param(row, line, id=f"{row.file}-{line + 1}")
        for row, line, spared in DELETIONS
        if spared
    ],
)
def test_what_can_be_spared_is_known(row: Expected, line: int) -> None:
    assert judged(without(kernel(row.text), line))[0] == ORDERED


def test_everything_spared_stands_in_a_file() -> None:
    assert sum(spared for _, _, spared in DELETIONS) == len(SPARED)


# ---- the rewriting itself -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "free"),
    [
        (Op(1, "add.s32", ("%a", "%b", "1")), Op(2, "add.s32", ("%c", "%b", "1")), True),
        (Op(1, "add.s32", ("%a", "%b", "1")), Op(2, "add.s32", ("%c", "%a", "1")), False),
        (Op(1, "add.s32", ("%a", "%b", "1")), Op(2, "add.s32", ("%b", "%c", "1")), False),
        (Op(1, "add.s32", ("%a", "%b", "1")), Op(2, "add.s32", ("%a", "%c", "1")), False),
        (Op(1, "add.s32", ("%a", "%b", "1")), Op(2, "mov.u32", ("%c", "1"), ("%a", True)), False),
        (Op(1, "add.s32", ("%a", "%b", "1")), Op(2, "fence.sc.gpu", ()), True),
        (Op(1, "st.global.u32", ("[%a]", "1")), Op(2, "fence.sc.gpu", ()), False),
        (Op(1, "st.global.u32", ("[%a]", "1")), Op(2, "add.s32", ("%a", "%a", "4")), False),
        (Op(1, "ld.global.u32", ("%a", "[%b]")), Op(2, "ld.global.u32", ("%c", "[%b]")), False),
        (Op(1, "add.s32", ("%a", "%b", "1")), Op(2, "bra", ("$L",)), False),
    ],
)
def test_only_what_shares_no_register_and_no_memory_changes_places(
    first: Op, second: Op, *, free: bool
) -> None:
    assert independent(first, second) is free


def test_files_with_loops_of_each_kind_are_unrolled() -> None:
    assert {"loop_full_release.ptx", "poll_acquire.ptx", "poll_relaxed.ptx"} <= {
        row.file for row, _ in LOOPS
    }
    row, loop = next(each for each in LOOPS if each[0].file == "loop_full_release.ptx")
    for change in (peeled, unrolled):
        assert change(row.text, loop).count("red.release") == 2 * row.text.count("red.release")
