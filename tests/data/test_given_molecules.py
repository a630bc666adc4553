"""Molecules that are given without positions."""

from pathlib import Path

import pytest
from rdkit import Chem

from schnetgen_pyg import InputError
from schnetgen_pyg.data.bare import read_bare
from schnetgen_pyg.data.fragments import fragment
from schnetgen_pyg.data.given_molecules import given_molecules
from schnetgen_pyg.data.readers.packed import PACKED
from schnetgen_pyg.data.writers import write
from tests.molecules import embedded


def test_smiles_molecules_and_files_of_both(tmp_path):
    lines, table, sdf = (tmp_path / name for name in ("a.smi", "b.csv", "c.sdf"))
    lines.write_text("CCO ethanol\n\nC[C@H](F)Cl\n")
    table.write_text("id,SMILES\n7,CC=O\n")
    write(sdf, [embedded("CO"), embedded("C[NH3+]")])
    found = given_molecules([str(lines), table, sdf, "c1ccccc1", Chem.MolFromSmiles("N#N")])
    assert [one.name for one in found] == ["ethanol", "", "7", "0", "1", "", ""]
    formulas = [Chem.rdMolDescriptors.CalcMolFormula(one.mol) for one in found]
    assert formulas == ["C2H6O", "C2H4ClF", "C2H4O", "CH4O", "CH6N+", "C6H6", "N2"]
    assert not any(one.mol.GetNumConformers() for one in found)
    assert found[1].mol.GetAtomWithIdx(1).GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED
    assert f"{lines}: line 3" in found[1].where


@pytest.mark.parametrize("name", ["a.sdf", "a.sd", "A.SD.GZ", "a.sdf.bz2", "a.mol.xz"])
def test_bond_orders_are_those_of_the_file_under_any_name(tmp_path, name):
    """What is written as an ylide would be perceived as methylene imine."""
    mol = Chem.AddHs(Chem.MolFromSmiles("[CH2+][NH-]"))
    Chem.rdDistGeom.EmbedMolecule(mol, randomSeed=0)
    text = f"{Chem.MolToMolBlock(Chem.RemoveHs(mol))}$$$$\n"
    packer = PACKED.get(Path(name.lower()).suffix, open)
    with packer(tmp_path / name, "wb") as file:
        file.write(text.encode())
    (given,) = given_molecules(tmp_path / name)
    (bare,) = read_bare(tmp_path / name)
    for found in (given.mol, bare):
        assert found.GetBondBetweenAtoms(0, 1).GetBondType() == Chem.BondType.SINGLE
    assert fragment(tmp_path / name).formal_charge.tolist() == [1, -1]


@pytest.mark.parametrize("name", ["a.smi.gz", "a.csv.xz"])
def test_packed_smiles(tmp_path, name):
    with PACKED[Path(name).suffix](tmp_path / name, "wb") as file:
        file.write(b"smiles,name\nCCO,7\n" if "csv" in name else b"CCO 7\n")
    (found,) = given_molecules(tmp_path / name)
    assert (Chem.MolToSmiles(Chem.RemoveHs(found.mol)), found.name) == ("CCO", "7")
    (tmp_path / name).write_bytes(b"not packed")
    with pytest.raises(InputError, match=rf"{name}: cannot be unpacked"):
        given_molecules(tmp_path / name)


def test_drawings_keep_their_wedges(tmp_path):
    mol = Chem.MolFromSmiles("C[C@H](F)Cl")
    Chem.rdDepictor.Compute2DCoords(mol)
    path = tmp_path / "drawn.sdf"
    with Chem.SDWriter(str(path)) as writer:
        writer.write(mol)
    (found,) = given_molecules(path)
    assert Chem.MolToSmiles(Chem.RemoveHs(found.mol)) == Chem.MolToSmiles(mol)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("C1CC", "no SMILES that RDKit reads"),
        ("C(C)(C)(C)(C)C", "valence for atom # 0 C, 5"),
        ("c1cccc1", "kekulize"),
        ("", "no SMILES"),
        ("CC.O", "several molecules"),
        ("C[CH2]", "unpaired electron at C 1"),
        ("CC*", "pattern"),
        ("none.sdf", "no such file"),
        ("none.smi", "no such file"),
        ([], "no molecules"),
        ([5], "got int"),
        (Chem.Mol(), "no atoms"),
    ],
)
def test_bad_input_is_named(source, message):
    with pytest.raises(InputError, match=message):
        given_molecules(source)


def test_bad_lines_are_named(tmp_path):
    path = tmp_path / "x.smi"
    path.write_text("CC\nC1CC bad\n")
    with pytest.raises(InputError, match=r"x\.smi: line 2: 'C1CC'"):
        given_molecules(path)
    other = tmp_path / "x.xyz"
    other.write_text("1\n\nC 0 0 0\n")
    with pytest.raises(InputError, match="no file of molecules with bonds"):
        given_molecules(str(other))
