"""Where fused kernels can take the place of plain torch."""

from __future__ import annotations

import warnings
from functools import lru_cache
from types import ModuleType

import torch
from torch import Tensor

from schnetgen_pyg.accelerated.switches import enabled


def kernels(like: Tensor) -> ModuleType | None:
    """`triton_kernels`, for tensors on a GPU with Triton, in single precision, without a
    gradient."""
    known = like.dtype in (torch.float32, torch.int32)
    able = like.is_cuda and known and not like.requires_grad and enabled("triton_kernels")
    return _load(like.device) if able else None


@lru_cache(maxsize=16)
def _load(device: torch.device) -> ModuleType | None:
    try:
        from schnetgen_pyg.accelerated import triton_kernels

        # They are compiled at the first call, which fails on a machine without a C compiler.
        one, keys = torch.zeros(1, 1, 3, device=device), torch.zeros(2, 1, device=device).int()
        triton_kernels.sample(one[0], one, one, 1.0, keys)
    except ImportError:
        return None
    except Exception as error:
        warnings.warn(
            f"positions are sampled by plain torch, for Triton fails on {device} ({error}); it "
            "needs a C compiler and the headers of Python",
            stacklevel=2,
        )
        return None
    return triton_kernels
