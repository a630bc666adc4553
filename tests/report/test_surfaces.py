"""Surfaces with a local chemical potential: files that others read, the picture, the page."""

import json
import re
import shutil

import numpy as np
import pytest
from ase.build import molecule
from ase.data import atomic_numbers
from ase.io.cube import read_cube
from PIL import Image

from schnetgen_pyg.errors import InputError
from schnetgen_pyg.potentials.probe import (
    ProbedSurface,
    chemical_potential,
    chemical_potential_on_grid,
)
from schnetgen_pyg.report import surfaces
from tests.potentials.small import small_potential

WATER = molecule("H2O")


@pytest.fixture(scope="module")
def surface() -> ProbedSurface:
    pytest.importorskip("skimage")
    return chemical_potential(small_potential(), WATER, "O", spacing=0.2)


def read_ply(path):
    """As its header says, by nobody's library."""
    head, _, body = path.read_bytes().partition(b"end_header\n")
    lines = head.decode().splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    kinds = {"float": "<f4", "uchar": "u1"}
    names = [line.split()[1:] for line in lines if re.match(r"property (float|uchar) ", line)]
    number, faces = (int(line.split()[2]) for line in lines if line.startswith("element"))
    vertices = np.frombuffer(body, [(name, kinds[kind]) for kind, name in names], number)
    rest = np.frombuffer(body[vertices.nbytes :], [("n", "u1"), ("face", "<i4", 3)])
    assert len(rest) == faces
    assert (rest["n"] == 3).all()
    return vertices, rest["face"]


def test_a_mesh_comes_back(surface, tmp_path):
    surfaces.write_ply(tmp_path / "x.ply", surface)
    vertices, faces = read_ply(tmp_path / "x.ply")
    assert (faces == surface.faces).all()
    for axis, name in enumerate("xyz"):
        assert np.allclose(vertices[name], surface.vertices[:, axis], atol=1e-6)
        assert np.allclose(vertices[f"n{name}"], surface.normals[:, axis], atol=1e-6)
    assert np.allclose(vertices["potential"], surface.values, atol=1e-5)
    low, high = surface.values.argmin(), surface.values.argmax()
    assert vertices["red"][low] > vertices["blue"][low]
    assert vertices["red"][high] < vertices["blue"][high]


def test_volumes_come_back_in_their_place(tmp_path):
    volumes = chemical_potential_on_grid(small_potential(), WATER, "O", spacing=0.25)
    paths = surfaces.write_cubes(tmp_path / "x.cube", volumes)
    assert [path.name for path in paths] == ["x.cube", "x.potential.cube"]
    wanted = volumes.sums.clip(max=370.0), volumes.values
    for path, values in zip(paths, wanted, strict=True):
        with path.open() as file:
            read = read_cube(file)
        assert read["atoms"].numbers.tolist() == WATER.numbers.tolist()
        assert np.allclose(read["atoms"].positions, WATER.positions, atol=1e-5)
        assert np.allclose(read["origin"], volumes.grid.origin, atol=1e-5)
        assert np.allclose(read["spacing"], 0.25 * np.eye(3), atol=1e-5)
        assert np.allclose(read["data"], values, rtol=1e-5, atol=1e-5)


def test_the_picture_shows_the_molecule_in_its_surface(surface, tmp_path):
    surfaces.draw_surface(tmp_path / "x.png", surface)
    pixels = np.asarray(Image.open(tmp_path / "x.png").convert("RGB")).astype(int)
    assert pixels.shape[:2] == (surfaces.HEIGHT, surfaces.WIDTH)
    ground = np.abs(pixels - surfaces.BACKGROUND.astype(int)).sum(2) < 12
    assert 0.3 < ground.mean() < 0.9
    assert ground[:12].all()
    # Both ends of the colours are seen.
    inside = pixels[~ground]
    assert (inside[:, 0] - inside[:, 2] > 60).any()
    assert (inside[:, 2] - inside[:, 0] > 60).any()


def test_the_page_holds_the_surface(surface, tmp_path):
    surfaces.write_surface_page(tmp_path / "x.html", surface)
    html = (tmp_path / "x.html").read_text(encoding="utf-8")
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    data = json.loads(text[1])
    assert [atomic_numbers[symbol] for symbol in data["z"]] == WATER.numbers.tolist()
    assert len(data["faces"]) == 3 * len(surface.faces)
    assert len(data["bonds"]) == 2
    assert "<h1>H2O and a probe of O</h1>" in html


@pytest.mark.slow
def test_a_browser_colours_it(surface, tmp_path):
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs Chromium")
    path = tmp_path / "x.html"
    surfaces.write_surface_page(path, surface)
    flags = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        page = browser.new_page(viewport={"width": 900, "height": 800})
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path.as_uri())
        stage = page.locator("#stage")
        box = stage.bounding_box()
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.wait_for_function("document.getElementById('here').textContent.includes('eV at')")
        stage.screenshot(path=tmp_path / "stage.png")
        browser.close()
    assert not errors
    pixels = np.asarray(Image.open(tmp_path / "stage.png").convert("RGB")).astype(int)
    more_red = pixels[..., 0] - pixels[..., 2]
    assert min((more_red > 20).mean(), (more_red < -20).mean()) > 0.005


def test_too_many_vertices_for_the_viewer(surface, tmp_path):
    many = surface._replace(vertices=np.zeros((surfaces.MOST_VERTICES, 3)))
    with pytest.raises(InputError, match=r"x\.html: the viewer colours .* take a wider spacing"):
        surfaces.write_surface_page(tmp_path / "x.html", many)
    assert not list(tmp_path.iterdir())
