"""What molecules are to be like: the targets of a call, by what the model's conditions read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.conditions import Condition
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.registry import nearest


def targets_of(model: SchNetGen, given: Mapping[str, Any], count: int) -> dict[str, Tensor]:
    """What the model's conditions read of each molecule, by name [count, …], from one value for
    all or one for each; of the optional attributes those that are given at all.

    Raises:
        InputError: for what is missing, or what no condition reads.
    """
    if not isinstance(given, Mapping):
        raise InputError(f"targets must be a dict such as {{'gap': 4.0}}, got {given!r}")
    _check_names(model, given)
    found: dict[str, Tensor] = {}
    for name, value in given.items():
        if name in model.optional:
            rows = _rows(model.optional[name], name, value, count)
            if not bool(model.optional[name].is_absent(name, rows).all()):
                found[name] = rows
            continue
        try:
            value = torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError):
            raise InputError(f"targets: {name} must be numbers, got {value!r}") from None
        if not bool(value.isfinite().all()):
            raise InputError(f"targets: {name!r} is not finite: {value.tolist()}")
        each = value.dim() and len(value) == count
        found[name] = value.expand(count, *value.shape[1:] if each else value.shape)
    return found


def _check_names(model: SchNetGen, given: Mapping[str, Any]) -> None:
    required, optional = model.required, list(model.optional)
    wrong = [f"lacks {name!r}" for name in required if name not in given]
    wrong += [
        f"has {name!r}, which none reads{nearest(name, [*required, *optional])}"
        for name in given
        if name not in (*required, *optional)
    ]
    if not wrong:
        return
    units = {name: condition.unit(name) for name, condition in model.optional.items()}
    known = [f"{name} ({unit})" if unit else name for name, unit in units.items()]
    also = f", and any of {', '.join(known)} may be given" if known else ""
    raise InputError(
        f"targets: {'; '.join(wrong)}; the model's conditions require "
        f"{', '.join(required) or 'nothing'}{also}"
    )


def _rows(condition: Condition, name: str, value: Any, count: int) -> Tensor:
    """An optional attribute of every molecule [count, …]."""
    rows, shape = condition.target(name, value), condition.absent(name).shape
    if rows.shape == shape:
        rows = rows.expand(count, *shape)
    if rows.shape != (count, *shape):
        raise InputError(
            f"targets: {name} must be one value, or one for each of the {count} molecules, got "
            f"the shape {list(rows.shape)}"
        )
    if bool(rows.isinf().any()):
        raise InputError(f"targets: {name!r} is not finite: {value}")
    return rows.float() if rows.is_floating_point() else rows


def shown(model: SchNetGen, given: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """What each molecule says in its ``info`` of the optional attributes that were asked of it:
    ``NAME_target``, so that nobody takes it for what the molecule is like, and ``NAME_unit`` where
    that is known."""
    said: list[dict[str, Any]] = [{} for _ in range(count)]
    for name, condition in model.optional.items():
        if name in given:
            each = condition.shown(name, given[name])
            for number, own in enumerate(said):
                value = each[number] if isinstance(each, list) else each
                if value is not None and value == value:  # NaN is not
                    own[f"{name}_target"] = value
                    own |= {f"{name}_unit": unit} if (unit := condition.unit(name)) else {}
    return said


def unusual_targets(model: SchNetGen, targets: Mapping[str, Tensor]) -> list[str]:
    """Which targets are unlike what the model has seen, with the figures."""
    texts = [
        model.optional[name].unusual(name, value)
        for name, value in targets.items()
        if name in model.optional
    ]
    return [f"{text}. Expect worse molecules" for text in texts if text]


@torch.inference_mode()
def told_of(model: SchNetGen, targets: Mapping[str, Tensor], count: int) -> Tensor | None:
    """What p(Z) is told of the molecules [count, hidden_channels]; nothing where there is no
    p(Z), or no target of which it knows."""
    if model.composition is None or not targets:
        return None
    known = {name: value.to(model.device) for name, value in targets.items()}
    return model.of_molecules(Data(ptr=torch.arange(count + 1, device=model.device), **known))


def plain(model: SchNetGen, given: Mapping[str, Any]) -> dict[str, Any]:
    """Targets as JSON can hold them."""
    return {
        name: (
            model.optional[name].target(name, value)
            if name in model.optional
            else torch.as_tensor(value)
        ).tolist()
        for name, value in given.items()
    }
