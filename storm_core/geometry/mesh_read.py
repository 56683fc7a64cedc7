"""Mesh files -> plain surfaces: geometry plus a way to ask for the colour of any surface point."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storm_core.errors import MeshError

SUFFIXES = (".ply", ".obj", ".glb", ".gltf", ".stl", ".off")
"""Mesh formats that are read, in lower case."""

ColorSource = Callable[[NDArray[np.int64], NDArray[np.float64]], NDArray[np.float64]]
"""(face indices (N,), barycentric weights (N, 3)) -> RGB (N, 3) in [0, 255]."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SurfacePart:
    """A piece of a mesh file with one kind of colour.

    Attributes:
      vertices: (V, 3) float64 in file units. faces: (F, 3) int64.
      color: None when the file says nothing about colour here.
      textured: the colour varies within a face.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    color: ColorSource | None
    textured: bool = False


def read_surface(path: Path) -> tuple[tuple[SurfacePart, ...], tuple[str, ...]]:
    """The parts of a mesh file in one common frame, and warnings about what could not be used.

    Raises:
      MeshError: the file is missing, damaged, of an unknown format or holds no triangles.
    """
    import trimesh

    if path.suffix.lower() not in SUFFIXES:
        raise MeshError(f"cannot read {path}: unknown mesh format {path.suffix!r}; use one of {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise MeshError(f"mesh {path} does not exist")
    try:
        loaded = trimesh.load(path, process=False)
        meshes = loaded.dump(concatenate=False) if isinstance(loaded, trimesh.Scene) else [loaded]
        parts = [_part(mesh) for mesh in meshes if isinstance(mesh, trimesh.Trimesh) and len(mesh.faces)]
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError, NotImplementedError,
            UnicodeDecodeError, ImportError) as error:
        # trimesh reports damaged files by whatever its parser ran into.
        raise MeshError(f"cannot read mesh {path}: {error or type(error).__name__}; is the file complete?") from error
    if not parts:
        raise MeshError(f"mesh {path} has no triangles; export it as a triangle mesh, not as points or curves")
    return tuple(parts), _missing_textures(path)


def color_rank(path: Path) -> int:
    """How much colour a mesh file promises, without loading it: 2 texture, 1 vertex colours, 0 none."""
    suffix = path.suffix.lower()
    if suffix in (".glb", ".gltf"):
        return 2
    if suffix == ".obj":
        images = _obj_textures(path)
        return 2 if images and all(image.is_file() for image in images) else 0
    if suffix == ".ply":
        header = _ply_header(path)
        textures = [path.parent / line.split(None, 2)[2] for line in header if line.startswith("comment TextureFile ")]
        if textures and all(image.is_file() for image in textures):
            return 2
        return int(any(line.startswith("property") and line.endswith(" red") for line in header))
    return 0


def _ply_header(path: Path) -> list[str]:
    with path.open("rb") as file:
        text = file.read(8192).partition(b"end_header")[0]
    return [line.strip() for line in text.decode("ascii", "replace").splitlines()]


def _obj_textures(path: Path) -> list[Path]:
    """Image files named by the material libraries of a .obj, whether they exist or not."""
    out: list[Path] = []
    libraries: list[Path] = []
    with path.open("rb") as file:
        for line in file.read(65536).decode("utf-8", "replace").splitlines():
            if line.startswith("mtllib "):
                libraries.append(path.parent / line.split(None, 1)[1].strip())
    for library in libraries:
        if library.is_file():
            for line in library.read_text("utf-8", "replace").splitlines():
                words = line.strip().split(None, 1)
                if len(words) == 2 and words[0].lower() == "map_kd":
                    out.append(library.parent / words[1].strip())
    return out


def _missing_textures(path: Path) -> tuple[str, ...]:
    if path.suffix.lower() != ".obj":
        return ()
    return tuple(f"texture {image.name} of {path.name} does not exist"
                 for image in _obj_textures(path) if not image.is_file())


def _part(mesh: object) -> SurfacePart:
    vertices = np.array(mesh.vertices, np.float64)  # type: ignore[attr-defined]
    faces = np.array(mesh.faces, np.int64)  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        color, textured = _color_source(mesh.visual, faces)  # type: ignore[attr-defined]
    return SurfacePart(vertices=vertices, faces=faces, color=color, textured=textured)


def _color_source(visual: object, faces: NDArray[np.int64]) -> tuple[ColorSource | None, bool]:
    kind = getattr(visual, "kind", None)
    if kind == "texture":
        return _texture_source(visual, faces)
    if kind == "vertex":
        per_vertex = np.asarray(visual.vertex_colors, float)[:, :3]  # type: ignore[attr-defined]
        return lambda face, weights: np.einsum("nk,nkc->nc", weights, per_vertex[faces[face]]), False
    if kind == "face":
        per_face = np.asarray(visual.face_colors, float)[:, :3]  # type: ignore[attr-defined]
        return lambda face, weights: per_face[face], False
    return None, False


def _texture_source(visual: object, faces: NDArray[np.int64]) -> tuple[ColorSource | None, bool]:
    material = getattr(visual, "material", None)
    image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    uv = getattr(visual, "uv", None)
    if image is not None and uv is not None and len(uv) > faces.max():
        factor = getattr(material, "baseColorFactor", None)
        tint = np.ones(3) if factor is None else np.asarray(factor, float)[:3] / 255.0
        texels = np.asarray(image.convert("RGB"))
        coordinates = np.asarray(uv, float)

        def sample(face: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
            u, v = np.einsum("nk,nkc->cn", weights, coordinates[faces[face]])
            h, w = texels.shape[:2]
            # Texture space has its origin at the lower left and repeats outside [0, 1].
            column = np.clip(((u % 1.0) * w).astype(int), 0, w - 1)
            row = np.clip(((1.0 - v) % 1.0 * h).astype(int), 0, h - 1)
            return texels[row, column] * tint

        return sample, True
    flat = getattr(material, "main_color", None)
    if flat is None or len(set(np.asarray(flat)[:3].tolist())) == 1:
        # A grey material is what exporters write for "no material".
        return None, False
    rgb = np.asarray(flat, float)[:3]
    return lambda face, weights: np.broadcast_to(rgb, (len(face), 3)), False
