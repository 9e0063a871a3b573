"""A second engine agrees with the model: a logic program, written from the ISA, solved by clingo.

Both give every end of a program, registers and memory together, and the sets are equal: on random
programs of eight families under both readings of the async fence, and on every litmus file that the
logic program covers. Each of its rules is left out in turn, and then it is noticed.
"""

from __future__ import annotations

import csv
import random
import re
import time
from functools import cache
from pathlib import Path

import pytest
from asp_engine import Answer, NotCoveredError, outcomes, rules
from random_litmus import FAMILIES, draw

from sbo_verify.model.axioms import Orders
from sbo_verify.model.coherence import Chosen, choose_coherence
from sbo_verify.model.condition import (
    Both,
    Compare,
    Condition,
    Known,
    MemoryAt,
    Not,
    RegisterOf,
    terms,
)
from sbo_verify.model.litmus import read_file, read_text
from sbo_verify.model.program import Atomic, BulkCopy, Load, Local, Program
from sbo_verify.model.readings import AsyncFence, Reading
from sbo_verify.model.search import Budget, Meter, Search

LITMUS = Path(__file__).parent / "litmus"
SEEDS = 20
# Per seed, so that one seed takes a second or two.
DRAWS = dict.fromkeys(FAMILIES, 20) | {"branches": 10, "hand_overs": 25}

# What `asp_engine` refuses, and why.
COUNTED = {f"Barrier/quorum{name}" for name in ("1-fail", "2-hang", "2-pass", "3-fail", "3-pass")}
COUNTED |= {"Barrier/quorum4-fail"}
IN_A_REGISTER = {
    f"Manual/SB+named-bar-{name}" for name in ("dyn-reg-const", "reg-diff", "reg-equal")
} | {"Manual/SB+named-bar-sta-reg-const"}
LOOPS = {"Manual/MICRO24-Fig4b"} | {
    f"Manual/Ticketlock-{name}" for name in ("diff-gpu", "rel2rlx", "same-gpu")
}
BRANCH_BEFORE_BARRIER = {"Manual/XF-Barrier-weak"}
REFUSED = {
    "public": {
        f"{name}.litmus" for name in COUNTED | IN_A_REGISTER | LOOPS | BRANCH_BEFORE_BARRIER
    },
    "bulk": set[str](),
}


def everything(program: Program) -> tuple[RegisterOf | MemoryAt, ...]:
    """Every register that an instruction sets, and every memory."""
    registers = {
        RegisterOf(thread, ins.register): None
        for thread, column in enumerate(program.threads)
        for ins in column.instructions
        if isinstance(ins, (Load, Atomic, Local)) and ins.register is not None
    }
    memories = {MemoryAt(place.memory): None for place in program.locations.values()}
    return (*registers, *memories)


class Collector:
    """Stands in for the choice of a coherence order: finds every end, and none that it has."""

    def __init__(self, program: Program) -> None:
        self.terms = everything(program)
        self.memories = [term for term in self.terms if isinstance(term, MemoryAt)]
        self.found: set[tuple[int, ...]] = set()

    def __call__(self, orders: Orders, condition: Condition, known: Known) -> Chosen | None:
        """Never a witness, so that the search goes on to its end."""
        ends = [dict(zip(self.terms, end, strict=True)) for end in self.found]
        alike = [end for end in ends if all(end[term] == known[term] for term in known)]
        new = [condition, *map(self.other_than, alike)]
        while chosen := choose_coherence(orders, Both(tuple(new)), known):
            self.found.add(tuple(chosen[1][term] for term in self.terms))
            new.append(self.other_than(chosen[1]))
        return None

    def other_than(self, end: Known) -> Condition:
        """Another memory than this one at the end."""
        return Not(Both(tuple(Compare(term, "==", end[term]) for term in self.memories)))


def of_the_model(program: Program) -> Answer:
    """The same answer by the model's search."""
    ends = {}
    bulk = any(
        isinstance(ins, BulkCopy) for thread in program.threads for ins in thread.instructions
    )
    for choice in AsyncFence if bulk else [AsyncFence.STRICT]:
        collector = Collector(program)
        # True of every execution; it names the terms so that their values are followed.
        asked = Both(tuple(Compare(term, "!=", 10**6) for term in collector.terms))
        meter = Meter(Budget(seconds=1e9, candidates=1 << 60), time.perf_counter())
        search = Search(program, asked, Reading(async_fence=choice), meter, collector)
        assert list(search.witnesses()) == []
        assert not search.incomplete
        ends[choice] = frozenset(collector.found)
    # Without bulk copies there is nothing that the readings differ about.
    return Answer(
        everything(program),
        {choice: ends.get(choice, ends[AsyncFence.STRICT]) for choice in AsyncFence},
    )


def drawn(family: str, number: int) -> str:
    """The text of one random program; the number is its seed."""
    return draw(random.Random(f"{family}-{number}"), family)


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("seed", range(SEEDS))
def test_both_engines_give_a_random_program_the_same_ends(family: str, seed: int) -> None:
    for number in range(seed * DRAWS[family], (seed + 1) * DRAWS[family]):
        text = drawn(family, number)
        program = read_text(text)
        assert outcomes(program, everything(program)) == of_the_model(program), text


def test_three_thousand_programs_are_compared_and_most_have_several_ends() -> None:
    """Programs with one end alone could hardly tell two models apart."""
    assert sum(DRAWS[family] for family in FAMILIES) * SEEDS >= 3000
    several = 0
    for family in FAMILIES:
        for number in range(10):
            program = read_text(drawn(family, number))
            several += len(outcomes(program, everything(program)).outcomes[AsyncFence.STRICT]) > 1
    assert several > 10 * len(FAMILIES) / 2


def test_the_readings_of_the_async_fence_differ_on_some_random_programs() -> None:
    """Otherwise comparing both would compare one of them twice."""
    different = 0
    for number in range(200):
        program = read_text(drawn("hand_overs", number))
        answer = outcomes(program, everything(program))
        different += answer.outcomes[AsyncFence.STRICT] != answer.outcomes[AsyncFence.LENIENT]
    assert different > 0


@cache
def expected(folder: str) -> dict[str, dict[str, str]]:
    with (LITMUS / folder / "expected.csv").open(encoding="utf-8") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("folder", ["public", "bulk"])
def test_the_logic_program_gives_every_litmus_file_the_listed_verdict(folder: str) -> None:
    refused = set()
    for name, row in expected(folder).items():
        program = read_file(LITMUS / folder / name)
        try:
            answer = outcomes(program, dict.fromkeys(terms(program.condition)))
        except NotCoveredError:
            refused.add(name)
            continue
        strict = row["condition_holds"] == "1"
        lenient = row.get("lenient", row["condition_holds"]) == "1"
        assert answer.condition_holds(program, AsyncFence.STRICT) == strict, name
        assert answer.condition_holds(program, AsyncFence.LENIENT) == lenient, name
    assert refused == REFUSED[folder]


def test_both_engines_give_every_small_litmus_file_the_same_ends() -> None:
    """Stronger than the verdicts, which ask for one end."""
    compared = 0
    for folder in ("public", "bulk"):
        for name in sorted(set(expected(folder)) - REFUSED[folder]):
            program = read_file(LITMUS / folder / name)
            assert outcomes(program, everything(program)) == of_the_model(program), name
            compared += 1
    assert compared >= 180


# For every rule of the logic program a case that ends otherwise without it: a litmus file, or one
# of the programs below, written for a rule that no file needs.
NOTICED_BY = {
    "bulk/readback-no_wait": (
        "base causality: program order",
        "bulk copies come after their issue",
        "proxy fence: in the CTA of the access",
        "proxy fence before an access",
        "proxy-preserved: generic, or with proxy fences",
        "causality: base causality",
        "coherence: initial value",
        "axiom: causality, overwritten",
    ),
    "bulk/readback-full_wait": (
        "wait_group: destinations written",
        "wait_group: completion observed",
        "base causality: synchronizes",
        "base causality: followed by program order",
        "proxy fence behind an access",
    ),
    "bulk/full_wait-barrier-other_thread_reads": (
        "synchronizes: barriers",
        "base causality: followed by synchronizes",
    ),
    "bulk/mp-full_wait-release": (
        "morally strong: scopes",
        "morally strong: memory operations",
        "release pattern: operation",
        "acquire pattern: operation",
        "observation: morally strong",
        "synchronizes: patterns",
    ),
    "bulk/mp-full_wait-fence_sc-red": ("morally strong: fences", "release pattern: fence, write"),
    "bulk/mp-poll_relaxed-fence_acquire": (
        "morally strong: operation and fence",
        "acquire pattern: read, fence",
    ),
    "bulk/mp-chain_of_reds": (
        "observation: atomics",
        "coherence: morally strong",
        "axiom: atomicity",
    ),
    "bulk/source-reused_after_read_wait": (
        "wait_group: sources read",
        "axiom: causality, later write",
    ),
    "bulk/destination-two_copies-full_wait_between": (
        "proxy-preserved: same proxy and CTA",
        "axiom: coherence",
    ),
    "bulk/load-after_acquire-no_fence": (
        "mbarrier: the copy comes before complete-tx",
        "mbarrier: complete-tx observed",
    ),
    "bulk/load-fence_by_the_writer_only": ("proxy fence: anywhere, async proxy, lenient",),
    "bulk/load-of_a_bulk_store-no_fence": ("proxy-preserved: async, lenient",),
    "bulk/load-arrival_orders_the_thread": ("synchronizes: mbarrier",),
    "bulk/observation-weak_read_behind_strong_read": ("causality: observation",),
    "public/Manual/SB+sc-gpu-multiFence-TotalOrder": ("fence-sc order", "synchronizes: fence.sc"),
    "public/Nvidia/proxy/Proxy-MP-Alias+diffProxy-aliasFence+proxyFence-correctThread": (
        "proxy-preserved: aliases",
    ),
    "load_buffering": ("no thin air",),
    "release_then_write": ("release pattern: operation, write",),
    "read_then_acquire": ("acquire pattern: read, operation",),
    "reduction_before_store": ("wait_group: the old value of a reduction read",),
    "coherence_by_a_third_write": ("coherence: transitive",),
}

WRITTEN = {
    "release_then_write": """
 P0@cta 0,gpu 0 | P1@cta 1,gpu 0 ;
 st.weak x, 1 | ld.acquire.gpu r0, y ;
 st.release.gpu y, 1 | ld.weak r1, x ;
 st.relaxed.gpu y, 2 | ;""",
    "read_then_acquire": """
 P0@cta 0,gpu 0 | P1@cta 1,gpu 0 | P2@cta 2,gpu 0 ;
 st.weak x, 1 | ld.relaxed.gpu r0, y | st.relaxed.gpu y, 2 ;
 st.release.gpu y, 1 | ld.acquire.gpu r1, y | ;
 | ld.weak r2, x | ;""",
    "reduction_before_store": """
 P0@cta 0,gpu 0 | P1@cta 1,gpu 0 ;
 cp.reduce.async.bulk.global.shared::cta.bulk_group.add x, s | ld.weak r0, x ;
 cp.async.bulk.commit_group | ;
 cp.async.bulk.wait_group 0 | ;
 st.weak x, 5 | ;""",
    "coherence_by_a_third_write": """
 P0@cta 0,gpu 0 | P1@cta 1,gpu 0 ;
 st.weak x, 1 | st.relaxed.gpu x, 3 ;
 st.relaxed.gpu x, 2 | ld.weak r0, x ;""",
    "load_buffering": """
 P0@cta 0,gpu 0 | P1@cta 1,gpu 0 ;
 ld.weak r0, x | ld.weak r1, y ;
 st.weak y, r0 | st.weak x, r1 ;""",
}

# Without the rule no read has a value at all; in its place a read guesses one.
GUESS = """1 { value(R,V) : domain(V) } 1 :- reads(R), happens(R).
:- rf(W,R), value(R,V), not value(W,V)."""


def case(name: str) -> Program:
    """A litmus file without its ending, or one of the programs above."""
    if name in WRITTEN:
        declared = "{\nx = 0; y = 0; shared s = 1;\n}"
        return read_text(f"PTX {name}\n{declared}{WRITTEN[name]}\nexists (x == 0)\n")
    return read_file(LITMUS / f"{name}.litmus")


def without(rule: str, mark: str = "%-", instead: str = "") -> str:
    """The logic program with the statement behind `mark rule` replaced."""
    pattern = re.compile(rf"^{mark} {re.escape(rule)}\n.*?\.$", re.MULTILINE | re.DOTALL)
    changed, count = pattern.subn(lambda _: instead, rules())
    assert count == 1, rule
    return changed


def marked(mark: str) -> list[str]:
    """The names behind a mark."""
    return re.findall(rf"^{mark} (.*)$", rules(), re.MULTILINE)


@pytest.mark.parametrize("name", sorted(NOTICED_BY))
def test_a_rule_left_out_disagrees_with_the_model(name: str) -> None:
    program = case(name)
    right = of_the_model(program)
    assert outcomes(program, everything(program)) == right
    for rule in NOTICED_BY[name]:
        logic = without(rule, instead=GUESS if rule == "no thin air" else "")
        assert outcomes(program, everything(program), logic) != right, rule


def test_every_rule_of_the_logic_program_is_left_out_once() -> None:
    assert sorted(rule for group in NOTICED_BY.values() for rule in group) == sorted(marked("%-"))


def test_a_rule_that_is_called_implied_changes_no_end_of_the_litmus_files() -> None:
    implied = marked("%=")
    assert len(implied) == 7
    for rule in implied:
        logic = without(rule, "%=")
        for name in (*NOTICED_BY, "public/Memalloy/IRRWIW_uniproc", "bulk/reduce-two_reductions"):
            program = case(name)
            terms_of = everything(program)
            assert outcomes(program, terms_of, logic) == outcomes(program, terms_of), (rule, name)


def test_the_logic_program_knows_message_passing() -> None:
    """An engine that allows, or forbids, everything would agree with nothing."""
    for data, flag, far, stale in (
        ("st.release.gpu", "ld.acquire.gpu", 0, False),
        ("st.release.gpu", "ld.acquire.gpu", 1, True),
        ("st.release.gpu", "ld.relaxed.gpu", 0, True),
        ("st.relaxed.gpu", "ld.acquire.gpu", 0, True),
        ("st.release.sys", "ld.acquire.sys", 1, False),
    ):
        text = (
            "PTX mp\n{\nx = 0; y = 0;\n}\n"
            f" P0@cta 0,gpu 0 | P1@cta 1,gpu {far} ;\n st.weak x, 1 | {flag} r0, y ;\n"
            f" {data} y, 1 | ld.weak r1, x ;\nexists (x == 0)\n"
        )
        answer = outcomes(read_text(text), (RegisterOf(1, "r0"), RegisterOf(1, "r1")))
        expected_ends = {(0, 0), (0, 1), (1, 1)} | ({(1, 0)} if stale else set())
        assert answer.outcomes == dict.fromkeys(AsyncFence, frozenset(expected_ends))


def test_a_wait_for_a_copy_that_is_issued_behind_it_has_no_end_in_either_engine() -> None:
    copy = "cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes s, x, m"
    lines = ["mbarrier.arrive.expect_tx m", "mbarrier.try_wait m", copy]
    for order, ends in ((lines, 0), ([lines[0], copy, lines[1]], 1)):
        body = "".join(f" {line} ;\n" for line in order)
        text = (
            f"PTX hang\n{{\nshared s = 0; global x = 1; mbarrier m;\n}}\n P0@cta 0,gpu 0 ;\n{body}"
        )
        program = read_text(f"{text}exists (s == 0)\n")
        answer = outcomes(program, everything(program))
        assert answer == of_the_model(program)
        assert len(answer.outcomes[AsyncFence.STRICT]) == ends


REFUSALS = {
    "bar.cta.sync 1, 1, 2": "a barrier with a thread count",
    "LC00: ;\n goto LC00": "a loop",
    "div r0, 4, 2": "the operation div",
    "fence.acq_rel.cta ;\n mbarrier.arrive.relaxed.cta m": "a relaxed arrival or wait beside",
    "beq r0, 0, LC00 ;\n LC00: ;\n bar.cta.sync 1": "a branch in a thread with barriers",
    "st.weak x, 99": "values up to 99, 64 are covered",
    "mbarrier.arrive m ;\n mbarrier.arrive m": "more arrivals than its phase takes",
    "fence.proxy.async.global ;\n cp.async.bulk.global.shared::cta.bulk_group x, x": "with none",
}


@pytest.mark.parametrize("instructions", sorted(REFUSALS))
def test_a_program_that_no_rule_covers_is_refused_with_the_reason(instructions: str) -> None:
    text = (
        f"PTX t\n{{\nx = 0; mbarrier m;\n}}\n P0@cta 0,gpu 0 ;\n {instructions} ;\nexists (x == 0)"
    )
    with pytest.raises(NotCoveredError, match=REFUSALS[instructions]):
        outcomes(read_text(text), ())
