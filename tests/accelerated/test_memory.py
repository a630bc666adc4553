import ctypes
import subprocess
import sys

import pytest

from schnetgen_pyg.accelerated.memory import memory_kept

#: Pages that the system hands out while tensors of 40 MiB, more than glibc keeps by itself, come
#: and go; in a process of its own, whose heap nothing else has used.
SCRIPT = """
import resource
import torch
from schnetgen_pyg.accelerated.memory import memory_kept

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.zeros(10 << 20).add_(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

usual = faults()
with memory_kept():
    faults()
    kept, within = faults(), resident()
print(usual, kept, within - resident())
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc"
)
def test_freed_memory_is_used_again_and_given_back():
    command = [sys.executable, "-c", SCRIPT]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    usual, kept, returned = map(int, output.split())
    assert kept < 0.1 * usual
    assert returned > 20 << 20


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_errors_come_through(platform, monkeypatch):
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(ZeroDivisionError), memory_kept():
        raise ZeroDivisionError
