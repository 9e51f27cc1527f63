"""Progress on stderr for whatever takes over two seconds; silent where nobody watches."""
# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help starts at once

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Steps that end sooner than this never show a bar.
_PATIENCE_S = 2.0


def _line(text: str) -> None:
    sys.stderr.write(f"{text}\n")


@contextmanager
def waiting(what: str, seconds: float | None = None) -> Iterator[Callable[[str], None]]:
    """Shows that something is under way, with a bar where its usual duration in seconds is known; yields a function that changes the text.

    Nothing is shown before two seconds have passed, nor where stderr is no terminal; a changed text is then written as a line.
    """
    if not sys.stderr.isatty():
        yield _line
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    with Progress(SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(what, total=seconds, visible=False)
        began, over = time.monotonic(), threading.Event()

        def advance() -> None:
            while not over.wait(0.2):
                elapsed = time.monotonic() - began
                # A guess of the duration is only a guess: the bar never says that it is done before it is.
                done = min(elapsed, 0.99 * seconds) if seconds is not None else 0
                bars.update(task, completed=done, visible=elapsed > _PATIENCE_S)

        thread = threading.Thread(target=advance, daemon=True)
        thread.start()
        try:
            yield lambda text: bars.update(task, description=text)
        finally:
            over.set()
            thread.join()


@contextmanager
def counting(what: str) -> Iterator[Callable[[str, int], None]]:
    """Shows how many of a known number of things are done; yields a function that is told each thing's name and their number as it begins.

    Silent where stderr is no terminal.
    """
    if not sys.stderr.isatty():
        yield lambda _name, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(what, total=None)

        def advance(name: str, total: int) -> None:
            bars.update(task, description=f"{what}: {name}", total=total, advance=1)

        yield advance
