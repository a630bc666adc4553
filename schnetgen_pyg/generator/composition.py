"""Which atoms a molecule has: p(Z), before p(R | Z).

The counts of the elements are drawn one after the other, the heaviest first and hydrogen last, each
knowing those before. Only formulas come out that a closed-shell molecule can have and that are what
was asked for, as every count leaves a way for those that follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from schnetgen_pyg.chem.elements import UNLIMITED, hill_formula
from schnetgen_pyg.chem.formulas import ANYTHING, FormulaPattern
from schnetgen_pyg.data.means import Mean
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.guidance import guided
from schnetgen_pyg.generator.random_numbers import choose, random_keys
from schnetgen_pyg.representations.layers import mlp

#: Purpose of the random numbers, a step that no atom has.
STEP = -1_000_000


class Composition(nn.Module):
    """p(n_1, n_2, …) = Π p(n_k | n_1 … n_k−1, what conditions say).

    Args:
        max_counts: most atoms of each element in any molecule, by atomic number.
        degrees: most bonded neighbours of each of them in a neutral molecule; of those not in it
            `UNLIMITED`.
        channels: width of the network.
    """

    max_count: Tensor

    def __init__(self, max_counts: Mapping[int, int], degrees: Mapping[int, int], channels: int):
        super().__init__()
        #: Atomic numbers in the order in which they are counted.
        self.elements = (*sorted((z for z in max_counts if z != 1), reverse=True), 1)
        counts = [max_counts.get(z, 0) for z in self.elements]
        self.degrees = [degrees.get(z, UNLIMITED) for z in self.elements[:-1]]
        self.options = max(counts) + 1
        self.register_buffer("max_count", torch.tensor(counts), persistent=False)
        self.count = nn.Embedding(len(counts) * self.options, channels)
        self.place = nn.Embedding(len(counts), channels)
        self.head = mlp([channels, channels, self.options])

    def counts(self, z: Tensor, batch: Tensor, size: int) -> Tensor:
        """Atoms of each element, in the order of `elements`, of molecules with atoms z [num_atoms]
        [size, num_elements]."""
        index = torch.full((int(z.max()) + 1,), -1, device=z.device)
        for place, number in enumerate(self.elements):
            if number < len(index):
                index[number] = place
        flat = batch * len(self.elements) + index[z]
        return torch.bincount(flat, minlength=size * len(self.elements)).view(size, -1)

    def forward(self, counts: Tensor, told: Tensor | None = None) -> Tensor:
        """Log-probabilities of each count, given those before it [size, num_elements, options].

        Args:
            counts: [size, num_elements]; the last one is not looked at.
            told: what conditions say of every molecule [size, channels].
        """
        places = torch.arange(len(self.elements), device=counts.device)
        each = self.count(counts.clamp(max=self.options - 1) + self.options * places)
        before = each.cumsum(1) - each + self.place.weight
        before = before if told is None else before + told.unsqueeze(1)
        options = torch.arange(self.options, device=counts.device)
        absent = options > self.max_count.unsqueeze(1)
        return self.head(before).masked_fill(absent, -torch.inf).log_softmax(2)

    def log_prob(
        self, counts: Tensor, pattern: FormulaPattern = ANYTHING, told: Tensor | None = None
    ) -> Tensor:
        """Of whole formulas [size], counts [size, num_elements], among those that a closed-shell
        molecule can have, and that match a pattern; −∞ for others."""
        scores = self(counts, told)
        known = counts <= self.max_count
        possible = _Possible(self, pattern)
        total = scores.new_zeros(len(counts))
        for place in range(len(self.elements)):
            allowed = possible.allowed(counts[:, :place]).to(scores.device)
            log_prob = scores[:, place].masked_fill(~allowed, -torch.inf)
            log_prob = log_prob - log_prob.logsumexp(1, keepdim=True)
            total = total + log_prob.gather(
                1, counts[:, place : place + 1].clamp(max=self.options - 1)
            ).squeeze(1)
        return total.nan_to_num(nan=-torch.inf).masked_fill(~known.all(1), -torch.inf)

    @torch.inference_mode()
    def draw(
        self,
        index: Tensor,
        seed: int,
        pattern: FormulaPattern = ANYTHING,
        told: Tensor | None = None,
        guidance: float = 0.0,
    ) -> Tensor:
        """Counts of the molecules with the numbers ``index`` in a run [size, num_elements].

        Args:
            told: as in `forward`.
            guidance: weight by which every count is moved away from what p(Z) says untold
                (`schnetgen_pyg.generator.guidance`).

        Raises:
            InputError: if no closed-shell molecule of these elements and sizes is what was asked
                for.
        """
        possible = _Possible(self, pattern)
        counts = torch.zeros(len(index), len(self.elements), dtype=torch.long, device=index.device)
        for place in range(len(self.elements)):
            log_prob = self(counts, told)[:, place]
            if guidance and told is not None:
                log_prob = guided(log_prob, self(counts)[:, place], guidance)
            allowed = possible.allowed(counts[:, :place]).to(log_prob.device)
            keys = random_keys(seed, index, STEP - place)
            counts[:, place] = choose(log_prob.masked_fill(~allowed, -torch.inf), keys)
        return counts

    def numbers(self, counts: Sequence[int]) -> list[int]:
        """Atomic numbers of a formula."""
        return [z for z, n in zip(self.elements, counts, strict=True) for _ in range(n)]

    def loss(self, molecules: Data, told: Tensor | None = None) -> Mean:
        """Cross-entropy in nats of the formulas of a batch with ``z``, ``batch`` and ``ptr``;
        ``told`` as in `forward`."""
        size = molecules.ptr.numel() - 1
        counts = self.counts(molecules.z, molecules.batch, size)
        known = counts.clamp(max=self.options - 1)
        log_prob = self(counts, told).gather(2, known.unsqueeze(2))
        return Mean(-log_prob.sum(), size)


class _Possible:
    """Which counts leave a way to a formula with a closed-shell molecule.

    By the conditions of Senior (Am. J. Math. 73, 663, 1951): the number of electrons is even, and
    the hydrogens are no more than a tree of the heavier atoms can have, 2 + Σ (degree − 2).
    """

    def __init__(self, composition: Composition, pattern: FormulaPattern):
        self.elements, self.degrees = composition.elements, composition.degrees
        self.options = composition.options
        self.ranges, self.pattern = self._ranges(composition, pattern), pattern
        most = sum(high for _, high in self.ranges[:-1])
        self.heavy = max(1, pattern.heavy[0]), min(pattern.heavy[1], most)
        # States: heavy atoms, parity of their electrons, and free places beside a chain's.
        self.offset = most
        shape = (most + 1, 2, most * (1 + max([2, *self.degrees])) + 1)
        low, high = self.ranges[-1]
        free = np.arange(shape[2]) - self.offset
        largest = np.minimum(high, pattern.most_hydrogens(free))
        final = np.zeros(shape, dtype=bool)
        for parity in range(2):
            smallest = low + (low - parity - pattern.charge) % 2
            final[self.heavy[0] : self.heavy[1] + 1, parity] = smallest <= largest
        self.ways = [final]
        for place in reversed(range(len(self.elements) - 1)):
            following, now = self.ways[0], np.zeros(shape, dtype=bool)
            for number in range(self.ranges[place][0], self.ranges[place][1] + 1):
                now |= self._moved(following, place, number)
            self.ways.insert(0, now)
        if not self.ways[0][0, 0, self.offset]:
            asked = "" if pattern == ANYTHING else " that was asked for"
            raise InputError(
                f"no closed-shell molecule{asked} has so many atoms of "
                f"{hill_formula(self.elements)} as this model makes "
                f"({self._most(composition)}); widen the formula, or its number of heavy atoms"
            )

    @staticmethod
    def _most(composition: Composition) -> str:
        counts = zip(composition.elements, composition.max_count.tolist(), strict=True)
        return ", ".join(f"at most {n} {hill_formula([z])}" for z, n in counts)

    @staticmethod
    def _ranges(composition: Composition, pattern: FormulaPattern) -> list[tuple[int, int]]:
        most = composition.max_count.tolist()
        unknown = sorted(
            z for z, (low, _) in pattern.counts.items() if low and z not in composition.elements
        )
        if unknown:
            raise InputError(
                f"the model has never seen {hill_formula(unknown)}; it was trained on "
                f"{hill_formula(composition.elements)}"
            )
        found = []
        for z, n in zip(composition.elements, most, strict=True):
            low, high = pattern.range(z)
            found.append((low, min(high, n)))
        return found

    def _moved(self, ways: np.ndarray, place: int, number: int) -> np.ndarray:
        """From which states so many atoms of an element lead to one of ``ways``."""
        extra = number * (self.degrees[place] - 2)
        odd = number * self.elements[place] % 2
        there = ways[:, ::-1] if odd else ways
        result = np.zeros_like(ways)
        heavy, free = ways.shape[0] - number, ways.shape[2] - abs(extra)
        if heavy <= 0 or free <= 0:
            return result
        if extra >= 0:
            result[:heavy, :, :free] = there[number:, :, extra:]
        else:
            result[:heavy, :, -extra:] = there[number:, :, :free]
        return result

    def allowed(self, before: Tensor) -> Tensor:
        """Which numbers of the next element [size, options], after those of the elements before
        [size, place]."""
        counts = before.cpu().numpy()
        place = counts.shape[1]
        odd = np.array(self.elements[:place], dtype=int) % 2
        degrees = np.array(self.degrees[:place], dtype=int)
        heavy, parity = counts.sum(1), (counts * odd).sum(1) % 2
        free = (counts * (degrees - 2)).sum(1)
        number = np.arange(self.options)
        low, high = self.ranges[place]
        within = (number >= low) & (number <= high)
        if place == len(self.elements) - 1:
            fits = number % 2 == (parity[:, None] + self.pattern.charge) % 2
            fits &= number <= self.pattern.most_hydrogens(free[:, None])
            return torch.from_numpy(fits & within)
        ways = self.ways[place + 1]
        more = np.minimum(heavy[:, None] + number, ways.shape[0] - 1)
        after = (parity[:, None] + number * self.elements[place]) % 2
        room = free[:, None] + number * (self.degrees[place] - 2) + self.offset
        inside = (room >= 0) & (room < ways.shape[2])
        fits = ways[more, after, np.where(inside, room, 0)] & inside
        return torch.from_numpy(fits & within)
