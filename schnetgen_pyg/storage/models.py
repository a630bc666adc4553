"""Models in files: weights, configuration and provenance in one safetensors file.

The file holds numbers and JSON only: nothing in it is executed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from schnetgen_pyg.errors import InputError
from schnetgen_pyg.storage.atomic import replacing

FORMAT = 2


CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"


Model = TypeVar("Model", bound=nn.Module)


class Stored(NamedTuple):
    """What a file holds."""

    kind: str
    path: Path
    config: dict[str, Any]
    provenance: dict[str, Any]
    weights: dict[str, Tensor]


def save_model(
    path: str | os.PathLike[str],
    kind: str,
    config: Mapping[str, Any],
    provenance: Mapping[str, Any],
    weights: Mapping[str, Tensor],
) -> None:
    """Write a model to one safetensors file, atomically.

    Raises:
        InputError: if a weight is not finite; what was there before stays.
    """
    require_finite_weights(weights, str(path))
    header = {"format": FORMAT, "kind": kind, "config": config, "provenance": provenance}
    contiguous = {name: value.contiguous() for name, value in weights.items()}
    content = safetensors.torch.save(contiguous, metadata={"schnetgen_pyg": json.dumps(header)})
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def require_finite_weights(weights: Mapping[str, Tensor], where: str) -> None:
    """Refuse weights of which any is not finite: such a model says nothing.

    Raises:
        InputError: naming the first such tensor.
    """
    for name, value in weights.items():
        if not bool(value.isfinite().all()):
            number = int((~value.isfinite()).sum())
            raise InputError(
                f"{where}: {number} of {value.numel()} weights in {name} are not finite, as "
                "after a training that diverged; take an earlier checkpoint, or train anew with a "
                "lower learning_rate"
            )


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of the numbers, as hexadecimal digits."""
    found = hashlib.sha256()
    for value in weights.values():
        found.update(value.cpu().numpy().tobytes())
    return found.hexdigest()


def _kind(header: Any) -> str | None:
    return header.get("kind", "generator") if isinstance(header, dict) else None


def _header(file: Any) -> Any:
    return json.loads((file.metadata() or {}).get("schnetgen_pyg", "null"))


def bundled(kind: str) -> list[str]:
    """Names of the bundled models of a kind."""
    names = []
    for path in sorted(CHECKPOINTS.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            if _kind(_header(file)) == kind:
                names.append(path.stem)
    return names


def find_model(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a bundled model, or the path itself, whether there is a file or not."""
    path = Path(name_or_path)
    beside = CHECKPOINTS / f"{name_or_path}.safetensors"
    return beside if not path.is_file() and beside.is_file() else path


def header_of(name_or_path: str | os.PathLike[str]) -> dict[str, Any]:
    """What the file of a model says beside its weights: ``kind``, ``config``, ``provenance``;
    nothing where there is no such file, as `load_model` says."""
    try:
        with safe_open(find_model(name_or_path), framework="pt") as file:
            header = _header(file)
    except (SafetensorError, OSError, json.JSONDecodeError):
        return {}
    return {"kind": _kind(header), **header} if isinstance(header, dict) else {}


def kind_of(name_or_path: str | os.PathLike[str]) -> str | None:
    """What a bundled model, or a file, holds, such as ``generator`` or ``potential``; nothing for
    what `load_model` will refuse."""
    return header_of(name_or_path).get("kind")


def load_model(name_or_path: str | os.PathLike[str], kind: str, config: type) -> Stored:
    """Read a bundled model by its name, or any file that `save_model` wrote.

    Args:
        name_or_path: of the model.
        kind: what it must be: ``generator`` or ``potential``.
        config: dataclass that its settings are of.

    Raises:
        InputError: if there is no such model, or the file is none of this kind and version.
    """
    stored = read_model(name_or_path, kind)
    unknown = sorted(set(stored.config) - {field.name for field in fields(config)})
    if unknown:
        raise InputError(
            f"{stored.path}: unknown settings {unknown}; was it written by a newer "
            "version of schnetgen_pyg?"
        )
    return stored


def read_model(name_or_path: str | os.PathLike[str], *kinds: str) -> Stored:
    """The same of a model that may be of several kinds, whose settings nobody has looked at.

    Raises:
        InputError: as `load_model`.
    """
    path = find_model(name_or_path)
    if not path.is_file():
        known = ", ".join(name for kind in kinds for name in bundled(kind))
        raise InputError(
            f"{name_or_path}: neither a file nor a bundled checkpoint (bundled: {known or 'none'})"
        )
    try:
        with safe_open(path, framework="pt") as file:
            header = _header(file)
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        found = header.get("format") if isinstance(header, dict) else None
        raise InputError(
            f"{path}: checkpoint format {found}, this version of schnetgen_pyg "
            f"reads format {FORMAT}; train or convert it with this version"
        )
    kind = _kind(header)
    if kind not in kinds:
        raise InputError(f"{path}: holds a {kind}, expected a {' or a '.join(kinds)}")
    try:
        settings = header["config"] | {"elements": tuple(header["config"]["elements"])}
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path}: its header has no configuration with elements, so it was not written by "
            "a model's save; write it anew with that"
        ) from error
    require_finite_weights(weights, str(path))
    return Stored(kind, path, settings, header.get("provenance", {}), weights)


def restore(stored: Stored, build: Callable[[dict[str, Any]], Model]) -> Model:
    """Build a model from the stored configuration and give it its weights."""
    try:
        model = build(stored.config)
    except (TypeError, ValueError, IndexError, RuntimeError) as error:
        raise InputError(f"{stored.path}: its configuration cannot be used ({error})") from error
    try:
        model.load_state_dict(stored.weights)
    except RuntimeError as error:
        raise InputError(f"{stored.path}: weights and configuration disagree ({error})") from error
    return model
