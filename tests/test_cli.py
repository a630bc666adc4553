import gzip
import json
import subprocess
import sys
from importlib.metadata import version
from types import SimpleNamespace

import ase.io
import pytest
import yaml

from schnetgen_pyg import SchNetGen
from schnetgen_pyg.cli import main
from schnetgen_pyg.commands.judges import WRITTEN
from tests.conftest import METHANE, small_model

SMALL = [
    "--hidden_channels=8",
    "--num_filters=8",
    "--num_interactions=1",
    "--num_gaussians=10",
    "--num_bins=60",
    "--num_head_layers=1",
    "--batch_size=4",
    "--num_validation=2",
    "--validation_interval=3",
    "--num_samples=0",
    "--accelerator=cpu",
]


def run(*arguments) -> int:
    """Exit status, as the shell would see it."""
    try:
        return main([str(a) for a in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.extxyz"
    ase.io.write(path, [METHANE] * 12)
    return path


@pytest.fixture
def checkpoint(tmp_path):
    small_model().save(tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


def test_train_generate_evaluate(data, tmp_path, capsys):
    out = tmp_path / "run"
    assert run("train", "--data", data, "--out", out, "--steps=4", *SMALL) == 0
    assert (out / "loss.png").is_file()
    assert "hidden_channels: 8" in (out / "config.yaml").read_text()
    made = tmp_path / "made.extxyz"
    assert (
        run(
            "generate",
            "--checkpoint",
            out / "model.safetensors",
            "--formula=CH4",
            "--num=5",
            "--temperature=1",
            "--out",
            made,
            "--device=cpu",
        )
        == 0
    )
    assert len(ase.io.read(made, ":")) == 5
    figures = tmp_path / "figures.json"
    assert (
        run(
            "evaluate",
            data,
            "--train",
            data,
            "--test",
            made,
            "--json",
            figures,
            "--out",
            tmp_path / "report",
        )
        == 0
    )
    written = json.loads(figures.read_text())
    assert (written["n"], written["valid"], written["unique"]["smiles"]) == (12, 12, 1)
    assert {p.name for p in (tmp_path / "report").iterdir()} == {
        "table.txt",
        "figures.json",
        "molecules.csv",
        "valid.sdf",
        "best.png",
    } | {f".{name}.made.json" for name in WRITTEN}
    assert "train found (smiles)" in capsys.readouterr().out


def test_evaluate_each_and_relax(data, tmp_path, capsys):
    figures = tmp_path / "figures.json"
    assert run("evaluate", data, data, "--each", "--json", figures, "--jobs", "1") == 0
    assert json.loads(figures.read_text())["summary"]["valid (%)"]["mean"] == 100
    pytest.importorskip("tblite")
    one, table = tmp_path / "one.extxyz", tmp_path / "table.csv"
    ase.io.write(one, [METHANE] * 2)
    out = tmp_path / "relaxed.db"
    assert run("relax", one, "--top=1", "--jobs=1", "--out", out, "--table", table) == 0
    assert "1 converged" in capsys.readouterr().out
    assert table.read_text().startswith("structure,status,predicted_energy")


def test_a_run_continues_with_its_own_architecture_only(data, tmp_path, capsys):
    out = tmp_path / "run"
    assert run("train", "--data", data, "--out", out, "--steps=4", *SMALL) == 0
    assert run("train", "--data", data, "--out", out, "--steps=6", *SMALL) == 0
    changed = [flag for flag in SMALL if not flag.startswith("--hidden")]
    assert run("train", "--data", data, "--out", out, "--steps=8", *changed) == 2
    assert "holds a run with other values of hidden_channels" in capsys.readouterr().err
    assert "steps: 6" in (out / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("command", "function"),
    [("train", "training.generator.fit"), ("fit-potential", "training.potential.fit_potential")],
)
def test_configuration_of_a_run_that_is_killed_and_continues(
    command, function, data, tmp_path, monkeypatch
):
    """It is there from the start, and stays that of the first run until a later one is through."""

    def killed(*_, **__):
        raise KeyboardInterrupt

    def through(*_, **__):
        return SimpleNamespace(provenance={})

    for fit, steps, status, kept in ((killed, 4, 130, 4), (killed, 6, 130, 4), (through, 8, 0, 8)):
        monkeypatch.setattr(f"schnetgen_pyg.{function}", fit)
        assert run(command, "--data", data, "--out", tmp_path, f"--steps={steps}") == status
        assert yaml.safe_load((tmp_path / "config.yaml").read_text())["steps"] == kept


@pytest.mark.parametrize("command", ["train", "fit-potential"])
def test_what_is_refused_leaves_nothing(command, data, tmp_path, capsys):
    out = tmp_path / "run"
    assert run(command, "--data", data, "--out", out, "--num_validation=12") == 2
    assert "error" in capsys.readouterr().err
    assert not out.exists()
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    assert run(command, "--data", data, "--out", out, "--num_validation=12") == 2
    assert (out / "mine.txt").is_file()


def test_a_file_may_name_the_preset(data, tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text("preset: small\nsteps: 2\nnum_validation: 2\naccelerator: cpu\ndevices: 1\n")
    assert run("train", "--data", data, "--out", tmp_path / "r", "--config", config) == 0
    assert SchNetGen.from_pretrained(tmp_path / "r" / "model.safetensors").focus is not None


def test_generation_repeats(checkpoint, tmp_path):
    texts = []
    for name in ("a.xyz", "b.xyz"):
        run(
            "generate",
            "--checkpoint",
            checkpoint,
            "--formula=CH4",
            "--num=3",
            "--seed=4",
            "--grid_extent=2",
            "--out",
            tmp_path / name,
            "--device=cpu",
        )
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1]


def test_configuration_file(data, tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text("steps: 3\nhidden_channels: 12\n")
    flags = [f for f in SMALL if not f.startswith("--hidden")]
    assert run("train", "--data", data, "--out", tmp_path / "r", *flags, "--config", config) == 0
    saved = (tmp_path / "r" / "config.yaml").read_text()
    assert "hidden_channels: 12" in saved
    assert "steps: 3" in saved


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "did you mean 'train'"),
        (
            ["train", "--data", "{data}", "--out", "{tmp}/r", "--hiden_channels", "3"],
            "did you mean 'hidden_channels'",
        ),
        (
            ["train", "--data", "{data}", "--out", "{tmp}/r", "--config", "{tmp}/bad.yaml"],
            "did you mean 'learning_rate'",
        ),
        (["train", "--data", "{tmp}/none.xyz", "--out", "{tmp}/r"], "none.xyz: no such file"),
        (["train", "--data", "{tmp}/cut.extxyz.gz", "--out", "{tmp}/r"], "cut.extxyz.gz"),
        (
            ["train", "--data", "{tmp}/empty.xyz", "--out", "{tmp}/r"],
            "empty.xyz: the file is empty",
        ),
        (["train", "--data", "{data}", "--out", "{tmp}/r", "--steps", "many"], "steps"),
        (["generate", "--checkpoint", "{tmp}/none", "--out", "{tmp}/x.xyz"], "bundled checkpoint"),
        (
            ["generate", "--checkpoint", "{model}", "--formula", "SiH4", "--out", "{tmp}/x.xyz"],
            "never seen Si",
        ),
        (
            [
                "generate",
                "--checkpoint",
                "{model}",
                "--formula",
                "C7H",
                "--num",
                "-1",
                "--out",
                "{tmp}/x.xyz",
            ],
            "num",
        ),
        (
            ["generate", "--checkpoint", "{model}", "--formula", "?", "--out", "{tmp}/x.xyz"],
            "is no formula",
        ),
        (
            ["generate", "--checkpoint", "{model}", "--formula", "CH4", "--out", "{tmp}/x.what"],
            "x.what",
        ),
        (
            ["generate", "--checkpoint", "{data}", "--formula", "CH4", "--out", "{tmp}/x.xyz"],
            "data.extxyz: not a readable safetensors file",
        ),
        (
            ["train", "--data", "{data}", "--out", "{tmp}/r", "--steps", "0"],
            "steps must be at least 1",
        ),
        (
            ["train", "--data", "{data}", "--out", "{tmp}/r", "--order", "foo"],
            "order must be one of",
        ),
        (
            ["train", "--data", "{data}", "--out", "{tmp}/r", "--num_validation", "-1"],
            "num_validation must be 0 or more, got -1",
        ),
        (
            [
                "train",
                "--data",
                "{data}",
                "--out",
                "{tmp}/r",
                "--order",
                "scaffold_first",
                "--preset",
                "small",
            ],
            "order must be a bonded one",
        ),
        (
            ["generate", "--checkpoint", "{model}", "--temperature", "nan", "--out", "{tmp}/x.xyz"],
            "temperature",
        ),
        (
            ["generate", "--checkpoint", "{model}", "--seed", "-1", "--out", "{tmp}/x.xyz"],
            "seed must be 0 or more",
        ),
        (
            ["generate", "--checkpoint", "{model}", "--device", "foo", "--out", "{tmp}/x.xyz"],
            "device 'foo' cannot be used",
        ),
        (
            ["generate", "--checkpoint", "{model}", "--formula", "C0", "--out", "{tmp}/x.xyz"],
            "'C0' has no atoms",
        ),
        (
            ["generate", "--checkpoint", "{model}", "--formula", "no.txt", "--out", "{tmp}/x.xyz"],
            "'no.txt' is no formula, and no such file",
        ),
        (["generate", "--checkpoint", "{model}", "--out", "{tmp}/x.vasp"], "x.vasp"),
        (["evaluate", "{tmp}/nan.xyz"], "nan.xyz: structure 0: the position of atom 0"),
        (["evaluate", "{data}", "--jobs", "-1"], "jobs must be at least 1"),
        (["evaluate", "{data}", "--jobs", "0"], "jobs must be at least 1"),
        (["evaluate", "{data}", "--each"], "samples must be at least 2"),
        (["relax", "{data}", "--method", "gfn9", "--out", "{tmp}/r.db"], "method must be one of"),
        (["relax", "{data}", "--out", "{tmp}/x.xyz"], "is written as .db"),
        (["relax", "{data}", "--out", "{tmp}/r.db", "--top", "0"], "top must be at least 1"),
        (["relax", "{data}", "--out", "{tmp}/r.db", "--fmaxx", "1"], "did you mean 'fmax'"),
        (["train", "--data", "{data}", "--out", "{tmp}/r", "--precision", "16-true"], "precision"),
        (
            ["train", "--data", "{data}", "--out", "{tmp}/r", "--accelerator", "abacus"],
            "Lightning cannot train with accelerator='abacus'",
        ),
        (
            ["train", "--data", "{data}", "--out", "{tmp}/r", "--strategy", "napoleon"],
            "strategy='napoleon'",
        ),
        (
            ["generate", "--checkpoint", "c7h10o2", "--formula", "CH9", "--out", "{tmp}/x.xyz"],
            "no closed-shell molecule has the formula CH9",
        ),
    ],
)
def test_bad_input_is_named_without_a_traceback(
    arguments, message, data, checkpoint, tmp_path, capsys
):
    (tmp_path / "bad.yaml").write_text("learnin_rate: 3\n")
    (tmp_path / "empty.xyz").touch()
    (tmp_path / "nan.xyz").write_text("1\n\nC nan 0 0\n")
    (tmp_path / "cut.extxyz.gz").write_bytes(gzip.compress(data.read_bytes())[:-30])
    values = {"data": data, "tmp": tmp_path, "model": checkpoint}
    assert run(*[a.format(**values) for a in arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert not (tmp_path / "x.xyz").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["generate", "--help"],
        ["evaluate", "--help"],
        ["relax", "--help"],
    ],
)
def test_help(arguments, capsys):
    assert run(*arguments) == 0
    assert "usage: schnetgen" in capsys.readouterr().out


def test_what_is_heavy_waits_for_a_command():
    code = "import sys, schnetgen_pyg.cli; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"ase", "lightning", "numpy", "rdkit", "torch"} & set(found.stdout.split())


def test_version(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out.strip() == version("schnetgen_pyg")


def test_label_fit_and_predict(data, tmp_path, capsys):
    pytest.importorskip("tblite")
    labels = tmp_path / "labels.extxyz"
    assert (
        run(
            "label",
            data,
            "--out",
            labels,
            "--jobs=1",
            "--num_perturbed=1",
            "--equilibration=2",
            "--interval=1",
            "--temperatures=[300]",
        )
        == 0
    )
    assert len(ase.io.read(labels, ":")) == 24
    out = tmp_path / "potential"
    fit = ("fit-potential", "--data", labels, "--test", labels, "--out", out, "--accelerator=cpu")
    fit += ("--representation=schnet", "--settings.hidden_channels=8", "--settings.cutoff=4.0")
    fit += ("--steps=3", "--batch_size=4", "--num_validation=4", "--group_by=source")
    assert run(*fit) == 0
    printed = capsys.readouterr().out
    assert "forces_mae_mev_per_angstrom" in printed
    assert "hidden_channels: 8" in (out / "config.yaml").read_text()
    model = out / "model.safetensors"
    found = tmp_path / "found.extxyz"
    assert run("predict", labels, "--checkpoint", model, model, "--out", found) == 0
    assert "energy_mae_mev" in capsys.readouterr().out
    atoms = ase.io.read(found, 3)
    assert atoms.info["energy_std"] == 0.0
    assert atoms.get_forces().shape == (5, 3)
    assert run(*fit, "--settings.hiden_channels=8") == 2
    assert "did you mean 'hidden_channels'" in capsys.readouterr().err
    assert run("predict", labels, "--checkpoint=nowhere", "--out", found) == 2
