"""Litmus files with a few random changes: programs that stand near the border of a rule.

An instruction is left out, exchanged with the next, put into another place, given another scope or
another order; a thread is moved. What is no program any more is left to the caller to pass over.
"""

from __future__ import annotations

import random
from dataclasses import replace

from sbo_verify.model.events import Placement
from sbo_verify.model.litmus import write_text
from sbo_verify.model.program import Instruction, Program

SCOPES = (".cta", ".cluster", ".gpu", ".sys")
WORDS = (
    (".acquire", ".relaxed"),
    (".release", ".relaxed"),
    (".relaxed", ".acquire"),
    (".relaxed", ".release"),
    (".acq_rel", ".relaxed"),
    (".sc", ".acq_rel"),
    (".weak", ".relaxed.gpu"),
    (".weak", ".volatile"),
    (".read", ""),
    ("wait_group 0", "wait_group 1"),
    ("proxy.async", "proxy.alias"),
    ("async.global", "async"),
    ("proxy.surface", "proxy.texture"),
)


def reworded(rng: random.Random, text: str) -> str:
    """The instruction with another scope or another order, if it has one."""
    scopes = [scope for scope in SCOPES if scope in text]
    words = [pair for pair in WORDS if pair[0] in text]
    if scopes and rng.random() < 0.5:
        return text.replace(scopes[0], rng.choice(SCOPES))
    return text.replace(*rng.choice(words)) if words else text


def changed(rng: random.Random, columns: list[list[Instruction]]) -> None:
    """Change one instruction of one thread."""
    column = rng.choice([each for each in columns if each])
    at = rng.randrange(len(column))
    kind = rng.choice(("left out", "exchanged", "reworded", "reworded", "copied"))
    if kind == "left out":
        del column[at]
    elif kind == "exchanged":
        column[at : at + 2] = reversed(column[at : at + 2])
    elif kind == "reworded":
        column[at] = replace(column[at], text=reworded(rng, column[at].text))
    else:
        target = rng.choice(columns)
        target.insert(rng.randint(0, len(target)), column[at])


def moved(rng: random.Random, place: Placement) -> Placement:
    """The thread in another CTA or on another GPU."""
    if rng.random() < 0.7:
        return replace(place, cta=rng.randrange(2))
    return replace(place, gpu=rng.randrange(2))


def vary(rng: random.Random, program: Program) -> str:
    """The litmus text of the program with one to three changes."""
    columns = [list(thread.instructions) for thread in program.threads]
    places = [thread.placement for thread in program.threads]
    for _ in range(rng.choice((1, 1, 2, 3))):
        if rng.random() < 0.1 or not any(columns):
            number = rng.randrange(len(places))
            places[number] = moved(rng, places[number])
        else:
            changed(rng, columns)
    threads = (
        replace(thread, instructions=tuple(column), placement=place)
        for thread, column, place in zip(program.threads, columns, places, strict=True)
    )
    return write_text(replace(program, threads=tuple(threads)))
