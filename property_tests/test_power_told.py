"""The detection power of a run is told with the two rows that it was computed from."""

from __future__ import annotations

from written_findings import CANARY, LUCKY, SOUND, judged
from written_runs import code_reading, launch, settings

from sbo_verify.harness.judgement import power_basis
from sbo_verify.record import RowVerdict, Summary
from sbo_verify.report.figures import power_text
from sbo_verify.report.power_told import power_told

RARE = "readback-read_wait"
ROWS = (SOUND, CANARY, RARE, LUCKY)


def run(**of_rare: int) -> tuple[list[RowVerdict], Summary]:
    """Two canaries, one seen rarely or `of_rare`; a broken row that works on few hand-overs."""
    launches = [
        launch(SOUND),
        launch(CANARY, stale=1000),
        launch(RARE, **({"stale": 2} | of_rare)),
        launch(LUCKY, observations=500),
    ]
    found = judged(settings(ROWS), [code_reading(row) for row in ROWS], launches)
    return list(found.verdicts), found.summary


def test_the_rarest_canary_and_the_row_with_the_fewest_hand_overs_are_named() -> None:
    verdicts, summary = run()
    basis = power_basis(verdicts)
    assert basis is not None
    assert [each.row for each in basis] == [RARE, LUCKY]
    told = power_told(verdicts, summary.power)
    assert told.startswith(f"Detection power, worst case: {power_text(summary.power)}, the prob")
    assert f"{RARE} (lower bound of 2 of 1,000,000)" in told
    assert told.endswith(f"fewest hand-overs, {LUCKY} (0 of 500)")


def test_another_canary_is_named_where_another_is_the_rarest() -> None:
    verdicts, _ = run(stale=5000)
    basis = power_basis(verdicts)
    assert basis is not None
    assert basis[0].row == CANARY


def test_without_counts_to_compute_it_from_the_power_is_not_known() -> None:
    verdicts, summary = run(ahead_words=1)
    assert (power_basis(verdicts), summary.power) == (None, None)
    assert "not known" in power_told(verdicts, summary.power)
    assert power_basis([each for each in verdicts if not each.canary]) is None
