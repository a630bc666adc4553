"""Tasks in processes that may hang or die: each result as it comes, nothing else is lost.

The processes are joblib's: ``with joblib.parallel_config("dask"):`` (or ``"ray"``, where they are
installed) names a cluster instead of this machine. There a process that dies is found out as here;
time limits hold for the processes of this machine.
"""

from __future__ import annotations

import faulthandler
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass
from itertools import islice
from multiprocessing import current_process
from pathlib import Path
from typing import Any, TypeVar

import joblib
from joblib.externals.loky import ProcessPoolExecutor, get_reusable_executor
from joblib.parallel import BACKENDS, get_active_backend

from schnetgen_pyg.errors import require

T = TypeVar("T")
R = TypeVar("R")

#: Names of what Dask and Ray raise when a process of theirs is gone for good; loky raises a
#: `BrokenExecutor`.
GONE = ("KilledWorker", "WorkerCrashedError", "ActorDiedError", "RayActorError")


def grouped(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items, so many at a time, as they come."""
    remaining = iter(items)
    while group := list(islice(remaining, size)):
        yield group


#: A function and its arguments.
Call = tuple[Any, ...]

#: What sets the threads of a new process.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

#: Seconds after which a process without work ends.
IDLE = 300

#: Tasks for each process in one round, where a backend gives its results in rounds only.
ROUND = 4


@dataclass(frozen=True)
class Failure:
    """A task without a result: ``timeout``, or ``crash`` of its process."""

    reason: str


def job_count(jobs: int | None) -> int:
    """Processes: as asked for, by default one per core, of the cluster where one is named."""
    require(jobs is None or jobs >= 1, "jobs", jobs, "at least 1, or none for one per core")
    return jobs or int(joblib.effective_n_jobs(-1))


def in_processes(
    function: Callable[[T], R],
    tasks: Iterable[T],
    *,
    jobs: int,
    timeout: float = float("inf"),
    threads: int = 1,
) -> Generator[tuple[int, R | Failure], None, None]:
    """Number and result of every task, as they come.

    When a process dies, the tasks that were under way, if several, are done again, each alone; the
    one at fault is a `Failure`. An exception of the function is raised.

    Args:
        function: of one task; it and its results can be pickled.
        tasks: taken one after another, when there is room.
        jobs: tasks at a time.
        timeout: seconds for one task, after which its process is ended.
        threads: of each process.
    """
    with tempfile.TemporaryDirectory() as folder:
        yield from _unordered(function, tasks, jobs, threads, timeout, Path(folder))


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


def in_order(results: Iterable[tuple[int, R]]) -> Iterator[R]:
    """Results of `in_processes` by their number, each as soon as those before it are there."""
    waiting: dict[int, R] = {}
    following = 0
    for number, result in results:
        waiting[number] = result
        while following in waiting:
            yield waiting.pop(following)
            following += 1


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


def _executor(jobs: int, threads: int) -> tuple[Executor, int] | None:
    """What runs tasks here or on Dask, and how many it is given at once; none for other backends
    of joblib."""
    backend, _ = get_active_backend()
    # A daemon, such as a worker of Dask that calls us, may have no processes of its own.
    if isinstance(backend, BACKENDS["loky"]) and not current_process().daemon:
        count = str(backend.inner_max_num_threads or threads)
        environment = dict.fromkeys(THREADS, count)
        return get_reusable_executor(jobs, timeout=IDLE, env=environment), jobs
    if hasattr(backend, "client"):
        # Joblib itself waits for ever for a task that killed its worker.
        return backend.client.get_executor(pure=False), 2 * backend.effective_n_jobs(-1)
    return None


def _run(calls: Iterator[Call], jobs: int, threads: int) -> Iterator[Any]:
    """Results of the calls, at most ``jobs`` at a time in other processes, or where the user's
    `joblib.parallel_config` says."""
    chosen = _executor(jobs, threads)
    if chosen is None:  # Of one job joblib would make no process.
        with joblib.Parallel(n_jobs=max(jobs, 2), batch_size=1) as parallel:
            while some := list(islice(calls, ROUND * jobs)):
                yield from parallel((function, arguments, {}) for function, *arguments in some)
        return
    executor, most = chosen
    pending: set[Future[Any]] = set()
    try:
        while True:
            pending |= {executor.submit(*call) for call in islice(calls, most - len(pending))}
            if not pending:
                return
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        for future in pending:
            future.cancel()
        if pending and isinstance(executor, ProcessPoolExecutor):
            executor.shutdown(kill_workers=True)


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

    def call(index: int, task: T) -> Call:
        return _guarded, function, index, task, timeout, str(folder / str(index))

    def late(index: int) -> bool:
        note = folder / str(index)
        return note.is_file() and note.stat().st_size > 0

    def started() -> Iterator[Call]:
        for index, task in numbered:
            running[index] = task
            yield call(index, task)

    while True:
        try:
            for index, result in _run(started(), jobs, threads):
                del running[index]
                yield index, result
            return
        except Exception as error:
            if not _gone(error):
                raise
            suspects = dict(running)
            running.clear()
        for index, task in suspects.items():
            if late(index) or len(suspects) == 1:
                yield index, Failure("timeout" if late(index) else "crash")
                continue
            try:
                yield from _run(iter([call(index, task)]), 1, threads)
            except Exception as error:
                if not _gone(error):
                    raise
                yield index, Failure("timeout" if late(index) else "crash")


def _gone(error: Exception) -> bool:
    """Whether this says that a process is gone, and not what the function raised."""
    return isinstance(error, BrokenExecutor) or type(error).__name__ in GONE
