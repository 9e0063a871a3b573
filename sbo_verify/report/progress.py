"""Progress of long work: bars in a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as RichProgress
from rich.table import Column

NARROW = 80


def _columns(width: int) -> list[ProgressColumn]:
    """How far the work is; where there is room, what is being done, cut off at the edge."""
    title = TextColumn("{task.description}", table_column=Column(no_wrap=True))
    if width < NARROW:
        return [title, MofNCompleteColumn(), TimeElapsedColumn()]
    name = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    return [
        title,
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[what]}", markup=False, table_column=name),
    ]


class Bar:
    """One piece of work with a known number of steps."""

    def __init__(self, bars: RichProgress, task: TaskID) -> None:
        self._bars, self._task = bars, task

    def show(self, what: str) -> None:
        """Name what is being done."""
        self._bars.update(self._task, what=what)

    def step(self, what: str) -> None:
        """One step is done."""
        self._bars.update(self._task, advance=1, what=what)


class Progress:
    """Bars and lines on standard error, so that standard output holds the result alone."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._bars = RichProgress(
            *_columns(self._console.width),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def say(self, line: str) -> None:
        """One line above the bars."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def bar(self, title: str, steps: int) -> Iterator[Bar]:
        """A bar of `steps` steps."""
        task = self._bars.add_task(title, total=steps, what="")
        if not self._console.is_terminal:
            self.say(f"{title}: {steps} step{'' if steps == 1 else 's'}")
        yield Bar(self._bars, task)
