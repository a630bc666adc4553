"""Potentials: a representation, and heads that read its features as quantities of structures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from torch import nn

from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.potentials.config import PotentialConfig
from schnetgen_pyg.representations import REPRESENTATIONS
from schnetgen_pyg.storage.models import load_model, restore, save_model
from schnetgen_pyg.targets import Column, as_targets
from schnetgen_pyg.targets.predictor import Predictor


class Potential(Predictor):
    """Quantities of structures from the features of their atoms: of the energy
    Σ_i (scale · readout(x_i) + reference of z_i).

    Args:
        config: architecture, or the name of a representation, or a module with
            ``forward(z, graph)``, ``hidden_channels`` and ``cutoff``.
        elements: atomic numbers the model is for.
        targets: what is predicted, names in `schnetgen_pyg.targets.TARGETS`, or columns
            of numbers from `schnetgen_pyg.targets.targets_in`.
        settings: of the representation, e.g. ``Potential("schnet", cutoff=5.0)``.
    """

    def __init__(
        self,
        config: PotentialConfig | str | nn.Module = "schnet",
        elements: Sequence[int] | None = None,
        targets: Sequence[str | Column] | None = None,
        **settings: Any,
    ):
        given = {"elements": elements, "targets": targets}
        chosen: dict[str, Any] = {k: tuple(v) for k, v in given.items() if v is not None}
        registered = not isinstance(config, nn.Module)
        if isinstance(config, nn.Module):
            require(not settings, "settings", settings, "those of the module itself")
            representation, config = config, PotentialConfig(**chosen)
        else:
            if isinstance(config, str):
                config = PotentialConfig(config, settings, **chosen)
            elif settings or chosen:
                config = replace(config, settings=config.settings | settings, **chosen)
            representation = REPRESENTATIONS[config.representation](**config.settings)
        super().__init__(representation, as_targets(config.targets), config.elements)
        self.config, self.registered = config, registered
        #: What is known about the training; saved with the weights.
        self.provenance: dict[str, Any] = {}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write weights and configuration to one safetensors file, atomically.

        Raises:
            InputError: if the representation is a module of one's own.
        """
        if not self.registered:
            raise InputError(
                "a file names the representation it is built from; put yours into "
                "schnetgen_pyg.representations.REPRESENTATIONS and build the potential by its name"
            )
        save_model(path, "potential", asdict(self.config), self.provenance, self.state_dict())

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str]) -> Potential:
        """Load a bundled potential by its name or any file that `save` wrote.

        Raises:
            InputError: if there is no such potential, or the file is none of this version.
        """
        stored = load_model(name_or_path, "potential", PotentialConfig)
        model = restore(stored, lambda settings: cls(PotentialConfig(**settings)))
        model.provenance = stored.provenance
        return model.eval()
