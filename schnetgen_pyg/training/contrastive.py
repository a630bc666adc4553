"""Pre-training of 2-D encoders by comparison with conformers: GraphMVP's objective.

Its contrastive part asks which conformer of a batch belongs to which graph, its generative part for
the vector of the one from that of the other (Liu et al., "Pre-training Molecular Graph
Representation with 3D Geometry", ICLR 2022). It is the relative that training by likelihood is
compared with, from the same parts: `BoltzmannGNN`, and a SchNet that reads the conformers.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import global_mean_pool

from schnetgen_pyg.data.batches import EnsembleSampler, seeded
from schnetgen_pyg.data.conversion import checked
from schnetgen_pyg.data.graph_features import GRAPH, GraphBatch
from schnetgen_pyg.data.means import Mean
from schnetgen_pyg.data.splits import groups_of, split
from schnetgen_pyg.data.stored import elements_in
from schnetgen_pyg.errors import require
from schnetgen_pyg.representations.boltzmann_gnn import BoltzmannGNN, BoltzmannGNNConfig
from schnetgen_pyg.representations.layers import mlp
from schnetgen_pyg.representations.schnet import SchNet
from schnetgen_pyg.storage.provenance import provenance
from schnetgen_pyg.training.callbacks import metrics
from schnetgen_pyg.training.checkpoints import MODEL, SPLIT
from schnetgen_pyg.training.config import RunConfig
from schnetgen_pyg.training.learnable import with_valid_graphs
from schnetgen_pyg.training.module import RunModule, Terms
from schnetgen_pyg.training.trainer import check_continues, make_trainer, run


@dataclass(frozen=True)
class ContrastiveConfig(RunConfig):
    """How an encoder is trained by comparison with conformers.

    All settings of a `RunConfig`, and:

    Attributes:
        temperature: by which cosines are divided.
        generative_weight: of the generative part; 0 leaves it out.
        num_interactions: blocks of the SchNet.
        group_by: entry of the structures' ``info`` that the conformers of a molecule share: every
            pass sees each molecule once, as one of its conformers, and a molecule stays on one
            side of the split.
    """

    batch_size: int = 64
    learning_rate: float = 5e-4
    schedule: Literal["constant", "cosine", "plateau"] = "cosine"
    gradient_clip: float = 5.0
    temperature: float = 0.1
    generative_weight: float = 1.0
    num_interactions: int = 3
    group_by: str = "smiles"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_at_least(2, "batch_size")
        self._require_at_least(1, "num_interactions")
        require(self.temperature > 0, "temperature", self.temperature, "positive")
        require(
            self.generative_weight >= 0, "generative_weight", self.generative_weight, "0 or more"
        )


class ContrastiveModule(RunModule):
    """InfoNCE between the vectors of graphs and of conformers in both directions, and VRR, the
    variational reconstruction of each from the other.

    Args:
        model: the encoder, which is what the training writes.
        config: of the run.
    """

    def __init__(self, model: BoltzmannGNN, config: ContrastiveConfig):
        super().__init__(model, config)
        channels = model.config.channels
        self.conformers = SchNet(
            hidden_channels=channels,
            num_filters=channels,
            num_interactions=config.num_interactions,
            cutoff=5.0,
        )
        self.projections = nn.ModuleList(mlp([channels] * 3) for _ in range(2))
        self.generators = nn.ModuleList(_Reconstruction(channels) for _ in range(2))

    def terms(self, batch: Data, *seed: int) -> Terms:
        graphs = GraphBatch.of_rows(batch[GRAPH], batch.batch, batch.ptr)
        flat = self.model(*graphs)
        atoms = self.conformers.from_positions(batch.z, batch.pos, batch.batch)
        solid = global_mean_pool(atoms, batch.batch)
        sides = [project(x) for project, x in zip(self.projections, (flat, solid), strict=True)]
        contrastive, right = info_nce(sides[0], sides[1], self.config.temperature)
        number = float(len(flat))
        loss = {"contrastive": Mean(contrastive.sum(), number)}
        if self.config.generative_weight:
            generator = seeded(self.config.seed, *seed)
            pairs = ((flat, solid), (solid, flat))
            found = [one(*two, generator) for one, two in zip(self.generators, pairs, strict=True)]
            both = 0.5 * self.config.generative_weight * torch.stack(found).sum()
            loss["generative"] = Mean(both, number)
        return Terms(loss, {**loss, "found": Mean(right.sum(), number)})


def info_nce(one: Tensor, other: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Cross-entropies in nats of which row of each belongs to which of the other, the mean of both
    directions, and whether each row of the first finds its own [num_rows].

    Args:
        one, other: vectors of the same molecules in the same order [num_rows, channels].
        temperature: by which their cosines are divided.
    """
    cosine = F.normalize(one.float(), dim=1) @ F.normalize(other.float(), dim=1).T
    own = torch.arange(len(one), device=one.device)
    logits = cosine / temperature
    both = [F.cross_entropy(part, own, reduction="none") for part in (logits, logits.T)]
    return torch.stack(both).mean(0), (cosine.argmax(1) == own).float()


class _Reconstruction(nn.Module):
    """A vector from another one, through a latent: its squared error and the latent's KL divergence
    from a standard normal distribution, summed over molecules."""

    def __init__(self, channels: int):
        super().__init__()
        self.latent = nn.Linear(channels, 2 * channels)
        self.back = mlp([channels] * 3)

    def forward(self, given: Tensor, wanted: Tensor, generator: torch.Generator) -> Tensor:
        mean, log_std = self.latent(given).float().chunk(2, 1)
        log_std = log_std.clamp(-6.0, 3.0)
        noise = torch.randn(mean.shape, generator=generator).to(mean)
        found = self.back(mean + log_std.exp() * noise)
        error = (found.float() - wanted.detach().float()).square().mean(1)
        divergence = 0.5 * (mean.square() + (2 * log_std).exp() - 1) - log_std
        return (error + divergence.mean(1)).sum()


def fit_contrastive(
    structures: Any,
    out: str | os.PathLike[str],
    config: ContrastiveConfig | None = None,
    *,
    model: BoltzmannGNN | None = None,
    **changes: Any,
) -> BoltzmannGNN:
    """Train an encoder of 2-D graphs on ensembles of conformers, or continue the run in ``out``.

    Args:
        structures: conformers with the name of their molecule in ``info``
            (`ContrastiveConfig.group_by`).
        out: folder of the run, as that of `schnetgen_pyg.fit`; ``model.safetensors`` is the
            encoder.
        config: settings; keyword arguments replace its fields.
        model: the encoder to train; by default a new one of 128 channels and four layers.

    Raises:
        InputError: for structures without such a name, or if none is a valid molecule.
    """
    config = replace(config or ContrastiveConfig(), **changes)
    out, whole = Path(out), checked(structures)
    groups_of(whole, range(len(whole)), config.group_by)  # each names its molecule
    data = with_valid_graphs(whole)
    torch.manual_seed(config.seed)
    elements = tuple(sorted(elements_in(data)))
    model = model or BoltzmannGNN(BoltzmannGNNConfig(elements=elements))
    out.mkdir(parents=True, exist_ok=True)
    check_continues(out, model, config)
    trainer = make_trainer(config, out, keep="last")
    held_out: dict[str, Any] = {"num_validation": config.num_validation, "seed": config.seed}
    parts = split(data, **held_out, path=out / SPLIT, group_by=config.group_by, min_atoms=2)
    train, validation = ([data[k] for k in parts[name]] for name in ("train", "validation"))
    ensembles = groups_of(train, range(len(train)), config.group_by)
    weights = torch.ones(len(train))
    sampler = EnsembleSampler(ensembles, weights, config.batch_size, config.steps, config.seed)
    # One conformer of each molecule: two of the same would be each other's wrong answer.
    first = [own[0] for own in groups_of(validation, range(len(validation)), config.group_by)]
    model.provenance = {"objective": "GraphMVP", "training": asdict(config)}
    model.provenance |= {"num_training": len(train)} | provenance()
    held = [_bare(validation[k]) for k in first]
    module = ContrastiveModule(model, config)
    run(trainer, module, [_bare(one) for one in train], held, sampler=sampler)
    trained = BoltzmannGNN.from_pretrained(out / MODEL)
    if trainer.is_global_zero and metrics(trainer):
        trained.provenance["metrics"] = metrics(trainer)
        trained.save(out / MODEL)
    return trained


def _bare(data: Data) -> Data:
    return Data(z=data.z, pos=data.pos, **{GRAPH: data[GRAPH]})
