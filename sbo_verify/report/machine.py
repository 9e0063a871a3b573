"""The report for programs: the records as one JSON object, as they stand in the run's folder."""

from __future__ import annotations

import json

from sbo_verify.report.outline import Findings


def machine_text(findings: Findings) -> str:
    """Settings, code readings, launches, verdicts and summary, in JSON with two spaces."""
    records = {
        "settings": findings.settings.to_json(),
        "code": [each.to_json() for each in findings.code_readings],
        "launches": [each.to_json() for each in findings.launches],
        "torn_lines": list(findings.torn_lines),
        "verdicts": [each.to_json() for each in findings.verdicts],
        "summary": findings.summary.to_json(),
    }
    return json.dumps(records, indent=2, allow_nan=False) + "\n"
