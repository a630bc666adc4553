"""What torch and the user have set, left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within it the model is in evaluation mode, and new tensors have the type of its weights,
    whatever another package has made torch's default."""
    training = [module for module in model.modules() if module.training]
    default = torch.get_default_dtype()
    own = next((p.dtype for p in model.parameters() if p.is_floating_point()), default)
    model.eval()
    torch.set_default_dtype(own if own in (torch.float32, torch.float64) else torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(default)
        for module in training:
            module.training = True
