import ctypes
import resource
import sys

import pytest
import torch

from schnetgen_pyg.memory import memory_kept

glibc = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc"
)


def faults():
    """Pages that the system hands out while tensors of 40 MiB, as large as nothing that glibc
    keeps by itself, come and go."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.zeros(10 << 20).add_(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


@glibc
def test_freed_memory_is_used_again_and_given_back():
    usual = faults()
    with memory_kept():
        faults()
        kept, within = faults(), resident()
    assert kept < 0.1 * usual
    assert within - resident() > 20 << 20
    assert faults() > 0.5 * usual


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_errors_come_through(platform, monkeypatch):
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(ZeroDivisionError), memory_kept():
        raise ZeroDivisionError
