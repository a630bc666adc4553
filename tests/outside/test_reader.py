"""A format of one's own: a reader in one file, registered, used like the built-in ones."""

import gzip
from pathlib import Path

import pytest
import torch
from torch_geometric.data import Data

from schnetgen_pyg import InputError, evaluate, load
from schnetgen_pyg.data.datasets import DATASETS, DataSet
from schnetgen_pyg.data.molecules import Molecules
from schnetgen_pyg.data.readers import READERS
from schnetgen_pyg.testing.reader import check_reader

NUMBERS = {"H": 1, "C": 6, "O": 8}
TEXT = """\
molecule water energy=-2078.5 dipole=1.85
  O 0.000 0.000 0.119 charge=-0.82
  H 0.000 0.763 -0.477 charge=0.41
  H 0.000 -0.763 -0.477 charge=0.41
end
molecule hydrogen energy=-31.9
  H 0.000 0.000 0.000 charge=0.0
  H 0.000 0.000 0.741 charge=0.0
end
"""


def read_mine(path: Path):
    """Blocks from ``molecule`` to ``end``, with charges of atoms and perhaps a dipole."""
    atoms: list[tuple[int, list[float], float]] = []
    head: list[str] = []
    for line in filter(str.strip, path.read_text().splitlines()):
        words = line.split()
        if words[0] == "molecule":
            head, atoms = words, []
        elif words[0] == "end":
            numbers, positions, charges = zip(*atoms, strict=True)
            values = {k: float(v) for k, v in (word.split("=") for word in head[2:])}
            yield Data(
                z=torch.tensor(numbers),
                pos=torch.tensor(positions),
                charges=torch.tensor(charges),
                name=head[1],
                **{k: torch.tensor([v], dtype=torch.float64) for k, v in values.items()},
            )
            head = []
        else:
            symbol, *position, charge = words
            atoms.append((NUMBERS[symbol], [float(x) for x in position], float(charge[7:])))
    if head:
        raise ValueError(f"the molecule {head[1]} has no end")


READERS.register(".mine", read_mine)
DATASETS.register("two-molecules", DataSet("for tests", lambda path: load(path)))


@pytest.fixture
def path(tmp_path):
    (tmp_path / "two.mine").write_text(TEXT)
    return tmp_path / "two.mine"


def test_it_keeps_the_contract(path):
    check_reader(read_mine, path)


def test_it_is_known_everywhere(path):
    packed = path.with_name("two.mine.gz")
    packed.write_bytes(gzip.compress(TEXT.encode()))
    structures = load(path, packed)
    assert [data.name for data in structures] == ["water", "hydrogen"] * 2
    batch = Molecules(structures)[[1, 2]]
    assert batch.charges.tolist() == pytest.approx([0, 0, -0.82, 0.41, 0.41])
    assert batch.dipole.nan_to_num(-1).tolist() == [-1, 1.85]
    assert batch.energy.tolist() == [-31.9, -2078.5]
    assert [data.name for data in load("two-molecules", path=path)] == ["water", "hydrogen"]


@pytest.mark.slow
def test_it_is_judged(path):
    assert evaluate(path).figures()["valid"] == 2


def test_what_is_wrong_is_said_with_the_name_of_the_file(path):
    path.write_text(TEXT.replace("0.763", "nan"))
    with pytest.raises(InputError, match=r"two.mine: structure 0: the position of atom 1"):
        load(path)
    path.write_text(TEXT.replace("O", "X"))
    with pytest.raises(InputError, match=r"two.mine: cannot be read .*KeyError: 'X'"):
        load(path)


def careless(path: Path):
    """Takes a molecule that was cut for one that has ended."""
    whole = path.with_name("whole.mine")
    whole.write_text(path.read_text().strip().removesuffix("end").strip() + "\nend\n")
    return read_mine(whole)


def changing(path: Path):
    path.write_text(path.read_text().replace("water", "ice"))
    return read_mine(path)


def one_force(path: Path):
    for data in read_mine(path):
        data.forces = data.pos[:1]
        yield data


@pytest.mark.parametrize(
    ("reader", "message"),
    [
        (careless, "cut after"),
        (changing, "the reader changed"),
        (one_force, r"structure 0: forces must have shape \[3, 3\]"),
    ],
)
def test_the_contract_finds_what_is_wrong(path, reader, message):
    with pytest.raises(AssertionError, match=message):
        check_reader(reader, path)
