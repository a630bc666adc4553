"""Tasks in processes that may hang or die: each result as it comes, nothing else is lost.

The processes are joblib's: ``with joblib.parallel_config("dask"):`` (or ``"ray"``, where they are
installed) names a cluster instead of this machine.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass
from multiprocessing import current_process
from pathlib import Path
from typing import Any, TypeVar

from joblib import Parallel, delayed, parallel_config
from joblib._parallel_backends import LokyBackend
from joblib.parallel import get_active_backend

from schnetgen_pyg.errors import require

T = TypeVar("T")


R = TypeVar("R")


@dataclass(frozen=True)
class Failure:
    """A task without a result: ``timeout``, or ``crash`` of its process."""

    reason: str


def job_count(jobs: int | None) -> int:
    """Processes: as asked for, by default one per core."""
    require(jobs is None or jobs >= 1, "jobs", jobs, "at least 1, or none for one per core")
    return jobs or os.cpu_count() or 1


def _guarded(
    function: Callable[[T], R], index: int, task: T, timeout: float, note: str
) -> tuple[int, R]:
    """The result; a process of ours ends itself at the timeout, also out of compiled code that no
    signal interrupts, and leaves a file ``note``."""
    if not (timeout < float("inf") and current_process().name.startswith("LokyProcess")):
        return index, function(task)
    with open(note, "w") as file:
        faulthandler.dump_traceback_later(timeout, exit=True, file=file)
        try:
            return index, function(task)
        finally:
            faulthandler.cancel_dump_traceback_later()


def _parallel(jobs: int, threads: int) -> Parallel:
    """At most ``jobs`` tasks at a time in other processes (one task too), or where the user's
    `joblib.parallel_config` says."""
    backend, _ = get_active_backend()
    local = isinstance(backend, LokyBackend)
    inner: Any = contextlib.nullcontext()
    if local and backend.inner_max_num_threads is None:
        inner = parallel_config(backend="loky", inner_max_num_threads=threads)
    with inner:
        return Parallel(
            n_jobs=max(jobs, 2) if local else jobs,
            pre_dispatch=jobs if local else "2 * n_jobs",
            batch_size=1,
            return_as="generator_unordered",
        )


def in_processes(
    function: Callable[[T], R],
    tasks: Iterable[T],
    *,
    jobs: int,
    timeout: float = float("inf"),
    threads: int = 1,
) -> Generator[tuple[int, R | Failure], None, None]:
    """Number and result of every task, as they come.

    When a process dies, the tasks that were under way are done again, each alone; the one at fault
    is a `Failure`. An exception of the function is raised.

    Args:
        function: of one task; it and its results can be pickled.
        tasks: taken one after another, when there is room.
        jobs: tasks at a time.
        timeout: seconds for one task, after which its process is ended.
        threads: of each process.
    """
    with tempfile.TemporaryDirectory() as folder:
        yield from _unordered(function, tasks, jobs, threads, timeout, Path(folder))


def _unordered(
    function: Callable[[T], R],
    tasks: Iterable[T],
    jobs: int,
    threads: int,
    timeout: float,
    folder: Path,
) -> Iterator[tuple[int, R | Failure]]:
    numbered = enumerate(tasks)
    running: dict[int, T] = {}

    def call(index: int, task: T) -> Any:
        return delayed(_guarded)(function, index, task, timeout, str(folder / str(index)))

    def late(index: int) -> bool:
        note = folder / str(index)
        return note.is_file() and note.stat().st_size > 0

    def started() -> Iterator[Any]:
        for index, task in numbered:
            running[index] = task
            yield call(index, task)

    while True:
        try:
            for index, result in _parallel(jobs, threads)(started()):
                del running[index]
                yield index, result
            return
        except BrokenExecutor:
            suspects = dict(running)
            running.clear()
        for index, task in suspects.items():
            if late(index):
                yield index, Failure("timeout")
                continue
            try:
                yield from _parallel(1, threads)([call(index, task)])
            except BrokenExecutor:
                yield index, Failure("timeout" if late(index) else "crash")


def each_in_processes(
    function: Callable[[list[T]], list[R]],
    items: Sequence[T],
    *,
    size: int,
    jobs: int,
    timeout: float = float("inf"),
    threads: int = 1,
    seconds: float = float("inf"),
) -> Iterator[tuple[int, R | Failure]]:
    """Number and result of every item, as they come, of a function of several items.

    Args:
        function: from a list of items to the list of their results.
        items: travel in groups of ``size``; those of a group that fails go again one at a time.
        jobs, timeout, threads: as `in_processes` has them, for a group.
        seconds: after which nothing more is begun; results are missing then.
    """
    end = time.monotonic() + seconds

    def tasks(groups: Sequence[range]) -> Iterator[list[T]]:
        for group in groups:
            if time.monotonic() > end:
                return
            yield [items[k] for k in group]

    def run(groups: Sequence[range]) -> Iterator[tuple[range, list[R] | Failure]]:
        for number, result in in_processes(
            function, tasks(groups), jobs=jobs, timeout=timeout, threads=threads
        ):
            yield groups[number], result

    failed: list[range] = []
    count = len(items)
    for group, result in run([range(k, min(k + size, count)) for k in range(0, count, size)]):
        if not isinstance(result, Failure):
            yield from zip(group, result, strict=True)
        elif len(group) == 1:
            yield group[0], result
        else:
            failed += [range(k, k + 1) for k in group]
    for group, result in run(failed):
        yield group[0], result if isinstance(result, Failure) else result[0]
