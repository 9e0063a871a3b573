"""What befalls a GPU ends in a named fault and `unknown`, and costs no record: on a real GPU.

Each fault comes in a process of its own. Those that would disturb other processes on the GPU are
tried only where the table is asked for, `PYTHONPATH=property_tests pytest -p fault_table --faults
FOLDER stress/test_gpu_faults.py`, on a GPU that nobody else uses.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import faulty_program
import pytest
from faulty_program import ENDLESS_SECONDS
from tried import RecordProperty, only_run, records, tried

from sbo_verify.device.gpu import Gpu
from sbo_verify.store import RAW_FILE

pytestmark = pytest.mark.silicon

ROOT = Path(__file__).resolve().parents[1]
SOUND, CANARY = "full_wait-atom_release", "no_wait-relaxed"
PASS, UNKNOWN = 0, 2
# A fault is planted in the sixth launch; the sound variant has more than that, however slow it is.
WORDS = (
    *("stress", "--variants", f"{SOUND},{CANARY}", "--seed", "20", "--seconds", "0.1"),
    *("--observations", "1000000"),
)
# Neither a launch that does not end is waited for, nor one that failed as if it did not end.
SOON_SECONDS = 28.0
CALM = ("--knob", "rounds=200", "--knob", "noise_share=0.2")


def sbo_verify(gpu: Gpu, out: Path, *words: str, planted: tuple[str, ...] = ()) -> tuple[int, str]:
    """Exit code and output of the program, with a fault planted or without one."""
    begin = ["-m", "sbo_verify"]
    if planted:
        begin = [faulty_program.__file__, *planted]
    command = [sys.executable, *begin, *WORDS, *CALM, "--gpu", str(gpu.index), "--out", str(out)]
    done = subprocess.run(  # noqa: S603 - this interpreter, on the project's own text
        [*command, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout


# Fault, how it is made, what is planted and in which launch, the word of its record.
FAULTS = [
    ("kernel faults", "illegal address, context lost", "illegal_address", 5, "launch failed"),
    ("kernel faults", "the driver refuses a launch", "refused_launch", 5, "launch failed"),
    ("kernel never ends", "it hears of no stop", "endless", 5, "launch hung"),
    ("out of GPU memory", "at the first allocation", "no_memory", 0, "out of GPU memory"),
    ("out of GPU memory", "in the middle of a row", "no_memory", 5, "out of GPU memory"),
]


@pytest.mark.parametrize(
    ("fault", "how", "planted", "at", "what"), FAULTS, ids=[f"{f[2]}@{f[3]}" for f in FAULTS]
)
def test_a_fault_is_named_and_costs_no_record(  # noqa: PLR0913, PLR0917 - a row of a table
    fault: str,
    how: str,
    planted: str,
    at: int,
    what: str,
    leased_gpu: Gpu,
    tmp_path: Path,
    record_property: RecordProperty,
) -> None:
    out, before = tmp_path / "runs", tmp_path / "before"
    began = time.monotonic()
    told = (planted, str(at), str(out), str(before))
    code, said = sbo_verify(leased_gpu, out, planted=told)
    took = time.monotonic() - began
    assert code == UNKNOWN, said
    assert took < SOON_SECONDS < ENDLESS_SECONDS, "the process waits for a launch that is no more"
    run = only_run(out)
    assert {found.what for _, found in run.faults} == {what}, said
    entry = tried(
        record_property,
        run,
        fault=fault,
        how=how,
        before=records(before),
        exit_code=code,
        then=sbo_verify(leased_gpu, tmp_path / "next")[0],
    )
    assert (entry.lost, entry.verdict, entry.then) == (0, "unknown", "0")
    assert sum(b'"kind":"launch"' in line for line in records(before)) == at


def test_without_a_visible_gpu_nothing_is_claimed(
    leased_gpu: Gpu,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: RecordProperty,
) -> None:
    out = tmp_path / "runs"
    assert sbo_verify(leased_gpu, out)[0] == PASS
    run = only_run(out)
    before = records(run.path / RAW_FILE)
    with monkeypatch.context() as none:
        none.setenv("CUDA_VISIBLE_DEVICES", "")
        code, said = sbo_verify(leased_gpu, out)
    assert code == UNKNOWN
    assert "silicon cannot run here" in said
    entry = tried(
        record_property,
        run,
        fault="GPU vanishes",
        how="no device is visible to the next process",
        before=before,
        exit_code=code,
        then="none",
    )
    assert (entry.lost, entry.verdict) == (0, "pass")


# ---- what other processes on the GPU would feel ---------------------------------------------

MEMORY = """
import sys, cupy
held, size = [], 1 << 33
while size >= 1 << 20:
    try:
        held.append(cupy.cuda.runtime.malloc(size))
    except cupy.cuda.runtime.CUDARuntimeError:
        size //= 2
print("ready", flush=True)
sys.stdin.read()
"""
LOAD = """
import sys, time, cupy
kernel = cupy.RawKernel(r'''
extern "C" __global__ void busy(float* data, long long cycles) {
  const long long start = clock64();
  float* mine = data + (blockIdx.x * 1024u + threadIdx.x) % (1u << 28);
  while (clock64() - start < cycles) { *mine += 1.0f; }
}''', "busy")
data = cupy.zeros(1 << 30, dtype=cupy.uint8)
kernel((1056,), (1024,), (data, 1))
cupy.cuda.runtime.deviceSynchronize()
print("ready", flush=True)
end = time.monotonic() + 15
while time.monotonic() < end:
    for _ in range(4):
        kernel((1056,), (1024,), (data, 10_000_000))
    cupy.cuda.runtime.deviceSynchronize()
"""


@contextmanager
def neighbour(gpu: Gpu, text: str) -> Iterator[None]:
    """Another process on the same GPU, ready when the body begins and gone behind it."""
    with subprocess.Popen(  # noqa: S603 - this interpreter, on the texts above
        [sys.executable, "-c", f"import cupy\ncupy.cuda.Device({gpu.index}).use()\n{text}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()


@pytest.fixture
def alone(pytestconfig: pytest.Config) -> None:
    """Only where the table is asked for: the other processes of a gate would suffer."""
    if not pytestconfig.getoption("--faults", default=""):
        pytest.skip("disturbs others on the GPU; `-p fault_table --faults FOLDER` tries it")


@pytest.mark.usefixtures("alone")
def test_where_others_hold_all_memory_nothing_is_claimed(
    leased_gpu: Gpu, tmp_path: Path, record_property: RecordProperty
) -> None:
    out = tmp_path / "runs"
    assert sbo_verify(leased_gpu, out)[0] == PASS
    run = only_run(out)
    before = records(run.path / RAW_FILE)
    with neighbour(leased_gpu, MEMORY):
        code, said = sbo_verify(leased_gpu, tmp_path / "full")
    assert code == UNKNOWN, said
    assert "Traceback" not in said
    entry = tried(
        record_property,
        run,
        fault="out of GPU memory",
        how="another process holds all of it before the run begins",
        before=before,
        exit_code=code,
        then=sbo_verify(leased_gpu, tmp_path / "next")[0],
    )
    assert (entry.lost, entry.then) == (0, "0")


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("timeout_ms", [4000, 1])
def test_others_load_is_no_violation(
    timeout_ms: int, leased_gpu: Gpu, tmp_path: Path, record_property: RecordProperty
) -> None:
    """Kernels of two processes take turns: a wait may time out, which is unknown and no fail."""
    out = tmp_path / "runs"
    with neighbour(leased_gpu, LOAD):
        code, said = sbo_verify(leased_gpu, out, "--knob", f"timeout_ms={timeout_ms}")
    assert code in {PASS, UNKNOWN}, said
    run = only_run(out)
    entry = tried(
        record_property,
        run,
        fault="others' load on the GPU",
        how=f"another process fills every SM; waits may take {timeout_ms} ms",
        before=records(run.path / RAW_FILE),
        exit_code=code,
        then="none",
    )
    assert (entry.lost, str(entry.exit_code)) == (0, str(code))
    assert entry.verdict == ("pass" if code == PASS else "unknown")
