"""Generation into a file: molecules are written as they come, and a killed run continues."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Protocol

import ase
import ase.io
import numpy as np
import torch

from schnetgen_pyg.chem.fragments import Fragment
from schnetgen_pyg.data.fragments import fragment as as_fragment
from schnetgen_pyg.data.writers import file_format, keep_whole_frames, write, write_extxyz
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.sampling.candidates import Candidates
from schnetgen_pyg.generator.sampling.config import SamplingConfig
from schnetgen_pyg.generator.sampling.formulas import Formulas, patterns_of
from schnetgen_pyg.generator.sampling.generate import sample
from schnetgen_pyg.generator.sampling.predictions import check_predicts, with_predictions
from schnetgen_pyg.generator.sampling.property_models import AT_ONCE
from schnetgen_pyg.generator.sampling.targets import plain
from schnetgen_pyg.parallel import grouped
from schnetgen_pyg.storage.models import weights_digest
from schnetgen_pyg.storage.resumable import ResumableFile

#: Settings that do not change the molecules.
COSMETIC = ("batch_size", "jobs", "max_elements")

#: What a partial file is already.
PLAIN = (".extxyz", ".xyz")


class Finish(Protocol):
    """What is done with molecules before they are written, such as
    `schnetgen_pyg.relaxation.polish.Polish`."""

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides what it makes of a molecule, as JSON can hold it."""

    @property
    def batch_size(self) -> int:
        """How many molecules it takes at once."""

    def __call__(self, molecules: Sequence[ase.Atoms], fixed: int) -> list[ase.Atoms]:
        """The same molecules; the first ``fixed`` atoms of each, the fragment, stay."""


def _run_settings(
    model: SchNetGen,
    formula: Formulas,
    seed: int,
    fragment: Fragment | None,
    targets: Mapping[str, Any] | None,
    config: SamplingConfig,
) -> dict[str, Any]:
    """What decides which molecules a run makes, as JSON can hold it."""
    placed = None
    if fragment is not None:
        placed = {field.name: getattr(fragment, field.name).tolist() for field in fields(fragment)}
    return {
        "model": weights_digest(model.state_dict()),
        "formula": [
            {**asdict(pattern), "counts": sorted(pattern.counts.items())}
            for pattern in patterns_of(formula)
        ],
        "seed": seed,
        "fragment": placed,
        "targets": plain(model, targets or {}),
        "config": {k: v for k, v in asdict(config).items() if k not in COSMETIC},
    }


def _frame(atoms: ase.Atoms) -> str:
    text = io.StringIO()
    write_extxyz(text, [atoms])
    return text.getvalue()


def _left(value: Any, done: int, total: int) -> Any:
    """Of a target those of the molecules that are left, where each has its own."""
    array = isinstance(value, (np.ndarray, torch.Tensor)) and value.ndim
    each = array or isinstance(value, (list, tuple))
    return value[done:] if each and len(value) == total else value


def _rest(
    model: SchNetGen,
    formula: Formulas,
    done: int,
    num_molecules: int,
    targets: Mapping[str, Any] | None,
    **settings: Any,
) -> Iterator[ase.Atoms]:
    """The molecules of a run that are left, as `sample` makes them; what there is to say was said
    before the first."""
    left = {name: _left(value, done, num_molecules) for name, value in (targets or {}).items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sample(model, formula, num_molecules - done, first=done, targets=left, **settings)


def _finished(molecules: Iterator[ase.Atoms], polish: Finish, fixed: int) -> Iterator[ase.Atoms]:
    for batch in grouped(molecules, polish.batch_size):
        yield from polish(batch, fixed)


def generate_file(
    model: SchNetGen,
    formula: Formulas,
    num_molecules: int,
    path: str | os.PathLike[str],
    *,
    seed: int = 0,
    fragment: Any = None,
    targets: Mapping[str, Any] | None = None,
    config: SamplingConfig | None = None,
    candidates: Candidates | None = None,
    polish: Finish | None = None,
    predict: bool = False,
    progress: Callable[..., Any] | None = None,
    overwrite: bool = False,
) -> bool:
    """`generate` into a file; a run that was killed keeps what it has and continues.

    Molecules go to ``PATH.partial.extxyz`` as they are finished, and to ``path`` at the end, in the
    format of its suffix (`schnetgen_pyg.data.writers.SUFFIXES`).

    Args:
        candidates: of which the best is taken for each molecule.
        polish: what is done with the molecules of a batch before they are written.
        predict: whether what the model predicts of them, as they are written, stands beside them.
        overwrite: whether what is there of another model, other settings or unknown origin may be
            replaced.

    Returns:
        False where ``path`` holds these very molecules already, so that nothing was to be done.

    Raises:
        InputError: as `generate`; if the file or the partial one is of another model or other
            settings; or if it cannot be written.
    """
    config = config or SamplingConfig()
    path = Path(path)
    fragment = None if fragment is None else as_fragment(fragment)
    plain = file_format(path) == "extxyz" and path.suffix in ("", *PLAIN)
    common: dict[str, Any] = {"seed": seed, "fragment": fragment, "config": config}
    # Refuses what is wrong, builds nothing.
    sample(model, formula, num_molecules, candidates=candidates, targets=targets, **common)
    if predict:
        check_predicts(model, patterns_of(formula))
    settings = _run_settings(model, formula, targets=targets, **common)
    settings["candidates"] = None if candidates is None else candidates.settings
    settings["polish"] = None if polish is None else polish.settings
    settings |= {"predict": True} if predict else {}
    asked = {"num_molecules": num_molecules}
    file = ResumableFile(
        path, "extxyz", settings, keep_whole_frames, result=asked, overwrite=overwrite
    )
    if file.finished:
        return False
    done = file.done
    if done < num_molecules:
        molecules: Any = _rest(
            model, formula, done, num_molecules, targets, candidates=candidates, **common
        )
        if polish is not None:
            molecules = _finished(molecules, polish, 0 if fragment is None else len(fragment))
        if predict:
            at_once = AT_ONCE if polish is None else polish.batch_size
            molecules = with_predictions(model, molecules, at_once)
        if progress:
            molecules = progress(molecules, initial=done, total=num_molecules)
        file.extend(map(_frame, molecules))
    if plain and done <= num_molecules:
        file.publish()
        return True
    frames = ase.io.read(
        file.partial, f":{num_molecules}", format="extxyz", do_not_split_by_at_sign=True
    )
    write(path, frames)
    file.close()
    return True
