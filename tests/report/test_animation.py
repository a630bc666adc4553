"""The film of a molecule being built."""

import ase
import numpy as np
import pytest
from PIL import Image, ImageChops

from schnetgen_pyg.cli import main
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.sampling.generate import generate
from schnetgen_pyg.report import animation
from schnetgen_pyg.report.rendering import BACKGROUND, Canvas
from tests.conftest import METHANE, small_model


@pytest.fixture
def short(monkeypatch):
    """Fewer frames, smaller: the same film for a test."""
    for name, value in {"LOOKING": 1, "COMING": 1, "STANDING": 2, "OVERSAMPLING": 1}.items():
        monkeypatch.setattr(animation, name, value)


def test_a_film_of_own_or_generated_atoms(short, tmp_path):
    model = small_model(decisions=("focus", "distance"), order="bonded")
    path = tmp_path / "film.gif"
    animation.animate(path, model, METHANE)
    with Image.open(path) as film:
        assert film.size == (animation.WIDTH, animation.HEIGHT)
        assert film.n_frames == 2 * (len(METHANE) - 1) + 2
        first = film.convert("RGB")
        film.seek(film.n_frames - 1)
        assert ImageChops.difference(first, film.convert("RGB")).getbbox() is not None
    before = path.read_bytes()
    animation.animate(path, model, METHANE)
    assert path.read_bytes() == before


def test_a_model_without_a_focus_has_a_cloud_too(short, tmp_path):
    model = small_model()
    (built,) = generate(model, "CH4", 1, grid_spacing=0.5)
    animation.animate(tmp_path / "film.gif", model, built)
    assert (tmp_path / "film.gif").stat().st_size > 1000


def test_the_cloud_is_where_the_distances_say():
    rng = np.random.default_rng(0)
    pos = np.array([[0.0, 0.0, 0.0], [1.5, 0.0, 0.0]])
    spacing, centers = 0.05, 0.05 * np.arange(200)
    # 1.2 Å from the first atom and 2.0 Å from the second: a ring about the x axis.
    table = np.stack([-(((centers - d) / 0.1) ** 2) for d in (1.2, 2.0)])
    points = animation.draw_positions(pos, table, spacing, 0, rng)
    distance = np.linalg.norm(points[:, None] - pos, axis=2)
    assert np.allclose(distance.mean(0), [1.2, 2.0], atol=0.03)
    assert distance.std(0).max() < 0.15


def test_what_is_in_front_hides_what_is_behind():
    red, blue = np.array([255, 0, 0]), np.array([0, 0, 255])
    pictures = []
    for turn in (1, -1):  # whatever is drawn first
        canvas = Canvas(40, 40, scale=10, depth=2)
        for z, color in [(1.0, red), (-1.0, blue)][::turn]:
            canvas.ball(np.array([0, 0, z]), 1.0, color)
        canvas.cloud(np.array([[0, 0, -1.5]] * 50), np.array([0, 255, 0]), 1.0, 0.05)
        pictures.append(canvas.color)
    assert np.array_equal(*pictures)
    at_center = pictures[0][20, 20]
    assert at_center[0] > 150
    assert at_center[1] < 120
    assert np.array_equal(pictures[0][0, 0], BACKGROUND)


def test_bad_input_is_named(tmp_path):
    with pytest.raises(InputError, match="at least 2"):
        animation.animate(tmp_path / "x.gif", small_model(), ase.Atoms("C"))
    with pytest.raises(InputError, match="never seen"):
        animation.animate(
            tmp_path / "x.gif", small_model(), ase.Atoms("CF", [[0, 0, 0], [1, 0, 0]])
        )
    assert not list(tmp_path.iterdir())


def test_on_the_command_line(short, tmp_path):
    METHANE.write(tmp_path / "one.xyz")
    assert main(["view", str(tmp_path / "one.xyz"), "--out", str(tmp_path / "film.gif")]) == 0
    assert (tmp_path / "film.gif").read_bytes().startswith(b"GIF89a")
