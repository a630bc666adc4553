import os
import threading
import time

import joblib
import pytest

from schnetgen_pyg import InputError
from schnetgen_pyg.parallel import Failure, each_in_processes, in_order, in_processes


def work(task):
    if task == "die":
        os._exit(9)
    if task == "hang":
        time.sleep(1000)
    if task == "refuse":
        raise InputError("no such task")
    return task, os.getpid()


def test_one_that_hangs_and_one_that_dies_lose_nothing_else():
    tasks = ["a", "die", "b", "hang", "c"]
    found = dict(in_processes(work, iter(tasks), jobs=2, timeout=1.0))
    assert sorted(found) == list(range(5))
    assert (found[1], found[3]) == (Failure("crash"), Failure("timeout"))
    assert [found[k][0] for k in (0, 2, 4)] == ["a", "b", "c"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_never_here(jobs):
    (found,) = in_processes(work, ["a"], jobs=jobs)
    assert found[1][1] != os.getpid()


def test_exceptions_are_raised():
    with pytest.raises(InputError, match="no such task"):
        list(in_processes(work, ["a", "refuse"], jobs=2))


def test_a_backend_may_be_named():
    with joblib.parallel_config("threading", n_jobs=2):
        found = list(in_processes(lambda _: threading.get_ident(), [1, 2], jobs=2))
    assert sorted(index for index, _ in found) == [0, 1]
    assert found[0][1] != threading.main_thread().ident


def work_all(tasks):
    return [work(task)[0] for task in tasks]


def test_groups_are_taken_apart_where_they_fail():
    found = dict(each_in_processes(work_all, ["a", "b", "die", "c", "d"], size=2, jobs=1))
    assert found == {0: "a", 1: "b", 2: Failure("crash"), 3: "c", 4: "d"}


def test_nothing_begins_after_the_time():
    assert not list(each_in_processes(work_all, ["a"], size=1, jobs=1, seconds=-1))


def test_results_in_order():
    given = iter([(2, "c"), (0, "a"), (1, "b"), (3, "d")])
    found = in_order(given)
    assert next(found) == "a"
    assert next(given) == (1, "b")  # no more was taken than was needed
    assert list(in_order([(1, "b"), (0, "a")])) == ["a", "b"]


def test_results_come_while_others_are_still_running():
    """So that what is there can be written before a kill."""
    results = in_processes(work, iter(["a", "hang"]), jobs=2)
    assert next(results)[0] == 0
    begun = time.monotonic()
    results.close()  # ends the one that hangs, too
    assert time.monotonic() - begun < 60
