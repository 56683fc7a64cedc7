"""The procedural objects: meshes with printed or mottled vertex colours, and the BOP models folder that holds them."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.surface import diameter
from storm_core.simulation import shapes
from storm_core.simulation.textures import label, sample

TEXTURE_EDGE = 0.0022
"""Edge length of meshes that carry a printed picture in their vertex colours [m]."""


def cereal_box(rng: np.random.Generator) -> ObjectModel:
    """A printed carton, 100 x 46 x 142 mm; six different sides."""
    mesh = shapes.box((0.100, 0.046, 0.142), TEXTURE_EDGE)
    papers = [(0.93, 0.88, 0.72), (0.80, 0.30, 0.20), (0.92, 0.90, 0.85), (0.22, 0.42, 0.55), (0.90, 0.78, 0.35),
              (0.45, 0.55, 0.35)]
    accents = [(0.75, 0.18, 0.14), (0.95, 0.80, 0.30), (0.16, 0.34, 0.58), (0.95, 0.60, 0.20), (0.30, 0.22, 0.16),
               (0.85, 0.30, 0.45)]
    colors = np.zeros((len(mesh.vertices), 3), np.float32)
    # Broad sides last: they keep the shared edge vertices.
    for axis in (2, 0, 1):
        for side in (0, 1):
            _print_side(mesh, colors, axis, side, rng, papers[2 * axis + side], accents[2 * axis + side])
    return object_model("cereal_box", mesh, colors)


def mug(rng: np.random.Generator) -> ObjectModel:
    """A two-coloured mug with a handle and a printed badge opposite to it, 92 mm high."""
    body = shapes.revolve([(0, 0), (0.033, 0), (0.037, 0.004), (0.040, 0.088), (0.0395, 0.092), (0.0375, 0.091),
                           (0.0365, 0.086), (0.034, 0.008), (0, 0.007)], TEXTURE_EDGE)
    # The handle ends inside the 3 mm wall, so that nothing shows on the inner side.
    angle = np.linspace(-1.5, 1.5, 40)
    arc = np.stack([0.0347 + 0.029 * np.cos(angle), np.zeros_like(angle), 0.047 + 0.029 * np.sin(angle)], 1)
    mesh = trimesh.util.concatenate([body, shapes.tube(arc, 0.0062, 0.003)])
    v = mesh.vertices
    colors = np.empty((len(v), 3), np.float32)
    colors[:] = (0.88, 0.87, 0.82)
    around, radius = np.arctan2(v[:, 1], -v[:, 0]), np.hypot(v[:, 0], v[:, 1])
    outer = (radius > 0.0325) & (np.arange(len(v)) < len(body.vertices))
    colors[outer & (v[:, 2] < 0.026)] = (0.20, 0.45, 0.50)
    colors[len(body.vertices):] = (0.20, 0.45, 0.50)
    badge = outer & (np.abs(around) < 0.85) & (np.abs(v[:, 2] - 0.055) < 0.026) & (radius > 0.036)
    picture = label(160, 190, rng, (0.95, 0.86, 0.55), (0.70, 0.20, 0.25))
    colors[badge] = sample(picture, 0.5 - around[badge] / 1.7, (0.081 - v[badge, 2]) / 0.052)
    return object_model("mug", mesh, colors)


def bottle(rng: np.random.Generator) -> ObjectModel:
    """A squeeze bottle with a wrapped label that has one front, 168 mm high."""
    mesh = shapes.revolve([(0, 0), (0.030, 0), (0.033, 0.003), (0.033, 0.105), (0.029, 0.122), (0.015, 0.136),
                           (0.0135, 0.140), (0.0135, 0.146), (0.0165, 0.147), (0.0165, 0.166), (0.0150, 0.168),
                           (0, 0.168)], TEXTURE_EDGE)
    v = mesh.vertices
    colors = np.empty((len(v), 3), np.float32)
    colors[:] = (0.86, 0.52, 0.10)
    colors[v[:, 2] > 0.1465] = (0.82, 0.82, 0.80)
    around = np.arctan2(v[:, 1], v[:, 0]) / (2 * np.pi) + 0.5
    band = (v[:, 2] > 0.020) & (v[:, 2] < 0.100) & (np.hypot(v[:, 0], v[:, 1]) > 0.0325)
    wrap = np.concatenate([label(190, 230, rng, (0.92, 0.92, 0.88), (0.12, 0.40, 0.26)),
                           label(190, 230, rng, (0.20, 0.45, 0.30), (0.85, 0.75, 0.20))], 1)
    colors[band] = sample(wrap, around[band], (0.100 - v[band, 2]) / 0.080)
    return object_model("bottle", mesh, colors)


def bracket(rng: np.random.Generator) -> ObjectModel:
    """An L-bracket of bare metal without any colour, 90 x 36 x 70 mm; the legs differ in length and thickness."""
    x, y, z = np.array([-0.045, -0.031, 0.045]), np.array([-0.018, 0.018]), np.array([-0.035, -0.025, 0.035])
    filled = np.zeros((2, 1, 2), bool)
    filled[:, :, 0] = filled[0, :, :] = True
    return object_model("bracket", shapes.lattice_solid((x, y, z), filled, 0.004), None)


def bumpy_blob(rng: np.random.Generator) -> ObjectModel:
    """A lumpy mottled stone-like body of about 85 mm."""
    mesh = shapes.blob(0.042, 0.35, rng)
    share = np.clip(0.5 + 0.6 * shapes.mottle(mesh.vertices, rng), 0, 1)[:, None]
    colors = (1 - share) * np.array([0.30, 0.36, 0.22]) + share * np.array([0.78, 0.62, 0.42])
    return object_model("bumpy_blob", mesh, colors.astype(np.float32))


def tea_tin(rng: np.random.Generator) -> ObjectModel:
    """A low printed tin box; a distractor of the same kind as the carton."""
    return printed_box("tea_tin", (0.086, 0.062, 0.070), rng, (0.16, 0.22, 0.34), (0.82, 0.70, 0.38))


CATALOG: dict[str, Callable[[np.random.Generator], ObjectModel]] = {
    "cereal_box": cereal_box, "mug": mug, "bottle": bottle, "bracket": bracket, "bumpy_blob": bumpy_blob,
    "tea_tin": tea_tin}
"""Maker by object name; BOP ids count from 1 in this order."""


def make_object(name: str, seed: int = 0) -> ObjectModel:
    """One object of the catalog; the same name and seed give the same mesh and picture."""
    return CATALOG[name](np.random.default_rng([seed, *name.encode()]))


def printed_box(name: str, size: tuple[float, float, float], rng: np.random.Generator, paper: tuple[float, ...],
                accent: tuple[float, ...], edge: float = 0.003) -> ObjectModel:
    """A box of edge lengths `size` [m] with a print in the same two inks on every side; edge: mesh resolution [m]."""
    mesh = shapes.box(size, edge)
    colors = np.zeros((len(mesh.vertices), 3), np.float32)
    for axis in (2, 0, 1):
        for side in (0, 1):
            _print_side(mesh, colors, axis, side, rng, paper, accent)
    return object_model(name, mesh, colors)


def plain_model(name: str, mesh: trimesh.Trimesh) -> ObjectModel:
    """An uncoloured prop; keeps the mesh's own origin."""
    return object_model(name, mesh, None, centred=False)


def turned(model: ObjectModel) -> ObjectModel:
    """The model turned by half a turn about z."""
    flip = np.array([-1, -1, 1], np.float32)
    return replace(model, vertices=model.vertices * flip, eval_vertices=model.eval_vertices * flip)


def bop_id(name: str) -> int:
    return list(CATALOG).index(name) + 1


def write_models(folder: Path, models: list[ObjectModel]) -> None:
    """Objects of the catalog as a BOP models folder, under the ids of `bop_id`."""
    write_numbered_models(folder, {bop_id(model.name): model for model in models}, {})


def write_numbered_models(folder: Path, models: Mapping[int, ObjectModel],
                          declared: Mapping[int, Mapping[str, Any]]) -> None:
    """A BOP models folder: obj_<id>.ply in mm with vertex colours, and models_info.json with names.

    Args:
      models: by BOP id. declared: further entries of models_info.json by id: the symmetries [mm].
    """
    folder.mkdir(parents=True, exist_ok=True)
    infos = {}
    for number, model in models.items():
        colors = None
        if model.colors is not None:
            colors = np.column_stack([model.colors, np.full(len(model.colors), 255, np.uint8)])
        mesh = trimesh.Trimesh(model.vertices.astype(float) * 1e3, model.faces, vertex_colors=colors, process=False)
        (folder / f"obj_{number:06d}.ply").write_bytes(mesh.export(file_type="ply"))
        low, size = model.vertices.min(0) * 1e3, model.size * 1e3
        infos[str(number)] = {"name": model.name, "diameter": round(model.diameter * 1e3, 4)} | {
            f"{kind}_{axis}": round(float(value), 4)
            for kind, values in (("min", low), ("size", size)) for axis, value in zip("xyz", values, strict=True)
        } | dict(declared.get(number, {}))
    (folder / "models_info.json").write_text(json.dumps(infos, indent=1))


def _print_side(mesh: trimesh.Trimesh, colors: NDArray[np.float32], axis: int, side: int, rng: np.random.Generator,
                paper: tuple[float, ...], accent: tuple[float, ...]) -> None:
    """Print one side of an axis-aligned box; text is upright and reads from outside."""
    v = mesh.vertices
    low, high = v.min(0), v.max(0)
    on = np.abs(v[:, axis] - (high if side else low)[axis]) < 1e-9
    across, up = {0: (1, 2), 1: (0, 2), 2: (0, 1)}[axis]
    unit = (v[on] - low) / (high - low)
    # Seen from outside, x runs left on the +y side and y runs left on the -x side, from below x does.
    mirrored = (axis, side) in ((1, 1), (0, 0), (2, 0))
    u = 1 - unit[:, across] if mirrored else unit[:, across]
    size = high - low
    picture = label(int(size[up] / 0.0005), int(size[across] / 0.0005), rng, paper, accent)
    colors[on] = sample(picture, u, 1 - unit[:, up])


def object_model(name: str, mesh: trimesh.Trimesh, colors: NDArray[np.float32] | None, *, centred: bool = True,
                 symmetries: NDArray[np.float64] | None = None) -> ObjectModel:
    """The mesh [m] as an ObjectModel, by default with its origin at the centre of its bounding box.

    Args:
      colors: (V, 3) RGB in [0, 1], or None. symmetries: the declared group (S, 4, 4); None = identity only.
    """
    vertices = np.asarray(mesh.vertices, float)
    if centred:
        vertices = vertices - (vertices.min(0) + vertices.max(0)) / 2
    faces = np.ascontiguousarray(mesh.faces, np.int32)
    painted = None if colors is None else np.round(np.clip(colors, 0, 1) * 255).astype(np.uint8)
    digest = hashlib.sha256(vertices.astype(np.float32).tobytes() + faces.tobytes())
    digest.update(b"" if painted is None else painted.tobytes())
    digest.update(b"" if symmetries is None else symmetries.tobytes())
    return ObjectModel(name=name, vertices=np.ascontiguousarray(vertices, np.float32), faces=faces, colors=painted,
                       diameter=diameter(vertices), symmetries=np.eye(4)[None] if symmetries is None else symmetries,
                       eval_vertices=vertices[::-(-len(vertices) // 20000)], sha256=digest.hexdigest())
