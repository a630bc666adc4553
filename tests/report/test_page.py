"""The report: its data, its file, and what a browser makes of it."""

import json
import re
import shutil

import ase.io
import numpy as np
import pandas as pd
import pytest
import torch

from schnetgen_pyg import evaluate
from schnetgen_pyg.chem.perception import perceive
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.evaluation.evaluation import Evaluation
from schnetgen_pyg.evaluation.judges import Record
from schnetgen_pyg.generator.sampling.likelihood import trace
from schnetgen_pyg.generator.training_set import TrainingSet
from schnetgen_pyg.relaxation.store import Store
from schnetgen_pyg.report.gallery import verdicts
from schnetgen_pyg.report.page import (
    construction,
    distribution_plots,
    loss_curves,
    page_data,
    write_page,
)
from schnetgen_pyg.report.pictures import valid_molecules
from schnetgen_pyg.report.runs import Sources, read_relaxed
from tests.conftest import METHANE, deciding, small_model
from tests.test_cli import run


@pytest.fixture(scope="module")
def structures(isomers):
    """Twelve real molecules, one of them twice, and one that is torn apart."""
    chosen = [to_ase(data) for data in [*isomers[:11], isomers[0]]]
    torn = chosen[3].copy()
    torn.positions[-1] += 5
    chosen.append(torn)
    for number, atoms in enumerate(chosen):
        atoms.info.update(sample=number, log_prob=float((7 * number) % 13))
    return chosen


@pytest.fixture(scope="module")
def evaluation(structures, isomers):
    result = evaluate(structures, train=isomers[:6], test=isomers[6:10], jobs=1)
    for number, record in enumerate(result.records):  # as if PoseBusters had run
        if not record["failure"]:
            record["posebusters"] = {"bond_lengths": True, "bond_angles": number != 2}
    return result


@pytest.fixture(scope="module")
def data(structures, evaluation):
    relaxed = {
        k: {"energy": -3.0 + k, "rmsd": 0.1 * k, "pos": structures[k].positions} for k in (1, 2)
    }
    log = pd.DataFrame({"loss": [4.0, 3.0], "valid": [np.nan, 0.5]}, index=[9, 19])
    return page_data(
        structures,
        evaluation,
        log=log,
        model=small_model(),
        relaxed=relaxed,
        title="A <title> & more",
        notes={"from": "</script><script>alert(1)</script>"},
    )


def test_rows_say_what_became_of_each_structure(data):
    rows = data["molecules"]
    assert [row["status"] for row in rows] == [
        *["train"] * 6,
        *["test"] * 4,
        *("new", "train", "fragments"),
    ]
    assert rows[0]["count"] == rows[11]["count"] == 2
    assert rows[0]["drawing"] == rows[11]["drawing"]
    assert len(data["drawings"]) == 12
    assert all(text.startswith("<svg") and "<path" in text for text in data["drawings"].values())
    assert (rows[2]["energy"], rows[2]["rmsd"], rows[2]["relaxed"]) == (-1.0, 0.2, rows[2]["pos"])
    assert "relaxed" not in rows[3]
    for row in rows:
        assert len(row["pos"]) == 3 * len(row["z"].split())
    # Bond orders fill every valence.
    orders = np.zeros(len(rows[0]["z"].split()), dtype=int)
    for first, second, order in np.reshape(rows[0]["bonds"], (-1, 3)):
        orders[[first, second]] += order
    assert [{"H": 1, "C": 4, "O": 2}[s] for s in rows[0]["z"].split()] == orders.tolist()


def test_summary_stands_beside_the_paper(data):
    table = {row["label"]: (row["value"], row["paper"]) for row in data["summary"]}
    assert table["structures"] == ("13", "10,000")
    assert table["valid"] == ("12 (92.3 %)", "")
    assert table["train molecules found"] == ("6 of 6", "")
    assert table["different scaffolds, bond orders ignored"][1] == "4,392"
    assert table["RMSD after relaxation, all atoms (Å)"] == ("0.15 (mean of 2)", "0.36")


def test_the_paper_is_quoted_for_its_isomers_only():
    judged = evaluate([METHANE], jobs=1)
    page = page_data([METHANE], judged)
    assert not page["paper"]
    assert not any(row["paper"] for row in page["summary"])


def test_a_structure_that_hung_is_not_looked_at_again():
    page = page_data([METHANE], Evaluation([Record(failure="timeout")]))
    row = page["molecules"][0]
    assert (row["status"], row["bonds"]) == ("timeout", [])
    assert page["drawings"] == {}
    assert page["construction"] is None


def test_values_that_are_not_finite_are_left_out_and_named(tmp_path):
    structures = [METHANE.copy() for _ in range(4)]
    for atoms, value in zip(structures, (float("nan"), float("inf"), "many", -3.0), strict=True):
        atoms.info["log_prob"] = value
    judged = evaluate(structures, jobs=1)
    relaxed = {1: {"energy": float("nan"), "rmsd": float("inf"), "pos": METHANE.positions}}
    log = pd.DataFrame({"loss": [4.0, np.inf, np.nan, 3.0]})
    page = page_data(structures, judged, relaxed=relaxed, log=log)
    write_page(tmp_path / "r.html", page)
    rows = page["molecules"]
    assert [row.get("log_prob") for row in rows] == [None, None, None, -3.0]
    assert not {"energy", "rmsd"} & rows[1].keys()
    assert page["loss"]["loss"]["y"] == [4.0, 3.0]
    html = (tmp_path / "r.html").read_text()
    for remark in (
        "structure 0: log_prob is nan",
        "structure 1: log_prob is inf",
        "structure 2: log_prob is many",
        "structure 1: energy after relaxation is nan",
        "structure 1: rmsd after relaxation is inf",
        "training: loss is infinite at 1 steps",
    ):
        assert f"{remark}, which" in html
    (mol,) = valid_molecules(structures, judged)
    assert mol.GetProp("known_from") == "new"


def test_many_values_that_are_not_finite_are_counted():
    structures = [METHANE.copy() for _ in range(14)]
    for atoms in structures:
        atoms.info["log_prob"] = float("nan")
    remarks = page_data(structures, Evaluation([Record(failure="timeout")] * 14))["remarks"]
    assert remarks[-1] == "and 4 more such values"


def test_what_the_generator_has_seen_is_shown(structures, isomers):
    model = small_model()
    model.training_set = TrainingSet.of(isomers[:4])
    page = page_data(structures, evaluate(structures, model=model, test=isomers[2:6], jobs=1))
    assert [row["status"] for row in page["molecules"]] == [
        *["seen"] * 4,
        *["test"] * 2,
        *["new"] * 5,
        *("seen", "fragments"),
    ]
    table = {row["label"]: (row["value"], row["paper"]) for row in page["summary"]}
    assert table["molecules seen in training found"] == ("4 of 4", "")
    assert table["scaffolds seen in training found"][1] == "266"
    assert table["test molecules found"] == ("2 of 2", "")
    assert table["novel, of the different ones"] == ("63.6 %", "")
    assert any("not among the 4 that the model was trained on" in r for r in page["remarks"])


def test_a_run_is_judged_by_the_generator_of_its_structures(isomers, tmp_path, capsys):
    """Another model was trained in the same folder."""
    (tmp_path / "run" / "training" / "logs" / "version_0").mkdir(parents=True)
    (tmp_path / "run/training/logs/version_0/metrics.csv").write_text("step,epoch,loss\n9,0,3.0\n")
    ase.io.write(tmp_path / "known.extxyz", [to_ase(d) for d in isomers[:8]])
    settings = f"data: [{tmp_path / 'known.extxyz'}]\n"
    (tmp_path / "run/training/config.yaml").write_text(settings)
    maker, trained = small_model(), small_model()
    maker.training_set, trained.training_set = (
        TrainingSet.of(isomers[:1]),
        TrainingSet.of(isomers[:8]),
    )
    maker.save(tmp_path / "maker.safetensors")
    trained.save(tmp_path / "run/training/model.safetensors")
    made = [to_ase(data) for data in isomers[:4]]
    for atoms in made:
        atoms.info |= {"generator": str(tmp_path / "maker.safetensors")}
        atoms.info |= {"training_set": maker.training_set.digest}
    ase.io.write(tmp_path / "run/generated.extxyz", made)
    assert run("report", tmp_path / "run", "--jobs=1") == 0
    html = (tmp_path / "run/report.html").read_text()
    assert "75.0 % of 4 different valid molecules are not among the 1 that" in html
    assert "train molecules found" not in html
    assert f"<span>atom by atom with {tmp_path / 'maker.safetensors'}</span>" in html
    other = "the training shown is not of their generator but that in"
    assert f"<span>{other} {tmp_path / 'run/training'}</span>" in html
    ase.io.write(tmp_path / "run/generated.extxyz", [to_ase(data) for data in isomers[6:10]])
    assert run("report", tmp_path / "run", "--jobs=1") == 0
    html = (tmp_path / "run/report.html").read_text()
    assert "50.0 % of 4 different valid molecules are not among the 8 that" in html
    assert "train molecules found" in html
    assert f"<span>atom by atom with {tmp_path / 'run/training/model.safetensors'}</span>" in html
    assert other not in html


def test_judges_are_those_of_the_evaluation(data, evaluation):
    table = evaluation.to_pandas()
    found = data["judges"]
    assert found["sets"] == ["this run (13)", "train (6)", "test (4)"]
    labels = [row["label"] for row in found["rows"]]
    own = ["valid (%)", "own SMILES, of those that state one (%)"]
    assert labels[:4] == [*own, "EDM: stable atoms (%)", "EDM: stable molecules (%)"]
    assert labels[-2:] == ["PoseBusters: bond lengths (%)", "PoseBusters: bond angles (%)"]
    assert found["about"]["EDM"].startswith("Bond orders by lookup tables")
    others = found["not asked"] + found["not installed"]
    assert "PoseBusters, energy" in others
    assert "PoseBusters" not in others
    for row in found["rows"]:
        assert [float(value) if value else "" for value in row["values"]] == [
            *table.loc[row["label"]]
        ]


def test_verdicts_of_each_structure(data):
    rows = data["molecules"]
    assert rows[0]["verdicts"]["EDM"] == "19 of 19 atoms stable"
    assert rows[0]["verdicts"]["PoseBusters"] == "passes 2 tests"
    assert rows[2]["verdicts"]["PoseBusters"] == "fails bond angles"
    assert "PoseBusters" not in rows[12]["verdicts"]
    assert verdicts(Record(posebusters={"unfinished": "crash"})) == {
        "PoseBusters": "did not finish"
    }
    assert verdicts(Record(openbabel={"failure": "valence"})) == {"Open Babel": "valence"}


def test_distances_are_those_of_the_evaluation(data, evaluation):
    found = data["distributions"]
    assert (found["sets"], found["reference"]) == (["generated", "train", "test"], "test")
    for plot in found["plots"]:
        kind, quantity = plot["kind"].replace("–", "-"), plot["quantity"]
        for name, key in (("generated", "valid"), ("train", "train")):
            types = evaluation.distances[key][quantity]["types"]
            expected = types.get(kind, types.get(kind[::-1]))
            assert plot["distances"][name] == pytest.approx(expected, abs=0.005)
    table = evaluation.to_pandas()
    for row in found["distances"]["rows"]:
        expected = [table.loc[f"of the valid: {row['label']}", "generated"]]
        expected.append(table.loc[row["label"], "train"])
        assert [float(value) for value in row["values"]] == pytest.approx(expected, rel=0.01)


def test_distributions_of_methane():
    found = distribution_plots(evaluate([METHANE], jobs=1))
    assert [plot["kind"] for plot in found["plots"]] == ["C–H", "H–C–H"]
    bond = found["plots"][0]
    bin_of_all = bond["start"] + bond["width"] * int(np.argmax(bond["density"]["generated"]))
    assert bin_of_all <= 0.63 * 3**0.5 <= bin_of_all + bond["width"]
    assert not found["reference"]
    assert not found["rings"]["sizes"]
    assert distribution_plots(evaluate([ase.Atoms("CH4")], jobs=1)) is None


def test_densities_integrate_to_one(data, structures):
    found = data["distributions"]
    kinds = {(plot["quantity"], plot["kind"]) for plot in found["plots"]}
    assert kinds >= {("bonds", "C–C"), ("bonds", "O–H"), ("angles", "C–C–C")}
    for plot in found["plots"]:
        for density in plot["density"].values():
            assert sum(density) * plot["width"] == pytest.approx(1, abs=0.01)
    mols = [perceive(atoms).mol for atoms in structures[:12]]  # their rings live as long as they
    rings = sum(len(mol.GetRingInfo().AtomRings()) for mol in mols)
    assert 12 * sum(found["rings"]["per_molecule"]["generated"]) == pytest.approx(rings, abs=0.01)


def test_a_thousand_molecules_fit_into_ten_megabytes(data, tmp_path):
    """Even if every one of them is drawn and was relaxed."""
    write_page(tmp_path / "r.html", data)
    size = (tmp_path / "r.html").stat().st_size
    largest = max(len(json.dumps(row)) for row in data["molecules"])
    drawing = max(len(json.dumps(text)) for text in data["drawings"].values())
    assert size + 1_000 * (largest + drawing) < 10e6


def test_loss_curves_are_thinned():
    log = pd.DataFrame({"loss": np.linspace(4, 3, 5_000), "valid": np.nan})
    curves = loss_curves(log)
    assert list(curves) == ["loss"]
    assert len(curves["loss"]["x"]) <= 1_000
    assert curves["loss"]["x"][-1] == 4_999


@pytest.mark.parametrize(
    "changes",
    [{}, deciding("focus", "next_type", "hydrogens")],
    ids=["grid", "focus"],
)
def test_the_trace_follows_the_molecule(changes, isomers):
    model = small_model(**changes)
    records = trace(model, isomers[0])
    atoms = isomers[0].z.numel()
    assert len(records) == atoms - 1
    for size, record in enumerate(records, 1):
        assert record.distance_log_prob.shape == (1, size, 150)
        assert torch.allclose(record.distance_log_prob.exp().sum(2), torch.ones(1, size))
        if changes:
            assert record.focus_log_prob.exp().sum() == pytest.approx(1, abs=1e-5)
            assert 0 <= int(record.focus[0]) < size
        else:
            assert record.focus is None


def test_the_trace_is_what_the_model_says(isomers):
    model, data = small_model(), isomers[0]
    record = trace(model, data)[4]
    with torch.no_grad():
        expected = model(data.z[:5], data.pos[:5], data.z[5:6])
    assert torch.allclose(record.distance_log_prob[0], expected, atol=1e-5)


def test_construction_takes_foreign_molecules_in_an_order_of_the_model(structures):
    bare = structures[0].copy()
    bare.info.clear()
    built = construction(small_model(), bare)
    heavy = [symbol != "H" for symbol in built["z"]]
    assert heavy == sorted(heavy, reverse=True)  # hydrogens last
    assert [len(step["p"]) for step in built["steps"]] == list(range(1, len(bare)))


def test_relaxed_geometries_lie_on_top(structures, tmp_path):
    path = tmp_path / "relaxed.db"
    store = Store(path, structures, {})
    for number, status in ((2, "converged"), (3, "exploded")):
        atoms = ase.Atoms(structures[number].numbers, structures[number].positions)
        atoms.rotate(70, "x")
        record = {"energy_after": -2.5, "rmsd": 0.0, "rmsd_heavy": 0.0, "status": status}
        store.write(number, record, atoms.positions, "gfn2-xtb")
    found = read_relaxed(path, structures)
    assert list(found) == [2]
    assert found[2]["energy"] == -2.5
    np.testing.assert_allclose(found[2]["pos"], structures[2].positions, atol=1e-5)
    with pytest.raises(InputError, match="no relaxation of structure 2"):
        read_relaxed(path, structures[:1])


def test_sources(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        Sources.find(tmp_path / "none")
    with pytest.raises(InputError, match="holds neither structures"):
        Sources.find(tmp_path)
    for name in ("a.extxyz", "b.xyz", "c.extxyz.partial.extxyz", "relaxed.db"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"a\.extxyz, b\.xyz"):
        Sources.find(tmp_path)
    (tmp_path / "generated.extxyz").touch()
    log = tmp_path / "training" / "logs" / "version_0" / "metrics.csv"
    log.parent.mkdir(parents=True)
    log.touch()
    (tmp_path / "training" / "config.yaml").write_text("data: [c7h10o2-xtb]\n")
    found = Sources.find(tmp_path)
    assert found.structures == tmp_path / "generated.extxyz"
    assert found.training == tmp_path / "training"
    assert found.relaxed == tmp_path / "relaxed.db"
    assert found.training_data() == ["c7h10o2-xtb"]
    assert found.checkpoint() is None


def test_report_command(structures, tmp_path, capsys):
    ase.io.write(tmp_path / "generated.extxyz", structures[:3])
    (tmp_path / "data").mkdir()
    ase.io.write(tmp_path / "data" / "known.extxyz", structures[:6])
    small_model().save(tmp_path / "m.safetensors")
    arguments = [
        "--train",
        tmp_path / "data" / "known.extxyz",
        "--jobs=1",
        "--checkpoint",
        tmp_path / "m.safetensors",
    ]
    assert run("report", tmp_path, *arguments) == 0
    html = (tmp_path / "report.html").read_text()
    assert "3 structures of C7H10O2" in html
    assert not re.search(r"(src|href)=.https?:", html.split("<script")[0])
    assert run("report", tmp_path / "none") == 2
    assert "no such folder or file" in capsys.readouterr().err


def test_view_command(structures, tmp_path, capsys, monkeypatch):
    ase.io.write(
        tmp_path / "some.extxyz",
        [*structures[:4], ase.Atoms("H"), ase.Atoms("H2", [[0, 0, 0], [0, 0, 0.74]])],
    )
    assert run("view", tmp_path / "some.extxyz", "--num=6", "--out", tmp_path / "x.png") == 0
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"
    monkeypatch.delenv("DISPLAY", raising=False)
    assert run("view", tmp_path / "some.extxyz") == 2
    assert "--out x.png" in capsys.readouterr().err


def test_text_in_the_page_is_text(data, tmp_path):
    write_page(tmp_path / "r.html", data)
    html = (tmp_path / "r.html").read_text()
    assert "<title>A &lt;title&gt; &amp; more</title>" in html
    assert "<script>alert" not in html
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert json.loads(text[1]) == json.loads(json.dumps(data))


@pytest.fixture(scope="module")
def opened(data, tmp_path_factory):
    """The page in headless Chromium, what it said on the console and what it asked for."""
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs Chromium")
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(path, data)
    flags = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        page = browser.new_page(viewport={"width": 1300, "height": 900})
        errors, requests = [], []
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        yield page, errors, requests
        browser.close()


def drawn_pixels(page, selector) -> int:
    """How many pixels of a picture are not the most frequent colour."""
    import io

    from PIL import Image

    picture = Image.open(io.BytesIO(page.locator(selector).screenshot())).convert("RGB")
    counts = sorted(count for count, _ in picture.getcolors(1 << 24))
    return sum(counts[:-1])


def order_of(page) -> list[int]:
    return [
        int(p) for p in page.eval_on_selector_all(".card", "all => all.map(c => c.dataset.place)")
    ]


def test_the_gallery_sorts_and_filters(opened, data):
    page, errors, _ = opened
    values = [row["log_prob"] for row in data["molecules"]]
    assert order_of(page) == list(range(13))
    page.select_option("#sort", "log_prob")
    assert order_of(page) == sorted(range(13), key=values.__getitem__)
    page.click("#direction")
    assert order_of(page) == sorted(range(13), key=values.__getitem__, reverse=True)
    page.select_option("#sort", "rmsd")  # of two structures only: they come first
    assert order_of(page)[:2] == [2, 1]
    page.select_option("#filter", "any broken")
    assert order_of(page) == [12]
    page.select_option("#filter", "all")
    page.check("#once")
    assert len(order_of(page)) == 12
    page.uncheck("#once")
    assert not errors


def test_figures_are_shown(opened, data):
    page, errors, _ = opened
    table = page.inner_text("#judge-table")
    for row in data["judges"]["rows"][1:]:
        assert "\t".join([row["label"], *(v or "–" for v in row["values"])]) in table
    assert "distance of bonds (Å)" in page.inner_text("#distance-table")
    plot = page.locator("#distribution-plots .plot >> nth=0")
    plot.scroll_into_view_if_needed()
    apart = data["distributions"]["plots"][0]["distances"]
    text = plot.locator(".annotation").text_content()
    assert f"{apart['generated']:.4f} · {apart['train']:.4f} Å" in text.replace("\xa0", " ")
    page.click(".card[data-place='2']")
    assert "fails bond angles" in page.inner_text("#sheet-facts")
    page.click("#close")
    assert not errors


def test_three_dimensions_are_drawn(opened):
    page, errors, requests = opened
    page.click(".card[data-place='2']")
    page.wait_for_selector("#viewer canvas")
    page.wait_for_timeout(300)
    assert drawn_pixels(page, "#viewer") > 2_000
    assert "after relaxation" in page.inner_text("#sheet-legend")
    page.click("#close")
    page.locator("#construction").scroll_into_view_if_needed()
    page.wait_for_selector("#stage canvas")
    page.wait_for_selector("#ridges .main-svg")
    page.wait_for_timeout(500)
    assert drawn_pixels(page, "#stage") > 1_000
    before = page.inner_text("#step-text")
    page.click("#next")
    assert page.inner_text("#step-text") != before
    for name in ("loss-plot", "relax-plot", "distribution-plots .plot >> nth=0"):
        page.locator(f"#{name}").scroll_into_view_if_needed()
        page.wait_for_selector(f"#{name.split(' ')[0]} .main-svg")
    assert not errors
    assert [url.split(":")[0] for url in requests] == ["file"]
