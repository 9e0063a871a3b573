"""The model's answer as a picture: an SVG with a lane for every thread, every copy engine, memory.

Made of the same steps and edges as the sentences. Needs no program to draw it and no fonts but the
reader's own; text of programs is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from html import escape

from sbo_verify.model.steps import Edge, Step

LANE_PX, ROW_PX, HEAD_PX, MARGIN_PX = 196, 30, 56, 16
BOX_PX = (LANE_PX - 18, ROW_PX - 8)
# As many characters as fit into a box of this width at 11 pixels.
LETTERS = 26
# The lane between writers and readers. The PTX model knows no caches; what a read took from it may
# have lain in either.
MEMORY = "memory: L1 / L2"
_ENGINE, _CONSUMER = "copy engine for ", "consumer"
# How boxes shorten an instruction's name; a box's title has it whole.
_SHORTER = {
    ".global.shared::cta.bulk_group": "",
    ".shared::cluster.global.mbarrier::complete_tx::bytes": "",
    "cp.async.bulk.": "bulk ",
    "::cta": "",
}
_TITLED = re.compile(r"^<g>(<title>[^<]*</title>)(.*)</g>$", re.DOTALL)
# Width and height in pixels, and the elements.
Drawing = tuple[int, int, list[str]]
STYLE = (
    "text{font:11px monospace;fill:#222}.head{font-weight:bold}.box{fill:#f4f4f4;stroke:#777}"
    ".stale{fill:#ffd9d9;stroke:#b00020}.lane{stroke:#ccc}.from{stroke:#1d5fa8;fill:none}"
    ".edge{stroke:#256b2c;fill:none}.gap{fill:#b00020}.cell{fill:#e8f0fa;stroke:#1d5fa8}"
    ".before{fill:#fff;stroke:#1d5fa8;stroke-dasharray:3 2}"
    ".old{fill:#fff;stroke:#b00020;stroke-dasharray:3 2}.took{stroke:#b00020;fill:none}"
)


def draw(
    witness: Sequence[Step] | None,
    chains: Mapping[str, Sequence[Edge]],
    missing: Sequence[str] = (),
    *,
    name: str = "",
    embedded: bool = False,
) -> str:
    """The SVG of an answer: the witness of Allowed, the first chain of Forbidden.

    An answer with neither, one that is unknown, gives a picture that says so. `name` tells the
    pictures of one page apart, and is read out. A picture `embedded` in a page has no style of
    its own, and no tooltip with the whole step: the page has both.
    """
    if witness:
        width, height, parts = _of_witness(witness, missing)
    elif chains:
        question, chain = next(iter(chains.items()))
        width, height, parts = _of_chain(question, chain)
    else:
        width, height = LANE_PX * 2, HEAD_PX
        parts = [_text(MARGIN_PX, HEAD_PX // 2, "unknown: budget spent")]
    if embedded:
        parts = [_TITLED.sub(r"\2", part) for part in parts]
    return _svg(width, height, parts, name, embedded=embedded)


def _of_witness(steps: Sequence[Step], missing: Sequence[str]) -> Drawing:
    lanes = _ordered(step.actor for step in steps)
    row = {step.number: place for place, step in enumerate(steps)}
    height = HEAD_PX + ROW_PX * len(steps) + ROW_PX * len(missing) + MARGIN_PX
    parts = list(_lanes(lanes, HEAD_PX + ROW_PX * len(steps)))
    stale = steps_that_miss(steps)
    memory = lanes.index(MEMORY)
    for step in steps:
        lane, place = lanes.index(step.actor), row[step.number]
        box = _box(lane, place, _short(step), kind="stale" if step in stale else "box")
        title = f"<title>{escape(str(step))}</title>"
        parts.append(f"<g>{title}{box}</g>")
        if step.memory is None:
            continue
        if step.does.startswith("writes"):
            parts.append(_box(memory, place, f"{step.memory} = {step.value}", kind="cell"))
            parts.append(_arrow((lane, place), (memory, place), "from"))
        elif step.source in row:
            parts.append(_arrow((memory, row[step.source]), (lane, place), "from"))
        else:
            kinds = ("old", "took") if step in stale else ("before", "from")
            parts.append(_box(memory, place, f"{step.memory} = {step.value}, old", kind=kinds[0]))
            parts.append(_arrow((memory, place), (lane, place), kinds[1]))
    for place, gap in enumerate(missing):
        y = HEAD_PX + ROW_PX * (len(steps) + place) + ROW_PX // 2
        parts.append(_text(MARGIN_PX, y, f"missing: {gap}", "gap"))
    longest = max((len(gap) for gap in missing), default=0) * 7 + 100
    return max(LANE_PX * len(lanes), longest if missing else 0), height, parts


def _ordered(actors: Iterable[str]) -> list[str]:
    """Lanes from left to right: producer threads, copy engines, memory, consumers."""
    names = list(dict.fromkeys(actors))
    consumers = [name for name in names if name.removeprefix(_ENGINE).startswith(_CONSUMER)]
    producers = [name for name in names if name not in consumers]
    engines = [name for name in producers if name.startswith(_ENGINE)]
    threads = [name for name in producers if name not in engines]
    return [*threads, *engines, MEMORY, *consumers]


def steps_that_miss(steps: Sequence[Step]) -> list[Step]:
    """The reads of a witness that did not see what they were to see: the last one, and noted ones.

    The last read of the tile is the one asked about.
    """
    reads = [step for step in steps if step.does.startswith("reads")]
    asked = [step for step in reads if step.instruction.split()[1:2] == ["r9,"]]
    return [step for step in reads if step in asked or step.note]


def _of_chain(question: str, chain: Sequence[Edge]) -> Drawing:
    ends = [(chain[0].first_actor, chain[0].first)]
    rules: list[str | None] = []
    for edge in chain:
        if (edge.first_actor, edge.first) != ends[-1]:
            ends.append((edge.first_actor, edge.first))
            rules.append(None)
        ends.append((edge.second_actor, edge.second))
        rules.append(edge.rule)
    lanes = list(dict.fromkeys(actor for actor, _ in ends))
    bottom = HEAD_PX + ROW_PX * len(ends)
    parts = list(_lanes(lanes, bottom))
    place = [(lanes.index(actor), row) for row, (actor, _) in enumerate(ends)]
    for (actor, text), (lane, row) in zip(ends, place, strict=True):
        title = f"<title>{escape(f'{actor}: {text}')}</title>"
        parts.append(f"<g>{title}{_box(lane, row, text)}</g>")
    for row, rule in enumerate(rules):
        why = rule or "the copy writes what it has read"
        arrow = _arrow(place[row], place[row + 1], "edge")
        parts.append(f"<g><title>{escape(why)}</title>{arrow}</g>")
        x = LANE_PX * len(lanes) + MARGIN_PX
        parts.append(_text(x, HEAD_PX + ROW_PX * (row + 1) + 4, why))
    parts.append(_text(MARGIN_PX, bottom + MARGIN_PX, question))
    widest = max((len(rule or "") for rule in rules), default=0) * 7 + LANE_PX
    return LANE_PX * len(lanes) + widest, bottom + 2 * MARGIN_PX, parts


def _lanes(names: Sequence[str], bottom: int) -> Iterator[str]:
    for lane, name in enumerate(names):
        x = LANE_PX * lane + LANE_PX // 2
        yield f'<line class="lane" x1="{x}" y1="{HEAD_PX - 8}" x2="{x}" y2="{bottom}"/>'
        first, _, second = name.partition(" for ")
        yield _text(LANE_PX * lane + 10, HEAD_PX // 2 - (8 if second else 0), first, "head")
        if second:
            yield _text(LANE_PX * lane + 10, HEAD_PX // 2 + 6, f"for {second}", "head")


def _box(lane: int, row: int, text: str, *, kind: str = "box") -> str:
    x, y = LANE_PX * lane + 8, HEAD_PX + ROW_PX * row
    frame = f'<rect class="{kind}" x="{x}" y="{y}" width="{BOX_PX[0]}" height="{BOX_PX[1]}"/>'
    for part, shorter in _SHORTER.items():
        text = text.replace(part, shorter)
    short = text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}\u2026"
    return frame + _text(x + 4, y + BOX_PX[1] // 2 + 4, short)


def _short(step: Step) -> str:
    """The number, and what a memory access does or which instruction it is."""
    accesses = step.value is not None
    return f"{step.number} {step.does if accesses else step.instruction}"


def _arrow(start: tuple[int, int], end: tuple[int, int], kind: str) -> str:
    """From box to box: across from side to side, or down where both stand in one lane."""
    (lane1, row1), (lane2, row2) = start, end
    left = LANE_PX * lane1 + 8, LANE_PX * lane2 + 8
    tops = HEAD_PX + ROW_PX * row1, HEAD_PX + ROW_PX * row2
    if lane1 == lane2:
        x = left[0] + BOX_PX[0] // 2
        line = f"M{x},{tops[0] + BOX_PX[1]}L{x},{tops[1]}"
    else:
        rightwards = lane2 > lane1
        x1 = left[0] + (BOX_PX[0] if rightwards else 0)
        x2 = left[1] + (0 if rightwards else BOX_PX[0])
        y1, y2 = (top + BOX_PX[1] // 2 for top in tops)
        bend = 14 if rightwards else -14
        line = f"M{x1},{y1}C{x1 + bend},{y1} {x2 - bend},{y2} {x2},{y2}"
    return f'<path class="{kind}" marker-end="url(#tip)" d="{line}"/>'


def _text(x: int, y: int, text: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x}" y="{y}">{escape(text)}</text>'


def _svg(width: int, height: int, parts: Sequence[str], name: str, *, embedded: bool) -> str:
    tip = f"tip-{sha256(name.encode()).hexdigest()[:8]}" if name else "tip"
    told = f' aria-label="{escape(name)}"' if name else ""
    kind = 'class="steps"' if embedded else 'xmlns="http://www.w3.org/2000/svg"'
    head = (
        f'<svg {kind} width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img"{told}>'
    )
    marker = (
        f'<defs><marker id="{tip}" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#555"/></marker></defs>'
    )
    # A page may hold several pictures, some of them folded away with their markers.
    drawn = [part.replace("url(#tip)", f"url(#{tip})") for part in parts]
    style = [] if embedded else [f"<style>{STYLE}</style>"]
    return "\n".join([head, *style, marker, *drawn, "</svg>"]) + "\n"
