"""Random litmus texts over every instruction that both engines have: one family of draws each.

A family says what a program is made of; within it the kinds of instruction are drawn per program,
some left out entirely, so that what remains meets more often.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

SCOPES = ("cta", "cluster", "gpu", "sys")
STORE = "cp.async.bulk.global.shared::cta.bulk_group"
LOAD = "cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes"
REDUCE = "cp.reduce.async.bulk.global.shared::cta.bulk_group"
# A memory has no more writes than this: coherence orders grow as a factorial.
MOST_WRITES = 3
# A program has no more additions than this: each adds any sum of the others to what may be read.
MOST_ADDITIONS = 2


@dataclass
class Draft:
    """A program while it is drawn: declarations, places, instructions."""

    rng: random.Random
    declared: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    threads: list[list[str]] = field(default_factory=list)
    registers: int = 0
    writes: dict[str, int] = field(default_factory=dict)
    additions: int = 0
    last_read: dict[int, str] = field(default_factory=dict)

    def register(self, thread: int) -> str:
        """A new register, which later stores of the thread may store."""
        self.last_read[thread] = f"r{self.registers}"
        self.registers += 1
        return self.last_read[thread]

    def value(self, thread: int) -> str:
        """A constant, or what the thread read last."""
        known = self.last_read.get(thread)
        return known if known and self.rng.random() < 0.25 else str(self.rng.randint(1, 2))

    def may_write(self, memory: str) -> bool:
        """Count a write of `memory`, if it may have one more."""
        self.writes[memory] = self.writes.get(memory, 0) + 1
        return self.writes[memory] <= MOST_WRITES

    def may_add(self) -> bool:
        """Count an addition, if there may be one more."""
        self.additions += 1
        return self.additions <= MOST_ADDITIONS

    def text(self) -> str:
        """The litmus text; its condition is of no interest."""
        heads = [f"P{number}@{place}" for number, place in enumerate(self.places)]
        height = max(map(len, self.threads))
        rows = [[t[row] if row < len(t) else "" for t in self.threads] for row in range(height)]
        body = "\n".join(f" {' | '.join(row)} ;" for row in [heads, *rows])
        lines = "\n".join(f"{line};" for line in self.declared)
        return f"PTX drawn\n{{\n{lines}\n}}\n{body}\nexists (x == 0)\n"


def ordering(rng: random.Random, *orders: str) -> str:
    """A qualifier: weak and volatile without scope, the others with one."""
    order = rng.choice(orders)
    return order if order in {"weak", "volatile"} else f"{order}.{rng.choice(SCOPES)}"


def load(draft: Draft, thread: int, address: str, name: str = "ld") -> str:
    """A load of any strength."""
    form = ordering(draft.rng, "weak", "weak", "relaxed", "acquire", "acquire", "volatile")
    return f"{name}.{form} {draft.register(thread)}, {address}"


def store(draft: Draft, thread: int, address: str, name: str = "st") -> str:
    """A store of any strength, of a constant or of what was read."""
    form = ordering(draft.rng, "weak", "weak", "relaxed", "release", "release", "volatile")
    return f"{name}.{form} {address}, {draft.value(thread)}"


def atomic(draft: Draft, thread: int, address: str, proxy: str = "") -> str:
    """An atomic or a reduction: add, exch, cas, and now and then another operation."""
    rng = draft.rng
    form = ordering(rng, "relaxed", "acquire", "release", "acq_rel")
    adds = draft.may_add()
    kind = rng.choice(
        ("add", "add", "exch", "cas", "red", "red", "max") if adds else ("exch", "cas")
    )
    if kind == "red":
        return f"{proxy}red.{form}.add {address}, {rng.randint(1, 2)}"
    operands = f"{rng.randint(0, 1)}, {rng.randint(1, 2)}" if kind == "cas" else draft.value(thread)
    return f"{proxy}atom.{form}.{kind} {draft.register(thread)}, {address}, {operands}"


def fence(draft: Draft) -> str:
    """A fence of any order and scope."""
    form = draft.rng.choice(("sc", "sc", "acq_rel", "acquire", "release"))
    return f"fence.{form}.{draft.rng.choice(SCOPES)}"


def async_fence(draft: Draft) -> str:
    """`fence.proxy.async`, now and then of one state space."""
    return f"fence.proxy.async{draft.rng.choice(('', '', '.global', '.shared::cta'))}"


def places(draft: Draft, most: int) -> None:
    """Two to `most` threads, near each other and far; clusters and warps in some programs."""
    rng = draft.rng
    clustered = rng.random() < 0.4
    for _ in range(rng.randint(2, most)):
        words = [f"warp {rng.randrange(2)}", f"cta {rng.choice((0, 0, 1))}"]
        if clustered:
            words.append(f"cluster {int(rng.random() < 0.3)}")
        words.append(f"gpu {int(rng.random() < 0.12)}")
        draft.places.append(",".join(words))
        draft.threads.append([])


def generic(draft: Draft) -> None:
    """Loads, stores, atomics and fences of the generic proxy."""
    places(draft, 3)
    draft.declared = ["x = 0", "y = 0"]
    kinds = ["ld", "st", *draft.rng.choices(["ld", "st", "atom", "atom", "fence"], k=3)]
    for _ in range(draft.rng.randint(4, 7)):
        thread, address = draft.rng.randrange(len(draft.threads)), draft.rng.choice("xy")
        draft.threads[thread].append(plain(draft, thread, address, draft.rng.choice(kinds)))


def plain(draft: Draft, thread: int, address: str, kind: str, memory: str = "") -> str:
    """An instruction of the generic proxy; a load in place of one write too many."""
    if kind == "fence":
        return fence(draft)
    if kind in {"st", "atom"} and draft.may_write(memory or address):
        return (store if kind == "st" else atomic)(draft, thread, address)
    return load(draft, thread, address)


def message(draft: Draft) -> None:
    """Data, then a signal, then its reader, and one more instruction anywhere."""
    rng = draft.rng
    places(draft, 3)
    draft.declared = ["x = 0", "y = 0"]
    signal = rng.choice(
        (
            [store(draft, 0, "y")],
            [fence(draft), f"st.{ordering(rng, 'relaxed', 'weak')} y, 1"],
            [atomic(draft, 0, "y")],
            [fence(draft), f"red.{ordering(rng, 'relaxed')}.add y, 1"],
        )
    )
    draft.threads[0] += [f"st.{ordering(rng, 'weak', 'relaxed')} x, 1", *signal]
    reader = rng.choice(
        (
            [load(draft, 1, "y")],
            [f"ld.{ordering(rng, 'relaxed')} {draft.register(1)}, y", fence(draft)],
            [atomic(draft, 1, "y")],
            [atomic(draft, 1, "y"), fence(draft)],
        )
    )
    draft.threads[1] += [*reader, f"ld.weak {draft.register(1)}, x"]
    last = len(draft.threads) - 1
    kind = rng.choice(("st", "atom", "fence", "ld"))
    extra = plain(draft, last, rng.choice("xy"), kind)
    draft.threads[last].insert(rng.randint(0, len(draft.threads[last])), extra)


def barriers(draft: Draft) -> None:
    """Threads that meet: at CTA, cluster and warp barriers, arrivals and waits."""
    rng = draft.rng
    places(draft, 3)
    draft.declared = ["x = 0", "y = 0"]
    for _ in range(rng.randint(3, 5)):
        thread, address = rng.randrange(len(draft.threads)), rng.choice("xy")
        kind = rng.choice(("ld", "ld", "st", "st", "atom"))
        draft.threads[thread].append(plain(draft, thread, address, kind))
    for _ in range(rng.choice((1, 1, 2))):
        split = rng.random() < 0.5
        unit = rng.choice(("cta", "cta", "cluster", "warp"))
        arrival = f"barrier.cluster.arrive{rng.choice(('', '', '.relaxed'))}"
        both = {
            "cta": ["bar.cta.sync 1"],
            "cluster": [arrival, "barrier.cluster.wait"],
            "warp": ["bar.warp.sync"],
        }[unit]
        for column in draft.threads:
            alone = unit == "cta" and split and rng.random() < 0.3
            if rng.random() < 0.85:
                put(rng, column, ["bar.cta.arrive 1"] if alone else both)


def put(rng: random.Random, thread: list[str], instructions: list[str]) -> None:
    """Put instructions into a thread, in their order, at random places."""
    spots = sorted(rng.randint(0, len(thread)) for _ in instructions)
    for shift, (spot, instruction) in enumerate(zip(spots, instructions, strict=True)):
        thread.insert(spot + shift, instruction)


def groups(draft: Draft) -> None:
    """Bulk stores and reductions in groups, waits for all or all but some of them."""
    rng = draft.rng
    places(draft, 2 if rng.random() < 0.6 else 3)
    draft.declared = ["shared s = 1", "global x = 0", "global y = 0"]
    issuer = draft.threads[0]
    for _ in range(rng.choice((1, 1, 2, 2, 3))):
        target = rng.choice("xxy")
        source = rng.choice(("s", "s", "s", "y"))
        if source == target or not draft.may_write(target):
            continue
        reduces = rng.random() < 0.3 and draft.may_add()
        issuer.append(f"{f'{REDUCE}.add' if reduces else STORE} {target}, {source}")
        if rng.random() < 0.9:
            issuer.append("cp.async.bulk.commit_group")
    wait = f"cp.async.bulk.wait_group{rng.choice(('', '', '.read'))} {rng.choice((0, 0, 1, 2))}"
    if rng.random() < 0.8:
        place = len(issuer) if rng.random() < 0.7 else rng.randint(0, len(issuer))
        issuer.insert(place, wait)
    extras(draft, ["s", "x", "y"])
    if rng.random() < 0.3:
        for thread in draft.threads:
            put(rng, thread, ["bar.cta.sync 1"])


def extras(draft: Draft, addresses: list[str], *, fences: bool = True) -> None:
    """A few accesses and fences, in any thread."""
    rng = draft.rng
    for _ in range(rng.randint(2, 4)):
        number = rng.randrange(len(draft.threads))
        thread = draft.threads[number]
        kind = rng.choice(("st", "ld", "ld", "ld", "atom", "fence", "proxy", "proxy", "release"))
        kind = "proxy" if kind in {"fence", "release"} and not fences else kind
        address, scope = rng.choice(addresses), rng.choice(SCOPES)
        if kind == "proxy":
            instruction = async_fence(draft)
        elif kind == "release":
            stores = draft.may_write("y")
            instruction = f"st.release.{scope} y, 1" if stores else f"fence.sc.{scope}"
        else:
            instruction = plain(draft, number, address, kind)
        thread.insert(rng.choice((len(thread), rng.randint(0, len(thread)))), instruction)


def transactions(draft: Draft) -> None:
    """Bulk loads that complete on an mbarrier, arrivals and waits."""
    rng = draft.rng
    places(draft, 3)
    draft.declared = ["shared s = 0", "global x = 1", "global y = 0", "mbarrier m"]
    issuer = draft.threads[0]
    # A relaxed arrival or wait beside a fence is covered by no rule, see `asp_engine`.
    relaxed = rng.random() < 0.25
    forms = [""] * 3 + [".cluster", ".relaxed.cta" if relaxed else ""]
    form = rng.choice(forms).replace(".cluster", ".release.cluster")
    arrival = f"mbarrier.arrive{rng.choice(('', '.expect_tx', '.expect_tx'))}{form} m"
    copy = f"{LOAD} s, x, m"
    issuer += [arrival, copy] if rng.random() < 0.7 else [copy, arrival]
    for thread in draft.threads:
        if rng.random() < 0.6:
            form = rng.choice(forms).replace(".cluster", ".acquire.cluster")
            thread.append(f"mbarrier.try_wait{form} m")
    if rng.random() < 0.2 and not relaxed:
        issuer.insert(rng.randint(0, 1), issuer.pop())
    draft.writes["s"] = 1
    extras(draft, ["s", "x", "y"], fences=not relaxed)
    if rng.random() < 0.25:
        issuer.append(f"{STORE} x, s")
        issuer.append("cp.async.bulk.commit_group")
        issuer.append("cp.async.bulk.wait_group 0")


def proxies(draft: Draft) -> None:
    """Surfaces, textures, constants and aliases of one memory, with the proxy fences."""
    rng = draft.rng
    places(draft, 2 if rng.random() < 0.6 else 3)
    draft.declared = ["x = 0", "z = 0", "a @ generic aliases x", "u @ surface aliases x"]
    draft.declared += ["v @ surface aliases a", "t @ texture aliases x", "c @ constant aliases x"]
    names = {"u": ("suld", "sust", "su"), "v": ("suld", "sust", "su"), "t": ("tld", "", "")}
    names |= {"c": ("cold", "", ""), "x": ("ld", "st", ""), "a": ("ld", "st", "")}
    addresses = [*rng.sample(sorted(names), k=2), "x"]
    fences = [f"fence.proxy.{name}" for name in ("surface", "texture", "constant", "alias")]
    kinds = ["ld", "ld", "st", "st", "proxy", "proxy", rng.choice(("atom", "fence", "flag"))]
    for _ in range(rng.randint(4, 7)):
        number = rng.randrange(len(draft.threads))
        thread = draft.threads[number]
        address, kind = rng.choice(addresses), rng.choice(kinds)
        reads, stores, atomics = names[address]
        if kind == "proxy":
            thread.append(rng.choice(fences))
        elif kind in {"fence", "flag"}:
            form = rng.choice(("st", "ld", "atom", "fence"))
            thread.append(plain(draft, number, "z", form))
        elif kind == "ld" or not stores or not draft.may_write("x"):
            outside = rng.random() < 0.03
            plain_load = load(draft, number, address, reads)
            thread.append(f"ld.nc {draft.register(number)}, x" if outside else plain_load)
        elif kind == "st":
            thread.append(store(draft, number, address, stores))
        else:
            thread.append(atomic(draft, number, address, atomics))


def branches(draft: Draft) -> None:
    """Reads that decide whether something behind them happens."""
    generic(draft)
    rng = draft.rng
    for number, thread in enumerate(draft.threads):
        reads = [at for at, instruction in enumerate(thread) if " r" in instruction]
        if not reads or rng.random() < 0.3:
            continue
        register = thread[reads[0]].split()[1].rstrip(",")
        start = rng.randint(reads[0] + 1, len(thread))
        end = rng.randint(start, len(thread))
        jump = f"{rng.choice(('beq', 'bne', 'bgt'))} {register}, {rng.randint(0, 1)}, LC0{number}"
        thread[start:end] = [jump, *thread[start:end], f"LC0{number}:"]


def hand_overs(draft: Draft) -> None:
    """Data stored in bulk or by `st`, a signal, a reader by `ld` or bulk load; steps left out."""
    rng = draft.rng
    places(draft, 2)
    draft.declared = ["shared s = 0", "shared l = 0", "global x = 0", "global y = 0", "mbarrier m"]
    bulk = [f"st.weak s, {rng.randint(1, 2)}", maybe(rng, async_fence(draft)), f"{STORE} x, s"]
    bulk += ["cp.async.bulk.commit_group"]
    bulk += [maybe(rng, f"cp.async.bulk.wait_group{rng.choice(('', '', '.read'))} 0", 0.9)]
    plain_data = ["st.weak x, 1", maybe(rng, async_fence(draft))]
    signal = rng.choice(([f"st.release.{rng.choice(SCOPES)} y, 1"], [fence(draft), "red.add y, 1"]))
    poll = f"ld.relaxed.{rng.choice(SCOPES)} {draft.register(1)}, y"
    taken = rng.choice(([poll, fence(draft)], [poll.replace("relaxed", "acquire")]))
    by_bulk = ["mbarrier.arrive.expect_tx m", maybe(rng, async_fence(draft)), f"{LOAD} l, x, m"]
    by_bulk += [maybe(rng, "mbarrier.try_wait m", 0.95), f"ld.weak {draft.register(1)}, l"]
    by_load = [f"ld.weak {draft.register(1)}, x"]
    draft.threads[0] = [*(bulk if rng.random() < 0.6 else plain_data), *signal]
    draft.threads[1] = [*taken, *(by_bulk if rng.random() < 0.7 else by_load)]
    draft.threads = [[ins for ins in thread if ins] for thread in draft.threads]


def maybe(rng: random.Random, instruction: str, chance: float = 0.6) -> str:
    """The instruction, or nothing."""
    return instruction if rng.random() < chance else ""


FAMILIES: dict[str, Callable[[Draft], None]] = {
    family.__name__: family
    for family in (generic, message, barriers, groups, transactions, hand_overs, proxies, branches)
}


def draw(rng: random.Random, family: str) -> str:
    """The text of a random program of the family."""
    while True:
        draft = Draft(rng)
        FAMILIES[family](draft)
        if any(draft.threads):
            return draft.text()
