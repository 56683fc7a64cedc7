"""Onboarding of one mesh, cached on disk by content hash, so that a second start costs milliseconds."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storm_core.config import OnboardingConfig
from storm_core.geometry.mesh import ObjectModel
from storm_core.onboarding.templates import Templates, build_templates

VERSION = 1
"""Bump when the content of the cache changes meaning."""


@dataclass(frozen=True, eq=False)
class Onboarded:
    """A model and what was prepared for it.

    Attributes:
      shape_symmetries: (S, 4, 4) obj -> obj near-symmetries of the shape alone (colour ignored), identity first.
    """

    model: ObjectModel
    templates: Templates
    shape_symmetries: NDArray[np.float64]


def cache_folder(config: OnboardingConfig) -> Path:
    """The configured cache folder, or ~/.cache/storm (XDG_CACHE_HOME respected)."""
    if config.cache:
        return Path(config.cache).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "storm"


def onboard(model: ObjectModel, config: OnboardingConfig) -> Onboarded:
    """Templates and shape symmetries of a model; from the cache when it holds them. A cache that cannot be written is
    no error: the result is only computed again next time."""
    from storm_core.geometry.symmetry import shape_symmetries

    key = hashlib.sha256(f"{VERSION}|{model.sha256}|{len(model.faces)}|{config.rotations}".encode()).hexdigest()[:24]
    path = cache_folder(config) / f"{key}.npz"
    try:
        with np.load(path) as data:
            fields = {name: data[name] for name in Templates.__dataclass_fields__}
            return Onboarded(model, Templates(**fields), data["shape_symmetries"])
    except (OSError, KeyError, ValueError, EOFError):
        pass
    templates, symmetries = build_templates(model, config.rotations), shape_symmetries(model)
    arrays = {name: getattr(templates, name) for name in Templates.__dataclass_fields__}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            np.savez(file, shape_symmetries=symmetries, **arrays)
        Path(file.name).replace(path)
    except OSError:
        pass
    return Onboarded(model, templates, symmetries)
