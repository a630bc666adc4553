"""The embeddings of elements as a picture."""

from __future__ import annotations

import os
from typing import Any

from ase.data import chemical_symbols

from schnetgen_pyg.evaluation.embeddings import Embeddings, principal_components
from schnetgen_pyg.storage.atomic import replacing


def draw_embeddings(path: str | os.PathLike[str], embeddings: Embeddings, title: str = "") -> None:
    """Draw the first two principal components (PNG), every element in the colour of its group."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 5.0), layout="constrained")
    add_embeddings(figure.subplots(), embeddings, title)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def add_embeddings(axes: Any, embeddings: Embeddings, title: str = "") -> None:
    """`draw_embeddings` in matplotlib ``Axes``."""
    from matplotlib import colormaps

    places, share = principal_components(embeddings.vectors)
    groups = embeddings.groups
    different = sorted(set(groups))
    for number, group in enumerate(different):
        chosen = [k for k, one in enumerate(groups) if one == group]
        color = colormaps["turbo"]((number + 0.5) / len(different))
        axes.scatter(*places[chosen].T, s=210, color=color, alpha=0.5, label=str(group))
        for k in chosen:
            symbol = chemical_symbols[embeddings.elements[k]]
            axes.annotate(symbol, places[k], ha="center", va="center", fontsize=8)
    axes.set(
        xlabel=f"first component ({share[0]:.0%} of the variance)",
        ylabel=f"second ({share[1]:.0%})",
        title=title,
    )
    axes.margins(0.08)
    axes.legend(
        title="group", loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8, markerscale=0.5
    )
