"""What a network has learned of the elements: its embeddings, and whether they know the groups of
the periodic table (K. T. Schütt, *Lernen von Repräsentationen für Atomistische Systeme mit Tiefen
Neuronalen Netzen*, 2018, figure 5)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from ase.data import chemical_symbols
from numpy.typing import NDArray
from torch import nn

from schnetgen_pyg.chem.elements import group_of
from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.potentials.model import Potential
from schnetgen_pyg.storage.atomic import replacing

Array = NDArray[np.floating]


class Embeddings(NamedTuple):
    """Vectors of elements.

    Attributes:
        elements: atomic numbers.
        vectors: x⁰ of each [num_elements, hidden_channels].
    """

    elements: tuple[int, ...]
    vectors: Array

    @property
    def groups(self) -> list[int]:
        """Of each element in the periodic table (`schnetgen_pyg.chem.elements.group_of`)."""
        return [group_of(number) for number in self.elements]


class Separation(NamedTuple):
    """How well groups of elements lie together.

    Attributes:
        accuracy: share of the elements whose nearest other element is of the same group.
        shuffled: the same with the groups given to the elements at random, of each shuffle.
        num_elements: of the groups that have at least two.
    """

    accuracy: float
    shuffled: Array
    num_elements: int

    @property
    def p_value(self) -> float:
        """How often chance does as well: (1 + shuffles at least as good) / (1 + shuffles)."""
        return float((1 + (self.shuffled >= self.accuracy).sum()) / (1 + self.shuffled.size))

    def words(self) -> str:
        """In one line."""
        mean, std = self.shuffled.mean(), self.shuffled.std()
        return (
            f"{self.accuracy:.0%} of {self.num_elements} elements have one of their own group "
            f"nearest; shuffled {mean:.0%} ± {std:.0%}, p = {self.p_value:.2g}"
        )


def element_embeddings(potential: Potential) -> Embeddings:
    """The learned vectors of the elements that a potential is for.

    Raises:
        InputError: if its representation has none, ``embedding``, of elements alone.
    """
    embedding = getattr(potential.representation, "embedding", None)
    if not isinstance(embedding, nn.Embedding):
        raise InputError(
            f"{type(potential.representation).__name__} has no embedding of elements alone; take a "
            "potential with one (schnet, dtnn, painn, equivariant_transformer)"
        )
    elements = tuple(sorted(potential.elements))
    vectors = embedding.weight.detach().cpu().double()[list(elements)]
    return Embeddings(elements, vectors.numpy())


def principal_components(vectors: Array, number: int = 2) -> tuple[Array, Array]:
    """PCA: places on the components of largest variance [num_vectors, number], and the share of the
    variance that each has [number].

    Raises:
        InputError: for fewer vectors than that, plus one.
    """
    require(len(vectors) > number, "number of elements", len(vectors), f"at least {number + 1}")
    left, size, _ = np.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
    share = np.square(size) / max(float(np.square(size).sum()), 1e-300)
    return left[:, :number] * size[:number], share[:number]


def separation(
    vectors: Array, groups: Sequence[int], shuffles: int = 10_000, seed: int = 0
) -> Separation:
    """Leave one out: is the nearest other element of the same group? With a shuffled control.

    Args:
        vectors: of elements [num_elements, channels], embeddings or their principal components.
        groups: of each; those that occur once cannot be met and are left out.
        shuffles: of the groups among the elements.
        seed: of the shuffles.

    Raises:
        InputError: where no group has two elements, or all are of one.
    """
    require(shuffles >= 1, "shuffles", shuffles, "at least 1")
    labels = np.asarray(groups)
    kept = np.array([(labels == group).sum() > 1 for group in labels], dtype=bool)
    labels, points = labels[kept], vectors[kept]
    if len(set(labels.tolist())) < 2:
        raise InputError(
            "whether groups separate takes two groups with two elements each, and the elements "
            f"are of groups {', '.join(map(str, sorted(set(groups))))}; take a model of more"
        )
    apart = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(apart, np.inf)
    nearest = apart.argmin(1)
    rng = np.random.default_rng(seed)
    shuffled = np.empty(shuffles)
    for number in range(shuffles):
        mixed = rng.permutation(labels)
        shuffled[number] = (mixed == mixed[nearest]).mean()
    return Separation(float((labels == labels[nearest]).mean()), shuffled, len(labels))


def write_embeddings(path: str | os.PathLike[str], embeddings: Embeddings) -> None:
    """Write a table (CSV): element, atomic number, group, the first two principal components, and
    all entries of the vector; atomically."""
    places, _ = principal_components(embeddings.vectors)
    table = pd.DataFrame(
        {
            "element": [chemical_symbols[number] for number in embeddings.elements],
            "atomic_number": embeddings.elements,
            "group": embeddings.groups,
            "pc1": places[:, 0],
            "pc2": places[:, 1],
        }
    )
    names = [f"x{k}" for k in range(embeddings.vectors.shape[1])]
    table = pd.concat([table, pd.DataFrame(embeddings.vectors, columns=names)], axis=1)
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
