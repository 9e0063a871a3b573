"""An inspection as plain data: JSON for programs, SARIF 2.1.0 for code scanning."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sbo_verify.compiled.inspection.files import Inspection
from sbo_verify.compiled.inspection.handoffs import Broken, HandOff
from sbo_verify.compiled.inspection.machine import MachineModule
from sbo_verify.compiled.inspection.rules import RULES
from sbo_verify.compiled.inspection.source import Unclobbered
from sbo_verify.compiled.inspection.text import Module, Op
from sbo_verify.compiled.sass import UNIT_BYTES

# A part of a file is no file of its own.
_PART = re.compile(r" \[[^\[\]]*\]$")
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def place(module: Module, op: Op | None) -> dict[str, Any] | None:
    """An instruction: its PTX line, its text, and its source line where the compiler left one.

    Of machine code, its address and text, and the PTX that it is read as.
    """
    if op is None:
        return None
    found: dict[str, Any] = {"ptx_line": op.line, "instruction": op.mnemonic}
    if isinstance(module, MachineModule) and (code := module.machine_code(op)) is not None:
        found = {
            "address": code.address,
            "instruction": " ".join(filter(None, (code.predicate, code.opcode, code.operands))),
            "read_as": op.mnemonic,
        }
        if parts := module.parts(op):
            found["with"] = [{"address": e.address, "instruction": e.opcode} for e in parts]
        if code.ptx_line is not None:
            found["ptx_line"] = code.ptx_line
    if (source := module.source(op)) is not None:
        found |= {"source_file": source.file, "source_line": source.line}
    return found


def hand_off_data(module: Module, hand_off: HandOff) -> dict[str, Any]:
    """One hand-off with its verdict, the instructions it rests on, and the rules it breaks."""
    return {
        "function": hand_off.function,
        "side": hand_off.side.value,
        "verdict": hand_off.verdict.value,
        "at": place(module, hand_off.op),
        "data": [place(module, op) for op in hand_off.data],
        "ordering": [place(module, op) for op in hand_off.ordering],
        "findings": [
            {
                "rule": each.rule,
                "message": message(each),
                "why": RULES[each.rule].why,
                "mend": RULES[each.rule].mend,
                "at": place(module, each.op),
                "because_of": place(module, each.cause),
            }
            for each in hand_off.broken
        ],
        "cannot_tell": hand_off.unknown,
        "provided": hand_off.provided,
    }


def message(broken: Broken) -> str:
    """The rule's summary, with what is special here."""
    summary = RULES[broken.rule].summary
    return f"{summary} ({broken.detail})" if broken.detail else summary


def inspection_data(path: str, inspection: Inspection) -> dict[str, Any]:
    """All of one file, or of one part of it."""
    module = inspection.module
    verdict = inspection.verdict
    machine = {"machine_code": module.target} if isinstance(module, MachineModule) else {}
    return {
        "file": path,
        **machine,
        "functions": inspection.functions,
        "verdict": verdict.value if verdict else None,
        "hand_offs": [hand_off_data(module, each) for each in inspection.hand_offs],
        "not_judged": [
            {"at": place(module, op), "because": why} for op, why in inspection.not_judged
        ],
        "unread": inspection.unread,
    }


def sarif(
    version: str,
    inspections: Sequence[tuple[str, Inspection]],
    sources: Sequence[tuple[str, Unclobbered]],
) -> dict[str, Any]:
    """A SARIF 2.1.0 log. What cannot be told is a result of level `note`, never left out."""
    results = [
        result
        for path, inspection in inspections
        for hand_off in inspection.hand_offs
        for result in _results(path, inspection.module, hand_off)
    ]
    results += [
        _result("cannot-tell", "note", why, path, 1)
        for path, inspection in inspections
        for why in inspection.unread
    ]
    results += [
        _result("asm-without-memory-clobber", "error", each.text, path, each.line)
        for path, each in sources
    ]
    rules = [
        {
            "id": rule.name,
            "shortDescription": {"text": rule.summary},
            "fullDescription": {"text": f"{rule.why}."},
            "help": {"text": f"{rule.mend}. Source: {rule.source}."},
        }
        for rule in RULES.values()
    ]
    rules.append({"id": "cannot-tell", "shortDescription": {"text": "no verdict was reached"}})
    driver = {"name": "sbo-verify", "version": version, "rules": rules}
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }


def _results(path: str, module: Module, hand_off: HandOff) -> list[dict[str, Any]]:
    found = []
    for each in hand_off.broken:
        source = module.source(each.op)
        text = f"{hand_off.function}: {message(each)}. Mend: {RULES[each.rule].mend}."
        file, line = (source.file, source.line) if source else (path, each.op.line)
        result = _result(each.rule, "error", text, file, line)
        if isinstance(module, MachineModule):
            _place_in_machine_code(result, module, hand_off.function, each.op, lined=bool(source))
        found.append(result)
    if not hand_off.broken:
        for why in hand_off.unknown:
            text = f"{hand_off.function}: {why}"
            result = _result("cannot-tell", "note", text, path, hand_off.op.line)
            if isinstance(module, MachineModule):
                op = hand_off.op
                _place_in_machine_code(result, module, hand_off.function, op, lined=False)
            found.append(result)
    return found


def _place_in_machine_code(
    result: dict[str, Any], module: MachineModule, function: str, op: Op, *, lined: bool
) -> None:
    """A cubin has no lines: where the compiler left none of the source, a place in the file."""
    location = result["locations"][0]["physicalLocation"]
    location["address"] = {
        "relativeAddress": int(op.line),
        "fullyQualifiedName": f"{function}+{op.line}",
        "kind": "instruction",
    }
    if not lined:
        offset = module.sections.get(function, 0) + int(op.line)
        location["region"] = {"byteOffset": offset, "byteLength": UNIT_BYTES}


def _result(rule: str, level: str, text: str, file: str, line: int) -> dict[str, Any]:
    location = {
        "artifactLocation": {"uri": _PART.sub("", file)},
        "region": {"startLine": max(line, 1)},
    }
    return {
        "ruleId": rule,
        "level": level,
        "message": {"text": text},
        "locations": [{"physicalLocation": location}],
    }
