"""CAD models from disk, checked, in metres. A folder is a BOP models folder or holds plain mesh files."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storm_core.errors import MeshError
from storm_core.geometry.instances import mesh_name
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.mesh_read import SUFFIXES, SurfacePart, color_rank, read_surface
from storm_core.geometry.simplify import refine, simplify
from storm_core.geometry.surface import (
    Faces,
    Vertices,
    area_vectors,
    compact,
    diameter,
    is_watertight,
    orient_outward,
    points_at,
    sample,
    vertex_normals,
    weld,
)
from storm_core.geometry.symmetry import symmetry_group

METRES = {"m": 1.0, "mm": 1e-3, "cm": 1e-2, "in": 0.0254}
"""Length of each mesh unit in metres."""

SMALLEST, LARGEST = 0.005, 3.0
"""Diameters [m] STORM can see and grasp; anything else is taken for a wrong unit."""

LONGEST_EDGE = 0.15
"""Edges [m] beyond which CAD's large triangles are split: one that reaches behind a near camera is not drawn at all."""

MAX_EVAL_VERTICES = 20_000
_SAMPLES_PER_VERTEX = 40


def load_models(folder: Path | str, objects: Sequence[str] = (), *, unit: str = "auto", max_faces: int = 4000,
                load: Callable[..., ObjectModel] | None = None) -> dict[str, ObjectModel]:
    """The wanted objects of a folder (or of one mesh file), under the names they were asked for by.

    Args:
      folder: BOP models folder (obj_000001.ply, models_info.json), folder of plain meshes, or a mesh file.
      objects: BOP ids ("1", "000001"), `name` entries of models_info.json or file stems; empty = all. Followed by #2,
        #3 ...: further objects of the same mesh.
      unit: of the files: m, mm, cm, in; auto = mm for BOP models, guessed from the size otherwise.
      max_faces: upper limit of the simplified mesh.
      load: in the place of `load_model`.

    Raises:
      MeshError: nothing there, an unknown object, or a mesh that fails the checks of `load_model`.
    """
    found, load = _catalogue(Path(folder).expanduser()), load or load_model
    if not objects:
        return {name: load(path, name=name, unit=unit, max_faces=max_faces, info=info)
                for name, (path, info, listed) in found.items() if listed}
    out: dict[str, ObjectModel] = {}
    by_path: dict[tuple[Path, str], str] = {}
    for selector in objects:
        path, info = _select(found, selector, folder)
        number = selector.removeprefix(mesh_name(selector))
        other = by_path.setdefault((path, number), selector)
        if other != selector or selector in out:
            raise MeshError(f"objects {other!r} and {selector!r} are the same mesh {path.name}; name it once, or call "
                            f"a second one of it {mesh_name(selector)}#2")
        out[selector] = load(path, name=selector, unit=unit, max_faces=max_faces, info=info)
    return out


def listed_objects(folder: Path | str, objects: Sequence[str] = ()) -> tuple[str, ...]:
    """The names that `load_models` would load, without reading a mesh.

    Raises:
      MeshError: there is no such folder, or no such object in it.
    """
    found = _catalogue(Path(folder).expanduser())
    for selector in objects:
        _select(found, selector, folder)
    return tuple(objects) or tuple(name for name, (_, _, listed) in found.items() if listed)


def load_model(path: Path | str, *, name: str | None = None, unit: str = "auto", max_faces: int = 4000,
               info: Mapping[str, Any] | None = None) -> ObjectModel:
    """One checked mesh in metres.

    Args:
      name: default: the file stem.
      info: the object's entry of models_info.json [mm]; its presence makes mm the unit that `auto` means.

    Raises:
      MeshError: missing, damaged, without faces, with numbers that are not finite, degenerate, or of implausible size.
    """
    path = Path(path)
    if unit != "auto" and unit not in METRES:
        raise MeshError(f"mesh_unit {unit!r} is unknown; use auto, {', '.join(METRES)}")
    parts, warnings = read_surface(path)
    vertices, faces = _joined(parts, path)
    extent = float(np.ptp(vertices[np.unique(faces)], axis=0).max())
    full_vertices, full_faces = weld(vertices, faces, 1e-6 * extent) if extent > 0 else (vertices, faces[:0])
    # Measured without collapsed faces: such spikes are invisible, but would stretch box and diameter.
    raw = diameter(full_vertices) if len(full_faces) else 0.0
    if raw <= 0 or np.linalg.norm(area_vectors(full_vertices, full_faces), axis=1).sum() < 1e-9 * raw**2:
        raise MeshError(f"mesh {path} is degenerate: its faces have no area; export it again from CAD")
    scale, guess = _scale(path, raw, unit, info)
    _check_size(path, raw, scale, info)
    warnings += guess
    color = _Colors(parts, vertices, faces)
    full_vertices = full_vertices * scale
    full_faces = orient_outward(full_vertices, full_faces)
    eval_vertices = _spread(full_vertices)
    shown_vertices, shown_faces = _shown(full_vertices, full_faces, max_faces, color.textured)
    colors = color.at(shown_vertices / scale, shown_faces)
    warnings += _remarks(full_vertices, full_faces, colors)
    try:
        symmetries = symmetry_group(info or {}, 1e-3)
    except MeshError as error:
        raise MeshError(f"{path.parent / 'models_info.json'}, {path.stem}: {error}") from error
    vertices32, faces32 = shown_vertices.astype(np.float32), shown_faces.astype(np.int32)
    return ObjectModel(
        name=name or path.stem, vertices=vertices32, faces=faces32, colors=colors, diameter=raw * scale,
        symmetries=symmetries, eval_vertices=eval_vertices, warnings=warnings,
        sha256=_digest(vertices32, faces32, colors, symmetries, eval_vertices))


def stated_diameter(info: Mapping[str, Any], path: Path) -> float:
    """Diameter of a mesh file as its entry of models_info.json has it [m], 0 when it has none.

    Raises:
      MeshError: it is no number, or negative.
    """
    value = info.get("diameter", 0.0)
    if not isinstance(value, (int, float)) or not 0 <= value < np.inf:
        raise MeshError(f"{path.parent / 'models_info.json'}, {path.stem}: diameter must be a length in mm, got "
                        f"{value!r}; correct it or leave it out")
    return value * 1e-3


# What is in the folder.

_Entry = tuple[Path, Mapping[str, Any] | None, bool]


def _catalogue(folder: Path) -> dict[str, _Entry]:
    """name -> (file, models_info entry or None, part of "all objects") of everything that can be selected."""
    if folder.is_file():
        return {folder.stem: (folder, None, True)}
    if not folder.is_dir():
        raise MeshError(f"models folder {folder} does not exist; give the folder that holds the meshes")
    infos = _models_info(folder)
    by_stem: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            by_stem.setdefault(path.stem, []).append(path)
    if not by_stem:
        raise MeshError(f"no meshes in {folder}: expected obj_000001.ply (BOP) or files ending in "
                        f"{', '.join(SUFFIXES)}")
    out: dict[str, _Entry] = {}
    for stem, paths in by_stem.items():
        path = max(paths, key=lambda p: (color_rank(p), -SUFFIXES.index(p.suffix.lower())))
        number = _bop_id(stem)
        if number is None:
            out[stem] = (path, None, not infos)
        else:
            out[str(number)] = (path, infos.get(str(number), {}), True)
    return out


def _bop_id(stem: str) -> int | None:
    digits = stem.removeprefix("obj_")
    return int(digits) if stem.startswith("obj_") and digits.isdigit() else None


def _models_info(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / "models_info.json"
    if not path.is_file():
        return {}
    try:
        infos = json.loads(path.read_bytes())  # bytes, so that a byte order mark is understood
    except (OSError, ValueError) as error:
        raise MeshError(f"cannot read {path}: {error}") from error
    if not isinstance(infos, dict) or not all(isinstance(info, dict) for info in infos.values()):
        raise MeshError(f"{path} must map object ids to their properties, as BOP datasets do")
    return infos


def _select(found: Mapping[str, _Entry], selector: str, folder: Path | str) -> tuple[Path, Mapping[str, Any] | None]:
    stem = selector.removeprefix("obj_")
    candidates = [selector, str(int(stem))] if stem.isdigit() else [selector]
    for key in candidates:
        if key in found:
            return found[key][:2]
    named = {str(info["name"]): path_info for path_info in found.values()
             if (info := path_info[1]) and "name" in info}
    if selector in named:
        return named[selector][:2]
    if mesh_name(selector) != selector:
        return _select(found, mesh_name(selector), folder)
    known = [f"{key} ({info['name']})" if (info := found[key][1]) and "name" in info else key for key in found]
    raise MeshError(f"no object {selector!r} in {folder}; there are: {', '.join(known)}")


# Checks.

def _joined(parts: tuple[SurfacePart, ...], path: Path) -> tuple[Vertices, Faces]:
    offsets = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    vertices = np.concatenate([part.vertices for part in parts])
    faces = np.concatenate([part.faces + offset for part, offset in zip(parts, offsets, strict=True)])
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise MeshError(f"mesh {path} is damaged: a face uses vertex {faces.max()} of {len(vertices)}")
    if not np.isfinite(vertices[np.unique(faces)]).all():
        raise MeshError(f"mesh {path} has vertices that are not finite numbers (NaN or infinity); export it again")
    return vertices, faces


def _scale(path: Path, raw: float, unit: str, info: Mapping[str, Any] | None) -> tuple[float, tuple[str, ...]]:
    """Metres per file unit, and a warning when it had to be guessed."""
    if unit != "auto":
        return METRES[unit], ()
    if info is not None:
        return METRES["mm"], ()
    if path.suffix.lower() in (".glb", ".gltf"):
        return 1.0, ()  # the glTF standard says metres
    if SMALLEST <= raw <= LARGEST:
        return 1.0, (f"unit not given: taken as m, so the object is {raw:.3g} m across; set mesh_unit if not",)
    if 20.0 <= raw <= 1000 * LARGEST:
        return 1e-3, (f"unit not given: taken as mm, so the object is {raw:.3g} mm across; set mesh_unit if not",)
    raise MeshError(f"the unit of {path} cannot be guessed: it is {raw:.3g} units across; set mesh_unit to "
                    f"{' or '.join(_fitting(raw)) or 'the right one, or scale the mesh'}")


def _fitting(raw: float) -> list[str]:
    return [f"{name} ({raw * metres:.3g} m across)" for name, metres in METRES.items()
            if SMALLEST <= raw * metres <= LARGEST]


def _check_size(path: Path, raw: float, scale: float, info: Mapping[str, Any] | None) -> None:
    unit = next(name for name, metres in METRES.items() if metres == scale)
    size = raw * scale
    if not SMALLEST <= size <= LARGEST:
        fits = " or ".join(_fitting(raw))
        raise MeshError(f"mesh {path} would be {size:.4g} m across when its numbers are in {unit}; STORM handles "
                        f"{SMALLEST} to {LARGEST:g} m: " + (f"set mesh_unit to {fits}" if fits else "scale the mesh"))
    stated = stated_diameter(info or {}, path)
    if stated > 0 and not 0.8 < size / stated < 1.25:
        raise MeshError(f"mesh {path} is {size:.4g} m across when its numbers are in {unit}, but models_info.json says "
                        f"{stated:.4g} m (BOP: mm); correct mesh_unit, the mesh or models_info.json")


def _remarks(vertices: Vertices, faces: Faces, colors: NDArray[np.uint8] | None) -> tuple[str, ...]:
    out = []
    if not is_watertight(faces):
        out.append("the mesh is not watertight: it has holes, or edges shared by more than two faces")
    low, high = vertices.min(0), vertices.max(0)
    away = np.linalg.norm(np.maximum(np.maximum(low, -high), 0))
    if away > np.linalg.norm(high - low):
        out.append(f"the origin of the mesh lies {away:.3g} m outside its box: poses refer to that far point")
    if colors is None:
        out.append("the mesh has no colour: only its shape can be recognised")
    return tuple(out)


# Building the model.

def _shown(vertices: Vertices, faces: Faces, max_faces: int, textured: bool) -> tuple[Vertices, Faces]:
    """The mesh that is rendered: few faces, but small enough that colours per vertex can carry a texture."""
    area = np.linalg.norm(area_vectors(vertices, faces), axis=1)
    vertices, faces = compact(vertices, faces[area > 1e-9 * area.max()])
    spacing = float(np.sqrt(2 * area.sum() / max_faces))
    # Clusters, and textures, need vertices in every cell, also where CAD puts one long triangle.
    dense = textured or len(faces) > max_faces
    vertices, faces = refine(vertices, faces, spacing if dense else max(spacing, LONGEST_EDGE))
    return simplify(vertices, faces, max_faces)


def _spread(vertices: Vertices) -> Vertices:
    if len(vertices) <= MAX_EVAL_VERTICES:
        return vertices
    return vertices[np.sort(np.random.default_rng(0).permutation(len(vertices))[:MAX_EVAL_VERTICES])]


class _Colors:
    """Colour of the surface of a file, to be averaged onto the vertices of another mesh of the same object."""

    def __init__(self, parts: tuple[SurfacePart, ...], vertices: Vertices, faces: Faces) -> None:
        self._parts = parts if all(part.color for part in parts) else ()
        self._vertices, self._faces = vertices, faces
        self.textured = bool(self._parts) and any(part.textured for part in parts)

    def at(self, vertices: Vertices, faces: Faces) -> NDArray[np.uint8] | None:
        """(V, 3) uint8: the mean colour of the surface nearest to each vertex; None for an uncoloured file."""
        from scipy.spatial import cKDTree  # as in `surface`

        if not self._parts:
            return None
        count = max(20_000, _SAMPLES_PER_VERTEX * len(vertices))
        face, weights = sample(self._vertices, self._faces, count)
        rgb = np.empty((count, 3))
        start = 0
        for part in self._parts:
            mine = (face >= start) & (face < start + len(part.faces))
            rgb[mine] = part.color(face[mine] - start, weights[mine])  # type: ignore[misc]
            start += len(part.faces)
        points = points_at(self._vertices, self._faces, face, weights)
        normals = vertex_normals(vertices, faces)
        vectors = area_vectors(self._vertices, self._faces)[face]
        directions = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-300)
        agreement = np.einsum("nc,nc->n", directions, normals[cKDTree(vertices).query(points)[1]])
        if np.sign(agreement).sum() < 0:
            directions = -directions  # the file is inside out
        # Normals keep the colours of the two sides of a thin wall apart.
        reach = 0.05 * float(np.ptp(vertices, axis=0).max())
        owner = cKDTree(np.hstack([vertices, reach * normals])).query(np.hstack([points, reach * directions]))[1]
        hits = np.bincount(owner, minlength=len(vertices))
        total = np.stack([np.bincount(owner, rgb[:, c], len(vertices)) for c in range(3)], 1)
        bare = hits == 0
        if bare.any():
            total[bare] = rgb[cKDTree(points).query(vertices[bare])[1]]
        return np.clip(np.round(total / np.maximum(hits, 1)[:, None]), 0, 255).astype(np.uint8)


def _digest(*arrays: NDArray[Any] | None) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        if array is None:
            digest.update(b"none")
        else:
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
