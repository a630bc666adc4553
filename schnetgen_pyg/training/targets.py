"""What trainings of potentials and of generators have in common where properties are learned."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.data.means import Mean
from schnetgen_pyg.data.molecules import Molecules
from schnetgen_pyg.data.stored import StoredStructures, with_label
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.registry import nearest
from schnetgen_pyg.targets import Target
from schnetgen_pyg.targets.atomwise import Atomwise
from schnetgen_pyg.targets.labels import labelled, trained_targets, with_labels
from schnetgen_pyg.targets.prediction import predict_each, with_derivatives
from schnetgen_pyg.targets.predictor import Predictor
from schnetgen_pyg.training.module import Terms
from schnetgen_pyg.training.optional import with_everything

#: In front of the names of labels that a generator learns to predict: a condition may read an
#: attribute of the same name.
LABEL = "label_"


def target_terms(
    model: Predictor, batch: Data, labels: Mapping[str, Tensor], weights: Mapping[str, float]
) -> Terms:
    """Errors of what a model predicts of a batch.

    Args:
        model: a potential, or a generator's `SchNetGen.predictor`.
        batch: with ``z``, ``pos``, ``batch``, ``ptr`` and, of crystals, ``cell``.
        labels: of the targets, and of their derivatives, by name; NaN where there are none.
        weights: that the losses are multiplied by; of those that are not there 1.
    """
    found = model(
        batch.z,
        batch.pos,
        batch.batch,
        batch.get("cell"),
        batch.ptr.numel() - 1,
        compute_forces="forces" in labels,
        create_graph=model.training,
    )
    known = with_derivatives(model.targets)
    loss, logged = {}, {}
    for name, label in labels.items():
        mean = known[name].loss(found[name], label, batch)
        loss[name] = Mean(weights.get(name, 1.0) * mean.total, mean.number)
        logged[f"{name}_{known[name].measure}"] = known[name].measured(found[name], label)
    return Terms(loss, logged)


def start_heads(model: Predictor, structures: Sequence[Data], init: bool) -> None:
    """Give the heads what they take from the training data; those that were trained before
    (``init``) are brought to the new labels.

    Args:
        model: with the weights that the training starts from.
        structures: of the training, with the labels in their full shape.
    """
    if init:
        correct_references(model, structures)
    model.fit_statistics(structures, [n for n, head in model.heads.items() if not head.fitted])


def start_targets(
    model: SchNetGen, labels: Sequence[Data], targets: Mapping[str, Target], init: bool
) -> tuple[dict[str, float], dict[str, Any]]:
    """Give a generator's heads what they take from the training data (`start_heads`).

    Args:
        model: with the weights that the training starts from.
        labels: structures of the training with their labels, from `with_targets`.
        targets: and those of their derivatives that have labels.

    Returns:
        the variances of the targets in unit², and for the provenance how many labels there are.
    """
    if not targets:
        return {}, {}
    start_heads(model.predictor, labels, init)
    numbers = {name: len(with_label(labels, name)) for name in targets}
    return variances(targets, labels, model.config.elements), {"num_labels": numbers}


def correct_references(model: Predictor, structures: Sequence[Data]) -> None:
    """Bring the references of the elements to the labels that a trained model is to learn, of
    targets that it knows.

    Args:
        model: with the weights that the training starts from.
        structures: of the training, with the labels.
    """
    heads = {
        name: head
        for name, head in model.heads.items()
        if isinstance(head, Atomwise) and head.fitted
    }
    if not heads:
        return
    known: dict[str, list[Data]] = {name: [] for name in heads}
    missed: dict[str, list[Tensor]] = {name: [] for name in heads}
    found = predict_each(model, structures, forces=False)
    for label, one in zip(structures, found, strict=True):
        for name in heads:
            difference = label[name].double() - one[name]
            if bool(difference.isfinite().all()):
                known[name].append(label)
                missed[name].append(difference)
    for name, head in heads.items():
        if known[name]:
            head.correct(known[name], torch.cat(missed[name]))


def variances(
    targets: Mapping[str, Target], structures: Sequence[Data], elements: Sequence[int]
) -> dict[str, float]:
    """What losses are divided by (`Target.variance`), of the structures that have the label."""
    return {
        name: target.variance(with_label(structures, name), elements)
        for name, target in targets.items()
    }


def check_weights(weights: Collection[str], names: Collection[str]) -> None:
    """Refuse weights of what is not learned.

    Raises:
        InputError: naming one of them, and what is learned.
    """
    for name in weights:
        if name not in names:
            raise InputError(
                f"weights: {name} is none of the targets{nearest(name, list(names))}; there are "
                f"{', '.join(names) or 'none'}"
            )


def with_targets(
    model: SchNetGen, data: Sequence[Data], whole: Sequence[Data]
) -> tuple[Sequence[Data], Sequence[Data], dict[str, Target]]:
    """What a generator with targets is trained on.

    Args:
        model: the generator.
        data: structures to train on, with ``index``, the numbers in ``whole``.
        whole: the structures with everything that the user has given; any of them may lack any
            label.

    Returns:
        the structures with their labels under names that begin with `LABEL`, NaN where there is
        none; the same with the labels alone, by the names of the targets; and the targets and
        those of their derivatives that have labels.

    Raises:
        InputError: for a label that cannot be, or a target that no structure has.
    """
    if not model.targets:
        return data, [], {}
    known = labelled(with_everything(data, whole), model.config.elements, model.targets, keep=True)
    trained = {one.name: one for one in trained_targets(known[0], model.targets)}
    if isinstance(data, StoredStructures):
        assert isinstance(known, StoredStructures)
        known = known.only("z", "pos", *trained)
        rows = Molecules(known)[range(len(known))]
        labels = {f"{LABEL}{name}": [rows[name]] for name in trained}
        called = {f"{LABEL}{name}": target for name, target in trained.items()}
        return with_labels(data, labels, called), known, trained
    for single, one in zip(data, known, strict=True):
        for name in trained:
            single[f"{LABEL}{name}"] = one[name]
    return data, known, trained


def labels_in(batch: Data) -> dict[str, Tensor]:
    """Labels of a batch of structures of `with_targets`, by the names of the targets."""
    names = [name for name in batch.to_dict() if name.startswith(LABEL)]
    return {name.removeprefix(LABEL): batch[name] for name in names}
