"""How far distributions of formulas are apart: p(Z) of a model, the histogram of its training
formulas, and a set of molecules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from schnetgen_pyg.chem.elements import hill_formula, parse_formula
from schnetgen_pyg.evaluation.distributions import variation
from schnetgen_pyg.generator.composition import Composition

#: Formulas drawn from p(Z) for what has no closed form: sizes and elements.
DRAWS = 100_000

#: The floor: what the finite number of held-out molecules alone makes of a difference.
ITSELF = "histogram, against a sample of itself"

#: By the Hill formula how often.
Formulas = Mapping[str, float]


def sizes(formulas: Formulas) -> dict[int, float]:
    """Molecules by their number of atoms."""
    found: Counter[int] = Counter()
    for formula, count in formulas.items():
        found[parse_formula(formula).numel()] += count  # type: ignore[assignment]
    return dict(found)


def elements(formulas: Formulas) -> dict[int, float]:
    """Atoms by their atomic number."""
    found: Counter[int] = Counter()
    for formula, count in formulas.items():
        for z in parse_formula(formula).tolist():
            found[z] += count  # type: ignore[assignment]
    return dict(found)


def log_probs(composition: Composition, formulas: list[str]) -> np.ndarray:
    """Of each under p(Z); −∞ for elements that the model does not have."""
    known = {*composition.elements}
    numbers = [parse_formula(formula) for formula in formulas]
    result = np.full(len(formulas), -np.inf)
    places = [k for k, z in enumerate(numbers) if known.issuperset(z.tolist())]
    if places:
        z = torch.cat([numbers[k] for k in places])
        lengths = torch.tensor([numbers[k].numel() for k in places])
        batch = torch.arange(len(places)).repeat_interleave(lengths)
        with torch.inference_mode():
            counts = composition.counts(z, batch, len(places))
            result[places] = composition.log_prob(counts).double().numpy()
    return result


def histogram_log_probs(seen: Formulas, formulas: list[str]) -> np.ndarray:
    """Of each under the histogram; −∞ for those that it does not have."""
    total = sum(seen.values())
    shares = np.array([seen.get(formula, 0) / total for formula in formulas])
    with np.errstate(divide="ignore"):
        return np.log(shares)


def divergence(log_prob: np.ndarray, share: np.ndarray) -> dict[str, float]:
    """Total variation (0 to 1) and Jensen–Shannon divergence (nats, 0 to ln 2) of a distribution
    from a set's: exact, as what it gives to formulas that are not in the set is all the rest.

    Args:
        log_prob: of the different formulas of the set, under the distribution.
        share: of the set, that each of them has.
    """
    prob = np.exp(log_prob)
    rest = max(0.0, 1 - prob.sum())
    mean = (prob + share) / 2
    mine = np.sum(prob * np.log(np.where(prob > 0, prob, 1) / mean)) + rest * np.log(2)
    theirs = np.sum(share * np.log(share / mean))
    return {
        "variation": float((np.abs(prob - share).sum() + rest) / 2),
        "jensen_shannon": float((mine + theirs) / 2),
    }


def against(
    log_prob: np.ndarray, drawn: Formulas, test: Formulas, common: np.ndarray
) -> dict[str, Any]:
    """Figures of one distribution against the formulas of a set.

    Args:
        log_prob: of the different formulas of ``test``.
        drawn: its formulas, for sizes and elements.
        test: the set's.
        common: which of those the histogram has, too: all can be compared on them alone.
    """
    counts = np.array(list(test.values()), dtype=float)
    possible = np.isfinite(log_prob)
    return divergence(log_prob, counts / counts.sum()) | {
        "sizes": variation(sizes(drawn), sizes(test)),
        "elements": variation(elements(drawn), elements(test)),
        "impossible": float(counts[~possible].sum() / counts.sum()),
        "mean_log_prob": _mean(log_prob[possible], counts[possible]),
        "mean_log_prob_common": _mean(log_prob[common], counts[common]),
    }


def _mean(values: np.ndarray, weights: np.ndarray) -> float | None:
    return float(np.average(values, weights=weights)) if len(values) else None


def _drawn(formulas: Formulas, number: int, seed: int) -> dict[str, float]:
    """So many of them, as often as they are there."""
    counts = np.array(list(formulas.values()), dtype=float)
    found = np.random.default_rng(seed).multinomial(number, counts / counts.sum())
    return {name: int(n) for name, n in zip(formulas, found, strict=True) if n}


def compared(
    composition: Composition | None, seen: Formulas, test: Formulas, seed: int
) -> dict[str, Any]:
    """By their names, how far p(Z), where the model has one, and the histogram are from a set, and
    the histogram from as many formulas that were drawn from itself: nothing can be nearer.

    Args:
        composition: p(Z) of the model.
        seen: formulas of its training with their numbers.
        test: those of the set.
        seed: of the formulas drawn.
    """
    names = list(test)
    by_histogram = histogram_log_probs(seen, names)
    common = np.isfinite(by_histogram)
    result = {"histogram": against(by_histogram, seen, test, common)}
    own = _drawn(seen, round(sum(test.values())), seed)
    by_itself = histogram_log_probs(seen, list(own))
    result[ITSELF] = against(by_itself, seen, own, np.isfinite(by_itself))
    if composition is not None:
        by_model = log_probs(composition, names)
        counts = composition.draw(torch.arange(DRAWS), seed).unique(dim=0, return_counts=True)
        rows = zip(counts[0].tolist(), counts[1].tolist(), strict=True)
        drawn = {hill_formula(composition.numbers(row)): number for row, number in rows}
        result["p(Z)"] = against(by_model, drawn, test, common & np.isfinite(by_model))
    return result
