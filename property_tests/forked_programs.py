"""Programs with a steady GPU, forked from one process that has imported everything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import steady_bench
from steady_bench import BEFORE, LAUNCH_SECONDS, OUT, STALE

ROOT = Path(__file__).resolve().parents[1]
SOUND, CANARY = "full_wait-atom_release", "no_wait-relaxed"
ROWS = f"{SOUND},{CANARY}"
TEN_LAUNCHES = str(10 * LAUNCH_SECONDS)


@dataclass
class Child:
    """A running program. `pid` is its process's, `said` where its output goes."""

    pid: int
    said: Path
    server: subprocess.Popen[str]

    def wait(self) -> int:
        """Its exit code, negative for a signal."""
        return int(ask(self.server, ""))


def ask(server: subprocess.Popen[str], line: str) -> str:
    """The server's answer to a line."""
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(f"{line}\n")
    server.stdin.flush()
    return server.stdout.readline()


@dataclass
class Programs:
    """Starts programs with the steady GPU. Runs lie in `out`."""

    server: subprocess.Popen[str]
    folder: Path

    @property
    def out(self) -> Path:
        """Where the runs of this test lie."""
        return self.folder / "runs"

    @property
    def before(self) -> Path:
        """The raw records as they were when the fault came."""
        return self.folder / "before"

    def start(self, *words: str, **environment: str) -> Child:
        """Start `sbo-verify WORDS`."""
        request = {
            "words": [*words],
            "environment": {
                OUT: str(self.out),
                BEFORE: str(self.before),
                STALE: CANARY,
                **environment,
            },
            "said": str(self.folder / "said"),
        }
        return Child(int(ask(self.server, json.dumps(request))), self.folder / "said", self.server)

    def stress(self, out: Path | None = None, /, **environment: str) -> Child:
        """Two rows, ten launches each."""
        words = ["stress", "--variants", ROWS, "--seed", "7", "--seconds", TEN_LAUNCHES, "--out"]
        return self.start(*words, str(out or self.out), **environment)

    def next_run(self) -> int:
        """The exit code of a run without any fault, into the same folder as the others."""
        return self.stress(self.folder / "next").wait()


@contextmanager
def serving() -> Iterator[subprocess.Popen[str]]:
    """The process from which programs are forked; it ends behind the body."""
    folders = [str(ROOT), str(ROOT / "property_tests")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "COLUMNS": "200"}
    with subprocess.Popen(  # noqa: S603 - this interpreter, on the project's own text
        [sys.executable, steady_bench.__file__],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
