"""What a reader of structure files has to keep."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import torch
from torch_geometric.data import Data

from schnetgen_pyg.data.molecules import Molecules
from schnetgen_pyg.data.readers import Reader, read
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.testing.expect import expect

#: How much of the example is left where it is cut.
CUTS = (0.25, 0.5, 0.75)


def check_reader(reader: Reader, example: str | os.PathLike[str]) -> None:
    """Check that a reader gives the structures of a file whole, or says what is wrong with it.

    Args:
        reader: function from the path of a file to its structures, one ``Data`` each; it is used
            as `schnetgen_pyg.data.readers.read` uses it.
        example: a sound file of its format, best with several structures of different sizes.

    Raises:
        AssertionError: saying what the reader does not keep:

            - ``z`` [num_atoms] of whole numbers, ``pos`` [num_atoms, 3] (Å) finite, and where there
              are labels one finite ``energy`` (eV) and finite ``forces`` [num_atoms, 3] (eV/Å);
            - all attributes go into `Molecules`;
            - the file stays as it is, and reading it again gives the same;
            - a file with nothing in it, or one that is cut, is refused with its name, unless the
              cut is between two structures or after all of them.
    """
    example = Path(example)
    content = example.read_bytes()
    whole = _read(reader, example)
    for number, data in enumerate(whole):
        _check_labels(data, f"structure {number}")
    try:
        Molecules(whole)
    except InputError as error:
        raise AssertionError(f"the structures do not go together: {error}") from error
    expect(example.read_bytes() == content, f"the reader changed {example}")
    again = _read(reader, example)
    expect(_same(again, whole), f"the second reading of {example} gives another result")
    places = [int(cut * len(content)) for cut in CUTS]
    places += [content.rfind(b"\n", 0, place) + 1 for place in places]  # after a whole line
    with tempfile.TemporaryDirectory() as folder:
        damaged = Path(folder) / example.name
        for part in (b"", b"\n\n", *(content[:place] for place in places)):
            damaged.write_bytes(part)
            _check_refused(reader, damaged, whole)


def _read(reader: Reader, path: Path) -> list[Data]:
    try:
        return read(path, reader)
    except InputError as error:
        raise AssertionError(f"a sound file is refused: {error}") from error


def _check_labels(data: Data, where: str) -> None:
    energy, forces = data.get("energy"), data.get("forces")
    if energy is not None:
        shape = list(energy.shape)
        expect(energy.numel() == 1, f"{where}: energy must have shape [1], got {shape}")
        expect(energy.isfinite().all(), f"{where}: the energy is {energy}; leave it out")
    if forces is not None:
        shape, wanted = list(forces.shape), list(data.pos.shape)
        expect(shape == wanted, f"{where}: forces must have shape {wanted}, got {shape}")
        expect(forces.isfinite().all(), f"{where}: a force is not finite; leave them out")


def _check_refused(reader: Reader, path: Path, whole: list[Data]) -> None:
    size = path.stat().st_size
    try:
        found = read(path, reader)
    except InputError as error:
        expect(str(path) in str(error), f"the message does not name the file: {error}")
        return
    expect(
        len(found) <= len(whole) and _same(found, whole[: len(found)]),
        f"of a file that was cut after {size} bytes the reader makes {len(found)} structures, not "
        f"all of them those of the whole file ({len(whole)}); it must say that the file is cut",
    )


def _same(found: list[Data], wanted: list[Data]) -> bool:
    if len(found) != len(wanted):
        return False
    return all(_equal(a.to_dict(), b.to_dict()) for a, b in zip(found, wanted, strict=True))


def _equal(a: dict[str, object], b: dict[str, object]) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(value, other)
        if isinstance(value, torch.Tensor) and isinstance(other, torch.Tensor)
        else repr(value) == repr(other)
        for value, other in zip(a.values(), (b[name] for name in a), strict=True)
    )
