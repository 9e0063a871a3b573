"""A recorded benchmark of overlap as Markdown: what paid, on which problems, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sbo_verify.report.benchmarks import method_list, opening, spread_text
from sbo_verify.report.markdown_words import code_span, escape, markdown_table

Cell = Mapping[str, Any]
EXPLAINED = {
    "pair": (
        "*In turn* is Combine Send after the plain GEMM on all SMs; *overlapped* the GEMM with the "
        "signal of a variant on the other SMs, and Combine Send that follows its signals. Behind "
        "the slash, the share of the time in turn, with the same link, that is saved; in brackets, "
        "how near it came to the longer of the two alone. Signals are zeroed before the clock "
        "starts. ‡: fewer slots than CTAs of Combine Send, each of which sends whole slots; what "
        "is sent in turn is cut finer."
    ),
    "layer": (
        "Dispatch Receive, the shared expert, the experts' up GEMM and down GEMM, Combine Send: "
        "one batch in turn; with the shared expert beside Dispatch Receive; with the down GEMM "
        "beside Combine Send; with both (*SBO*); and two half batches, of which one's link works "
        "beside the other's GEMMs (*TBO*). Microseconds of one layer of several that follow each "
        "other in a graph; behind the slash, the share of the time in turn, with the same link, "
        "that is saved. SBO zeroes its signals within the time."
    ),
}
FOUND = (
    "On how many problems a schedule was faster than the one it is held against, and the share of "
    "that one's time that it saved: in the median, and from the worst to the best problem (experts "
    "x rows of each)."
)
KINDS = {"pair": "GEMM and Combine Send", "layer": "layer"}
HEADINGS = {"pair": "## The down GEMM and Combine Send", "layer": "## An MoE layer"}
MODEL = (
    "Measured: every time below, on one GPU, all launches, waits and gaps between kernels "
    "included. Modelled: the link. Nothing leaves the GPU: Combine Send copies its rows to a "
    "buffer in device memory, Dispatch Receive copies rows from one, and a link of a given rate "
    "is so many SMs that copy, whose rate alone is measured. A real link takes no bandwidth of "
    "device memory from the GEMM beside it for what another GPU sends or receives; here both ends "
    "are this GPU's. *Whole device* has no link: all SMs copy. Attention, gating and activation "
    "are left out; in TBO they would hide more of the link's time."
)


def overlap_times_text(record: Mapping[str, Any]) -> str:
    """The whole document; `record` is what `sbo-verify bench overlap --json` printed.

    Raises `KeyError` where it is something else.
    """
    settings, cells, method = record["settings"], record["cells"], record["method"]
    parts = [
        *opening(
            "Whether overlap pays on one GPU", "sbo-verify bench overlap --record FILE", settings
        ),
        method_list(method),
        MODEL,
        "## What was found",
        FOUND,
        _findings(record["findings"]),
        "## The link",
        _link(cells),
    ]
    for kind, explained in EXPLAINED.items():
        mine = [cell for cell in cells if cell["kind"] == kind]
        if not mine:
            continue
        parts += [HEADINGS[kind], explained]
        for link_sms in _distinct(mine, "link_sms"):
            here = [cell for cell in mine if cell["link_sms"] == link_sms and _is_schedule(cell)]
            if here:
                parts += [f"### {link_sms} SMs for the link", _table(kind, here, mine)]
    return "\n\n".join(parts) + "\n"


def finding_lines(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each schedule against each that it is held against, a line each, for a terminal."""
    return [
        f"{KINDS[each['kind']]}, {each['link_sms']} SMs of the link: {each['schedule']} "
        f"{each['variant']}".rstrip()
        + f" against {each['against']}: faster on {_found(each)}"
        for each in findings
    ]


def _findings(findings: Sequence[Mapping[str, Any]]) -> str:
    """A line for each schedule, a column for each that it is held against."""
    against = _distinct(findings, "against")
    columns = ["what", "SMs of the link", "schedule", *(f"against {escape(a)}" for a in against)]
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    for each in findings:
        schedule = f"{escape(each['schedule'])}{_of(each['variant'])}"
        line = (KINDS[each["kind"]], str(each["link_sms"]), schedule)
        lines.setdefault(line, {})[each["against"]] = _found(each)
    rows = [[*line, *(cells.get(a, "-") for a in against)] for line, cells in lines.items()]
    return markdown_table(columns, rows, [])


def _found(found: Mapping[str, Any]) -> str:
    return (
        f"{found['faster']} of {found['problems']}; {_share(found['median'])}, from "
        f"{_share(found['worst'])} ({_problem(found['worst_at'])}) to {_share(found['best'])} "
        f"({_problem(found['best_at'])})"
    )


def _of(variant: str) -> str:
    return f" ({code_span(variant)})" if variant else ""


def _share(share: float) -> str:
    return f"{100 * share:+.1f} %"


def _problem(sizes: Sequence[int]) -> str:
    experts, rows = sizes
    return f"{experts} x {rows}"


def _is_schedule(cell: Cell) -> bool:
    return not cell["schedule"].endswith("alone") and cell["schedule"] != "in turn, whole device"


def _distinct(cells: Sequence[Cell], name: str) -> list[Any]:
    return list(dict.fromkeys(cell[name] for cell in cells))


def _link(cells: Sequence[Cell]) -> str:
    """Lowest and highest rate of what stands for a link, over the problems."""
    rates: dict[tuple[int, str], list[float]] = {}
    for cell in cells:
        if cell["bytes_per_second"] is not None:
            key = (cell["link_sms"], cell["schedule"])
            rates.setdefault(key, []).append(cell["bytes_per_second"] / 1e9)
    rows = [
        [str(sms), escape(what), f"{min(found):.0f} to {max(found):.0f}"]
        for (sms, what), found in sorted(rates.items())
    ]
    return markdown_table(["SMs", "what", "GB/s, launch included"], rows, ["SMs"])


def _table(kind: str, here: Sequence[Cell], mine: Sequence[Cell]) -> str:
    schedules = list(dict.fromkeys((cell["schedule"], cell["variant"]) for cell in here))
    aside: list[tuple[str, int | None]] = [("in turn, whole device", None)]
    if kind == "pair":
        aside = [("GEMM alone", 0), ("send alone", here[0]["link_sms"]), *aside]
    columns = [
        "experts x rows",
        *(escape(name) for name, _ in aside),
        *(f"{escape(name)}{_of(variant)}" for name, variant in schedules),
    ]
    rows = []
    for sizes in dict.fromkeys((cell["experts"], cell["rows"]) for cell in here):
        of_problem = [cell for cell in mine if (cell["experts"], cell["rows"]) == sizes]
        row = [_problem(sizes)]
        for name, link in aside:
            found = [
                cell
                for cell in of_problem
                if cell["schedule"] == name and link in {None, cell["link_sms"]}
            ]
            row.append(_time(found[0]) if found else "-")
        for name, variant in schedules:
            found = [
                cell
                for cell in here
                if (cell["experts"], cell["rows"]) == sizes
                and (cell["schedule"], cell["variant"]) == (name, variant)
            ]
            row.append(_time(found[0]) if found else "-")
        rows.append(row)
    return markdown_table(columns, rows, columns[1:])


def _time(cell: Cell) -> str:
    time = f"{cell['microseconds']:.1f} {spread_text(cell['repeats'])}"
    if cell["saves"] is not None:
        time += f" / {_share(cell['saves'])}"
    if cell["of_ideal"] is not None:
        time += f" ({100 * cell['of_ideal']:.0f} %)"
    return f"{time} ‡" if 0 < cell.get("slots", 0) < cell["link_sms"] else time
