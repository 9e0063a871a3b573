"""The report as one HTML file that needs nothing else: no network, no script, no fonts.

The text is that of the other forms. Everything that comes from a record is escaped by the template;
only the pictures, which are made here, are put in as they are.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sbo_verify.report.figures import NO_FIGURE
from sbo_verify.report.outline import QUESTION, VARIANT_COLUMNS, WITNESS_COLUMNS, Findings, outline
from sbo_verify.report.pages import pages
from sbo_verify.verdict import Joint

TEMPLATE = "report.html.jinja"
# What the eye sees first; the words beside the colour say the same.
_COLOURS = {
    Joint.SOUND.value: "good",
    Joint.SOUND_BY_MODEL.value: "good",
    Joint.BROKEN_SHOWN.value: "bad",
    Joint.BROKEN_BY_MODEL.value: "bad",
    Joint.ALARM.value: "bad",
    Joint.BROKEN_UNSEEN.value: "warn",
}


@cache
def _template():  # type: ignore[no-untyped-def]  # noqa: ANN202 - jinja2 is imported only here
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE)


def html_text(findings: Findings) -> str:
    """The whole report, a page for every variant within it."""
    from markupsafe import Markup  # noqa: PLC0415 - beside jinja2

    detailed = pages(findings)
    # Names of variants can hold anything; numbers are safe as anchors.
    anchors = {page.row: f"variant-{number}" for number, page in enumerate(detailed)}
    text: str = _template().render(
        question=QUESTION,
        report=outline(findings),
        columns=VARIANT_COLUMNS,
        witness_columns=WITNESS_COLUMNS,
        pages=detailed,
        pictures={page.row: Markup(page.picture) for page in detailed},  # noqa: S704 - our own SVG
        anchors=anchors,
        colours=_COLOURS,
        no_figure=NO_FIGURE,
    )
    return text
