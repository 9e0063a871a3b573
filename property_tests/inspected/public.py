"""What `inspect` says of public kernels: compiles them from checkouts and writes a record.

    PYTHONPATH=property_tests python -m inspected.public CHECKOUTS OUT [MORE_INCLUDES...]

CHECKOUTS holds one folder OWNER+NAME for each repository, with its commit in a file `COMMIT`. OUT
gets `public.json` and `public.md`. None of their code is kept here; the lines below that name their
kernels are this project's.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspected.build import compiler

from sbo_verify.compiled.inspection.files import Inspection, inspect_ptx
from sbo_verify.compiled.inspection.handoffs import HandOff, HandOffVerdict

OPTIONS = (
    *("-std=c++20", "-arch=sm_90a", "-O3", "-ptx", "-lineinfo", "--expt-relaxed-constexpr"),
    *("--expt-extended-lambda", "-w"),
)


@dataclass(frozen=True)
class Public:
    """One file of a repository; `uses` are lines that name kernels of a header.

    `seen` says what a reader of the source finds, so that the verdicts can be compared.
    """

    name: str
    repository: str
    file: str
    includes: tuple[str, ...] = ()
    uses: str = ""
    seen: str = ""


_NUMBERS = re.compile(r"line \d+")
_CUTLASS = (
    *("NVIDIA+cutlass/include", "NVIDIA+cutlass/tools/util/include"),
    "NVIDIA+cutlass/examples/common",
)
_SIGNAL_GEMM = (
    "using namespace deep_gemm;\n"
    "__global__ void anchor(void** out) { *out = reinterpret_cast<void*>("
    "&sm90_fp8_gemm_1d2d_impl<0, 4096, 7168, 16, 64, 128, 128, 128, 4, 0, 128, 128, 1, false, 118, "
    "GemmType::MGroupedMasked, EpilogueIdentity, true>); }"
)
_VLLM = "".join(
    f"template __global__ void vllm::cross_device_reduce_{stages}stage<half, 8>("
    "vllm::RankData*, vllm::RankSignals, vllm::Signal*, half*, int, int);\n"
    for stages in (1, 2)
)

PUBLIC = (
    Public(
        "signal GEMM",
        "sgl-project+DeepGEMM",
        "deep_gemm/include/deep_gemm/impls/sm90_fp8_gemm_1d2d.cuh",
        ("sgl-project+DeepGEMM/deep_gemm/include", "NVIDIA+cutlass/include"),
        _SIGNAL_GEMM,
        "full wait by the issuers, named barrier, release by one thread: *ordered* is right. The "
        "source is written by stmatrix at addresses that are not followed",
    ),
    Public(
        "all-reduce of vLLM",
        "flashinfer-ai+flashinfer",
        "include/flashinfer/comm/vllm_custom_all_reduce.cuh",
        ("flashinfer-ai+flashinfer/include",),
        _VLLM,
        "flags are volatile with no fence at the barriers before the first read and after the last "
        "one (vLLM#8404), released and acquired between two stages: each of these verdicts is the "
        "model's. The weak store keeps a thread's own count: by its shape alone it is a signal",
    ),
    Public(
        "intranode dispatch and combine",
        "deepseek-ai+DeepEP",
        "csrc/kernels/legacy/intranode.cu",
        ("deepseek-ai+DeepEP/deep_ep/include",),
        "",
        "the barrier of ranks is a fence of all threads, a CTA barrier and relaxed atomics, polled "
        "by volatile loads: not ordered by the model. A tail is released behind a barrier whose "
        "number depends on the warp in a way not followed. A head is stored relaxed and hands "
        "back room, not data: by shape alone it is a signal. TMA loads follow an acquire with no "
        "proxy fence (DeepEP#621)",
    ),
    Public(
        "TMA and WGMMA tutorial",
        "NVIDIA+cutlass",
        "examples/cute/tutorial/hopper/wgmma_tma_sm90.cu",
        _CUTLASS,
        "",
        "no signal",
    ),
    Public(
        "split-K GEMM",
        "NVIDIA+cutlass",
        "examples/06_splitK_gemm/splitk_gemm.cu",
        _CUTLASS,
        "",
        "a second kernel reduces: no signal",
    ),
    Public(
        "stream-K GEMM",
        "NVIDIA+cutlass",
        "examples/47_ampere_gemm_universal_streamk/ampere_gemm_universal_streamk.cu",
        _CUTLASS,
        "",
        "semaphores: a barrier, then a release, or fence.acq_rel and a relaxed add, by one thread: "
        "*ordered* would be right, but which of the kernel's barriers meet is not followed through "
        "its branches. The first slice does not wait, so that a way leads around the poll. "
        "`wait_eq_reset` polls by a relaxed compare-and-swap with no fence, then a barrier: not "
        "ordered by the model",
    ),
    Public(
        "warp-specialized GEMM",
        "NVIDIA+cutlass",
        "examples/48_hopper_warp_specialized_gemm/48_hopper_warp_specialized_gemm.cu",
        _CUTLASS,
        "",
        "the epilogue stores by TMA: no signal",
    ),
)


def main() -> None:
    """Compile, inspect and write the record."""
    nvcc = compiler()
    if nvcc is None or len(sys.argv) < 3:
        raise SystemExit(__doc__)
    checkouts, out = Path(sys.argv[1]), Path(sys.argv[2])
    version = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True)  # noqa: S603 - the compiler that was found
    rows = [_row(nvcc, checkouts, each, sys.argv[3:]) for each in PUBLIC]
    record = {
        "command": "PYTHONPATH=property_tests python -m inspected.public CHECKOUTS OUT",
        "commit": _commit(),
        "compiler": version.stdout.splitlines()[-2].strip(),
        "options": list(OPTIONS),
        "kernels": rows,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "public.json").write_text(json.dumps(record, indent=1) + "\n")
    (out / "public.md").write_text(markdown(record))


def _commit() -> str:
    if "SBO_VERIFY_COMMIT" in os.environ:
        return os.environ["SBO_VERIFY_COMMIT"]
    command = ["git", "rev-parse", "HEAD"]
    said = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - git
    return said.stdout.strip()


def _row(nvcc: str, checkouts: Path, public: Public, more: list[str]) -> dict[str, Any]:
    source = checkouts / public.repository / public.file
    commit = (checkouts / public.repository / "COMMIT").read_text().strip()
    with tempfile.TemporaryDirectory() as folder:
        if public.uses:
            inner, source = source, Path(folder) / "uses.cu"
            header = f'#include <stdexcept>\n#include "{inner.resolve()}"\n'
            source.write_text(f"{header}{public.uses}\n")
        target = Path(folder) / "out.ptx"
        folders = [str(checkouts / each) for each in public.includes] + more
        include = [word for each in folders for word in ("-I", each)]
        command = [nvcc, *OPTIONS, *include, "-o", str(target), str(source)]
        subprocess.run(command, check=True)  # noqa: S603 - the compiler that was found
        text = target.read_text()
    start = time.process_time()
    found = inspect_ptx(text)
    seconds = time.process_time() - start
    return {
        "name": public.name,
        "repository": public.repository.replace("+", "/"),
        "commit": commit,
        "file": public.file,
        "ptx_lines": text.count("\n"),
        "functions": len(found.functions),
        "seconds": round(seconds, 2),
        "verdict": None if found.verdict is None else found.verdict.value,
        "hand_offs": _hand_offs(found),
        "not_judged": len(found.not_judged),
        "seen": public.seen,
    }


def _hand_offs(found: Inspection) -> list[dict[str, Any]]:
    """Hand-offs of one kind, instruction and outcome together, with their number."""
    kinds: Counter[tuple[str, str, str, tuple[str, ...], str]] = Counter()
    for each in found.hand_offs:
        kinds[_kind(each)] += 1
    return [
        {
            "side": side,
            "instruction": mnemonic,
            "verdict": verdict,
            "rules": list(rules),
            "first_doubt": doubt,
            "count": count,
        }
        for (side, mnemonic, verdict, rules, doubt), count in sorted(kinds.items())
    ]


def _kind(each: HandOff) -> tuple[str, str, str, tuple[str, ...], str]:
    rules = tuple(sorted({broken.rule for broken in each.broken}))
    undecided = each.verdict is HandOffVerdict.CANNOT_TELL and each.unknown
    doubt = _NUMBERS.sub("line N", each.unknown[0]) if undecided else ""
    return each.side.value, each.op.mnemonic, each.verdict.value, rules, doubt


def markdown(record: dict[str, Any]) -> str:
    """The record as two tables."""
    made = f"Made by `{record['command']}` at commit `{record['commit']}`; compiled with "
    made += f"{record['compiler']}, `{' '.join(record['options'])}`. No code of theirs is here."
    lines = [
        *("# What `inspect` says of public kernels", "", made, ""),
        "| kernel | repository, commit, file | PTX lines | functions | seconds | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for row in record["kernels"]:
        where = f"{row['repository']} `{row['commit'][:12]}` `{row['file']}`"
        verdict = row["verdict"] or "no hand-off"
        head = (row["name"], where, row["ptx_lines"], row["functions"], row["seconds"], verdict)
        lines.append("| " + " | ".join(str(each) for each in head) + " |")
    for row in record["kernels"]:
        lines += ["", f"## {row['name']}", "", f"Looked at by hand: {row['seen']}.", ""]
        if row["not_judged"]:
            lines += [f"{row['not_judged']} relaxed writes are listed as counters.", ""]
        if row["hand_offs"]:
            lines.append("| side | by | verdict | rules or first doubt | number |")
            lines.append("|---|---|---|---|---|")
        for each in row["hand_offs"]:
            why = ", ".join(each["rules"]) or each["first_doubt"]
            cells = (each["side"], f"`{each['instruction']}`", each["verdict"], why, each["count"])
            lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
