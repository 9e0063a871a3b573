"""Environments are kept with their evidence, chosen in stated shares, and searched for."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from written_runs import fault, launch

from sbo_verify.device.layout import NoiseKind
from sbo_verify.harness.environments import (
    BROKEN_SHARES,
    KEPT,
    SOUND_SHARES,
    Environment,
    EnvironmentsError,
    Kept,
    Source,
    choose,
    kept,
    read,
)
from sbo_verify.harness.knobs import Knobs, draw, generator
from sbo_verify.harness.runner import Bench, fit, fit_ring, geometry_of
from sbo_verify.harness.search import EVIDENCE, Found, changed, search
from sbo_verify.protocol import Protocol, Row
from sbo_verify.protocols.signal_publish import SIGNAL_PUBLISH
from sbo_verify.record import Launch

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "detector.md"
SOUND = SIGNAL_PUBLISH.row("full_wait-atom_release")
MUTANT = SIGNAL_PUBLISH.row("no_wait-relaxed")
OTHER = SIGNAL_PUBLISH.row("poll_volatile")


def environment(row: Row = MUTANT, **changes: Any) -> Environment:  # noqa: ANN401 - any field
    values: dict[str, Any] = {
        "row": row.name,
        "variant": SIGNAL_PUBLISH.hash_of(row.variant),
        "knobs": Knobs(ring=3),
        "stale": 50,
        "observations": 1000,
        "seconds": 0.5,
        "launches": 4,
        "killed": 2,
    }
    return Environment(**(values | changes))


# ---- what is kept ---------------------------------------------------------------------------


def test_every_kept_environment_is_of_a_mutant_of_the_catalogue_and_can_be_launched() -> None:
    assert kept().environments
    for each in kept().environments:
        row = SIGNAL_PUBLISH.row(each.row)
        assert not row.sound
        assert each.variant == SIGNAL_PUBLISH.hash_of(row.variant)
        geometry = geometry_of(row)
        assert fit_ring(fit(each.knobs, geometry), 1, geometry) == each.knobs, each.row
    assert kept().settings["commit"]
    assert kept().settings["machine"]["gpu"]


def test_the_document_counts_the_kept_environments_right() -> None:
    knobs = [each.knobs for each in kept().environments]
    text = " ".join(DOCUMENT.read_text().split())
    quiet = sum(each.noise is NoiseKind.NONE or each.noise_share == 0 for each in knobs)
    crowded = sum((each.threads, each.ctas_per_sm) == (128, 8) for each in knobs)
    ahead = sum(each.in_flight == 2 for each in knobs)
    assert f"Of the {len(knobs)} that are kept, {ahead} have a producer" in text
    assert f"{crowded} have eight CTAs of 128 threads on an SM, and {quiet} no noise" in text
    assert f"and {sum(each.prime_l1 for each in knobs)} with the tile's old lines" in text
    for shares, column in ((SOUND_SHARES, -2), (BROKEN_SHARES, -1)):
        for source, share in shares.items():
            (row,) = re.findall(rf"^\| {source.value} \|.*$", DOCUMENT.read_text(), re.MULTILINE)
            cells = [each.strip() for each in row.strip("|").split("|")]
            assert cells[column] == f"{100 * share // sum(shares.values())} %"


def test_a_canary_has_a_kept_environment() -> None:
    canaries = {row.name for row in SIGNAL_PUBLISH if row.canary}
    assert canaries <= kept().killable


def test_the_version_changes_with_any_knob_that_can_be_chosen_and_with_nothing_else() -> None:
    def version(*environments: Environment) -> str:
        return Kept(settings={}, environments=environments).version

    one, other = environment(), environment(OTHER)
    assert version(one, other) == version(environment(stale=51), other)
    changed_knob = environment(knobs=Knobs(ring=4))
    assert (
        len({version(*each) for each in ((one, other), (other, one), (one,), (changed_knob,))}) == 4
    )


def test_an_environment_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "environments.json"
    path.write_text(json.dumps({"settings": {}, "environments": [environment().to_json()]}))
    assert read(path).environments == (environment(),)
    assert environment().rate == 0.05
    assert environment().death_rate == 100.0


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"stale": 0}, "has no evidence"),
        ({"stale": 2000}, "has no evidence"),
        ({"killed": 0}, "has no evidence"),
        ({"seconds": 0.0}, "has no evidence"),
        ({"knobs": {"volume": 11}}, "no knob 'volume'"),
        ({"knobs": Knobs(plant_one_in=9).to_json()}, "injects a fault"),
        ({"knobs": Knobs(withheld_round=9).to_json()}, "injects a fault"),
        ({"volume": 11}, "cannot be read"),
    ],
)
def test_an_environment_that_shows_nothing_is_refused(
    tmp_path: Path, changes: dict[str, Any], what: str
) -> None:
    path = tmp_path / "environments.json"
    data = {**environment().to_json(), **changes}
    path.write_text(json.dumps({"settings": {}, "environments": [data]}))
    with pytest.raises(EnvironmentsError, match=what):
        read(path)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"environments": []}'])
def test_a_file_that_holds_no_environments_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "environments.json"
    path.write_text(text)
    with pytest.raises(EnvironmentsError, match=r"environments.json holds no environments"):
        read(path)
    with pytest.raises(EnvironmentsError, match=r"holds no environments"):
        read(tmp_path / "absent.json")
    assert read(KEPT) == kept()


# ---- what is chosen -------------------------------------------------------------------------


@pytest.mark.parametrize(("row", "shares"), [(SOUND, SOUND_SHARES), (MUTANT, BROKEN_SHARES)])
def test_each_kind_of_environment_has_its_stated_share(row: Row, shares: dict[Source, int]) -> None:
    draws = 4000
    tuned = [environment(), environment(OTHER)]
    told = [choose(generator(1, row.name, index), row, tuned)[1] for index in range(draws)]
    counts = Counter(word.split()[0] for word in told)
    assert set(counts) == {source.value for source in Source}
    for source, share in shares.items():
        expected = draws * share / sum(shares.values())
        assert abs(counts[source.value] - expected) < 6 * np.sqrt(expected)


def test_a_mutant_has_its_own_environments_and_a_sound_row_has_all() -> None:
    tuned = [environment(), environment(OTHER)]
    words = {
        row.name: {choose(generator(1, "row", index), row, tuned)[1] for index in range(200)}
        for row in (SOUND, MUTANT, OTHER)
    }
    assert words[MUTANT.name] == {"fresh", "dense", "tuned for no_wait-relaxed"}
    assert words[OTHER.name] == {"fresh", "dense", "tuned for poll_volatile"}
    assert words[SOUND.name] == words[MUTANT.name] | words[OTHER.name]


@given(st.integers(0, 2**32 - 1), st.integers(0, 10**6), st.sampled_from(SIGNAL_PUBLISH.rows))
def test_the_same_launch_chooses_the_same_environment(seed: int, index: int, row: Row) -> None:
    tuned = kept().environments
    first, again = (choose(generator(seed, row.name, index), row, tuned) for _ in range(2))
    assert first == again


def test_without_kept_environments_the_draws_are_fresh_or_dense() -> None:
    words = {choose(generator(1, "row", index), MUTANT, [])[1] for index in range(100)}
    assert words == {"fresh", "dense"}


# ---- the search -----------------------------------------------------------------------------


@dataclass
class SlopeBench:
    """Launches whose stale tiles grow with the ring and shrink with skew, as told by `stale`."""

    protocol: Protocol = SIGNAL_PUBLISH
    tuned: tuple[Environment, ...] = ()
    hidden: bool = False
    faulty: bool = False
    made: list[Knobs] = field(default_factory=list)

    def launch_in(self, row: Row, seed: int, index: int, knobs: Knobs, environment: str) -> Launch:
        """One launch of a thousand hand-overs."""
        self.made.append(knobs)
        assert environment == "search"
        stale = 0 if self.hidden else self.stale(knobs)
        broken = fault("threshold never reached") if self.faulty else None
        return launch(
            row.name,
            stale,
            observations=1000,
            planned=2000 if self.faulty else 1000,
            knobs=knobs.to_json(),
            seed=seed,
            index=index,
            fault=broken,
        )

    @staticmethod
    def stale(knobs: Knobs) -> int:
        """Up to 256 of a thousand, by three knobs."""
        return 2 * knobs.ring * (knobs.in_flight == 2) * (not knobs.prime_l1)


def found(bench: SlopeBench, seed: int = 3) -> Found:
    (one,) = search(cast("Bench", bench), [MUTANT], seed, draws=6, steps=30)
    return one


def test_a_search_climbs_to_what_is_seen_most_and_measures_it_anew() -> None:
    for seed in range(5):
        bench = SlopeBench()
        one = found(bench, seed)
        assert one.best is not None
        assert one.best.rate == 0.256
        assert one.best.launches == one.best.killed == EVIDENCE
        assert one.tried == 36
        assert one.before.launches == 6
        assert one.before.death_rate < one.best.death_rate
        # The evidence is of launches that no choice rested on.
        assert all(knobs.ring == 128 for knobs in bench.made[-EVIDENCE:])
        assert one.best.knobs.timeout_ms == Knobs().timeout_ms


def test_a_search_that_sees_nothing_keeps_nothing() -> None:
    one = found(SlopeBench(hidden=True))
    assert (one.best, one.tried, one.before.killed) == (None, 36, 0)


def test_a_search_ends_where_launches_end_in_faults() -> None:
    bench = SlopeBench(hidden=True, faulty=True)
    one = found(bench)
    assert one.fault == "threshold never reached"
    assert one.best is None
    assert len(bench.made) == 2


def test_a_step_changes_one_knob_or_two() -> None:
    start = Knobs()
    for index in range(100):
        rng = np.random.default_rng(index)
        step = changed(start, rng)
        names = [name for name in Knobs.names() if getattr(step, name) != getattr(start, name)]
        assert len(names) <= 2
        assert replace(step, **{name: getattr(start, name) for name in names}) == start
    assert draw(generator(0, "a", 0)) != start
