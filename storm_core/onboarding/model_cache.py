"""Checked and simplified meshes, kept on disk: each process of a graph would spend half a second on every one."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from storm_core.errors import StormError
from storm_core.geometry import mesh_io
from storm_core.geometry.mesh import ObjectModel
from storm_core.kernel_cache import fingerprint
from storm_core.onboarding.array_cache import read_arrays, write_arrays

WHOLE = (".ply", ".stl", ".glb")
"""Files that hold everything that a mesh is made of, unless one of these words stands in them."""
ELSEWHERE = (b"TextureFile", b'"uri"')

_ARRAYS = ("vertices", "faces", "colors", "symmetries", "eval_vertices")


class ModelCache:
    """`load` in the place of `mesh_io.load_model`; same arguments, same result."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, path: Path | str, *, name: str | None = None, unit: str = "auto", max_faces: int = 4000,
             info: Mapping[str, Any] | None = None) -> ObjectModel:
        """One checked mesh in metres; from the cache when it holds exactly this file with these settings."""
        path = Path(path)
        key = _key(path, unit, max_faces, info)
        kept = self._folder / f"{key}.model.npz"
        model = _read(kept) if key else None
        if model is None:
            model = mesh_io.load_model(path, unit=unit, max_faces=max_faces, info=info)
            if key:
                said = {"diameter": model.diameter, "sha256": model.sha256, "warnings": model.warnings}
                arrays = {field: getattr(model, field) for field in _ARRAYS if getattr(model, field) is not None}
                write_arrays(kept, arrays | {"said": np.array(json.dumps(said))})
        return replace(model, name=name or path.stem)


def _key(path: Path, unit: str, max_faces: int, info: Mapping[str, Any] | None) -> str:
    """Of the content, the settings and the code that reads it; empty when the file alone does not say everything."""
    try:
        content = path.read_bytes()
    except OSError:
        return ""
    if path.suffix.lower() not in WHOLE or any(word in content for word in ELSEWHERE):
        return ""
    digest = hashlib.sha256(content)
    # The warnings of a model name its file.
    digest.update(json.dumps([path.name, unit, max_faces, info, _code()], sort_keys=True, default=str).encode())
    return digest.hexdigest()[:24]


@cache
def _code() -> str:
    return fingerprint(Path(mesh_io.__file__))


def _read(kept: Path) -> ObjectModel | None:
    arrays = read_arrays(kept)
    try:
        said = json.loads(str(arrays["said"]))
        return ObjectModel(
            name="", diameter=said["diameter"], sha256=said["sha256"], warnings=tuple(said["warnings"]),
            **{field: arrays.get(field) for field in _ARRAYS})  # type: ignore[arg-type]
    except (KeyError, ValueError, StormError):
        return None
