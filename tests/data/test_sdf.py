"""Every record of an SDF file with its name, properties, charge and spin."""

import gzip
import warnings

import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from schnetgen_pyg import InputError, load
from schnetgen_pyg.targets.labels import labelled


def block(smiles: str, name: str = "", **options) -> str:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=3)
    mol.SetProp("_Name", name)
    return Chem.MolToMolBlock(mol, **options)


METHANOL, AMMONIUM = block("CO", "methanol"), block("[NH4+]", "ammonium")


@pytest.mark.parametrize(
    "text",
    [
        METHANOL + AMMONIUM,
        METHANOL + "$$$$\n" + AMMONIUM,
        METHANOL + "$$$$\n" + AMMONIUM + "$$$$\n\n\n",
        METHANOL + "> <weight>\n32\n$$$$\n" + AMMONIUM + "> <weight>\n18\n$$$$\n",
        METHANOL + ">  <weight>  (1) \n32\n \n$$$$\n" + AMMONIUM + "> <weight>\n18\n\n$$$$",
        METHANOL + "\n" + AMMONIUM,
        block("CO", "methanol", forceV3000=True) + block("[NH4+]", "ammonium", forceV3000=True),
    ],
)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_every_record_is_read(tmp_path, text, ending):
    path = tmp_path / "two.sdf"
    path.write_bytes(text.replace("\n", ending).encode())
    made = load(path)
    assert [data.z.numel() for data in made] == [6, 5]
    assert [data.info["name"] for data in made] == ["methanol", "ammonium"]
    assert [data.charge for data in made] == [0, 1]
    weights = [data.info.get("weight") for data in made]
    assert weights == ([32, 18] if "weight" in text else [None, None])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (METHANOL + AMMONIUM.rsplit("M  CHG", 1)[0], r"structure 1 .*: no 'M  END'"),
        (METHANOL.replace("M  END\n", "") + "$$$$\n" + AMMONIUM, r"structure 0 .*no 'M  END'"),
        (METHANOL + "$$$$\n> <a>\n1\n$$$$\n", "structure 1 is not a valid SDF record"),
        (METHANOL + "$$$$\n" + AMMONIUM + "> <a>\n1\n", r"structure 1 .*the file is cut"),
        (METHANOL + AMMONIUM.replace(" V2000", ""), r"structure 0 .*: 2 'M  END', expected one"),
        (METHANOL + "lost\n", "structure 0 .*'lost' after 'M  END' belongs to no property"),
        (METHANOL.split("\n", 2)[2], "structure 0 is not a valid SDF record .*fewer than three"),
        (METHANOL.replace(" C  ", " R  "), "structure 0: atom 0 is '[R*]', no element"),
        (AMMONIUM + "> <charge>\n-1\n", r"structure 0: a property states a charge of -1.*\+1"),
        (
            METHANOL + "> <energy (furlong)>\n1\n",
            "structure 0: 'furlong' as the unit of energy is not known",
        ),
    ],
)
def test_what_is_lost_or_wrong_is_said(tmp_path, text, message):
    path = tmp_path / "a.sdf.gz"
    path.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(InputError, match=rf"a.sdf.gz: {message}"):
        load(path)


@pytest.mark.parametrize(
    ("smiles", "charge", "multiplicity"),
    [("C[N+](=O)[O-]", 0, None), ("[O-]C=O", -1, None), ("[CH3]", 0, 2), ("[CH2]", 0, 3)],
)
def test_charges_and_radicals(tmp_path, smiles, charge, multiplicity):
    for version in (False, True):
        path = tmp_path / f"{version}.mol"
        path.write_text(block(smiles, forceV3000=version))
        (data,) = load(path)
        assert (data.charge, data.get("spin_multiplicity")) == (charge, multiplicity)


def test_properties_are_numbers_where_they_are(tmp_path):
    path = tmp_path / "a.sdf"
    path.write_text(
        METHANOL + "> <id>\n007\n\n> <gap>\n-1.5e0\n\n> <text>\ntwo\nlines\n\n"
        "> <energy (kcal/mol)>\n-23.06054783\n\n$$$$\n"
    )
    (data,) = load(path)
    assert data.info == {"name": "methanol", "id": "007", "gap": -1.5, "text": "two\nlines"}
    assert data.energy.item() == pytest.approx(-1)


def test_isotopes_keep_their_masses(tmp_path):
    path = tmp_path / "a.mol"
    path.write_text(block("[13CH3][2H]"))
    assert sorted(load(path)[0].masses.tolist())[-2:] == pytest.approx([2.014, 13.003], abs=1e-3)


def test_drawings_are_refused(tmp_path):
    mol = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    AllChem.Compute2DCoords(mol)
    drawing = Chem.MolToMolBlock(mol)
    for text in (drawing, drawing.replace("2D", "3D")):
        (tmp_path / "a.sdf").write_text(METHANOL + text)
        with pytest.raises(InputError, match=r"structure 1.*no 3-D coordinates.*embed it"):
            load(tmp_path / "a.sdf")
    ring = Chem.MolFromSmiles("C1=CC=CC=C1")  # no atom of it says more than the header
    AllChem.Compute2DCoords(ring)
    (tmp_path / "ring.sdf").write_text(Chem.MolToMolBlock(ring))
    with pytest.raises(InputError, match="its header says 2D"):
        load(tmp_path / "ring.sdf")
    (tmp_path / "flat.sdf").write_text(block("c1ccccc1"))
    assert load(tmp_path / "flat.sdf")[0].z.numel() == 12


def test_an_energy_without_a_unit_is_said(tmp_path):
    (tmp_path / "a.sdf").write_text(METHANOL + "> <energy>\n23.06054783\n")
    with pytest.warns(UserWarning, match=r"a.sdf: structure 0 has an energy without a unit"):
        load(tmp_path / "a.sdf")
    (data,) = load(tmp_path / "a.sdf", units={"energy": "kcal/mol"})
    assert data.energy.item() == pytest.approx(1)


@pytest.mark.parametrize("text", ["n/a", "nan", "", "-1.5 kcal/mol", "-1,5"])
def test_what_is_called_a_label_and_is_no_number(tmp_path, text):
    """It is said to be text, and nothing of a unit; who needs a label says where it is missing."""
    path = tmp_path / "a.sdf"
    path.write_text(f"{METHANOL}> <energy>\n{text}\n\n$$$$\n{METHANOL}$$$$\n")
    with pytest.warns(UserWarning, match="no number") as told:
        data = load(path)
    assert [str(one.message) for one in told] == [
        f"a.sdf: structure 0 has the energy {text!r}, no number: it stays text in info, and is no "
        "label"
    ]
    assert [one.info.get("energy") for one in data] == [text, None]
    with pytest.raises(InputError, match=r"a.sdf: structure 0: (the label|has no) energy"):
        labelled(data, [1, 6, 8])
    with pytest.raises(
        InputError, match=r"a.sdf: structure 0: energy (must be a number|is not finite)"
    ):
        load(path, units={"energy": "kcal/mol"})


def test_a_label_with_its_unit_stands_for_one_without(tmp_path):
    path = tmp_path / "a.sdf"
    path.write_text(METHANOL + "> <energy>\n-1\n\n> <energy (eV)>\n-2\n\n$$$$\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (data,) = load(path)
    assert (data.energy.item(), data.info["energy"]) == (-2.0, -1)
