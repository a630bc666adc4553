"""The film of a molecule being built, as an animated GIF.

At every step the cloud is where the model would put the next atom, p(r) ∝ ∏_j p(Δ_j), and the
glowing atom is the focus that the new one is bonded to.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import ase
import numpy as np
import torch
from ase.data import chemical_symbols, covalent_radii
from ase.data.colors import jmol_colors
from PIL import Image, ImageDraw, ImageFont
from torch_geometric.data import Data

from schnetgen_pyg.chem.bonds import connectivity
from schnetgen_pyg.chem.perception import perceive
from schnetgen_pyg.data.conversion import as_data, to_ase
from schnetgen_pyg.errors import require
from schnetgen_pyg.generator.draft import StepRecord
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.orders import ORDERS, reorder
from schnetgen_pyg.generator.sampling.generate import generate
from schnetgen_pyg.generator.sampling.likelihood import trace
from schnetgen_pyg.report.rendering import BACKGROUND, Array, Canvas
from schnetgen_pyg.storage.atomic import replacing

#: What is built where no molecule is given.
FORMULA = "C7H10O2"
WIDTH, HEIGHT = 480, 336
#: Drawn so many times larger and made smaller at the end: smooth edges.
OVERSAMPLING = 2
CLOUD = np.array([64, 214, 196])
STICK = np.array([132, 142, 158])
TEXT, QUIET = (226, 232, 240), (120, 132, 150)
#: Frames of a step while the cloud grows, while the atom comes, and at the end.
LOOKING, COMING, STANDING = 3, 3, 26
MILLISECONDS = 70
COLORS = 96
#: How far the vertical axis leans to the viewer.
TILT = 0.3
#: Spacing of the lattice on which p(r) is evaluated and how far it reaches from an atom (Å), and
#: how many points are drawn from it.
LATTICE, REACH, POINTS = 0.1, 2.3, 16_000


def animate(
    path: str | os.PathLike[str], model: SchNetGen, atoms: Any = None, seed: int = 0
) -> None:
    """Write an animated GIF of a molecule that is built atom by atom.

    Args:
        path: of the GIF, 480 x 336 pixels.
        model: says at every step where the next atom may go.
        atoms: the molecule, ``Atoms`` or ``Data`` (Å). A generated one is built in its own order,
            any other in one that the model was made for. By default an isomer of C7H10O2 that
            the model makes itself.
        seed: of that molecule, and of the order.

    Raises:
        InputError: for elements that the model never saw, or fewer than two atoms.
    """
    if atoms is None:
        (atoms,) = generate(model, FORMULA, 1, seed=seed)
    data = _in_order(model, atoms, seed)
    require(data.z.numel() > 1, "number of atoms", data.z.numel(), "at least 2")
    frames = list(_frames(to_ase(data), trace(model, data), model.distance.bins.spacing))
    # One palette for all frames and no dithering: what does not move takes no room in the file.
    palette = _palette(frames)
    few = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    with replacing(path) as temporary:
        few[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=few[1:],
            duration=MILLISECONDS,
            loop=0,
        )


def _palette(frames: list[Image.Image]) -> Image.Image:
    """The colours of some frames and of the cloud."""
    some = [frames[(len(frames) - 1) * number // 5] for number in range(1, 6)]
    strip = Image.new("RGB", (WIDTH, (len(some) + 1) * HEIGHT))
    for number, frame in enumerate(some):
        strip.paste(frame, (0, number * HEIGHT))
    shades = BACKGROUND + np.linspace(0, 0.9, WIDTH)[:, None] * (CLOUD - BACKGROUND)
    cloud = np.broadcast_to(shades.astype(np.uint8), (HEIGHT // 6, WIDTH, 3))
    strip.paste(Image.fromarray(np.ascontiguousarray(cloud)), (0, len(some) * HEIGHT))
    return strip.quantize(COLORS, method=Image.Quantize.MEDIANCUT)


def _in_order(model: SchNetGen, atoms: Any, seed: int) -> Data:
    """The molecule about its centre, in the order in which it is built, its longest direction
    along x and its thinnest along z."""
    (data,) = as_data(atoms, "atoms")
    if not (isinstance(atoms, ase.Atoms) and "sample" in atoms.info):
        ptr = torch.tensor([0, data.z.numel()])
        one = Data(z=data.z, pos=data.pos, batch=torch.zeros_like(data.z), ptr=ptr)
        order = ORDERS[model.config.order]
        data = reorder(one, order(one, torch.Generator().manual_seed(seed)))
    pos = data.pos - data.pos.mean(0)
    axes = torch.linalg.eigh(pos.T @ pos).eigenvectors.flip(1)
    axes[:, 2] *= torch.linalg.det(axes)  # turned, not mirrored
    return Data(z=data.z, pos=pos @ axes)


def _frames(atoms: ase.Atoms, steps: list[StepRecord], spacing: float) -> Iterator[Image.Image]:
    """All pictures of the film; the molecule turns once, so that the end meets the beginning."""
    rng = np.random.default_rng(0)
    each = LOOKING + COMING
    total = each * len(steps) + STANDING
    for step, record in enumerate(steps):
        placed = step + 1
        focus = None if record.focus is None else int(record.focus[0])
        table = record.distance_log_prob[0].double().numpy()
        points = draw_positions(atoms.positions[:placed], table, spacing, focus, rng)
        for frame in range(each):
            turn = (each * step + frame) / total
            grown = max(0.0, (frame - LOOKING + 1) / COMING)
            cloud = min(1.0, (frame + 1) / LOOKING) * (1 - 0.75 * grown)
            yield _picture(atoms, placed, turn, grown, points, cloud, focus)
    for frame in range(STANDING):
        yield _picture(atoms, len(atoms), (total - STANDING + frame) / total)


def draw_positions(
    pos: Array, log_prob: Array, spacing: float, focus: int | None, rng: np.random.Generator
) -> Array:
    """Draws from p(r) ∝ ∏_j p(Δ_j), on a lattice about the focus, or about all placed atoms.

    Args:
        pos: of the placed atoms [placed, 3] in Å.
        log_prob: of their distances to the new one [placed, bins].
        spacing: of the bins in Å.
        focus: the placed atom that the new one is bonded to, if the model says so.

    Returns:
        [num_points, 3] in Å.
    """
    near = pos if focus is None else pos[focus : focus + 1]
    axes = [
        np.arange(a - REACH, b + REACH, LATTICE)
        for a, b in zip(near.min(0), near.max(0), strict=True)
    ]
    lattice = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    distance = np.linalg.norm(lattice[:, None] - near, axis=2).min(1)
    lattice = lattice[(distance < REACH) & (distance > 0.5)]
    last = log_prob.shape[1] - 1
    bins = (np.linalg.norm(lattice[:, None] - pos, axis=2) / spacing).clip(max=last)
    lower = bins.astype(int).clip(max=last - 1)
    atom = np.arange(len(pos))
    low, high = log_prob[atom, lower], log_prob[atom, lower + 1]
    scores = (low + (bins - lower) * (high - low)).sum(1)
    weight = np.exp(scores - scores.max())
    chosen = rng.choice(len(lattice), POINTS, p=weight / weight.sum())
    return lattice[chosen] + LATTICE * (rng.random((POINTS, 3)) - 0.5)


def _picture(
    atoms: ase.Atoms,
    placed: int,
    turn: float,
    grown: float = 0.0,
    points: Array | None = None,
    cloud: float = 0.0,
    focus: int | None = None,
) -> Image.Image:
    """One frame.

    Args:
        placed: so many atoms are there; the next one is there by the share ``grown``.
        turn: about the vertical axis, 1 is once around.
        points, cloud: draws of the next position, and how much is seen of them.
        focus: the atom that glows while there is a cloud.
    """
    angle, tilt = 2 * np.pi * turn, TILT
    about = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    down = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    rotation = (down @ about).T
    pos = atoms.positions @ rotation
    wide, high = _extent(atoms)
    scale = OVERSAMPLING * min(WIDTH / 2 / wide, (HEIGHT - 36) / 2 / high)
    canvas = Canvas(OVERSAMPLING * WIDTH, OVERSAMPLING * HEIGHT, scale, wide)
    canvas.middle[1] -= OVERSAMPLING * 14  # room for the text below
    size = np.ones(len(atoms))
    size[placed:] = 0
    if placed < len(atoms):
        size[placed] = grown
    draw_sticks(canvas, atoms, pos, size)
    for atom, (number, share) in enumerate(zip(atoms.numbers, size, strict=True)):
        if share > 0:
            color = 30 + 225 * jmol_colors[number]
            glow = cloud * (atom == focus)
            color = color + 0.25 * glow * (CLOUD - color)
            canvas.ball(pos[atom], share * ball_radius(number), color, glow)
    if points is not None and cloud > 0:
        canvas.cloud(points @ rotation, CLOUD, 0.8 * cloud, 0.08)
    image = canvas.image(WIDTH, HEIGHT)
    _write(image, atoms, placed, grown)
    return image


def ball_radius(number: int) -> float:
    """Of a ball in Å."""
    return float(0.18 + 0.35 * covalent_radii[number])


def _extent(atoms: ase.Atoms) -> tuple[float, float]:
    """Half the width and half the height in Å, however it is turned about the vertical axis."""
    x, y, z = atoms.positions.T
    around = np.hypot(x, z)
    high = np.abs(y) * np.cos(TILT) + around * np.sin(TILT)
    return float(around.max()) + 0.6, float(high.max()) + 0.8


def draw_sticks(canvas: Canvas, atoms: ase.Atoms, pos: Array, size: Array) -> None:
    """Bonds between atoms that are there; once all are, double and triple ones as such."""
    whole = bool((size == 1).all())
    mol = (perceive(atoms).mol if whole else None) or connectivity(atoms)
    for bond in mol.GetBonds():
        ends = pos[[bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()]]
        if min(size[bond.GetBeginAtomIdx()], size[bond.GetEndAtomIdx()]) < 1:
            continue
        order = round(bond.GetBondTypeAsDouble() + 0.1)
        aside = np.cross(ends[1] - ends[0], (0.0, 0.0, 1.0))
        aside *= 0.13 / max(float(np.linalg.norm(aside)), 1e-6)
        for number in range(order):
            shift = (2 * number - order + 1) * aside
            start, end = ends + shift
            canvas.stick(start, end, 0.12 if order == 1 else 0.075, STICK)


def _write(image: Image.Image, atoms: ase.Atoms, placed: int, grown: float) -> None:
    """Which atom comes next, and how many are there."""
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(15)
    there = placed + (grown >= 1)
    left = f"next: {chemical_symbols[atoms.numbers[placed]]}" if placed < len(atoms) else "done"
    draw.text((16, HEIGHT - 28), left, TEXT, font)
    right = f"{there} of {len(atoms)} atoms"
    draw.text((WIDTH - 16 - draw.textlength(right, font), HEIGHT - 28), right, QUIET, font)
