"""Any number of a molecule by the name of its column: what no table knows.

What it is travels with the model, in its configuration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn
from torch_geometric.data import Data

from schnetgen_pyg.data.means import Mean
from schnetgen_pyg.data.properties import none_has, property_values
from schnetgen_pyg.errors import InputError, require
from schnetgen_pyg.targets.atomwise import Atomwise, Features, Joined
from schnetgen_pyg.targets.base import Target
from schnetgen_pyg.targets.table import TARGETS

#: Largest rate of a class, and least, that a read-out starts from.
RATES = (0.001, 0.999)


class ProbabilityHead(Atomwise):
    """The sigmoid of the mean of the atoms' contributions, which start at the rate of the data."""

    def fit(self, structures: Sequence[Data]) -> None:
        rate = Joined.of(structures, self.target.name).values[self.target.name].mean()
        if rate in (0.0, 1.0):
            raise InputError(
                f"{self.target.name}: is {int(rate)} in all structures of the training; learning "
                "to tell 0 from 1 takes both"
            )
        self.set_references(torch.logit(rate.clamp(*RATES)).expand(len(self.elements)))
        self.set_scale(torch.tensor(1.0))

    @property
    def fitted(self) -> bool:
        """A rate of a half is no reference: whether weights were learned cannot be told."""
        return bool(self.references.any())

    def correct(self, structures: Sequence[Data], missed: Tensor) -> None:
        """Nothing: probabilities have no other zero."""

    def forward(self, features: Features) -> Tensor:
        """[num_graphs], in double precision."""
        return super().forward(features).sigmoid()


class Probability(Target):
    """That a label is 1 rather than 0."""

    measure = "accuracy"

    def head(self, hidden_channels: int, elements: Sequence[int]) -> nn.Module:
        return ProbabilityHead(self, self.readout(hidden_channels), elements)

    def check_label(self, label: Tensor, place: str) -> None:
        known = label[label.isfinite()]
        if not bool(((known == 0) | (known == 1)).all()):
            raise InputError(
                f"{place}: {self.name} must be 0 or 1 to be classified, got "
                f"{float(known[0]):g}; correct it, or leave out --classify {self.name}"
            )

    def variance(self, structures: Sequence[Data], elements: Sequence[int]) -> float:
        """1: a cross-entropy has no unit."""
        return 1.0

    def loss(self, found: Tensor, label: Tensor, batch: Data) -> Mean:
        """Binary cross-entropy; structures without a label (NaN) do not count."""
        known = label.isfinite()
        wanted = torch.where(known, label, 0.0).to(found)
        each = F.binary_cross_entropy(found, wanted, reduction="none")
        return Mean(torch.where(known, each, 0.0).sum(), known.sum())

    def measured(self, found: Tensor, label: Tensor) -> Mean:
        """Share of those on the right side of one half."""
        known = label.isfinite()
        right = ((found.detach() > 0.5) == (label > 0.5)) & known
        return Mean(right.sum().double(), known.sum())

    def errors(
        self, found: Sequence[Tensor], labels: Sequence[Tensor], sizes: Tensor
    ) -> dict[str, float]:
        """Area under the ROC curve, where there are both classes, and accuracy; of labels that are
        0 or 1, as a file may also hold probabilities from before."""
        said, wanted = (torch.cat([x.reshape(-1).cpu() for x in v]) for v in (found, labels))
        known = (wanted == 0) | (wanted == 1)
        if not bool(known.any()):
            return {}
        said, wanted = said[known], wanted[known]
        positive, negative = said[wanted > 0.5], said[wanted <= 0.5]
        result = {f"{self.name}_accuracy": float(self.measured(said, wanted).value)}
        if len(positive) and len(negative):
            above = stats.mannwhitneyu(positive.numpy(), negative.numpy()).statistic
            result[f"{self.name}_roc_auc"] = float(above) / (len(positive) * len(negative))
        return result


@dataclass(frozen=True)
class Column:
    """A number of every molecule that is no registered target.

    Attributes:
        name: of the column: an attribute of the users' ``Data``, or an entry of ``info``.
        unit: as text; empty where it is not known.
        extensive: sum over the atoms, or mean.
        classify: labels are 0 or 1, and the probability of 1 is predicted.
    """

    name: str
    unit: str = ""
    extensive: bool = False
    classify: bool = False

    def __post_init__(self) -> None:
        if self.name in TARGETS:
            raise InputError(f"{self.name} is a registered target; give its name alone")
        if self.classify and self.extensive:
            raise InputError(f"{self.name}: a class does not add up; leave out --extensive")
        self.target()

    def target(self) -> Target:
        kind = Probability if self.classify else Target
        return kind(self.name, self.unit, extensive=self.extensive)


def targets_in(
    structures: Sequence[Data],
    names: Sequence[str],
    extensive: Iterable[str] = (),
    classify: Iterable[str] = (),
) -> tuple[str | Column, ...]:
    """What a model has to know of targets that it is to learn:
    ``Potential("painn", elements, targets=targets_in(structures, ["gap", "my_column"]))``.

    Args:
        structures: of the training; some of them may lack some of the targets.
        names: in `TARGETS`, or of any number of a molecule.
        extensive: those of the latter that are sums over the atoms.
        classify: those that are 0 or 1.

    Raises:
        InputError: for a name that no structure has, with those there are; for what is no number.
    """
    units: dict[str, str] = {}
    names = list(dict.fromkeys(names))
    sums, classes = set(extensive), set(classify)
    for option, chosen in (("extensive", sums), ("classify", classes)):
        for name in sorted(chosen):
            if name not in names:
                raise InputError(f"--{option} {name}: is none of the targets {', '.join(names)}")
            if name in TARGETS:
                raise InputError(
                    f"--{option} {name}: what {name} is, is known; give the column another name "
                    f"(keys={{'my_{name}': {name!r}}}, --keys my_{name}={name})"
                )
    own = [name for name in names if name not in TARGETS]
    for name, values in property_values(structures, own, units).items():
        if bool(values.isnan().all()):
            raise InputError(f"{none_has(name, structures)}; targets of a name are {_listed()}")
    return tuple(
        name
        if name in TARGETS
        else Column(name, units.get(name, ""), name in sums, name in classes)
        for name in names
    )


def _listed() -> str:
    return ", ".join(sorted(name for name in TARGETS if TARGETS[name].derivative_of is None))


def as_targets(
    targets: Mapping[str, Target] | Sequence[str | Column | Mapping[str, Any]],
) -> dict[str, Target]:
    """Targets by their names, of names, columns, or what they are already."""
    if isinstance(targets, Mapping):
        return dict(targets)
    found = {}
    for one in targets:
        target = TARGETS[one] if isinstance(one, str) else as_column(one).target()
        found[target.name] = target
    return found


def as_column(given: Column | Mapping[str, Any]) -> Column:
    """A column as the configuration has it, in a file or in memory."""
    if isinstance(given, Column):
        return given
    if not isinstance(given, Mapping):
        raise InputError(
            f"targets: expected names or columns, got {given!r}; register a target of your own "
            "(TARGETS.register) and give its name"
        )
    return Column(**given)


def checked_targets(
    given: str | Sequence[str | Column | Mapping[str, Any]],
) -> tuple[str | Column, ...]:
    """Targets as the configuration of a model keeps them, also from a file.

    Raises:
        InputError: for one that is unknown, comes twice, or is a derivative.
    """
    given = [given] if isinstance(given, str) else given
    known = tuple(one if isinstance(one, str) else as_column(one) for one in given)
    found = as_targets(known)
    require(len(found) == len(known), "targets", list(known), "all different")
    for name, target in found.items():
        if (of := target.derivative_of) is not None:
            raise InputError(
                f"targets: {name} is a derivative of {of} and comes with it; name {of}"
            )
    return known
