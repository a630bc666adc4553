"""How much is computed at once: what stays in a processor's cache, so that the next operation finds
it there; on a GPU, what keeps all of it busy."""

from __future__ import annotations

from torch import Tensor

#: Numbers in the largest temporary tensor.
CPU_CHUNK, GPU_CHUNK = 1 << 18, 1 << 24


def per_chunk(like: Tensor, numbers: int) -> int:
    """How many things of so many ``numbers`` each are computed at once, on the device of a
    tensor."""
    return max(1, (GPU_CHUNK if like.is_cuda else CPU_CHUNK) // max(1, numbers))
