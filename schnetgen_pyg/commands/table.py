"""The commands by their names; the first line of each is what ``schnetgen --help`` says of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from schnetgen_pyg.commands import (
    conformers,
    dynamics,
    energies,
    files,
    fragments,
    generation,
    generators,
    judges,
)

COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "convert": files.convert,
    "train": generators.train,
    "generate": generation.generate,
    "complete": fragments.complete,
    "vary": fragments.vary,
    "hydrogens": fragments.hydrogens,
    "conformers": conformers.conformers,
    "evaluate": judges.evaluate,
    "report": judges.report,
    "view": judges.view,
    "fit-potential": energies.fit_potential,
    "predict": energies.predict,
    "label": energies.label,
    "relax": energies.relax,
    "md": dynamics.md,
}
