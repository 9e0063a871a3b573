"""The report as one HTML file that needs nothing else: no network, no fonts, one small script.

The text is that of the other forms. Everything that comes from a record is escaped by the template;
only the pictures, which are made here, are put in as they are. The page's own policy lets a browser
run that one script and load nothing.
"""

from __future__ import annotations

import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from sbo_verify.report.charts import delays_chart, offsets_chart
from sbo_verify.report.figures import NO_FIGURE
from sbo_verify.report.gallery import ENVIRONMENTS_TOLD, heat_map, pictures, verdict_bar
from sbo_verify.report.outline import (
    BOUND_TOLD,
    KINDS,
    QUESTION,
    VARIANT_COLUMNS,
    VARIANT_FIGURES,
    WITNESS_COLUMNS,
    Findings,
    joint_counts,
    outline,
)
from sbo_verify.report.pages import (
    CHANGED,
    COST_COLUMNS,
    KNOB_COLUMNS,
    Page,
    delays_caption,
    histogram_caption,
    pages,
)
from sbo_verify.report.picture import STYLE
from sbo_verify.verdict import Outcome

HERE = Path(__file__).parent
TEMPLATE = "report.html.jinja"
OUTCOME_KINDS = {
    Outcome.PASS.value: "good",
    Outcome.UNKNOWN.value: "warn",
    Outcome.FAIL.value: "bad",
}
# The rules of a picture that stands alone, for the pictures of a page.
PICTURE_STYLE = re.sub(r"(^|})([^{}]+){", r"\1 svg.steps \2 {", STYLE)
WITNESS_TOLD = (
    "Time runs downwards. The PTX model knows no caches: the lane L1 / L2 shows which write each "
    "read took; a dashed box is what was there before, red where a stale read took it."
)


@cache
def _environment() -> Any:  # noqa: ANN401 - jinja2 is imported only here
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

    return Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, **values: Any) -> str:  # noqa: ANN401 - what the template asks for
    """A page from a template of this folder, with the style and the script that all share."""
    script = (HERE / "page.js").read_text(encoding="utf-8")
    style = (HERE / "page.css").read_text(encoding="utf-8")
    digest = b64encode(sha256(script.encode()).digest()).decode()
    text: str = (
        _environment()
        .get_template(template)
        .render(
            style=own(style + PICTURE_STYLE),
            script=own(script),
            script_hash=f"sha256-{digest}",
            kinds=KINDS,
            no_figure=NO_FIGURE,
            bound_told=BOUND_TOLD,
            **values,
        )
    )
    # Half a character of a broken record can be written in no encoding.
    return text.encode("utf-8", "replace").decode().lstrip()


def own(text: str) -> Any:  # noqa: ANN401 - jinja2's own type
    """`text` that this package made, to be put in as it is."""
    from markupsafe import Markup  # noqa: PLC0415 - beside jinja2

    return Markup(text)  # noqa: S704 - made here, with what comes from records escaped


def html_text(findings: Findings) -> str:
    """The whole report, a page for every variant within it."""
    detailed = pages(findings)
    # Names of variants can hold anything; numbers are safe as anchors.
    anchors = [f"variant-{number}" for number in range(len(detailed))]
    return render(
        TEMPLATE,
        question=QUESTION,
        report=outline(findings),
        outcome_kind=OUTCOME_KINDS.get(findings.summary.outcome, "warn"),
        bar=own(verdict_bar(findings)),
        answer_kinds=[KINDS[joint] for joint in joint_counts(findings.verdicts)],
        columns=VARIANT_COLUMNS,
        figures=VARIANT_FIGURES,
        witness_columns=WITNESS_COLUMNS,
        knob_columns=KNOB_COLUMNS,
        cost_columns=COST_COLUMNS,
        pages=detailed,
        svgs=[own(page.picture) for page in detailed],
        charts=[_charts(page) for page in detailed],
        models=[verdict.model for verdict in findings.verdicts],
        anchors=anchors,
        anchor_of={page.row: anchor for page, anchor in zip(detailed, anchors, strict=True)},
        heat=heat_map(findings),
        environments_told=ENVIRONMENTS_TOLD,
        gallery=[(each.title, own(each.svg), each.told) for each in pictures(findings)],
        witness_told=WITNESS_TOLD,
        changed=CHANGED,
    )


def _charts(page: Page) -> list[tuple[str, Any]]:
    """Histograms of one variant, each with what it counts."""
    if page.digest is None or page.seen is None:
        return []
    drawn = []
    for offsets in page.digest.offsets:
        told = histogram_caption(offsets)
        drawn.append((told, own(offsets_chart(offsets, page.row))))
    if page.digest.delays:
        told = delays_caption(page.digest)
        drawn.append((told, own(delays_chart(page.digest.delays, page.row))))
    return drawn
