"""Tables of SMILES to learn from."""

import gzip

import pytest
import torch

from schnetgen_pyg.chem.molecular_graphs import MolecularGraph
from schnetgen_pyg.data.graph_features import GraphBatch, graph_of_smiles
from schnetgen_pyg.data.graph_sets import GraphSet, graphs_of_smiles
from schnetgen_pyg.data.labelled_graphs import GraphTarget, read_labelled
from schnetgen_pyg.errors import InputError

GOOD = """name,SMILES,gap (eV),toxic
a,CCO,1.5,0
"b, and more",[Na+].[Cl-],,1

c,c1ccccc1,-2e0,NaN
d,C1CC1,3,1
"""


@pytest.fixture
def written(tmp_path):
    def write(text, name="x.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode())
        return path

    return write


def test_a_table_is_read_as_it_is(written):
    found = read_labelled(written(GOOD), ["gap (eV)"], ["toxic"])
    assert found.targets == (GraphTarget("gap (eV)", "eV"), GraphTarget("toxic", "", True))
    expected = torch.tensor([[1.5, 0], [torch.nan, 1], [-2, torch.nan], [3, 1]]).double()
    torch.testing.assert_close(found.labels, expected, equal_nan=True)
    assert found.smiles == ["CCO", "[Cl-].[Na+]", "c1ccccc1", "C1CC1"]
    assert [text.rpartition(" ")[2] for text in found.where] == ["2", "3", "5", "6"]
    assert found.graphs.elements() == (1, 6, 8, 11, 17)
    assert found.targets[0].called("predicted") == "gap_predicted (eV)"


def test_other_writings_of_the_same_table(written, tmp_path):
    plain = read_labelled(written(GOOD), ["gap (eV)"])
    (tmp_path / "y.csv.gz").write_bytes(gzip.compress(GOOD.encode()))
    windows = written("\ufeff" + GOOD.replace("\n", "\r\n").replace("SMILES", "mine"), "z.csv")
    for other in (
        read_labelled(tmp_path / "y.csv.gz", ["gap (eV)"]),
        read_labelled(windows, ["gap (eV)"], smiles="mine"),
    ):
        assert other.digest() == plain.digest()


@pytest.mark.parametrize(
    ("text", "asked", "said"),
    [
        ("", {}, "the file is empty"),
        ("smiles,y\n", {}, "no rows below"),
        ("mol,y\nC,1\n", {}, "has no column smiles; it has mol, y"),
        ("smiles,y\nC,1\n", {"smiles": "smile"}, "no column 'smile'.*did you mean 'smiles'"),
        ("smiles,logS\nC,1\n", {}, "no column 'y'"),
        ("smiles,y,y\nC,1,2\n", {}, "several columns 'y'"),
        ("smiles,y\nC,1\nC,1,2\n", {}, "line 3: has 3 cells, the first line 2"),
        ("smiles,a,y\nC,1\n", {}, "line 2: has 2 cells, the first line 3"),
        ("smiles,y\nC,1\nCC,high\n", {}, "line 3: y is 'high', and no finite number"),
        ("smiles,y\nC,inf\nCC,1\n", {}, "line 2: y is 'inf'"),
        ("smiles,y\nC,\nCC,\n", {}, "y is empty in all rows"),
        ("smiles,y\nC,1\nCC,1\n", {}, "y is 1 in all rows"),
        ("smiles,y\nC,1\nCC,1\nCO,\n", {"classify": ["y"]}, "y is 1 in all rows"),
        ("smiles,y\nC,1\nCC,2\n", {"classify": ["y"]}, "line 3: y must be 0 or 1 .* got 2"),
        ("smiles,y\nC,1\nC(,2\n", {}, "1 of 2 molecules cannot be read: line 3: 'C\\('"),
        ("smiles,y\nC,1\n,2\n", {}, "line 3: ''"),
        ("smiles,y\nC,1\n*C,2\n", {}, "line 3: '\\*C' is a pattern"),
        ("smiles,y\nC,1\nC(C)(C)(C)(C)C,2\n", {}, "line 3: .*valence"),
        ("smiles,y\nC(,1\nC(,2\n", {"skip_bad": True}, "2 of 2 molecules cannot be read"),
        ("smiles,y\nC,1\nCC,2\n", {"target": []}, "say which columns .* it has y"),
    ],
)
def test_a_table_of_no_use(written, text, asked, said):
    with pytest.raises(InputError, match=rf"x.csv: .*{said}"):
        read_labelled(written(text), **({"target": ["y"]} | asked))


def test_what_is_left_out_or_repeated_is_said(written):
    bad = written("smiles,y\nC,1\nC(,2\nCC,\nCO,2\nOC,3\nN,4\nN,4\n")
    with pytest.warns(UserWarning, match="x.csv: ") as told:
        found = read_labelled(bad, ["y"], skip_bad=True)
    first, second, third = (str(one.message) for one in told)
    assert "1 of 7 rows have no label and are left out (line 4)" in first
    assert "1 of 6 molecules cannot be read: line 3" in second
    assert "2 molecules come more than once, 1 of them with different labels (lines 5 and" in third
    assert found.smiles == ["C", "CO", "CO", "N", "N"]


def test_a_column_of_classes_that_is_read_as_numbers_is_said(written):
    with pytest.warns(UserWarning, match="y is 0 or 1 in all rows, and is learned as a number"):
        read_labelled(written("smiles,y\nC,1\nCC,0\n"), ["y"])


def test_a_batch_is_that_of_the_graphs():
    texts = ["CCO", "[H]", "[Na+].[Cl-]", "F/C=C/F", "C"]
    graphs: list[MolecularGraph] = [graph_of_smiles(text) for text in texts]
    labels = torch.arange(5.0)
    batch = GraphSet(graphs_of_smiles(texts), labels)[[3, 0, 2, 1]]
    expected = GraphBatch.of_graphs([graphs[k] for k in (3, 0, 2, 1)])
    for name, value in expected._asdict().items():
        assert torch.equal(batch[name].long(), value), name
    assert batch.y.tolist() == batch.index.tolist() == [3, 0, 2, 1]
    assert batch.ptr.tolist() == [0, 6, 15, 17, 18]
