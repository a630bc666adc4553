import logging
import os
import sys
import time
import warnings

import ase.io
import pytest

from schnetgen_pyg.cli import main
from schnetgen_pyg.commands import progress as progress_module
from schnetgen_pyg.commands import table
from schnetgen_pyg.commands.progress import progress
from tests.conftest import METHANE, small_model


def own_warning():
    """As a module of the package would warn."""
    namespace = {"__name__": "schnetgen_pyg.somewhere", "warnings": warnings}
    exec("warnings.warn('the cell\\nis left out')", namespace)


def test_own_warnings_are_seen_and_those_of_libraries_are_not(capfd, monkeypatch):
    def command(_):
        own_warning()
        warnings.warn("use something else", DeprecationWarning, stacklevel=1)
        warnings.warn("fewer workers", UserWarning, stacklevel=1)
        logging.getLogger("lightning.pytorch").warning("Tip: buy something")

    monkeypatch.setitem(table.COMMANDS, "view", command)
    assert main(["view", "x"]) == 0
    assert capfd.readouterr().err == "schnetgen view: warning: the cell is left out\n"
    assert "PYTHONWARNINGS" not in os.environ or os.environ["PYTHONWARNINGS"] != "ignore"
    logging.getLogger("somebody").warning("seen again")
    assert "seen again" in capfd.readouterr().err or not logging.root.manager.disable


def test_a_training_prints_its_own_words_only(tmp_path, capfd):
    ase.io.write(tmp_path / "x.extxyz", [METHANE] * 6)
    given = ["--data", tmp_path / "x.extxyz", "--out", tmp_path / "run", "--num_bins", "20"]
    given += ["--steps", 3, "--num_samples", 0, "--num_validation", 2, "--accelerator", "cpu"]
    given += ["--hidden_channels", 8, "--num_interactions", 1, "--num_gaussians", 10]
    assert main(["train", *map(str, given)]) == 0
    captured = capfd.readouterr()
    assert captured.err == ""
    first, *others = captured.out.splitlines()
    assert first.startswith("6 structures; ")
    assert all(line.startswith("wrote ") for line in others)


def test_the_result_is_all_that_the_standard_output_gets(tmp_path, capfd):
    small_model().save(tmp_path / "m.safetensors")
    given = ["--checkpoint", str(tmp_path / "m.safetensors"), "--formula", "CH4", "--num", "2"]
    assert main(["generate", *given, "--grid_extent", "2", "--out", "/dev/stdout"]) == 0
    captured = capfd.readouterr()
    (tmp_path / "got.extxyz").write_text(captured.out)
    assert [len(atoms) for atoms in ase.io.read(tmp_path / "got.extxyz", ":")] == [5, 5]
    assert "wrote 2 structures" in captured.err


def test_a_result_is_not_computed_twice_or_written_over(tmp_path, capfd):
    small_model().save(tmp_path / "m.safetensors")
    out = tmp_path / "x.extxyz"
    given = ["generate", "--checkpoint", str(tmp_path / "m.safetensors"), "--formula", "CH4"]
    given += ["--num", "2", "--grid_extent", "2", "--out", str(out)]
    assert main(given) == 0
    first = out.read_text()
    assert main(given) == 0
    assert "nothing to do" in capfd.readouterr().out
    assert main([*given, "--seed", "1"]) == 2
    assert "seed was 0, is now 1" in capfd.readouterr().err
    assert out.read_text() == first
    assert main([*given, "--seed", "1", "--overwrite"]) == 0
    assert out.read_text() != first


def test_a_picture_of_other_input_is_not_written_over(tmp_path, capfd):
    for name in ("a.extxyz", "b.extxyz"):
        ase.io.write(tmp_path / name, [METHANE])
    picture = tmp_path / "x.png"
    given = ["--out", str(picture)]
    assert main(["view", str(tmp_path / "a.extxyz"), *given]) == 0
    assert main(["view", str(tmp_path / "a.extxyz"), *given]) == 0
    before = picture.stat().st_mtime_ns
    capfd.readouterr()
    assert main(["view", str(tmp_path / "b.extxyz"), *given]) == 2
    assert "x.png: holds results of other settings" in capfd.readouterr().err
    assert picture.stat().st_mtime_ns == before
    assert main(["view", str(tmp_path / "b.extxyz"), *given, "--overwrite"]) == 0


def test_progress_without_a_terminal_is_a_few_lines(monkeypatch, capfd):
    """Of two batches; none says what the first item of a batch alone would tell."""

    def items():
        for _ in range(2):
            time.sleep(0.25)
            yield from range(10)

    monkeypatch.setattr(progress_module, "LINE", 0.1)
    assert len(list(progress(items(), total=20, desc="molecules"))) == 20
    lines = capfd.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 5
    assert {line.split(" after ")[0] for line in lines} == {
        "molecules: 0 of 20",
        "molecules: 10 of 20",
    }
    assert any(line.endswith("about 00:00 left") for line in lines)


def test_progress_that_is_quick_says_nothing(capfd):
    assert list(progress([1, 2, 3])) == [1, 2, 3]
    assert capfd.readouterr().err == ""


def test_progress_on_a_terminal_counts_batches(monkeypatch, capfd):
    def items():
        for _ in range(3):
            time.sleep(0.2)
            yield from range(20)

    monkeypatch.setattr(progress_module, "BAR", 0.05)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert len(list(progress(items(), total=60))) == 60
    shown = capfd.readouterr().err
    assert "20/60" in shown
    assert "40/60" in shown
    assert not any(f"{number}/60" in shown for number in (1, 21, 41))


@pytest.mark.parametrize("stopped", [0, 3])
def test_progress_ends_with_its_reader(stopped, capfd):
    shown = progress(iter(range(9)), total=9)
    for _ in range(stopped):
        next(shown)
    shown.close()
    assert capfd.readouterr().err == ""
