"""Memory that stays with the process while it computes.

glibc gives large blocks back to the system when they are freed, and the system fills every page
that it hands out with zeros again: temporary tensors of some megabytes are paid for at every use.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from schnetgen_pyg.accelerated.switches import enabled

# Parameters of mallopt(3): what is larger comes from the system and returns to it, and how much
# free memory at the end of the heap returns. The second pair is as far as glibc goes by itself.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3


KEPT = {MMAP_THRESHOLD: 1 << 30, TRIM_THRESHOLD: (1 << 31) - 1}


USUAL = {MMAP_THRESHOLD: 1 << 25, TRIM_THRESHOLD: 1 << 26}


@contextmanager
def memory_kept() -> Iterator[None]:
    """Within it freed memory is kept for the next tensor, and afterwards given back; without
    glibc nothing happens."""
    able = sys.platform == "linux" and enabled("memory")
    library: Any = ctypes.CDLL(None) if able else None
    if not hasattr(library, "mallopt"):
        yield
        return
    for parameter, value in KEPT.items():
        library.mallopt(parameter, value)
    try:
        yield
    finally:
        for parameter, value in USUAL.items():
            library.mallopt(parameter, value)
        library.malloc_trim(0)
