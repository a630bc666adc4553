"""Molecules by their SMILES in 3-D, of every kind that perception has to know."""

import ase
from rdkit import Chem, rdBase
from rdkit.Chem import AllChem

#: Groups with formal charges, in neutral molecules.
CHARGED_GROUPS = [
    "O=[N+]([O-])c1ccccc1",
    "Cc1ncc([N+](=O)[O-])n1CCO",  # metronidazole
    "CO[N+](=O)[O-]",  # a nitrate
    "[O-][n+]1ccccc1",
    "C[N+](C)(C)[O-]",
    "Cc1no[n+]([O-])c1C",  # a furoxan
    "C[N+]([O-])=Nc1ccccc1",  # azoxy
    "CC=[N+](C)[O-]",  # a nitrone
    "CC#[N+][O-]",
    "[C-]#[N+]C",
    "CN=[N+]=[N-]",
    "[N-]=[N+]=NC(=O)c1ccccc1",
    "CS(=O)(=O)N=[N+]=[N-]",
    "C=[N+]=[N-]",
    "CCOC(=O)C=[N+]=[N-]",
    "[N-]=[N+]=C1C=CC=CC1=O",
    "[NH3+]CC(=O)[O-]",
    "C[N+](C)(C)CC(=O)[O-]",
    "[NH3+]CCS(=O)(=O)[O-]",  # taurine
]
#: Beyond the octet, and elements beyond the first row.
HEAVIER = [
    "CS(C)=O",
    "CS(C)(=O)=O",
    "CNS(=O)(=O)c1ccccc1",
    "CN=S(C)(C)=O",
    "O=S(=O)(O)O",
    "CSSC",
    "c1ccc2nsnc2c1",
    "COP(=O)(OC)OC",
    "COP(=S)(OC)OC",
    "CP(C)(C)=O",
    "CN=P(C)(C)C",
    "OB(O)c1ccccc1",
    "C[Si](C)(C)O[Si](C)(C)C",
    "Clc1ccc(Br)cc1I",
    "FC(F)(F)c1nnco1",
    "C[Se]C",
]
#: With a net charge, which they have to state.
IONS = [
    "[NH4+]",
    "C[N+](C)(C)C",
    "c1cc[nH+]cc1",
    "C[n+]1ccccc1",
    "c1c[nH]c[nH+]1",
    "NC(N)=[NH2+]",
    "Nc1c2ccccc2[nH+]c2ccccc12",  # 9-aminoacridinium
    "CN(C)c1nc[nH+]c2ccccc12",
    "N#[N+]c1ccccc1",
    "C[P+](C)(C)C",
    "C[S+](C)(C)=O",
    "CC(=O)[O-]",
    "[O-]c1ccccc1",
    "O=[N+]([O-])[O-]",
    "CS(=O)(=O)[O-]",
    "[NH-]S(=O)(=O)c1ccccc1",
    "COP(=O)([O-])OC",
    "F[B-](F)(F)F",
    "[N-]=[N+]=[N-]",
    "O=[N+]([O-])c1ccc([O-])cc1",
]
#: Double bonds that have to be placed.
UNSATURATED = [
    "C1=CC=CC=CC=C1",
    "c1ccc2[nH]ccc2c1",
    "c1ccc2cc3ccccc3cc2c1",
    "Cn1c(=O)c2c(ncn2C)n(C)c1=O",  # caffeine
]


def embedded(text: str) -> ase.Atoms:
    """By RDKit, relaxed with MMFF94s where it has parameters, else with UFF; an ion states its
    charge."""
    mol = Chem.AddHs(Chem.MolFromSmiles(text))
    with rdBase.BlockLogs():
        assert AllChem.EmbedMolecule(mol, randomSeed=1) == 0
        if AllChem.MMFFHasAllMoleculeParams(mol):
            AllChem.MMFFOptimizeMolecule(mol, mmffVariant="MMFF94s", maxIters=1000)
        else:
            AllChem.UFFOptimizeMolecule(mol)
    numbers = [atom.GetAtomicNum() for atom in mol.GetAtoms()]
    charge = Chem.GetFormalCharge(mol)
    info = {"charge": charge} if charge else {}
    return ase.Atoms(numbers, mol.GetConformer().GetPositions(), info=info)
