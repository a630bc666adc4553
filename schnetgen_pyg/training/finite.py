"""A run whose loss, gradient or weights are not finite ends there, and says who is to blame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch_geometric.data import Data

from schnetgen_pyg.data.means import Mean
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.training.checkpoints import LAST, MODEL

if TYPE_CHECKING:
    from schnetgen_pyg.training.module import RunModule

#: Structures to blame that are named.
NAMED = 5


def require_finite_loss(module: RunModule, loss: Tensor) -> None:
    """Stop the run at a training step whose loss is not finite.

    Raises:
        InputError: naming the step and the structures to blame.
    """
    if not bool(loss.isfinite()):
        _stop(module, "the loss is")


def require_finite_gradient(module: RunModule) -> None:
    """Stop the run before a gradient that is not finite spoils the weights."""
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    if gradients and not bool(get_total_norm(gradients).isfinite()):
        _stop(module, "the gradient is")


def require_finite_validation(
    module: RunModule, batch: Data, index: int, found: Mapping[str, Mean]
) -> None:
    """Stop the run at a validation whose loss is not finite.

    Args:
        module: in training.
        batch: of the validation, the ``index``-th one.
        found: what the model says of it.
    """
    if bool(torch.stack([mean.total.double() for mean in found.values()]).isfinite().all()):
        return
    loader: Any = module.trainer.val_dataloaders
    guilty = _guilty(module, loader.dataset, loader.sampler[index], (index, 3))
    _stop(module, "the validation loss is", guilty)


def require_finite_run(module: RunModule) -> None:
    """Stop the run before weights that are not finite replace a good checkpoint."""
    if not _finite(module.parameters()):
        _stop(module, "some of the weights are", [])


def _finite(weights: Iterable[Tensor]) -> bool:
    return bool(torch.stack([weight.detach().isfinite().all() for weight in weights]).all())


def _guilty(
    module: RunModule, molecules: Any, batch: Sequence[int], seed: Sequence[int]
) -> list[int]:
    """Numbers of those structures of a batch that alone make the loss, or its gradient, not
    finite; none where all of several do, as then it is the weights."""
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    found = []
    for place in batch:
        alone: Data = molecules[[place]].to(module.device)
        with torch.enable_grad():
            loss = module.loss(alone, *seed)
            slopes = torch.autograd.grad(loss, weights, allow_unused=True)
        if not _finite([loss, *(slope for slope in slopes if slope is not None)]):
            found.append(int(alone.index))
    return [] if len(found) == len(batch) > 1 else found


def _stop(module: RunModule, what: str, guilty: Sequence[int] | None = None) -> NoReturn:
    trainer = module.trainer
    step, healthy = trainer.global_step, _finite(module.parameters())
    if guilty is None and healthy:
        loader: Any = trainer.train_dataloader
        seed = (step, 2, trainer.global_rank)
        guilty = _guilty(module, loader.dataset, loader.sampler.batch(step), seed)
    if guilty and healthy:
        named = ", ".join(map(str, guilty[:NAMED])) + ", …" * (len(guilty) > NAMED)
        one = len(guilty) == 1
        cause = (
            f"structure{'' if one else 's'} {named} alone make{'s' if one else ''} it so; "
            f"mend {'its' if one else 'their'} labels and positions, or remove "
            f"{'it' if one else 'them'}"
        )
    else:
        cause = (
            "no structure alone is to blame: the training diverged; lower learning_rate (now "
            f"{module.config.learning_rate:g}), or set gradient_clip"
        )
    kept = _keep(module) if healthy else _left(Path(trainer.default_root_dir))
    raise InputError(f"at step {step} {what} not finite: {cause}. {kept}")


def _keep(module: RunModule) -> str:
    """Write the weights, which are still sound, where there is no model yet; what is kept."""
    trainer = module.trainer
    out = Path(trainer.default_root_dir)
    if trainer.global_step and trainer.is_global_zero and not (out / MODEL).is_file():
        module.model.provenance |= {"step": trainer.global_step}
        module.model.save(out / MODEL)
    return _left(out)


def _left(out: Path) -> str:
    names = [name for name in (LAST, MODEL) if (out / name).is_file()]
    if not names:
        return "Nothing was trained before that"
    return f"What was trained before that is in {' and '.join(str(out / name) for name in names)}"
