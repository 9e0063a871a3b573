"""Which statements of a PTX text no path leads round, conditions or not."""

from __future__ import annotations

import pytest

from sbo_verify.compiled.ptx_paths import read_paths

TEXT = """.visible .entry k()
{
mov.u32 %r1, 0;
$L_loop:
@%p1 bra $L_else;
bar.sync 0;
$L_else:
red.relaxed.gpu.global.add.s32 [%rd1], 1;
@%p2 bra $L_loop;
@%p1 bra $L_end;
membar.gl;
$L_end:
ret;
}
"""


@pytest.mark.parametrize(
    ("line", "later", "always"),
    [
        (3, 8, True),
        (5, 6, True),
        (6, 8, False),
        (8, 11, True),
        (8, 13, True),
        (11, 13, False),
        # Behind it in this turn, before it in the next.
        (8, 6, False),
    ],
)
def test_a_line_stands_on_every_path_or_not(line: int, later: int, *, always: bool) -> None:
    assert read_paths(TEXT).always_passes(line, later) is always


def test_a_line_without_a_statement_is_no_place() -> None:
    with pytest.raises(KeyError):
        read_paths(TEXT).always_passes(4, 8)
