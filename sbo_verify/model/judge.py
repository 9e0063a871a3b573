"""The answer of the model level: a verdict for a variant, or for a litmus file.

A variant is Forbidden where no query finds a stale read and every search was complete, Allowed
where one does, and unknown otherwise. It is judged under every reading of what the ISA leaves
open; the verdict is that of the default reading.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sbo_verify import protocol
from sbo_verify.model import explain
from sbo_verify.model.condition import Not
from sbo_verify.model.gaps import USED_BEFORE_COMPLETE
from sbo_verify.model.hand_over import FRESH, queries
from sbo_verify.model.litmus import read_file
from sbo_verify.model.liveness import Liveness, liveness_of
from sbo_verify.model.program import Program
from sbo_verify.model.query import Query
from sbo_verify.model.readings import DEFAULT, OF_SAFETY, Reading, matter, varied
from sbo_verify.model.search import Budget, Outcome, find, goal
from sbo_verify.model.steps import Edge, Step
from sbo_verify.protocol import UnknownNameError, Variant
from sbo_verify.protocols.signal_publish.sites import SITES, SignalPublish, refusals
from sbo_verify.protocols.signal_publish.steps import steps
from sbo_verify.verdict import ModelVerdict
from sbo_verify.vocabulary import Kind

OUTSIDE = "ld.global.nc is outside the model; counted as Allowed (PTX ISA, ld.global.nc)"


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What the model says of one variant.

    `witness` is the execution with the stale read and `missing` the orderings that it shows to be
    missing, for Allowed; `chains` are the edges that order the tile's store before each read asked
    about, and `ordering` the same in sentences, for Forbidden. `readings` maps every reading of
    what the ISA leaves open to its verdict. `candidates` counts the executions looked at.
    """

    verdict: ModelVerdict
    complete: bool
    seconds: float
    witness: list[Step] | None
    missing: list[str]
    ordering: list[str]
    readings: dict[str, str]
    question: str = ""
    chains: dict[str, list[Edge]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    candidates: int = 0

    @property
    def depends_on_reading(self) -> bool:
        """True where another reading of the ISA leads to another verdict."""
        return len(set(self.readings.values())) > 1

    def to_json(self) -> dict[str, Any]:
        """Plain data for a record."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class LitmusAnswer:
    """What the model says of one litmus file.

    `condition_holds` is None where the budget ran out before an answer. A witness is an execution
    that ends in the condition, or for `forall` one that refutes it. `liveness` is the other
    question: can a thread spin, or wait at a barrier, for ever?
    """

    file: str
    name: str
    quantifier: str
    condition_holds: bool | None
    complete: bool
    seconds: float
    witness: list[Step] | None
    readings: dict[str, bool | None]
    liveness: Liveness
    candidates: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain data: file, condition_holds, complete, seconds, witness and the rest."""
        return asdict(self)


def judge(  # noqa: PLR0913 - the program, its setting and how long to look
    protocol_name: str,
    variant: Variant,
    *,
    budget: Budget | None = None,
    producers: int = 1,
    consumer_gpu: int = 0,
    given: Sequence[protocol.Step] | None = None,
) -> ModelAnswer:
    """The model's answer for a variant of the protocol of that name.

    `producers` CTAs of GPU 0 add to the signal; the consumer runs on GPU `consumer_gpu`; the steps
    are the declared ones, or those `given`. Raises `UnknownNameError` for a protocol that the model
    has no translation of, and as `queries` does.
    """
    started = time.perf_counter()
    if protocol_name != "signal_publish" or not isinstance(variant, SignalPublish):
        message = f"the model has no translation of {protocol_name!r}; it knows: signal_publish"
        raise UnknownNameError(message)
    asked = list(queries(variant, producers=producers, consumer_gpu=consumer_gpu, given=given))
    budget = budget or Budget()
    outcome, query = _first_stale(asked, DEFAULT, budget)
    verdict = verdict_of(outcome)
    looked_at = {name for each in asked for name in matter(each.program)}
    options = tuple(name for name in OF_SAFETY if name in looked_at)
    readings = {DEFAULT.named(options): verdict.value}
    for reading in varied(options)[1:]:
        other = verdict_of(_first_stale(asked, reading, budget)[0])
        readings[reading.named(options)] = other.value
    witness = outcome.witness
    missing: list[str] = []
    program = steps(variant) if given is None else given
    loads = {each.kind for step in program for each in step.instructions}
    notes = [OUTSIDE] if Kind.LOAD_NC in loads else []
    if witness:
        if explain.used_before_complete(witness, query.asked_thread, query.register, FRESH):
            notes.append(USED_BEFORE_COMPLETE.sentence)
        gaps = explain.missing(witness, query.asked_thread, query.register, FRESH)
        missing = list(dict.fromkeys(gaps))
    chains: dict[str, list[Edge]] = {}
    if verdict is ModelVerdict.FORBIDDEN:
        chains = {q.name: chain for q in asked for chain in [ordering_chain(q)] if chain}
    return ModelAnswer(
        verdict=verdict,
        complete=outcome.complete,
        seconds=time.perf_counter() - started,
        witness=explain.steps(witness) if witness else None,
        missing=missing,
        ordering=[str(edge) for chain in chains.values() for edge in chain],
        readings=readings,
        question=query.name if witness else "",
        chains=chains,
        notes=notes,
        candidates=outcome.candidates,
    )


def judge_litmus(path: Path, budget: Budget | None = None) -> LitmusAnswer:
    """The model's answer for a litmus file; raises `LitmusError` where it is malformed."""
    program = read_file(path)
    return judge_program(program, str(path), budget)


def judge_program(program: Program, file: str = "", budget: Budget | None = None) -> LitmusAnswer:
    """Does the program's condition hold, as `exists`, `~exists` or `forall` has it?"""
    budget = budget or Budget()
    outcome = find(program, goal(program), budget=budget)
    options = matter(program)
    readings = {DEFAULT.named(options): _holds(program, outcome)}
    for reading in varied(options)[1:]:
        other = find(program, goal(program), reading=reading, budget=budget)
        readings[reading.named(options)] = _holds(program, other)
    return LitmusAnswer(
        file=file,
        name=program.name,
        quantifier=program.quantifier,
        condition_holds=_holds(program, outcome),
        complete=outcome.complete,
        seconds=outcome.seconds,
        witness=explain.steps(outcome.witness) if outcome.witness else None,
        readings=readings,
        liveness=liveness_of(program, budget),
        candidates=outcome.candidates,
    )


def _holds(program: Program, outcome: Outcome) -> bool | None:
    if outcome.witness is not None:
        return program.quantifier == "exists"
    return program.quantifier != "exists" if outcome.complete else None


def verdict_of(outcome: Outcome) -> ModelVerdict:
    """Allowed with a witness, Forbidden after a complete search, else unknown."""
    if outcome.witness is not None:
        return ModelVerdict.ALLOWED
    return ModelVerdict.FORBIDDEN if outcome.complete else ModelVerdict.UNKNOWN


def verdict_of_queries(
    asked: list[Query], reading: Reading, budget: Budget | None = None
) -> ModelVerdict:
    """The verdict of a variant whose queries are given, under one reading."""
    return verdict_of(_first_stale(asked, reading, budget or Budget())[0])


def _first_stale(asked: list[Query], reading: Reading, budget: Budget) -> tuple[Outcome, Query]:
    """The first query with a stale read; without one, an outcome that stands for all of them."""
    complete, candidates, seconds = True, 0, 0.0
    for query in asked:
        outcome = find(query.program, query.program.condition, reading=reading, budget=budget)
        candidates += outcome.candidates
        seconds += outcome.seconds
        complete &= outcome.complete
        if outcome.witness is not None:
            return replace(outcome, candidates=candidates, seconds=seconds), query
    return Outcome(None, complete, candidates, seconds), asked[-1]


def ordering_chain(query: Query) -> list[Edge]:
    """The edges that order the tile's store before the read of `query`, back to its first writer.

    Taken from an execution in which the read is fresh. Empty where some link has no such order.
    """
    fresh = find(query.program, Not(query.program.condition)).witness
    if fresh is None:
        return []
    links: list[list[Edge]] = []
    for write, read in explain.links(fresh, query.asked_thread, query.register):
        link = explain.causal_chain(fresh.orders, write, read)
        if not link:
            return []
        links.append(link)
    return [edge for link in reversed(links) for edge in link]


def single_changes(variant: SignalPublish) -> dict[str, ModelVerdict]:
    """The verdict after every change of a single site, as `site=choice`."""
    changed = {}
    for site, kind in SITES.items():
        for choice in kind:
            other = variant.with_choices(**{site: choice})
            if other != variant and not refusals(other):
                changed[f"{site}={choice.word}"] = judge("signal_publish", other).verdict
    return changed
