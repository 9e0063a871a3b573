"""Random small programs for tests of the model: two or three threads, two locations."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A program: a (cta, gpu) for every thread, and its instructions as text."""

    places: tuple[tuple[int, int], ...]
    threads: tuple[tuple[str, ...], ...]

    def text(self) -> str:
        """The litmus text."""
        head = " | ".join(f"P{i}@cta {c},gpu {g}" for i, (c, g) in enumerate(self.places))
        height = max(map(len, self.threads))
        rows = [" | ".join(t[r] if r < len(t) else "" for t in self.threads) for r in range(height)]
        body = " ;\n".join([head, *rows])
        return f"PTX case\n{{\nx = 0; y = 0;\n}}\n {body} ;\nexists (x == 0)\n"


def draw(rng: random.Random) -> Case:
    """A random program of two or three threads; the kinds of instruction are drawn per program."""
    places = tuple(
        (rng.randrange(2), int(rng.random() < 0.15)) for _ in range(rng.choice((2, 2, 3)))
    )
    kinds = ["ld", "st", "fence", *rng.choices(["atom", "bulk", "ld", "st"], k=2)]
    writes = {"x": 0, "y": 0}
    budget = rng.randint(3, 6)
    threads: list[list[str]] = [[] for _ in places]
    register = 0
    for _ in range(budget):
        thread = threads[rng.randrange(len(threads))]
        loc, scope = rng.choice("xy"), rng.choice(("cta", "gpu", "sys"))
        kind = rng.choice(kinds)
        if kind in {"st", "atom", "bulk"} and writes[loc] >= 3:
            kind = "ld"
        if kind == "ld":
            form = rng.choice(("weak", f"relaxed.{scope}", f"acquire.{scope}"))
            thread.append(f"ld.{form} r{register}, {loc}")
            register += 1
        elif kind == "fence":
            form = rng.choice(("sc", "acq_rel", "acquire", "release"))
            thread.append(rng.choice((f"fence.{form}.{scope}", "fence.proxy.async")))
        elif kind == "st":
            writes[loc] += 1
            form = rng.choice(("weak", f"relaxed.{scope}", f"release.{scope}"))
            thread.append(f"st.{form} {loc}, {rng.randint(1, 2)}")
        elif kind == "atom":
            writes[loc] += 1
            order = rng.choice(("relaxed", "acquire", "release", "acq_rel"))
            thread.append(f"atom.{order}.{scope}.add r{register}, {loc}, 1")
            register += 1
        else:
            writes[loc] += 1
            other = "y" if loc == "x" else "x"
            thread.append(f"cp.async.bulk.global.shared::cta.bulk_group {loc}, {other}")
            thread.append("cp.async.bulk.commit_group")
            if rng.random() < 0.7:
                thread.append(f"cp.async.bulk.wait_group{rng.choice(('', '.read'))} 0")
    return Case(places, tuple(map(tuple, threads)))
