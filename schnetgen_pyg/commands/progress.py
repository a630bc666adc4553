"""How far a command is, on the standard error.

Molecules come in batches: the first ones late, then many at once. Times are those of what has come
in all, and what is shown is brought up to date by the clock, not by the first of a batch.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

#: Seconds between two updates of a bar.
BAR = 0.5

#: Seconds to the first line where there is no terminal; the next ones wait longer and longer.
LINE = 10.0


def progress(
    items: Iterable[T], total: int | None = None, initial: int = 0, desc: str | None = None
) -> Iterator[T]:
    """The items, while a bar on a terminal, or now and then a line elsewhere, says how many have
    come.

    Args:
        items: what is counted.
        total: how many there will be; by default their length.
        initial: how many there were before.
        desc: what they are.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    counted = _Bar if sys.stderr.isatty() else _Lines
    with contextlib.closing(counted(total, initial, desc)) as shown:
        for item in items:
            yield item
            shown.done += 1


class _Clock:
    """Calls `show` again and again in a thread until it is closed."""

    def __init__(self, wait: float, growth: float):
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(wait, growth), daemon=True)

    def _run(self, wait: float, growth: float) -> None:
        while not self._stop.wait(wait):
            self.show()
            wait *= growth

    def show(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


class _Bar(_Clock):
    """tqdm's bar, whose remaining time is from the mean over all that has come."""

    def __init__(self, total: int | None, initial: int, desc: str | None):
        super().__init__(BAR, 1.0)
        self.done = initial
        self._bar = tqdm(total=total, initial=initial, desc=desc, smoothing=0, leave=False)
        self._thread.start()

    def show(self) -> None:
        self._bar.n = self.done
        self._bar.refresh()

    def close(self) -> None:
        super().close()
        self.show()
        self._bar.close()


class _Lines(_Clock):
    """A line after ten seconds, then ever fewer."""

    def __init__(self, total: int | None, initial: int, desc: str | None):
        super().__init__(LINE, 1.5)
        self.total, self.initial, self.done = total, initial, initial
        self.name, self.start = f"{desc}: " if desc else "", time.monotonic()
        self._thread.start()

    def show(self) -> None:
        seconds, new = time.monotonic() - self.start, self.done - self.initial
        line = f"{self.name}{self.done:,}"
        if self.total is not None:
            line += f" of {self.total:,}"
        line += f" after {tqdm.format_interval(seconds)}"
        if self.total is not None and new:
            left = seconds / new * (self.total - self.done)
            line += f", about {tqdm.format_interval(left)} left"
        print(line, file=sys.stderr, flush=True)
