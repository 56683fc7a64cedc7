"""Mesh files -> ObjectModel: find, load, check unit and scale, bake texture to vertex colours, simplify.

A folder with models_info.json is a BOP models folder (millimetres); any other folder or file holds plain meshes.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from storm_core.errors import MeshError
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.simplify import cluster_mesh
from storm_core.geometry.symmetry import symmetry_group

SUFFIXES = (".obj", ".glb", ".ply", ".stl", ".off")
UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "in": 0.0254}
PLAUSIBLE = (0.005, 3.0)
"""Diameters [m] an object can have; outside, the unit is wrong."""
MAX_EVAL_VERTICES = 20_000


def load_models(folder: str | Path, objects: Iterable[str], *, unit: str = "auto", max_faces: int = 8000) -> dict[str, ObjectModel]:
    """The named objects (all when `objects` is empty) by name, in the order asked for.

    Args:
      folder: BOP models folder, a folder of meshes, or one mesh file.
      objects: BOP ids ("1", "000001"), names from models_info, or file stems.
      unit: auto, m, mm, cm or in.

    Raises:
      MeshError: nothing to load, an object is unknown (lists the known ones), or a mesh fails its checks.
    """
    if not str(folder):
        raise MeshError("no models given; set `models` (--models DIR) to a folder with meshes")
    root = Path(folder)
    if not root.exists():
        raise MeshError(f"models folder {root} does not exist")
    infos = _read_infos(root)
    known = {root.stem: [root]} if root.is_file() else _mesh_files(root)
    if not known:
        raise MeshError(f"{root} holds no mesh ({', '.join(SUFFIXES)})")
    wanted = list(objects) or [_display(stem, infos) for stem in known]
    return {name: load_model(_resolve(name, known, infos, root), name=name, unit=unit, info=_info_of(name, infos),
                             max_faces=max_faces) for name in wanted}


def load_model(paths: Path | list[Path], *, name: str | None = None, unit: str = "auto", info: dict[str, Any] | None = None,
               max_faces: int = 8000) -> ObjectModel:
    """One mesh. Of several files of the same object the first with colour is used, else the first.

    Args:
      info: its models_info entry (millimetres), if any. Other arguments as in `load_models`.
    """
    files = [paths] if isinstance(paths, Path) else paths
    mesh, file = _first_colored(files)
    vertices, faces = np.asarray(mesh.vertices, float), np.asarray(mesh.faces, np.int64)
    warnings: list[str] = []
    raw_diameter = _diameter(vertices)
    scale = _scale(file, raw_diameter, unit, bop=info is not None, warnings=warnings)
    diameter = raw_diameter * scale
    if not trimesh.Trimesh(*_welded(vertices, faces), process=False).is_watertight:
        warnings.append("mesh is not watertight")
    middle = (vertices.min(0) + vertices.max(0)) / 2
    if np.linalg.norm(middle) > 2 * raw_diameter:
        warnings.append(f"origin lies {np.linalg.norm(middle) * scale:.3f} m from the object; poses refer to that origin")
    dense, dense_faces, colors = _vertex_colors(mesh, raw_diameter)
    if colors is None:
        warnings.append("mesh has no colour: shape alone decides, look-alikes cannot be told apart")
    dense, dense_faces, colors = cluster_mesh(dense, dense_faces, colors, max_faces=max_faces, finest=raw_diameter / 80)
    unique = np.unique(vertices, axis=0)
    step = -(-len(unique) // MAX_EVAL_VERTICES)
    declared = info or {}
    digest = hashlib.sha256(json.dumps({k: declared[k] for k in sorted(declared) if k.startswith("symm")}).encode())
    for array in (dense, dense_faces, colors if colors is not None else np.zeros(0)):
        digest.update(np.ascontiguousarray(array).tobytes())
    return ObjectModel(
        name=name or file.stem, vertices=np.ascontiguousarray(dense * scale, np.float32),
        faces=np.ascontiguousarray(dense_faces, np.int32), colors=colors, diameter=diameter,
        symmetries=symmetry_group(declared, unit_scale=UNITS["mm"]), eval_vertices=unique[::step] * scale,
        sha256=digest.hexdigest(), warnings=tuple(warnings))


def _welded(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices at the same place joined: texture seams are no holes."""
    unique, label = np.unique(vertices, axis=0, return_inverse=True)
    return unique, label.ravel()[faces]


def _read_infos(root: Path) -> dict[str, dict[str, Any]]:
    path = (root.parent if root.is_file() else root) / "models_info.json"
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text())
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise MeshError(f"cannot read {path}: {error}") from error


def _mesh_files(root: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for suffix in SUFFIXES:
        for path in sorted(root.glob(f"*{suffix}")):
            files.setdefault(path.stem, []).append(path)
    return dict(sorted(files.items()))


def _bop_id(stem: str) -> str:
    """'obj_000005', '000005' and '5' -> '5'; other stems unchanged."""
    digits = stem.removeprefix("obj_")
    return str(int(digits)) if digits.isdigit() else stem


def _display(stem: str, infos: dict[str, dict[str, Any]]) -> str:
    return _bop_id(stem) if _bop_id(stem) in infos else stem


def _info_of(name: str, infos: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    if _bop_id(name) in infos:
        return infos[_bop_id(name)]
    return next((i for i in infos.values() if i.get("name") == name), None)


def _resolve(name: str, known: dict[str, list[Path]], infos: dict[str, dict[str, Any]], root: Path) -> list[Path]:
    by_name = {i.get("name"): key for key, i in infos.items()}
    target = _bop_id(by_name.get(name, name))
    for stem, files in known.items():
        if stem == name or _bop_id(stem) == target:
            return files
    options = ", ".join(_display(s, infos) for s in known)
    raise MeshError(f"no mesh for object {name!r} in {root}; it has: {options}")


def _first_colored(files: list[Path]) -> tuple[trimesh.Trimesh, Path]:
    first: tuple[trimesh.Trimesh, Path] | None = None
    for file in files:
        mesh = _load(file)
        if _has_color(mesh):
            return mesh, file
        first = first or (mesh, file)
    assert first is not None
    return first


def _load(file: Path) -> trimesh.Trimesh:
    if not file.exists():
        raise MeshError(f"mesh {file} does not exist")
    try:
        mesh = trimesh.load(file, force="mesh", process=False)
    except Exception as error:  # noqa: BLE001 - trimesh raises whatever its parsers raise; translated once, here
        raise MeshError(f"cannot read mesh {file}: {type(error).__name__}: {error}") from error
    if not isinstance(mesh, trimesh.Trimesh) or len(mesh.vertices) < 4 or len(mesh.faces) < 4:
        raise MeshError(f"mesh {file} is empty ({len(getattr(mesh, 'vertices', []))} vertices, "
                        f"{len(getattr(mesh, 'faces', []))} faces); a solid needs at least 4 of each")
    if not np.isfinite(mesh.vertices).all():
        raise MeshError(f"mesh {file} has vertices that are not finite; export it again")
    if np.linalg.matrix_rank(mesh.vertices - mesh.vertices.mean(0), tol=1e-9) < 2:
        raise MeshError(f"mesh {file} is degenerate: all vertices lie on a line")
    return mesh


def _has_color(mesh: trimesh.Trimesh) -> bool:
    kind = mesh.visual.kind
    return kind in ("vertex", "face") or (kind == "texture" and _texture(mesh) is not None and mesh.visual.uv is not None)


def _texture(mesh: trimesh.Trimesh) -> NDArray[np.uint8] | None:
    material = mesh.visual.material
    image = getattr(material, "image", None)
    image = getattr(material, "baseColorTexture", None) if image is None else image
    return None if image is None or min(image.size) < 4 else np.asarray(image.convert("RGB"))


def _vertex_colors(mesh: trimesh.Trimesh, diameter: float
                   ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.uint8] | None]:
    """Vertices, faces and colours, subdivided where needed so that texture detail of diameter/80 survives."""
    import cv2

    vertices, faces = np.asarray(mesh.vertices, float), np.asarray(mesh.faces, np.int64)
    if not _has_color(mesh):
        return vertices, faces, None
    spacing = diameter / 80
    if mesh.visual.kind == "face":
        return (vertices[faces].reshape(-1, 3), np.arange(3 * len(faces)).reshape(-1, 3),
                np.repeat(np.asarray(mesh.visual.face_colors)[:, :3], 3, 0).astype(np.uint8))
    if mesh.visual.kind == "vertex":
        return vertices, faces, np.asarray(mesh.visual.vertex_colors)[:, :3].astype(np.uint8)
    image = _texture(mesh)
    # uv rides along as tiny extra coordinates, so that edge lengths stay those of the surface.
    tiny = 1e-9 * diameter
    wide = np.hstack([vertices, np.asarray(mesh.visual.uv)[:, :2] * tiny])
    wide, faces = trimesh.remesh.subdivide_to_size(wide, faces, spacing, max_iter=12)
    vertices, uv, faces = wide[:, :3], wide[:, 3:] / tiny, np.asarray(faces, np.int64)
    tri, tri_uv = vertices[faces], uv[faces]
    area = np.linalg.norm(np.cross(tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0]), axis=1).sum()
    e1, e2 = tri_uv[:, 1] - tri_uv[:, 0], tri_uv[:, 2] - tri_uv[:, 0]
    uv_area = np.abs(e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0]).sum()
    texels = spacing * np.sqrt(max(uv_area, 1e-12) / area) * np.sqrt(image.shape[0] * image.shape[1])
    if texels > 1:  # average what one vertex stands for: point samples would alias
        size = tuple(max(4, round(s / texels)) for s in image.shape[1::-1])
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    h, w = image.shape[:2]
    x = np.clip(np.mod(uv[:, 0], 1.0) * w - 0.5, 0, w - 1).astype(np.float32)
    y = np.clip((1 - np.mod(uv[:, 1], 1.0)) * h - 0.5, 0, h - 1).astype(np.float32)
    colors = np.concatenate([
        cv2.remap(image, x[i:i + 30000, None], y[i:i + 30000, None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]
        for i in range(0, len(x), 30000)])
    return vertices, faces, colors.astype(np.uint8)


def _diameter(vertices: NDArray[np.float64]) -> float:
    """Largest distance between two vertices; exact on the convex hull (flat meshes: on all vertices, thinned)."""
    from scipy.spatial import ConvexHull, QhullError

    try:
        points = vertices[ConvexHull(vertices).vertices]
    except QhullError:
        points = np.unique(vertices, axis=0)
    points = points[:: -(-len(points) // 4000)]
    return float(max(np.linalg.norm(points - p, axis=1).max() for p in points))


def _scale(file: Path, raw: float, unit: str, *, bop: bool, warnings: list[str]) -> float:
    """Metres per mesh unit; MeshError when the resulting diameter is implausible, with the unit that would fit."""
    if unit == "auto":
        unit = "mm" if bop or raw > PLAUSIBLE[1] else "m"
        if not bop:
            warnings.append(f"unit of {file.name} guessed: {unit} (diameter {raw:.4g} {unit}); set mesh_unit to be sure")
    diameter = raw * UNITS[unit]
    if not PLAUSIBLE[0] <= diameter <= PLAUSIBLE[1]:
        fits = [u for u, s in UNITS.items() if PLAUSIBLE[0] <= raw * s <= PLAUSIBLE[1]]
        hint = f"; mesh_unit: {' or '.join(fits)} would fit" if fits else ""
        raise MeshError(f"mesh {file} declared in {unit} has a diameter of {diameter:.4g} m, "
                        f"outside [{PLAUSIBLE[0]}, {PLAUSIBLE[1]}] m{hint}")
    return UNITS[unit]
